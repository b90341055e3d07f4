"""The affine readout."""

import numpy as np
import pytest
import torch
from oracles import BruteForce, loss_term, problem, torch_model
from proof import agree, verifies

from rnncourse import gradcheck
from rnncourse.params import ReadoutParams
from rnncourse.reference import readout

SHAPES = [(1, 1, 1, 2), (7, 3, 5, 4), (4, 1, 3, 2), (2, 5, 1, 6)]  # T, B, H, O


@pytest.mark.parametrize("kind", ["squared", "cross_entropy"])
@pytest.mark.parametrize(("T", "B", "H", "O"), SHAPES)
@verifies("eq-readout-gradients", oracle="autograd")
def test_readout_against_autograd(T, B, H, O, kind):
    p = problem(T=T, B=B, H=H, O=O, kind=kind)
    oracle = torch_model(p)
    outputs, tape = readout.forward(p.params.readout, oracle.hidden)
    agree(outputs, oracle.outputs, 1e-13)
    agree(readout.backward(tape, oracle.d_outputs)[0], oracle.gradients.readout, 1e-13)


@pytest.mark.parametrize("kind", ["squared", "cross_entropy"])
@verifies("eq-immediate-gradient", oracle="autograd")
def test_immediate_gradient_holds_everything_later_fixed(kind):
    p = problem(kind=kind)
    states = torch_model(p)
    g = readout.backward(readout.forward(p.params.readout, states.hidden)[1], states.d_outputs)[1]
    W_y, b_y = map(torch.tensor, p.params.readout)
    for t in range(7):
        for b in range(3):
            h = torch.tensor(states.hidden[t, b], requires_grad=True)  # a leaf: no later state hangs on it
            loss_term(kind, W_y @ h + b_y, p.targets[t, b]).backward()
            agree(g[t, b], h.grad, 1e-13)
    assert np.abs(g - states.d_hidden)[:-1].max() > 0.1 * np.abs(g).max()  # the total derivative is another thing
    assert np.allclose(g[-1], states.d_hidden[-1])


@pytest.mark.parametrize("kind", ["squared", "cross_entropy"])
@verifies("eq-immediate-gradient", oracle="explicit sums")
@verifies("eq-readout-gradients", oracle="explicit sums")
def test_readout_against_explicit_sums(kind):
    p = problem(B=1, kind=kind)
    brute = BruteForce(p)
    e = torch_model(p).d_outputs
    tape = readout.forward(p.params.readout, np.array(brute.h[1:])[:, None])[1]
    ours, g = readout.backward(tape, e)
    agree(g[:, 0], np.array(brute.g[1:]), 1e-13)
    W = sum(np.outer(e[t, 0], brute.h[t + 1]) for t in range(7))
    agree(ours, ReadoutParams(W, sum(e[:, 0])), 1e-13)


@verifies("eq-readout-gradients", oracle="complex step")
@verifies("eq-immediate-gradient", oracle="complex step")
def test_readout_against_complex_step():
    p = problem()
    hidden, e = p.rng.standard_normal((7, 3, 5)), p.rng.standard_normal((7, 3, 4))
    d_params, g = readout.backward(readout.forward(p.params.readout, hidden)[1], e)
    agree(
        d_params, gradcheck.complex_step(lambda q: (readout.forward(q, hidden)[0] * e).sum(), p.params.readout), 1e-13
    )
    agree(g, gradcheck.complex_step(lambda h: (readout.forward(p.params.readout, h)[0] * e).sum(), hidden), 1e-13)


@pytest.mark.parametrize(
    ("params", "hidden", "message"),
    [
        (ReadoutParams(np.ones(5), np.ones(4)), np.ones((7, 3, 5)), r"weights: expected shape \(O, H\), got \(5,\)"),
        (ReadoutParams(np.ones((4, 5)), np.ones(5)), np.ones((7, 3, 5)), r"bias: expected shape \(4,\), got \(5,\)"),
        (ReadoutParams(np.ones((4, 5)), np.ones(4)), np.ones((7, 3, 6)), r"hidden: expected shape \(T, B, 5\)"),
        (
            ReadoutParams(np.ones((4, 5)), np.ones(4)),
            np.ones((3, 5)),
            r"hidden: expected shape \(T, B, 5\), got \(3, 5\)",
        ),
        (ReadoutParams(np.full((4, 5), np.nan), np.ones(4)), np.ones((7, 3, 5)), "weights: 20 of 20 entries are NaN"),
        (ReadoutParams(np.ones((4, 5)), np.full(4, np.inf)), np.ones((7, 3, 5)), "bias: 4 of 4 entries are NaN or inf"),
    ],
)
def test_doors_of_forward(params, hidden, message):
    with pytest.raises(ValueError, match=message):
        readout.forward(params, hidden)


def test_doors_of_backward():
    p = problem()
    tape = readout.forward(p.params.readout, np.ones((7, 3, 5)))[1]
    with pytest.raises(ValueError, match=r"d_outputs: expected shape \(7, 3, 4\), got \(7, 3, 5\)"):
        readout.backward(tape, np.ones((7, 3, 5)))
