"""Jacobians of one step of any cell, whatever its state is made of. ``jacobians.product`` multiplies them."""

import numpy as np

from rnncourse.reference import unroll


def steps(tape: unroll.Tape) -> np.ndarray:
    """Jacobian of every step with respect to the whole state: for an LSTM, of (h_t, c_t) by (h_{t-1}, c_{t-1}).

    A pull is linear, and row k of a Jacobian is what a gradient that is 1 at entry k becomes. So
    every cell that can be trained has its Jacobian already.

    Args:
        tape: from ``unroll.forward``, any cell with S arrays in its state.

    Returns:
        J_1..J_T, shape (T, B, S H, S H), h first; the identity where a step is padding.
    """
    cell, (_, W_h, _, *own) = tape.cell, tape.params
    T, B, H = tape.hidden[1:].shape
    size = cell.states * H
    J = np.empty((T, B, size, size), tape.hidden.dtype)
    for k in range(size):
        rows = np.zeros((B, size), J.dtype)
        rows[:, k] = 1
        unit = tuple(rows[:, s * H : (s + 1) * H] for s in range(cell.states))
        for t in range(T):
            _, to_h, direct, _ = cell.pull(own, tape.saved[t], unit)
            back = [direct[0] + to_h @ W_h, *direct[1:]]
            J[t, :, k] = np.concatenate([np.broadcast_to(part, (B, H)) for part in back], axis=1)
    return J if tape.mask is None else np.where(tape.mask[:, :, :, None], J, np.eye(size, dtype=J.dtype))
