"""What chapter 01 says about batches, unrolling and tying, against judges of their own."""

import numpy as np
import pytest
import torch
from oracles import problem, roll
from proof import agree, verifies

from rnncourse import bridge, gpu, params
from rnncourse.reference import bptt, cells, unroll

LENGTHS = [7, 4, 1, 6]


def ragged():
    """A batch whose padding holds NaN."""
    p = problem(T=7, B=4)
    for b, length in enumerate(LENGTHS):
        p.inputs[length:, b] = np.nan
    return p


def alone(p, b):
    """The states of one sequence on its own, by a plain torch loop."""
    start = torch.tensor(p.params.initial_state)
    return roll(tuple(map(torch.tensor, p.params.cell)), torch.tensor(p.inputs[: LENGTHS[b], b]), start)


@verifies("eq-masked-state", oracle="each sequence alone")
def test_a_padded_sequence_has_the_states_that_it_has_alone():
    p = ragged()
    hidden, (final,), _ = unroll.forward(cells.rnn(), p.params.cell, p.inputs, p.params.initial_state, LENGTHS)
    for b, length in enumerate(LENGTHS):
        states = alone(p, b)
        agree(hidden[:length, b], torch.stack(states), 1e-14)
        agree(final[b], states[-1], 1e-14)
        assert not hidden[length:, b].any()


@verifies("eq-masked-state", oracle="torch, packed")
def test_lengths_do_what_packing_does():
    p = ragged()
    zeros = np.nan_to_num(p.inputs)
    packed = torch.nn.utils.rnn.pack_padded_sequence(torch.tensor(zeros), LENGTHS, enforce_sorted=False)
    start = torch.tensor(np.tile(p.params.initial_state, (1, 4, 1)))
    _, final = bridge.rnn_to_torch(p.params.cell)(packed, start)
    ours = unroll.forward(cells.rnn(), p.params.cell, p.inputs, p.params.initial_state, LENGTHS)[1][0]
    agree(ours, final[0], 1e-14)
    naive = unroll.forward(cells.rnn(), p.params.cell, zeros, p.params.initial_state)[1][0]
    assert np.allclose(naive[0], ours[0], rtol=1e-14)  # the longest is not padded
    assert np.abs(naive - ours)[1:].max(axis=1).min() > 0.05


@verifies("eq-masked-state", oracle="the formula, step by step")
def test_the_masked_update_written_out():
    p = ragged()
    W_x, W_h, b = p.params.cell
    h = np.tile(p.params.initial_state, (4, 1))
    for t, x in enumerate(np.nan_to_num(p.inputs)):
        m = np.array([[float(t < length)] for length in LENGTHS])
        h = m * np.tanh(x @ W_x.T + h @ W_h.T + b) + (1 - m) * h
    agree(unroll.forward(cells.rnn(), p.params.cell, p.inputs, p.params.initial_state, LENGTHS)[1][0], h, 1e-14)


@pytest.mark.parametrize("floor", ["reference", "gpu"])
@verifies("eq-unrolled-composition", oracle="functions put into one another")
def test_unrolling_is_composition(floor):
    p = problem(T=4, B=1)
    W_x, W_h, b = map(torch.tensor, p.params.cell)

    def f(x, h):
        return torch.tanh(W_x @ x + W_h @ h + b)

    x1, x2, x3, x4 = torch.tensor(p.inputs[:, 0])
    nested = f(x4, f(x3, f(x2, f(x1, torch.tensor(p.params.initial_state)))))
    if floor == "reference":
        final = unroll.forward(cells.rnn(), p.params.cell, p.inputs, p.params.initial_state)[1][0]
    else:
        final = gpu.unroll.forward(gpu.cells.rnn(), *bridge.to_torch((p.params.cell, p.inputs, p.params.initial_state)))
        final = final[1][0]
    agree(final[0], nested, 1e-14)


@pytest.mark.parametrize("cut", range(1, 7))
@verifies("eq-unrolled-composition", oracle="functions put into one another")
def test_the_state_is_all_that_passes_a_cut(cut):
    """Two runs, one after the other, are one run."""
    p = problem()
    _, middle, _ = unroll.forward(cells.rnn(), p.params.cell, p.inputs[:cut], p.params.initial_state)
    ours = unroll.forward(cells.rnn(), p.params.cell, p.inputs[cut:], middle)[1][0]
    cell = tuple(map(torch.tensor, p.params.cell))
    whole = [roll(cell, torch.tensor(p.inputs[:, b]), torch.tensor(p.params.initial_state))[-1] for b in range(3)]
    agree(ours, torch.stack(whole), 1e-14)


@pytest.mark.parametrize("T, D, H", [(20, 32, 64), (5, 3, 4), (1, 1, 1)])
@verifies("eq-parameter-counts", oracle="torch's layers")
def test_counts_of_tied_and_untied_weights(T, D, H):
    def layers():
        return torch.nn.ModuleList([torch.nn.Linear(D, H), torch.nn.Linear(H, H, bias=False)])

    def numel(module):
        return float(sum(part.numel() for part in module.parameters()))

    tied = params.init_rnn(np.random.default_rng(0), D, H)
    untied = tuple(params.init_rnn(np.random.default_rng(t), D, H) for t in range(T))
    ours = np.array([params.count(tied), params.count(untied)], float)
    agree(ours, np.array([numel(layers()), numel(torch.nn.ModuleList(layers() for _ in range(T)))]), 0.0)
    agree(ours, np.array([H * (D + H + 1), T * H * (D + H + 1)], float), 0.0)
    if (T, D, H) == (20, 32, 64):
        assert ours.tolist() == [6_208, 124_160]


def test_the_gradient_of_a_sum_of_losses_is_the_sum_of_their_gradients():
    p = problem()
    steps = np.arange(7)[:, None] == np.arange(7)
    parts = [
        bptt.full(cells.rnn(), p.params, p.inputs, p.targets, mask=np.repeat(only[:, None], 3, axis=1)).gradients
        for only in steps
    ]
    whole = bptt.full(cells.rnn(), p.params, p.inputs, p.targets).gradients
    agree(params.map_arrays(lambda *arrays: sum(arrays), *parts), whole, 1e-13)
