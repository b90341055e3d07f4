"""The Kalman filter on square roots: it carries L with P = L L^T, so P cannot become indefinite.

L also holds twice as many digits of P as P itself: its entries span half as many powers of ten.
"""

import math
from typing import NamedTuple

import torch

from rnncourse.gpu import kalman
from rnncourse.gpu.lds_entry import apply, enter, grouped
from rnncourse.lds_params import LDSParams


class Rooted(NamedTuple):
    """What the filter knows after each step.

    Attributes:
        means: of z_t given y_1..y_t, shape (T, B, H); zero in padding.
        factors: lower triangular L_t with covariance L_t L_t^T, shape (T, G, H, H): G is 1 where all
            sequences share them, else B. Those of padding mean nothing.
        log_likelihood: log p(y_1..y_T) of what was seen of each sequence, in nats, shape (B,).
    """

    means: torch.Tensor
    factors: torch.Tensor
    log_likelihood: torch.Tensor


def root(S) -> torch.Tensor:
    """A square root of covariances, singular ones too.

    Args:
        S: shape (..., N, N), symmetric, without negative eigenvalues.

    Returns:
        Some M with M M^T = S, the same shape.
    """
    size = torch.sqrt(torch.diagonal(S, dim1=-2, dim2=-1).clamp(min=0))
    scale = torch.where(size > 0, size, 1)  # units must not decide how many digits are kept
    values, vectors = torch.linalg.eigh(S / scale[..., :, None] / scale[..., None, :])
    return scale[..., :, None] * vectors * torch.sqrt(values.clamp(min=0))[..., None, :]


def predict(mean, factor, A, root_Q, drive=0.0):
    """One step without an observation, :eq:`eq-square-root-predict`.

    Args:
        mean: of z_{t-1}, shape (B, H).
        factor: L with L L^T its covariance, shape (H, H) if shared, else (B, H, H).
        A: transition, shape (H, H) or (B, H, H).
        root_Q: a square root of Q, likewise.
        drive: what is added to the mean, W_x x_t, shape (B, H).

    Returns:
        ``(mean, factor)`` of z_t, the factor lower triangular.
    """
    return apply(A, mean) + drive, triangular(torch.cat([A @ factor, root_Q], dim=-1))


def update(mean, factor, C, root_R, surprise):
    """Take in an observation, :eq:`eq-square-root-update`.

    Args:
        mean: p_t, of z_t before, shape (B, H).
        factor: of its covariance, shape (H, H) if shared, else (B, H, H).
        C: emission, shape (O, H) or (B, O, H).
        root_R: a square root of R, shape (O, O) or (B, O, O).
        surprise: e_t = y_t - C p_t, shape (B, O).

    Returns:
        ``(mean, factor, whitened, root_S)``: of z_t after; the surprise divided by root_S, shape (B, O);
        a square root of the covariance of the surprise, lower triangular.

    Raises:
        ValueError: if the surprise has a singular covariance.
    """
    O = C.shape[-2]
    empty = torch.zeros(*factor.shape[:-1], O).to(factor)
    top = torch.cat([root_R, C @ factor], dim=-1)
    both = triangular(torch.cat([top, torch.cat([empty, factor], dim=-1)], dim=-2))
    root_S = both[..., :O, :O]
    noise = torch.finfo(top.dtype).eps * both.shape[-1] * torch.linalg.vector_norm(top, dim=-1)
    if (torch.abs(torch.diagonal(root_S, dim1=-2, dim2=-1)) <= noise).any():  # nothing is left of it but rounding
        raise ValueError(kalman.SINGULAR)
    whitened = apply(torch.linalg.inv(root_S), surprise)
    return mean + apply(both[..., O:, :O], whitened), both[..., O:, O:], whitened, root_S


def forward(params: LDSParams, outputs, inputs=None, observed=None, lengths=None) -> Rooted:
    """Filter a batch of sequences as ``kalman.forward`` does, on square roots.

    Args:
        params: the system; its matrices may change with time, and from sequence to sequence.
        outputs: y, shape (T, B, O). Where not observed, and in padding, it may hold anything, NaN included.
        inputs: x, shape (T, B, D); may be left out where D is 0.
        observed: booleans, shape (T, B) or (T, B, O): what was seen; all unless given.
        lengths: real steps of each sequence, shape (B,); all T unless given.

    Returns:
        What is known after each step.

    Raises:
        ValueError: as ``kalman.forward``.
    """
    given = enter(params, outputs, inputs, observed, lengths)
    y, real, m, L = given.outputs, given.real, given.mean, root(given.covariance)
    root_Q, root_R = _roots(given.Q), _roots(given.R)
    means, factors, white, sizes = [], [], [], []
    for t in range(len(y)):
        p, spread = predict(m, L, given.A[t], root_Q[t], given.drive[t])
        e = torch.where(given.seen[t], y[t] - apply(given.C[t], p), 0)
        after, L, w, root_S = update(p, spread, given.C[t], root_R[t], e)
        m = after if real is None else torch.where(real[t], after, m)
        for row, value in zip((means, factors, white, sizes), (m, L, w, root_S), strict=True):
            row.append(value)
    means, w = torch.stack(means), torch.stack(white)
    half = torch.log(torch.abs(torch.diagonal(grouped(torch.stack(sizes)), dim1=-2, dim2=-1))).sum(dim=-1)
    terms = -0.5 * ((w * w).sum(dim=-1) + given.seen.sum(dim=-1).to(w) * math.log(2 * math.pi)) - half
    terms = terms if real is None else torch.where(real[:, :, 0], terms, 0)
    return Rooted(
        means if real is None else torch.where(real, means, 0), grouped(torch.stack(factors)), terms.sum(dim=0)
    )


def triangular(M) -> torch.Tensor:
    """A lower triangular L with L L^T = M M^T, by an orthogonal transformation of the columns of M.

    Args:
        M: shape (..., N, K) with K >= N.

    Returns:
        L, shape (..., N, N).
    """
    return torch.linalg.qr(M.mT).R.mT


def _roots(stack) -> torch.Tensor:
    """Square roots of all steps; one that all steps share is taken once."""
    if stack.stride(0) == 0:
        return torch.broadcast_to(root(stack[0]), stack.shape)
    return root(stack)
