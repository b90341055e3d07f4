"""Eigenvalues against singular values: what one matrix does when it is applied again and again."""

import torch

from rnncourse import doors
from rnncourse.gpu import graph


def radius(W: torch.Tensor) -> float:
    """Spectral radius: the largest modulus of an eigenvalue, :eq:`def-spectral-radius`.

    Args:
        W: shape (H, H).

    Returns:
        rho(W).

    Raises:
        ValueError: if W is not square, or an entry is not finite.
    """
    W = _square(W)
    return float(torch.linalg.eigvals(W).abs().max())


def departure(W: torch.Tensor) -> float:
    """How far a matrix is from normal, by Henrici's measure, :eq:`eq-departure`.

    Args:
        W: shape (H, H).

    Returns:
        The root of the sum of all squared entries minus that of all squared moduli of eigenvalues; 0 for
        a normal matrix (up to the square root of the rounding error).

    Raises:
        ValueError: if W is not square, or an entry is not finite.
    """
    W = _square(W)
    excess = W.square().sum() - torch.linalg.eigvals(W).abs().square().sum()
    return float(excess.clamp(min=0).sqrt())


def growth(W: torch.Tensor, steps: int) -> torch.Tensor:
    """Logarithms of the spectral norms of the powers W^0, W^1, ..., W^n, :eq:`eq-gelfand`.

    Args:
        W: shape (H, H).
        steps: n, the highest power.

    Returns:
        The logarithms for k = 0..n, shape (n + 1,); minus infinity once a power is zero.

    Raises:
        ValueError: if W is not square, an entry is not finite, or the number of steps is negative.
    """
    W = _square(W)
    doors.at_least("steps", steps, 0)
    return log_norms(W.expand(steps, 1, *W.shape))[:, 0]


def log_norms(J: torch.Tensor) -> torch.Tensor:
    """Logarithms of the spectral norms of growing products J_t ... J_1.

    The product is scaled back to length 1 at every step and the scales' logarithms are added up, so
    that neither overflow nor underflow can end it.

    Args:
        J: J_1..J_T, for example from ``jacobians.steps``, shape (T, B, H, H).

    Returns:
        The logarithms for t = 0..T, shape (T + 1, B); minus infinity once a product is zero.

    Raises:
        ValueError: if the shape does not fit, or an entry is not finite.
    """
    doors.shape("J", J, ("T", "B", J.shape[-1], J.shape[-1]))
    J = graph.cut(J)
    doors.finite("J", J)
    total = torch.eye(J.shape[-1]).to(J).expand(J.shape[1:])
    logs = [torch.zeros(J.shape[1]).to(J)]
    for J_t in J:
        total = J_t @ total
        size = torch.linalg.matrix_norm(total, 2)
        logs.append(logs[-1] + size.log())
        total = total / torch.where(size > 0, size, 1)[:, None, None]
    return torch.stack(logs)


def _square(W: torch.Tensor) -> torch.Tensor:
    doors.shape("W", W, (W.shape[-1] if W.ndim else "H", "H"))
    W = graph.cut(W)
    doors.finite("W", W)
    return W
