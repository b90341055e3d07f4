"""Squared error, cross-entropy and the yes-or-no loss, summed and averaged."""

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from proof import agree, verifies

from rnncourse import gradcheck
from rnncourse.reference import losses

LOSSES = {"squared": losses.squared_error, "cross_entropy": losses.cross_entropy, "bernoulli": losses.bernoulli}
CLASSES = ("cross_entropy",)


def case(kind, T=5, B=3, O=4, seed=0):
    rng = np.random.default_rng(seed)
    y = 3 * rng.standard_normal((T, B, O))
    targets = {
        "squared": rng.standard_normal((T, B, O)),
        "cross_entropy": rng.integers(0, O, (T, B)),
        "bernoulli": rng.integers(0, 2, (T, B, O)).astype(float),
    }[kind]
    return y, targets, rng.random((T, B)) < 0.6


def oracle(kind, y, targets, mask=None, reduction="sum"):
    """Torch's own loss functions over the steps that count, and their gradient."""
    y = torch.tensor(y, requires_grad=True)
    keep = torch.ones(y.shape[:2], dtype=bool) if mask is None else torch.tensor(mask)
    if kind == "squared":
        value = 0.5 * torch.nn.functional.mse_loss(y[keep], torch.tensor(targets)[keep], reduction="sum")
    else:
        named = {"cross_entropy": "cross_entropy", "bernoulli": "binary_cross_entropy_with_logits"}[kind]
        value = getattr(torch.nn.functional, named)(y[keep], torch.tensor(targets)[keep], reduction="sum")
    value = value / (keep.sum() if reduction == "mean" else 1)
    return value, torch.autograd.grad(value, y)[0]


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("kind", LOSSES)
@verifies("eq-loss-gradients", oracle="autograd")
def test_loss_against_torch(kind, masked, reduction):
    y, targets, mask = case(kind)
    mask = mask if masked else None
    value, tape = LOSSES[kind](y, targets, mask, reduction)
    expected, gradient = oracle(kind, y, targets, mask, reduction)
    agree(value, expected, 1e-13)
    agree(losses.backward(tape), gradient, 1e-13)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("kind", LOSSES)
@verifies("eq-loss-gradients", oracle="complex step")
def test_loss_against_complex_step(kind, reduction):
    y, targets, mask = case(kind)
    ours = losses.backward(LOSSES[kind](y, targets, mask, reduction)[1])
    agree(ours, gradcheck.complex_step(lambda q: LOSSES[kind](q, targets, mask, reduction)[0], y), 1e-13)


@pytest.mark.parametrize("kind", LOSSES)
@verifies("eq-loss-gradients", oracle="central differences")
def test_loss_against_central_differences(kind):
    y, targets, _ = case(kind, T=2, B=2)
    ours = losses.backward(LOSSES[kind](y, targets)[1])
    # Looser: a central difference itself is right to about eps**(2/3) = 4e-11 of the loss.
    agree(ours, gradcheck.central_difference(lambda q: LOSSES[kind](q, targets)[0], y), 1e-8)


def test_values_by_hand():
    y, targets = np.array([[[1.0, 2.0]], [[3.0, 5.0]]]), np.array([[[0.0, 0.0]], [[3.0, 1.0]]])
    assert losses.squared_error(y, targets)[0] == 0.5 * (1 + 4) + 0.5 * 16
    assert losses.squared_error(y, targets, reduction="mean")[0] == 5.25
    assert losses.squared_error(y, targets, mask=np.array([[True], [False]]), reduction="mean")[0] == 2.5
    value, tape = losses.cross_entropy(np.zeros((1, 1, 4)), np.array([[2]]))
    assert value == pytest.approx(np.log(4), abs=1e-15)
    assert losses.backward(tape).tolist() == [[[0.25, 0.25, -0.75, 0.25]]]


