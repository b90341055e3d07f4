"""Draws from recurrent networks with noise in the state and in the output."""

import numpy as np

from rnncourse import doors, lds_params
from rnncourse.data.processes import Path
from rnncourse.lds_params import LDSParams

FUNCTIONS = {
    "tanh": np.tanh,
    "sigmoid": lambda a: 0.5 + 0.5 * np.tanh(0.5 * a),
    "relu": lambda a: np.maximum(a, 0),
    "identity": lambda a: a,
}


def sample(
    rng: np.random.Generator,
    params: LDSParams,
    steps: int,
    size: int,
    inputs=None,
    functions: tuple = ("tanh", "identity"),
) -> Path:
    """Draw from a stochastic RNN, :eq:`def-stochastic-rnn`: z_0, then z_1..z_T with their outputs.

    Args:
        rng: the source of randomness.
        params: the matrices of the network and its noises; none may change with time.
        steps: T.
        size: B.
        inputs: x, shape (T, B, D); zeros unless given.
        functions: names of g, which makes the state, and of f, which makes the output.

    Returns:
        States z_1..z_T, shape (T, B, H), and outputs, shape (T, B, O).

    Raises:
        ValueError: if a shape does not fit, an entry is not finite, a covariance is none, or there is no such function.
    """
    doors.at_least("steps", steps, 1)
    doors.at_least("size", size, 1)
    if isinstance(functions, str) or len(functions) != 2:
        raise ValueError(f"functions: expected two names, of g and of f, got {functions!r}")
    for name in functions:
        doors.one_of("functions", name, FUNCTIONS)
    g, f = (FUNCTIONS[name] for name in functions)
    H, D, O = lds_params.check(params, 1, 1)
    A, W, C, Q, R, m, P = params
    for name, part in zip(params._fields, params, strict=True):
        doors.shape(name, part, part.shape[-2:] if part.ndim > 1 else part.shape)
        doors.finite(name, part)
    x = np.zeros((steps, size, D)) if inputs is None else np.asarray(inputs, float)
    doors.shape("inputs", x, (steps, size, D))
    doors.finite("inputs", x)
    push, blur, start = (_root(name, S) for name, S in zip(lds_params.COVARIANCES, (Q, R, P), strict=True))
    z = [m + rng.standard_normal((size, H)) @ start.T]
    for t in range(steps):
        z.append(g(z[-1] @ A.T + x[t] @ W.T) + rng.standard_normal((size, H)) @ push.T)
    z = np.stack(z[1:])
    return Path(z, f(z @ C.T) + rng.standard_normal((steps, size, O)) @ blur.T)


def turning(rng: np.random.Generator, gain: float = 1.6, outputs: int = 2, noise: float = 0.05) -> LDSParams:
    """A random tanh network of four units that never settles, seen through a few outputs.

    Args:
        rng: the source of randomness.
        gain: every singular value of A.
        outputs: O.
        noise: the variance of every noise.

    Returns:
        Its parameters, for tanh in the state and in the output; z_0 is normal with variance 1/4.

    Raises:
        ValueError: if there is no output, or the noise no variance.
    """
    doors.at_least("outputs", outputs, 1)
    _check_variance("noise", noise)
    A = gain * np.linalg.qr(rng.standard_normal((4, 4)))[0]
    C = 1.2 * rng.standard_normal((outputs, 4))
    return LDSParams(A, np.zeros((4, 0)), C, noise * np.eye(4), noise * np.eye(outputs), np.zeros(4), np.eye(4) / 4)


def two_wells(gain: float = 2.0, push: float = 0.1, blur: float = 1.0) -> LDSParams:
    """One state that rests near +1 or near -1 and seldom changes sides, with tanh; each look is badly blurred.

    Args:
        gain: A, above 1.
        push: the variance of the noise of the state.
        blur: the variance of the noise of the output.

    Returns:
        Its parameters, for tanh in the state; z_0 is standard normal, so either side is as likely as the other.

    Raises:
        ValueError: if one of the two is no variance.
    """
    _check_variance("push", push)
    _check_variance("blur", blur)
    one = np.ones((1, 1))
    return LDSParams(gain * one, np.zeros((1, 0)), one, push * one, blur * one, np.zeros(1), one)


def _check_variance(name: str, value: float) -> None:
    if not 0 <= value < np.inf:
        raise ValueError(f"{name}: expected a variance, 0 or more, got {value!r}")


def _root(name: str, covariance) -> np.ndarray:
    values, vectors = np.linalg.eigh(covariance)
    if not np.allclose(covariance, covariance.T) or values.min() < -1e-9 * max(1.0, values.max()):
        raise ValueError(f"{name}: expected a symmetric matrix without negative eigenvalues")
    return vectors * np.sqrt(np.maximum(values, 0))
