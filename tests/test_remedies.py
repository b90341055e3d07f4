"""The equations of chapter 06 that belong to no module of their own, and what its record must say."""

import math

import cell_battery as battery
import numpy as np
import pytest
import torch
from cell_oracles import draw_problem
from proof import agree, verifies

from rnncourse import params, reference
from rnncourse.gate_params import LayerNormRNNParams
from rnncourse.params import map_arrays
from rnncourse.reference import bptt, cells, jacobians, layer_norm, optim, unroll


@verifies("eq-clip-length", oracle="exact sums of squares")
@pytest.mark.parametrize("threshold", [1e-3, 1.0, 7.5, 1e3])
def test_a_clipped_gradient_has_the_lesser_length(threshold):
    rng = np.random.default_rng(0)
    g = params.RNNParams(*(rng.standard_normal(shape) for shape in [(4, 3), (4, 4), (4,)]))

    def length(tree):
        return math.sqrt(math.fsum(float(v) ** 2 for array in tree for v in array.ravel()))

    short = optim.clip_by_norm(g, threshold)
    agree(length(short), min(length(g), threshold), 1e-14)
    agree(map_arrays(lambda a: a / length(short), short), map_arrays(lambda a: a / length(g), g), 1e-13)


@verifies("eq-clip-length", oracle="torch")
def test_torch_clips_to_the_same_length():
    leaves = [torch.zeros(3, requires_grad=True), torch.zeros(2, 2, requires_grad=True)]
    for leaf, grad in zip(leaves, [torch.tensor([30.0, 0, 0]), torch.tensor([[0, 40.0], [0, 0]])], strict=True):
        leaf.grad = grad
    ours = optim.clip_by_norm(tuple(leaf.grad.numpy().astype(float) for leaf in leaves), 5.0)
    torch.nn.utils.clip_grad_norm_(leaves, 5.0)
    agree(ours, tuple(leaf.grad for leaf in leaves), 1e-6)  # torch adds 1e-6 to the norm, in float32


@verifies("eq-clip-fixed-point", oracle="bisection of the mean of clipped gradients")
@pytest.mark.parametrize("eta", [0.01, 0.5, 1.0, 2.9, 3.0, 3.5, 100.0])
def test_where_clipped_descent_comes_to_rest(eta):
    def pull(theta):  # increasing in theta
        return sum(float(optim.clip_by_norm(np.array([theta - c]), eta)[0]) for c in (0.0, 0.0, 0.0, 4.0))

    low, high = -1.0, 5.0
    for _ in range(200):
        middle = (low + high) / 2
        low, high = (middle, high) if pull(middle) < 0 else (low, middle)
    agree(eta / 3 if eta <= 3 else 1.0, low, 1e-12)


@verifies("eq-orthogonal-path", oracle="autograd")
def test_orthogonal_linear_paths_keep_every_length():
    rng = np.random.default_rng(0)
    cell = params.init_rnn(rng, 3, 9)
    x, v, h_0 = rng.standard_normal((40, 1, 3)), rng.standard_normal(9), rng.standard_normal(9)
    _, _, tape = unroll.forward(cells.rnn("identity"), cell, x, h_0)
    ours = np.linalg.norm(jacobians.product(jacobians.steps(tape), 0, 40)[0] @ v)
    W_x, W_h, b = (torch.tensor(part) for part in cell)

    def roll(h):
        for x_t in torch.tensor(x[:, 0]):
            h = W_h @ h + W_x @ x_t + b
        return h

    far = torch.autograd.functional.jvp(roll, torch.tensor(h_0), torch.tensor(v))[1]
    agree((ours, np.linalg.norm(v)), (far.norm(), far.norm()), 1e-12)


@verifies("eq-orthogonal-noise", oracle="the covariance carried step by step")
def test_orthogonal_states_collect_all_noise():
    rng = np.random.default_rng(1)
    W, sigma, T = params.orthogonal(rng, 6), 0.7, 50
    covariance = np.zeros((6, 6))
    for _ in range(T):
        covariance = W @ covariance @ W.T + sigma**2 * np.eye(6)
    agree(T * sigma**2 * np.eye(6), covariance, 1e-12)
    cell = params.RNNParams(np.eye(6), W, np.zeros(6))
    _, _, tape = unroll.forward(cells.rnn("identity"), cell, rng.standard_normal((T, 1, 6)))
    J = jacobians.steps(tape)
    each = [jacobians.product(J, t, T)[0] for t in range(1, T + 1)]  # dh_T/dx_t, since W_x = I
    agree(sigma**2 * sum(part @ part.T for part in each), covariance, 1e-12)


