"""Fixed and slow points: against a linear network's exact one, bisection, roots by torch, and the complex step."""

import numpy as np
import pytest
from cell_oracles import draw_problem
from proof import agree, verifies

from rnncourse import bridge, gpu, gradcheck, reference
from rnncourse.params import RNNParams
from rnncourse.reference import fixed_points, rates

FLOORS = pytest.mark.parametrize("floor", [reference, gpu], ids=["reference", "gpu"])


def give(floor, tree):
    return tree if floor is reference else bridge.to_torch(tree)


def problem(H=5, scale=0.7, seed=0):
    p = draw_problem(RNNParams, H=H, D=2, scale=scale, seed=seed)
    return p.params, p.rng.standard_normal((6, H)), p.rng.standard_normal(2)


def moved(params, h, x, alpha):
    """How far one step of a tanh unit goes, written out; one state a row."""
    W_x, W_h, b = params
    return alpha * (np.tanh(h @ W_h.T + W_x @ x + b) - h)


@verifies("eq-speed-gradient", oracle="complex step")
@FLOORS
def test_speed_and_its_gradient(floor):
    params, h, x = problem()
    ours = floor.fixed_points.speed(floor.rates.leaky(0.3), *(give(floor, part) for part in (params, h, x)))
    agree(ours[0], 0.5 * (moved(params, h, x, 0.3) ** 2).sum(axis=1), 1e-14)
    oracle = gradcheck.complex_step(lambda h: 0.5 * (moved(params, h, x, 0.3) ** 2).sum(), h)
    agree(ours[1], oracle, 1e-13)


@FLOORS
def test_the_jacobian_keeps_the_leak(floor):
    params, h, x = problem()
    _, J = floor.fixed_points.move(floor.rates.leaky(0.3), *(give(floor, part) for part in (params, h, x)))
    for n in range(len(h)):
        for i in range(5):
            row = gradcheck.complex_step(lambda z, i=i: z[i] + moved(params, z[None], x, 0.3)[0, i], h[n])
            agree(np.asarray(J[n, i]), row, 1e-13)


@verifies("eq-slow-step", oracle="least squares")
@FLOORS
def test_one_step(floor):
    params, h, x = problem()
    cell = floor.rates.leaky(0.3)
    given = [give(floor, part) for part in (params, h, x)]
    r, J = (np.asarray(part) for part in floor.fixed_points.move(cell, *given))
    found = floor.fixed_points.find(cell, *given, iterations=1, damping=0.2)
    steps = []
    for n in range(len(h)):  # the same step as a least-squares problem with rows that ask for no change
        rows = np.concatenate([J[n] - np.eye(5), np.sqrt(0.2) * np.eye(5)])
        steps.append(np.linalg.lstsq(rows, -np.concatenate([r[n], np.zeros(5)]), rcond=None)[0])
    agree(found.points - given[1], np.array(steps), 1e-12)
    assert (np.asarray(found.speeds) < 0.5 * (r * r).sum(axis=1)).all()


@verifies("eq-linear-fixed-point", oracle="a linear solver")
@FLOORS
def test_a_linear_network_has_one(floor):
    params, h, x = problem()
    W_x, W_h, b = params
    exact = np.linalg.solve(np.eye(5) - W_h, W_x @ x + b)
    cell = floor.rates.leaky(0.3, "identity")
    found = floor.fixed_points.find(cell, *(give(floor, part) for part in (params, h, x)))
    agree(found.points, np.tile(exact, (6, 1)), 1e-10)
    assert float(found.speeds.max()) < 1e-24
    _, J = floor.fixed_points.move(cell, give(floor, params), found.points, give(floor, x))
    ours = np.sort_complex(np.linalg.eigvals(np.asarray(J[0])))
    agree(ours, np.sort_complex(1 - 0.3 + 0.3 * np.linalg.eigvals(W_h)), 1e-10)


@FLOORS
@pytest.mark.parametrize("b", [0.0, 0.05])
def test_a_bistable_unit_by_bisection(floor, b):
    """h = tanh(2 h + b): three solutions. Between brackets where the sign changes, halve until nothing is left."""

    def gap(h):
        return np.tanh(2 * h + b) - h

    exact = []
    for low, high in [(-1.5, -0.5), (-0.5, 0.45), (0.5, 1.5)]:
        for _ in range(200):
            middle = 0.5 * (low + high)
            low, high = (middle, high) if gap(low) * gap(middle) > 0 else (low, middle)
        exact.append(0.5 * (low + high))
    params = RNNParams(np.zeros((1, 1)), np.array([[2.0]]), np.array([b]))
    starts = np.linspace(-1.2, 1.2, 9)[:, None]
    cell, given = floor.rates.leaky(0.4), [give(floor, part) for part in (params, starts, np.zeros(1))]
    found = floor.fixed_points.find(cell, *given)
    fixed = np.asarray(found.speeds) < 1e-24
    points = np.asarray(found.points)[fixed]
    kept = points[np.asarray(floor.fixed_points.distinct(give(floor, points), 1e-6)), 0]
    agree(np.sort(kept), np.array(exact), 1e-9)
    _, J = floor.fixed_points.move(cell, given[0], give(floor, np.array(exact)[:, None]), given[2])
    slopes = 0.6 + 0.4 * 2 / np.cosh(2 * np.array(exact) + b) ** 2
    agree(J[:, 0, 0], slopes, 1e-12)
    assert slopes[0] < 1 < slopes[1] and slopes[2] < 1  # the outer two attract, the middle one repels


