"""Full back-propagation through time, for a whole model."""

from itertools import product

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from oracles import BruteForce, flatten, pairs, problem, torch_model, untied
from proof import agree, verifies

from rnncourse import gradcheck
from rnncourse.params import RNNParams, named_arrays
from rnncourse.reference import activations, bptt, cells, losses, rtrl, unroll

LOSSES = {"squared": losses.squared_error, "cross_entropy": losses.cross_entropy}
EACH = list(product(LOSSES, ["sum", "mean"]))
NAMES = ["tanh", "sigmoid", "relu", "identity"]
SHAPES = [(1, 1, 1, 1, 2), (1, 4, 2, 3, 2), (6, 1, 3, 5, 4), (8, 3, 1, 4, 3), (5, 2, 3, 1, 5)]  # T, B, D, H, O


def ours(p, activation="tanh", **options):
    return bptt.full(cells.rnn(activation), p.params, p.inputs, p.targets, LOSSES[p.kind], **options)


def loss_of(p, activation="tanh", **options):
    """The loss as a function of the parameters, for the gradient checkers."""
    cell = cells.rnn(activation)
    return lambda q: bptt.full(cell, q, p.inputs, p.targets, LOSSES[p.kind], **options).loss


# Against autograd


@pytest.mark.parametrize(("kind", "reduction"), EACH)
@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize(("T", "B", "D", "H", "O"), SHAPES)
@verifies("eq-bptt-recursion", oracle="autograd")
@verifies("eq-weight-gradients", oracle="autograd")
@verifies("eq-readout-gradients", oracle="autograd")
@verifies("eq-initial-state-gradient", oracle="autograd")
def test_full_against_autograd(T, B, D, H, O, activation, kind, reduction):
    p = problem(T * H, T, B, D, H, O, kind)
    result, oracle = ours(p, activation, reduction=reduction), torch_model(p, activation, reduction=reduction)
    agree(result.loss, oracle.loss, 1e-13)
    agree(result.gradients, oracle.gradients, 1e-12)
    agree(result.final_state, (oracle.final,), 1e-13)


@pytest.mark.parametrize(("kind", "reduction"), EACH)
@pytest.mark.parametrize("lengths", [None, [7, 4, 1], [0, 7, 3]])
@pytest.mark.parametrize("masked", [False, True])
@verifies("eq-bptt-recursion", oracle="autograd")
@verifies("eq-weight-gradients", oracle="autograd")
def test_masks_and_lengths_against_autograd(masked, lengths, kind, reduction):
    p = problem(1, kind=kind)
    mask = p.rng.random((7, 3)) < 0.7 if masked else None
    for b, length in enumerate(lengths or []):
        p.inputs[length:, b] = np.nan
        p.targets[length:, b] = np.nan if kind == "squared" else -7
    options = {"mask": mask, "lengths": lengths, "reduction": reduction}
    result, oracle = ours(p, **options), torch_model(p, **options)
    agree(result.loss, oracle.loss, 1e-13)
    agree(result.gradients, oracle.gradients, 1e-13)
    agree(result.final_state, (oracle.final,), 1e-13)


def test_a_sequence_label_counts_the_last_real_step_alone():
    p = problem(kind="cross_entropy")
    lengths = [7, 2, 5]
    mask = np.zeros((7, 3), bool)
    mask[[6, 1, 4], [0, 1, 2]] = True
    agree(ours(p, mask=mask, lengths=lengths).gradients, torch_model(p, mask=mask, lengths=lengths).gradients, 1e-13)


@pytest.mark.parametrize("lengths", [None, [7, 2, 0]])
def test_a_carried_state_is_where_it_starts_and_learns_nothing(lengths):
    p = problem()
    state = p.rng.standard_normal((3, 5))
    result, oracle = ours(p, state=(state,), lengths=lengths), torch_model(p, state=state, lengths=lengths)
    agree(result.loss, oracle.loss, 1e-13)
    agree(result.gradients, oracle.gradients, 1e-13)
    assert not result.gradients.initial_state.any()
    assert result.gradients.initial_state.shape == (5,)


