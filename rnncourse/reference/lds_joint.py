"""What a linear system says before anything is seen: moments of every step, and the dense joint of all."""

from typing import NamedTuple

import numpy as np

from rnncourse import doors, lds_params
from rnncourse.reference.gaussians import Gaussian, check_covariance, symmetric


class Moments(NamedTuple):
    """Means and covariances of a linear system without observations.

    Attributes:
        means: of z_0..z_T, shape (T + 1, H).
        covariances: of z_0..z_T, shape (T + 1, H, H).
        output_means: of y_1..y_T, shape (T, O).
        output_covariances: of y_1..y_T, shape (T, O, O).
    """

    means: np.ndarray
    covariances: np.ndarray
    output_means: np.ndarray
    output_covariances: np.ndarray


def moments(params: lds_params.LDSParams, steps: int, inputs=None) -> Moments:
    """Mean and covariance of every state and output, :eq:`eq-lds-moments`.

    Args:
        params: the system; its matrices may change with time.
        steps: T.
        inputs: x_1..x_T, shape (T, D); zeros unless given.

    Returns:
        The moments.

    Raises:
        ValueError: if a shape does not fit, or a covariance is none.
    """
    A, W, C, Q, R, m, P = _read(params, steps)
    x = _inputs(inputs, steps, W.shape[-1])
    means, covariances = [m], [P]
    for t in range(steps):
        means.append(A[t] @ means[-1] + W[t] @ x[t])
        covariances.append(A[t] @ covariances[-1] @ A[t].T + Q[t])
    means, covariances = np.stack(means), np.stack(covariances)
    seen = C @ covariances[1:] @ np.swapaxes(C, 1, 2) + R
    return Moments(means, covariances, (C @ means[1:, :, None])[..., 0], seen)


def dense(params: lds_params.LDSParams, steps: int, inputs=None) -> Gaussian:
    """The joint Gaussian of z_0..z_T and y_1..y_T, :eq:`eq-lds-covariances`, one huge matrix.

    Args:
        params: the system; its matrices may change with time.
        steps: T.
        inputs: x_1..x_T, shape (T, D); zeros unless given.

    Returns:
        Mean and covariance of (z_0, ..., z_T, y_1, ..., y_T), (T + 1) H + T O entries.

    Raises:
        ValueError: if a shape does not fit, or a covariance is none.
    """
    A, _, C, _, R, m, _ = _read(params, steps)
    one = moments(params, steps, inputs)
    H, O, T = len(m), C.shape[1], steps
    S = np.zeros((T + 1, H, T + 1, H))
    for s in range(T + 1):
        lag = one.covariances[s]
        for t in range(s, T + 1):
            lag = A[t - 1] @ lag if t > s else lag
            S[t, :, s], S[s, :, t] = lag, lag.T
    S = S.reshape((T + 1) * H, (T + 1) * H)
    look, noise = np.zeros((T, O, T + 1, H)), np.zeros((T, O, T, O))
    for t in range(T):
        look[t, :, t + 1], noise[t, :, t] = C[t], R[t]
    look = look.reshape(T * O, -1)
    seen = look @ S
    mean = np.concatenate([one.means.ravel(), one.output_means.ravel()])
    return Gaussian(mean, np.block([[S, seen.T], [seen, seen @ look.T + noise.reshape(T * O, T * O)]]))


def stationary(params: lds_params.LDSParams) -> np.ndarray:
    """The covariance that one step leaves as it is, :eq:`eq-lds-stationary`, for a system without inputs.

    Args:
        params: the system; every eigenvalue of A must lie inside the unit circle.

    Returns:
        The solution of P = A P A^T + Q, shape (H, H).

    Raises:
        ValueError: if A changes with time, or the system is not stable.
    """
    A, Q = params.transition, params.state_noise
    doors.shape("transition", A, ("H", "H"))
    if np.abs(np.linalg.eigvals(A)).max() >= 1:
        raise ValueError("transition: expected every eigenvalue inside the unit circle; others settle nowhere")
    H = len(A)
    return symmetric(np.linalg.solve(np.eye(H * H) - np.kron(A, A), Q.ravel()).reshape(H, H))


def _read(params, steps: int) -> tuple:
    """The letters of the page, matrices with a time axis."""
    doors.at_least("steps", steps, 1)
    lds_params.check(params, steps, 1)
    spread = [np.broadcast_to(M, (steps, *M.shape[-2:])) for M in params[:5]]
    for name in lds_params.COVARIANCES:
        check_covariance(name, getattr(params, name))
    *others, Q, R = spread
    return *others, symmetric(Q), symmetric(R), params.initial_mean, symmetric(params.initial_covariance)


def _inputs(inputs, steps: int, D: int) -> np.ndarray:
    if inputs is None:
        return np.zeros((steps, D))
    inputs = np.asarray(inputs, float)
    doors.shape("inputs", inputs, (steps, D))
    doors.finite("inputs", inputs)
    return inputs
