"""The torch floor of the weights' filter: the same numbers as the NumPy floor, and autograd's derivatives."""

import numpy as np
import pytest
import torch
from oracles import problem
from proof import agree, verifies
from test_ekf_training import outputs, start_of

from rnncourse import bridge
from rnncourse.gpu import cells, ekf_training
from rnncourse.reference import cells as numpy_cells
from rnncourse.reference import ekf_training as twin

R = np.array([[2.0, 0.3], [0.3, 1.0]])
RUNS = {
    "one": (5, 1, 2, 3),
    "batch": (6, 3, 2, 3),
    "one step": (1, 2, 1, 4),
    "one unit": (4, 2, 3, 1),
}
each_run = pytest.mark.parametrize("size", RUNS.values(), ids=RUNS)
groups = pytest.mark.parametrize("groups", ekf_training.GROUPS)


def draw(size):
    T, B, D, H = size
    return problem(T=T, B=B, D=D, H=H, O=2)


def pair(p, B, spread=0.3, groups="global", activation="tanh"):
    """Each floor's cell and learner."""
    ours = twin.start(p.params, spread, groups, B)
    theirs = ekf_training.start(bridge.to_torch(p.params), spread, groups, B)
    return (numpy_cells.rnn(activation), ours), (cells.rnn(activation), theirs)


def same(ours, theirs):
    """All that is carried on, and to twelve digits."""
    agree(theirs.params, ours.params, 1e-12)
    agree(theirs.covariances, ours.covariances, 1e-12)
    assert all(torch.equal(P, P.T) for P in theirs.covariances)
    agree(theirs.hidden, ours.hidden, 1e-12)
    agree(theirs.influence.ravel(), ours.influence.weights.ravel(), 1e-12)


@each_run
@groups
def test_a_run_says_what_the_numpy_floor_says(size, groups):
    p = draw(size)
    (cell, ours), (their_cell, theirs) = pair(p, size[1], groups=groups)
    ours, guess = twin.run(cell, ours, p.inputs, p.targets, R, 0.01)
    theirs, their_guess = ekf_training.run(their_cell, theirs, *map(torch.as_tensor, (p.inputs, p.targets, R)), 0.01)
    agree(their_guess, guess, 1e-12)
    same(ours, theirs)
    ours, theirs = twin.rewound(ours), ekf_training.rewound(theirs)
    same(ours, theirs)
    ours, guess = twin.run(cell, ours, p.inputs, p.targets, R)
    theirs, their_guess = ekf_training.run(their_cell, theirs, *map(torch.as_tensor, (p.inputs, p.targets, R)))
    agree(their_guess, guess, 1e-12)
    same(ours, theirs)


@groups
def test_what_is_missing_teaches_neither(groups):
    p = draw((7, 3, 2, 3))
    seen = np.random.default_rng(1).random(p.targets.shape) < 0.6
    seen[2], y = False, np.where(seen, p.targets, np.nan)
    seen[4, 1] = False
    (cell, ours), (their_cell, theirs) = pair(p, 3, groups=groups)
    ours, _ = twin.run(cell, ours, p.inputs, y, R, observed=seen)
    there = [torch.as_tensor(array) for array in (p.inputs, y, R)]
    theirs, guess = ekf_training.run(their_cell, theirs, *there, observed=torch.as_tensor(seen))
    same(ours, theirs)
    assert guess.isfinite().all()


def test_a_whole_step_may_be_hidden():
    p, seen = draw((4, 2, 2, 3)), np.array([[True, False]] * 4)
    (cell, ours), (their_cell, theirs) = pair(p, 2)
    ours, _ = twin.run(cell, ours, p.inputs, p.targets, R, observed=seen)
    there = [torch.as_tensor(array) for array in (p.inputs, p.targets, R)]
    theirs, _ = ekf_training.run(their_cell, theirs, *there, observed=torch.as_tensor(seen))
    same(ours, theirs)


@pytest.mark.parametrize("activation", ["sigmoid", "identity", "relu"])
def test_other_activations(activation):
    p = draw((4, 2, 2, 3))
    (cell, ours), (their_cell, theirs) = pair(p, 2, activation=activation)
    ours, _ = twin.run(cell, ours, p.inputs, p.targets, R)
    theirs, _ = ekf_training.run(their_cell, theirs, *map(torch.as_tensor, (p.inputs, p.targets, R)))
    same(ours, theirs)


@verifies("eq-ekf-weights-jacobian", oracle="autograd through the unrolled network")
def test_the_derivative_by_all_weights():
    """With R so large that no weight moves, the derivative at step t is that of an unrolled network."""
    p = draw((5, 2, 2, 3))
    theta = torch.as_tensor(twin.flat(p.params))
    full = torch.autograd.functional.jacobian(
        lambda w: outputs(w, p.params, torch.as_tensor(p.inputs), start_of(p, 2)), theta
    )
    learner = ekf_training.start(bridge.to_torch(p.params), batch=2)
    for t in range(5):
        x, y = torch.as_tensor(p.inputs[t]), torch.as_tensor(p.targets[t])
        learner, _ = ekf_training.step(cells.rnn(), learner, x, y, torch.as_tensor(1e30 * R))
        agree(ekf_training.derivative(learner.params, learner.influence, learner.hidden), full[t], 1e-12)


