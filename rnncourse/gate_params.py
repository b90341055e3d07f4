"""Parameters of cells with gates or normalisation: the same on both floors, and how they start.

Blocks are stacked in torch's order: i, f, g, o for the LSTM, r, z, n for the GRU.
"""

from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.params import Array, init_rnn, orthogonal


class LayerNormParams(NamedTuple):
    """What layer normalisation learns: where each feature goes after its row was normalised.

    Attributes:
        gain: gamma, shape (N,).
        shift: beta, shape (N,).
    """

    gain: Array
    shift: Array


class LayerNormRNNParams(NamedTuple):
    """A vanilla cell whose pre-activation is normalised.

    Attributes:
        input_weights: W_x, shape (H, D).
        recurrent_weights: W_h, shape (H, H).
        bias: b_h, shape (H,). It is normalised with the rest; what a bias usually does, the shift does.
        gain: gamma, shape (H,).
        shift: beta, shape (H,).
    """

    input_weights: Array
    recurrent_weights: Array
    bias: Array
    gain: Array
    shift: Array


def init_layer_norm(features: int) -> LayerNormParams:
    """Start layer normalisation with gain 1 and shift 0.

    Args:
        features: N, the number of features of a row.

    Returns:
        The parameters, float64.

    Raises:
        ValueError: if the size is no whole number, or less than 1.
    """
    doors.at_least("features", features, 1)
    return LayerNormParams(np.ones(features), np.zeros(features))


def init_layer_norm_rnn(
    rng: np.random.Generator, inputs: int, hidden: int, input_scale: float | None = None, gain: float = 1.0
) -> LayerNormRNNParams:
    """Start a normalised vanilla cell: the weights of ``params.init_rnn``, every gain alike, shift 0.

    Args:
        rng: the source of randomness.
        inputs: D, the number of input features.
        hidden: H, the number of hidden units.
        input_scale: standard deviation of W_x; 1/sqrt(D) unless given.
        gain: every entry of gamma, the standard deviation of a row of normalised pre-activations.

    Returns:
        The parameters, float64.

    Raises:
        ValueError: if a size is no whole number, or less than 1.
    """
    plain = init_rnn(rng, inputs, hidden, input_scale)
    return LayerNormRNNParams(*plain, np.full(hidden, float(gain)), np.zeros(hidden))


class LSTMParams(NamedTuple):
    """An LSTM cell. Blocks of H rows: input gate, forget gate, candidate, output gate.

    Attributes:
        input_weights: W_x, shape (4 H, D).
        recurrent_weights: W_h, shape (4 H, H).
        bias: b, shape (4 H,).
    """

    input_weights: Array
    recurrent_weights: Array
    bias: Array


class PeepholeLSTMParams(NamedTuple):
    """An LSTM cell whose gates look at the memory cell.

    Attributes:
        input_weights: W_x, shape (4 H, D).
        recurrent_weights: W_h, shape (4 H, H).
        bias: b, shape (4 H,).
        peepholes: p_i, p_f, p_o, shape (3 H,): what c_{t-1} adds to the input and forget gates and
            c_t to the output gate, unit by unit.
    """

    input_weights: Array
    recurrent_weights: Array
    bias: Array
    peepholes: Array


class LayerNormLSTMParams(NamedTuple):
    """An LSTM cell with both products and the memory cell normalised.

    Attributes:
        input_weights: W_x, shape (4 H, D).
        recurrent_weights: W_h, shape (4 H, H).
        bias: b, shape (4 H,). It is normalised with W_x x; what a bias usually does, the shift does.
        input_gain: gamma_x, shape (4 H,).
        recurrent_gain: gamma_h, shape (4 H,).
        shift: beta, shape (4 H,). The forget bias belongs here.
        cell_gain: gamma_c, shape (H,).
        cell_shift: beta_c, shape (H,).
    """

    input_weights: Array
    recurrent_weights: Array
    bias: Array
    input_gain: Array
    recurrent_gain: Array
    shift: Array
    cell_gain: Array
    cell_shift: Array