@pytest.mark.parametrize("kind", LOSSES)
def test_what_does_not_count_may_hold_anything(kind):
    y, targets, mask = case(kind)
    value, tape = LOSSES[kind](y, targets, mask)
    y, targets = y.copy(), targets.copy()
    y[~mask] = np.nan
    targets[~mask] = -1 if kind in CLASSES else np.nan
    again, spoiled = LOSSES[kind](y, targets, mask)
    assert value == again
    assert np.array_equal(losses.backward(tape), losses.backward(spoiled))
    assert not losses.backward(spoiled)[~mask].any()


@pytest.mark.parametrize("kind", LOSSES)
def test_no_step_counts(kind):
    y, targets, mask = case(kind)
    value, tape = LOSSES[kind](y, targets, np.zeros_like(mask))
    assert value == 0
    assert not losses.backward(tape).any()
    with pytest.raises(ValueError, match="mask: a mean over no step at all has no value"):
        LOSSES[kind](y, targets, np.zeros_like(mask), "mean")


@given(hnp.arrays(float, (2, 2, 3), elements=st.floats(-50, 50)), st.floats(-1e3, 1e3))
def test_softmax_does_not_see_a_shift(y, shift):
    targets = np.array([[0, 1], [2, 2]])
    (a, tape), (b, shifted) = losses.cross_entropy(y, targets), losses.cross_entropy(y + shift, targets)
    assert a == pytest.approx(b, abs=1e-10)
    assert np.allclose(losses.backward(tape), losses.backward(shifted), atol=1e-11)
    assert np.allclose(losses.backward(tape).sum(axis=2), 0, atol=1e-15)  # probabilities minus a one-hot


@verifies("eq-loss-gradients", oracle="autograd")
def test_huge_logits_do_not_overflow():
    y, targets = np.array([[[1e4, -1e4, 0.0], [0.0, 800.0, 799.0]]]), np.array([[1, 2]])
    with np.errstate(over="raise", invalid="raise"):
        value, tape = losses.cross_entropy(y, targets)
    expected, gradient = oracle("cross_entropy", y, targets)
    agree(value, expected, 1e-13)
    agree(losses.backward(tape), gradient, 1e-13)


@verifies("eq-mean-minus-target", oracle="autograd")
def test_large_answers_do_not_overflow():
    y, targets = np.array([[[1e4, -1e4, 0.0], [-800.0, 800.0, 30.0]]]), np.array([[[0.0, 1.0, 0.0], [1.0, 1.0, 0.0]]])
    with np.errstate(over="raise", invalid="raise"):
        value, tape = losses.bernoulli(y, targets)
    expected, gradient = oracle("bernoulli", y, targets)
    agree(value, expected, 1e-13)
    agree(losses.backward(tape), gradient, 1e-13)


def test_a_target_may_be_a_chance_or_a_boolean():
    y, targets, _ = case("bernoulli")
    chances = np.random.default_rng(1).random(y.shape)
    expected, gradient = oracle("bernoulli", y, chances)
    value, tape = losses.bernoulli(y, chances)
    assert value == pytest.approx(expected.item(), rel=1e-13)
    assert np.allclose(losses.backward(tape), gradient, atol=1e-13)
    assert losses.bernoulli(y, targets.astype(bool))[0] == losses.bernoulli(y, targets)[0]


def distribution(kind, y):
    """Torch's distribution whose parameters are the outputs."""
    return {
        "squared": lambda: torch.distributions.Normal(y, 1.0),
        "cross_entropy": lambda: torch.distributions.Categorical(logits=y),
        "bernoulli": lambda: torch.distributions.Bernoulli(logits=y),
    }[kind]()


