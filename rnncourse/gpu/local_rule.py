"""Learning forwards in time with what a synapse can know: one trace a weight, and an error that is broadcast."""

from collections.abc import Callable

import torch

from rnncourse import doors
from rnncourse.gpu import graph, losses, readout, unroll
from rnncourse.gpu.bptt import Result
from rnncourse.gpu.cells import Cell
from rnncourse.params import ModelParams, RNNParams, map_arrays

CARRIES = ("leak", "own")


@torch.enable_grad()
def full(
    cell: Cell,
    params: ModelParams,
    feedback,
    inputs,
    targets,
    loss: Callable = losses.squared_error,
    mask=None,
    reduction: str = "sum",
    carry: str = "leak",
) -> Result:
    """The loss of a model, and what a local rule takes for its gradient, :eq:`eq-local-rule`.

    Args:
        cell: a recurrence of single units, as ``rates.leaky`` or ``cells.rnn``.
        params: cell, readout and initial state.
        feedback: B_y, shape (O, H): what a unit hears of each output's error; W_y tells it the truth.
        inputs: x, shape (T, B, D).
        targets: what the loss compares with, (T, B, O) or classes (T, B).
        loss: of ``losses``.
        mask: the steps that count in the loss, booleans (T, B); all unless given.
        reduction: "sum" or "mean" over the steps that count.
        carry: how much of its trace a weight keeps, :eq:`eq-eligibility`: "leak", what the leak keeps;
            "own", what the whole of its unit keeps of itself, W_ii included.

    Returns:
        The exact loss, the directions in the form of the parameters, and the final state. The
        readout's is its gradient; that of the initial state is zero: nothing reports there.

    Raises:
        ValueError: if anything does not fit, naming it.
    """
    doors.one_of("carry", carry, CARRIES)
    _check(cell, params, feedback)
    params = graph.cut(params)
    hidden, final, tape = unroll.forward(cell, params.cell, inputs, params.initial_state)
    outputs, read_tape = readout.forward(params.readout, hidden)
    value, loss_tape = loss(outputs, targets, mask, reduction)
    e = losses.backward(loss_tape)
    d_readout, _ = readout.backward(read_tape, e)
    heard, trace, total = e @ feedback, 0.0, 0.0
    x = tape.inputs.detach()
    for t, h in enumerate(tape.hidden.detach()[:-1]):
        z = torch.cat([x[t], h, torch.ones_like(h[:, :1])], dim=1)
        slope, kept = rates(tape, t, carry)
        trace = kept[:, :, None] * trace + slope[:, :, None] * z[:, None, :]
        total = total + torch.einsum("bi,bij->ij", heard[t], trace)
    d_x, d_h, d_b = total.tensor_split([x.shape[2], total.shape[1] - 1], dim=1)
    d_start = map_arrays(torch.zeros_like, params.initial_state)
    gradients = ModelParams(RNNParams(d_x, d_h, d_b[:, 0]), d_readout, d_start)
    return Result(value.detach(), gradients, graph.cut(final))


@torch.enable_grad()
def rates(tape: unroll.Tape, t: int, carry: str = "leak") -> tuple[torch.Tensor, torch.Tensor]:
    """What a unit's next state makes of its current, and what it keeps of its state, by autograd.

    Args:
        tape: from ``unroll.forward``.
        t: which step, from 0.
        carry: "leak" or "own".

    Returns:
        ``(slope, kept)``: dh_t/da_t and the part of dh_t/dh_{t-1} that the trace keeps, each unit by
        itself, each (B, H).
    """
    W_x, W_h, b = graph.cut(tape.params)
    h = tape.hidden.detach()[t]
    a, past = graph.fresh((tape.inputs.detach()[t] @ W_x.T + b + h @ W_h.T, h))
    new = tape.cell.step((), a, torch.zeros_like(a), (past,))[0]
    slope, kept = graph.pull(new, torch.ones_like(new), (a, past))
    return slope, kept if carry == "leak" else kept + slope * W_h.diagonal()


def _check(cell: Cell, params: ModelParams, feedback) -> None:
    """Each unit must be one number with one current; the feedback must fit the readout."""
    if cell.gates != 1 or cell.states != 1 or cell.own:
        raise ValueError(f"cell: expected units of one state and one current, got {cell.name}")
    doors.shape("feedback", feedback, tuple(params.readout.weights.shape))
