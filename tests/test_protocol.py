"""The cell protocol carries what later chapters need: two states, several gates, parameters of the cell itself.

An LSTM and a GRU, written here against ``step`` and ``pull``, agree with torch through ``unroll``.
"""

from functools import partial
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch

from rnncourse import bridge, doors, gate_params, masks
from rnncourse.data import tasks
from rnncourse.gpu import cells as gpu_cells
from rnncourse.gpu import unroll as gpu_unroll
from rnncourse.params import (
    ModelParams,
    ReadoutParams,
    RNNParams,
    init_model,
    init_readout,
    init_rnn,
    map_arrays,
    named_arrays,
)
from rnncourse.reference import bptt, cells, checkpoint, gru, layer_norm, lstm, rates, rtrl, unroll
from rnncourse.reference.activations import sigmoid
from rnncourse.reference.cells import Cell

T, B, D, H = 9, 4, 3, 5
LENGTHS = [None, [9, 4, 1, 7]]


class LSTMState(NamedTuple):
    """What an LSTM carries from step to step."""

    h: Any
    c: Any


class GRUParams(NamedTuple):
    """What belongs to the GRU beyond the three arrays of every cell: the bias inside the reset."""

    input_weights: Any
    recurrent_weights: Any
    bias: Any
    candidate_bias: Any


def lstm_step(own, ax, ah, state):
    _, c = state
    i, f, g, o = np.split(ax + ah, 4, axis=1)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    new = f * c + i * g
    return (o * np.tanh(new), new), (i, f, g, o, c, np.tanh(new))


def lstm_pull(own, saved, d_state):
    (i, f, g, o, c, squashed), (dh, dc) = saved, d_state
    dc = dc + dh * o * (1 - squashed**2)
    blocks = dc * g * i * (1 - i), dc * c * f * (1 - f), dc * i * (1 - g * g), dh * squashed * o * (1 - o)
    delta = np.concatenate(blocks, axis=1)
    return delta, delta, (0.0, dc * f), ()


def gru_step(own, ax, ah, state):
    (h,), (b,) = state, own
    r, z = sigmoid(ax[:, :H] + ah[:, :H]), sigmoid(ax[:, H : 2 * H] + ah[:, H : 2 * H])
    inside = ah[:, 2 * H :] + b
    n = np.tanh(ax[:, 2 * H :] + r * inside)
    return ((1 - z) * n + z * h,), (r, z, n, inside, h)


def gru_pull(own, saved, d_state):
    (r, z, n, inside, h), (dh,) = saved, d_state
    dn, dz = dh * (1 - z) * (1 - n * n), dh * (h - n) * z * (1 - z)
    dr, d_inside = dn * inside * r * (1 - r), dn * r
    to_x, to_h = np.concatenate([dr, dz, dn], axis=1), np.concatenate([dr, dz, d_inside], axis=1)
    return to_x, to_h, (dh * z,), (d_inside.sum(axis=0),)


LSTM = Cell("lstm", gates=4, states=2, step=lstm_step, pull=lstm_pull)
GRU = Cell("gru", gates=3, states=1, step=gru_step, pull=gru_pull, own=((1,),))


def numbers(*tensors):
    return [tensor.detach().numpy() for tensor in tensors]


def lstm_of(module):
    W_x, W_h, b_x, b_h = numbers(*module.parameters())
    return LSTM, RNNParams(W_x, W_h, b_x + b_h)


def gru_of(module):
    W_x, W_h, b_x, b_h = numbers(*module.parameters())
    outside = np.concatenate([b_h[: 2 * H], np.zeros(H)])
    return GRU, GRUParams(W_x, W_h, b_x + outside, b_h[2 * H :])


def torch_run(module, x, lengths, weights):
    """Outputs, and the gradients of their weighted sum plus the sum of the final states."""
    x = torch.tensor(x, requires_grad=True)
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, torch.tensor(lengths or [T] * B), enforce_sorted=False)
    y, final = module(packed)
    y, _ = torch.nn.utils.rnn.pad_packed_sequence(y, total_length=T)
    final = final if isinstance(final, tuple) else (final,)
    ((y * torch.tensor(weights)).sum() + sum(part.sum() for part in final)).backward()
    return [y.detach().numpy(), x.grad.numpy(), *(p.grad.numpy() for p in module.parameters())]


@pytest.mark.parametrize("lengths", LENGTHS, ids=["whole", "ragged"])
@pytest.mark.parametrize(("kind", "ours"), [(torch.nn.LSTM, lstm_of), (torch.nn.GRU, gru_of)], ids=["lstm", "gru"])
def test_gated_cells_through_unroll(kind, ours, lengths):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    module = kind(D, H).double()
    x, weights = rng.standard_normal((T, B, D)), rng.standard_normal((T, B, H))
    cell, params = ours(module)
    outputs, final, tape = unroll.forward(cell, params, x, lengths=lengths)
    back = unroll.backward(tape, weights, tuple(np.ones((B, H)) for _ in final))
    y, dx, dW_x, dW_h, db_x, db_h = torch_run(module, x, lengths, weights)
    np.testing.assert_allclose(outputs, y, atol=1e-14)
    for got, want in zip((back.inputs, *back.params[:3]), (dx, dW_x, dW_h, db_x), strict=True):
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-13 * abs(want).max())
    if cell is GRU:
        np.testing.assert_allclose(back.params.candidate_bias, db_h[2 * H :], rtol=0, atol=1e-13 * abs(db_h).max())


