"""BPTT that stores a state now and then and computes the rest again: time for memory."""

import math
from collections.abc import Callable

import numpy as np

from rnncourse import doors
from rnncourse.params import ModelParams, map_arrays
from rnncourse.reference import losses, readout, unroll
from rnncourse.reference.bptt import Result, like_start
from rnncourse.reference.cells import Cell


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

    The first sweep keeps only the state that enters each segment. The second visits the
    segments from last to first, runs each again from its stored state, and back-propagates
    through it at once.

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
    spans = [slice(a, a + segment) for a in range(0, T, segment)]
    entering = [params.initial_state]
    for span in spans:
        entering.append(unroll.forward(cell, params.cell, inputs[span], entering[-1])[1])
    value, total, d_state = 0.0, map_arrays(np.zeros_like, params), None
    for span, state in zip(reversed(spans), reversed(entering[:-1]), strict=True):
        hidden, _, tape = unroll.forward(cell, params.cell, inputs[span], state)
        outputs, read_tape = readout.forward(params.readout, hidden)
        part, loss_tape = loss(outputs, targets[span])
        d_readout, g = readout.backward(read_tape, losses.backward(loss_tape))
        back = unroll.backward(tape, g, d_state)
        d_state, value = back.initial_state, value + part
        here = ModelParams(back.params, d_readout, map_arrays(np.zeros_like, params.initial_state))
        total = map_arrays(np.add, total, here)
    scale = 1.0 if reduction == "sum" else 1.0 / (T * inputs.shape[1])
    total = map_arrays(lambda d: scale * d, total._replace(initial_state=like_start(params.initial_state, d_state)))
    return Result(scale * value, total, entering[-1])


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