def test_carrying_the_state_sums_to_the_whole_loss():
    p = problem(T=9)
    whole = ours(p)
    cell = cells.rnn()
    first = bptt.full(cell, p.params, p.inputs[:4], p.targets[:4])
    second = bptt.full(cell, p.params, p.inputs[4:], p.targets[4:], state=first.final_state)
    agree(first.loss + second.loss, whole.loss, 1e-14)
    agree(second.final_state, whole.final_state, 1e-14)


@verifies("eq-initial-state-gradient", oracle="autograd")
def test_a_start_for_each_sequence():
    p = problem()
    p.params = p.params._replace(initial_state=p.rng.standard_normal((3, 5)))
    result, oracle = ours(p), torch_model(p)
    agree(result.gradients, oracle.gradients, 1e-13)
    assert result.gradients.initial_state.shape == (3, 5)


@settings(max_examples=25)
@given(
    st.tuples(st.integers(1, 6), st.integers(1, 3), st.integers(1, 4), st.integers(1, 5), st.integers(2, 4)),
    st.integers(0, 10**6),
    st.sampled_from(NAMES),
    st.sampled_from(list(LOSSES)),
    st.sampled_from(["sum", "mean"]),
)
def test_any_sizes(sizes, seed, activation, kind, reduction):
    p = problem(seed, *sizes, kind, scale=0.5)
    oracle = torch_model(p, activation, reduction=reduction)
    agree(ours(p, activation, reduction=reduction).gradients, oracle.gradients, 1e-11)


@given(st.integers(0, 10**6), st.permutations(range(4)))
def test_the_order_of_the_batch_does_not_matter(seed, order):
    p = problem(seed, B=4)
    result = ours(p)
    p.inputs, p.targets = p.inputs[:, order], p.targets[:, order]
    again = ours(p)
    agree(again.gradients, result.gradients, 1e-12)
    assert again.loss == pytest.approx(result.loss, rel=1e-13)


@given(st.integers(0, 10**6))
def test_a_batch_is_the_sum_of_its_sequences(seed):
    p = problem(seed, B=3)
    whole, parts = ours(p), []
    for b in range(3):
        alone = bptt.full(cells.rnn(), p.params, p.inputs[:, [b]], p.targets[:, [b]])
        parts.append(list(flatten(alone.gradients)))
    for total, *each in zip(flatten(whole.gradients), *parts, strict=True):
        agree(sum(each), total, 1e-12)


# Against gradients without calculus


@pytest.mark.parametrize(("kind", "reduction"), EACH)
@pytest.mark.parametrize("activation", NAMES)
@verifies("eq-bptt-recursion", oracle="complex step")
@verifies("eq-weight-gradients", oracle="complex step")
@verifies("eq-readout-gradients", oracle="complex step")
@verifies("eq-initial-state-gradient", oracle="complex step")
def test_full_against_complex_step(activation, kind, reduction):
    p = problem(4, T=5, B=2, H=4, kind=kind)
    function = loss_of(p, activation, reduction=reduction)
    agree(ours(p, activation, reduction=reduction).gradients, gradcheck.complex_step(function, p.params), 1e-12)


@pytest.mark.parametrize("kind", LOSSES)
@verifies("eq-weight-gradients", oracle="complex step")
def test_ragged_masked_and_carried_against_complex_step(kind):
    p = problem(4, kind=kind)
    p.inputs[3:, 1] = np.nan
    options = {"mask": p.rng.random((7, 3)) < 0.7, "lengths": [7, 3, 5], "state": (p.rng.standard_normal((3, 5)),)}
    agree(ours(p, **options).gradients, gradcheck.complex_step(loss_of(p, **options), p.params), 1e-12)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "identity"])
@verifies("eq-bptt-recursion", oracle="central differences")
@verifies("eq-weight-gradients", oracle="central differences")
@verifies("eq-readout-gradients", oracle="central differences")
@verifies("eq-initial-state-gradient", oracle="central differences")
def test_full_against_central_differences(activation):
    p = problem(4, T=4, B=2, H=3)
    # Looser than the rest because the oracle is: a central difference has errors of about eps**(2/3).
    agree(ours(p, activation).gradients, gradcheck.central_difference(loss_of(p, activation), p.params), 1e-8)


