"""Adam, Adagrad and clipping, against torch."""

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import assume, given
from oracles import flatten, problem
from proof import agree, verifies

from rnncourse.params import map_arrays
from rnncourse.reference import optim


def some_gradients(p):
    return map_arrays(lambda array: p.rng.standard_normal(array.shape), p.params)


@pytest.mark.parametrize("options", [{}, {"decay": (0.5, 0.9), "floor": 1e-3}])
def test_adam_is_torchs(options):
    p = problem()
    theirs = [torch.tensor(part, requires_grad=True) for part in flatten(p.params)]
    betas, eps = options.get("decay", (0.9, 0.999)), options.get("floor", 1e-8)
    optimizer = torch.optim.Adam(theirs, lr=0.02, betas=betas, eps=eps)
    params, state = p.params, optim.adam_start(p.params)
    for step in range(20):
        gradients = some_gradients(p)
        for leaf, part in zip(theirs, flatten(gradients), strict=True):
            leaf.grad = torch.tensor(part)
        optimizer.step()
        params, state = optim.adam(params, gradients, state, 0.02, **options)
        assert state.step == step + 1
        agree(tuple(flatten(params)), tuple(theirs), 1e-13)


def test_adam_leaves_the_old_ones_alone():
    p = problem()
    start = optim.adam_start(p.params)
    before = map_arrays(np.array, p.params)
    moved, state = optim.adam(p.params, some_gradients(p), start, 0.1)
    assert all(map(np.array_equal, flatten(before), flatten(p.params)))
    assert start.step == 0
    assert not any(part.any() for part in flatten(start.mean))
    assert type(moved) is type(p.params)
    assert type(state.mean.cell) is type(p.params.cell)


def test_adams_first_step_has_the_size_of_the_rate():
    p = problem()
    gradients = some_gradients(p)
    moved, _ = optim.adam(p.params, gradients, optim.adam_start(p.params), 0.1)
    for a, b, g in zip(flatten(moved), flatten(p.params), flatten(gradients), strict=True):
        agree(a - b, -0.1 * np.sign(g), 1e-5)


def test_adam_finds_the_bottom_of_a_bowl():
    params = np.array([3.0, -2.0])
    state = optim.adam_start(params)
    for _ in range(500):
        params, state = optim.adam(params, 2 * (params - 1), state, 0.05)
    assert np.abs(params - 1).max() < 1e-3


@pytest.mark.parametrize("options", [{}, {"floor": 1e-3}])
def test_adagrad_is_torchs(options):
    p = problem()
    theirs = [torch.tensor(part, requires_grad=True) for part in flatten(p.params)]
    optimizer = torch.optim.Adagrad(theirs, lr=0.1, eps=options.get("floor", 1e-10))
    params, squares = p.params, optim.adagrad_start(p.params)
    before = map_arrays(np.array, p.params)
    for _ in range(20):
        gradients = some_gradients(p)
        for leaf, part in zip(theirs, flatten(gradients), strict=True):
            leaf.grad = torch.tensor(part)
        optimizer.step()
        params, squares = optim.adagrad(params, gradients, squares, 0.1, **options)
        agree(tuple(flatten(params)), tuple(theirs), 1e-13)
    assert all(map(np.array_equal, flatten(before), flatten(p.params)))
    assert type(squares.cell) is type(p.params.cell)


def test_adagrad_leaves_alone_what_no_gradient_reaches():
    params = np.array([1.0, 2.0])
    moved, _ = optim.adagrad(params, np.array([0.0, 3.0]), optim.adagrad_start(params), 0.1)
    assert moved.tolist() == [1.0, pytest.approx(1.9, rel=1e-9)]


