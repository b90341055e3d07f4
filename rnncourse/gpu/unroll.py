"""Unroll a cell over time. The loop is written out; the way back is autograd's.

All inputs are projected in one product before the loop; the loop does one recurrent product a step.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import torch

from rnncourse import doors, masks
from rnncourse.gpu import graph
from rnncourse.gpu.cells import Cell


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass: tensors that are nodes of autograd's graph.

    Attributes:
        cell: the cell that ran.
        params: its parameters.
        inputs: x_1..x_T with padding set to zero, shape (T, B, D).
        start: the initial state, each (H,) or (B, H).
        states: the state after each step, a tuple of T tuples of (B, H).
        outputs: h_1..h_T with padding set to zero, shape (T, B, H).
        mask: which steps are real, shape (T, B, 1), or None if all are.
    """

    cell: Cell
    params: NamedTuple
    inputs: torch.Tensor
    start: tuple
    states: tuple
    outputs: torch.Tensor
    mask: torch.Tensor | None

    @property
    def hidden(self) -> torch.Tensor:
        """h_0..h_T, shape (T + 1, B, H)."""
        h = [state[0] for state in self.states]
        return torch.stack([self.start[0].expand_as(h[0]), *h])


class Gradients(NamedTuple):
    """What the backward pass returns. All are total derivatives.

    Attributes:
        params: gradients in the form of the cell's parameters.
        inputs: dL/dx_t, shape (T, B, D).
        initial_state: the gradient with respect to each tensor of the initial state, in its shape.
        hidden: s_t = dL/dh_t for t = 1..T, shape (T, B, H).
    """

    params: NamedTuple
    inputs: torch.Tensor
    initial_state: tuple
    hidden: torch.Tensor


def forward(cell: Cell, params: NamedTuple, inputs, initial_state: Any = None, lengths=None):
    """Run a cell over a batch of sequences, :eq:`def-rnn-preactivation` and :eq:`def-rnn-state`.

    Args:
        cell: the recurrence, for example ``cells.rnn()``.
        params: its parameters, tensors of one dtype on one device: W_x (G H, D), W_h (G H, H),
            b (G H,), then what belongs to the cell.
        inputs: x, shape (T, B, D). Padding may hold anything, NaN included.
        initial_state: h_0, shape (H,) for all or (B, H), or a tuple with one such tensor for
            each state of the cell; zeros unless given.
        lengths: real steps of each sequence, shape (B,); all T unless given. After its end a
            sequence keeps its state, and its outputs are zero.

    Returns:
        ``(outputs, final_state, tape)``: h_1..h_T, shape (T, B, H); the tuple of states after
        the last real step, each (B, H); what :func:`backward` needs. Outputs and final state
        require gradients only if something given does.

    Raises:
        ValueError: if a shape does not fit, a length is out of range, a real entry is not finite,
            or dtypes or devices are mixed.
    """
    x, mask = _enter(cell, params, inputs, lengths)
    start = _start(cell, initial_state, x.shape[1], params)
    W, x, h = graph.tracked((params, x, start))
    states = tuple(run(cell, W, x, h, mask))
    outputs = torch.stack([state[0] for state in states])
    outputs = outputs if mask is None else torch.where(mask, outputs, 0)
    tape = Tape(cell, W, x, h, states, outputs, mask)
    return *graph.returned((outputs, states[-1]), params, inputs, initial_state), tape


def run(cell: Cell, params: NamedTuple, x: torch.Tensor, start: tuple, mask=None) -> Iterator[tuple]:
    """The bare recurrence, without doors: what autograd and ``torch.func`` differentiate.

    Args:
        cell: the recurrence.
        params: its parameters.
        x: inputs with clean padding, shape (T, B, D).
        start: the initial state, each (H,) or (B, H).
        mask: which steps are real, shape (T, B, 1), or None if all are.

    Yields:
        The state after each step, a tuple of (B, H).
    """
    W_x, W_h, b, *own = params
    state = tuple(part.expand(x.shape[1], W_h.shape[1]) for part in start)
    for t, ax in enumerate((x @ W_x.T + b).unbind()):
        new = cell.step(own, ax, state[0] @ W_h.T, state)
        state = new if mask is None else tuple(map(torch.where, [mask[t]] * len(new), new, state))
        yield state


