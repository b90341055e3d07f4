"""Step Jacobians and their products."""

import numpy as np
import pytest
import torch
from oracles import PHI, BruteForce, problem, roll
from proof import agree, verifies

from rnncourse import gradcheck
from rnncourse.reference import cells, jacobians, unroll

NAMES = ["tanh", "sigmoid", "relu", "identity"]


def tape_of(p, activation="tanh", lengths=None):
    return unroll.forward(cells.rnn(activation), p.params.cell, p.inputs, p.params.initial_state, lengths)[2]


def autograd(p, b, tau, t, activation="tanh"):
    """dh_t/dh_tau of sequence b by torch's own Jacobian of the rolled-out function."""
    cell = [torch.tensor(part) for part in p.params.cell]
    x = torch.tensor(p.inputs[:, b])
    start = torch.tensor(tape_of(p, activation).hidden[tau, b])
    if t == tau:
        return torch.eye(len(start), dtype=torch.float64)

    def later(h):
        return roll([cell] * (t - tau), x[tau:t], h, activation)[-1]

    return torch.autograd.functional.jacobian(later, start)


@pytest.mark.parametrize("activation", NAMES)
@verifies("eq-step-jacobian", oracle="autograd")
def test_steps_against_autograd(activation):
    p = problem()
    J = jacobians.steps(tape_of(p, activation))
    assert J.shape == (7, 3, 5, 5)
    for t in range(7):
        for b in range(3):
            agree(J[t, b], autograd(p, b, t, t + 1, activation), 1e-13)


@verifies("eq-step-jacobian", oracle="complex step")
def test_steps_against_complex_step():
    p = problem(B=1)
    tape = tape_of(p)
    W_x, W_h, b = p.params.cell
    for t in range(7):
        h = tape.hidden[t, 0]
        rows = [
            gradcheck.complex_step(lambda q, i=i, t=t: np.tanh(W_x[i] @ p.inputs[t, 0] + W_h[i] @ q + b[i]), h)
            for i in range(5)
        ]
        agree(jacobians.steps(tape)[t, 0], np.array(rows), 1e-13)


@pytest.mark.parametrize("activation", NAMES)
@verifies("eq-step-jacobian", oracle="dense Jacobians")
@verifies("eq-jacobian-product", oracle="dense Jacobians")
def test_products_against_explicit_products(activation):
    p = problem(B=2)
    J = jacobians.steps(tape_of(p, activation))
    for b in range(2):
        brute = BruteForce(p, b, activation)
        agree(J[:, b], np.array(brute.J[1:]), 1e-13)
        for tau in range(8):
            for t in range(tau, 8):
                agree(jacobians.product(J, tau, t)[b], brute.product(t, tau), 1e-13)


@pytest.mark.parametrize(("tau", "t"), [(0, 1), (0, 7), (2, 5), (6, 7), (3, 3), (0, 0), (7, 7)])
@verifies("eq-jacobian-product", oracle="autograd")
def test_products_against_autograd(tau, t):
    p = problem()
    total = jacobians.product(jacobians.steps(tape_of(p)), tau, t)
    assert total.shape == (3, 5, 5)
    for b in range(3):
        agree(total[b], autograd(p, b, tau, t), 1e-13)


@verifies("eq-jacobian-product", oracle="central differences")
def test_product_against_a_nudge_of_the_initial_state():
    p = problem(B=1)
    J = jacobians.product(jacobians.steps(tape_of(p)), 0, 7)[0]

    def last(h, i):
        return unroll.forward(cells.rnn(), p.params.cell, p.inputs, h)[0][-1, 0, i]

    rows = [gradcheck.central_difference(lambda h, i=i: last(h, i), p.params.initial_state) for i in range(5)]
    agree(J, np.array(rows), 1e-8)  # looser: the oracle's own error


def test_products_compose_with_the_latest_leftmost():
    J = jacobians.steps(tape_of(problem()))
    a, b = jacobians.product(J, 1, 4), jacobians.product(J, 4, 6)
    agree(b @ a, jacobians.product(J, 1, 6), 1e-14)
    assert np.abs(a @ b - b @ a).max() > 0.1 * np.abs(b @ a).max()


def test_padding_passes_the_state_on():
    p = problem()
    lengths = [7, 3, 0]
    padded, alone = jacobians.steps(tape_of(p, lengths=lengths)), jacobians.steps(tape_of(p))
    for b, length in enumerate(lengths):
        agree(padded[:, b], np.concatenate([alone[:length, b], np.tile(np.eye(5), (7 - length, 1, 1))]), 1e-14)
    agree(jacobians.product(padded, 0, 7)[1], jacobians.product(alone, 0, 3)[1], 1e-14)


def test_a_dead_relu_has_no_jacobian():
    p = problem()
    p.params.cell.bias[:] = -100.0
    assert not jacobians.steps(tape_of(p, "relu")).any()


def test_a_linear_cell_has_powers_of_its_weights():
    p = problem()
    J = jacobians.steps(tape_of(p, "identity"))
    agree(jacobians.product(J, 0, 5)[0], np.linalg.matrix_power(p.params.cell.recurrent_weights, 5), 1e-13)


@pytest.mark.parametrize("lengths", [None, [7, 3, 0]])
def test_float32_stays_float32(lengths):
    p = problem(dtype=np.float32)
    p.inputs = p.inputs.astype(np.float32)
    J = jacobians.steps(tape_of(p, lengths=lengths))
    assert J.dtype == jacobians.product(J, 0, 7).dtype == jacobians.product(J, 2, 2).dtype == np.float32


@pytest.mark.parametrize(
    ("J", "start", "stop", "message"),
    [
        (np.ones((7, 3, 5, 5)), -1, 3, "start: expected a whole number >= 0, got -1"),
        (np.ones((7, 3, 5, 5)), 4, 3, "stop: expected a whole number >= 4, got 3"),
        (np.ones((7, 3, 5, 5)), 0, 8, "stop: expected at most 7, the number of steps, got 8"),
        (np.ones((7, 3, 5, 5)), 0.0, 3, "start: expected a whole number >= 0, got 0.0"),
        (np.ones((7, 3, 5, 5)), 0, 2.5, "stop: expected a whole number >= 0, got 2.5"),
        (np.ones((7, 5, 5)), 0, 3, r"J: expected shape \(T, B, 5, 5\), got \(7, 5, 5\)"),
        (np.ones((7, 3, 4, 5)), 0, 3, r"J: expected shape \(T, B, 5, 5\), got \(7, 3, 4, 5\)"),
    ],
)
def test_doors(J, start, stop, message):
    with pytest.raises(ValueError, match=message):
        jacobians.product(J, start, stop)


def test_every_activation_of_the_oracle_is_one_of_the_library():
    assert list(PHI) == NAMES


def test_a_cell_with_parameters_of_its_own_is_no_vanilla_cell():
    tape = tape_of(problem())
    with pytest.raises(ValueError, match="cell: expected a vanilla cell"):
        jacobians.slopes(tape._replace(cell=tape.cell._replace(own=((1,),))))
