"""Jacobians of one step and their products over time."""

import numpy as np

from rnncourse import doors
from rnncourse.reference import unroll


def steps(tape: unroll.Tape) -> np.ndarray:
    """Jacobian of every step of a vanilla RNN, :eq:`eq-step-jacobian`: J_t = diag(phi'(a_t)) W_h.

    Args:
        tape: from ``unroll.forward`` with a vanilla cell.

    Returns:
        J_1..J_T with J_t = dh_t/dh_{t-1}, shape (T, B, H, H); the identity where a step is padding.
    """
    J = slopes(tape)[:, :, :, None] * tape.params.recurrent_weights
    if tape.mask is None:
        return J
    return np.where(tape.mask[:, :, :, None], J, np.eye(J.shape[2], dtype=J.dtype))


def product(J: np.ndarray, start: int, stop: int) -> np.ndarray:
    """Derivative of a later state by an earlier one, the latest factor leftmost, :eq:`eq-jacobian-product`.

    Args:
        J: J_1..J_T from :func:`steps`, shape (T, B, H, H).
        start: tau, from 0: differentiate by h_tau.
        stop: t, at least tau: differentiate h_t.

    Returns:
        J_t ... J_{tau+1}, shape (B, H, H); the identity if t = tau.

    Raises:
        ValueError: unless 0 <= start <= stop <= T.
    """
    doors.shape("J", J, ("T", "B", J.shape[-1], J.shape[-1]))
    doors.at_least("start", start, 0)
    doors.at_least("stop", stop, start)
    if stop > len(J):
        raise ValueError(f"stop: expected at most {len(J)}, the number of steps, got {stop}")
    total = np.broadcast_to(np.eye(J.shape[-1], dtype=J.dtype), J.shape[1:]).copy()
    for t in range(start, stop):
        total = J[t] @ total
    return total


def slopes(tape: unroll.Tape) -> np.ndarray:
    """phi'(a_t) of a vanilla cell, read off its states.

    Args:
        tape: from ``unroll.forward``.

    Returns:
        Slopes of h_1..h_T, shape (T, B, H).

    Raises:
        ValueError: if the cell has gates, more states or parameters of its own, or passes its state on directly.
    """
    cell, h = tape.cell, tape.hidden[1:]
    if cell.gates == cell.states == 1 and not cell.own:
        slope, _, (direct,), _ = cell.pull((), h, (np.ones_like(h),))
        if not np.any(direct):
            return slope
    raise ValueError(f"cell: expected a vanilla cell, whose state reaches the next only through W_h, got {cell.name}")
