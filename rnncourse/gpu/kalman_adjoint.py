"""Back-propagation through the Kalman filter: what later outputs say about each state.

For the log-likelihood as a function of a Gaussian that the filter passes through, the gradient by its
mean and the curvature tell all: the smoothed mean, the smoothed covariance, and every gradient.
"""

from typing import NamedTuple

import torch

from rnncourse.gpu.kalman import Tape
from rnncourse.gpu.lds_entry import apply, check_linear


class Adjoint(NamedTuple):
    """First and second derivatives of each sequence's log-likelihood; matrices (T, ., .) if shared, else (T, B, ., .).

    Attributes:
        predicted: lambda_t, by the predicted mean p_t, shape (T, B, H).
        predicted_curvature: Lambda_t, minus the second derivative.
        filtered: mu_t, by the mean m_t, for t = 0..T, shape (T + 1, B, H).
        filtered_curvature: M_t, minus the second derivative, T + 1 matrices.
        shift: epsilon_t, by something added to C z_t, shape (T, B, O).
        shift_curvature: minus the second derivative.
        mixed_curvature: minus the derivative of epsilon_t by p_t, matrices (O, H).
    """

    predicted: torch.Tensor
    predicted_curvature: torch.Tensor
    filtered: torch.Tensor
    filtered_curvature: torch.Tensor
    shift: torch.Tensor
    shift_curvature: torch.Tensor
    mixed_curvature: torch.Tensor


def sweep(tape: Tape) -> Adjoint:
    """Run backwards through the filter, :eq:`eq-adjoint` and :eq:`eq-adjoint-curvature`.

    Args:
        tape: from ``kalman.forward``.

    Returns:
        The derivatives. In padding they are zero.

    Raises:
        ValueError: if the tape is that of an extended filter.
    """
    check_linear(tape.problem)
    given, K, precisions = tape.problem, tape.gains, tape.precisions
    mu, M = torch.zeros_like(tape.means[0]), torch.zeros_like(tape.covariances[0])
    if given.real is not None:  # sequences that end apart curve apart
        M = torch.zeros(len(mu), *M.shape[-2:]).to(M)
    eye = torch.eye(K.shape[-2]).to(K)
    found = [[], [], [mu], [M], [], [], []]
    for t in reversed(range(len(K))):
        C, A, W = given.C[t], given.A[t], precisions[t]
        keep = eye - K[t] @ C
        MK, WC = M @ K[t], W @ C
        epsilon = apply(W, tape.surprises[t]) - apply(K[t].mT, mu)
        E, X = W + K[t].mT @ MK, WC - MK.mT @ keep
        lam, L = mu + apply(C.mT, epsilon), C.mT @ WC + keep.mT @ M @ keep
        if given.real is not None:
            L, E, X = (torch.where(given.real[t][:, :, None], part, 0) for part in (L, E, X))
        mu, M = apply(A.mT, lam), A.mT @ L @ A
        for kept, new in zip(found, (lam, L, mu, M, epsilon, E, X), strict=True):
            kept.append(new)
    return Adjoint(*(torch.stack(kept[::-1]) for kept in found))
