"""All states at once by Newton's method: each step against dense algebra, the end against the loop."""

import numpy as np
import pytest
import torch
from proof import agree, verifies

from rnncourse import bridge, gate_params, gpu, reference
from rnncourse.params import RNNParams
from rnncourse.reference import cells, lyapunov, newton_rnn, unroll

FLOORS = pytest.mark.parametrize("floor", [reference, gpu], ids=["reference", "gpu"])


def problem(T=12, B=2, H=5, gain=1.0, seed=0):
    rng = np.random.default_rng(seed)
    W_h = gain * rng.standard_normal((H, H)) / np.sqrt(H)
    cell = RNNParams(0.5 * rng.standard_normal((H, 2)), W_h, 0.1 * rng.standard_normal(H))
    return cell, rng.standard_normal((T, B, 2)), rng.standard_normal((B, H)), rng.standard_normal((T, B, H))


def convert(floor, *arrays):
    return arrays if floor is reference else bridge.to_torch(arrays)


def residuals(model, x, h_0, h):
    """r_t = h_t - f_t(h_{t-1}) of one sequence, in torch, from all states flattened."""
    W_x, W_h, b = (torch.tensor(part) for part in model)
    rows = h.reshape(len(x), -1)
    before = torch.cat([torch.tensor(h_0)[None], rows[:-1]])
    return (rows - torch.tanh(torch.tensor(x) @ W_x.T + before @ W_h.T + b)).ravel()


def stepped(floor, model, x, h_0, guess, damping):
    """One iteration of the library."""
    cell = floor.cells.rnn()
    model, x, h_0, guess = convert(floor, model, x, h_0, guess)
    images, J = floor.newton_rnn.linearise(cell, model, x @ model[0].T + model[2], h_0, guess)
    return floor.newton_rnn.step(guess, images, J, damping)


@verifies("eq-newton-step", oracle="a dense Newton step, Jacobian by autograd")
@FLOORS
@pytest.mark.parametrize("T", [1, 2, 7, 12])
def test_a_step_is_newtons(floor, T):
    model, x, h_0, guess = problem(T)
    found = np.asarray(stepped(floor, model, x, h_0, guess, 0.0))
    for n in range(2):
        flat = torch.tensor(guess[:, n]).ravel()
        f = lambda h, n=n: residuals(model, x[:, n], h_0[n], h)  # noqa: E731
        J = torch.autograd.functional.jacobian(f, flat)
        right = flat - torch.linalg.solve(J, f(flat))
        agree(found[:, n].ravel(), right, 1e-12)


@verifies("eq-damped-step", oracle="dense normal equations, Jacobian by autograd")
@FLOORS
@pytest.mark.parametrize("damping", [1e-3, 1.0, 30.0])
def test_a_damped_step_is_that_of_levenberg_and_marquardt(floor, damping):
    model, x, h_0, guess = problem()
    found = np.asarray(stepped(floor, model, x, h_0, guess, damping))
    for n in range(2):
        flat = torch.tensor(guess[:, n]).ravel()
        f = lambda h, n=n: residuals(model, x[:, n], h_0[n], h)  # noqa: E731
        J = torch.autograd.functional.jacobian(f, flat)
        matrix = J.T @ J + damping * torch.eye(len(flat), dtype=flat.dtype)
        right = flat - torch.linalg.solve(matrix, J.T @ f(flat))
        agree(found[:, n].ravel(), right, 1e-11)


@FLOORS
@pytest.mark.parametrize("form", newton_rnn.FORMS)
def test_it_ends_at_the_states_of_the_loop(floor, form):
    model, x, h_0, guess = problem(T=40)
    states = unroll.forward(cells.rnn(), model, x, h_0)[0]
    model, x, h_0, guess = convert(floor, model, x, h_0, guess)
    for given in (None, guess):
        found = floor.newton_rnn.solve(floor.cells.rnn(), model, x, h_0, given, form)
        agree(found.hidden, states, 1e-11)
        assert found.residuals[-1] <= 1e-12 and len(found.residuals) == found.iterations + 1


