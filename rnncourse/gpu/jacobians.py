"""Jacobians of one step and their products over time."""

import torch

from rnncourse import doors
from rnncourse.gpu import graph, unroll


def steps(tape: unroll.Tape) -> torch.Tensor:
    """Jacobian of every step of a vanilla RNN by ``torch.func.jacrev``, :eq:`eq-step-jacobian`.

    Args:
        tape: from ``unroll.forward`` with a vanilla cell.

    Returns:
        J_1..J_T with J_t = dh_t/dh_{t-1}, shape (T, B, H, H); the identity where a step is padding.
    """
    W_x, W_h, b, *own = graph.cut(tape.params)
    h, x = graph.cut((tape.hidden[:-1], tape.inputs))

    def step(h, ax):
        return tape.cell.step(own, ax, h @ W_h.T, (h,))[0]

    J = torch.func.vmap(torch.func.vmap(torch.func.jacrev(step)))(h, x @ W_x.T + b)
    return J if tape.mask is None else torch.where(tape.mask[:, :, :, None], J, torch.eye(h.shape[2]).to(J))


def product(J: torch.Tensor, start: int, stop: int) -> torch.Tensor:
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
    total = torch.eye(J.shape[-1]).to(J).expand(J.shape[1:])
    for J_t in J[start:stop]:
        total = J_t @ total
    return total.clone()
