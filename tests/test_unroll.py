"""The vanilla RNN unrolled, forwards and backwards."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from oracles import BruteForce, gradients, leaves, problem, roll, torch_model
from proof import agree, verifies

from rnncourse.params import RNNParams, named_arrays
from rnncourse.reference import cells, unroll

NAMES = ["tanh", "sigmoid", "relu", "identity"]
SHAPES = [(1, 1, 1, 1), (1, 3, 2, 5), (6, 1, 2, 3), (7, 3, 1, 5), (5, 2, 4, 1), (9, 4, 3, 7)]  # T, B, D, H


def ours(p, g, activation="tanh", lengths=None, start=None):
    """Forward and backward with a given gradient at every output."""
    start = p.params.initial_state if start is None else start
    outputs, final, tape = unroll.forward(cells.rnn(activation), p.params.cell, p.inputs, start, lengths)
    return outputs, final, tape, unroll.backward(tape, g)


def immediate(p, oracle):
    """g_t from the oracle's gradient at the readout: W_y^T e_t."""
    return oracle.d_outputs @ p.params.readout.weights


# Forward


@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize(("T", "B", "D", "H"), SHAPES)
def test_forward_is_the_plain_loop(T, B, D, H, activation):
    p = problem(T=T, B=B, D=D, H=H)
    outputs, final, _ = unroll.forward(cells.rnn(activation), p.params.cell, p.inputs, p.params.initial_state)
    oracle = torch_model(p, activation)
    agree(outputs, oracle.hidden, 1e-13)
    agree(final, (oracle.final,), 1e-13)
    assert outputs.shape == (T, B, H)


def test_forward_is_torch_nn_rnn():
    p = problem(T=11, B=4, D=3, H=6)
    module = torch.nn.RNN(3, 6).double()
    W_x, W_h, b = map(torch.tensor, p.params.cell)
    with torch.no_grad():
        for name, value in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), (W_x, W_h, b, 0 * b), strict=True):
            getattr(module, f"{name}_l0").copy_(value)
    oracle, last = module(torch.tensor(p.inputs))
    outputs, (final,), _ = unroll.forward(cells.rnn(), p.params.cell, p.inputs)
    agree(outputs, oracle, 1e-14)
    agree(final, last[0], 1e-14)


def test_the_initial_state_may_be_none_one_row_or_a_row_each():
    p = problem()
    cell, params = cells.rnn(), p.params.cell
    one = p.params.initial_state
    rows = np.tile(one, (3, 1))
    shared = unroll.forward(cell, params, p.inputs, one)[0]
    assert np.array_equal(shared, unroll.forward(cell, params, p.inputs, rows)[0])
    assert np.array_equal(shared, unroll.forward(cell, params, p.inputs, (rows,))[0])
    none = unroll.forward(cell, params, p.inputs)[0]
    assert np.array_equal(none, unroll.forward(cell, params, p.inputs, 0 * one)[0])
    assert not np.allclose(none, shared)


def test_two_stretches_are_one():
    p = problem(T=9)
    whole, final, _ = unroll.forward(cells.rnn(), p.params.cell, p.inputs)
    first, state, _ = unroll.forward(cells.rnn(), p.params.cell, p.inputs[:4])
    second, last, _ = unroll.forward(cells.rnn(), p.params.cell, p.inputs[4:], state)
    agree(np.concatenate([first, second]), whole, 1e-15)
    agree(last, final, 1e-15)


def test_forward_leaves_its_arguments_alone():
    p = problem()
    before = [array.copy() for _, array in named_arrays(p.params)] + [p.inputs.copy()]
    _, _, _, back = ours(p, np.ones((7, 3, 5)), lengths=[7, 2, 0])
    after = [array for _, array in named_arrays(p.params)] + [p.inputs]
    assert all(map(np.array_equal, before, after))
    assert not any(np.shares_memory(back.params.input_weights, array) for array in after)


def test_integer_inputs_are_taken_as_numbers():
    p = problem()
    x = np.arange(42).reshape(7, 3, 2) % 3
    a = unroll.forward(cells.rnn(), p.params.cell, x)[0]
    b = unroll.forward(cells.rnn(), p.params.cell, x.astype(float))[0]
    assert np.array_equal(a, b)
    assert np.array_equal(a, unroll.forward(cells.rnn(), p.params.cell, x.tolist())[0])


