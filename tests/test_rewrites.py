"""One vanilla network in several notations: each computes the same outputs and the same gradients."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from oracles import problem, torch_model
from proof import agree, verifies

from rnncourse import bridge, gpu, rewrites
from rnncourse.params import map_arrays
from rnncourse.reference import activations, bptt, cells, readout, unroll

SIZES = [(1, 1, 1, 1, 1), (1, 3, 2, 5, 4), (9, 1, 3, 4, 2), (7, 3, 2, 5, 4)]  # T, B, D, H, O


def outputs(model, x, activation="tanh"):
    h = unroll.forward(cells.rnn(activation), model.cell, x, model.initial_state)[0]
    return readout.forward(model.readout, h)[0]


# Two biases


def sum_of_biases(layer):
    return (layer.bias_ih_l0 + layer.bias_hh_l0).detach()


@pytest.mark.parametrize("activation", ["tanh", "relu"])
@pytest.mark.parametrize("T, B, D, H, O", SIZES)
@verifies("eq-merged-biases", oracle="torch.nn.RNN")
def test_two_biases_are_one(T, B, D, H, O, activation):
    torch.manual_seed(T)
    layer = torch.nn.RNN(D, H, nonlinearity=activation, dtype=torch.float64)
    x = torch.randn(T, B, D, dtype=torch.float64)
    assert all(bias.abs().min() > 0 for bias in (layer.bias_ih_l0, layer.bias_hh_l0))
    theirs, last = layer(x)
    cell = bridge.rnn_from_torch(layer)
    ours, (end,), tape = unroll.forward(cells.rnn(activation), cell, x.numpy())
    agree((ours, end), (theirs, last[0]), 1e-12)
    twin, _, _ = gpu.unroll.forward(gpu.cells.rnn(activation), bridge.to_torch(cell), x)
    agree(twin, theirs, 1e-12)
    g = torch.randn_like(theirs)
    theirs.backward(g)
    for bias in (layer.bias_ih_l0, layer.bias_hh_l0):  # each of the two gets the whole gradient
        agree(unroll.backward(tape, g.numpy()).params.bias, bias.grad, 1e-12)
    zeros = torch.zeros_like(x)  # at zero input the biases alone speak
    agree(unroll.forward(cells.rnn("identity"), cell, zeros.numpy())[0][0, 0], sum_of_biases(layer), 1e-15)


def test_one_update_of_two_biases_moves_their_sum_twice_as_far():
    layer = torch.nn.RNN(2, 3, dtype=torch.float64)
    x = torch.ones(4, 1, 2, dtype=torch.float64)
    before = bridge.rnn_from_torch(layer)
    layer(x)[0].square().sum().backward()
    gradient = layer.bias_ih_l0.grad.numpy().copy()
    torch.optim.SGD(layer.parameters(), lr=0.1).step()
    moved = bridge.rnn_from_torch(layer).bias - before.bias
    assert np.allclose(moved, -2 * 0.1 * gradient, rtol=1e-12)


# One matrix


@pytest.mark.parametrize("T, B, D, H, O", SIZES)
@verifies("eq-concatenated-weights", oracle="a loop over torch.cat and autograd")
def test_joined_weights(T, B, D, H, O):
    p = problem(3, T, B, D, H, O)
    W = torch.tensor(p.rng.standard_normal((H, H + D)), requires_grad=True)
    b, now = torch.tensor(p.params.cell.bias), torch.tensor(p.params.initial_state).expand(B, H)
    states = []
    for x in torch.tensor(p.inputs):
        now = torch.tanh(torch.cat([now, x], dim=1) @ W.T + b)
        states.append(now)
    loss = sum(state.sin().sum() for state in states)
    (gradient,) = torch.autograd.grad(loss, W)
    cell = rewrites.split(W.detach().numpy(), p.params.cell.bias)
    h, _, tape = unroll.forward(cells.rnn(), cell, p.inputs, p.params.initial_state)
    agree(h, torch.stack(states), 1e-13)
    d = unroll.backward(tape, np.cos(h)).params
    agree(np.hstack([d.recurrent_weights, d.input_weights]), gradient, 1e-12)


# tanh and sigmoid


@given(st.floats(-1e6, 1e6))
@verifies("eq-tanh-sigmoid", oracle="torch.sigmoid")
def test_tanh_is_a_stretched_sigmoid(a):
    theirs = 2 * torch.sigmoid(torch.tensor([2 * a, 2.0], dtype=torch.float64)) - 1
    agree(activations.get("tanh").function(np.array([a, 1.0])), theirs, 1e-15)


@pytest.mark.parametrize("T, B, D, H, O", SIZES)
@verifies("eq-tanh-as-sigmoid-network", oracle="the tanh network by torch and autograd")
def test_a_tanh_network_as_a_sigmoid_network(T, B, D, H, O):
    p = problem(4, T, B, D, H, O)
    oracle = torch_model(p)
    other = rewrites.as_sigmoid(p.params)
    agree(outputs(other, p.inputs, "sigmoid"), oracle.outputs, 1e-12)
    # The gradient of the sigmoid network's weights, pulled back through the conversion, is the tanh network's.
    found = bptt.full(cells.rnn("sigmoid"), other, p.inputs, p.targets).gradients
    ones = np.ones(H)
    d_cell, d_read, d_start = found
    W_h = 4 * d_cell.recurrent_weights - 2 * np.outer(d_cell.bias, ones)
    W_y = 2 * d_read.weights - np.outer(d_read.bias, ones)
    pulled = (2 * d_cell.input_weights, W_h, 2 * d_cell.bias, W_y, d_read.bias, d_start / 2)
    (a, b, c), (d, e), f = oracle.gradients
    agree(pulled, (a, b, c, d, e, f), 1e-12)


def test_the_conversion_carries_gradients_of_torch():
    p = problem(5)
    model = map_arrays(lambda w: torch.tensor(w, requires_grad=True), p.params)
    other = rewrites.as_sigmoid(model)
    found = gpu.bptt.full(gpu.cells.rnn("sigmoid"), map_arrays(torch.Tensor.detach, other), torch.tensor(p.inputs),
                          torch.tensor(p.targets))  # fmt: skip
    assert abs(found.loss.item() - torch_model(p).loss) < 1e-12
    other.cell.bias.sum().backward()
    assert (model.cell.recurrent_weights.grad == -2).all()


@pytest.mark.parametrize("name, bound", [("tanh", 1.0), ("sigmoid", 0.25), ("relu", 1.0)])
@verifies("eq-slope-bounds", oracle="autograd")
def test_the_steepest_slope(name, bound):
    a = np.concatenate([np.linspace(-8, 8, 4001), [1e-300, 30.0, -30.0]])
    leaf = torch.tensor(a, requires_grad=True)
    (slopes,) = torch.autograd.grad(getattr(torch, name)(leaf).sum(), leaf)
    assert slopes.min() >= 0
    assert slopes.argmax() == 2000 or name == "relu"  # the steepest place is a = 0
    phi, slope = activations.get(name)
    agree(slope(phi(a)), slopes, 1e-14)
    agree(slope(phi(a)).max(), bound, 1e-15)
    assert name != "relu" or set(np.unique(slope(phi(a)))) == {0.0, 1.0}


@pytest.mark.parametrize(("dtype", "edge"), [(np.float32, 9.0109), (np.float64, 19.0616)])
def test_where_tanh_rounds_to_one(dtype, edge):
    phi, slope = activations.get("tanh")
    assert abs(edge - 0.5 * np.log(4 / np.finfo(dtype).epsneg)) < 1e-4  # 2 exp(-2a) is half a spacing below 1
    rest = 2 * np.exp(-2 * np.array([edge - 0.001, edge + 0.001]))  # 1 - tanh(a), to first order
    assert (rest > np.finfo(dtype).epsneg / 2).tolist() == [True, False]
    if dtype == np.float32:
        assert np.float32(np.tanh(np.float64(9.1))) == 1  # rounded once, from double precision
    for kernel in (phi, lambda a: torch.tanh(torch.tensor(a)).numpy()):  # each may be off by a last digit
        values = kernel(np.array([edge - 1, edge + 1], dtype))
        assert values[0] < 1 and values[1] == 1
        assert slope(values)[1] == 0


# Doors


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda p: rewrites.split(np.ones((3, 3)), np.ones(3)), "joined: expected more columns than rows"),
        (lambda p: rewrites.split(np.ones(3), np.ones(3)), r"joined: expected shape \(H, H\+D\), got \(3,\)"),
        (lambda p: rewrites.split(np.ones((3, 4)), np.ones(4)), r"bias: expected shape \(3,\), got \(4,\)"),
        (
            lambda p: rewrites.as_sigmoid(p._replace(readout=p.readout._replace(weights=np.ones((2, 2))))),
            r"weights: expected shape \(O, 5\), got \(2, 2\)",
        ),
    ],
)
def test_doors(call, message):
    with pytest.raises(ValueError, match=message):
        call(problem().params)
