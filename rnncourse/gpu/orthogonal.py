"""A recurrent matrix that is orthogonal whatever its parameters are: the Cayley transform."""

from typing import NamedTuple

import torch

from rnncourse import doors
from rnncourse.gpu import graph
from rnncourse.gpu.unroll import as_floats


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    Attributes:
        free: Z, shape (H, H).
        weights: W, shape (H, H).
    """

    free: torch.Tensor
    weights: torch.Tensor


def forward(free, base=None) -> tuple[torch.Tensor, Tape]:
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
    doors.finite("free", Z.detach())
    if base is not None:
        doors.shape("base", base, tuple(Z.shape))
        doors.finite("base", base.detach())
    recorded = graph.tracked(Z)
    S, eye = recorded - recorded.T, torch.eye(len(Z)).to(Z)
    Q = torch.linalg.solve(eye + S, eye - S)
    weights = Q if base is None else base @ Q
    return graph.returned(weights, Z, base), Tape(recorded, weights)


def backward(tape: Tape, d_weights) -> torch.Tensor:
    """The gradient of the free matrix, by autograd; :eq:`eq-cayley-gradient` on the other floor.

    Args:
        tape: from :func:`forward`.
        d_weights: dL/dW, shape (H, H).

    Returns:
        dL/dZ, shape (H, H), skew-symmetric.

    Raises:
        ValueError: if the shape does not fit, or nothing was recorded.
    """
    doors.shape("d_weights", d_weights, tuple(tape.free.shape))
    return graph.pull(tape.weights, d_weights, tape.free)


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
    W = weights.detach()
    return float((W.T @ W - torch.eye(len(W)).to(W)).abs().max())