# Backward


@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize(("T", "B", "D", "H"), SHAPES)
@verifies("eq-bptt-recursion", oracle="autograd")
@verifies("eq-preactivation-gradient", oracle="autograd")
@verifies("eq-weight-gradients", oracle="autograd")
@verifies("eq-input-gradients", oracle="autograd")
@verifies("eq-initial-state-gradient", oracle="autograd")
def test_backward_against_autograd(T, B, D, H, activation):
    p = problem(seed=T + H, T=T, B=B, D=D, H=H)
    oracle = torch_model(p, activation)
    cell = cells.rnn(activation)
    _, _, tape, back = ours(p, immediate(p, oracle), activation)
    agree(back.hidden, oracle.d_hidden, 1e-13)
    agree(cell.pull((), tape.hidden[1:], (back.hidden,))[0], oracle.d_preactivation, 1e-13)
    agree(back.params, oracle.gradients.cell, 1e-13)
    agree(back.inputs, oracle.d_inputs, 1e-13)
    agree(back.initial_state[0], oracle.gradients.initial_state, 1e-13)


@pytest.mark.parametrize("activation", NAMES)
@verifies("eq-bptt-recursion", oracle="dense Jacobians")
@verifies("eq-preactivation-gradient", oracle="dense Jacobians")
@verifies("eq-input-gradients", oracle="dense Jacobians")
@verifies("eq-initial-state-gradient", oracle="dense Jacobians")
def test_backward_against_the_brute_sum_over_later_losses(activation):
    p = problem(B=1)
    brute = BruteForce(p, activation=activation)
    cell = cells.rnn(activation)
    _, _, tape, back = ours(p, np.array(brute.g[1:])[:, None], activation)
    s = [sum(brute.g[k] @ brute.product(k, t) for k in range(max(t, 1), 8)) for t in range(8)]
    delta = np.array([brute.slope[t] * s[t] for t in range(1, 8)])
    agree(back.hidden[:, 0], np.array(s[1:]), 1e-13)
    agree(cell.pull((), tape.hidden[1:], (back.hidden,))[0][:, 0], delta, 1e-13)
    agree(back.inputs[:, 0], np.array([[d @ column for column in p.params.cell.input_weights.T] for d in delta]), 1e-13)
    agree(back.initial_state[0], s[0], 1e-13)


@verifies("eq-bptt-superposition", oracle="dense Jacobians")
def test_superposition_of_the_losses():
    p = problem(B=1, T=8)
    brute = BruteForce(p)
    g = np.array(brute.g[1:])[:, None]
    total = ours(p, g)[3].hidden
    alone = [ours(p, np.where(np.arange(8)[:, None, None] == k, g, 0))[3].hidden for k in range(8)]
    agree(total, sum(alone), 1e-13)
    for k in range(8):
        oracle = [brute.g[k + 1] @ brute.product(k + 1, t) if t <= k + 1 else np.zeros(5) for t in range(1, 9)]
        agree(alone[k][:, 0], np.array(oracle), 1e-13)


@verifies("eq-bptt-superposition", oracle="autograd")
def test_superposition_against_autograd_of_each_loss_alone():
    p = problem(seed=3, T=6, B=2)
    whole = immediate(p, torch_model(p))
    parts = []
    for k in range(6):
        mask = np.zeros((6, 2), bool)
        mask[k] = True
        parts.append(torch_model(p, mask=mask).d_hidden)
    agree(ours(p, whole)[3].hidden, sum(parts), 1e-13)


def test_linear_in_the_arriving_gradients():
    p = problem()
    g = p.rng.standard_normal((7, 3, 5))
    once, twice = ours(p, g)[3], ours(p, 2 * g)[3]
    assert np.array_equal(twice.hidden, 2 * once.hidden)  # doubling is exact in binary
    for a, b in zip((*twice.params, twice.inputs), (*once.params, once.inputs), strict=True):
        assert np.array_equal(a, 2 * b)
    other = p.rng.standard_normal((7, 3, 5))
    agree(ours(p, g - 3 * other)[3].hidden, once.hidden - 3 * ours(p, other)[3].hidden, 1e-13)


