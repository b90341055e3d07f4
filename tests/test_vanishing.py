"""Chapter 05's derivations: scalar, linear, bounded, masked; the tiny network's tables digit for digit."""

import numpy as np
import pytest
import torch
from oracles import BruteForce, problem
from proof import agree, verifies

from rnncourse.params import ModelParams, ReadoutParams, RNNParams, orthogonal
from rnncourse.reference import bptt, cells, jacobians, lyapunov, readout, unroll

# What the source's slides print, for lengths 1, 2, 3, 4, 5, 10: h_init.grad, wh.grad, wy.grad.
PRINTED = {
    0.1: [
        "0.200000 2.000000 0.200000",
        "0.020000 0.400000 0.020000",
        "0.002000 0.060000 0.002000",
        "0.000200 0.008000 0.000200",
        "0.000020 0.001000 0.000020",
        "0.000000 0.000000 0.000000",
    ],
    1.0: [
        "2.000000 2.000000 2.000000",
        "2.000000 4.000000 2.000000",
        "2.000000 6.000000 2.000000",
        "2.000000 8.000000 2.000000",
        "2.000000 10.000000 2.000000",
        "2.000000 20.000000 2.000000",
    ],
    10.0: [
        "20.000000 2.000000 20.000000",
        "200.000000 40.000000 200.000000",
        "2000.000000 600.000000 2000.000000",
        "20000.000000 8000.000000 20000.000000",
        "200000.000000 100000.000000 200000.000000",
        "0.000000 0.000000 0.000000",
    ],
}
LENGTHS = (1, 2, 3, 4, 5, 10)


def scalar(w, v=1.0, h_0=1.0, dtype=np.float64):
    """One unit, one weight, no input, no bias."""
    one = np.ones((1, 1), dtype)
    return ModelParams(
        RNNParams(0 * one, dtype(w) * one, np.zeros(1, dtype)),
        ReadoutParams(dtype(v) * one, np.zeros(1, dtype)),
        dtype(h_0) * np.ones(1, dtype),
    )


def tiny(w, L, v=1.0, h_0=1.0, dtype=np.float64, activation="relu", target=None):
    """Gradients by h_0, w_h and w_y of the squared error at step L; the target is one below the output unless given."""
    model = scalar(w, v, h_0, dtype)
    h, _, tape = unroll.forward(cells.rnn(activation), model.cell, np.ones((L, 1, 1), dtype), model.initial_state)
    y, read = readout.forward(model.readout, h)
    e = np.zeros_like(y)
    e[-1] = 2 * (y[-1] - (y[-1] - dtype(1) if target is None else dtype(target)))
    into, g = readout.backward(read, e)
    back = unroll.backward(tape, g)
    return [float(d.item()) for d in (back.initial_state[0], back.params.recurrent_weights, into.weights)]


def by_autograd(w, L, v=1.0, h_0=1.0, dtype=torch.float64, phi=torch.relu, target=None):
    """The same by torch, written out as the slides have it."""
    leaves = [torch.tensor(value, dtype=dtype, requires_grad=True) for value in (h_0, w, v)]
    h, w_h, w_y = leaves
    for _ in range(L):
        h = phi(w_h * h)
    y = w_y * h
    loss = (y - (y.detach() - 1 if target is None else target)) ** 2
    return [d.item() for d in torch.autograd.grad(loss, leaves)]


@pytest.mark.parametrize("w", PRINTED)
def test_the_printed_tables_digit_for_digit_in_single_precision(w):
    for L, row in zip(LENGTHS, PRINTED[w], strict=True):
        assert " ".join(f"{d:6.6f}" for d in tiny(w, L, dtype=np.float32)) == row
        assert " ".join(f"{d:6.6f}" for d in by_autograd(w, L, dtype=torch.float32)) == row