def test_a_readout_alone_is_ridge_regression():
    rng = np.random.default_rng(2)
    H, y = torch.as_tensor(rng.standard_normal((30, 4))), torch.as_tensor(rng.standard_normal(30))
    eye = torch.eye(4, dtype=torch.float64)
    theta, P, noise = torch.zeros(4, dtype=torch.float64), (0.5 * eye,), torch.tensor([[0.2]], dtype=torch.float64)
    for row, target in zip(H, y, strict=True):
        P, change = ekf_training.learn(P, row[None], (target - row @ theta)[None], noise)
        theta = theta + change
    agree(theta, torch.linalg.solve(H.T @ H / 0.2 + eye / 0.5, H.T @ y / 0.2), 1e-11)
    agree(P[0], torch.linalg.inv(H.T @ H / 0.2 + eye / 0.5), 1e-11)


def test_flat_and_moved_are_those_of_the_numpy_floor():
    p = draw((2, 1, 2, 3))
    params, change = bridge.to_torch(p.params), np.random.default_rng(0).standard_normal(len(twin.flat(p.params)))
    assert np.array_equal(ekf_training.flat(params).numpy(), twin.flat(p.params))
    agree(ekf_training.moved(params, torch.as_tensor(change)), twin.moved(p.params, change), 1e-14)


def test_a_learner_belongs_to_no_graph_and_keeps_its_type():
    p = draw((3, 2, 2, 3))
    params = bridge.to_torch(p.params)
    params.cell.recurrent_weights.requires_grad_()
    learner = ekf_training.start(params, batch=2)
    learner, guess = ekf_training.run(cells.rnn(), learner, *map(torch.as_tensor, (p.inputs, p.targets, R)))
    assert not guess.requires_grad and not ekf_training.flat(learner.params).requires_grad
    small = [torch.as_tensor(array).float() for array in (p.inputs, p.targets, R)]
    floats = params._replace(
        cell=type(params.cell)(*(part.detach().float() for part in params.cell)),
        readout=type(params.readout)(*(part.float() for part in params.readout)),
        initial_state=params.initial_state.float(),
    )
    found, near = ekf_training.run(cells.rnn(), ekf_training.start(floats, batch=2), *small)
    assert near.dtype == found.covariances[0].dtype == ekf_training.flat(found.params).dtype == torch.float32
    agree(near.double(), guess, 1e-5)


@pytest.mark.parametrize(
    "call",
    [
        lambda floor, cell, params, one, x, y, R: floor.start(params, groups="row"),
        lambda floor, cell, params, one, x, y, R: floor.start(params, 0.0),
        lambda floor, cell, params, one, x, y, R: floor.start(params._replace(cell=params.readout)),
        lambda floor, cell, params, one, x, y, R: floor.run(cell, one, x[..., :1], y, R),
        lambda floor, cell, params, one, x, y, R: floor.run(cell, one, x, y[..., :1], R),
        lambda floor, cell, params, one, x, y, R: floor.run(cell, one, x, y + float("nan"), R),
        lambda floor, cell, params, one, x, y, R: floor.run(cell, one, x, y, R[:1]),
        lambda floor, cell, params, one, x, y, R: floor.run(cell, floor.start(params), x, y, R),
        lambda floor, cell, params, one, x, y, R: floor.run(cell, one, x, y, R, observed=(y > 0)[0]),
        lambda floor, cell, params, one, x, y, R: floor.run(cell, one, x, y, R, observed=y),
        lambda floor, cell, params, one, x, y, R: floor.run(cell, one, x, y, -R),
        lambda floor, cell, params, one, x, y, R: floor.run(cell, one, x, y, 0 * R),
        lambda floor, cell, params, one, x, y, R: floor.run(cell, one, x, y, R, -1.0),
        lambda floor, cell, params, one, x, y, R: floor.start(params, float("inf")),
        lambda floor, cell, params, one, x, y, R: floor.start(params, batch=0),
    ],
)
def test_both_floors_refuse_in_the_same_words(call):
    p, said = draw((4, 2, 2, 3)), []
    floors = (twin, lambda a: a, np.asarray), (ekf_training, bridge.to_torch, torch.as_tensor)
    for (floor, there, array), (cell, learner) in zip(floors, pair(p, 2), strict=True):
        with pytest.raises(ValueError) as refusal:
            call(floor, cell, there(p.params), learner, *map(array, (p.inputs, p.targets, R)))
        said.append(str(refusal.value).replace("torch.", ""))
    assert said[0] == said[1]