def backward(tape: Tape, d_outputs, d_final_state: tuple | None = None) -> Gradients:
    """Back-propagate through time, by one call to ``torch.autograd.grad``.

    Args:
        tape: from :func:`forward`; may be used again.
        d_outputs: g_t, the gradient of the loss with respect to h_t as an output, everything
            later held fixed; shape (T, B, H). Its padding is ignored.
        d_final_state: gradient arriving at the final state from beyond the last step, one
            tensor (B, H) for each state; none unless given.

    Returns:
        Gradients of the loss with respect to parameters, inputs, initial state and every h_t.

    Raises:
        ValueError: if a shape does not fit, or nothing was recorded.
    """
    doors.shape("d_outputs", d_outputs, tuple(tape.outputs.shape))
    roots, gradients = (tape.outputs,), (d_outputs,)
    if d_final_state is not None:
        if len(d_final_state) != tape.cell.states:
            raise ValueError(f"d_final_state: expected {tape.cell.states} array(s), got {len(d_final_state)}")
        for part in d_final_state:
            doors.shape("d_final_state", part, tuple(tape.outputs.shape[1:]))
        roots, gradients = (*roots, *tape.states[-1]), (*gradients, *d_final_state)
    h = tuple(state[0] for state in tape.states)
    *others, s = graph.pull(roots, gradients, (tape.params, tape.inputs, tape.start, h))
    return Gradients(*others, torch.stack(s))


def as_floats(values) -> torch.Tensor:
    """Turn what the caller gave into a tensor of numbers with a fraction.

    Args:
        values: anything torch takes as a tensor.

    Returns:
        The tensor itself if it is floating or complex, else a float64 copy.
    """
    tensor = torch.as_tensor(np.array(values, order="C") if isinstance(values, np.ndarray) else values)
    return tensor if tensor.is_floating_point() or tensor.is_complex() else tensor.double()


def _enter(cell: Cell, params: NamedTuple, inputs, lengths) -> tuple[torch.Tensor, torch.Tensor | None]:
    """Check everything at the door; return the inputs with clean padding, and the mask."""
    doors.cell_params(cell, params)
    x = as_floats(inputs)
    doors.sequences("inputs", x, params[0].shape[1])
    mask = None
    if lengths is not None:
        mask = _valid(lengths, x)
        x = torch.where(mask, x, 0)
    for name, tensor in [*zip(params._fields, params, strict=True), ("inputs", x)]:
        _alike(name, tensor, params[1])
    for name, tensor in [("inputs", x), *zip(params._fields, params, strict=True)]:
        doors.finite(name, tensor.detach())
    return x, mask


def _valid(lengths, x: torch.Tensor) -> torch.Tensor:
    """The steps that are real, shape (T, B, 1), on the device of the inputs."""
    lengths = lengths.cpu() if isinstance(lengths, torch.Tensor) else lengths
    valid = masks.valid_steps(np.asarray(lengths), len(x))
    doors.shape("lengths", valid[0], (x.shape[1],))
    return torch.as_tensor(valid, device=x.device)[:, :, None]


def _start(cell: Cell, initial_state: Any, B: int, params: NamedTuple) -> tuple:
    """Turn what the caller gave into a tuple of (H,) or (B, H) tensors."""
    W_h = params[1]
    H = W_h.shape[1]
    if initial_state is None:
        return tuple(W_h.new_zeros(B, H) for _ in range(cell.states))
    given = initial_state if isinstance(initial_state, tuple) else (initial_state,)
    if len(given) != cell.states:
        raise ValueError(f"initial_state: the {cell.name} cell has {cell.states} state array(s), got {len(given)}")
    given = tuple(as_floats(part) for part in given)
    for part in given:
        doors.shape("initial_state", part, (H,) if given[0].ndim == 1 else (B, H))
        doors.finite("initial_state", part.detach())
        _alike("initial_state", part, W_h)
    return given


def _alike(name: str, tensor: torch.Tensor, model: torch.Tensor) -> None:
    """Neither convert nor move in silence: on a GPU both cost more than the work itself."""
    if (tensor.dtype, tensor.device) != (model.dtype, model.device):
        there = f"{model.dtype} on {model.device} like recurrent_weights"
        raise ValueError(f"{name}: expected {there}, got {tensor.dtype} on {tensor.device}")