@verifies("eq-initial-state-gradient", oracle="autograd")
def test_gradient_of_a_start_for_each_sequence():
    p = problem()
    rows = p.rng.standard_normal((3, 5))
    p.params = p.params._replace(initial_state=rows)
    oracle = torch_model(p)
    back = ours(p, immediate(p, oracle))[3]
    agree(back.initial_state, (oracle.gradients.initial_state,), 1e-13)
    assert back.initial_state[0].shape == (3, 5)


@pytest.mark.parametrize("lengths", [None, [7, 3, 0]])
def test_gradient_that_arrives_at_the_final_state(lengths):
    p = problem()
    g, last = p.rng.standard_normal((7, 3, 5)), p.rng.standard_normal((3, 5))
    cell, start = leaves(p.params.cell), torch.tensor(p.params.initial_state, requires_grad=True)
    x, total = torch.tensor(p.inputs, requires_grad=True), 0.0
    for b in range(3):
        states = roll(cell, x[: 7 if lengths is None else lengths[b], b], start)
        total = total + sum((torch.tensor(g[t, b]) * h).sum() for t, h in enumerate(states))
        total = total + (torch.tensor(last[b]) * (states[-1] if states else start)).sum()
    _, _, tape = unroll.forward(cells.rnn(), p.params.cell, p.inputs, p.params.initial_state, lengths)
    back = unroll.backward(tape, g, (last,))
    agree(back.params, gradients(total, cell), 1e-13)
    agree(back.initial_state[0], torch.autograd.grad(total, start, retain_graph=True)[0], 1e-13)
    agree(back.inputs, torch.autograd.grad(total, x)[0], 1e-13)


def test_backward_in_two_stretches_is_backward_in_one():
    p = problem(T=9)
    g = p.rng.standard_normal((9, 3, 5))
    _, _, _, whole = ours(p, g)
    _, state, first = unroll.forward(cells.rnn(), p.params.cell, p.inputs[:4], p.params.initial_state)
    _, _, second = unroll.forward(cells.rnn(), p.params.cell, p.inputs[4:], state)
    late = unroll.backward(second, g[4:])
    early = unroll.backward(first, g[:4], late.initial_state)
    agree(np.concatenate([early.hidden, late.hidden]), whole.hidden, 1e-14)
    agree(early.initial_state, whole.initial_state, 1e-14)
    agree(RNNParams(*map(np.add, early.params, late.params)), whole.params, 1e-14)


# Ragged batches


def ragged(lengths, seed=0, fill=np.nan):
    p = problem(seed=seed, B=len(lengths))
    for b, length in enumerate(lengths):
        p.inputs[length:, b] = fill
    return p


@pytest.mark.parametrize("lengths", [[7, 7, 7], [7, 4, 1], [0, 5, 2], [0, 0, 0], [3, 3, 6]])
@pytest.mark.parametrize("fill", [np.nan, np.inf, -np.inf, 1e300])
def test_what_is_in_the_padding_changes_no_bit(lengths, fill):
    g = np.random.default_rng(5).standard_normal((7, 3, 5))
    clean, dirty = ragged(lengths, fill=0.0), ragged(lengths, fill=fill)
    for b, length in enumerate(lengths):
        dirty_g = g.copy()
        dirty_g[length:, b] = fill
    a, b = ours(clean, g, lengths=lengths), ours(dirty, dirty_g, lengths=lengths)
    assert np.array_equal(a[0], b[0])
    assert np.array_equal(a[1][0], b[1][0])
    for one, other in [
        (a[3].hidden, b[3].hidden),
        (a[3].inputs, b[3].inputs),
        *zip(a[3].params, b[3].params, strict=True),
    ]:
        assert np.isfinite(other).all()
        assert np.array_equal(one, other)


