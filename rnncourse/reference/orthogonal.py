"""A recurrent matrix that is orthogonal whatever its parameters are: the Cayley transform."""

from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.reference.unroll import as_floats


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    Attributes:
        skew: S = Z - Z^T, shape (H, H).
        rotation: Q = (I + S)^{-1} (I - S), shape (H, H).
        base: W_0, shape (H, H), or None for the identity.
    """

    skew: np.ndarray
    rotation: np.ndarray
    base: np.ndarray | None


def forward(free, base=None) -> tuple[np.ndarray, Tape]:
    """An orthogonal matrix from any square one, :eq:`def-cayley`: W = W_0 (I + S)^{-1} (I - S), S = Z - Z^T.

    I + S can always be inverted, since the eigenvalues of a skew-symmetric matrix are imaginary. Where
    Z is zero, W is W_0.

    Args:
        free: Z, shape (H, H); only the difference of its two triangles counts.
        base: W_0, an orthogonal matrix to start from, shape (H, H); the identity unless given.

    Returns:
        ``(weights, tape)``: W, shape (H, H), and what :func:`backward` needs.

    Raises:
        ValueError: if a shape does not fit, or an entry is not finite.
    """
    Z = as_floats(free)
    doors.shape("free", Z, 2 * tuple(Z.shape[-1:]) or ("H", "H"))
    doors.finite("free", Z)
    S, eye = Z - Z.T, np.eye(len(Z), dtype=Z.dtype)
    Q = np.linalg.solve(eye + S, eye - S)
    if base is None:
        return Q, Tape(S, Q, None)
    doors.shape("base", base, Z.shape)
    doors.finite("base", base)
    return base @ Q, Tape(S, Q, base)


def backward(tape: Tape, d_weights) -> np.ndarray:
    """The gradient of the free matrix, :eq:`eq-cayley-gradient`.

    Args:
        tape: from :func:`forward`.
        d_weights: dL/dW, shape (H, H).

    Returns:
        dL/dZ, shape (H, H), skew-symmetric.

    Raises:
        ValueError: if the shape does not fit.
    """
    S, Q, base = tape
    doors.shape("d_weights", d_weights, S.shape)
    eye = np.eye(len(S), dtype=S.dtype)
    G = d_weights if base is None else base.T @ d_weights
    M = -np.linalg.solve(eye - S, G @ (eye + Q).T)
    return M - M.T


def departure(weights) -> float:
    """How far a matrix is from orthogonal: the largest entry of W^T W - I in size.

    Args:
        weights: W, shape (H, H).

    Returns:
        Zero, up to rounding, if W is orthogonal.

    Raises:
        ValueError: if it is not square.
    """
    doors.shape("weights", weights, (weights.shape[-1], weights.shape[-1]))
    return float(abs(weights.T @ weights - np.eye(len(weights))).max())