@verifies("eq-row-norm-gradient", oracle="autograd")
def test_gradient_of_a_normalised_row():
    rng = np.random.default_rng(2)
    a, d = 3 + rng.standard_normal((2, 5, 7))
    leaf = torch.tensor(a, requires_grad=True)
    (leaf_gradient,) = torch.autograd.grad(torch.nn.functional.layer_norm(leaf, (7,)), leaf, torch.tensor(d))
    n, precision = layer_norm.normalise(a, 1e-5)
    agree(layer_norm.pull(n, precision, d), leaf_gradient, 1e-12)
    by_the_formula = precision * (d - d.mean(1, keepdims=True) - n * (d * n).mean(1, keepdims=True))
    agree(by_the_formula, leaf_gradient, 1e-12)


@verifies("eq-row-norm-gradient", oracle="complex step")
def test_gradient_inside_the_recurrence():
    problem = draw_problem(LayerNormRNNParams, own=(1, 1))
    battery.without_calculus(layer_norm.rnn(), problem, "complex_step", 1e-12)


@verifies("eq-row-norm-invariance", oracle="the same loop on unscaled weights, written out")
def test_a_factor_before_all_weights_is_gone():
    p = draw_problem(LayerNormRNNParams, own=(1, 1))
    W_x, W_h, b, gain, shift = p.params
    for c in (0.01, 100.0):
        scaled = p.params._replace(input_weights=c * W_x, recurrent_weights=c * W_h, bias=c * b)
        ours = unroll.forward(layer_norm.rnn(epsilon=1e-30), scaled, p.x)[0]
        h, oracle = np.zeros((p.x.shape[1], len(b))), []
        for x_t in p.x:
            a = x_t @ W_x.T + h @ W_h.T + b
            h = np.tanh(gain * (a - a.mean(1, keepdims=True)) / a.std(1, keepdims=True) + shift)
            oracle.append(h)
        agree(ours, np.array(oracle), 1e-10)


@verifies("eq-chain-curvature", oracle="autograd, twice")
@pytest.mark.parametrize("w", [0.1, 0.5, 0.95, 1.3])
def test_slope_and_curvature_of_the_chain(w):
    n, leaf = 10, torch.tensor(w, dtype=torch.float64, requires_grad=True)
    h = torch.ones((), dtype=torch.float64)
    for _ in range(n):
        h = leaf * h
    (slope,) = torch.autograd.grad((h - 1) ** 2 / 2, leaf, create_graph=True)
    (curvature,) = torch.autograd.grad(slope, leaf)
    agree(n * w ** (n - 1) * (w**n - 1), slope, 1e-12)
    agree(n**2 * w ** (2 * n - 2) + n * (n - 1) * w ** (n - 2) * (w**n - 1), curvature, 1e-12)


def test_newtons_step_of_the_curvatures_size_crosses_the_plain():
    """Divided by the size of the curvature, the step goes downhill also where the plain bends downwards."""

    def trials(size, most=1000):
        w, loss = 0.1, 1.0
        for k in range(most):
            if loss < 1e-6:
                return k
            leaf = torch.tensor(w, dtype=torch.float64, requires_grad=True)
            value = (leaf**10 - 1) ** 2
            (slope,) = torch.autograd.grad(value, leaf, create_graph=True)
            (curvature,) = torch.autograd.grad(slope, leaf)
            w, loss = w - (slope / size(curvature)).item(), value.item()
        return most

    assert trials(abs) < 40 and trials(lambda curvature: curvature) == 1000


def test_off_the_cliff_without_clipping_and_down_the_valley_with_it():
    """The one unit of chapter 06: fifty steps from 0.9 are to end at 0.6."""
    cell, read, start = cells.rnn(), params.ReadoutParams(np.eye(1), np.zeros(1)), np.array([0.9])
    silence, wanted, last = np.zeros((50, 1, 1)), np.full((50, 1, 1), 0.6), np.arange(50)[:, None] == 49

    def descend(threshold, updates=1400):
        own, losses = params.RNNParams(np.zeros((1, 1)), np.array([[2.5]]), np.array([0.5])), []
        for _ in range(updates):
            found = bptt.full(cell, params.ModelParams(own, read, start), silence, wanted, mask=last)
            losses.append(found.loss)
            g = optim.clip_by_norm(found.gradients.cell, threshold)
            own = map_arrays(lambda w, d: w - 0.05 * d, own, g)
        return np.array(losses)

    thrown, kept = descend(1e9), descend(0.5)
    least = thrown.argmin()
    assert thrown[least] < 0.01 and thrown[least:].max() > 1 and np.ptp(thrown[-100:]) == 0 and thrown[-1] > 0.05
    assert kept[-1] < thrown[least]


def test_an_irnn_hands_on_one_or_nothing():
    J = jacobians.steps(
        unroll.forward(
            reference.cells.rnn("relu"),
            params.RNNParams(np.ones((4, 1)), np.eye(4), np.zeros(4)),
            np.random.default_rng(0).standard_normal((30, 2, 1)),
        )[2]
    )
    assert set(np.unique(J)) == {0.0, 1.0} and not (J * (1 - np.eye(4))).any()