@pytest.mark.parametrize("w", [0.1, 1.0, 10.0, 0.7])
@verifies("eq-scalar-chain-gradients", oracle="autograd")
def test_the_scalar_chain(w):
    for L in (1, 2, 5, 10) if w <= 1 else (1, 2, 5):  # beyond, rounding eats the error of 1
        for v, h_0 in [(1.0, 1.0), (-0.5, 3.0)]:
            e = 2.0  # the target lies one below the output
            formula = np.array([e * v * w**L, e * v * L * w ** (L - 1) * h_0, e * w**L * h_0])
            oracle = np.array(by_autograd(w, L, v, h_0, phi=lambda a: a))
            agree(formula, oracle, 1e-9)
            agree(np.array(tiny(w, L, v, h_0, activation="identity")), oracle, 1e-9)


@verifies("eq-fixed-target-gradient", oracle="autograd")
def test_with_a_fixed_target_the_error_grows_too():
    for L in (1, 5, 10):
        oracle = by_autograd(10.0, L, target=0.0)[2]
        agree(2 * 10.0 ** (2 * L), oracle, 1e-12)
        agree(tiny(10.0, L, target=0.0)[2], oracle, 1e-12)
    agree(2 * 0.5 * 0.8**6 * 9.0, by_autograd(0.8, 3, v=0.5, h_0=3.0, target=0.0)[2], 1e-12)


@verifies("eq-float-spacing", oracle="numpy.spacing")
def test_the_spacing_of_floating_point_numbers():
    for dtype, bits in ((np.float32, 23), (np.float64, 52)):
        for value in (1.0, 1.5, 7.9, 1e7, 2.0**24, 1e8, 1e10):
            agree(2.0 ** (np.floor(np.log2(value)) - bits), float(np.spacing(dtype(value))), 0)
    assert np.float32(1e7) - np.float32(1) == 9_999_999
    assert np.float32(1e8) - np.float32(1) == np.float32(1e8)
    assert next(L for L in range(1, 20) if not any(tiny(10, L, dtype=np.float32))) == 8
    assert next(L for L in range(1, 20) if not any(tiny(10, L))) == 16


def linear(seed=0, T=6, H=4):
    """A linear network whose last output alone is judged."""
    p = problem(seed, T=T, B=1, H=H)
    mask = np.zeros((T, 1), bool)
    mask[-1] = True
    return p, mask


@pytest.mark.parametrize("T", [1, 2, 6])
@verifies("eq-linear-state-gradient", oracle="autograd")
@verifies("eq-linear-weight-gradient", oracle="autograd")
def test_the_linear_network_in_closed_form(T):
    p, mask = linear(T=T)
    (W_x, W_h, b), (W_y, b_y), h_0 = p.params
    W = torch.tensor(W_h, requires_grad=True)
    states = [torch.tensor(h_0, requires_grad=True)]
    for x in torch.tensor(p.inputs[:, 0]):
        states.append(torch.tensor(W_x) @ x + W @ states[-1] + torch.tensor(b))
    y = torch.tensor(W_y) @ states[-1] + torch.tensor(b_y)
    loss = 0.5 * ((y - torch.tensor(p.targets[-1, 0])) ** 2).sum()
    d_W, *d_states = torch.autograd.grad(loss, [W, *states[1:]])
    g = W_y.T @ (y.detach().numpy() - p.targets[-1, 0])
    s = [np.linalg.matrix_power(W_h, T - t).T @ g for t in range(1, T + 1)]
    h = [state.detach().numpy() for state in states]
    agree(np.array(s), torch.stack(d_states), 1e-13)
    agree(sum(np.outer(s[t - 1], h[t - 1]) for t in range(1, T + 1)), d_W, 1e-13)
    ours = bptt.full(cells.rnn("identity"), p.params, p.inputs, p.targets, mask=mask).gradients
    agree(ours.cell.recurrent_weights, d_W, 1e-13)


