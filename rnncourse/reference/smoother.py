"""The smoother: what all outputs, earlier and later, say about every state."""

from typing import NamedTuple

import numpy as np

from rnncourse.reference import kalman_adjoint
from rnncourse.reference.gaussians import divide, symmetric
from rnncourse.reference.kalman import Tape
from rnncourse.reference.lds_entry import apply, grouped


class Smoothed(NamedTuple):
    """Moments of the states given all outputs. Those of padding mean nothing.

    Attributes:
        means: of z_0..z_T, shape (T + 1, B, H).
        covariances: the same, shape (T + 1, G, H, H): G is 1 where all sequences share them, else B.
        cross_covariances: of z_t with z_{t-1}, t = 1..T, a row for each entry of z_t, shape (T, G, H, H).
    """

    means: np.ndarray
    covariances: np.ndarray
    cross_covariances: np.ndarray


def rts(tape: Tape) -> Smoothed:
    """Rauch, Tung and Striebel's smoother, :eq:`eq-rts` and :eq:`eq-rts-cross`.

    Args:
        tape: from ``kalman.forward``, or from ``ekf.forward``: then it is the extended smoother.

    Returns:
        The moments of every state given all outputs.
    """
    given = tape.problem
    mean, V = tape.means[-1], tape.covariances[-1]
    means, covariances, cross = [mean], [V], []
    for t in reversed(range(len(tape.gains))):
        before, F, A = tape.means[t], tape.covariances[t], given.A[t]
        G = divide(F @ A.mT, tape.predicted_covariances[t])
        keep = np.eye(F.shape[-1], dtype=F.dtype) - G @ A
        moved = before + apply(G, mean - tape.predicted_means[t])
        spread = symmetric(keep @ F @ keep.mT + G @ (V + given.Q[t]) @ G.mT)
        both = V @ G.mT
        if given.real is None:
            mean, V = moved, spread
        else:  # a sequence begins to look back at its own last step
            mean, V = np.where(given.real[t], moved, before), np.where(given.real[t][:, :, None], spread, F)
        for kept, new in zip((means, covariances, cross), (mean, V, both), strict=True):
            kept.append(new)
    return _all(means, covariances, cross)


def adjoint(tape: Tape) -> Smoothed:
    """The same from gradients, :eq:`eq-posterior-gradient`, without the inverse of a predicted covariance.

    It subtracts: where the filter's covariance is large beside the smoothed one, as after a vague start,
    digits are lost, down to negative variances. Use :func:`rts` there.

    Args:
        tape: from ``kalman.forward``.

    Returns:
        The moments of every state given all outputs.

    Raises:
        ValueError: if the tape is that of an extended filter.
    """
    back, A = kalman_adjoint.sweep(tape), grouped(tape.problem.A)
    F, P = grouped(tape.covariances), grouped(tape.predicted_covariances)
    M, L = grouped(back.filtered_curvature), grouped(back.predicted_curvature)
    means = tape.means + (F @ back.filtered[..., None])[..., 0]
    cross = (np.eye(F.shape[-1], dtype=F.dtype) - P @ L) @ A @ F[:-1]
    return Smoothed(means, symmetric(F - F @ M @ F), cross)


def filtered(tape: Tape) -> Smoothed:
    """The filter's own moments in the smoother's place, each with the outputs up to its step: wrong in EM.

    Args:
        tape: from ``kalman.forward``.

    Returns:
        Moments of z_t given y_1..y_t, and of z_t with z_{t-1} given the same.
    """
    F, K = grouped(tape.covariances), grouped(tape.gains)
    keep = np.eye(F.shape[-1], dtype=F.dtype) - K @ grouped(tape.problem.C)
    return Smoothed(tape.means, F, keep @ grouped(tape.problem.A) @ F[:-1])


def _all(means, covariances, cross) -> Smoothed:
    """Stack what was found from the last step to the first; the last covariance may have lacked the batch axis."""
    full = covariances[-1].shape
    covariances = [np.broadcast_to(V, full) for V in covariances[::-1]]
    cross = [np.broadcast_to(V, full) for V in cross[::-1]]
    return Smoothed(np.stack(means[::-1]), grouped(np.stack(covariances)), grouped(np.stack(cross)))
