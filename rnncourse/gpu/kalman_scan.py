"""The Kalman filter and the smoother by scans: depth log T in the place of T.

A stretch of steps is summed up by what it makes of any state it is entered from: a Gaussian whose mean is
affine in that state, and how likely the stretch is, a quadratic function of that state. Two stretches
combine into one, so all prefixes come out of a tree. The smoother is a second scan, back from the end.
"""

from typing import NamedTuple

import torch

from rnncourse.gpu import kalman, scan
from rnncourse.gpu.gaussians import divide, symmetric
from rnncourse.gpu.kalman import Filtered, Tape
from rnncourse.gpu.lds_entry import Problem, enter, grouped
from rnncourse.gpu.smoother import Smoothed
from rnncourse.lds_params import LDSParams


class Stretch(NamedTuple):
    """What steps s+1..t make of the state z_s, :eq:`def-kalman-stretch`; G is B, or 1 where all sequences share it.

    Attributes:
        matrix: F of z_t's mean F z_s + f, shape (..., G, H, H).
        shift: f, shape (..., B, H).
        covariance: V, of z_t given z_s and the outputs of the stretch, shape (..., G, H, H).
        pull: n of the log likelihood n^T z_s - z_s^T N z_s / 2 of these outputs, shape (..., B, H).
        precision: N, shape (..., G, H, H).
    """

    matrix: torch.Tensor
    shift: torch.Tensor
    covariance: torch.Tensor
    pull: torch.Tensor
    precision: torch.Tensor


class Link(NamedTuple):
    """z_t given z_s and the outputs up to s - 1, for s > t: mean E z_s + u, covariance U, :eq:`eq-smoother-combine`.

    Attributes:
        matrix: E, shape (..., G, H, H).
        shift: u, shape (..., B, H).
        covariance: U, shape (..., G, H, H).
    """

    matrix: torch.Tensor
    shift: torch.Tensor
    covariance: torch.Tensor


def forward(params: LDSParams, outputs, inputs=None, observed=None):
    """Filter a batch of sequences by one scan, :eq:`eq-kalman-combine`.

    Args:
        params: the system; its matrices may change with time, and from sequence to sequence.
        outputs: y, shape (T, B, O). Where not observed, it may hold anything, NaN included.
        inputs: x, shape (T, B, D); may be left out where D is 0.
        observed: booleans, shape (T, B) or (T, B, O): what was seen; all unless given.

    Returns:
        ``(filtered, tape)``, as from ``kalman.forward``.

    Raises:
        ValueError: as ``kalman.forward``, or if C Q C^T + R is singular, which the loop does not need.
    """
    given = enter(params, outputs, inputs, observed)
    prior, steps = _prior(given), _steps(given)
    elements = Stretch(*(torch.cat([first, rest]) for first, rest in zip(prior, steps, strict=True)))
    known = scan.prefixes(combine, elements)  # entered from nowhere: the matrix is 0
    tape = _tape(given, known.shift, symmetric(known.covariance))
    value = kalman.log_likelihood(given, tape.surprises, torch.linalg.inv(tape.precisions), tape.precisions)
    return Filtered(tape.means[1:], grouped(tape.covariances[1:]), value), tape


def combine(early: Stretch, late: Stretch) -> Stretch:
    """Two neighbouring stretches as one, :eq:`eq-kalman-combine`.

    Args:
        early: the first.
        late: the one that follows.

    Returns:
        Both together.
    """
    F, f, V, n, N = early
    F_late, f_late, V_late, n_late, N_late = late
    M = torch.linalg.inv(torch.eye(V.shape[-1]).to(V) + V @ N_late)
    onward, back = F_late @ M, F.mT @ M.mT
    return Stretch(
        onward @ F,
        _times(onward, f + _times(V, n_late)) + f_late,
        symmetric(onward @ V @ F_late.mT + V_late),
        _times(back, n_late - _times(N_late, f)) + n,
        symmetric(back @ N_late @ F + N),
    )


