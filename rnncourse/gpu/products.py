"""Products of Jacobians with vectors, without forming a matrix: H^2 operations a step instead of H^3."""

from collections.abc import Callable

import torch

from rnncourse import doors
from rnncourse.gpu import graph, unroll


def push(tape: unroll.Tape, v: torch.Tensor, start: int = 0, stop: int | None = None) -> torch.Tensor:
    """Carry small changes of a state forwards by ``torch.func.jvp``: (dh_t/dh_tau) v, :eq:`eq-jacobian-vector`.

    Args:
        tape: from ``unroll.forward`` with a cell of one state.
        v: changes of h_tau, shape (B, H), or (K, B, H) for K of them at once.
        start: tau, from 0.
        stop: t, at least tau; T unless given.

    Returns:
        Changes of h_t, in the shape of v.

    Raises:
        ValueError: if a shape does not fit, a step is out of range, or the cell has several states.
    """
    start, stop = _enter(tape, v, start, stop)
    h = graph.cut(tape.hidden)
    for t in range(start, stop):
        f = stepper(tape, t)
        v = _each(lambda w, f=f, h_t=h[t]: torch.func.jvp(f, (h_t,), (w,))[1], v)
    return v.clone()


def pull(tape: unroll.Tape, v: torch.Tensor, start: int = 0, stop: int | None = None) -> torch.Tensor:
    """Carry gradients of a state backwards by ``torch.func.vjp``: (dh_t/dh_tau)^T v, :eq:`eq-vector-jacobian`.

    Args:
        tape: from ``unroll.forward`` with a cell of one state.
        v: gradients at h_t, shape (B, H), or (K, B, H) for K of them at once.
        start: tau, from 0.
        stop: t, at least tau; T unless given.

    Returns:
        Gradients at h_tau, in the shape of v.

    Raises:
        ValueError: if a shape does not fit, a step is out of range, or the cell has several states.
    """
    start, stop = _enter(tape, v, start, stop)
    h = graph.cut(tape.hidden)
    for t in reversed(range(start, stop)):
        back = torch.func.vjp(stepper(tape, t), h[t])[1]
        v = _each(lambda w, back=back: back(w)[0], v)
    return v.clone()


def stepper(tape: unroll.Tape, t: int) -> Callable:
    """The function from h_t to h_{t+1} that the tape recorded, outside every graph.

    Args:
        tape: from ``unroll.forward`` with a cell of one state.
        t: from 0 to T - 1.

    Returns:
        A function of a state (B, H); what is padding it hands on.
    """
    W_x, W_h, b, *own = graph.cut(tape.params)
    ax = graph.cut(tape.inputs)[t] @ W_x.T + b

    def step(h):
        new = tape.cell.step(own, ax, h @ W_h.T, (h,))[0]
        return new if tape.mask is None else torch.where(tape.mask[t], new, h)

    return step


def _enter(tape: unroll.Tape, v: torch.Tensor, start: int, stop: int | None) -> tuple[int, int]:
    """Check what came; return the range."""
    if tape.cell.states != 1:
        raise ValueError(f"cell: expected one state array, got {tape.cell.states} of the {tape.cell.name} cell")
    T = len(tape.states)
    stop = T if stop is None else stop
    doors.shape("v", v, (*["K"] * (v.ndim == 3), *tape.outputs.shape[1:]))
    doors.at_least("start", start, 0)
    doors.at_least("stop", stop, start)
    if stop > T:
        raise ValueError(f"stop: expected at most {T}, the number of steps, got {stop}")
    return start, stop


def _each(function: Callable, v: torch.Tensor) -> torch.Tensor:
    """Apply a function of (B, H) to each of K, or to the one."""
    return torch.func.vmap(function)(v) if v.ndim == 3 else function(v)