@pytest.mark.parametrize("form", newton_rnn.FORMS)
@pytest.mark.parametrize("gain", [0.5, 4.0])
def test_an_iteration_makes_one_more_state_exact_at_least(form, gain):
    model, x, h_0, guess = problem(T=15, gain=gain)
    states = unroll.forward(cells.rnn(), model, x, h_0)[0]
    for limit in range(1, 16):
        found = newton_rnn.solve(cells.rnn(), model, x, h_0, guess, form, tolerance=0.0, limit=limit)
        assert abs(found.hidden[:limit] - states[:limit]).max() < 1e-9


def test_damping_keeps_the_residual_from_growing_and_ends_at_the_loop():
    model, x, h_0, _ = problem(T=60, gain=1.6, H=12, seed=1)
    states = unroll.forward(cells.rnn(), model, x, h_0)[0]
    plain = newton_rnn.solve(cells.rnn(), model, x, h_0)
    damped = newton_rnn.solve(cells.rnn(), model, x, h_0, damping=1.0, tolerance=1e-10, limit=300)
    assert plain.residuals.max() > 10 > 3 > damped.residuals.max()
    agree(plain.hidden, states, 1e-9)
    agree(damped.hidden, states, 1e-6)


def test_fewer_iterations_where_the_network_contracts():
    taken, rates = [], []
    for gain in (0.5, 1.5, 3.0):
        model, x, h_0, _ = problem(T=100, B=1, H=16, gain=gain, seed=2)
        x = 0.2 * x  # strong inputs quench chaos
        rates.append(lyapunov.along(unroll.forward(cells.rnn(), model, x, h_0)[2], 1, skip=10)[0, 0])
        taken.append(newton_rnn.solve(cells.rnn(), model, x, h_0, tolerance=1e-10).iterations)
    assert rates[0] < -0.3 and rates[0] < rates[1] < rates[2] and rates[2] > 0.03
    assert taken[0] <= 8 and taken[0] < taken[1] < taken[2] and taken[2] > 60


def test_what_overflows_is_replaced():
    """Products of a thousand expanding Jacobians: no number holds them, and the iteration goes on."""
    model, x, h_0, _ = problem(T=1500, B=1, gain=40.0)
    model = model._replace(bias=np.zeros(5))
    found = newton_rnn.solve(cells.rnn(), model, 0 * x, 1e-3 * h_0, limit=2)
    assert np.isfinite(found.hidden).all() and found.iterations == 2
    states = unroll.forward(cells.rnn(), model, 0 * x, 1e-3 * h_0)[0]
    assert abs(found.hidden[:2] - states[:2]).max() < 1e-12


@pytest.mark.parametrize("kind", ["gru", "normed"])
def test_on_the_torch_floor_any_cell_with_one_state(kind):
    rng = np.random.default_rng(0)
    cell = gpu.gru.reset_after("keep") if kind == "gru" else gpu.layer_norm.rnn()
    init = gate_params.init_reset_after_gru if kind == "gru" else gate_params.init_layer_norm_rnn
    model, x = bridge.to_torch((init(rng, 2, 4), rng.standard_normal((30, 2, 2))))
    states = gpu.unroll.forward(cell, model, x)[0]
    found = gpu.newton_rnn.solve(cell, model, x)
    agree(found.hidden, states, 1e-11)
    assert found.iterations < 15


@FLOORS
def test_bad_input(floor):
    model, x, h_0, guess = convert(floor, *problem())
    cell, solve = floor.cells.rnn(), floor.newton_rnn.solve
    for says, call in {
        "form: expected one of 'full', 'diagonal', 'zero'": lambda: solve(cell, model, x, form="half"),
        "damping: expected 0": lambda: solve(cell, model, x, damping=-1.0),
        "with 'diagonal'": lambda: solve(cell, model, x, damping=1.0, form="diagonal"),
        "limit: expected a whole number >= 1": lambda: solve(cell, model, x, limit=0),
        r"guess: expected shape \(12, 2, 5\)": lambda: solve(cell, model, x, guess=guess[:3]),
        r"initial_state: expected shape \(2, 5\)": lambda: solve(cell, model, x, h_0[:1]),
        "cell: expected a": lambda: solve(floor.lstm.plain(), model, x),
        "inputs: ": lambda: solve(cell, model, x[0]),
    }.items():
        with pytest.raises(ValueError, match=says):
            call()