@pytest.mark.parametrize("gradient", [bptt.full, checkpoint.full, partial(bptt.chunked, chunk=T)])
def test_a_model_with_two_learned_initial_states(gradient):
    torch.manual_seed(1)
    rng = np.random.default_rng(1)
    module = torch.nn.LSTM(D, H).double()
    read = torch.nn.Linear(H, 2).double()
    start = [torch.tensor(rng.standard_normal(H), requires_grad=True) for _ in range(2)]
    x, wanted = rng.standard_normal((T, B, D)), rng.standard_normal((T, B, 2))
    y = read(module(torch.tensor(x), tuple(part.expand(1, B, H).contiguous() for part in start))[0])
    (0.5 * (y - torch.tensor(wanted)) ** 2).sum().backward()
    cell, params = lstm_of(module)
    model = ModelParams(params, ReadoutParams(*numbers(*read.parameters())), LSTMState(*numbers(*start)))
    found = gradient(cell, model, x, wanted).gradients
    np.testing.assert_allclose(found.cell.recurrent_weights, module.weight_hh_l0.grad, rtol=0, atol=1e-12)
    for got, part in zip(found.initial_state, start, strict=True):
        np.testing.assert_allclose(got, part.grad, rtol=0, atol=1e-12)
    assert [name for name, _ in named_arrays(found)][-2:] == ["initial_state.h", "initial_state.c"]


CELLS = {
    "vanilla": (cells.rnn(), init_rnn, 1),
    "rectified": (cells.rnn("relu"), init_rnn, 1),
    "leaky": (rates.leaky(0.3), init_rnn, 1),
    "normalised": (layer_norm.rnn(), gate_params.init_layer_norm_rnn, 1),
    "lstm": (lstm.plain(), gate_params.init_lstm, 2),
    "peepholes": (lstm.peephole(), gate_params.init_peephole_lstm, 2),
    "normalised lstm": (lstm.normed(), gate_params.init_layer_norm_lstm, 2),
    "gru, keep": (gru.reset_after("keep"), gate_params.init_reset_after_gru, 1),
    "gru, write": (gru.reset_after("write"), gate_params.init_reset_after_gru, 1),
}


@pytest.mark.parametrize("task", ["product", "countdown", "majority", "copy", "echo"])
@pytest.mark.parametrize("kind", CELLS)
def test_any_cell_plugs_into_any_task(kind, task):
    """One call for all shapes of chapter 01, and its gradient points downhill."""
    (cell, init, states), rng = CELLS[kind], np.random.default_rng(0)
    x, target, mask, lengths = getattr(tasks, task)(rng, 6)
    start = np.zeros(H) if states == 1 else tuple(np.zeros(H) for _ in range(states))
    model = ModelParams(init(rng, x.shape[2], H), init_readout(rng, H, target.shape[2]), start)
    found = bptt.full(cell, model, x, target, mask=mask, lengths=lengths)
    length = sum((array**2).sum() for _, array in named_arrays(found.gradients))
    rate = 1e-8 * found.loss / length  # a step that is to save a hundred-millionth of the loss
    moved = map_arrays(lambda w, d: w - rate * d, model, found.gradients)
    fall = found.loss - bptt.full(cell, moved, x, target, mask=mask, lengths=lengths).loss
    assert fall == pytest.approx(rate * length, rel=1e-2)


def test_outputs_cannot_be_changed_under_the_tape():
    rng = np.random.default_rng(0)
    outputs, _, _ = unroll.forward(cells.rnn(), init_rnn(rng, D, H), rng.standard_normal((T, B, D)))
    with pytest.raises(ValueError, match="read-only"):
        outputs += 1


def test_the_final_state_can_be_changed_without_harm():
    """The LSTM here saves tanh(c) and c; a caller may do what it likes with the c that it was given."""
    rng = np.random.default_rng(0)
    _, params = lstm_of(torch.nn.LSTM(D, H).double())
    keeping = Cell(
        "lstm", 4, 2, lambda *a: ((n := lstm_step(*a))[0], (*n[1], n[0][1])), lambda t, s, d: lstm_pull(t, s[:-1], d)
    )
    _, final, tape = unroll.forward(keeping, params, rng.standard_normal((T, B, D)))
    last = tape.saved[-1][-1].copy()
    final[1][:] = 0
    np.testing.assert_array_equal(tape.saved[-1][-1], last)


