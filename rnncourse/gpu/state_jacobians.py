"""Jacobians of one step of any cell, whatever its state is made of. ``jacobians.product`` multiplies them."""

import torch

from rnncourse.gpu import graph, unroll


def steps(tape: unroll.Tape) -> torch.Tensor:
    """Jacobian of every step with respect to the whole state, by ``torch.func.jacrev``.

    Args:
        tape: from ``unroll.forward``, any cell with S tensors in its state.

    Returns:
        J_1..J_T, shape (T, B, S H, S H), h first; the identity where a step is padding.
    """
    W_x, W_h, b, *own = graph.cut(tape.params)
    ax = graph.cut(tape.inputs) @ W_x.T + b

    def step(z, ax):
        state = z.chunk(tape.cell.states)
        return torch.cat(tape.cell.step(own, ax, state[0] @ W_h.T, state))

    J = torch.func.vmap(torch.func.vmap(torch.func.jacrev(step)))(before(tape), ax)
    return J if tape.mask is None else torch.where(tape.mask[:, :, :, None], J, torch.eye(J.shape[-1]).to(J))


def before(tape: unroll.Tape) -> torch.Tensor:
    """The whole state before every step.

    Args:
        tape: from ``unroll.forward``.

    Returns:
        States 0..T-1, their parts side by side, shape (T, B, S H), outside every graph.
    """
    start = [part.expand_as(tape.states[0][0]) for part in tape.start]
    return torch.stack([torch.cat(state, dim=-1) for state in (start, *tape.states[:-1])]).detach()
