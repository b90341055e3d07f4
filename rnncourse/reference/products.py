"""Products of Jacobians with vectors, without forming a matrix: H^2 operations a step instead of H^3."""

import numpy as np

from rnncourse import doors
from rnncourse.reference import jacobians, unroll


def push(tape: unroll.Tape, v: np.ndarray, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Carry small changes of a state forwards: (dh_t/dh_tau) v, :eq:`eq-jacobian-vector`.

    Args:
        tape: from ``unroll.forward`` with a vanilla cell.
        v: changes of h_tau, shape (B, H), or (K, B, H) for K of them at once.
        start: tau, from 0.
        stop: t, at least tau; T unless given.

    Returns:
        Changes of h_t, in the shape of v.

    Raises:
        ValueError: if a shape does not fit, a step is out of range, or the cell is no vanilla cell.
    """
    slope, start, stop = _enter(tape, v, start, stop)
    W_h = tape.params.recurrent_weights
    for t in range(start, stop):
        v = _step(tape, t, slope[t] * (v @ W_h.T), v)
    return np.array(v)


def pull(tape: unroll.Tape, v: np.ndarray, start: int = 0, stop: int | None = None) -> np.ndarray:
    """Carry gradients of a state backwards: (dh_t/dh_tau)^T v, :eq:`eq-vector-jacobian`.

    Args:
        tape: from ``unroll.forward`` with a vanilla cell.
        v: gradients at h_t, shape (B, H), or (K, B, H) for K of them at once.
        start: tau, from 0.
        stop: t, at least tau; T unless given.

    Returns:
        Gradients at h_tau, in the shape of v.

    Raises:
        ValueError: if a shape does not fit, a step is out of range, or the cell is no vanilla cell.
    """
    slope, start, stop = _enter(tape, v, start, stop)
    W_h = tape.params.recurrent_weights
    for t in reversed(range(start, stop)):
        v = _step(tape, t, (slope[t] * v) @ W_h, v)
    return np.array(v)


def _enter(tape: unroll.Tape, v: np.ndarray, start: int, stop: int | None) -> tuple[np.ndarray, int, int]:
    """Check what came; return the slopes and the range."""
    T = len(tape.hidden) - 1
    stop = T if stop is None else stop
    doors.shape("v", v, (*["K"] * (v.ndim == 3), *tape.hidden.shape[1:]))
    doors.at_least("start", start, 0)
    doors.at_least("stop", stop, start)
    if stop > T:
        raise ValueError(f"stop: expected at most {T}, the number of steps, got {stop}")
    return jacobians.slopes(tape), start, stop


def _step(tape: unroll.Tape, t: int, new: np.ndarray, old: np.ndarray) -> np.ndarray:
    """A padded step hands everything on untouched."""
    return new if tape.mask is None else np.where(tape.mask[t], new, old)