def smooth(tape: Tape) -> Smoothed:
    """Rauch, Tung and Striebel's smoother as a scan from the end, :eq:`eq-smoother-combine`.

    Args:
        tape: from :func:`forward`, or from ``kalman.forward`` of sequences without padding.

    Returns:
        The moments of every state given all outputs, as from ``smoother.rts``.

    Raises:
        ValueError: if sequences are padded.
    """
    given = tape.problem
    if given.real is not None:
        raise ValueError("tape: expected sequences without padding; smoother.rts takes lengths")
    A, Q, V, P = (grouped(stack) for stack in (given.A, given.Q, tape.covariances, tape.predicted_covariances))
    G = divide(V[:-1] @ A.mT, P)
    keep = torch.eye(V.shape[-1]).to(V) - G @ A
    spread = symmetric(keep @ V[:-1] @ keep.mT + G @ Q @ G.mT)
    shift = tape.means[:-1] - _times(G, tape.predicted_means)
    last = Link(torch.zeros_like(V[-1:]), tape.means[-1:], V[-1:])  # nothing comes after it
    links = Link(*(torch.cat([one, end]) for one, end in zip((G, shift, spread), last, strict=True)))
    found = scan.suffixes(join, links)
    covariances = symmetric(found.covariance)
    return Smoothed(found.shift, covariances, covariances[1:] @ G.mT)


def join(early: Link, late: Link) -> Link:
    """Two links of the smoother as one, :eq:`eq-smoother-combine`.

    Args:
        early: from z_s to z_t, t < s.
        late: from z_r to z_s, s < r.

    Returns:
        From z_r to z_t.
    """
    E, u, U = early
    E_late, u_late, U_late = late
    return Link(E @ E_late, _times(E, u_late) + u, symmetric(E @ U_late @ E.mT + U))


def _prior(given: Problem) -> Stretch:
    """z_0 as a stretch that forgets what it is entered from."""
    P = given.covariance if given.covariance.ndim == 3 else given.covariance[None]
    nothing, m = torch.zeros_like(P)[None], given.mean[None]
    return Stretch(nothing, m, P[None], torch.zeros_like(m), nothing)


def _steps(given: Problem) -> Stretch:
    """Every step as a stretch, :eq:`eq-kalman-element`: all at once, for none needs the one before."""
    A, C, Q, R = (grouped(stack) for stack in given[1:5])
    CQ = C @ Q
    precision = kalman.inverse(CQ @ C.mT + R)
    gain = CQ.mT @ precision
    keep = torch.eye(Q.shape[-1]).to(Q) - gain @ C
    surprise = given.outputs - _times(C, given.drive)  # of a state that comes from z = 0
    look = (C @ A).mT @ precision  # A^T C^T S^-1
    V = symmetric(keep @ Q @ keep.mT + gain @ R @ gain.mT)
    return Stretch(keep @ A, given.drive + _times(gain, surprise), V, _times(look, surprise), symmetric(look @ C @ A))


def _tape(given: Problem, means, covariances) -> Tape:
    """What the filter's loop would have kept, from the filtered moments, all steps at once."""
    A, C, Q, R = (grouped(stack) for stack in given[1:5])
    P = symmetric(A @ covariances[:-1] @ A.mT + Q)
    p = _times(A, means[:-1]) + given.drive
    S = C @ P @ C.mT + R
    precisions = kalman.inverse(S)
    e = torch.where(given.seen, given.outputs - _times(C, p), 0)
    stacks = (covariances, P, precisions, P @ C.mT @ precisions)
    if given.covariance.ndim == 2:  # shared by all sequences
        stacks = tuple(stack[:, 0] for stack in stacks)
    V, P, precisions, gains = stacks
    return Tape(given, means, V, p, P, e, precisions, gains)


def _times(matrix, rows) -> torch.Tensor:
    return (matrix @ rows[..., None])[..., 0]
