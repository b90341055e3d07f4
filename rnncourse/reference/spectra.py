"""Eigenvalues against singular values: what one matrix does when it is applied again and again."""

import numpy as np

from rnncourse import doors


def radius(W: np.ndarray) -> float:
    """Spectral radius: the largest modulus of an eigenvalue, :eq:`def-spectral-radius`.

    Args:
        W: shape (H, H).

    Returns:
        rho(W).

    Raises:
        ValueError: if W is not square, or an entry is not finite.
    """
    _square(W)
    return float(abs(np.linalg.eigvals(W)).max())


def departure(W: np.ndarray) -> float:
    """How far a matrix is from normal, by Henrici's measure, :eq:`eq-departure`.

    Args:
        W: shape (H, H).

    Returns:
        The root of the sum of all squared entries minus that of all squared moduli of eigenvalues; 0 for
        a normal matrix (up to the square root of the rounding error).

    Raises:
        ValueError: if W is not square, or an entry is not finite.
    """
    _square(W)
    excess = (W * W).sum() - (abs(np.linalg.eigvals(W)) ** 2).sum()
    return float(np.sqrt(max(excess, 0.0)))


def growth(W: np.ndarray, steps: int) -> np.ndarray:
    """Logarithms of the spectral norms of the powers W^0, W^1, ..., W^n, :eq:`eq-gelfand`.

    Args:
        W: shape (H, H).
        steps: n, the highest power.

    Returns:
        The logarithms for k = 0..n, shape (n + 1,); minus infinity once a power is zero.

    Raises:
        ValueError: if W is not square, an entry is not finite, or the number of steps is negative.
    """
    _square(W)
    doors.at_least("steps", steps, 0)
    return log_norms(np.broadcast_to(W, (steps, 1, *W.shape)))[:, 0]


def log_norms(J: np.ndarray) -> np.ndarray:
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
    doors.finite("J", J)
    T, B, H, _ = J.shape
    total = np.broadcast_to(np.eye(H, dtype=J.dtype), (B, H, H))
    logs = np.zeros((T + 1, B))
    for t in range(T):
        total = J[t] @ total
        size = np.linalg.norm(total, 2, axis=(1, 2))
        with np.errstate(divide="ignore"):
            logs[t + 1] = logs[t] + np.log(size)
        total = total / np.where(size > 0, size, 1)[:, None, None]
    return logs


def _square(W: np.ndarray) -> None:
    doors.shape("W", W, (W.shape[-1] if W.ndim else "H", "H"))
    doors.finite("W", W)
