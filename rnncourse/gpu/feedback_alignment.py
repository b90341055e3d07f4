"""Back-propagation through time with fixed random matrices on the way back: no weight need be known twice."""

from collections.abc import Callable

import torch

from rnncourse import doors
from rnncourse.brain_params import Feedback
from rnncourse.gpu import bptt, graph, losses, readout, unroll
from rnncourse.gpu.bptt import Result
from rnncourse.gpu.cells import Cell
from rnncourse.params import ModelParams, map_arrays


@torch.enable_grad()
def full(
    cell: Cell,
    params: ModelParams,
    feedback: Feedback,
    inputs,
    targets,
    loss: Callable = losses.squared_error,
    mask=None,
    lengths=None,
    reduction: str = "sum",
) -> Result:
    """The loss of a model, and what feedback alignment takes for its gradient, :eq:`eq-feedback-alignment`.

    The value W h is computed from a state that is cut from the graph, so that autograd finds the
    gradient of W and goes no further; beside it stands B h - B h, whose value is zero and whose way
    back is B^T.

    Args:
        cell: the recurrence.
        params: cell, readout and initial state.
        feedback: B_h, shape (G H, H) like W_h, and B_y, shape (O, H).
        inputs: x, shape (T, B, D).
        targets: what the loss compares with, (T, B, O) or classes (T, B).
        loss: of ``losses``.
        mask: the steps that count in the loss, booleans (T, B); unless given, all real ones.
        lengths: real steps of each sequence, shape (B,); all T unless given.
        reduction: "sum" or "mean" over the steps that count.

    Returns:
        The exact loss, the directions in the form of the parameters, and the final state. The
        readout's is its gradient; that of the initial state is zero: nothing reports there.

    Raises:
        ValueError: if anything does not fit, naming it.
    """
    B_h, B_y = feedback
    doors.shape("feedback.recurrent_weights", B_h, tuple(params.cell.recurrent_weights.shape))
    doors.shape("feedback.readout_weights", B_y, tuple(params.readout.weights.shape))
    params = graph.fresh(params)
    _, final, tape = unroll.forward(cell, params.cell, inputs, params.initial_state, lengths)
    hidden = _hidden(cell, params, tape, B_h)
    outputs, read_tape = readout.forward(params.readout, hidden.detach())
    value, loss_tape = loss(outputs.detach(), targets, bptt._counted(mask, tape), reduction)
    e = losses.backward(loss_tape)
    d_readout, _ = readout.backward(read_tape, e)
    d_cell = graph.pull(hidden, e @ B_y, params.cell)
    zero = map_arrays(torch.zeros_like, graph.cut(params.initial_state))
    return Result(value.detach(), ModelParams(d_cell, d_readout, zero), graph.cut(final))


def _hidden(cell: Cell, params: ModelParams, tape: unroll.Tape, B_h: torch.Tensor) -> torch.Tensor:
    """h_1..h_T again, with another way back through the recurrent product."""
    W_x, W_h, b, *own = params.cell
    start = params.initial_state
    state = tuple(part.expand(tape.inputs.shape[1], -1) for part in (start if isinstance(start, tuple) else (start,)))
    hidden = []
    for t, ax in enumerate((tape.inputs.detach() @ W_x.T + b).unbind()):
        back = state[0] @ B_h.T
        new = cell.step(own, ax, state[0].detach() @ W_h.T + back - back.detach(), state)
        state = new if tape.mask is None else tuple(map(torch.where, [tape.mask[t]] * len(new), new, state))
        hidden.append(state[0] if tape.mask is None else torch.where(tape.mask[t], state[0], 0))
    return torch.stack(hidden)
