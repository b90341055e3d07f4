"""Parameters of cells with gates or normalisation: the same on both floors, and how they start.

Blocks are stacked in torch's order: i, f, g, o for the LSTM, r, z, n for the GRU.
"""

from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.params import Array, init_rnn


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
