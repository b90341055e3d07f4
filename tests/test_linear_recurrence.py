"""Linear recurrences by a scan, their gradients, and back-propagation through time as one of them."""

import numpy as np
import pytest
import torch
from proof import agree, verifies

from rnncourse import bridge, gpu, params, reference
from rnncourse.reference import cells, unroll

FLOORS = pytest.mark.parametrize("floor", [reference, gpu], ids=["reference", "gpu"])
FORMS = pytest.mark.parametrize("form", ["diagonal", "matrix"])
LENGTHS = pytest.mark.parametrize("T", [1, 2, 3, 7, 13, 100])


def problem(T, form, B=2, H=3, seed=0):
    rng = np.random.default_rng(seed)
    A = rng.uniform(-1, 1, (T, B, H) if form == "diagonal" else (T, B, H, H))
    return A, rng.standard_normal((T, B, H)), rng.standard_normal((B, H)), rng.standard_normal((T, B, H))


def dense(A, b, h_0):
    """One linear system for all states: ones on the diagonal, -A_t below it. Sequences one by one."""
    T, B, H = b.shape
    A = A if A.ndim == 4 else A[..., None] * np.eye(H)
    h = np.empty_like(b)
    for n in range(B):
        M, right = np.eye(T * H), b[:, n].copy()
        right[0] += A[0, n] @ h_0[n]
        for t in range(1, T):
            M[t * H : (t + 1) * H, (t - 1) * H : t * H] = -A[t, n]
        h[:, n] = np.linalg.solve(M, right.ravel()).reshape(T, H)
    return h


def convert(floor, *arrays):
    return arrays if floor is reference else bridge.to_torch(arrays)


@verifies("eq-affine-combine", oracle="a dense block bidiagonal system")
@FLOORS
@FORMS
@LENGTHS
def test_all_states(floor, form, T):
    A, b, h_0, _ = problem(T, form)
    given = convert(floor, A, b, h_0)
    for run in (floor.linear_recurrence.forward, floor.linear_recurrence.loop):
        agree(run(*given)[0], dense(A, b, h_0), 1e-12)
    started = floor.linear_recurrence.forward(*given[:2])[0]
    agree(started, dense(A, b, 0 * h_0), 1e-12)


@FORMS
def test_the_scan_is_the_loop_over_many_steps(form):
    A, b, h_0, _ = problem(5001, form, B=1)
    A = A if form == "diagonal" else A / 1.8
    agree(reference.linear_recurrence.forward(A, b, h_0)[0], reference.linear_recurrence.loop(A, b, h_0)[0], 1e-12)


@verifies("eq-linear-backward", oracle="autograd through a loop")
@FLOORS
@FORMS
@LENGTHS
def test_the_way_back(floor, form, T):
    A, b, h_0, g = problem(T, form)
    leaves = [torch.tensor(array, requires_grad=True) for array in (A, b, h_0)]
    h, loss = leaves[2], 0.0
    for t in range(T):
        h = (leaves[0][t] * h if form == "diagonal" else torch.einsum("bij,bj->bi", leaves[0][t], h)) + leaves[1][t]
        loss = loss + (h * torch.tensor(g[t])).sum()
    right = torch.autograd.grad(loss, leaves)
    _, tape = floor.linear_recurrence.forward(*convert(floor, A, b, h_0))
    back = floor.linear_recurrence.backward(tape, *convert(floor, g))
    agree(tuple(back), tuple(right), 1e-12)
    agree(floor.linear_recurrence.reverse(*convert(floor, A, g)), right[1], 1e-12)


def test_torch_trains_through_it():
    A, b, h_0, g = bridge.to_torch(problem(6, "matrix"))
    A.requires_grad_()
    h, _ = gpu.linear_recurrence.forward(A, b, h_0)
    (h * g).sum().backward()
    agree(A.grad, gpu.linear_recurrence.backward(gpu.linear_recurrence.loop(A, b, h_0)[1], g).transitions, 1e-13)


@verifies("eq-bptt-scan", oracle="autograd through a loop")
@FLOORS
@pytest.mark.parametrize("lengths", [None, [9, 4]])
@pytest.mark.parametrize("activation", ["tanh", "relu", "sigmoid"])
def test_back_propagation_is_a_scan(floor, lengths, activation):
    rng = np.random.default_rng(2)
    cell = params.map_arrays(lambda w: w + 0.3 * rng.standard_normal(w.shape), params.init_rnn(rng, 2, 4))
    x, g = rng.standard_normal((9, 2, 2)), rng.standard_normal((9, 2, 4))
    phi = {"tanh": torch.tanh, "relu": torch.relu, "sigmoid": torch.sigmoid}[activation]
    right = np.zeros_like(g)
    for n, T in enumerate(lengths or [9, 9]):
        W_x, W_h, b = (torch.tensor(part) for part in cell)
        h, states = torch.zeros(4, dtype=torch.float64, requires_grad=True), []
        for t in range(T):
            h = phi(W_x @ torch.tensor(x[t, n]) + W_h @ h + b)
            states.append(h)
        loss = sum((h * torch.tensor(g[t, n])).sum() for t, h in enumerate(states))
        right[:T, n] = torch.stack(torch.autograd.grad(loss, states)).numpy()
    _, _, tape = floor.unroll.forward(floor.cells.rnn(activation), *convert(floor, cell, x), lengths=lengths)
    found = floor.bptt_scan.hidden(tape, *convert(floor, g))
    real = np.ones((9, 2), bool) if lengths is None else np.arange(9)[:, None] < np.array(lengths)
    agree(np.asarray(found)[real], right[real], 1e-12)


def test_weights_from_the_scan_are_those_of_bptt():
    rng = np.random.default_rng(3)
    cell, x, g = params.init_rnn(rng, 2, 4), rng.standard_normal((11, 3, 2)), rng.standard_normal((11, 3, 4))
    _, _, tape = unroll.forward(cells.rnn(), cell, x)
    s = reference.bptt_scan.hidden(tape, g)
    found = reference.bptt.weight_gradients(tape, reference.jacobians.slopes(tape) * s)
    agree(found, unroll.backward(tape, g).params, 1e-12)


@FLOORS
def test_bad_input(floor):
    A, b, h_0, g = convert(floor, *problem(4, "matrix"))
    forward, reverse = floor.linear_recurrence.forward, floor.linear_recurrence.reverse
    for says, call in {
        r"inputs: expected shape \(T, B, H\)": lambda: forward(A, b[0]),
        r"transitions: expected shape \(4, 2, 3, 3\)": lambda: forward(A[:3], b),
        r"transitions: expected shape \(4, 2, 3\)": lambda: forward(A[:, 0], b),
        r"initial_state: expected shape \(2, 3\)": lambda: forward(A, b, h_0[0]),
        "transitions: 1 of": lambda: forward(spoiled(A), b),
        r"d_outputs: expected shape \(T, B, H\)": lambda: reverse(A, g[0]),
        r"d_outputs: expected shape \(4, 2, 3\)": lambda: floor.linear_recurrence.backward(forward(A, b)[1], g[:2]),
    }.items():
        with pytest.raises(ValueError, match=says):
            call()


def spoiled(array):
    array = array + 0
    array[1, 0, 0, 0] = float("nan")
    return array
