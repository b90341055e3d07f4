"""Parameters of a linear dynamical system: the same on both floors, and how they start."""

from typing import Any, NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.params import Array, orthogonal


class LDSParams(NamedTuple):
    """A linear dynamical system: z_t = A z_{t-1} + W_x x_t + noise, y_t = C z_t + noise.

    A matrix may also change with time, shape (T, rows, columns), or with time and from sequence to
    sequence, shape (T, B, rows, columns). A covariance must be symmetric to one part in a
    million; its symmetric part is used.

    Attributes:
        transition: A, shape (H, H).
        input_weights: W_x, shape (H, D); D may be 0.
        emission: C, shape (O, H).
        state_noise: Q, covariance of the noise of the state, shape (H, H); it may be singular.
        output_noise: R, covariance of the noise of the output, shape (O, O); it may be singular.
        initial_mean: m_0, mean of z_0, shape (H,).
        initial_covariance: P_0, covariance of z_0, shape (H, H); it may be singular.
    """

    transition: Array
    input_weights: Array
    emission: Array
    state_noise: Array
    output_noise: Array
    initial_mean: Array
    initial_covariance: Array


MATRICES = LDSParams._fields[:5]  # those that may change with time
COVARIANCES = ("state_noise", "output_noise", "initial_covariance")


def init_lds(rng: np.random.Generator, states: int, outputs: int, inputs: int = 0, radius: float = 0.9) -> LDSParams:
    """Start a linear system: a scaled rotation for A, random W_x and C, unit noises, z_0 standard normal.

    Args:
        rng: the source of randomness.
        states: H, the length of the hidden state.
        outputs: O, the length of an output.
        inputs: D, the length of an input; 0 for none.
        radius: every singular value of A.

    Returns:
        The parameters, float64.

    Raises:
        ValueError: if a size is no whole number, or too small.
    """
    doors.at_least("states", states, 1)
    doors.at_least("outputs", outputs, 1)
    doors.at_least("inputs", inputs, 0)
    return LDSParams(
        transition=radius * orthogonal(rng, states),
        input_weights=rng.standard_normal((states, inputs)) / np.sqrt(max(inputs, 1)),
        emission=rng.standard_normal((outputs, states)) / np.sqrt(states),
        state_noise=np.eye(states),
        output_noise=np.eye(outputs),
        initial_mean=np.zeros(states),
        initial_covariance=np.eye(states),
    )


def check(params: Any, steps: int, sequences: int) -> tuple[int, int, int]:
    """Check that the parameters are those of one system, and that what changes with time fits the data.

    Args:
        params: an :class:`LDSParams` of arrays or tensors.
        steps: T.
        sequences: B.

    Returns:
        H, D and O.

    Raises:
        ValueError: if it is no LDSParams, or a shape does not fit.
    """
    if not isinstance(params, LDSParams):
        raise ValueError(f"params: expected LDSParams, got {type(params).__name__}")
    doors.shape("initial_mean", params.initial_mean, ("H",))
    H = params.initial_mean.shape[0]
    D, O = params.input_weights.shape[-1], params.emission.shape[-2] if params.emission.ndim > 1 else 0
    doors.at_least("outputs", O, 1)
    doors.shape("initial_covariance", params.initial_covariance, (H, H))
    sizes = zip(MATRICES, ((H, H), (H, D), (O, H), (H, H), (O, O)), strict=True)
    for name, size in sizes:
        lead = (steps, sequences)[: max(getattr(params, name).ndim - 2, 0)]
        doors.shape(name, getattr(params, name), (*lead, *size))
    return H, D, O