def test_arriving_gradients_are_not_written_to():
    """Even if a pull breaks its promise and writes into what it is handed."""

    def greedy(own, saved, d_state):
        pulled = lstm_pull(own, saved, d_state)
        d_state[1].fill(0)
        return pulled

    _, params = lstm_of(torch.nn.LSTM(D, H).double())
    tape = unroll.forward(LSTM._replace(pull=greedy), params, np.ones((T, B, D)))[2]
    arriving = np.ones((B, H)), np.ones((B, H))
    unroll.backward(tape, np.zeros((T, B, H)), arriving)
    np.testing.assert_array_equal(arriving, 1.0)


@pytest.mark.parametrize(
    ("params", "message"),
    [
        (
            lambda p: tuple(p),
            "params: expected a NamedTuple of W_x, W_h, b and 1 more for the gru cell, got tuple of 4",
        ),
        (lambda p: RNNParams(*p[:3]), "and 1 more for the gru cell, got RNNParams of 3"),
        (lambda p: p._replace(candidate_bias=np.zeros(1)), r"candidate_bias: expected shape \(5,\), got \(1,\)"),
        (lambda p: p._replace(candidate_bias=np.zeros((B, H))), r"candidate_bias: expected shape \(5,\), got \(4, 5\)"),
    ],
)
@pytest.mark.parametrize("floor", ["reference", "gpu"])
def test_parameters_must_fit_the_cell(params, message, floor):
    _, right = gru_of(torch.nn.GRU(D, H).double())
    twin = gpu_cells.Cell("gru", gates=3, states=1, step=gru_step, own=((1,),))
    forward, cell = (unroll.forward, GRU) if floor == "reference" else (gpu_unroll.forward, twin)
    with pytest.raises(ValueError, match=message):
        forward(cell, params(right), np.ones((T, B, D)))


@pytest.mark.parametrize("gradient", [partial(bptt.sliding, window=2), rtrl.full])
def test_what_needs_a_vanilla_cell_says_so(gradient):
    """A leaky cell hands part of its state on directly; the vanilla formulas would drop that part."""
    vanilla = cells.rnn()

    def step(own, ax, ah, state):
        (new,), saved = vanilla.step(own, ax, ah, state)
        return (0.7 * state[0] + 0.3 * new,), saved

    def pull(own, saved, d_state):
        to_x, to_h, _, _ = vanilla.pull(own, saved, (0.3 * d_state[0],))
        return to_x, to_h, (0.7 * d_state[0],), ()

    rng = np.random.default_rng(0)
    model = init_model(rng, D, H, 2)
    with pytest.raises(ValueError, match=r"cell: expected a vanilla cell.*got leaky"):
        gradient(Cell("leaky", 1, 1, step, pull), model, np.ones((T, B, D)), np.ones((T, B, 2)))


def test_precision_is_that_of_what_was_given():
    """Single precision stays single, the cell's own gradients too; nothing complex is cut to its real part."""
    rng = np.random.default_rng(0)
    params = GRUParams(
        rng.standard_normal((3 * H, D)), rng.standard_normal((3 * H, H)), np.zeros(3 * H), rng.standard_normal(H)
    )
    single = GRUParams(*(part.astype(np.float32) for part in params))
    _, _, tape = unroll.forward(GRU, single, rng.standard_normal((T, B, D)).astype(np.float32))
    back = unroll.backward(tape, np.ones((T, B, H), np.float32))
    assert {part.dtype for part in (*back.params, back.inputs)} == {np.dtype(np.float32)}
    x, start = rng.standard_normal((T, B, D)), np.zeros((B, H)) + 1e-30j
    outputs, _, _ = unroll.forward(GRU, params, x, start)
    assert outputs.dtype == complex and np.abs(outputs.imag).max() > 0
    _, _, tape = unroll.forward(GRU, params, x)
    assert np.array_equal(
        unroll.backward(tape, 1j * np.ones((T, B, H))).inputs.imag, unroll.backward(tape, np.ones((T, B, H))).inputs
    )


def test_reversed_inputs_and_unsigned_lengths():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((T, B, D))[::-1]
    params = init_rnn(rng, D, H)
    ours = unroll.forward(cells.rnn(), params, x)[0]
    theirs = gpu_unroll.forward(gpu_cells.rnn(), bridge.to_torch(params), x)[0]
    np.testing.assert_allclose(theirs.numpy(), ours, atol=1e-14)
    assert bridge.to_torch(x).shape == x.shape
    assert not masks.last_steps(np.array([0], np.uint8), 300).any()


def test_large_numbers_are_finite_without_a_warning(recwarn):
    doors.finite("inputs", np.full(10, 1e308))
    with pytest.raises(ValueError, match="inputs: 2 of 3 entries are NaN or infinite"):
        doors.finite("inputs", np.array([np.inf, -np.inf, 1.0]))
    assert not recwarn.list
