"""Hierarchical softmax: it sums to one for any tree, and its gradient is right."""

import math

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from proof import agree, verifies

from rnncourse import bridge, gpu, gradcheck, reference, trees
from rnncourse.params import ReadoutParams

H = 4
FLOORS = pytest.mark.parametrize("floor", [reference, gpu], ids=["reference", "gpu"])
TREES = {
    "huffman": trees.huffman([9, 1, 4, 4, 0, 30, 2]),
    "balanced": trees.balanced(7),
    "comb": trees.huffman([64, 32, 16, 8, 4, 2, 1]),
    "two words": trees.balanced(2),
}


def on(floor, tree):
    return tree if floor is reference else bridge.to_torch(tree)


def case(tree, shape=(3, 2), seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    V = len(tree.nodes)
    params = ReadoutParams(rng.standard_normal((V - 1, H)).astype(dtype), rng.standard_normal(V - 1).astype(dtype))
    return params, rng.standard_normal((*shape, H)).astype(dtype), rng.integers(0, V, shape)


def by_walking(params, tree, h):
    """Every word's probability for one state, by walking down from the root and splitting the mass."""
    weights, bias = params
    V = len(tree.nodes)
    below = {n: {1: [], -1: []} for n in range(V - 1)}
    for word in range(V):
        for n, turn in zip(tree.nodes[word].tolist(), tree.turns[word].tolist(), strict=True):
            if turn:
                below[n][turn].append(word)
    inner = {frozenset(sides[1] + sides[-1]): n for n, sides in below.items()}
    found = {}

    def walk(words, mass):
        if len(words) == 1:
            (word,) = words
            found[word] = mass
            return
        n = inner[words]
        left = 1 / (1 + math.exp(-(float(weights[n] @ h) + float(bias[n]))))
        walk(frozenset(below[n][1]), mass * left)
        walk(frozenset(below[n][-1]), mass * (1 - left))

    walk(frozenset(range(V)), 1.0)
    return np.array([found[word] for word in range(V)])


@FLOORS
@pytest.mark.parametrize("name", TREES)
@verifies("eq-hierarchical-mass", oracle="walking down the tree")
def test_probabilities_are_the_mass_that_arrives(floor, name):
    tree = TREES[name]
    params, hidden, _ = case(tree)
    ours = np.exp(np.asarray(floor.softmax_tree.log_probabilities(on(floor, params), tree, on(floor, hidden))))
    walked = np.array([[by_walking(params, tree, h) for h in row] for row in hidden])
    agree(ours, walked, 1e-13)
    agree(ours.sum(axis=-1), np.ones((3, 2)), 1e-14)


@settings(max_examples=60)
@given(st.lists(st.integers(0, 9), min_size=2, max_size=60), st.integers(0, 10**6), st.sampled_from([0.1, 3.0, 30.0]))
def test_any_tree_sums_to_one(counts, seed, scale):
    tree = trees.huffman(np.random.default_rng(seed).permutation(counts))
    params, hidden, _ = case(tree, (), seed)
    p = np.exp(reference.softmax_tree.log_probabilities(params, tree, scale * hidden))
    assert abs(p.sum() - 1) < 1e-14


@FLOORS
@pytest.mark.parametrize("name", TREES)
@verifies("eq-hierarchical-gradient", oracle="autograd")
def test_gradient_against_autograd(floor, name):
    tree = TREES[name]
    params, hidden, targets = case(tree)
    value, tape = floor.softmax_tree.forward(on(floor, params), tree, on(floor, hidden), on(floor, targets))
    W, b, h = (torch.tensor(part, requires_grad=True) for part in (*params, hidden))
    total = 0
    for place in np.ndindex(targets.shape):  # one target, one node after another
        word = targets[place]
        for n, turn in zip(tree.nodes[word].tolist(), tree.turns[word].tolist(), strict=True):
            if turn:
                total = total - torch.log(torch.sigmoid(turn * (W[n] @ h[place] + b[n])))
    oracle = torch.autograd.grad(total, [W, b, h])
    agree(value, total, 1e-14)
    gradients, d_hidden = floor.softmax_tree.backward(tape)
    agree((*gradients, d_hidden), tuple(oracle), 1e-13)


@pytest.mark.parametrize("name", TREES)
@verifies("eq-hierarchical-gradient", oracle="complex step")
def test_gradient_against_complex_step(name):
    tree = TREES[name]
    params, hidden, targets = case(tree)
    forward = reference.softmax_tree.forward
    gradients, d_hidden = reference.softmax_tree.backward(forward(params, tree, hidden, targets)[1])
    agree(gradients, gradcheck.complex_step(lambda q: forward(q, tree, hidden, targets)[0], params), 1e-13)
    agree(d_hidden, gradcheck.complex_step(lambda h: forward(params, tree, h, targets)[0], hidden), 1e-13)


def test_the_loss_is_minus_the_log_probability():
    tree = TREES["huffman"]
    params, hidden, targets = case(tree, (5,))
    logs = reference.softmax_tree.log_probabilities(params, tree, hidden)
    value = reference.softmax_tree.forward(params, tree, hidden, targets)[0]
    assert value == pytest.approx(-logs[np.arange(5), targets].sum(), rel=1e-14)


@FLOORS
def test_only_nodes_on_the_way_get_a_gradient(floor):
    tree = TREES["comb"]
    params, hidden, _ = case(tree, (2,))
    targets = np.array([0, 1])  # one decision, and two
    _, tape = floor.softmax_tree.forward(on(floor, params), tree, on(floor, hidden), on(floor, targets))
    touched = np.asarray(floor.softmax_tree.backward(tape)[0].weights).any(axis=1)
    assert np.flatnonzero(touched).tolist() == [0, 1]


@FLOORS
def test_far_from_zero_nothing_overflows(floor):
    tree = trees.balanced(4)
    params = ReadoutParams(np.array([[1e4], [0.0], [1e4]]), np.zeros(3))
    arguments = on(floor, params), tree, on(floor, np.ones((4, 1))), on(floor, np.arange(4))
    with np.errstate(over="raise", invalid="raise"):
        value, tape = floor.softmax_tree.forward(*arguments)
        _, d_hidden = floor.softmax_tree.backward(tape)
        logs = floor.softmax_tree.log_probabilities(*arguments[:3])
    assert np.isfinite(float(value)) and np.isfinite(np.asarray(d_hidden)).all() and np.isfinite(np.asarray(logs)).all()


@FLOORS
def test_float32_stays_float32(floor):
    tree = TREES["huffman"]
    params, hidden, targets = (on(floor, part) for part in case(tree, dtype=np.float32))
    value, tape = floor.softmax_tree.forward(params, tree, hidden, targets)
    gradients, d_hidden = floor.softmax_tree.backward(tape)
    found = (value, *gradients, d_hidden, floor.softmax_tree.log_probabilities(params, tree, hidden))
    assert {str(part.dtype).removeprefix("torch.") for part in found} == {"float32"}


def bad(floor, **changes):
    tree = TREES["huffman"]
    params, hidden, targets = case(tree)
    given = {"params": params, "hidden": hidden, "targets": targets, **changes}
    return floor.softmax_tree.forward(
        on(floor, given["params"]), tree, on(floor, given["hidden"]), on(floor, given["targets"])
    )


@FLOORS
@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"params": ReadoutParams(np.ones((7, H)), np.ones(7))}, r"weights: expected shape \(6, H\), got \(7, 4\)"),
        ({"params": ReadoutParams(np.ones((6, H)), np.ones(7))}, r"bias: expected shape \(6,\), got \(7,\)"),
        ({"hidden": np.ones((3, 2, 5))}, r"hidden: expected shape \(3, 2, 4\), got \(3, 2, 5\)"),
        ({"hidden": np.full((3, 2, H), np.nan)}, "hidden: 24 of 24 entries are NaN or infinite"),
        ({"targets": np.zeros((3, 1), int)}, r"targets: expected shape \(3, 2\), got \(3, 1\)"),
        ({"targets": np.full((3, 2), 7)}, r"tokens: expected classes in 0..6, got 7..7"),
        ({"targets": np.zeros((3, 2))}, "tokens: expected integer classes, got float64"),
    ],
)
def test_doors(floor, changes, message):
    with pytest.raises(ValueError, match=message):
        bad(floor, **changes)