@pytest.mark.parametrize("activation, steepest", [("tanh", 1.0), ("sigmoid", 0.25), ("relu", 1.0)])
@verifies("eq-product-bound", oracle="dense Jacobians")
def test_no_product_is_longer_than_the_bound(activation, steepest):
    for seed in range(5):
        p = problem(seed, T=8, B=1)
        brute = BruteForce(p, 0, activation)
        largest = np.linalg.norm(p.params.cell.recurrent_weights, 2)
        for tau in range(8):
            for t in range(tau, 9):
                assert np.linalg.norm(brute.product(t, tau), 2) <= (steepest * largest) ** (t - tau) * (1 + 1e-12)
    # It is reached where every slope is steepest and the matrix is a multiple of an orthogonal one.
    H = 5
    turn = np.eye(H)[::-1] if activation == "relu" else orthogonal(np.random.default_rng(0), H)
    still = RNNParams(np.zeros((H, 1)), 0.9 * turn, np.zeros(H))
    start = {"tanh": 0.0, "sigmoid": 0.5, "relu": 1.0}[activation]
    if activation == "sigmoid":  # W_h h + b = 0 at h = 1/2
        still = still._replace(bias=-0.5 * still.recurrent_weights.sum(axis=1))
    tape = unroll.forward(cells.rnn(activation), still, np.zeros((30, 1, 1)), np.full(H, start))[2]
    total = jacobians.product(jacobians.steps(tape), 0, 30)[0]
    agree(np.linalg.norm(total, 2), (steepest * 0.9) ** 30, 1e-12)


@pytest.mark.parametrize("w, T", [(0.5, 60), (0.9, 10), (0.3, 1)])
@verifies("eq-masked-credit", oracle="autograd")
def test_near_losses_hide_a_far_one(w, T):
    """A linear network W_h = w I, every step judged by a loss whose gradient is the vector g."""
    g = torch.tensor([1.0, 1.0], dtype=torch.float64)
    h = start = torch.tensor([0.3, -0.2], dtype=torch.float64, requires_grad=True)
    terms = []
    for _ in range(T):
        h = w * h
        terms.append(g @ h)
    # by h_1: divide what arrives at h_0 by the one factor w between them
    whole = torch.autograd.grad(sum(terms), start, retain_graph=True)[0] / w
    far = torch.autograd.grad(terms[-1], start)[0] / w
    agree((1 - w**T) / (1 - w) * g.norm(), whole.norm(), 1e-12)
    agree(w ** (T - 1) * g.norm(), far.norm(), 1e-12)
    params = RNNParams(np.zeros((2, 1)), w * np.eye(2), np.zeros(2))
    tape = unroll.forward(cells.rnn("identity"), params, np.zeros((T, 1, 1)), np.array([0.3, -0.2]))[2]
    s = unroll.backward(tape, np.ones((T, 1, 2))).hidden
    agree(np.linalg.norm(s[0]), whole.norm(), 1e-12)


def test_a_relu_network_has_the_nilpotent_jacobians():
    """W = [[0, 2], [2, 0]] with inputs that shut one unit after the other: every Jacobian is nilpotent."""
    params = RNNParams(np.eye(2), np.array([[0.0, 2.0], [2.0, 0.0]]), np.zeros(2))
    x = np.zeros((20, 1, 2))
    x[::2, 0, 0] = x[1::2, 0, 1] = -1e9
    tape = unroll.forward(cells.rnn("relu"), params, x, np.array([1.0, 1.0]))[2]
    J = jacobians.steps(tape)[:, 0]
    assert not np.linalg.eigvals(J).any()
    assert np.linalg.norm(jacobians.product(J[:, None], 0, 20)[0], 2) == 2.0**20


@pytest.mark.parametrize("w", [1.05, 2.0, 3.0])
@verifies("eq-latch-exponent", oracle="autograd")
def test_a_latch_contracts_where_it_rests(w):
    rest = 0.5
    for _ in range(2000):
        rest = np.tanh(w * rest)
    h = torch.tensor(rest, dtype=torch.float64, requires_grad=True)
    slope = torch.autograd.grad(torch.tanh(w * h), h)[0]
    agree(np.log(w * (1 - rest**2)), slope.log(), 1e-11)
    one = np.ones((1, 1))
    tape = unroll.forward(cells.rnn(), RNNParams(one, w * one, np.zeros(1)), np.zeros((50, 1, 1)), np.array([rest]))[2]
    agree(lyapunov.along(tape)[0, 0], slope.log(), 1e-11)
    assert slope < 1