@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize("lengths", [[7, 4, 1], [0, 5, 2], [3, 3, 6]])
@verifies("eq-bptt-recursion", oracle="autograd")
@verifies("eq-weight-gradients", oracle="autograd")
@verifies("eq-input-gradients", oracle="autograd")
@verifies("eq-initial-state-gradient", oracle="autograd")
def test_padded_and_alone_agree(lengths, activation):
    p = ragged(lengths, seed=2)
    oracle = torch_model(p, activation, lengths=lengths)
    outputs, final, _, back = ours(p, immediate(p, oracle), activation, lengths)
    agree(outputs, oracle.hidden, 1e-13)
    agree(final[0], oracle.final, 1e-13)
    agree(back.params, oracle.gradients.cell, 1e-13)
    agree(back.initial_state[0], oracle.gradients.initial_state, 1e-13)
    agree(back.inputs, np.nan_to_num(oracle.d_inputs), 1e-13)
    valid = np.arange(7)[:, None] < np.array(lengths)
    agree(back.hidden[valid], oracle.d_hidden[valid], 1e-13)
    assert not outputs[~valid].any()
    assert not back.inputs[~valid].any()


def test_all_lengths_zero_keep_the_start_and_learn_nothing():
    p = ragged([0, 0, 0])
    outputs, final, _, back = ours(p, np.ones((7, 3, 5)), lengths=[0, 0, 0])
    assert not outputs.any()
    assert np.array_equal(final[0], np.tile(p.params.initial_state, (3, 1)))
    assert not any(part.any() for part in (*back.params, back.inputs, *back.initial_state))


def test_full_lengths_are_no_lengths():
    p = problem()
    g = p.rng.standard_normal((7, 3, 5))
    a, b = ours(p, g), ours(p, g, lengths=[7, 7, 7])
    assert np.array_equal(a[0], b[0])
    agree(b[3].params, a[3].params, 1e-15)


@settings(max_examples=25)
@given(st.integers(1, 6), st.integers(1, 4), st.integers(1, 3), st.integers(1, 5), st.integers(0, 10**6), st.data())
def test_any_sizes_and_lengths(T, B, D, H, seed, data):
    lengths = data.draw(st.lists(st.integers(0, T), min_size=B, max_size=B).filter(any))
    p = problem(seed, T, B, D, H, O=2, scale=0.5)
    oracle = torch_model(p, lengths=lengths)
    outputs, final, _, back = ours(p, immediate(p, oracle), lengths=lengths)
    agree(outputs, oracle.hidden, 1e-13)
    agree(final[0], oracle.final, 1e-13)
    agree(back.params, oracle.gradients.cell, 1e-12)
    agree(back.initial_state[0], oracle.gradients.initial_state, 1e-12)


# Long, saturated, single


@verifies("eq-bptt-recursion", oracle="autograd")
@verifies("eq-weight-gradients", oracle="autograd")
def test_two_thousand_steps():
    p = problem(T=2000, B=1, D=2, H=4, scale=0.5)
    p.params.cell.recurrent_weights[:] = 0.98 * np.linalg.qr(p.params.cell.recurrent_weights)[0]
    oracle = torch_model(p)
    back = ours(p, immediate(p, oracle))[3]
    agree(back.hidden, oracle.d_hidden, 1e-12)
    agree(back.params, oracle.gradients.cell, 1e-12)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
@verifies("eq-preactivation-gradient", oracle="autograd")
@verifies("eq-weight-gradients", oracle="autograd")
def test_saturated_units(activation):
    p = problem()
    p.params.cell.bias[:3] = 20.0, -20.0, 25.0  # three of five units
    oracle = torch_model(p, activation)
    outputs, _, tape, back = ours(p, immediate(p, oracle), activation)
    assert (np.abs(outputs[:, :, 0]) > 1 - 1e-6).all()
    assert all(np.isfinite(part).all() for part in (*back.params, back.inputs, back.hidden))
    delta = cells.rnn(activation).pull((), tape.hidden[1:], (back.hidden,))[0]
    agree(delta, oracle.d_preactivation, 1e-13)
    agree(back.params, oracle.gradients.cell, 1e-13)


