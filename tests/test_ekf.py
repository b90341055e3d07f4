"""The extended Kalman filter against a loop with autograd's Jacobians, and against the filter it extends."""

import ekf_oracles as oracles
import numpy as np
import pytest
import torch
from lds_battery import alone, both_floors, cases, draw, on
from proof import agree, verifies

from rnncourse.lds_params import LDSParams
from rnncourse.reference import activations, ekf, kalman, lds_likelihood, smoother

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
        means, spreads, total, steps = oracles.extended(*alone(p, b), BOTH)
        agree(found.means[:n, b], means, 1e-10)
        agree(found.covariances[:n, b], spreads, 1e-9)
        agree(found.log_likelihood[b], total, 1e-10)
        agree(tape.problem.A[:n, b], np.stack([step.F for step in steps]), 1e-10)
        for t, step in enumerate(steps):
            kept = step.keep.numpy()
            agree(tape.predicted_means[t, b], step.p, 1e-10)
            assert not np.delete(tape.problem.C[t, b], kept, 0).any() and not np.delete(tape.gains[t, b], kept, 1).any()
            assert not np.delete(tape.surprises[t, b], kept).any()
            if len(kept):
                agree(tape.problem.C[t, b][kept], step.H, 1e-10)
                agree(tape.surprises[t, b][kept], step.e, 1e-9)
                agree(tape.precisions[t, b][np.ix_(kept, kept)], np.linalg.inv(step.S), 1e-9)
                agree(tape.gains[t, b][:, kept], step.K, 1e-9)
        assert not found.means[n:, b].any()
    assert np.array_equal(tape.predicted_covariances, np.swapaxes(tape.predicted_covariances, -1, -2))


@both_floors
@pytest.mark.parametrize("case", ["plain", "missing entries", "varying"])
@verifies("eq-ekf-smoother", oracle="one least squares problem along the lines, solved at once")
def test_its_tape_makes_the_extended_smoother(floor, case):
    """Everything at once, for the network along the lines on which the filter stood."""
    p, options = draw(case)
    _, tape = on(floor, "ekf.forward")(p.params, p.y, p.x, functions=BOTH, **options)
    smoothed = on(floor, "smoother.rts")(tape)
    for b in range(p.B):
        means, spreads = oracles.extended_smoother(*alone(p, b), BOTH)
        agree(smoothed.means[:, b], means, 1e-9)
        agree(smoothed.covariances[:, b], spreads, 1e-9)


@both_floors
def test_its_tape_is_for_that_alone(floor):
    p, _ = draw("plain")
    _, tape = on(floor, "ekf.forward")(p.params, p.y, p.x)
    moments = on(floor, "smoother.rts")(tape)
    for refused in (
        lambda: on(floor, "smoother.adjoint")(tape),
        lambda: on(floor, "lds_em.iterate")(tape, moments),
        lambda: lds_likelihood.backward(tape),
    ):
        with pytest.raises(ValueError, match=r"^tape: expected that of a linear system"):
            refused()


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
@verifies("eq-ekf-iterated", oracle="Gauss and Newton's method in information form, Jacobians by autograd")
def test_the_iterated_filter_pass_by_pass(floor):
    """Each pass is a step of Gauss and Newton's; the likelihood, the surprise and S stay those of the first."""
    p, _ = draw("plain")
    _, _, C, _, R, m, P = p.params
    one = LDSParams(np.eye(3), np.zeros((3, 0)), C, np.zeros((3, 3)), R, m, P)
    y = np.tanh(C @ m) + 0.3 * p.y[:1]
    for passes in range(1, 6):
        found, tape = on(floor, "ekf.forward")(one, y, functions=("identity", "tanh"), passes=passes)
        for b in range(p.B):
            z, V, J = oracles.gauss_newton(m, P, C, R, y[0, b], "tanh", passes)[-1]
            agree(found.means[0, b], z, 1e-12)
            agree(found.covariances[0, b], V, 1e-12)
            agree(tape.problem.C[0, b], J, 1e-12)
            agree(tape.gains[0, b], V @ J.T @ np.linalg.inv(R), 1e-11)
            z, _, J = oracles.gauss_newton(m, P, C, R, y[0, b], "tanh", 1)[0]
            e, S = y[0, b] - np.tanh(C @ m), J @ P @ J.T + R
            agree(tape.surprises[0, b], e, 1e-13)
            agree(tape.precisions[0, b], np.linalg.inv(S), 1e-11)
            distance = e @ np.linalg.solve(S, e) + np.log(np.linalg.det(2 * np.pi * S))
            agree(found.log_likelihood[b], -0.5 * distance, 1e-12)


@both_floors
def test_the_slip_of_the_index(floor):
    p, _ = draw("plain")
    found, tape = on(floor, "ekf.forward")(p.params, p.y, p.x, functions=BOTH, points="past")
    right, _ = on(floor, "ekf.forward")(p.params, p.y, p.x, functions=BOTH)
    for b in range(p.B):
        means, spreads, _total, steps = oracles.extended(*alone(p, b), BOTH, lag=True)
        agree(tape.problem.A[:, b], np.stack([step.F for step in steps]), 1e-10)
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
@pytest.mark.parametrize("H", [1, 3, 4])
def test_nees(floor, H):
    rng = np.random.default_rng(0)
    root = rng.standard_normal((2, 3, H, H)) + 2 * np.eye(H)
    error, covariance = (root @ np.ones((H, 1)))[..., 0], root @ np.swapaxes(root, -1, -2)
    found = on(floor, "ekf.nees")(error + 1, np.ones_like(error), covariance)
    agree(found, np.full((2, 3), float(H)), 1e-9)  # (L 1)^T (L L^T)^-1 L 1 = H
    shared = on(floor, "ekf.nees")(error, 0 * error, covariance[:, :1])
    agree(shared[:, 0], np.full(2, float(H)), 1e-9)


@both_floors
@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"functions": ("tanh", "cube")}, "functions"),
        ({"functions": ("tanh",)}, "functions"),
        ({"functions": ("tanh", "tanh", "tanh")}, "functions"),
        ({"functions": "tanh"}, "functions"),
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
    nees, z, V = on(floor, "ekf.nees"), np.zeros((2, 3, 4)), np.eye(4) + np.zeros((2, 1, 4, 4))
    with pytest.raises(ValueError, match=r"^means: "):
        nees(z, z[:1], V)
    for wrong in (V[:1], V[:, :, :3], np.repeat(V, 2, axis=1), np.eye(4)):
        with pytest.raises(ValueError, match=r"^covariances: expected shape"):
            nees(z, z, wrong)
    for wrong in (0 * V, -V):
        with pytest.raises(ValueError, match=r"^covariances: expected a positive definite matrix"):
            nees(z, z, wrong)
