"""The gradient of the log-likelihood of a linear system, by hand: back-propagation through the filter."""

from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.lds_params import LDSParams
from rnncourse.reference import kalman, kalman_adjoint
from rnncourse.reference.gaussians import symmetric
from rnncourse.reference.lds_entry import grouped


class Gradients(NamedTuple):
    """Total derivatives of the weighted sum of the log-likelihoods.

    Attributes:
        params: in the form of the parameters. Of a covariance, the gradient is symmetric.
        inputs: by x, shape (T, B, D).
        outputs: by y, zero where not seen, shape (T, B, O).
    """

    params: LDSParams
    inputs: np.ndarray
    outputs: np.ndarray


def forward(params: LDSParams, outputs, inputs=None, observed=None, lengths=None):
    """The log-likelihood of a batch of sequences, by the Kalman filter.

    Args:
        params: the system; its matrices may change with time, and from sequence to sequence.
        outputs: y, shape (T, B, O). Where not observed, and in padding, it may hold anything, NaN included.
        inputs: x, shape (T, B, D); may be left out where D is 0.
        observed: booleans, shape (T, B) or (T, B, O): what was seen; all unless given.
        lengths: real steps of each sequence, shape (B,); all T unless given.

    Returns:
        ``(log_likelihood, tape)``: one number for each sequence, shape (B,), and what :func:`backward` needs.

    Raises:
        ValueError: as ``kalman.forward``.
    """
    filtered, tape = kalman.forward(params, outputs, inputs, observed, lengths)
    return filtered.log_likelihood, tape


def backward(tape: kalman.Tape, d_log_likelihood=None) -> Gradients:
    """The gradient by every parameter, :eq:`eq-lds-gradients`. No noise need be invertible.

    Args:
        tape: from :func:`forward`.
        d_log_likelihood: the weight of each sequence, shape (B,); 1 unless given.

    Returns:
        The gradients.

    Raises:
        ValueError: if the weights do not fit, or the tape is that of an extended filter.
    """
    given, back = tape.problem, kalman_adjoint.sweep(tape)
    _T, B, _ = given.outputs.shape
    dtype = tape.surprises.dtype
    w = np.ones(B, dtype) if d_log_likelihood is None else np.asarray(d_log_likelihood, dtype)
    doors.shape("d_log_likelihood", w, (B,))
    lam, mu, epsilon = (w[:, None] * row for row in (back.predicted, back.filtered, back.shift))
    L, M, E, X = (grouped(part) for part in (back.predicted_curvature, back.filtered_curvature, *back[5:]))
    F, P, A = grouped(tape.covariances), grouped(tape.predicted_covariances), grouped(given.A)
    smoothed = tape.means + (F @ back.filtered[..., None])[..., 0]
    seen = given.seen[..., None] & given.seen[..., None, :]
    weight = w[:, None, None]
    steps = {
        "transition": outer(lam, smoothed[:-1]) - weight * (L @ A @ F[:-1]),
        "input_weights": outer(lam, given.inputs),
        "emission": outer(epsilon, smoothed[1:]) - weight * (X @ P),
        "state_noise": 0.5 * (outer(lam, back.predicted) - weight * L),
        "output_noise": 0.5 * (outer(epsilon, back.shift) - weight * E) * seen,
    }
    by_name = {name: _gathered(steps[name], getattr(given.params, name)) for name in steps}
    by_name["initial_mean"] = mu[0].sum(axis=0)
    by_name["initial_covariance"] = symmetric(0.5 * (outer(mu[0], back.filtered[0]) - weight * M[0]).sum(axis=0))
    W = given.params.input_weights
    W = W[:, None] if W.ndim == 3 else W
    return Gradients(LDSParams(**by_name), (lam[:, :, None, :] @ W)[:, :, 0], -epsilon)


def outer(rows, columns) -> np.ndarray:
    """The product of a column and a row, for every step and sequence.

    Args:
        rows: shape (..., K).
        columns: shape (..., N).

    Returns:
        Matrices, shape (..., K, N).
    """
    return rows[..., :, None] * columns[..., None, :]


def _gathered(steps, param) -> np.ndarray:
    """Add up what every use of a matrix gives: over all, over the batch, or not at all."""
    return steps.sum(axis={2: (0, 1), 3: 1, 4: ()}[param.ndim])
