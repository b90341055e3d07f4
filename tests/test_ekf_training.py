"""Weights as the state of a filter: against autograd, least squares, and the filter of chapter 09."""

import ekf_oracles as oracles
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


@pytest.mark.parametrize(("groups", "sizes"), [("global", [26]), ("unit", [6, 6, 6, 4, 4])])
@verifies("eq-ekf-weights", oracle="autograd's Jacobians of one step, in a plain loop")
@verifies("eq-ekf-weights-jacobian", oracle="autograd's Jacobians of one step, in a plain loop")
def test_two_passes_while_the_weights_move(groups, sizes):
    """With drift, with a step at which nothing is seen, and with the network rewound between the passes."""
    p, q = draw(), 0.01
    seen = np.random.default_rng(3).random(p.targets.shape) < 0.7
    seen[2] = False
    y = np.where(seen, p.targets, np.nan)
    start = np.array(np.broadcast_to(p.params.initial_state, (2, 3)))
    theta, blocks = ekf_training.flat(p.params), [0.2 * np.eye(size) for size in sizes]
    learner = ekf_training.start(p.params, 0.2, groups, batch=2)
    for _ in range(2):
        learner, guess = ekf_training.run(TANH, ekf_training.rewound(learner), p.inputs, y, R, q, seen)
        before = theta
        theta, blocks, h, X, right = oracles.learned(theta, blocks, p.inputs, p.targets, seen, R, q, start)
        assert np.abs(theta - before).max() > 0.05
        agree(guess, right, 1e-11)
        agree(ekf_training.flat(learner.params), theta, 1e-11)
        agree(learner.covariances, tuple(blocks), 1e-11)
        agree(learner.hidden, h, 1e-11)
        agree(learner.influence.weights.reshape(2, 3, -1), X[:, :, : 3 * 6], 1e-11)
    back = ekf_training.rewound(learner)
    assert np.array_equal(back.hidden, start) and not back.influence.weights.any()
    assert back.params is learner.params and back.covariances is learner.covariances


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


def test_a_whole_step_may_be_hidden():
    p, seen = draw(), np.array([[True, False]] * 5)
    learner = ekf_training.start(p.params, batch=2)
    found, _ = ekf_training.run(TANH, learner, p.inputs, p.targets, R, observed=seen)
    right, _ = ekf_training.run(TANH, learner, p.inputs, p.targets, R, observed=np.stack([seen, seen], axis=2))
    assert np.array_equal(ekf_training.flat(found.params), ekf_training.flat(right.params))


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
        (lambda p, one: ekf_training.start(p.params, np.inf), "spread"),
        (lambda p, one: ekf_training.start(p.params, np.nan), "spread"),
        (lambda p, one: ekf_training.start(p.params, batch=0), "batch"),
        (lambda p, one: ekf_training.start(p.params._replace(cell=p.params.readout)), "params.cell"),
        (lambda p, one: ekf_training.run(TANH, one, p.inputs[..., :1], p.targets, R), "inputs"),
        (lambda p, one: ekf_training.run(TANH, one, p.inputs, p.targets[..., :1], R), "targets"),
        (lambda p, one: ekf_training.run(TANH, one, p.inputs, p.targets + np.nan, R), "targets"),
        (lambda p, one: ekf_training.run(TANH, one, p.inputs, p.targets, np.eye(1)), "noise"),
        (lambda p, one: ekf_training.run(TANH, one, p.inputs, p.targets, -R), "noise"),
        (lambda p, one: ekf_training.run(TANH, one, p.inputs, p.targets, 0 * R), "noise"),
        (lambda p, one: ekf_training.run(TANH, one, p.inputs, p.targets, np.triu(R)), "noise"),
        (lambda p, one: ekf_training.run(TANH, one, p.inputs, p.targets, R + np.nan), "noise"),
        (lambda p, one: ekf_training.run(TANH, one, p.inputs, p.targets, R, -1.0), "drift"),
        (lambda p, one: ekf_training.run(TANH, one, p.inputs, p.targets, R, np.nan), "drift"),
        (lambda p, one: ekf_training.run(TANH, one, p.inputs, p.targets, R, np.inf), "drift"),
        (lambda p, one: ekf_training.run(TANH, one, p.inputs, p.targets, R, observed=np.ones((5, 2, 2))), "observed"),
        (lambda p, one: ekf_training.run(TANH, ekf_training.start(p.params), p.inputs, p.targets, R), "learner.hidden"),
        (lambda p, one: ekf_training.run(TANH, one, p.inputs, p.targets, R, observed=np.ones(5, bool)), "observed"),
    ],
)
def test_doors(call, name):
    p = draw()
    with pytest.raises(ValueError, match=f"^{name}: "):
        call(p, ekf_training.start(p.params, batch=2))
