"""Damped Gauss-Newton on both floors, against dense Jacobians by autograd and against least squares."""

import numpy as np
import pytest
import torch
from oracles import PHI, problem, rebuild
from proof import agree, verifies

from rnncourse import bridge, gpu, gradcheck, reference
from rnncourse.gate_params import LayerNormParams
from rnncourse.params import count, map_arrays, named_arrays
from rnncourse.reference import gauss_newton

FLOORS = pytest.mark.parametrize("floor", [reference, gpu], ids=["reference", "gpu"])


def some_mask(T, B, seed=0):
    mask = np.random.default_rng(seed).random((T, B)) < 0.6
    mask[-1] = True
    return mask


def dense(p, activation="tanh", mask=None):
    """Residuals and their Jacobian by autograd, through a loop over one flat vector of parameters."""
    sizes = [array.shape for _, array in named_arrays(p.params)]
    T, B, _ = p.inputs.shape
    mask = np.ones((T, B), bool) if mask is None else mask

    def residuals(theta):
        parts = iter(theta.split([int(np.prod(size)) for size in sizes]))
        (W_x, W_h, b), (W_y, b_y), h_0 = rebuild(p.params, (next(parts).reshape(size) for size in sizes))
        found = {}
        for b_ in range(B):
            h = h_0
            for t in range(T):
                h = PHI[activation](W_x @ torch.tensor(p.inputs[t, b_]) + W_h @ h + b)
                found[t, b_] = W_y @ h + b_y - torch.tensor(p.targets[t, b_])
        return torch.cat([found[t, b_] for t in range(T) for b_ in range(B) if mask[t, b_]])

    theta = torch.cat([torch.tensor(array).ravel() for _, array in named_arrays(p.params)])
    return residuals(theta).numpy(), torch.autograd.functional.jacobian(residuals, theta).numpy()


def ours(floor, p, activation="tanh", mask=None):
    cell = floor.cells.rnn(activation)
    if floor is reference:
        return floor.gauss_newton.jacobian(cell, p.params, p.inputs, p.targets, mask)
    tree = bridge.to_torch((p.params, p.inputs, p.targets))
    mask = None if mask is None else torch.tensor(mask)
    return bridge.to_numpy(floor.gauss_newton.jacobian(cell, *tree, mask))


@FLOORS
@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "identity"])
@pytest.mark.parametrize(("T", "B", "D", "H", "O"), [(1, 1, 1, 1, 1), (5, 1, 2, 3, 2), (4, 3, 2, 5, 3)])
@verifies("eq-residual-jacobian", oracle="dense autograd Jacobians")
def test_jacobian_against_autograd(floor, T, B, D, H, O, activation):
    p = problem(T=T, B=B, D=D, H=H, O=O)
    r, R = ours(floor, p, activation)
    assert r.shape == (T * B * O,) and R.shape == (T * B * O, count(p.params))
    agree((r, R), dense(p, activation), 1e-12)


@FLOORS
@verifies("eq-residual-jacobian", oracle="dense autograd Jacobians")
def test_masked_jacobian(floor):
    p, mask = problem(T=6, B=3), some_mask(6, 3)
    agree(ours(floor, p, mask=mask), dense(p, mask=mask), 1e-12)


@verifies("eq-residual-gradient", oracle="complex step")
def test_its_product_with_the_residuals_is_the_gradient():
    p, mask = problem(T=6, B=3), some_mask(6, 3)
    r, R = ours(reference, p, mask=mask)
    cell = reference.cells.rnn()

    def loss(params):
        return reference.bptt.full(cell, params, p.inputs, p.targets, mask=mask).loss

    oracle = gradcheck.complex_step(loss, p.params)
    agree(R.T @ r, np.concatenate([array.ravel() for _, array in named_arrays(oracle)]), 1e-12)