@verifies("eq-input-gradients", oracle="complex step")
def test_input_gradients_against_complex_step():
    p = problem()
    cell = cells.rnn()
    g = p.rng.standard_normal((7, 3, 5))
    _, _, tape = unroll.forward(cell, p.params.cell, p.inputs, p.params.initial_state)

    def function(x):
        return (unroll.forward(cell, p.params.cell, x, p.params.initial_state)[0] * g).sum()

    agree(unroll.backward(tape, g).inputs, gradcheck.complex_step(function, p.inputs), 1e-13)


# Total times immediate, tied copies, superposition


@pytest.mark.parametrize("activation", NAMES)
@verifies("eq-total-immediate", oracle="autograd")
def test_total_times_immediate(activation):
    p = problem(2, B=1)
    oracle = torch_model(p, activation)
    W_y = p.params.readout.weights
    _, _, tape = unroll.forward(cells.rnn(activation), p.params.cell, p.inputs, p.params.initial_state)
    s = unroll.backward(tape, oracle.d_outputs @ W_y).hidden
    immediate = BruteForce(p, activation=activation).P  # dh_t by the weights with h_{t-1} held fixed
    joint = sum(np.einsum("i,ijk->jk", s[t, 0], immediate[t + 1]) for t in range(7))
    agree(RNNParams(joint[:, :2], joint[:, 2:-1], joint[:, -1]), oracle.gradients.cell, 1e-13)


@verifies("eq-total-immediate", oracle="dense Jacobians")
def test_total_times_immediate_is_the_sum_over_all_pairs():
    p = problem(2, T=6, B=2)
    cell, start = pairs(p, lambda t, tau: True)
    result = ours(p).gradients
    agree(result.cell, cell, 1e-13)
    agree(result.initial_state, start, 1e-13)


@pytest.mark.parametrize("kind", LOSSES)
@pytest.mark.parametrize("activation", NAMES)
@verifies("eq-tied-copies", oracle="untied copies")
def test_the_tied_gradient_is_the_sum_over_untied_copies(activation, kind):
    p = problem(3, T=6, B=2, kind=kind)
    copies = untied(p, activation)
    assert len(copies) == 6
    agree(ours(p, activation).gradients.cell, RNNParams(*map(sum, zip(*copies, strict=True))), 1e-13)


@verifies("eq-tied-copies", oracle="untied copies")
@verifies("eq-weight-gradients", oracle="untied copies")
def test_each_copy_gets_its_own_term_of_the_sum():
    p = problem(3, T=6, B=1)
    cell = cells.rnn()
    _, _, tape = unroll.forward(cell, p.params.cell, p.inputs, p.params.initial_state)
    s = unroll.backward(tape, torch_model(p).d_outputs @ p.params.readout.weights).hidden
    delta = cell.pull((), tape.hidden[1:], (s,))[0]
    for t, copy in enumerate(untied(p)):
        terms = np.outer(delta[t, 0], p.inputs[t, 0]), np.outer(delta[t, 0], tape.hidden[t, 0]), delta[t, 0]
        agree(RNNParams(*terms), copy, 1e-13)


@verifies("eq-bptt-recursion", oracle="forward mode")
@verifies("eq-weight-gradients", oracle="forward mode")
def test_full_against_forward_mode():
    p = problem(5)
    agree(ours(p).gradients, rtrl.full(cells.rnn(), p.params, p.inputs, p.targets).gradients, 1e-13)


# Long, saturated, linear, float32


@verifies("eq-weight-gradients", oracle="autograd")
def test_two_thousand_steps():
    p = problem(6, T=2000, B=1, D=1, H=3, O=2, kind="cross_entropy")
    p.params.cell.recurrent_weights[:] = np.linalg.qr(p.params.cell.recurrent_weights)[0]
    agree(ours(p).gradients, torch_model(p).gradients, 1e-12)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