@verifies("eq-clip-turns", oracle="torch.nn.utils")
def test_cutting_off_turns_the_gradient_and_shortening_does_not():
    g = np.array([10.0, 1.0])
    leaf = torch.zeros(2, dtype=torch.float64, requires_grad=True)
    leaf.grad = torch.tensor(g)
    torch.nn.utils.clip_grad_value_(leaf, 5.0)
    agree(optim.clip_by_value(g, 5.0), leaf.grad, 0)
    agree(optim.clip_by_value(g, 5.0), np.array([5.0, 1.0]), 0)
    leaf.grad = torch.tensor(g)
    torch.nn.utils.clip_grad_norm_(leaf, 5.0)
    agree(optim.clip_by_norm(g, 5.0), leaf.grad, 1e-6)  # torch adds 1e-6 to the norm
    agree(optim.clip_by_norm(g, 5.0), 5 / 101**0.5 * g, 1e-14)


def test_cutting_off_is_torchs_on_a_whole_model():
    p = problem()
    gradients = some_gradients(p)
    leaves = [torch.zeros(part.shape, dtype=torch.float64, requires_grad=True) for part in flatten(gradients)]
    for leaf, part in zip(leaves, flatten(gradients), strict=True):
        leaf.grad = torch.tensor(part)
    torch.nn.utils.clip_grad_value_(leaves, 0.7)
    agree(tuple(flatten(optim.clip_by_value(gradients, 0.7))), tuple(leaf.grad for leaf in leaves), 0)


@pytest.mark.parametrize("limit", [0.0, -1.0, np.nan])
def test_doors_of_the_limit(limit):
    with pytest.raises(ValueError, match="limit: expected a positive number, got"):
        optim.clip_by_value(np.ones(3), limit)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_an_entry_that_is_not_finite_is_not_cut_off(bad):
    p = problem()
    gradients = some_gradients(p)
    gradients.readout.bias[1] = bad
    with pytest.raises(ValueError, match=r"readout.bias: 1 of 4 entries are NaN or infinite"):
        optim.clip_by_value(gradients, 1.0)


def test_norm_and_clipping_are_torchs():
    p = problem()
    gradients = some_gradients(p)
    leaves = [torch.zeros(part.shape, dtype=torch.float64, requires_grad=True) for part in flatten(gradients)]
    for leaf, part in zip(leaves, flatten(gradients), strict=True):
        leaf.grad = torch.tensor(part)
    agree(optim.norm(gradients), torch.nn.utils.clip_grad_norm_(leaves, 1.5), 1e-14)
    clipped = optim.clip_by_norm(gradients, 1.5)
    agree(tuple(flatten(clipped)), tuple(leaf.grad for leaf in leaves), 1e-6)  # torch adds 1e-6 to the norm
    assert optim.norm(clipped) == pytest.approx(1.5, rel=1e-14)


@given(hnp.arrays(float, 6, elements=st.floats(-1e3, 1e3)), st.floats(1e-3, 1e3))
def test_clipping_keeps_the_direction(g, threshold):
    assume(np.abs(g).max() > 1e-6)
    clipped = optim.clip_by_norm(g, threshold)
    length = np.linalg.norm(g)
    assert np.linalg.norm(clipped) <= threshold * (1 + 1e-12)
    assert np.allclose(clipped * length, g * min(length, threshold), rtol=1e-12, atol=1e-300)
    if length <= threshold:
        assert np.array_equal(clipped, g)


def test_a_zero_gradient_stays_zero():
    assert optim.clip_by_norm(np.zeros(3), 1.0).tolist() == [0, 0, 0]


@pytest.mark.parametrize("threshold", [0.0, -1.0, np.nan])
def test_doors_of_the_threshold(threshold):
    with pytest.raises(ValueError, match="threshold: expected a positive number, got"):
        optim.clip_by_norm(np.ones(3), threshold)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_gradient_that_is_not_finite_is_not_clipped(bad):
    p = problem()
    gradients = some_gradients(p)
    gradients.readout.bias[1] = bad
    with pytest.raises(ValueError, match="gradients: their norm is not finite; look for an overflow before clipping"):
        optim.clip_by_norm(gradients, 1.0)


def test_forms_that_differ():
    p = problem()
    with pytest.raises(ValueError):
        optim.adam(p.params, some_gradients(p).cell, optim.adam_start(p.params), 0.1)
