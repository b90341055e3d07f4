"""How a vanilla cell may start so that its Jacobians have a known length, beside ``params.init_rnn``."""

import numpy as np

from rnncourse import doors
from rnncourse.params import RNNParams


def identity(
    rng: np.random.Generator, inputs: int, hidden: int, input_scale: float = 0.05, gain: float = 1.0
) -> RNNParams:
    """Start as an IRNN does: W_h is the identity, the bias zero. It is meant for the rectifier.

    Le, Jaitly and Hinton (2015). Every unit adds up what its inputs say, until the sum falls below
    zero: :eq:`eq-irnn-jacobian`.

    Args:
        rng: the source of randomness.
        inputs: D, the number of input features.
        hidden: H, the number of hidden units.
        input_scale: standard deviation of W_x.
        gain: what stands on the diagonal of W_h.

    Returns:
        The parameters, float64.

    Raises:
        ValueError: if a size is no whole number, or less than 1.
    """
    doors.at_least("inputs", inputs, 1)
    doors.at_least("hidden", hidden, 1)
    return RNNParams(
        input_weights=input_scale * rng.standard_normal((hidden, inputs)),
        recurrent_weights=gain * np.eye(hidden),
        bias=np.zeros(hidden),
    )


def gaussian(rng: np.random.Generator, inputs: int, hidden: int, gain: float = 1.0) -> RNNParams:
    """Start with independent recurrent weights of standard deviation gain / sqrt(H), inputs 1/sqrt(D).

    For large H every direction is stretched by gain on the average, but some by nearly 2 gain and some by
    nearly nothing.

    Args:
        rng: the source of randomness.
        inputs: D, the number of input features.
        hidden: H, the number of hidden units.
        gain: for large H the largest absolute eigenvalue of W_h.

    Returns:
        The parameters, float64.

    Raises:
        ValueError: if a size is no whole number, or less than 1.
    """
    doors.at_least("inputs", inputs, 1)
    doors.at_least("hidden", hidden, 1)
    return RNNParams(
        input_weights=inputs**-0.5 * rng.standard_normal((hidden, inputs)),
        recurrent_weights=gain * hidden**-0.5 * rng.standard_normal((hidden, hidden)),
        bias=np.zeros(hidden),
    )