@FLOORS
@pytest.mark.parametrize(("N", "P"), [(7, 3), (3, 7), (4, 4), (1, 1)])
@verifies("eq-gauss-newton-step", oracle="least squares of the stacked system")
@verifies("eq-gauss-newton-dual", oracle="least squares of the stacked system")
def test_step_is_a_least_squares_solution(floor, N, P):
    rng = np.random.default_rng(N)
    r, R, damping = rng.standard_normal(N), rng.standard_normal((N, P)), 0.3
    stacked = np.concatenate([R, damping**0.5 * np.eye(P)])
    oracle = np.linalg.lstsq(stacked, -np.concatenate([r, np.zeros(P)]), rcond=None)[0]
    given = (r, R) if floor is reference else bridge.to_torch((r, R))
    agree(floor.gauss_newton.step(*given, damping), oracle, 1e-12)
    agree(-R.T @ np.linalg.inv(R @ R.T + damping * np.eye(N)) @ r, oracle, 1e-12)
    agree(-np.linalg.inv(R.T @ R + damping * np.eye(P)) @ R.T @ r, oracle, 1e-12)


@FLOORS
def test_moved(floor):
    p = problem()
    change = np.arange(count(p.params), dtype=float)
    tree, moved = p.params, floor.gauss_newton.moved
    there = moved(tree, change) if floor is reference else bridge.to_numpy(moved(*bridge.to_torch((tree, change))))
    flat = np.concatenate([(b - a).ravel() for (_, a), (_, b) in zip(*map(named_arrays, (tree, there)), strict=True)])
    agree(flat, change, 1e-13)
    assert type(there) is type(tree) and type(there.cell) is type(tree.cell)
    with pytest.raises(ValueError, match=r"change: expected shape \(\d+,\), got \(3,\)"):
        moved(*((tree, change[:3]) if floor is reference else bridge.to_torch((tree, change[:3]))))


@FLOORS
def test_a_trial_is_kept_only_if_the_loss_falls(floor):
    p = problem(T=6, B=2, H=4, O=2)
    cell, given = floor.cells.rnn(), (p.params, p.inputs, p.targets)
    params, x, y = given if floor is reference else bridge.to_torch(given)
    before = float(reference.bptt.full(reference.cells.rnn(), *given).loss)
    small = floor.gauss_newton.trial(cell, params, x, y, 1.0)
    assert small.accepted and small.loss < before and small.damping == 0.1
    again = small.params if floor is reference else bridge.to_numpy(small.params)
    agree(small.loss, reference.bptt.full(reference.cells.rnn(), again, *given[1:]).loss, 1e-12)
    hidden, _, _ = floor.unroll.forward(cell, params.cell, x, params.initial_state)
    met = floor.readout.forward(params.readout, hidden)[0]  # targets that are met: the loss cannot fall
    refused = floor.gauss_newton.trial(cell, params, x, met, 1e-3)
    assert not refused.accepted and refused.damping == 1e-2 and refused.loss == 0
    agree(refused.params, params if floor is gpu else map_arrays(np.array, params), 0)


@FLOORS
def test_a_trial_sees_only_the_steps_that_count(floor):
    p, mask = problem(T=6, B=3), some_mask(6, 3)
    y = np.where(mask[:, :, None], p.targets, 1e3)
    given = (p.params, p.inputs, y, mask)
    tree, x, wanted, counts = given if floor is reference else bridge.to_torch(given)
    one = floor.gauss_newton.trial(floor.cells.rnn(), tree, x, wanted, 1.0, counts)
    r, R = dense(p, mask=mask)
    change = -R.T @ np.linalg.inv(R @ R.T + np.eye(len(r))) @ r
    there = reference.gauss_newton.moved(p.params, change)
    assert one.accepted
    agree(one.params if floor is reference else bridge.to_numpy(one.params), there, 1e-10)
    p.params = there
    agree(one.loss, 0.5 * (dense(p, mask=mask)[0] ** 2).sum(), 1e-10)


@FLOORS
def test_a_damping_that_rounding_swallows_is_a_failed_trial(floor):
    """More answers than parameters that move them, and a price below the last digit: no step, so try a higher one."""
    p = problem(T=1, B=2, D=1, H=1, O=1)
    still = p.params._replace(cell=map_arrays(np.zeros_like, p.params.cell), initial_state=np.zeros(1))
    given = (still, np.zeros((1, 2, 1)), np.ones((1, 2, 1)))
    tree, x, y = given if floor is reference else bridge.to_torch(given)
    one = floor.gauss_newton.trial(floor.cells.rnn(), tree, x, y, 1e-40)
    assert not one.accepted and one.damping == 1e-39
    assert not any(np.asarray(array).any() for _, array in named_arrays(one.params.cell))


