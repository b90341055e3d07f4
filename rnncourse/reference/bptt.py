"""Back-propagation through time for a whole model: full, and truncated in two ways."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.params import ModelParams, map_arrays
from rnncourse.reference import jacobians, losses, readout, unroll
from rnncourse.reference.cells import Cell


class Result(NamedTuple):
    """A loss and its gradient.

    Attributes:
        loss: the value, a scalar.
        gradients: in the form of the parameters.
        final_state: the states after the last step, each (B, H), to carry into the next stretch.
    """

    loss: float
    gradients: ModelParams
    final_state: tuple


def full(
    cell: Cell,
    params: ModelParams,
    inputs,
    targets,
    loss: Callable = losses.squared_error,
    mask=None,
    lengths=None,
    state: tuple | None = None,
    reduction: str = "sum",
) -> Result:
    """The loss of a model and its exact gradient, :eq:`eq-bptt-recursion` to :eq:`eq-weight-gradients`.

    Args:
        cell: the recurrence.
        params: cell, readout and initial state.
        inputs: x, shape (T, B, D).
        targets: what the loss compares with, (T, B, O) or classes (T, B).
        loss: ``losses.squared_error`` or ``losses.cross_entropy``.
        mask: the steps that count in the loss, booleans (T, B); unless given, all real ones.
        lengths: real steps of each sequence, shape (B,); all T unless given.
        state: start from these states, each (B, H), instead of ``params.initial_state``, whose
            gradient is then zero.
        reduction: "sum" or "mean" over the steps that count.

    Returns:
        Loss, gradients and final state.

    Raises:
        ValueError: if anything does not fit, naming it.
    """
    start = params.initial_state if state is None else state
    hidden, final, tape = unroll.forward(cell, params.cell, inputs, start, lengths)
    value, d_readout, g = _read(params, hidden, targets, loss, _counted(mask, tape), reduction)
    back = unroll.backward(tape, g)
    start = params.initial_state
    d_start = like_start(start, back.initial_state) if state is None else map_arrays(np.zeros_like, start)
    return Result(value, ModelParams(back.params, d_readout, d_start), final)


def sliding(
    cell: Cell,
    params: ModelParams,
    inputs,
    targets,
    window: int,
    loss: Callable = losses.squared_error,
    mask=None,
    lengths=None,
    reduction: str = "sum",
) -> Result:
    """Truncated gradient: each loss term reaches back over ``window`` steps, :eq:`eq-sliding-truncation`.

    All T windows move together: lag k of every one of them is a single pull and a single product.
    The price is ``window`` + 1 such passes, whatever T.

    Args:
        cell: a vanilla cell from ``cells.rnn``.
        params: cell, readout and initial state.
        inputs: x, shape (T, B, D).
        targets: what the loss compares with, (T, B, O) or classes (T, B).
        window: m, the most Jacobians a loss term is carried through; T - 1 or more is exact
            for the weights, T for the initial state too.
        loss: ``losses.squared_error`` or ``losses.cross_entropy``.
        mask: the steps that count in the loss, booleans (T, B); unless given, all real ones.
        lengths: real steps of each sequence, shape (B,); all T unless given.
        reduction: "sum" or "mean" over the steps that count.

    Returns:
        The exact loss, the truncated gradients, the final state.

    Raises:
        ValueError: if anything does not fit, naming it, or the cell is no vanilla cell.
    """
    doors.at_least("window", window, 0)
    hidden, final, tape = unroll.forward(cell, params.cell, inputs, params.initial_state, lengths)
    value, d_readout, g = _read(params, hidden, targets, loss, _counted(mask, tape), reduction)
    W_h = params.cell.recurrent_weights
    slope = jacobians.slopes(tape)
    term = g  # after k rounds: what loss t + k sends to h_t
    delta = np.zeros_like(g)
    d_start = np.zeros_like(tape.hidden[0])
    for k in range(min(window + 1, len(g))):
        pulled = slope[: len(term)] * term
        delta[: len(term)] += pulled
        sent = pulled @ W_h
        if k < window:
            d_start += sent[0]
        term = sent[1:]
    d_start = d_start.sum(axis=0) if tape.shared_start else d_start
    return Result(value, ModelParams(weight_gradients(tape, delta), d_readout, d_start), final)


def chunked(
    cell: Cell,
    params: ModelParams,
    inputs,
    targets,
    chunk: int,
    loss: Callable = losses.squared_error,
    reduction: str = "sum",
) -> Result:
    """Truncated gradient: cut the sequence, carry the state but not the gradient, :eq:`eq-chunked-truncation`.

    Args:
        cell: the recurrence.
        params: cell, readout and initial state.
        inputs: x, shape (T, B, D).
        targets: what the loss compares with, (T, B, O) or classes (T, B).
        chunk: k, steps in a chunk; T or more is exact. The last chunk may be shorter.
        loss: ``losses.squared_error`` or ``losses.cross_entropy``.
        reduction: "sum" or "mean" over all steps.

    Returns:
        The exact loss, the truncated gradients, the final state.

    Raises:
        ValueError: if anything does not fit, naming it.
    """
    inputs = unroll.as_floats(inputs)
    doors.sequences("inputs", inputs, "D")
    doors.at_least("chunk", chunk, 1)
    doors.one_of("reduction", reduction, losses.REDUCTIONS)
    if len(inputs) != len(targets):
        raise ValueError(f"targets: expected {len(inputs)} steps like the inputs, got {len(targets)}")
    value, total, state = 0.0, map_arrays(np.zeros_like, params), None
    for a in range(0, len(inputs), chunk):
        part = full(cell, params, inputs[a : a + chunk], targets[a : a + chunk], loss, state=state)
        value, state = value + part.loss, part.final_state
        total = map_arrays(np.add, total, part.gradients)
    scale = 1.0 if reduction == "sum" else 1.0 / (len(inputs) * inputs.shape[1])
    return Result(scale * value, map_arrays(lambda d: scale * d, total), state)


def like_start(start, arrays: tuple):
    """Hand the gradients of the initial states back in the form in which the states were given.

    Args:
        start: the initial state: an array, or a tuple of one for each state of the cell.
        arrays: a tuple of one gradient for each state.

    Returns:
        In the form of ``start``: a tuple, a NamedTuple, or the only array.
    """
    if not isinstance(start, tuple):
        return arrays[0]
    return type(start)(*arrays) if hasattr(start, "_fields") else tuple(arrays)


def weight_gradients(tape: unroll.Tape, delta: np.ndarray) -> NamedTuple:
    """Each weight gradient as one product over all rows, :eq:`eq-weight-gradients`.

    Args:
        tape: from ``unroll.forward``.
        delta: dL/da_t, shape (T, B, H).

    Returns:
        Gradients in the form of the cell's parameters.
    """
    rows = delta.reshape(-1, delta.shape[-1])
    x = tape.inputs.reshape(len(rows), -1)
    h = tape.hidden[:-1].reshape(len(rows), -1)
    return type(tape.params)(rows.T @ x, rows.T @ h, rows.sum(axis=0))


def _counted(mask, tape: unroll.Tape):
    """The steps that count: those of the mask that are real."""
    if tape.mask is None:
        return mask
    real = tape.mask[:, :, 0]
    return real if mask is None else real & losses.as_mask(mask, real.shape)


def _read(params: ModelParams, hidden, targets, loss, mask, reduction):
    """Readout and loss, forwards and backwards: value, readout gradients, g_t."""
    outputs, tape = readout.forward(params.readout, hidden)
    value, loss_tape = loss(outputs, targets, mask, reduction)
    e = losses.backward(loss_tape)
    d_readout, g = readout.backward(tape, e)
    return value, d_readout, g
