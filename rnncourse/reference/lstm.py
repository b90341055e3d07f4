"""The LSTM: a memory cell that is multiplied by one gate and added to through another. ::

    i, f, o = sigma(a_i), sigma(a_f), sigma(a_o)      how much to write, to keep, to show
    g = tanh(a_g)                                     what to write
    c_t = f * c_{t-1} + i * g                         the memory cell
    h_t = o * tanh(c_t)                               what others see

The pre-activations lie side by side in torch's order, a = (a_i, a_f, a_g, a_o), shape (B, 4 H).
The state is (h, c).
"""

from functools import lru_cache

import numpy as np

from rnncourse.reference import layer_norm
from rnncourse.reference.activations import sigmoid
from rnncourse.reference.cells import Cell


def plain() -> Cell:
    """Make the LSTM cell.

    Its pull begins with everything that reaches the cell: what arrives from c_{t+1} and what
    passes through h_t. That goes on, through the forget gate alone, to c_{t-1}.

    Returns:
        The cell; its parameters are ``gate_params.LSTMParams``.
    """

    def step(own, ax, ah, state):
        _, before = state
        gates = squash(ax + ah)
        i, f, g, o = blocks(gates)
        c = f * before + i * g
        seen = np.tanh(c)
        return (o * seen, c), (gates, before, seen)

    def pull(own, saved, d_state):
        (gates, before, seen), (d_h, d_c) = saved, d_state
        i, f, g, o = blocks(gates)
        d_c = d_c + d_h * o * (1 - seen * seen)
        d_gates = np.concatenate([d_c * g, d_c * before, d_c * i, d_h * seen], axis=1)
        delta = d_gates * slopes(gates)
        return delta, delta, (0.0, d_c * f), ()

    return Cell("lstm", gates=4, states=2, step=step, pull=pull)


def peephole() -> Cell:
    """Make the LSTM cell with peepholes (Gers and Schmidhuber, 2000): gates that look at the memory cell.

    a_i and a_f gain p_i * c_{t-1} and p_f * c_{t-1}; a_o gains p_o * c_t, the cell as it now is. So
    c_t reaches h_t twice, and c_{t-1} reaches c_t three times.

    Returns:
        The cell; its parameters are ``gate_params.PeepholeLSTMParams``.
    """

    def step(own, ax, ah, state):
        _, before = state
        p_i, p_f, p_o = np.split(own[0], 3)
        a_i, a_f, a_g, a_o = blocks(ax + ah)
        i, f, g = sigmoid(a_i + p_i * before), sigmoid(a_f + p_f * before), np.tanh(a_g)
        c = f * before + i * g
        o, seen = sigmoid(a_o + p_o * c), np.tanh(c)
        return (o * seen, c), (np.concatenate([i, f, g, o], axis=1), before, c, seen)

    def pull(own, saved, d_state):
        (gates, before, c, seen), (d_h, d_c) = saved, d_state
        p_i, p_f, p_o = np.split(own[0], 3)
        i, f, g, o = blocks(gates)
        delta_o = d_h * seen * o * (1 - o)
        d_c = d_c + d_h * o * (1 - seen * seen) + p_o * delta_o
        delta = np.concatenate([d_c * g, d_c * before, d_c * i, d_h * seen], axis=1) * slopes(gates)
        delta_i, delta_f, _, _ = blocks(delta)
        d_before = d_c * f + p_i * delta_i + p_f * delta_f
        looks = np.concatenate([delta_i * before, delta_f * before, delta_o * c], axis=1)
        return delta, delta, (0.0, d_before), (looks.sum(axis=0),)

    return Cell("peephole-lstm", gates=4, states=2, step=step, pull=pull, own=((3,),))