def test_all_units_saturated_teach_next_to_nothing():
    p = problem()
    p.params.cell.bias[:] = 30.0
    back = ours(p, np.ones((7, 3, 5)))[3]
    assert all(np.isfinite(part).all() and np.abs(part).max() < 1e-12 for part in (*back.params, back.inputs))
    assert np.array_equal(back.hidden, np.ones((7, 3, 5)))  # what arrives is all there is


@pytest.mark.parametrize("lengths", [None, [7, 4, 1]])
@pytest.mark.parametrize("activation", NAMES)
def test_float32_stays_float32_and_is_right(activation, lengths):
    p = problem(dtype=np.float32)
    p.inputs = p.inputs.astype(np.float32)
    exact = problem()
    exact.params = type(p.params)(
        RNNParams(*(part.astype(float) for part in p.params.cell)),
        p.params.readout,
        p.params.initial_state.astype(float),
    )
    exact.inputs = p.inputs.astype(float)
    g = p.rng.standard_normal((7, 3, 5))
    outputs, final, _, back = ours(p, g.astype(np.float32), activation, lengths)
    wide = ours(exact, g.astype(np.float32).astype(float), activation, lengths)
    every = (outputs, final[0], *back.params, back.inputs, back.hidden, back.initial_state[0])
    assert {part.dtype for part in every} == {np.dtype(np.float32)}
    agree(outputs, wide[0], 1e-5)
    agree(back.params, wide[3].params, 1e-5)


def test_one_complex_parameter_makes_everything_complex():
    p = problem()
    cell = p.params.cell._replace(bias=p.params.cell.bias + 1e-30j)
    outputs, _, _ = unroll.forward(cells.rnn(), cell, p.inputs, p.params.initial_state)
    assert np.abs(outputs.imag).max() > 1e-32


# What is stored


def stored(tape):
    """The distinct arrays behind a tape: views of one memory count once."""
    arrays = [tape.inputs, tape.hidden, *tape.saved]
    owners = {}
    for array in arrays:
        while array.base is not None:
            array = array.base
        owners[id(array)] = array
    return list(owners.values())


@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize(("T", "B", "D", "H"), SHAPES)
@verifies("eq-stored-floats", oracle="the arrays themselves, counted")
def test_stored_floats(T, B, D, H, activation):
    p = problem(T=T, B=B, D=D, H=H)
    x = p.inputs.copy()
    outputs, _, tape = unroll.forward(cells.rnn(activation), p.params.cell, x, p.params.initial_state)
    arrays = stored(tape)
    numbers = sum(array.size for array in arrays)
    agree(B * (T * (D + H) + H), numbers, 0)
    assert sum(array.nbytes for array in arrays) == 8 * numbers
    assert tape.inputs is x  # not a copy
    assert np.shares_memory(outputs, tape.hidden)  # the outputs cost nothing more
    assert all(np.shares_memory(kept, tape.hidden) for kept in tape.saved)


# Doors


def call(**changes):
    p = problem()
    start = {"cell": cells.rnn(), "params": p.params.cell, "inputs": p.inputs, "initial_state": None, "lengths": None}
    return unroll.forward(**{**start, **changes})


def params(**changes):
    return problem().params.cell._replace(**changes)


