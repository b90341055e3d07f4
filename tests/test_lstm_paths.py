"""Step Jacobians of cells with several states, and the paths that make those of the LSTM."""

import cell_oracles as oracles
import numpy as np
import pytest
import torch
from cell_oracles import dense_jacobians, draw_problem
from proof import agree
from test_lstm import FLOORS, FORMS, cell, problem

from rnncourse import bridge, gpu, gradcheck, reference
from rnncourse.params import RNNParams


def tape_of(floor, form, p, lengths=None):
    tree = (p.params, p.x, tuple(p.start))
    params, x, start = tree if floor is reference else bridge.to_torch(tree)
    return floor.unroll.forward(cell(floor, form), params, x, start, lengths)[2]


def steps_of(floor, form, p, lengths=None):
    J = floor.state_jacobians.steps(tape_of(floor, form, p, lengths))
    return np.asarray(J)


@FLOORS
@pytest.mark.parametrize("form", FORMS)
def test_step_jacobians_against_torchs_own(floor, form):
    p = problem(form)
    J = steps_of(floor, form, p)
    assert J.shape == (7, 3, 10, 10)
    for b in range(3):
        agree(J[:, b], dense_jacobians(p, FORMS[form][2], b), 1e-12)


def test_step_jacobian_against_the_complex_step():
    p = problem("plain", T=1, B=1)
    J = steps_of(reference, "plain", p)[0, 0]

    def entry(z, k):
        outputs = reference.unroll.forward(reference.lstm.plain(), p.params, p.x, (z[:5], z[5:]))[1]
        return np.concatenate(outputs, axis=1)[0, k]

    z = np.concatenate(p.start)
    agree(J, np.array([gradcheck.complex_step(lambda z, k=k: entry(z, k), z) for k in range(10)]), 1e-13)


@FLOORS
def test_a_vanilla_cell_has_the_jacobian_it_had(floor):
    p = draw_problem(RNNParams, H=4)
    tree = (p.params, p.x) if floor is reference else bridge.to_torch((p.params, p.x))
    tape = floor.unroll.forward(floor.cells.rnn(), *tree)[2]
    agree(floor.state_jacobians.steps(tape), np.asarray(floor.jacobians.steps(tape)), 1e-14)


@FLOORS
def test_padding_is_the_identity(floor):
    p = problem("plain")
    J = steps_of(floor, "plain", p, (7, 3, 0))
    whole = steps_of(floor, "plain", p)
    agree(J[:3, 1], whole[:3, 1], 1e-15)
    agree(J[3:, 1], np.tile(np.eye(10), (4, 1, 1)), 0)
    paths = floor.lstm_paths.steps(tape_of(floor, "plain", p, (7, 3, 0)))
    agree(np.asarray(sum(paths)), J, 1e-13)
    assert not any(np.asarray(path)[3:, 1].any() for path in paths[1:])


@FLOORS
def test_paths_add_up_to_the_jacobian(floor):
    p = problem("plain")
    agree(np.asarray(sum(floor.lstm_paths.steps(tape_of(floor, "plain", p)))), steps_of(reference, "plain", p), 1e-13)


def test_both_floors_find_the_same_paths():
    p = problem("plain")
    ours, theirs = (tuple(floor.lstm_paths.steps(tape_of(floor, "plain", p))) for floor in (reference, gpu))
    agree(ours, theirs, 1e-13)


@pytest.mark.parametrize("gate", range(4), ids=["i", "f", "g", "o"])
def test_a_gate_without_recurrent_weights_carries_nothing(gate):
    p = problem("plain")
    names = ["input_gate", "forget_gate", "candidate", "output_gate"]
    p.params.recurrent_weights[5 * gate : 5 * gate + 5] = 0
    paths = reference.lstm_paths.steps(tape_of(reference, "plain", p))
    for k, name in enumerate(names):
        assert getattr(paths, name).any() == (k != gate)


@FLOORS
def test_the_direct_path_of_the_cell_is_the_product_of_its_forget_gates(floor):
    p = problem("plain", B=1)
    W_x, W_h, b = (torch.tensor(array) for array in p.params)
    state, kept = tuple(map(torch.tensor, p.start)), torch.ones(5, dtype=torch.float64)
    for x in torch.tensor(p.x[:, 0]):
        kept = kept * torch.sigmoid((W_x @ x + W_h @ state[0] + b)[5:10])
        state = oracles.lstm((W_x, W_h, b), x, state)
    paths = floor.lstm_paths.steps(tape_of(floor, "plain", p))
    parts = floor.lstm_paths.carried(paths, 0, 7)
    agree(np.asarray(parts.direct)[0, 5:, 5:], np.diag(kept), 1e-13)


@FLOORS
@pytest.mark.parametrize(("start", "stop"), [(0, 7), (2, 5), (3, 4), (4, 4)])
def test_what_the_paths_carry_adds_up_to_the_whole(floor, start, stop):
    p = problem("plain")
    parts = floor.lstm_paths.carried(floor.lstm_paths.steps(tape_of(floor, "plain", p)), start, stop)
    for b in range(3):
        whole = np.eye(10)
        for J in dense_jacobians(p, oracles.lstm, b)[start:stop]:
            whole = J @ whole
        agree(np.asarray(sum(parts))[b], whole, 1e-12)


@FLOORS
def test_what_the_paths_carry_against_every_way_through_time(floor):
    """Enumeration: all 5^3 ways through three steps, sorted by their first step that is not direct."""
    p = problem("plain", T=3, B=1, H=2)
    paths = floor.lstm_paths.steps(tape_of(floor, "plain", p))
    parts = floor.lstm_paths.carried(paths, 0, 3)
    sums = np.zeros((5, 4, 4))
    for way in np.ndindex(5, 5, 5):
        total = np.eye(4)
        for t, k in enumerate(way):
            total = np.asarray(paths[k])[t, 0] @ total
        sums[next((k for k in way if k), 0)] += total
    agree(tuple(np.asarray(part)[0] for part in parts), tuple(sums), 1e-13)


@FLOORS
def test_doors(floor):
    p = problem("peephole")
    with pytest.raises(ValueError, match="tape: expected one of the plain lstm, got peephole-lstm"):
        floor.lstm_paths.steps(tape_of(floor, "peephole", p))
    paths = floor.lstm_paths.steps(tape_of(floor, "plain", problem("plain")))
    for bad, says in [
        ((-1, 2), "start: expected"),
        ((3, 2), "stop: expected a whole number >= 3"),
        ((0, 8), "at most 7"),
    ]:
        with pytest.raises(ValueError, match=says):
            floor.lstm_paths.carried(paths, *bad)
