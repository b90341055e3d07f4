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


@FLOORS
def test_damping_keeps_the_residual_from_growing_and_ends_at_the_loop(floor):
    model, x, h_0, _ = problem(T=60, gain=1.6, H=12, seed=1)
    states = unroll.forward(cells.rnn(), model, x, h_0)[0]
    model, x, h_0 = convert(floor, model, x, h_0)
    solve = floor.newton_rnn.solve
    plain = solve(floor.cells.rnn(), model, x, h_0)
    damped = solve(floor.cells.rnn(), model, x, h_0, damping=1.0, tolerance=1e-10, limit=300)
    assert plain.residuals.max() > 10 > 3 > damped.residuals.max()
    agree(plain.hidden, states, 1e-9)
    agree(damped.hidden, states, 1e-6)


@FLOORS
def test_a_damped_step_that_helps_is_kept_and_another_is_thrown_away(floor, monkeypatch):
    model, x, h_0 = convert(floor, *problem(T=4)[:3])
    guess, module, given = floor.newton_rnn.solve(floor.cells.rnn(), model, x, h_0).hidden, floor.newton_rnn, []
    moves = iter([0.1, 0.2, 0.2, float("nan"), 0.05])  # how far from the answer each step ends
    monkeypatch.setattr(module, "step", lambda h, f, J, damping: given.append(damping) or guess + next(moves))
    found = module.solve(floor.cells.rnn(), model, x, h_0, guess + 0.15, damping=1.0, limit=5)
    assert given == [1.0, 0.25, 1.0, 4.0, 16.0]
    agree(found.hidden, guess + 0.05, 1e-12)


def test_fewer_iterations_where_the_network_contracts():
    taken, rates = [], []
    for gain in (0.5, 1.5, 3.0):
        model, x, h_0, _ = problem(T=100, B=1, H=16, gain=gain, seed=2)
        x = 0.2 * x  # strong inputs quench chaos
        rates.append(lyapunov.along(unroll.forward(cells.rnn(), model, x, h_0)[2], 1, skip=10)[0, 0])
        taken.append(newton_rnn.solve(cells.rnn(), model, x, h_0, tolerance=1e-10).iterations)
    assert rates[0] < -0.3 and rates[0] < rates[1] < rates[2] and rates[2] > 0.03
    assert taken[0] <= 8 and taken[0] < taken[1] < taken[2] and taken[2] > 60


@FLOORS
def test_what_overflows_is_replaced(floor):
    """Products of a thousand expanding Jacobians: no number holds them, and the iteration goes on."""
    model, x, h_0, _ = problem(T=1500, B=1, gain=40.0)
    model, x, h_0 = model._replace(bias=np.zeros(5)), 0 * x, 1e-3 * h_0
    states, guess = unroll.forward(cells.rnn(), model, x, h_0)[0], np.full((1500, 1, 5), 1e-3)
    images = np.tanh(guess @ model.recurrent_weights.T)  # of all steps but the first
    model, x, h_0, guess = convert(floor, model, x, h_0, guess)
    rnn, solve = floor.cells.rnn(), floor.newton_rnn.solve
    once, twice = (solve(rnn, model, x, h_0, guess, limit=limit) for limit in (1, 2))
    agree(once.hidden[-100:], images[-100:], 1e-12)
    assert np.isfinite(np.asarray(twice.hidden)).all() and twice.iterations == 2
    assert abs(np.asarray(twice.hidden)[:2] - states[:2]).max() < 1e-12


@FLOORS
@pytest.mark.parametrize("form", newton_rnn.FORMS)
def test_which_part_of_the_jacobians_is_used(floor, form):
    model, x, h_0, guess = problem()
    before = np.concatenate([h_0[None], guess[:-1]])
    images = np.tanh(x @ model[0].T + before @ model[1].T + model[2])
    J = (1 - images**2)[..., None] * model[1]
    J = J * {"full": 1.0, "diagonal": np.eye(5), "zero": 0.0}[form]
    right = [images[0]]
    for t in range(1, len(x)):
        right.append(images[t] + np.einsum("bij,bj->bi", J[t], right[-1] - before[t]))
    model, x, h_0, guess = convert(floor, model, x, h_0, guess)
    found = floor.newton_rnn.solve(floor.cells.rnn(), model, x, h_0, guess, form, limit=1)
    agree(found.hidden, np.stack(right), 1e-12)


@FLOORS
@pytest.mark.parametrize("seed", [0, 1])
def test_in_a_chaotic_network_too_the_last_iteration_ends_it(floor, seed):
    """What is exact stays so to the last bit; a tree alone would spoil it by differences of huge numbers."""
    model, x, h_0, _ = convert(floor, *problem(T=256, B=2, H=16, gain=4.0, seed=seed))
    found = floor.newton_rnn.solve(floor.cells.rnn(), model, x, h_0, tolerance=0.0)
    assert found.residuals[-1] == 0 and found.residuals.max() > 1e20 and found.iterations <= 256


@FLOORS
def test_t_iterations_are_the_limit_and_nan_is_no_end(floor, monkeypatch):
    model, x, h_0, _ = convert(floor, *problem())
    monkeypatch.setattr(floor.newton_rnn, "step", lambda h, f, J, damping: h + float("nan"))
    found = floor.newton_rnn.solve(floor.cells.rnn(), model, x, h_0)
    assert found.iterations == 12 and np.isnan(found.residuals[-1])


@FLOORS
def test_a_leaky_cell_passes_its_state_on(floor):
    model, x, h_0, _ = problem(T=64)
    states = unroll.forward(reference.rates.leaky(0.1), model, x, h_0)[0]
    model, x, h_0 = convert(floor, model, x, h_0)
    found = floor.newton_rnn.solve(floor.rates.leaky(0.1), model, x, h_0)
    agree(found.hidden, states, 1e-11)
    assert found.iterations <= 6


@FLOORS
def test_single_precision_stays_single(floor):
    model, x, *_ = convert(floor, *problem())
    single = lambda a: a.astype(np.float32) if floor is reference else a.float()  # noqa: E731
    for damping in (0.0, 0.1):
        given = RNNParams(*map(single, model)), single(x)
        found = floor.newton_rnn.solve(floor.cells.rnn(), *given, damping=damping, tolerance=1e-5)
        assert found.hidden.dtype == given[1].dtype and found.iterations < 12


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
        "damping: expected 0,": lambda: solve(cell, model, x, damping=float("inf")),
        "tolerance: expected a number >= 0": lambda: solve(cell, model, x, tolerance=float("nan")),
        "limit: expected a whole number >= 1": lambda: solve(cell, model, x, limit=0),
        r"guess: expected shape \(12, 2, 5\)": lambda: solve(cell, model, x, guess=guess[:3]),
        r"initial_state: expected shape \(2, 5\)": lambda: solve(cell, model, x, h_0[:1]),
        "cell: expected a": lambda: solve(floor.lstm.plain(), model, x),
        "inputs: ": lambda: solve(cell, model, x[0]),
        "recurrent_weights: 25 of 25": lambda: solve(cell, model._replace(recurrent_weights=model[1] * np.nan), x),
    }.items():
        with pytest.raises(ValueError, match=says):
            call()
