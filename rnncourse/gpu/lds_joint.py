"""What a linear system says before anything is seen: moments of every step, and the dense joint of all."""

from typing import NamedTuple

import torch

from rnncourse import doors, lds_params
from rnncourse.gpu.gaussians import Gaussian, check_covariance, symmetric


class Moments(NamedTuple):
    """Means and covariances of a linear system without observations.

    Attributes:
        means: of z_0..z_T, shape (T + 1, H).
        covariances: of z_0..z_T, shape (T + 1, H, H).
        output_means: of y_1..y_T, shape (T, O).
        output_covariances: of y_1..y_T, shape (T, O, O).
    """

    means: torch.Tensor
    covariances: torch.Tensor
    output_means: torch.Tensor
    output_covariances: torch.Tensor


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
    x = _inputs(inputs, steps, W)
    means, covariances = [m], [P]
    for t in range(steps):
        means.append(A[t] @ means[-1] + W[t] @ x[t])
        covariances.append(A[t] @ covariances[-1] @ A[t].T + Q[t])
    means, covariances = torch.stack(means), torch.stack(covariances)
    return Moments(means, covariances, (C @ means[1:, :, None])[..., 0], C @ covariances[1:] @ C.mT + R)


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
    lags = [[one.covariances[s]] for s in range(steps + 1)]
    for s, column in enumerate(lags):
        for t in range(s, steps):
            column.append(A[t] @ column[-1])
    S = torch.cat([torch.cat([lags[s][t - s] if t >= s else lags[t][s - t].T for s in range(steps + 1)], 1)
                   for t in range(steps + 1)])  # fmt: skip
    look = torch.block_diag(*C)
    look = torch.cat([torch.zeros(len(look), len(m)).to(look), look], 1)
    seen = look @ S
    mean = torch.cat([one.means.reshape(-1), one.output_means.reshape(-1)])
    below = torch.cat([seen, seen @ look.T + torch.block_diag(*R)], 1)
    return Gaussian(mean, torch.cat([torch.cat([S, seen.T], 1), below]))


def stationary(params: lds_params.LDSParams) -> torch.Tensor:
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
    if torch.linalg.eigvals(A.detach()).abs().max() >= 1:
        raise ValueError("transition: expected every eigenvalue inside the unit circle; others settle nowhere")
    H = len(A)
    return symmetric(torch.linalg.solve(torch.eye(H * H).to(A) - torch.kron(A, A), Q.reshape(-1)).reshape(H, H))


def _read(params, steps: int) -> tuple:
    """The letters of the page, matrices with a time axis."""
    doors.at_least("steps", steps, 1)
    lds_params.check(params, steps, 1)
    spread = [torch.broadcast_to(M, (steps, *M.shape[-2:])) for M in params[:5]]
    for name in lds_params.COVARIANCES:
        check_covariance(name, getattr(params, name))
    *others, Q, R = spread
    return *others, symmetric(Q), symmetric(R), params.initial_mean, symmetric(params.initial_covariance)


def _inputs(inputs, steps: int, W) -> torch.Tensor:
    if inputs is None:
        return torch.zeros(steps, W.shape[-1]).to(W)
    doors.shape("inputs", inputs, (steps, W.shape[-1]))
    doors.finite("inputs", inputs.detach())
    return inputs
