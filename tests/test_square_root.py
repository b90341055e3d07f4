"""The filter on square roots: the same numbers, and where the others fail, still the right ones."""

import lds_oracles as oracles
import mpmath
import numpy as np
import pytest
from lds_battery import alone, both_floors, cases, draw, group, on
from proof import agree, verifies

from rnncourse.data import linear_systems
from rnncourse.reference import kalman, square_root

SHARP = linear_systems.ill_conditioned()


@both_floors
@cases
@verifies("eq-square-root-predict", oracle="conditioning of the dense joint")
@verifies("eq-square-root-update", oracle="conditioning of the dense joint")
def test_the_same_estimates(floor, case):
    p, options = draw(case)
    found = on(floor, "square_root.forward")(p.params, p.y, p.x, **options)
    for b in np.flatnonzero(p.lengths):
        params, x, y, seen = alone(p, b)
        factors = group(found.factors, b)
        for t in range(1, p.lengths[b] + 1):
            mean, covariance = oracles.filtered(params, x, y, seen, t)
            agree(found.means[t - 1, b], mean, 1e-10)
            agree(factors[t - 1] @ factors[t - 1].T, covariance, 1e-10)
            assert not np.triu(factors[t - 1], 1).any()
        agree(found.log_likelihood[b], oracles.given(params, x, y, seen)[2].numpy(), 1e-10)
    for b in range(p.B):
        assert not found.means[p.lengths[b] :, b].any()


def exact(params, steps):
    """Covariances after each update, from the definition, with a hundred digits."""
    with mpmath.workdps(100):
        A, C, Q, R, P = (mpmath.matrix(params[i].tolist()) for i in (0, 2, 3, 4, 6))
        found = []
        for _ in range(steps):
            P = A * P * A.T + Q
            P = P - P * C.T * (C * P * C.T + R) ** -1 * C * P
            found.append(np.array(P.tolist(), float))
    return found


def errors(covariances, truth):
    return [np.abs(P - right).max() / np.abs(right).max() for P, right in zip(covariances, truth, strict=True)]


def run(form, steps):
    V, found = SHARP.initial_covariance, []
    for _ in range(steps):
        P = kalman.predict(np.zeros((1, 3)), V, SHARP.transition, SHARP.state_noise)[1]
        V = kalman.weigh(P, SHARP.emission, SHARP.output_noise, form)[0]
        found.append(V)
    return found


def test_an_ill_conditioned_system():
    truth = exact(SHARP, 40)
    factors = square_root.forward(SHARP, np.zeros((40, 1, 1))).factors[:, 0]
    assert max(errors(factors @ factors.mT, truth)) < 1e-6
    assert min(np.linalg.svd(L)[1].min() for L in factors) > 1e-8
    for form, worst in (("short", 1.0), ("joseph", 0.05)):
        found = run(form, 40)
        assert min(np.linalg.eigvalsh(P).min() for P in found) < 0, form  # no covariance any more
        assert max(errors(found, truth)) > worst
    assert max(errors(run("joseph", 40), truth)) < 0.1 * max(errors(run("short", 40), truth))


@pytest.mark.parametrize("system", [SHARP, linear_systems.tracking(acceleration=1e-3)], ids=["sharp", "tracking"])
def test_a_hundred_thousand_steps(system):
    """Every step is counted: a matrix with a time axis is not known to rest."""
    T = 100_000
    spelt = system._replace(transition=np.broadcast_to(system.transition, (T, *system.transition.shape)).copy())
    found = square_root.forward(spelt, np.zeros((T, 1, len(system.emission))))
    singular = np.linalg.svd(found.factors[:, 0], compute_uv=False)
    assert singular.min() > 0 and np.isfinite(singular).all()
    rest = found.factors[T // 2 :, 0]
    P = rest @ rest.mT
    assert np.abs(P - P[-1]).max() < 1e-9 * np.abs(P[-1]).max()


def test_josephs_form_on_the_tracking_problem_for_as_long():
    T = 100_000
    system = linear_systems.tracking(acceleration=1e-3)
    spelt = system._replace(transition=np.broadcast_to(system.transition, (T, 4, 4)).copy())
    found, _ = kalman.forward(spelt, np.zeros((T, 1, 2)))
    assert np.linalg.eigvalsh(found.covariances[:, 0]).min() > 0


@both_floors
def test_no_noise_where_all_is_known(floor):
    nothing = np.zeros((1, 1))
    system = type(SHARP)(np.eye(1), np.zeros((1, 0)), np.eye(1), nothing, nothing, np.zeros(1), nothing)
    with pytest.raises(ValueError, match=r"^output_noise: "):
        on(floor, "square_root.forward")(system, np.zeros((3, 1, 1)))


@both_floors
@pytest.mark.parametrize("size", [1.0, 0.1])
def test_outputs_that_move_as_one(floor, size):
    """Three outputs see one number and share one noise: their covariance has rank one, up to rounding."""
    one, column = np.ones((1, 1)), np.array([[1.0], [0.3], [0.7]])
    system = type(SHARP)(
        *(0.5 * one, np.zeros((1, 0)), column, one, size * column @ column.T, np.zeros(1), one),
    )
    for form in ("kalman", "square_root"):
        with pytest.raises(ValueError, match=r"^output_noise: "):
            on(floor, f"{form}.forward")(system, np.array([[[1.0, 2.0, 3.0]]]))


@both_floors
@pytest.mark.parametrize("units", [(1e10, 1.0, 1e-10), (1e4, 1e-4, 1.0)])
def test_a_root_in_any_units(floor, units):
    alike = np.array([[1.0, 0.5, 0.3], [0.5, 1.0, 0.2], [0.3, 0.2, 1.0]])
    pairs = np.multiply.outer(units, units)
    M = on(floor, "square_root.root")(alike * pairs)
    agree(M @ M.T / pairs, alike, 1e-14)
