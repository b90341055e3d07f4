"""Weights as the state of a filter: against autograd, least squares, and the filter of chapter 09."""

import numpy as np
import pytest
import torch
from oracles import problem
from proof import agree, verifies

from rnncourse.lds_params import LDSParams
from rnncourse.reference import cells, ekf_training, kalman

R = np.array([[2.0, 0.3], [0.3, 1.0]])
TANH = cells.rnn("tanh")


def draw(B=2, O=2):
    return problem(T=5, B=B, D=2, H=3, O=O)


def outputs(theta, params, x, h):
    """The outputs of a tanh network, all weights in one row, written out."""
    H, D, O = 3, x.shape[2], len(params.readout.bias)
    joint, read = theta[: H * (D + H + 1)].reshape(H, -1), theta[H * (D + H + 1) :].reshape(O, -1)
    found = []
    for t in range(len(x)):
        h = torch.tanh(x[t] @ joint[:, :D].T + h @ joint[:, D:-1].T + joint[:, -1])
        found.append(h @ read[:, :-1].T + read[:, -1])
    return torch.stack(found)


def start_of(p, B):
    return torch.as_tensor(np.array(np.broadcast_to(p.params.initial_state, (B, 3))))


@verifies("eq-ekf-weights-jacobian", oracle="autograd")
def test_the_derivative_by_all_weights():
    """With R so large that no weight moves, the derivative at step t is that of an unrolled network."""
    p = draw()
    theta = ekf_training.flat(p.params)
    full = torch.autograd.functional.jacobian(
        lambda w: outputs(w, p.params, torch.as_tensor(p.inputs), start_of(p, 2)), torch.as_tensor(theta)
    )
    learner = ekf_training.start(p.params, batch=2)
    for t in range(5):
        learner, _ = ekf_training.step(TANH, learner, p.inputs[t], p.targets[t], 1e30 * R)
        agree(ekf_training.derivative(learner.params, learner.influence, learner.hidden), full[t], 1e-12)


@pytest.mark.parametrize("B", [1, 2])
@verifies("eq-ekf-weights", oracle="autograd's Jacobian and a dense update in information form")
def test_a_first_step(B):
    """(P0^-1 + J^T R^-1 J) is the precision afterwards: another form of the same update."""
    p = draw(B)
    theta, n = ekf_training.flat(p.params), len(ekf_training.flat(p.params))
    look = lambda w: outputs(w, p.params, torch.as_tensor(p.inputs[:1]), start_of(p, B))[0].ravel()  # noqa: E731
    J = torch.autograd.functional.jacobian(look, torch.as_tensor(theta)).numpy()
    e = p.targets[0].ravel() - look(torch.as_tensor(theta)).numpy()
    noise = np.kron(np.eye(B), np.linalg.inv(R))
    after = np.linalg.inv(np.eye(n) / 0.3 + J.T @ noise @ J)
    learner, prediction = ekf_training.step(
        TANH, ekf_training.start(p.params, 0.3, batch=B), p.inputs[0], p.targets[0], R, 0.01
    )
    agree(learner.covariances[0], after + 0.01 * np.eye(n), 1e-10)
    agree(ekf_training.flat(learner.params) - theta, after @ J.T @ noise @ e, 1e-10)
    agree(prediction.ravel(), look(torch.as_tensor(theta)), 1e-12)