class GRUParams(NamedTuple):
    """A GRU cell that resets before its product. Blocks of H rows: reset gate, update gate, candidate.

    Attributes:
        input_weights: W_x, shape (3 H, D).
        recurrent_weights: W_h, shape (3 H, H).
        bias: b, shape (3 H,).
    """

    input_weights: Array
    recurrent_weights: Array
    bias: Array


class ResetAfterGRUParams(NamedTuple):
    """A GRU cell that resets after its product, as torch's does: so the reset acts on a bias, too.

    Attributes:
        input_weights: W_x, shape (3 H, D).
        recurrent_weights: W_h, shape (3 H, H).
        bias: b, shape (3 H,).
        candidate_bias: b_hn, shape (H,), beside W_hn h_{t-1}, inside the reset.
    """

    input_weights: Array
    recurrent_weights: Array
    bias: Array
    candidate_bias: Array


def init_lstm(
    rng: np.random.Generator, inputs: int, hidden: int, forget_bias: float = 1.0, input_scale: float | None = None
) -> LSTMParams:
    """Start an LSTM: orthogonal recurrence in each gate, zero biases but the forget gate's.

    Args:
        rng: the source of randomness.
        inputs: D, the number of input features.
        hidden: H, the number of hidden units.
        forget_bias: b_f; at 1 a gate without input keeps sigma(1) = 73% of the cell in each step.
        input_scale: standard deviation of W_x; 1/sqrt(D) unless given.

    Returns:
        The parameters, float64.

    Raises:
        ValueError: if a size is no whole number, or less than 1.
    """
    W_x, W_h, b = _blocks(rng, 4, inputs, hidden, input_scale)
    b[hidden : 2 * hidden] = forget_bias
    return LSTMParams(W_x, W_h, b)


def init_peephole_lstm(
    rng: np.random.Generator, inputs: int, hidden: int, forget_bias: float = 1.0, input_scale: float | None = None
) -> PeepholeLSTMParams:
    """Start an LSTM with peepholes: :func:`init_lstm`, every peephole shut.

    Args:
        rng: the source of randomness.
        inputs: D, the number of input features.
        hidden: H, the number of hidden units.
        forget_bias: b_f.
        input_scale: standard deviation of W_x; 1/sqrt(D) unless given.

    Returns:
        The parameters, float64.

    Raises:
        ValueError: if a size is no whole number, or less than 1.
    """
    return PeepholeLSTMParams(*init_lstm(rng, inputs, hidden, forget_bias, input_scale), np.zeros(3 * hidden))


def init_layer_norm_lstm(
    rng: np.random.Generator, inputs: int, hidden: int, forget_bias: float = 1.0, gain: float = 1.0
) -> LayerNormLSTMParams:
    """Start an LSTM with layer normalisation. The forget bias is in the shift, where nothing takes it out again.

    Args:
        rng: the source of randomness.
        inputs: D, the number of input features.
        hidden: H, the number of hidden units.
        forget_bias: the shift of the forget gate.
        gain: every entry of gamma_x and gamma_h; gamma_c is 1.

    Returns:
        The parameters, float64.

    Raises:
        ValueError: if a size is no whole number, or less than 1.
    """
    W_x, W_h, shift = init_lstm(rng, inputs, hidden, forget_bias)
    gains = np.full(4 * hidden, float(gain))
    return LayerNormLSTMParams(
        W_x, W_h, np.zeros(4 * hidden), gains, gains.copy(), shift, np.ones(hidden), np.zeros(hidden)
    )


def chrono_lstm(rng: np.random.Generator, params: LSTMParams, longest: int) -> LSTMParams:
    """Give each unit a time scale of its own: b_f = log u with u uniform in 1..longest - 1, and b_i = -b_f.

    A unit with forget gate f halves what it holds in log 2 / -log f steps, which is about u log 2.
    The input gate 1 - f lets in as much as leaks out (Tallec and Ollivier, 2018).

    Args:
        rng: the source of randomness.
        params: an LSTM's, also one with peepholes. Not one with layer normalisation, whose bias is normalised.
        longest: the longest time scale in steps, at least 3.

    Returns:
        The parameters with another bias: that of the candidate and the output gate is as it was.

    Raises:
        ValueError: if there is layer normalisation, or longest is no whole number or less than 3.
    """
    if not isinstance(params, LSTMParams | PeepholeLSTMParams):
        raise ValueError(f"params: expected LSTMParams or PeepholeLSTMParams, got {type(params).__name__}")
    H = params.recurrent_weights.shape[1]
    b_f = chrono_bias(rng, H, longest)
    return params._replace(bias=np.concatenate([-b_f, b_f, params.bias[2 * H :]]))