def spoiled(array, value=np.nan):
    array = np.array(array, float)
    array.flat[1] = value
    return array


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"inputs": np.zeros((7, 2))}, r"inputs: expected shape \(T, B, 2\), got \(7, 2\)"),
        ({"inputs": np.zeros((7, 3, 4))}, r"inputs: expected shape \(T, B, 2\), got \(7, 3, 4\)"),
        (
            {"inputs": np.zeros((0, 3, 2))},
            r"inputs: expected at least one step and one sequence, got shape \(0, 3, 2\)",
        ),
        (
            {"inputs": np.zeros((7, 0, 2))},
            r"inputs: expected at least one step and one sequence, got shape \(7, 0, 2\)",
        ),
        ({"inputs": spoiled(np.zeros((7, 3, 2)))}, "inputs: 1 of 42 entries are NaN or infinite"),
        ({"inputs": spoiled(np.zeros((7, 3, 2)), np.inf)}, "inputs: 1 of 42 entries are NaN or infinite"),
        ({"params": params(input_weights=np.zeros(5))}, r"input_weights: expected shape \(5, D\), got \(5,\)"),
        ({"params": params(input_weights=np.zeros((4, 2)))}, r"input_weights: expected shape \(5, D\), got \(4, 2\)"),
        (
            {"params": params(recurrent_weights=np.zeros((5, 4)))},
            r"recurrent_weights: expected shape \(4, 4\), got \(5, 4\)",
        ),
        (
            {"params": params(recurrent_weights=np.zeros(5))},
            r"recurrent_weights: expected shape \(G\*H, H\), got \(5,\)",
        ),
        ({"params": params(bias=np.zeros((5, 1)))}, r"bias: expected shape \(5,\), got \(5, 1\)"),
        ({"params": params(bias=3.0)}, r"bias: expected shape \(5,\), got \(\)"),
        (
            {"params": params(input_weights=spoiled(np.ones((5, 2))))},
            "input_weights: 1 of 10 entries are NaN or infinite",
        ),
        ({"params": params(recurrent_weights=spoiled(np.ones((5, 5))))}, "recurrent_weights: 1 of 25 entries are NaN"),
        ({"params": params(bias=spoiled(np.ones(5)))}, "bias: 1 of 5 entries are NaN or infinite"),
        ({"initial_state": spoiled(np.zeros(5))}, "initial_state: 1 of 5 entries are NaN or infinite"),
        ({"initial_state": np.zeros(4)}, r"initial_state: expected shape \(5,\), got \(4,\)"),
        ({"initial_state": np.zeros((2, 5))}, r"initial_state: expected shape \(3, 5\), got \(2, 5\)"),
        (
            {"initial_state": (np.zeros(5), np.zeros(5))},
            r"initial_state: the rnn-tanh cell has 1 state array\(s\), got 2",
        ),
        ({"lengths": [7, 8, 1]}, r"lengths: expected values in 0..7, got 1..8"),
        ({"lengths": [7, -1, 1]}, r"lengths: expected values in 0..7, got -1..7"),
        ({"lengths": [7.0, 3.0, 1.0]}, r"lengths: expected integers of shape \(B,\), got float64 of shape \(3,\)"),
        ({"lengths": [True, True, True]}, r"lengths: expected integers of shape \(B,\), got bool of shape \(3,\)"),
        ({"lengths": [[7, 3, 1]]}, r"lengths: expected integers of shape \(B,\), got int64 of shape \(1, 3\)"),
        ({"lengths": [7, 3]}, r"lengths: expected shape \(3,\), got \(2,\)"),
        ({"lengths": [7]}, r"lengths: expected shape \(3,\), got \(1,\)"),
        ({"lengths": 7}, r"lengths: expected integers of shape \(B,\), got int64 of shape \(\)"),
    ],
)
def test_doors_of_forward(changes, message):
    with pytest.raises(ValueError, match=message):
        call(**changes)


@pytest.mark.parametrize(
    ("d_outputs", "d_final", "message"),
    [
        (np.zeros((6, 3, 5)), None, r"d_outputs: expected shape \(7, 3, 5\), got \(6, 3, 5\)"),
        (np.zeros((7, 3)), None, r"d_outputs: expected shape \(7, 3, 5\), got \(7, 3\)"),
        (np.zeros((7, 3, 5)), (), r"d_final_state: expected 1 array\(s\), got 0"),
        (np.zeros((7, 3, 5)), (np.zeros(5),), r"d_final_state: expected shape \(3, 5\), got \(5,\)"),
        (np.zeros((7, 3, 5)), np.zeros((3, 5)), r"d_final_state: expected 1 array\(s\), got 3"),
    ],
)
def test_doors_of_backward(d_outputs, d_final, message):
    _, _, tape = call()
    with pytest.raises(ValueError, match=message):
        unroll.backward(tape, d_outputs, d_final)


def test_a_nan_inside_a_sequence_is_an_error_even_with_lengths():
    p = problem()
    p.inputs[2, 1, 0] = np.nan
    with pytest.raises(ValueError, match="inputs: 1 of 42"):
        call(inputs=p.inputs, lengths=[7, 3, 7])
    call(inputs=p.inputs, lengths=[7, 2, 7])
