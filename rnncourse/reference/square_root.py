"""The Kalman filter on square roots: it carries L with P = L L^T, so P cannot become indefinite.

L also holds twice as many digits of P as P itself: its entries span half as many powers of ten.
"""

import math
from typing import NamedTuple

import numpy as np

from rnncourse.lds_params import LDSParams
from rnncourse.reference import kalman
from rnncourse.reference.lds_entry import apply, enter, grouped


class Rooted(NamedTuple):
    """What the filter knows after each step.

    Attributes:
        means: of z_t given y_1..y_t, shape (T, B, H); zero in padding.
        factors: lower triangular L_t with covariance L_t L_t^T, shape (T, G, H, H): G is 1 where all
            sequences share them, else B. Those of padding mean nothing.
        log_likelihood: log p(y_1..y_T) of what was seen of each sequence, in nats, shape (B,).
    """

    means: np.ndarray
    factors: np.ndarray
    log_likelihood: np.ndarray


def root(S) -> np.ndarray:
    """A square root of covariances, singular ones too.

    Args:
        S: shape (..., N, N), symmetric, without negative eigenvalues.

    Returns:
        Some M with M M^T = S, the same shape.
    """
    size = np.sqrt(np.diagonal(S, axis1=-2, axis2=-1).clip(0))
    scale = np.where(size > 0, size, 1)  # units must not decide how many digits are kept
    values, vectors = np.linalg.eigh(S / scale[..., :, None] / scale[..., None, :])
    return scale[..., :, None] * vectors * np.sqrt(np.maximum(values, 0))[..., None, :]


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
    return apply(A, mean) + drive, triangular(np.concatenate([A @ factor, root_Q], axis=-1))


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
    empty = np.zeros((*factor.shape[:-1], O), factor.dtype)
    top = np.concatenate([root_R, C @ factor], axis=-1)
    both = triangular(np.concatenate([top, np.concatenate([empty, factor], axis=-1)], axis=-2))
    root_S = both[..., :O, :O]
    noise = np.finfo(top.dtype).eps * both.shape[-1] * np.linalg.norm(top, axis=-1)
    if np.any(np.abs(np.diagonal(root_S, axis1=-2, axis2=-1)) <= noise):  # nothing is left of it but rounding
        raise ValueError(kalman.SINGULAR)
    whitened = apply(np.linalg.inv(root_S), surprise)
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
        e = np.where(given.seen[t], y[t] - apply(given.C[t], p), 0)
        after, L, w, root_S = update(p, spread, given.C[t], root_R[t], e)
        m = after if real is None else np.where(real[t], after, m)
        for row, value in zip((means, factors, white, sizes), (m, L, w, root_S), strict=True):
            row.append(value)
    means, w = np.stack(means), np.stack(white)
    half = np.log(np.abs(np.diagonal(grouped(np.stack(sizes)), axis1=-2, axis2=-1))).sum(axis=-1)
    terms = -0.5 * ((w * w).sum(axis=-1) + given.seen.sum(axis=-1).astype(half.dtype) * math.log(2 * math.pi)) - half
    terms = terms if real is None else np.where(real[:, :, 0], terms, 0)
    return Rooted(means if real is None else np.where(real, means, 0), grouped(np.stack(factors)), terms.sum(axis=0))


def triangular(M) -> np.ndarray:
    """A lower triangular L with L L^T = M M^T, by an orthogonal transformation of the columns of M.

    Args:
        M: shape (..., N, K) with K >= N.

    Returns:
        L, shape (..., N, N).
    """
    return np.linalg.qr(M.mT, mode="r").mT


def _roots(stack) -> np.ndarray:
    """Square roots of all steps; one that all steps share is taken once."""
    if stack.strides[0] == 0:
        return np.broadcast_to(root(stack[0]), stack.shape)
    return root(stack)