@FLOORS
def test_float32_stays(floor):
    p = problem(T=4, B=2, O=2)
    small = map_arrays(np.float32, p.params), p.inputs.astype("f4"), p.targets.astype("f4")
    tree, x, y = small if floor is reference else bridge.to_torch(small)
    r, R = floor.gauss_newton.jacobian(floor.cells.rnn(), tree, x, y)
    for some in (R, R[:, :2]):  # one system, and the other
        assert str(floor.gauss_newton.step(r, some, 0.5).dtype).endswith("float32")
    assert str(r.dtype).endswith("float32") and str(R.dtype).endswith("float32")
    one = floor.gauss_newton.trial(floor.cells.rnn(), tree, x, y, 1.0)
    assert {str(array.dtype).split(".")[-1] for _, array in named_arrays(one.params)} == {"float32"}


def test_both_floors_take_the_same_way():
    p = problem(T=8, B=3, H=4, O=2)
    a, b, damping = p.params, bridge.to_torch(p.params), 1.0
    x, y = bridge.to_torch((p.inputs, p.targets))
    for _ in range(6):
        ours = gauss_newton.trial(reference.cells.rnn(), a, p.inputs, p.targets, damping)
        theirs = gpu.gauss_newton.trial(gpu.cells.rnn(), b, x, y, damping)
        assert ours.accepted == theirs.accepted
        agree(ours.loss, theirs.loss, 1e-8)
        a, b, damping = ours.params, theirs.params, ours.damping


BAD = {
    "targets": (lambda p, x, y: (p, x, y[:3]), r"targets: expected shape \(7, 3, 4\), got \(3, 3, 4\)"),
    "inputs": (lambda p, x, y: (p, x[:, :, :1], y), "inputs: expected shape"),
    "start": (
        lambda p, x, y: (p._replace(initial_state=p.initial_state[None].repeat(3, 0)), x, y),
        r"initial_state: expected shape \(5,\), got \(3, 5\)",
    ),
    "cell": (
        lambda p, x, y: (p._replace(cell=LayerNormParams(x, x)) if hasattr(p, "cell") else p, x, y),
        "params.cell: written for RNNParams, got LayerNormParams",
    ),
}


@pytest.mark.parametrize("name", BAD)
@FLOORS
def test_both_floors_refuse_in_the_same_words(name, floor):
    make, says = BAD[name]
    p = problem()
    given = make(p.params, p.inputs, p.targets)
    given = given if floor is reference else bridge.to_torch(given)
    with pytest.raises(ValueError, match=says):
        floor.gauss_newton.jacobian(floor.cells.rnn(), *given)


@FLOORS
def test_steps_that_make_no_sense_are_refused(floor):
    r, R = np.ones(3), np.ones((3, 2))
    convert = (lambda a: a) if floor is reference else torch.tensor
    for bad, says in [
        ((r, R, 0.0), "damping: expected a positive number, got 0.0"),
        ((r, R, float("nan")), "damping: expected a positive number, got nan"),
        ((r, R[:2], 1.0), r"jacobian: expected shape \(3, P\), got \(2, 2\)"),
        ((R, R, 1.0), r"residuals: expected shape \(N,\), got \(3, 2\)"),
        ((r * np.nan, R, 1.0), "residuals: 3 of 3 entries are NaN"),
        ((r, R * np.inf, 1.0), "jacobian: 6 of 6 entries are NaN"),
    ]:
        with pytest.raises(ValueError, match=says):
            floor.gauss_newton.step(convert(bad[0]), convert(bad[1]), bad[2])
    p = problem()
    mask = np.ones((7, 2), bool)
    with pytest.raises(ValueError, match=r"mask: expected shape \(7, 3\), got \(7, 2\)"):
        ours(floor, p, mask=mask)


@pytest.mark.cuda
def test_on_a_device():
    p = problem()
    tree = bridge.to_torch((p.params, p.inputs, p.targets), "cuda")
    agree(bridge.to_numpy(gpu.gauss_newton.jacobian(gpu.cells.rnn(), *tree)), ours(reference, p), 1e-12)