@verifies("eq-weight-gradients", oracle="complex step")
def test_saturated_units_against_complex_step(activation):
    p = problem(7, T=5, B=2)
    p.params.cell.bias[:3] = 20.0, -20.0, 22.0
    result = ours(p, activation).gradients
    assert all(np.isfinite(part).all() for part in flatten(result))
    agree(result, gradcheck.complex_step(loss_of(p, activation), p.params), 1e-12)


def test_one_step_from_zero_teaches_the_recurrence_nothing():
    p = problem(T=1)
    p.params.initial_state[:] = 0
    result = ours(p).gradients.cell
    assert not result.recurrent_weights.any()
    assert result.input_weights.all()


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("kind", LOSSES)
def test_float32_stays_float32_and_is_right(kind, reduction):
    p = problem(8, kind=kind, dtype=np.float32)
    p.inputs = p.inputs.astype(np.float32)
    result = ours(p, reduction=reduction)
    assert {array.dtype for _, array in named_arrays(result.gradients)} == {np.dtype(np.float32)}
    report = gradcheck.check(loss_of(p, reduction=reduction), result.gradients, p.params)
    assert report.passed, report
    assert report.error < 5e-6


def test_mean_is_sum_over_what_counts():
    p = problem()
    mask = p.rng.random((7, 3)) < 0.5
    total, mean = ours(p, mask=mask), ours(p, mask=mask, reduction="mean")
    agree(mean.loss * mask.sum(), total.loss, 1e-14)
    for a, b in zip(flatten(mean.gradients), flatten(total.gradients), strict=True):
        agree(a * mask.sum(), b, 1e-14)


def test_a_gradient_step_lowers_the_loss():
    p = problem()
    before = ours(p)
    rate, slope = 1e-6, (before.gradients.cell.recurrent_weights**2).sum()
    p.params.cell.recurrent_weights[:] -= rate * before.gradients.cell.recurrent_weights
    assert before.loss - ours(p).loss == pytest.approx(rate * slope, rel=1e-3)


def test_the_activation_is_the_cells():
    p = problem()
    assert len({round(ours(p, name).loss, 12) for name in activations.ACTIVATIONS}) == len(NAMES)


# Doors


def spoiled(tree, name):
    """A copy of the parameters with one NaN in the array of that name."""
    if name == "initial_state":
        return tree._replace(initial_state=np.where(np.arange(5) == 1, np.nan, tree.initial_state))
    part, field = name.split(".")
    array = np.array(getattr(getattr(tree, part), field))
    array.flat[0] = np.nan
    return tree._replace(**{part: getattr(tree, part)._replace(**{field: array})})


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("cell.input_weights", "input_weights: 1 of 10 entries are NaN or infinite"),
        ("cell.recurrent_weights", "recurrent_weights: 1 of 25 entries are NaN or infinite"),
        ("cell.bias", "bias: 1 of 5 entries are NaN or infinite"),
        ("readout.weights", "weights: 1 of 20 entries are NaN or infinite"),
        ("readout.bias", "bias: 1 of 4 entries are NaN or infinite"),
        ("initial_state", "initial_state: 1 of 5 entries are NaN or infinite"),
    ],
)
@pytest.mark.parametrize("kind", LOSSES)
def test_a_nan_in_any_parameter(kind, name, message):
    p = problem(kind=kind)
    p.params = spoiled(p.params, name)
    with pytest.raises(ValueError, match=message):
        ours(p)


