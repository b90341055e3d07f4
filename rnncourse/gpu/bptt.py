"""Back-propagation through time for a whole model: full, and truncated in two ways."""

from collections.abc import Callable
from typing import NamedTuple

import torch

from rnncourse import doors
from rnncourse.gpu import graph, losses, readout, unroll
from rnncourse.gpu.cells import Cell
from rnncourse.params import ModelParams


class Result(NamedTuple):
    """A loss and its gradient, outside every graph.

    Attributes:
        loss: the value, a scalar tensor.
        gradients: in the form of the parameters.
        final_state: the states after the last step, each (B, H), to carry into the next stretch.
    """

    loss: torch.Tensor
    gradients: ModelParams
    final_state: tuple


@torch.enable_grad()
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
    """The loss of a model and its exact gradient.

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
    params = graph.fresh(params)
    start = params.initial_state if state is None else state
    hidden, final, tape = unroll.forward(cell, params.cell, inputs, start, lengths)
    return _result(params, hidden, targets, loss, _counted(mask, tape), reduction, final)


@torch.enable_grad()
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

    One plain sweep finds the states. Then all T windows run side by side as a batch of T * B
    sequences of ``window`` + 1 steps, each from the state that entered it, detached, and each is
    judged by its last output alone. A window that begins before the sequence waits in h_0.

    Args:
        cell: a cell whose only state is h, for example ``cells.rnn()``.
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
        ValueError: if anything does not fit, naming it.
    """
    doors.at_least("window", window, 0)
    params = graph.fresh(params)
    _, final, tape = unroll.forward(cell, params.cell, inputs, params.initial_state, lengths)
    x, (T, B, _) = tape.inputs, tape.inputs.shape
    L = min(window, T)
    first = torch.arange(T, device=x.device) - L  # where the window of loss t begins, counting from 0
    rows = first + torch.arange(L + 1, device=x.device)[:, None]
    real = (rows >= 0)[:, :, None, None].expand(L + 1, T, B, 1)  # a window that ends in padding counts in no loss
    h_0 = params.initial_state.expand(B, -1)  # only windows that hold its Jacobian send anything to it
    entering = torch.where((first < 0)[:, None, None], h_0, tape.hidden.detach()[first.clamp(min=0)])
    windows = x.detach()[rows.clamp(min=0)].reshape(L + 1, T * B, -1)
    start = (entering.reshape(T * B, -1),)
    *_, (h,) = unroll.run(cell, params.cell, windows, start, real.reshape(L + 1, T * B, 1))
    return _result(params, h.reshape(T, B, -1), targets, loss, _counted(mask, tape), reduction, final)


@torch.enable_grad()
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
    params = graph.fresh(params)
    state, pieces = params.initial_state, []
    for x in inputs.split(int(chunk)):
        hidden, final, _ = unroll.forward(cell, params.cell, x, state)
        state = graph.cut(final)
        pieces.append(hidden)
    return _result(params, torch.cat(pieces), targets, loss, None, reduction, state)


def _counted(mask, tape: unroll.Tape):
    """The steps that count: those of the mask that are real."""
    if tape.mask is None:
        return mask
    real = tape.mask[:, :, 0]
    return real if mask is None else real & losses.as_mask(mask, real.shape).to(real.device)


def _result(params: ModelParams, hidden, targets, loss, mask, reduction, final) -> Result:
    """Readout and loss, then the gradient of everything at once."""
    outputs, _ = readout.forward(params.readout, hidden)
    value, _ = loss(outputs, targets, mask, reduction)
    return Result(value.detach(), graph.pull(value, None, params), graph.cut(final))