def chrono_bias(rng: np.random.Generator, hidden: int, longest: int) -> np.ndarray:
    """Draw the biases with which sigma(b) = u / (1 + u) keeps a memory for about u steps.

    Args:
        rng: the source of randomness.
        hidden: H, the number of hidden units.
        longest: the longest time scale in steps, at least 3.

    Returns:
        log u with u uniform in 1..longest - 1, shape (H,).

    Raises:
        ValueError: if a size is no whole number, or too small.
    """
    doors.at_least("hidden", hidden, 1)
    doors.at_least("longest", longest, 3)
    return np.log(rng.uniform(1, longest - 1, hidden))


def init_gru(
    rng: np.random.Generator, inputs: int, hidden: int, update_bias: float = 0.0, input_scale: float | None = None
) -> GRUParams:
    """Start a GRU that resets before its product: orthogonal recurrence in each block, zero biases.

    Args:
        rng: the source of randomness.
        inputs: D, the number of input features.
        hidden: H, the number of hidden units.
        update_bias: b_z. To remember: positive where the gate keeps, negative where it writes.
        input_scale: standard deviation of W_x; 1/sqrt(D) unless given.

    Returns:
        The parameters, float64.

    Raises:
        ValueError: if a size is no whole number, or less than 1.
    """
    W_x, W_h, b = _blocks(rng, 3, inputs, hidden, input_scale)
    b[hidden : 2 * hidden] = update_bias
    return GRUParams(W_x, W_h, b)


def init_reset_after_gru(
    rng: np.random.Generator, inputs: int, hidden: int, update_bias: float = 0.0, input_scale: float | None = None
) -> ResetAfterGRUParams:
    """Start a GRU that resets after its product: :func:`init_gru` and a zero bias inside the reset.

    Args:
        rng: the source of randomness.
        inputs: D, the number of input features.
        hidden: H, the number of hidden units.
        update_bias: b_z. To remember: positive where the gate keeps, negative where it writes.
        input_scale: standard deviation of W_x; 1/sqrt(D) unless given.

    Returns:
        The parameters, float64.

    Raises:
        ValueError: if a size is no whole number, or less than 1.
    """
    return ResetAfterGRUParams(*init_gru(rng, inputs, hidden, update_bias, input_scale), np.zeros(hidden))


def swap_update(params: NamedTuple) -> NamedTuple:
    """Turn a GRU whose update gate writes into one whose gate keeps, or back: the same function of its inputs.

    1 - sigma(a) = sigma(-a), so the update gate's row of every block changes sign. Nothing else moves.

    Args:
        params: a GRU's, arrays or tensors; both ways of resetting.

    Returns:
        New parameters of the same type; swapped twice, they are what they were.
    """
    H = params.recurrent_weights.shape[1]

    def swapped(array):
        array = array.clone() if hasattr(array, "clone") else array.copy()
        array[H : 2 * H] *= -1
        return array

    return type(params)(*map(swapped, params[:3]), *params[3:])


def _blocks(rng, gates: int, inputs: int, hidden: int, input_scale: float | None):
    """W_x, W_h and a zero bias for several blocks, each with an orthogonal recurrence."""
    doors.at_least("inputs", inputs, 1)
    doors.at_least("hidden", hidden, 1)
    scale = inputs**-0.5 if input_scale is None else input_scale
    W_x = scale * rng.standard_normal((gates * hidden, inputs))
    return W_x, np.concatenate([orthogonal(rng, hidden) for _ in range(gates)]), np.zeros(gates * hidden)