@FLOORS
def test_a_slow_point_where_there_is_no_fixed_one(floor):
    """h = tanh(2 h + b) just past the bias at which two solutions meet and are gone."""
    h_star = np.sqrt(0.5)  # there the slope 2 (1 - h^2) is 1
    bias = np.arctanh(h_star) - 2 * h_star - 0.02  # 0.02 below the bias at which the line h touches the curve
    params = RNNParams(np.zeros((1, 1)), np.array([[2.0]]), np.array([bias]))
    starts = np.array([[0.6], [0.7], [0.8]])
    found = floor.fixed_points.find(
        floor.rates.leaky(1.0), *(give(floor, part) for part in (params, starts, np.zeros(1))), iterations=200
    )
    grid = np.linspace(0.4, 0.95, 200_001)
    q = 0.5 * (np.tanh(2 * grid + bias) - grid) ** 2
    agree(found.points[:, 0], np.full(3, grid[q.argmin()]), 1e-5)
    assert 1e-6 < float(found.speeds.min()) < 1e-3


@FLOORS
def test_enough_is_enough(floor):
    params, h, x = problem()
    given = [give(floor, part) for part in (params, h, x)]
    cell = floor.rates.leaky(0.3)
    rested = np.asarray(floor.fixed_points.find(cell, *given, enough=1e-3).speeds)
    assert (rested <= 1e-3).all() and (rested > 1e-12).any()
    still = floor.fixed_points.find(cell, *given, enough=1e3)
    assert np.array_equal(np.asarray(still.points), h)
    assert np.array_equal(np.asarray(floor.fixed_points.find(cell, *given, iterations=0).points), h)


def test_both_floors_find_the_same():
    params, h, x = problem(scale=1.2)
    ours = fixed_points.find(rates.leaky(0.3), params, h, x)
    theirs = gpu.fixed_points.find(gpu.rates.leaky(0.3), *bridge.to_torch((params, h, x)))
    assert (ours.speeds < 1e-24).any()
    agree(ours.points, theirs.points, 1e-6)


@verifies("eq-mode-time", oracle="a linear network that decays")
@FLOORS
def test_time_constants(floor):
    rng = np.random.default_rng(0)
    Q = np.linalg.qr(rng.standard_normal((3, 3)))[0]
    sizes = np.array([0.99, 0.7, 1.02])
    found = []
    for k in range(3):  # each mode alone, for 40 steps
        h = Q[:, k]
        for _ in range(40):
            h = (Q @ np.diag(sizes) @ Q.T) @ h
        found.append(40 / -np.log(np.linalg.norm(h)))
    agree(floor.fixed_points.time_constants(give(floor, sizes)), np.array(found), 1e-9)
    assert np.isinf(float(floor.fixed_points.time_constants(1.0)))
    turning = 0.95 * np.exp(0.3j * np.array([1, -1]))  # the eigenvalues of a rotation that shrinks
    turn = 0.95 * np.array([[np.cos(0.3), -np.sin(0.3)], [np.sin(0.3), np.cos(0.3)]])
    shrunk = np.linalg.norm(np.linalg.matrix_power(turn, 40) @ [1.0, 0.0])
    agree(floor.fixed_points.time_constants(give(floor, turning)), np.full(2, 40 / -np.log(shrunk)), 1e-9)


@FLOORS
def test_distinct_keeps_the_first(floor):
    points = np.array([[0.0, 0.0], [0.05, 0.0], [1.0, 0.0], [1.0, 0.09], [0.0, 0.2], [0.05, 0.0]])
    assert floor.fixed_points.distinct(give(floor, points), 0.1).tolist() == [0, 2, 4]


@FLOORS
def test_doors(floor):
    params, h, x = (give(floor, part) for part in problem())
    cell = floor.rates.leaky(0.3)
    with pytest.raises(ValueError, match="cell: expected a cell whose only state is h"):
        floor.fixed_points.move(floor.lstm.plain(), params, h, x)
    with pytest.raises(ValueError, match=r"states: expected shape \(N, H\)"):
        floor.fixed_points.find(cell, params, h[0], x)
    with pytest.raises(ValueError, match=r"inputs: expected shape \(D\)|inputs: expected shape \(D,\)"):
        floor.fixed_points.find(cell, params, h, x[None])
    with pytest.raises(ValueError, match="damping: expected a positive number"):
        floor.fixed_points.find(cell, params, h, x, damping=0.0)
    with pytest.raises(ValueError, match="apart: expected a positive distance"):
        floor.fixed_points.distinct(h, 0)