@pytest.mark.parametrize("groups", ekf_training.GROUPS)
@verifies("eq-ekf-weights", oracle="a loop over steps: one-step maps by autograd, the influence by their chain rule")
def test_several_steps_while_the_weights_move(groups):
    """With drift and a step at which nothing is seen; then back to the start, with the weights that were found."""
    p, q, H, eye = draw(B=1), 0.01, 3, torch.eye(26, dtype=torch.float64)
    seen = np.ones(p.targets.shape, bool)
    seen[2] = False
    before = ekf_training.start(p.params, 0.2, groups)
    found, predictions = ekf_training.run(TANH, before, p.inputs, p.targets, R, q, seen)
    theta, h, X, P = (
        torch.as_tensor(ekf_training.flat(p.params)),
        start_of(p, 1)[0],
        torch.zeros(H, 26).double(),
        0.2 * eye,
    )
    unit = np.repeat(np.arange(5), [6, 6, 6, 4, 4])
    kept = torch.from_numpy(unit[:, None] == unit) if groups == "unit" else torch.ones(26, 26, dtype=torch.bool)

    def move(w, s, x):
        return torch.tanh(w[:18].reshape(H, -1) @ torch.cat([x, s, torch.ones(1, dtype=w.dtype)]))

    def read(w, s):
        return w[18:].reshape(2, -1) @ torch.cat([s, torch.ones(1, dtype=w.dtype)])

    jacobian = torch.autograd.functional.jacobian
    for t in range(5):
        x = torch.as_tensor(p.inputs[t, 0])
        by_w, by_h = jacobian(lambda w, s, x=x: move(w, s, x), (theta, h))
        X, h = by_h @ X + by_w, move(theta, h, x)
        by_w, by_h = jacobian(read, (theta, h))
        J, guess = by_h @ X + by_w, read(theta, h)
        agree(predictions[t, 0], guess, 1e-11)
        if t != 2:
            K = P @ J.T @ torch.linalg.inv(J @ P @ J.T + torch.as_tensor(R))
            theta, P = theta + K @ (torch.as_tensor(p.targets[t, 0]) - guess), (P - K @ J @ P) * kept
        P = P + q * eye
    agree(ekf_training.flat(found.params), theta, 1e-10)
    for j, block in enumerate(found.covariances):
        own = np.flatnonzero(unit == j) if groups == "unit" else np.arange(26)
        agree(block, P.numpy()[np.ix_(own, own)], 1e-10)
    back = ekf_training.rewound(found)
    assert np.array_equal(back.hidden, before.hidden) and not back.influence.weights.any()
    assert np.array_equal(ekf_training.flat(back.params), ekf_training.flat(found.params))
    assert found.influence.weights.any() and back.covariances is found.covariances


def test_it_is_the_kalman_filter_of_the_weights():
    """A = I, Q = q I, C_t = J_t: with the surprises put in, chapter 09's filter finds the same weights."""
    rng = np.random.default_rng(0)
    n, T, q = 6, 8, 0.05
    J, y = rng.standard_normal((T, 2, n)), rng.standard_normal((T, 1, 2))
    q_I = q * np.eye(n)
    system = LDSParams(np.eye(n), np.zeros((n, 0)), J, q_I, R, np.zeros(n), 0.4 * np.eye(n))
    right, _ = kalman.forward(system, y)
    theta, P = np.zeros(n), ((0.4 + q) * np.eye(n),)  # chapter 09 wanders before a look, this one after it
    for t in range(T):
        P, change = ekf_training.learn(P, J[t], y[t, 0] - J[t] @ theta, R, q)
        theta = theta + change
        agree(theta, right.means[t, 0], 1e-11)
        agree(P[0] - q_I, right.covariances[t, 0], 1e-11)


def test_groups_that_do_not_meet_are_independent_filters():
    """Where each output depends on one group alone and R is diagonal, the decoupled filter is exact."""
    rng = np.random.default_rng(1)
    root = rng.standard_normal((3, 3))
    P = (root @ root.T, np.diag([1.0, 2.0]))
    J, e, noise = np.zeros((2, 5)), rng.standard_normal(2), np.diag([0.5, 2.0])
    J[0, :3], J[1, 3:] = rng.standard_normal(3), rng.standard_normal(2)
    whole = np.block([[P[0], np.zeros((3, 2))], [np.zeros((2, 3)), P[1]]])
    both, change = ekf_training.learn(P, J, e, noise)
    (together,), right = ekf_training.learn((whole,), J, e, noise)
    agree(change, right, 1e-12)
    agree(together[:3, :3], both[0], 1e-12)
    agree(together[3:, 3:], both[1], 1e-12)


def test_the_decoupled_filter_drops_the_blocks_off_the_diagonal():
    p = draw()
    one = ekf_training.start(p.params, 0.3, "unit", batch=2)
    all_at_once = ekf_training.start(p.params, 0.3, "global", batch=2)
    assert [len(P) for P in one.covariances] == [6, 6, 6, 4, 4] and [len(P) for P in all_at_once.covariances] == [26]
    one, _ = ekf_training.step(TANH, one, p.inputs[0], p.targets[0], R)
    whole, _ = ekf_training.step(TANH, all_at_once, p.inputs[0], p.targets[0], R)
    # at first nothing covaries, so the first step is the same
    agree(ekf_training.flat(one.params), ekf_training.flat(whole.params), 1e-12)
    at = 0
    for P in one.covariances:
        agree(P, whole.covariances[0][at : at + len(P), at : at + len(P)], 1e-12)
        at += len(P)
    second = [ekf_training.step(TANH, learner, p.inputs[1], p.targets[1], R)[0] for learner in (one, whole)]
    assert np.abs(ekf_training.flat(second[0].params) - ekf_training.flat(second[1].params)).max() > 1e-4