def normed(epsilon: float = 1e-5) -> Cell:
    """Make the LSTM cell with layer normalisation (Ba, Kiros and Hinton, 2016, in its supplement).

    Three rows are normalised: W_x x_t + b and W_h h_{t-1}, each over all 4 H of its entries, before
    they are added, a = gamma_x * n_x + gamma_h * n_h + beta; and the cell on its way out,
    h_t = o * tanh(gamma_c * n_c + beta_c). The cell itself is carried on as it is.

    Args:
        epsilon: added to the variance of a row.

    Returns:
        The cell; its parameters are ``gate_params.LayerNormLSTMParams``.

    Raises:
        ValueError: if epsilon is not positive.
    """
    layer_norm.check_epsilon(epsilon)
    normalise, back = layer_norm.normalise, layer_norm.pull

    def step(own, ax, ah, state):
        _, before = state
        gamma_x, gamma_h, beta, gamma_c, beta_c = own
        (n_x, _), (n_h, _) = of_x, of_h = normalise(ax, epsilon), normalise(ah, epsilon)
        gates = squash(gamma_x * n_x + gamma_h * n_h + beta)
        i, f, g, o = blocks(gates)
        c = f * before + i * g
        of_c = normalise(c, epsilon)
        seen = np.tanh(gamma_c * of_c[0] + beta_c)
        return (o * seen, c), (of_x, of_h, of_c, gates, before, seen)

    def pull(own, saved, d_state):
        gamma_x, gamma_h, _, gamma_c, _ = own
        (of_x, of_h, of_c, gates, before, seen), (d_h, d_c) = saved, d_state
        i, f, g, o = blocks(gates)
        d_shown = d_h * o * (1 - seen * seen)
        d_c = d_c + back(*of_c, gamma_c * d_shown)
        delta = np.concatenate([d_c * g, d_c * before, d_c * i, d_h * seen], axis=1) * slopes(gates)
        to_own = delta * of_x[0], delta * of_h[0], delta, d_shown * of_c[0], d_shown
        to_x, to_h = back(*of_x, gamma_x * delta), back(*of_h, gamma_h * delta)
        return to_x, to_h, (0.0, d_c * f), tuple(rows.sum(axis=0) for rows in to_own)

    return Cell("layer-norm-lstm", gates=4, states=2, step=step, pull=pull, own=((4,), (4,), (4,), (1,), (1,)))


def squash(a: np.ndarray) -> np.ndarray:
    """sigma over i, f and o, tanh over g, by one tanh over all: sigma(a) = 1/2 + 1/2 tanh(a / 2).

    Args:
        a: pre-activations, shape (B, 4 H).

    Returns:
        i, f, g, o side by side, shape (B, 4 H).
    """
    half, rest = _each(a, 0.5, 0.5, 1, 0.5), _each(a, 0.5, 0.5, 0, 0.5)
    gates = half * a
    np.tanh(gates, out=gates)
    gates *= half
    gates += rest
    return gates


def slopes(gates: np.ndarray) -> np.ndarray:
    """The slopes of :func:`squash` off its output: the way down to the floor times the way up to the ceiling.

    That is s (1 - s) between 0 and 1, and (1 + g) (1 - g) between -1 and 1.

    Args:
        gates: i, f, g, o side by side, shape (B, 4 H).

    Returns:
        Their derivatives by their own pre-activations, shape (B, 4 H).
    """
    up = 1 - gates
    up *= gates + _each(gates, 0, 0, 1, 0)
    return up


def blocks(rows: np.ndarray) -> tuple:
    """Cut rows into the four gates.

    Args:
        rows: shape (B, 4 H).

    Returns:
        Four views, each (B, H).
    """
    H = rows.shape[-1] // 4
    return rows[..., :H], rows[..., H : 2 * H], rows[..., 2 * H : 3 * H], rows[..., 3 * H :]


def _each(rows: np.ndarray, *values: float) -> np.ndarray:
    """One value for each gate, as a row in the precision of the others."""
    return _row(values, rows.shape[-1] // 4, rows.real.dtype)


@lru_cache
def _row(values: tuple, repeats: int, dtype: np.dtype) -> np.ndarray:
    row = np.repeat(np.array(values, dtype), repeats)
    row.flags.writeable = False  # the same row serves every step
    return row
