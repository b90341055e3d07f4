"""What makes a recurrence one: time, state, start; and what it becomes when the activation is the identity."""

import numpy as np
import pytest
import torch
from oracles import problem
from proof import agree, verifies

from rnncourse import bridge, gpu
from rnncourse.reference import cells, readout, unroll

SIZES = [(1, 1, 1, 1), (1, 3, 2, 5), (9, 1, 3, 4), (7, 3, 2, 5)]  # T, B, D, H
ACTIVATIONS = ["tanh", "sigmoid", "relu", "identity"]


def run(params, x, start, activation="tanh"):
    return unroll.forward(cells.rnn(activation), params, x, start)[0]


@pytest.mark.parametrize("T, B, D, H", SIZES)
@verifies("eq-shifted-time", oracle="a torch loop in the other numbering")
def test_the_other_numbering_of_time(T, B, D, H):
    p = problem(1, T, B, D, H)
    W_x, W_h, b = map(torch.tensor, p.params.cell)
    x, first = torch.tensor(p.inputs), torch.tensor(p.params.initial_state).expand(B, H)
    theirs = {1: first}  # theirs[t + 1] = f(theirs[t], x_t), theirs[1] given
    for t in range(1, T + 1):
        theirs[t + 1] = torch.tanh(theirs[t] @ W_h.T + x[t - 1] @ W_x.T + b)
    tape = unroll.forward(cells.rnn(), p.params.cell, p.inputs, p.params.initial_state)[2]
    agree(tape.hidden, torch.stack([theirs[t + 1] for t in range(T + 1)]), 1e-13)


@pytest.mark.parametrize("activation", ACTIVATIONS)
@pytest.mark.parametrize("cut", [1, 3, 6])
@verifies("eq-same-state-same-future", oracle="torch.nn.RNN and a loop, over the whole sequence")
def test_the_state_is_all_that_is_carried(cut, activation):
    p = problem(2)
    W_x, W_h, b = map(torch.tensor, p.params.cell)
    phi = {"identity": lambda a: a}.get(activation) or getattr(torch, activation)
    now, whole = torch.tensor(p.params.initial_state).expand(3, 5), []
    for x in torch.tensor(p.inputs):
        now = phi(x @ W_x.T + now @ W_h.T + b)
        whole.append(now)
    state = unroll.forward(cells.rnn(activation), p.params.cell, p.inputs[:cut], p.params.initial_state)[1]
    agree(run(p.params.cell, p.inputs[cut:], state, activation), torch.stack(whole)[cut:], 1e-12)


@verifies("eq-same-state-same-future", oracle="another past that ends in the same state")
def test_two_pasts_that_meet_have_one_future():
    p = problem(3, T=9, B=1, D=6, H=4)  # more inputs than units: an input can reach any state
    W_x, W_h, b = p.params.cell
    other = p.rng.standard_normal((9, 1, 6))
    other[5:] = p.inputs[5:]
    h = run(p.params.cell, p.inputs, p.params.initial_state)
    before = run(p.params.cell, other[:4], p.params.initial_state)[-1, 0]
    wanted = np.arctanh(h[4, 0]) - W_h @ before - b
    other[4, 0] = np.linalg.lstsq(W_x, wanted)[0]  # the input that leads the other past to the same state
    again = run(p.params.cell, other, p.params.initial_state)
    assert np.abs(again[:4] - h[:4]).max() > 0.1
    agree(again[4:], h[4:], 1e-12)


@pytest.mark.parametrize("T", [1, 10, 1000])
def test_the_state_does_not_grow(T):
    p = problem(4, T=T)
    (state,) = unroll.forward(cells.rnn(), p.params.cell, p.inputs)[1]
    assert state.nbytes == 3 * 5 * 8


@pytest.mark.parametrize("T, B, D, H", SIZES)
@verifies("eq-zero-stays-zero", oracle="torch.nn.RNN without biases")
def test_without_biases_a_tanh_network_is_odd(T, B, D, H):
    torch.manual_seed(T)
    layer = torch.nn.RNN(D, H, bias=False, dtype=torch.float64)
    x, start = (torch.randn(*shape, dtype=torch.float64) for shape in ((T, B, D), (1, B, H)))
    theirs, _ = layer(x, start)
    cell = bridge.rnn_from_torch(layer)
    assert not cell.bias.any()
    agree(run(cell, -x.numpy(), -start[0].numpy()), -theirs.detach(), 1e-12)
    for activation in ("tanh", "relu", "identity"):
        assert not run(cell, np.zeros((T, B, D)), None, activation).any()
    assert run(cell, np.zeros((T, B, D)), None, "sigmoid").all()  # 1/2 at zero


def closed_form(params, x, start):
    """h_t = W^t h_0 + sum over k of W^(t-k) (W_x x_k + b), one term at a time."""
    W_x, W_h, b = params
    power = np.linalg.matrix_power
    return np.array([
        [
            power(W_h, t) @ h_0 + sum(power(W_h, t - k) @ (W_x @ x[k - 1, j] + b) for k in range(1, t + 1))
            for j, h_0 in enumerate(start)
        ]
        for t in range(1, len(x) + 1)
    ])  # fmt: skip


@pytest.mark.parametrize("T, B, D, H", SIZES)
@verifies("eq-linear-rnn-closed-form", oracle="powers of the matrix")
def test_with_the_identity_it_is_a_linear_dynamical_system(T, B, D, H):
    p = problem(5, T, B, D, H)
    start = p.rng.standard_normal((B, H))
    states = closed_form(p.params.cell, p.inputs, start)
    h = run(p.params.cell, p.inputs, start, "identity")
    agree(h, states, 1e-12)
    W_y, b_y = p.params.readout
    agree(readout.forward(p.params.readout, h)[0], np.einsum("oh,tbh->tbo", W_y, states) + b_y, 1e-12)
    twin = bridge.to_torch((p.params.cell, p.inputs, start))
    agree(gpu.unroll.forward(gpu.cells.rnn("identity"), *twin)[0], states, 1e-12)


@verifies("eq-linear-rnn-closed-form", oracle="superposition")
def test_a_linear_network_obeys_superposition_and_a_tanh_network_does_not():
    p = problem(6)
    cell = p.params.cell._replace(bias=np.zeros(5))
    u, v = p.inputs, p.rng.standard_normal(p.inputs.shape)

    def both(activation):
        apart = 2 * run(cell, u, None, activation) - 3 * run(cell, v, None, activation)
        return run(cell, 2 * u - 3 * v, None, activation), apart

    agree(*both("identity"), 1e-12)
    together, apart = both("tanh")
    assert np.abs(together - apart).max() > 0.1