def test_a_readout_alone_is_ridge_regression():
    rng = np.random.default_rng(2)
    H, y = rng.standard_normal((30, 4)), rng.standard_normal(30)
    theta, P = np.zeros(4), (0.5 * np.eye(4),)
    for row, target in zip(H, y, strict=True):
        P, change = ekf_training.learn(P, row[None], np.array([target - row @ theta]), np.array([[0.2]]))
        theta = theta + change
    agree(theta, np.linalg.solve(H.T @ H / 0.2 + np.eye(4) / 0.5, H.T @ y / 0.2), 1e-11)


def test_what_is_missing_teaches_nothing():
    p = draw()
    seen = np.random.default_rng(0).random(p.targets.shape) < 0.6
    seen[2] = False
    y = np.where(seen, p.targets, np.nan)
    learner = ekf_training.start(p.params, batch=2)
    found, predictions = ekf_training.run(TANH, learner, p.inputs, y, R, observed=seen)
    assert np.isfinite(ekf_training.flat(found.params)).all() and np.isfinite(predictions).all()
    half, _ = ekf_training.run(TANH, learner, p.inputs[:2], y[:2], R, observed=seen[:2])
    more, _ = ekf_training.run(TANH, half, p.inputs[2:3], y[2:3], R, observed=seen[2:3])
    assert np.array_equal(ekf_training.flat(half.params), ekf_training.flat(more.params))
    assert np.array_equal(half.covariances[0], more.covariances[0]) and not np.allclose(half.hidden, more.hidden)


def test_it_learns_a_small_network():
    """A teacher of the same form: after a few passes the pupil predicts what it could not."""
    rng = np.random.default_rng(6)
    p = problem(T=5, B=1, D=1, H=3, O=1)
    x = rng.standard_normal((200, 1, 1))
    y = outputs(torch.as_tensor(0.5 * rng.standard_normal(19)), p.params, torch.as_tensor(x), start_of(p, 1)).numpy()
    for groups in ekf_training.GROUPS:
        learner, errors = ekf_training.start(p.params, 1.0, groups), []
        for _ in range(6):
            learner, guess = ekf_training.run(TANH, ekf_training.rewound(learner), x, y, np.array([[0.1]]), 1e-4)
            errors.append(((guess - y) ** 2).mean() / y.var())
        assert errors[-1] < 0.05 and errors[-1] < errors[0] / 3


def test_flat_and_moved_agree():
    p = draw()
    change = np.random.default_rng(0).standard_normal(len(ekf_training.flat(p.params)))
    agree(ekf_training.flat(ekf_training.moved(p.params, change)), ekf_training.flat(p.params) + change, 1e-14)


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda p, one: ekf_training.start(p.params, groups="row"), "groups"),
        (lambda p, one: ekf_training.start(p.params, 0.0), "spread"),
        (lambda p, one: ekf_training.start(p.params._replace(cell=p.params.readout)), "params.cell"),
        (lambda p, one: ekf_training.run(TANH, one, p.inputs[..., :1], p.targets, R), "inputs"),
        (lambda p, one: ekf_training.run(TANH, one, p.inputs, p.targets[..., :1], R), "targets"),
        (lambda p, one: ekf_training.run(TANH, one, p.inputs, p.targets + np.nan, R), "targets"),
        (lambda p, one: ekf_training.run(TANH, one, p.inputs, p.targets, np.eye(1)), "noise"),
        (lambda p, one: ekf_training.run(TANH, ekf_training.start(p.params), p.inputs, p.targets, R), "learner.hidden"),
        (lambda p, one: ekf_training.run(TANH, one, p.inputs, p.targets, R, observed=np.ones(5, bool)), "observed"),
    ],
)
def test_doors(call, name):
    p = draw()
    with pytest.raises(ValueError, match=f"^{name}: "):
        call(p, ekf_training.start(p.params, batch=2))