@pytest.mark.parametrize(
    ("kind", "changes", "message"),
    [
        ("squared", {"inputs": np.ones((3, 2))}, r"inputs: expected shape \(T, B, 2\), got \(3, 2\)"),
        ("squared", {"inputs": np.ones((0, 3, 2))}, "inputs: expected at least one step and one sequence"),
        ("squared", {"inputs": np.full((7, 3, 2), np.nan)}, "inputs: 42 of 42 entries are NaN or infinite"),
        ("squared", {"targets": np.ones((6, 3, 4))}, r"targets: expected shape \(7, 3, 4\), got \(6, 3, 4\)"),
        ("squared", {"targets": np.full((7, 3, 4), np.nan)}, "outputs - targets: 84 of 84 entries are NaN"),
        ("squared", {"lengths": [7, 9, 1]}, r"lengths: expected values in 0..7, got 1..9"),
        ("squared", {"lengths": [1.0, 2.0, 3.0]}, "lengths: expected integers"),
        ("squared", {"mask": np.ones((7, 3), int)}, "mask: expected booleans, got int64"),
        ("squared", {"mask": np.ones((7, 3), int), "lengths": [7, 3, 1]}, "mask: expected booleans, got int64"),
        ("squared", {"mask": np.ones((7, 3)), "lengths": [7, 3, 1]}, "mask: expected booleans, got float64"),
        ("squared", {"mask": np.ones((7, 1), bool)}, r"mask: expected shape \(7, 3\), got \(7, 1\)"),
        (
            "squared",
            {"mask": np.ones((7, 1), bool), "lengths": [7, 3, 1]},
            r"mask: expected shape \(7, 3\), got \(7, 1\)",
        ),
        ("squared", {"state": (np.ones((2, 5)),)}, r"initial_state: expected shape \(3, 5\), got \(2, 5\)"),
        ("squared", {"state": ()}, r"initial_state: the rnn-tanh cell has 1 state array\(s\), got 0"),
        ("squared", {"reduction": "max"}, "reduction: expected one of 'sum', 'mean', got 'max'"),
        ("squared", {"lengths": [0, 0, 0], "reduction": "mean"}, "mask: a mean over no step at all has no value"),
        ("cross_entropy", {"targets": np.ones((7, 3))}, "targets: expected integer classes, got float64"),
        ("cross_entropy", {"targets": np.full((7, 3), 4)}, r"targets: expected classes in 0..3, got 4..4"),
        ("cross_entropy", {"targets": np.zeros((6, 3), int)}, r"targets: expected shape \(7, 3\), got \(6, 3\)"),
    ],
)
def test_doors(kind, changes, message):
    p = problem(kind=kind)
    given = {"inputs": p.inputs, "targets": p.targets, "loss": LOSSES[kind], **changes}
    with pytest.raises(ValueError, match=message):
        bptt.full(cells.rnn(), p.params, **given)


def test_unknown_activation_of_a_cell():
    with pytest.raises(ValueError, match=r"activation: expected one of .*, got 'gelu'"):
        cells.rnn("gelu")


def test_torch_agrees_on_the_loss_of_a_torch_module():
    """A peer that is no loop of ours: torch.nn.RNN, torch.nn.Linear and torch's cross-entropy."""
    p = problem(9, kind="cross_entropy")
    rnn, linear = torch.nn.RNN(2, 5, batch_first=False).double(), torch.nn.Linear(5, 4).double()
    with torch.no_grad():
        W_x, W_h, b = map(torch.tensor, p.params.cell)
        for name, value in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), (W_x, W_h, b, 0 * b), strict=True):
            getattr(rnn, f"{name}_l0").copy_(value)
        linear.weight.copy_(torch.tensor(p.params.readout.weights))
        linear.bias.copy_(torch.tensor(p.params.readout.bias))
    start = torch.tensor(np.tile(p.params.initial_state, (1, 3, 1)), requires_grad=True)
    logits = linear(rnn(torch.tensor(p.inputs), start)[0])
    loss = torch.nn.functional.cross_entropy(logits.reshape(21, 4), torch.tensor(p.targets).reshape(21))
    loss.backward()
    result = ours(p, reduction="mean")
    agree(result.loss, loss, 1e-14)
    agree(result.gradients.cell, RNNParams(rnn.weight_ih_l0.grad, rnn.weight_hh_l0.grad, rnn.bias_ih_l0.grad), 1e-13)
    agree(tuple(result.gradients.readout), (linear.weight.grad, linear.bias.grad), 1e-13)
    agree(result.gradients.initial_state, start.grad.sum(dim=(0, 1)), 1e-13)
