"""Forward mode: the influence of the weights, carried along."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from oracles import BruteForce, flatten, problem, roll, torch_model
from proof import agree, verifies

from rnncourse import gradcheck
from rnncourse.reference import bptt, cells, losses, rtrl, unroll

LOSSES = {"squared": losses.squared_error, "cross_entropy": losses.cross_entropy}
NAMES = ["tanh", "sigmoid", "relu", "identity"]


def ours(p, activation="tanh", **options):
    return rtrl.full(cells.rnn(activation), p.params, p.inputs, p.targets, LOSSES[p.kind], **options)


def influences(p, activation="tanh"):
    """The library's influence of every step, from step 0."""
    cell = cells.rnn(activation)
    _, _, tape = unroll.forward(cell, p.params.cell, p.inputs, p.params.initial_state)
    carried = [rtrl.start(p.params.cell, p.inputs.shape[1])]
    for t in range(len(p.inputs)):
        slope = cell.pull((), tape.hidden[t + 1], (np.ones_like(tape.hidden[0]),))[0]
        carried.append(rtrl.step(p.params.cell, carried[-1], p.inputs[t], tape.hidden[t], slope))
    return carried


@pytest.mark.parametrize("activation", NAMES)
@verifies("eq-rtrl-recursion", oracle="autograd")
def test_influence_against_autograd(activation):
    p = problem(T=4, B=2, H=3)
    carried = influences(p, activation)
    W_x, W_h, b = (torch.tensor(part) for part in p.params.cell)
    joint = torch.cat([W_x, W_h, b[:, None]], dim=1)
    start = torch.tensor(p.params.initial_state)

    def state(joint, start, t, sequence):
        cell = (joint[:, :2], joint[:, 2:-1], joint[:, -1])
        return roll([cell] * t, torch.tensor(p.inputs[:t, sequence]), start, activation)[-1]

    for t in range(1, 5):
        for sequence in range(2):
            arguments = (joint, start)
            by_joint, by_start = torch.autograd.functional.jacobian(
                lambda j, s, t=t, sequence=sequence: state(j, s, t, sequence), arguments
            )
            agree(carried[t].weights[sequence], by_joint, 1e-13)
            agree(carried[t].start[sequence], by_start, 1e-13)


@pytest.mark.parametrize("activation", NAMES)
@verifies("eq-influence-unrolled", oracle="dense Jacobians")
@verifies("eq-rtrl-recursion", oracle="dense Jacobians")
def test_influence_is_the_sum_over_all_earlier_steps(activation):
    p = problem(B=2)
    carried = influences(p, activation)
    for sequence in range(2):
        brute = BruteForce(p, sequence, activation)
        for t in range(1, 8):
            agree(carried[t].weights[sequence], brute.influence(t), 1e-13)
            agree(carried[t].start[sequence], brute.product(t, 0), 1e-13)


@verifies("eq-influence-unrolled", oracle="autograd")
def test_the_unrolled_sum_against_autograd():
    p = problem(B=1, H=4)
    brute = BruteForce(p)
    start = torch.tensor(p.params.initial_state)

    def last(W_h):
        cell = (torch.tensor(p.params.cell.input_weights), W_h, torch.tensor(p.params.cell.bias))
        return roll([cell] * 7, torch.tensor(p.inputs[:, 0]), start)[-1]

    oracle = torch.autograd.functional.jacobian(last, torch.tensor(p.params.cell.recurrent_weights))
    agree(brute.influence(7)[:, :, 2:-1], oracle, 1e-13)
    agree(influences(p)[7].weights[0, :, :, 2:-1], oracle, 1e-13)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("activation", NAMES)
@verifies("eq-rtrl-gradient", oracle="autograd")
def test_gradient_against_autograd(activation, kind, reduction):
    p = problem(kind=kind)
    result, oracle = ours(p, activation, reduction=reduction), torch_model(p, activation, reduction=reduction)
    agree(result.loss, oracle.loss, 1e-13)
    agree(result.gradients, oracle.gradients, 1e-13)
    agree(result.final_state, (oracle.final,), 1e-13)


@pytest.mark.parametrize("kind", LOSSES)
@verifies("eq-rtrl-gradient", oracle="backward mode")
@verifies("eq-bptt-recursion", oracle="forward mode")
def test_forward_and_backward_mode_agree(kind):
    p = problem(1, T=30, B=4, D=3, H=6, kind=kind)
    agree(ours(p), bptt.full(cells.rnn(), p.params, p.inputs, p.targets, LOSSES[kind]), 1e-12)


@verifies("eq-rtrl-gradient", oracle="complex step")
def test_gradient_against_complex_step():
    p = problem(T=4, B=2, H=3)
    agree(ours(p).gradients, gradcheck.complex_step(lambda q: ours_at(p, q), p.params), 1e-12)


def ours_at(p, params):
    return rtrl.full(cells.rnn(), params, p.inputs, p.targets).loss


@settings(max_examples=20)
@given(
    st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(1, 3), st.integers(1, 4), st.integers(2, 3)),
    st.integers(0, 10**6),
)
def test_any_sizes(sizes, seed):
    p = problem(seed, *sizes, scale=0.5)
    agree(ours(p).gradients, torch_model(p).gradients, 1e-11)


def test_a_start_for_each_sequence():
    p = problem()
    p.params = p.params._replace(initial_state=p.rng.standard_normal((3, 5)))
    agree(ours(p).gradients, torch_model(p).gradients, 1e-13)


def test_the_influence_does_not_grow_with_time():
    p = problem(T=3, B=2, D=2, H=5)
    sizes = {influence.weights.size + influence.start.size for influence in influences(p)}
    assert sizes == {2 * 5 * (5 * (2 + 5 + 1) + 5)}


def test_two_thousand_steps():
    p = problem(2, T=2000, B=1, D=1, H=3, O=2)
    p.params.cell.recurrent_weights[:] = np.linalg.qr(p.params.cell.recurrent_weights)[0]
    agree(ours(p).gradients, torch_model(p).gradients, 1e-12)


def test_float32_stays_float32():
    p = problem(dtype=np.float32)
    p.inputs = p.inputs.astype(np.float32)
    assert {array.dtype for array in flatten(ours(p, reduction="mean").gradients)} == {np.dtype(np.float32)}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": np.ones((0, 3, 2))}, "inputs: expected at least one step and one sequence"),
        ({"inputs": np.ones((7, 2))}, r"inputs: expected shape \(T, B, 2\), got \(7, 2\)"),
        ({"inputs": np.full((7, 3, 2), np.nan)}, "inputs: 42 of 42 entries are NaN or infinite"),
        ({"targets": np.ones((6, 3, 4))}, r"targets: expected shape \(7, 3, 4\), got \(6, 3, 4\)"),
        ({"reduction": "max"}, "reduction: expected one of 'sum', 'mean', got 'max'"),
    ],
)
def test_doors(changes, message):
    p = problem()
    with pytest.raises(ValueError, match=message):
        rtrl.full(cells.rnn(), p.params, **{"inputs": p.inputs, "targets": p.targets, **changes})


def test_only_the_vanilla_cell():
    p = problem()
    with pytest.raises(ValueError, match=r"params.cell: forward mode is written for RNNParams, got ReadoutParams"):
        rtrl.full(cells.rnn(), p.params._replace(cell=p.params.readout), p.inputs, p.targets)
