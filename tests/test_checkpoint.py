"""Checkpointed back-propagation: the same numbers from fewer stored states."""

import math
import tracemalloc

import numpy as np
import pytest
from oracles import flatten, problem, torch_model
from proof import agree, verifies

from rnncourse.reference import bptt, cells, checkpoint, losses

LOSSES = {"squared": losses.squared_error, "cross_entropy": losses.cross_entropy}
NAMES = ["tanh", "sigmoid", "relu", "identity"]


def ours(p, activation="tanh", **options):
    return checkpoint.full(cells.rnn(activation), p.params, p.inputs, p.targets, LOSSES[p.kind], **options)


@pytest.mark.parametrize("segment", [None, 1, 2, 3, 6, 7, 8, 1000])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("kind", LOSSES)
def test_the_same_as_without_checkpoints(kind, reduction, segment):
    p = problem(kind=kind)
    exact = bptt.full(cells.rnn(), p.params, p.inputs, p.targets, LOSSES[kind], reduction=reduction)
    agree(ours(p, segment=segment, reduction=reduction), exact, 1e-13)


@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize(("T", "B"), [(1, 1), (1, 3), (2, 1), (7, 3), (10, 2)])
def test_against_autograd(T, B, activation):
    p = problem(T=T, B=B)
    result, oracle = ours(p, activation), torch_model(p, activation)
    agree(result.loss, oracle.loss, 1e-13)
    agree(result.gradients, oracle.gradients, 1e-12)
    agree(result.final_state, (oracle.final,), 1e-13)


def test_a_start_for_each_sequence():
    p = problem()
    p.params = p.params._replace(initial_state=p.rng.standard_normal((3, 5)))
    agree(ours(p).gradients, torch_model(p).gradients, 1e-13)


def test_two_thousand_steps():
    p = problem(2, T=2000, B=1, D=1, H=3, O=2)
    p.params.cell.recurrent_weights[:] = np.linalg.qr(p.params.cell.recurrent_weights)[0]
    agree(ours(p).gradients, torch_model(p).gradients, 1e-12)


def test_float32_stays_float32():
    p = problem(dtype=np.float32)
    p.inputs = p.inputs.astype(np.float32)
    assert {array.dtype for array in flatten(ours(p, reduction="mean").gradients)} == {np.dtype(np.float32)}


# Memory and work


def states_kept(T, segment):
    """States alive at once, by playing the schedule: one that enters each segment, and those of the one at work."""
    entering = [t for t in range(T) if t % segment == 0]
    at_work = [sum(1 for t in range(a, a + segment) if t < T) for a in entering]
    return len(entering) + max(at_work)


@verifies("eq-checkpoint-memory", oracle="the schedule, played")
def test_stored_states_are_those_of_the_schedule():
    for T in range(1, 60):
        for segment in range(1, T + 5):
            agree(checkpoint.stored_states(T, segment), states_kept(T, segment), 0)


@verifies("eq-checkpoint-memory", oracle="exhaustive search")
def test_the_least_is_at_the_square_root():
    for T in range(1, 200):
        least = min(states_kept(T, segment) for segment in range(1, T + 1))
        agree(checkpoint.stored_states(T, max(1, math.isqrt(T))), least, 0)
        agree(math.ceil(2 * math.sqrt(T)), least, 0)


def peak(function):
    """Bytes at the highest point of a call, beyond what was there before."""
    function()  # whatever is made once is made now
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    tracemalloc.reset_peak()
    function()
    highest = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return highest - before


def test_peak_memory_grows_like_the_root():
    """Sixteen times the steps: sixteen times the memory without checkpoints, four times with."""
    peaks = {}
    for T in (100, 1600):
        p = problem(T=T, B=16, D=1, H=32, O=1)
        peaks[T] = [
            peak(lambda p=p: bptt.full(cells.rnn(), p.params, p.inputs, p.targets)),
            peak(lambda p=p: ours(p)),
        ]
    everything, checkpointed = (peaks[1600][i] / peaks[100][i] for i in range(2))
    assert everything == pytest.approx(16, rel=0.1)
    assert checkpointed == pytest.approx(4, rel=0.35)  # beside the states there is what never grows
    assert peaks[1600][1] < peaks[1600][0] / 10


@pytest.mark.parametrize("segment", [1, 3, 7])
def test_the_price_is_one_more_forward_pass(segment):
    p = problem()
    cell, calls = cells.rnn(), []

    def counting(*arguments):
        calls.append(1)
        return cell.step(*arguments)

    checkpoint.full(cell._replace(step=counting), p.params, p.inputs, p.targets, segment=segment)
    assert len(calls) == 2 * 7


def test_the_default_segment_is_the_root():
    p = problem(T=17)
    lengths = []
    cell = cells.rnn()

    def loss(outputs, targets, *rest):
        lengths.append(len(outputs))
        return losses.squared_error(outputs, targets, *rest)

    checkpoint.full(cell, p.params, p.inputs, p.targets, loss)
    assert lengths == [1, 4, 4, 4, 4]  # from the last to the first


# Doors


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"segment": 0}, "segment: expected a whole number >= 1, got 0"),
        ({"segment": -2}, "segment: expected a whole number >= 1, got -2"),
        ({"segment": 2.0}, "segment: expected a whole number >= 1, got 2.0"),
        ({"segment": False}, "segment: expected a whole number >= 1, got False"),
        ({"reduction": "max"}, "reduction: expected one of 'sum', 'mean', got 'max'"),
        ({"targets": np.ones((6, 3, 4))}, "targets: expected 7 steps like the inputs, got 6"),
        ({"inputs": np.ones((0, 3, 2))}, r"inputs: expected at least one step and one sequence, got shape \(0, 3, 2\)"),
        ({"inputs": np.ones((7, 2))}, r"inputs: expected shape \(T, B, D\), got \(7, 2\)"),
        ({"inputs": np.full((7, 3, 2), np.inf)}, "inputs: 12 of 12 entries are NaN or infinite"),
    ],
)
def test_doors(changes, message):
    p = problem()
    with pytest.raises(ValueError, match=message):
        checkpoint.full(cells.rnn(), p.params, **{"inputs": p.inputs, "targets": p.targets, **changes})


@pytest.mark.parametrize("segment", [0, -1, 1.0])
def test_doors_of_stored_states(segment):
    with pytest.raises(ValueError, match="segment: expected a whole number >= 1"):
        checkpoint.stored_states(7, segment)