@pytest.mark.parametrize("kind", LOSSES)
@verifies("eq-mean-minus-target", oracle="autograd of torch's distributions")
def test_the_gradient_is_mean_minus_target(kind):
    y, targets, _ = case(kind)
    leaf = torch.tensor(y, requires_grad=True)
    law = distribution(kind, leaf)
    loss = -law.log_prob(torch.tensor(targets)).sum()
    (gradient,) = torch.autograd.grad(loss, leaf)
    mean = law.probs if kind == "cross_entropy" else law.mean
    hot = np.eye(y.shape[2])[targets] if kind == "cross_entropy" else targets
    value, tape = LOSSES[kind](y, targets)
    agree(losses.backward(tape), gradient, 1e-13)
    agree(losses.backward(tape), mean.detach().numpy() - hot, 1e-13)
    constant = 0.5 * np.log(2 * np.pi) * y.size if kind == "squared" else 0.0
    agree(value + constant, loss, 1e-13)


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("kind", LOSSES)
def test_float32_stays_float32(kind, reduction):
    y, targets, mask = case(kind)
    narrow = targets if kind in CLASSES else targets.astype(np.float32)
    value, tape = LOSSES[kind](y.astype(np.float32), narrow, mask, reduction)
    assert value.dtype == losses.backward(tape).dtype == np.float32
    agree(losses.backward(tape), oracle(kind, y, targets, mask, reduction)[1], 1e-5)


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("squared", {"outputs": np.ones((5, 3))}, r"outputs: expected shape \(T, B, O\), got \(5, 3\)"),
        ("squared", {"targets": np.ones((4, 3, 4))}, r"targets: expected shape \(5, 3, 4\), got \(4, 3, 4\)"),
        ("squared", {"targets": np.ones((5, 3))}, r"targets: expected shape \(5, 3, 4\), got \(5, 3\)"),
        ("squared", {"targets": np.full((5, 3, 4), np.nan)}, "outputs - targets: 60 of 60 entries are NaN or infinite"),
        ("squared", {"mask": np.ones((5, 3), int)}, "mask: expected booleans, got int64"),
        ("squared", {"mask": np.ones((5, 1), bool)}, r"mask: expected shape \(5, 3\), got \(5, 1\)"),
        ("squared", {"reduction": "average"}, "reduction: expected one of 'sum', 'mean', got 'average'"),
        ("cross_entropy", {"outputs": np.ones((5, 3))}, r"outputs: expected shape \(T, B, O\), got \(5, 3\)"),
        ("cross_entropy", {"outputs": np.full((5, 3, 4), np.inf)}, "outputs: 60 of 60 entries are NaN or infinite"),
        ("cross_entropy", {"targets": np.zeros((5, 4), int)}, r"targets: expected shape \(5, 3\), got \(5, 4\)"),
        ("cross_entropy", {"targets": np.zeros((5, 3))}, "targets: expected integer classes, got float64"),
        ("cross_entropy", {"targets": np.full((5, 3), 4)}, r"targets: expected classes in 0..3, got 4..4"),
        ("cross_entropy", {"targets": np.full((5, 3), -1)}, r"targets: expected classes in 0..3, got -1..-1"),
        ("cross_entropy", {"mask": np.ones((5, 3))}, "mask: expected booleans, got float64"),
        ("cross_entropy", {"mask": np.ones((3, 5), bool)}, r"mask: expected shape \(5, 3\), got \(3, 5\)"),
        ("bernoulli", {"outputs": np.full((5, 3, 4), np.nan)}, "outputs: 60 of 60 entries are NaN or infinite"),
        ("bernoulli", {"targets": np.zeros((5, 3))}, r"targets: expected shape \(5, 3, 4\), got \(5, 3\)"),
        ("bernoulli", {"targets": np.full((5, 3, 4), 2)}, r"targets: expected 0, 1 or a chance between, got 2.0..2.0"),
        ("bernoulli", {"targets": np.full((5, 3, 4), -0.5)}, "targets: expected 0, 1 or a chance between, got -0.5"),
        ("bernoulli", {"targets": np.full((5, 3, 4), np.nan)}, "targets: expected 0, 1 or a chance between"),
        ("bernoulli", {"reduction": "none"}, "reduction: expected one of 'sum', 'mean', got 'none'"),
        ("cross_entropy", {"reduction": None}, "reduction: expected one of 'sum', 'mean', got None"),
    ],
)
def test_doors(kind, changes, message):
    y, targets, _ = case(kind)
    with pytest.raises(ValueError, match=message):
        LOSSES[kind](**{"outputs": y, "targets": targets, **changes})
