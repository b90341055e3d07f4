"""BPTT that stores a state now and then and computes the rest again: time for memory."""

import math
from collections.abc import Callable

import torch
from torch.utils.checkpoint import checkpoint

from rnncourse import doors
from rnncourse.gpu import graph, losses, readout, unroll
from rnncourse.gpu.bptt import Result
from rnncourse.gpu.cells import Cell
from rnncourse.params import ModelParams


@torch.enable_grad()
def full(
    cell: Cell,
    params: ModelParams,
    inputs,
    targets,
    loss: Callable = losses.squared_error,
    segment: int | None = None,
    reduction: str = "sum",
) -> Result:
    """The exact loss and gradient with O(sqrt(T)) states in memory, :eq:`eq-checkpoint-memory`.

    Each segment runs under ``torch.utils.checkpoint``: only what enters it is kept, and the way
    back runs it again.

    Args:
        cell: the recurrence.
        params: cell, readout and initial state.
        inputs: x, shape (T, B, D), all real steps.
        targets: what the loss compares with, (T, B, O) or classes (T, B).
        loss: ``losses.squared_error`` or ``losses.cross_entropy``.
        segment: steps between stored states; the square root of T unless given.
        reduction: "sum" or "mean" over all steps.

    Returns:
        Loss, gradients and final state, as from ``bptt.full``.

    Raises:
        ValueError: if anything does not fit, naming it.
    """
    inputs = unroll.as_floats(inputs)
    doors.sequences("inputs", inputs, "D")
    T = len(inputs)
    segment = math.isqrt(T) if segment is None else segment
    doors.at_least("segment", segment, 1)
    doors.one_of("reduction", reduction, losses.REDUCTIONS)
    if len(targets) != T:
        raise ValueError(f"targets: expected {T} steps like the inputs, got {len(targets)}")
    params = graph.fresh(params)

    def span(state, a):
        hidden, final, _ = unroll.forward(cell, params.cell, inputs[a : a + segment], state)
        outputs, _ = readout.forward(params.readout, hidden)
        return loss(outputs, targets[a : a + segment])[0], final

    state, value = params.initial_state, 0.0
    for a in range(0, T, segment):
        part, state = checkpoint(span, state, a, use_reentrant=False, preserve_rng_state=False)
        value = value + part
    value = value if reduction == "sum" else value / (T * inputs.shape[1])
    return Result(value.detach(), graph.pull(value, None, params), graph.cut(state))


def stored_states(T: int, segment: int) -> int:
    """Count the states in memory at once, :eq:`eq-checkpoint-memory`.

    Args:
        T: steps.
        segment: steps between stored states.

    Returns:
        One for each segment, and those of the segment at work.
    """
    doors.at_least("segment", segment, 1)
    return math.ceil(T / segment) + min(segment, T)
