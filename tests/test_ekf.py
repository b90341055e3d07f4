"""The extended Kalman filter against a loop with autograd's Jacobians, and against the filter it extends."""

import ekf_oracles as oracles
import numpy as np
import pytest
from lds_battery import alone, both_floors, cases, draw, on
from proof import agree, verifies

from rnncourse.lds_params import LDSParams
from rnncourse.reference import activations, ekf, kalman, smoother

BOTH = ("tanh", "sigmoid")


@both_floors
@cases
@verifies("eq-ekf-predict", oracle="autograd's Jacobians in a plain loop")
@verifies("eq-ekf-update", oracle="autograd's Jacobians in a plain loop")
def test_against_autograds_jacobians(floor, case):
    p, options = draw(case)
    found, tape = on(floor, "ekf.forward")(p.params, p.y, p.x, functions=BOTH, **options)
    for b in np.flatnonzero(p.lengths):
        n = p.lengths[b]
        means, spreads, total, jacobians = oracles.extended(*alone(p, b), BOTH)
        agree(found.means[:n, b], means, 1e-10)
        agree(found.covariances[:n, b], spreads, 1e-9)
        agree(found.log_likelihood[b], total, 1e-10)
        agree(tape.problem.A[:n, b], np.stack(jacobians), 1e-10)
        assert not found.means[n:, b].any()


@both_floors
@cases
def test_with_identities_it_is_the_kalman_filter(floor, case):
    p, options = draw(case)
    found, tape = on(floor, "ekf.forward")(p.params, p.y, p.x, functions=("identity", "identity"), passes=3, **options)
    right, right_tape = kalman.forward(p.params, p.y, p.x, **options)
    agree(found.means, right.means, 1e-12)
    agree(found.log_likelihood, right.log_likelihood, 1e-12)
    for b in range(p.B):
        n, group = p.lengths[b], b if right.covariances.shape[1] > 1 else 0
        if n:
            agree(found.covariances[:n, b], right.covariances[:n, group], 1e-12)
    agree(on(floor, "smoother.rts")(tape).means, smoother.rts(right_tape).means, 1e-9)


@both_floors
@verifies("eq-ekf-iterated", oracle="Newton's method on the posterior")
def test_the_iterated_filter_stops_at_the_mode(floor):
    p, _ = draw("plain")
    _, _, C, _, R, m, P = p.params
    one = LDSParams(np.eye(3), np.zeros((3, 0)), C, np.zeros((3, 3)), R, m, P)
    y = np.tanh(C @ m) + 0.1 * p.y[:1]
    found, _ = on(floor, "ekf.forward")(one, y, functions=("identity", "tanh"), passes=60)
    once, _ = on(floor, "ekf.forward")(one, y, functions=("identity", "tanh"))
    for b in range(p.B):
        right = oracles.mode(m, P, C, R, y[0, b], "tanh")
        agree(found.means[0, b], right, 1e-8)
        assert np.abs(once.means[0, b] - right).max() > 1e-3


@both_floors
def test_the_slip_of_the_index(floor):
    p, _ = draw("plain")
    found, _ = on(floor, "ekf.forward")(p.params, p.y, p.x, functions=BOTH, points="past")
    right, _ = on(floor, "ekf.forward")(p.params, p.y, p.x, functions=BOTH)
    for b in range(p.B):
        means, spreads, _total, _ = oracles.extended(*alone(p, b), BOTH, lag=True)
        agree(found.means[:, b], means, 1e-10)
        agree(found.covariances[:, b], spreads, 1e-10)
    assert np.array_equal(found.means[0], right.means[0]) and np.abs(found.means - right.means)[1:].max() > 0.01


@pytest.mark.parametrize("name", activations.ACTIVATIONS)
def test_both_floors_know_every_function(name):
    p, options = draw("ragged, missing")
    ours, _ = ekf.forward(p.params, p.y, p.x, functions=(name, name), passes=2, **options)
    theirs, _ = on("gpu", "ekf.forward")(p.params, p.y, p.x, functions=(name, name), passes=2, **options)
    agree(theirs.means, ours.means, 1e-10)
    agree(theirs.log_likelihood, ours.log_likelihood, 1e-10)


def test_the_likelihood_has_a_gradient():
    import torch

    from rnncourse.gpu import ekf as twin

    p, _ = draw("plain")
    params = LDSParams(*(torch.tensor(part, requires_grad=True) for part in p.params))
    twin.forward(params, torch.tensor(p.y), torch.tensor(p.x), functions=BOTH)[0].log_likelihood.sum().backward()
    step = 1e-6 * np.eye(3)[:1].repeat(3, 0)

    def at(A):
        params = p.params._replace(transition=A)
        return ekf.forward(params, p.y, p.x, functions=BOTH)[0].log_likelihood.sum()

    A = p.params.transition
    agree((params.transition.grad.numpy() * step).sum(), (at(A + step) - at(A - step)) / 2, 1e-6)


@both_floors
def test_nees(floor):
    rng = np.random.default_rng(0)
    root = rng.standard_normal((2, 3, 4, 4))
    error, covariance = (root @ np.ones((4, 1)))[..., 0], root @ np.swapaxes(root, -1, -2)
    found = on(floor, "ekf.nees")(error + 1, np.ones_like(error), covariance)
    agree(found, np.full((2, 3), 4.0), 1e-7)  # (L 1)^T (L L^T)^-1 L 1 = 4
    shared = on(floor, "ekf.nees")(error, 0 * error, covariance[:, :1])
    agree(shared[:, 0], np.full(2, 4.0), 1e-7)


@both_floors
@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"functions": ("tanh", "cube")}, "functions"),
        ({"passes": 0}, "passes"),
        ({"points": "future"}, "points"),
        ({"outputs": np.zeros((6, 3))}, "outputs"),
        ({"observed": np.ones((6, 3))}, "observed"),
    ],
)
def test_doors(floor, change, name):
    p, _ = draw("plain")
    given = {"params": p.params, "outputs": p.y, "inputs": p.x} | change
    params, y, x = (given.pop(key) for key in ("params", "outputs", "inputs"))
    with pytest.raises(ValueError, match=f"^{name}: "):
        on(floor, "ekf.forward")(params, y, x, **given)


@both_floors
def test_doors_of_nees(floor):
    z = np.zeros((2, 3, 4))
    with pytest.raises(ValueError, match=r"^means: "):
        on(floor, "ekf.nees")(z, z[:1], np.eye(4) + np.zeros((2, 1, 4, 4)))
