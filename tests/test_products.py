"""Jacobian-vector products without Jacobians."""

import numpy as np
import pytest
import torch
from oracles import PHI, BruteForce, problem, roll
from proof import agree, verifies

from rnncourse import bridge, gpu
from rnncourse.reference import cells, jacobians, products, unroll

NAMES = list(PHI)


def tape_of(p, activation="tanh", lengths=None, floor="reference"):
    if floor == "reference":
        return unroll.forward(cells.rnn(activation), p.params.cell, p.inputs, p.params.initial_state, lengths)[2]
    cell, params = gpu.cells.rnn(activation), bridge.to_torch(p.params)
    return gpu.unroll.forward(cell, params.cell, bridge.to_torch(p.inputs), params.initial_state, lengths)[2]


@pytest.mark.parametrize("activation", NAMES)
@verifies("eq-jacobian-vector", oracle="dense Jacobians")
@verifies("eq-vector-jacobian", oracle="dense Jacobians")
def test_against_products_with_dense_jacobians(activation):
    p = problem(B=2)
    v = p.rng.standard_normal((2, 5))
    tape = tape_of(p, activation)
    for b in range(2):
        brute = BruteForce(p, b, activation)
        for tau, t in [(0, 7), (2, 5), (6, 7), (3, 3)]:
            agree(products.push(tape, v, tau, t)[b], brute.product(t, tau) @ v[b], 1e-13)
            agree(products.pull(tape, v, tau, t)[b], brute.product(t, tau).T @ v[b], 1e-13)


@verifies("eq-jacobian-vector", oracle="autograd")
@verifies("eq-vector-jacobian", oracle="autograd")
def test_against_autograd_through_the_rolled_out_function():
    p = problem(B=1)
    cell = [torch.tensor(part) for part in p.params.cell]
    x, start = torch.tensor(p.inputs[:, 0]), torch.tensor(p.params.initial_state)
    v = torch.tensor(p.rng.standard_normal(5))

    def last(h):
        return roll([cell] * 7, x, h)[-1]

    pushed, pulled = torch.func.jvp(last, (start,), (v,))[1], torch.func.vjp(last, start)[1](v)[0]
    agree(products.push(tape_of(p), v.numpy()[None])[0], pushed, 1e-13)
    agree(products.pull(tape_of(p), v.numpy()[None])[0], pulled, 1e-13)


def test_they_are_adjoint_and_take_many_vectors_at_once():
    p = problem()
    tape, v, u = tape_of(p), p.rng.standard_normal((4, 3, 5)), p.rng.standard_normal((4, 3, 5))
    agree((u * products.push(tape, v, 1, 6)).sum((0, 2)), (products.pull(tape, u, 1, 6) * v).sum((0, 2)), 1e-12)
    for k in range(4):
        agree(products.push(tape, v, 1, 6)[k], products.push(tape, v[k], 1, 6), 1e-14)


@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize("lengths", [None, [7, 3, 0]])
def test_the_floors_agree_with_the_jacobians_and_with_each_other(activation, lengths):
    p = problem()
    ours, theirs = tape_of(p, activation, lengths), tape_of(p, activation, lengths, "gpu")
    total = jacobians.product(jacobians.steps(ours), 1, 7)
    for v in (p.rng.standard_normal((3, 5)), p.rng.standard_normal((2, 3, 5))):
        w = bridge.to_torch(v)
        agree(products.push(ours, v, 1), np.einsum("bij,...bj->...bi", total, v), 1e-12)
        agree(products.pull(ours, v, 1), np.einsum("bji,...bj->...bi", total, v), 1e-12)
        agree(gpu.products.push(theirs, w, 1), products.push(ours, v, 1), 1e-12)
        agree(gpu.products.pull(theirs, w, 1), products.pull(ours, v, 1), 1e-12)


def test_nothing_is_a_view_of_what_was_given():
    p = problem()
    tape, v = tape_of(p), np.ones((3, 5))
    for function in (products.push, products.pull):
        function(tape, v, 2, 2)[:] = 7
    assert (v == 1).all()
    tape, v = tape_of(p, floor="gpu"), torch.ones(3, 5, dtype=torch.float64)
    for function in (gpu.products.push, gpu.products.pull):
        function(tape, v, 2, 2)[:] = 7
    assert (v == 1).all()


@pytest.mark.parametrize("function", [products.push, products.pull])
def test_float32_stays_float32(function):
    p = problem(dtype=np.float32)
    p.inputs = p.inputs.astype(np.float32)
    assert function(tape_of(p), np.ones((3, 5), np.float32)).dtype == np.float32


def test_a_cell_with_more_than_one_state_is_refused_on_the_torch_floor():
    p = problem()
    tape = tape_of(p, floor="gpu")
    tape = tape._replace(cell=tape.cell._replace(states=2))
    for function in (gpu.products.push, gpu.products.pull):
        with pytest.raises(ValueError, match="expected one state array, got 2"):
            function(tape, torch.ones(3, 5))
