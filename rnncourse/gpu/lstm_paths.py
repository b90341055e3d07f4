"""Which path carries the gradient of an LSTM: the memory cell itself, or one of its gates.

From (h_{t-1}, c_{t-1}) to (h_t, c_t) there are five paths. One is direct: c_{t-1} is multiplied by
f, with every gate held fixed. Four lead from h_{t-1}, by a gate or the candidate. Here each gets a copy of the
state of its own, and autograd differentiates by the copies one by one.
"""

from typing import NamedTuple

import torch

from rnncourse import doors
from rnncourse.gpu import graph, state_jacobians, unroll


class Paths(NamedTuple):
    """One matrix for each path; what they add up to is the whole.

    Attributes:
        direct: through the memory cell, every gate held fixed.
        input_gate: through i.
        forget_gate: through f.
        candidate: through g.
        output_gate: through o.
    """

    direct: torch.Tensor
    input_gate: torch.Tensor
    forget_gate: torch.Tensor
    candidate: torch.Tensor
    output_gate: torch.Tensor


def steps(tape: unroll.Tape) -> Paths:
    """The Jacobian of every step of an LSTM, path by path.

    Args:
        tape: from ``unroll.forward`` with ``lstm.plain()``.

    Returns:
        Five tensors (T, B, 2 H, 2 H). Where a step is padding, the direct path is the identity and
        the others are zero.

    Raises:
        ValueError: if another cell made the tape.
    """
    if tape.cell.name != "lstm":
        raise ValueError(f"tape: expected one of the plain lstm, got {tape.cell.name}")
    W_x, W_h, b = graph.cut(tape.params)
    H = W_h.shape[1]
    ax = graph.cut(tape.inputs) @ W_x.T + b

    def step(z, by_i, by_f, by_g, by_o, ax):
        copies = zip(ax.chunk(4), W_h.chunk(4), (by_i, by_f, by_g, by_o), strict=True)
        a_i, a_f, a_g, a_o = (a + W @ copy[:H] for a, W, copy in copies)
        c = torch.sigmoid(a_f) * z[H:] + torch.sigmoid(a_i) * torch.tanh(a_g)
        return torch.cat([torch.sigmoid(a_o) * torch.tanh(c), c])

    jacobian = torch.func.jacrev(step, argnums=(0, 1, 2, 3, 4))
    paths = torch.func.vmap(torch.func.vmap(jacobian))(*[state_jacobians.before(tape)] * 5, ax)
    if tape.mask is not None:
        real, eye = tape.mask[..., None], torch.eye(2 * H).to(ax)
        paths = [torch.where(real, path, eye if k == 0 else 0) for k, path in enumerate(paths)]
    return Paths(*paths)


def carried(paths: Paths, start: int, stop: int) -> Paths:
    """Split the derivative of a later state by an earlier one by the path on which it first leaves the cell.

    A product of sums is a sum over every way through time. The ways are sorted by their first
    step that is not direct: those that never leave go to ``direct``, those that first go through the
    input gate to ``input_gate``, and so on. The five add up to the product of the step Jacobians.

    Args:
        paths: from :func:`steps`.
        start: tau, from 0: differentiate by the state at tau.
        stop: t, at least tau: differentiate the state at t.

    Returns:
        Five tensors (B, 2 H, 2 H).

    Raises:
        ValueError: unless 0 <= start <= stop <= T.
    """
    doors.at_least("start", start, 0)
    doors.at_least("stop", stop, start)
    if stop > len(paths.direct):
        raise ValueError(f"stop: expected at most {len(paths.direct)}, the number of steps, got {stop}")
    J = sum(paths)
    direct = torch.eye(J.shape[-1]).to(J).expand(J.shape[1:]).clone()
    left = [torch.zeros_like(direct) for _ in paths[1:]]
    for t in range(start, stop):
        left = [J[t] @ part + path[t] @ direct for part, path in zip(left, paths[1:], strict=True)]
        direct = paths.direct[t] @ direct
    return Paths(direct, *left)
