"""Draws from linear systems, and a few systems that the course looks at again and again."""

import numpy as np

from rnncourse import doors, lds_params
from rnncourse.data.processes import Path
from rnncourse.lds_params import LDSParams
from rnncourse.reference.gaussians import check_covariance, symmetric


def sample(rng: np.random.Generator, params: LDSParams, steps: int, size: int, inputs=None, noise=None) -> Path:
    """Draw from a linear system, :eq:`def-lds`: z_0, then z_1..z_T with their outputs.

    Args:
        rng: the source of randomness.
        params: the system; no matrix may change with time.
        steps: T.
        size: B.
        inputs: x, shape (T, B, D); zeros unless given.
        noise: (rng, shape) -> independent numbers with mean 0 and variance 1, for both noises; normal ones
            unless given. z_0 is always normal.

    Returns:
        States z_1..z_T, shape (T, B, H), and outputs, shape (T, B, O).

    Raises:
        ValueError: if a shape does not fit, an entry is not finite, or a covariance is none.
    """
    doors.at_least("steps", steps, 1)
    doors.at_least("size", size, 1)
    H, D, O = lds_params.check(params, 1, 1)
    A, W, C, Q, R, m, P = params
    for name, part in zip(params._fields, params, strict=True):
        doors.shape(name, part, part.shape[-2:] if part.ndim > 1 else part.shape)
        doors.finite(name, part)
    x = np.zeros((steps, size, D)) if inputs is None else np.asarray(inputs, float)
    doors.shape("inputs", x, (steps, size, D))
    doors.finite("inputs", x)
    draw = noise or (lambda rng, shape: rng.standard_normal(shape))
    state, seen = _root("state_noise", Q), _root("output_noise", R)
    z = [m + rng.standard_normal((size, H)) @ _root("initial_covariance", P).T]
    for t in range(steps):
        z.append(z[-1] @ A.T + x[t] @ W.T + draw(rng, (size, H)) @ state.T)
    z = np.stack(z[1:])
    return Path(z, z @ C.T + draw(rng, (steps, size, O)) @ seen.T)


def laplace(rng: np.random.Generator, shape: tuple) -> np.ndarray:
    """Noise with heavier tails than a Gaussian's, mean 0 and variance 1.

    Args:
        rng: the source of randomness.
        shape: of what is drawn.

    Returns:
        Independent numbers.
    """
    return rng.laplace(0, np.sqrt(0.5), shape)


def tracking(interval: float = 1.0, acceleration: float = 0.1, blur: float = 1.0) -> LDSParams:
    """A body that moves in the plane; its position is seen, blurred, and its velocity is not seen.

    Args:
        interval: time between two looks.
        acceleration: standard deviation of the random acceleration in each direction.
        blur: standard deviation of what is seen about the position.

    Returns:
        A system with state (east, north, their velocities) and outputs (east, north).
    """
    eye, none = np.eye(2), np.zeros((2, 2))
    A = np.block([[eye, interval * eye], [none, eye]])
    push = np.concatenate([0.5 * interval**2 * eye, interval * eye])
    Q, C = acceleration**2 * push @ push.T, np.concatenate([eye, none], axis=1)
    start = np.diag([100.0, 100.0, 1.0, 1.0])
    return LDSParams(A, np.zeros((4, 0)), C, Q, blur**2 * eye, np.zeros(4), start)


def ill_conditioned(start: float = 1e4, blur: float = 1e-4, push: float = 1e-7) -> LDSParams:
    """Position, velocity, acceleration: nothing is known at first, looks are sharp, hardly anything is disturbed.

    Args:
        start: standard deviation of all three at first.
        blur: standard deviation of what is seen about the position.
        push: standard deviation of the noise of all three.

    Returns:
        A system with three states and one output.
    """
    A = np.array([[1.0, 1.0, 0.5], [0.0, 1.0, 1.0], [0.0, 0.0, 1.0]])
    eye, C = np.eye(3), np.array([[1.0, 0.0, 0.0]])
    return LDSParams(A, np.zeros((3, 0)), C, push**2 * eye, np.array([[blur**2]]), np.zeros(3), start**2 * eye)


def _root(name: str, covariance) -> np.ndarray:
    check_covariance(name, covariance)
    values, vectors = np.linalg.eigh(symmetric(covariance))
    return vectors * np.sqrt(np.maximum(values, 0))
