"""Truncated back-propagation: a sliding window and chunks, and what each drops."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given, settings
from oracles import flatten, gradients, leaves, pairs, problem, rebuild, torch_model, torch_sliding
from proof import agree, verifies

from rnncourse.data import tasks
from rnncourse.params import ModelParams, init_model, map_arrays
from rnncourse.reference import bptt, cells, losses, optim

LOSSES = {"squared": losses.squared_error, "cross_entropy": losses.cross_entropy}
NAMES = ["tanh", "sigmoid", "relu", "identity"]
T = 7


def full(p, activation="tanh", **options):
    return bptt.full(cells.rnn(activation), p.params, p.inputs, p.targets, LOSSES[p.kind], **options)


def sliding(p, window, activation="tanh", **options):
    return bptt.sliding(cells.rnn(activation), p.params, p.inputs, p.targets, window, LOSSES[p.kind], **options)


def chunked(p, chunk, activation="tanh", **options):
    return bptt.chunked(cells.rnn(activation), p.params, p.inputs, p.targets, chunk, LOSSES[p.kind], **options)


def dropped(ours, p):
    """Full minus truncated: cell and initial state."""
    difference = map_arrays(np.subtract, full(p).gradients, ours.gradients)
    return difference.cell, difference.initial_state


# Sliding


@pytest.mark.parametrize("window", range(T + 2))
@pytest.mark.parametrize("kind", LOSSES)
@verifies("eq-sliding-truncation", oracle="autograd, detached for each loss")
def test_sliding_against_autograd(window, kind):
    p = problem(kind=kind)
    agree(sliding(p, window).gradients, torch_sliding(p, window), 1e-12)


@pytest.mark.parametrize("activation", NAMES)
@verifies("eq-sliding-truncation", oracle="autograd, detached for each loss")
def test_sliding_for_every_activation(activation):
    p = problem(1)
    agree(sliding(p, 2, activation).gradients, torch_sliding(p, 2, activation), 1e-12)


@pytest.mark.parametrize("window", range(T + 2))
@verifies("eq-sliding-truncation", oracle="sum over pairs")
def test_sliding_is_the_sum_over_near_pairs(window):
    p = problem()
    ours = sliding(p, window).gradients
    cell, start = pairs(p, lambda t, tau: t - tau <= window)
    agree(ours.cell, cell, 1e-13)
    agree(ours.initial_state, start, 1e-13)


@pytest.mark.parametrize("window", range(T))
@verifies("eq-truncation-bias", oracle="sum over pairs")
def test_what_sliding_drops_are_the_far_pairs(window):
    p = problem()
    agree(dropped(sliding(p, window), p), pairs(p, lambda t, tau: t - tau > window), 1e-12)


@pytest.mark.parametrize("T", [1, 2, 7])
def test_a_window_as_long_as_the_sequence_is_exact(T):
    p = problem(T=T)
    exact = full(p).gradients
    agree(sliding(p, T).gradients, exact, 1e-14)
    agree(sliding(p, 10**6).gradients, exact, 1e-14)
    agree(sliding(p, T - 1).gradients.cell, exact.cell, 1e-14)
    if T == 7:
        nearly = sliding(p, T - 1).gradients.initial_state
        assert np.abs(nearly - exact.initial_state).max() > 1e-6 * np.abs(exact.initial_state).max()


def test_window_zero_never_leaves_the_step():
    p = problem()
    ours = sliding(p, 0)
    assert not ours.gradients.initial_state.any()
    hidden = torch_model(p)
    delta = (1 - hidden.hidden**2) * (hidden.d_outputs @ p.params.readout.weights)
    agree(ours.gradients.cell.bias, delta.sum(axis=(0, 1)), 1e-13)


@pytest.mark.parametrize("window", [0, 2, 6, 7])
@pytest.mark.parametrize("reduction", ["sum", "mean"])
def test_sliding_with_masks_and_lengths(window, reduction):
    p = problem(2)
    lengths = [7, 4, 0]
    mask = p.rng.random((7, 3)) < 0.7
    counted = mask & (np.arange(7)[:, None] < np.array(lengths))
    p.inputs[5, 1] = p.targets[5, 1] = np.nan
    options = {"mask": mask, "lengths": lengths, "reduction": reduction}
    ours = sliding(p, window, **options)
    total = None
    for t in range(7):
        only = counted & (np.arange(7)[:, None] == t)
        if only.any():
            part = torch_model(p, mask=only, lengths=lengths, cuts={t - window}).gradients
            total = part if total is None else rebuild(part, map(np.add, flatten(total), flatten(part)))
    scale = 1 / counted.sum() if reduction == "mean" else 1
    agree(ours.gradients, map_arrays(lambda d: scale * d, total), 1e-12)
    agree(ours.loss, full(p, **options).loss, 1e-15)


def test_sliding_with_a_start_for_each_sequence():
    p = problem()
    p.params = p.params._replace(initial_state=p.rng.standard_normal((3, 5)))
    agree(sliding(p, 2).gradients, torch_sliding(p, 2), 1e-12)
    assert sliding(p, 7).gradients.initial_state.shape == (3, 5)


# Chunked


@pytest.mark.parametrize("chunk", range(1, T + 3))
@pytest.mark.parametrize("kind", LOSSES)
@verifies("eq-chunked-truncation", oracle="autograd, detached for each chunk")
def test_chunked_against_autograd(chunk, kind):
    p = problem(kind=kind)
    ours, oracle = chunked(p, chunk), torch_model(p, cuts=set(range(chunk, T, chunk)))
    agree(ours.loss, oracle.loss, 1e-14)
    agree(ours.gradients, oracle.gradients, 1e-12)
    agree(ours.final_state, (oracle.final,), 1e-14)


@pytest.mark.parametrize("activation", NAMES)
@verifies("eq-chunked-truncation", oracle="autograd, detached for each chunk")
def test_chunked_for_every_activation(activation):
    p = problem(1)
    agree(chunked(p, 3, activation).gradients, torch_model(p, activation, cuts={3, 6}).gradients, 1e-12)


@pytest.mark.parametrize("chunk", range(1, T + 2))
@verifies("eq-chunked-truncation", oracle="sum over pairs")
def test_chunked_is_the_sum_over_pairs_of_one_chunk(chunk):
    p = problem()
    ours = chunked(p, chunk).gradients
    # Steps run from 1; the initial state sits in the first chunk.
    cell, start = pairs(p, lambda t, tau: (t - 1) // chunk == (max(tau, 1) - 1) // chunk)
    agree(ours.cell, cell, 1e-13)
    agree(ours.initial_state, start, 1e-13)


@pytest.mark.parametrize("chunk", range(1, T))
@verifies("eq-truncation-bias", oracle="sum over pairs")
def test_what_chunks_drop_are_the_pairs_across_a_cut(chunk):
    p = problem()
    across = pairs(p, lambda t, tau: any(max(tau, 1) <= cut < t for cut in range(chunk, T, chunk)))
    agree(dropped(chunked(p, chunk), p), across, 1e-12)


def taught_to_echo(chunk, seed):
    """The mean squared error of a network that was to say the coin of five steps ago, taught by chunks."""
    rng = np.random.default_rng(seed)
    model, errors = init_model(rng, 1, 16, 1), []
    memory = optim.adam_start(model)
    for _ in range(300):
        x, target, *_ = tasks.echo(rng, size=16, steps=20, lag=5)
        found = bptt.chunked(cells.rnn(), model, x, target, chunk, reduction="mean")
        model, memory = optim.adam(model, found.gradients, memory, rate=0.01)
        errors.append(2 * found.loss)
    return np.mean(errors[-20:])


@pytest.mark.parametrize("seed", [0, 1])
def test_chunks_shorter_than_the_lag_do_not_teach_it(seed):
    """Four Jacobians lie between the loss and the state to be kept; the state itself is carried over every cut."""
    assert taught_to_echo(4, seed) > 0.3
    assert taught_to_echo(5, seed) < 0.01


@pytest.mark.parametrize("reduction", ["sum", "mean"])
@pytest.mark.parametrize("kind", LOSSES)
def test_one_chunk_is_exact(kind, reduction):
    p = problem(kind=kind)
    for chunk in (T, T + 1, 10**6):
        agree(chunked(p, chunk, reduction=reduction), full(p, reduction=reduction), 1e-14)


@pytest.mark.parametrize("chunk", [1, 3, 7])
@pytest.mark.parametrize("kind", LOSSES)
def test_the_mean_is_over_all_steps_whatever_the_chunks(kind, chunk):
    p = problem(kind=kind)
    ours = chunked(p, chunk, reduction="mean")
    oracle = torch_model(p, reduction="mean", cuts=set(range(chunk, T, chunk)))
    agree(ours.loss, oracle.loss, 1e-14)
    agree(ours.gradients, oracle.gradients, 1e-12)


# Both


def test_readout_and_loss_are_never_truncated():
    p = problem()
    exact = full(p)
    for ours in (sliding(p, 0), sliding(p, 3), chunked(p, 1), chunked(p, 3)):
        agree(ours.loss, exact.loss, 1e-14)
        agree(ours.gradients.readout, exact.gradients.readout, 1e-13)
        agree(ours.final_state, exact.final_state, 1e-14)


def test_window_and_chunk_of_the_same_reach_are_two_estimators():
    p = problem()
    a, b = sliding(p, 2).gradients.cell.recurrent_weights, chunked(p, 3).gradients.cell.recurrent_weights
    assert np.abs(a - b).max() > 0.05 * np.abs(a).max()


@settings(max_examples=20)
@given(st.integers(1, 6), st.integers(0, 7), st.integers(1, 7), st.integers(1, 3), st.integers(0, 10**6))
def test_any_window_and_chunk(T, window, chunk, B, seed):
    p = problem(seed, T, B, 2, 3, 2, scale=0.5)
    agree(sliding(p, window).gradients, torch_sliding(p, window), 1e-11)
    agree(chunked(p, chunk).gradients, torch_model(p, cuts=set(range(chunk, T, chunk))).gradients, 1e-11)


def test_float32_stays_float32():
    p = problem(dtype=np.float32)
    p.inputs = p.inputs.astype(np.float32)
    for ours in (sliding(p, 2, reduction="mean"), chunked(p, 2, reduction="mean")):
        assert {array.dtype for array in flatten(ours.gradients)} == {np.dtype(np.float32)}


def test_a_numpy_integer_is_a_whole_number():
    p = problem()
    agree(sliding(p, np.int64(2)).gradients, torch_sliding(p, 2), 1e-12)
    assert chunked(p, np.int32(3)).loss == chunked(p, 3).loss


def test_a_linear_cell_by_hand():
    """h_t = w h_{t-1}, h_0 = 1, loss h_T^2 / 2: the pair (T, tau) is w^(2T - 1) for every tau."""
    w, T = 0.9, 5
    p = problem(T=T, B=1, D=1, H=1, O=1)
    zero = map_arrays(np.zeros_like, p.params)
    zero.cell.recurrent_weights[:], zero.readout.weights[:], zero.initial_state[:] = w, 1.0, 1.0
    p.params, p.inputs, p.targets = ModelParams(*zero), 0 * p.inputs, 0 * p.targets
    mask = np.arange(T)[:, None] == T - 1
    for window in range(T + 2):
        ours = sliding(p, window, "identity", mask=mask).gradients.cell.recurrent_weights.item()
        assert ours == pytest.approx(min(window + 1, T) * w ** (2 * T - 1), rel=1e-14)


# Doors


@pytest.mark.parametrize(
    ("window", "message"),
    [
        (-1, "window: expected a whole number >= 0, got -1"),
        (2.0, "window: expected a whole number >= 0, got 2.0"),
        (True, "window: expected a whole number >= 0, got True"),
        (None, "window: expected a whole number >= 0, got None"),
    ],
)
def test_doors_of_the_window(window, message):
    with pytest.raises(ValueError, match=message):
        sliding(problem(), window)


@pytest.mark.parametrize(
    ("chunk", "changes", "message"),
    [
        (0, {}, "chunk: expected a whole number >= 1, got 0"),
        (-3, {}, "chunk: expected a whole number >= 1, got -3"),
        (1.5, {}, "chunk: expected a whole number >= 1, got 1.5"),
        ("3", {}, "chunk: expected a whole number >= 1, got '3'"),
        (3, {"reduction": "median"}, "reduction: expected one of 'sum', 'mean', got 'median'"),
        (3, {"targets": np.ones((6, 3, 4))}, "targets: expected 7 steps like the inputs, got 6"),
        (
            3,
            {"inputs": np.ones((0, 3, 2))},
            r"inputs: expected at least one step and one sequence, got shape \(0, 3, 2\)",
        ),
        (3, {"inputs": np.ones((7, 2))}, r"inputs: expected shape \(T, B, D\), got \(7, 2\)"),
        (3, {"inputs": np.ones((7, 3, 4))}, r"inputs: expected shape \(T, B, 2\), got"),
    ],
)
def test_doors_of_the_chunk(chunk, changes, message):
    p = problem()
    given = {"inputs": p.inputs, "targets": p.targets, "chunk": chunk, **changes}
    with pytest.raises(ValueError, match=message):
        bptt.chunked(cells.rnn(), p.params, **given)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"targets": np.ones((6, 3, 4))}, r"targets: expected shape \(7, 3, 4\), got \(6, 3, 4\)"),
        ({"inputs": np.ones((0, 3, 2))}, "inputs: expected at least one step and one sequence"),
        ({"reduction": "median"}, "reduction: expected one of 'sum', 'mean', got 'median'"),
        ({"lengths": [1, 2, 8]}, "lengths: expected values in 0..7, got 1..8"),
        ({"mask": np.ones((7, 3), int)}, "mask: expected booleans, got int64"),
    ],
)
def test_doors_of_sliding(changes, message):
    p = problem()
    with pytest.raises(ValueError, match=message):
        bptt.sliding(cells.rnn(), p.params, **{"inputs": p.inputs, "targets": p.targets, "window": 2, **changes})


def test_the_oracle_itself_sees_the_cut():
    """The detached loop and the loop without a cut differ, or every comparison above would be idle."""
    p = problem()
    tree = leaves(p.params)
    assert all(not part.any() for part in flatten(gradients(0 * tree.initial_state.sum(), tree)))
    cut, uncut = torch_model(p, cuts={3}).gradients.cell, torch_model(p).gradients.cell
    assert np.abs(cut.recurrent_weights - uncut.recurrent_weights).max() > 0.01
