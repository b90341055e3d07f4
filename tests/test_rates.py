"""Leaky rate units on both floors: against autograd, the complex step, and the vanilla cell."""

import brain_oracles as oracles
import cell_battery as battery
import numpy as np
import pytest
import torch
from cell_oracles import RAGGED, SHAPES, draw_problem
from proof import agree, verifies

from rnncourse import brain_params, bridge, gpu, params, reference
from rnncourse.params import RNNParams

FLOORS = pytest.mark.parametrize("floor", [reference, gpu], ids=["reference", "gpu"])
FORMS = [{"alpha": 0.3}, {"alpha": 1.0}, {"alpha": 0.2, "activation": "sigmoid"}]
FORMS += [{"alpha": 0.5, "baseline": 2.0, "swing": 1.5}, {"alpha": 0.01, "activation": "identity"}]


def problem(**settings):
    return draw_problem(RNNParams, **settings)


@verifies("eq-leaky-pull", oracle="autograd")
@FLOORS
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize(("T", "B", "D", "H"), SHAPES[::2])
def test_against_autograd(floor, form, T, B, D, H):
    cell = floor.rates.leaky(**form)
    battery.against_autograd(floor, cell, problem(T=T, B=B, D=D, H=H), oracles.leaky(**form))


@FLOORS
def test_ragged_with_nan_in_the_padding(floor):
    battery.against_autograd(floor, floor.rates.leaky(0.3), battery.ragged(problem()), oracles.leaky(), RAGGED)


def test_against_the_complex_step():
    cell = reference.rates.leaky(0.3, baseline=1.0, swing=0.7)
    battery.without_calculus(cell, problem(T=4, B=2, H=4), "complex_step", 1e-12)


def test_pull():
    battery.pull_is_linear_and_writes_nowhere(reference.rates.leaky(0.3), problem())


@FLOORS
def test_float32(floor):
    battery.float32_stays(floor, floor.rates.leaky(0.3), problem(dtype=np.float32), tolerance=1e-4)


def test_compiled():
    battery.compiled(lambda floor: floor.rates.leaky(0.3), problem(T=3))


@FLOORS
def test_a_leak_of_one_is_the_vanilla_cell_to_the_last_bit(floor):
    p = problem()
    ours, vanilla = (battery.run(floor, cell, p) for cell in (floor.rates.leaky(1.0), floor.cells.rnn()))
    for a, b in zip(battery._arrays(ours), battery._arrays(vanilla), strict=True):
        assert np.array_equal(a, b)


@verifies("eq-leaky-jacobian", oracle="autograd")
@FLOORS
def test_the_jacobian_of_a_step(floor):
    p = problem(T=4, B=1)
    tree = (p.params, p.x, p.start[0])
    given = tree if floor is reference else bridge.to_torch(tree)
    tape = floor.unroll.forward(floor.rates.leaky(0.3), *given)[2]
    ours = floor.state_jacobians.steps(tape)[:, 0]
    W_x, W_h, b = (torch.tensor(part) for part in p.params)
    h, found, printed = torch.tensor(p.start[0]), [], []
    for x in torch.tensor(p.x[:, 0]):
        move = lambda h, x=x: oracles.leaky(0.3)((W_x, W_h, b), x, (h,))[0]  # noqa: E731
        found.append(torch.autograd.functional.jacobian(move, h).numpy())
        slope = 1 - torch.tanh(W_x @ x + W_h @ h + b) ** 2
        printed.append((0.7 * torch.eye(5, dtype=h.dtype) + 0.3 * torch.diag(slope) @ W_h).numpy())
        h = move(h)
    agree(ours, np.array(found), 1e-12)
    agree(np.array(printed), np.array(found), 1e-12)


@verifies("eq-exact-leak", oracle="matrix exponential")
def test_the_exact_leak_solves_a_step_with_a_drive_that_stands_still():
    dt, tau, rho, drive = 7.0, 20.0, 0.3, 1.7
    system = torch.tensor([[-1 / tau, drive / tau], [0.0, 0.0]], dtype=torch.float64)
    there = torch.linalg.matrix_exp(dt * system) @ torch.tensor([rho, 1.0], dtype=torch.float64)
    alpha = brain_params.leak(dt, tau, "exact")
    agree((1 - alpha) * rho + alpha * drive, there[0], 1e-14)
    assert brain_params.leak(dt, tau) == 0.35 > alpha
    assert brain_params.leak(tau, tau) == 1.0  # the longest step of Euler's


@verifies("eq-baseline-current", oracle="the network of offsets")
@FLOORS
@pytest.mark.parametrize("baseline", [3.0, np.array([3.0, 1.0, 2.0, 5.0, 1.5])], ids=["one", "each"])
def test_rates_are_offsets_from_their_baseline(floor, baseline):
    p = problem()
    give = (lambda tree: tree) if floor is reference else bridge.to_torch
    rest = baseline if np.isscalar(baseline) else give(baseline)
    h = floor.unroll.forward(floor.rates.leaky(0.3), *give((p.params, p.x, p.start[0])))[0]
    converted = brain_params.in_rates(give(p.params), rest, 2.0)
    cell = floor.rates.leaky(0.3, baseline=rest, swing=2.0)
    rho = floor.unroll.forward(cell, converted, give(p.x), rest + 2.0 * give(p.start[0]))[0]
    agree(rho, np.asarray(baseline + 2.0 * h if np.isscalar(baseline) else (rest + 2.0 * h)), 1e-13)
    kept = floor.unroll.forward(
        cell,
        converted._replace(bias=give(p.params.bias)),
        give(p.x),
        rest + 2.0 * give(p.start[0]),
    )[0]
    assert abs(np.asarray(kept - rho)).max() > 0.1  # a bias that is left as it was does not take up W rho_0


@FLOORS
def test_bad_leaks(floor):
    for alpha in (0.0, -0.1, 1.5, float("nan")):
        with pytest.raises(ValueError, match="alpha: expected a share above 0 and at most 1"):
            floor.rates.leaky(alpha)
    with pytest.raises(ValueError, match="activation"):
        floor.rates.leaky(0.5, "step")


def test_bad_steps():
    with pytest.raises(ValueError, match="step: expected at most the time constant"):
        brain_params.leak(30.0, 20.0)
    assert brain_params.leak(30.0, 20.0, "exact") < 1
    with pytest.raises(ValueError, match="time_constant: expected a positive number"):
        brain_params.leak(1.0, 0.0)
    with pytest.raises(ValueError, match="scheme"):
        brain_params.leak(1.0, 2.0, "middle")
    with pytest.raises(ValueError, match="swing"):
        brain_params.in_rates(params.init_rnn(np.random.default_rng(0), 1, 2), 0.0, 0.0)


def test_the_angle_between_gradients():
    a, b = (params.init_rnn(np.random.default_rng(seed), 2, 3) for seed in (0, 1))
    long = [np.concatenate([part.ravel() for part in tree]) for tree in (a, b)]
    agree(brain_params.cosine(a, b), long[0] @ long[1] / np.linalg.norm(long[0]) / np.linalg.norm(long[1]), 1e-14)
    agree(brain_params.cosine(bridge.to_torch(a), bridge.to_torch(a)), 1.0, 1e-14)
    with pytest.raises(ValueError, match="a gradient of zero has no direction"):
        brain_params.cosine(a, params.map_arrays(np.zeros_like, b))
