"""Minimal gates: definitions, gradients, and what they cannot follow."""

import numpy as np
import pytest
import torch
from proof import agree, verifies

from rnncourse import bridge, gpu, minimal_params, params, reference
from rnncourse.minimal_params import BLOCKS, MinimalParams, init_minimal

FLOORS = pytest.mark.parametrize("floor", [reference, gpu], ids=["reference", "gpu"])
KINDS = pytest.mark.parametrize("kind", BLOCKS)


def problem(kind, T=9, B=3, D=2, H=4, seed=0):
    rng = np.random.default_rng(seed)
    model = init_minimal(rng, kind, D, H)
    model = MinimalParams(2 * model.input_weights, rng.standard_normal(model.bias.shape))
    return model, rng.standard_normal((T, B, D)), rng.standard_normal((B, H)), rng.standard_normal((T, B, H))


def by_definition(kind, model, x, h):
    """The recurrences step by step, in torch."""
    states, H = [], h.shape[-1]
    for x_t in x:
        a = x_t @ model[0].T + model[1]
        if kind == "lstm":
            i, f, g = torch.sigmoid(a[:, :H]), torch.sigmoid(a[:, H : 2 * H]), a[:, 2 * H :]
            h = f / (i + f) * h + i / (i + f) * g
        else:
            z = torch.tanh(a[:, :H]) if kind == "signed" else torch.sigmoid(a[:, :H])
            h = a[:, H:] + z * (h - a[:, H:])
        states.append(h)
    return torch.stack(states)


def convert(floor, *arrays):
    return arrays if floor is reference else bridge.to_torch(arrays)


@verifies("eq-minimal-gradients", oracle="autograd through a loop")
@FLOORS
@KINDS
@pytest.mark.parametrize("T", [1, 2, 9])
def test_states_and_gradients(floor, kind, T):
    model, x, h_0, g = problem(kind, T)
    leaves = [torch.tensor(array, requires_grad=True) for array in (*model, x, h_0)]
    states = by_definition(kind, leaves[:2], leaves[2], leaves[3])
    right = torch.autograd.grad((states * torch.tensor(g)).sum(), leaves)
    hidden, tape = floor.minimal_gates.forward(kind, *convert(floor, model, x, h_0))
    agree(hidden, states, 1e-12)
    back = floor.minimal_gates.backward(tape, *convert(floor, g))
    agree((*back.params, back.inputs, back.initial_state), tuple(right), 1e-12)
    one = floor.minimal_gates.forward(kind, *convert(floor, model, x, h_0[0]))[1]  # one start for all
    all_alike = floor.minimal_gates.forward(kind, *convert(floor, model, x, np.tile(h_0[0], (3, 1))))[1]
    alone, shared = (floor.minimal_gates.backward(tape, *convert(floor, g)).initial_state for tape in (all_alike, one))
    agree(shared, np.asarray(alone).sum(axis=0), 1e-12)


def test_both_gates_of_the_lstm_may_be_closed():
    model = MinimalParams(np.zeros((3, 1)), np.array([-900.0, -901.0, 2.0]))
    hidden, tape = reference.minimal_gates.forward("lstm", model, np.zeros((3, 1, 1)))
    share = 1 / (1 + np.exp(-1.0))
    agree(hidden[:, 0, 0], 2 * (1 - (1 - share) ** np.arange(1, 4)), 1e-12)
    back = reference.minimal_gates.backward(tape, np.ones((3, 1, 1)))
    assert all(np.isfinite(part).all() for part in (*back.params, back.inputs))


@verifies("eq-run-of-ones", oracle="a loop")
@KINDS
def test_the_same_input_again_and_again(kind):
    model, x, h_0, _ = problem(kind, T=1)
    again = np.repeat(x, 30, axis=0)
    states = by_definition(kind, [torch.tensor(part) for part in model], torch.tensor(again), torch.tensor(h_0)).numpy()
    _, tape = reference.minimal_gates.forward(kind, model, x)
    A, b = reference.minimal_gates.affine(kind, *tape.blocks)
    n, k = b[0] / (1 - A[0]), np.arange(1, 31)[:, None, None]
    agree(n + A[0] ** k * (h_0 - n), states, 1e-12)


def changes(values):
    """How often the sign changes; what is near zero has none."""
    signs = np.sign(values[abs(values) > 1e-11 * abs(values).max()])
    return int((np.diff(signs) != 0).sum())


@pytest.mark.parametrize("H", [1, 2, 3, 5])
def test_a_sum_of_positive_powers_changes_its_sign_rarely(H):
    """No more than H times, though a thousand readouts were tried; a negative power changes it at every step."""
    rng = np.random.default_rng(H)
    k, most = np.arange(1, 400)[:, None], 0
    for _ in range(1000):
        z, weights = rng.uniform(0.3, 0.999, H), rng.standard_normal(H) * 10 ** rng.uniform(-2, 2, H)
        curve = (weights * z**k).sum(axis=1)
        most = max(most, changes(curve - rng.choice(curve[:20])))
    assert 1 <= most <= H
    assert changes((-0.999) ** k[:, 0]) == len(k) - 1


@FLOORS
def test_bad_input(floor):
    model, x, h_0, g = problem("gru")
    model, x, h_0, g = convert(floor, model, x, h_0, g)
    forward, backward = floor.minimal_gates.forward, floor.minimal_gates.backward
    for says, call in {
        "kind: expected one of 'gru', 'signed', 'lstm'": lambda: forward("rnn", model, x),
        "input_weights: expected 3 blocks of H rows, got 8": lambda: forward("lstm", model, x),
        r"bias: expected shape \(8,\)": lambda: forward("gru", model._replace(bias=model.bias[:4]), x),
        r"inputs: expected shape \(T, B, 2\)": lambda: forward("gru", model, x[0]),
        "inputs: 1 of": lambda: forward("gru", model, spoiled(x)),
        r"initial_state: expected shape \(3, 4\)": lambda: forward("gru", model, x, h_0[:2]),
        r"d_outputs: expected shape \(9, 3, 4\)": lambda: backward(forward("gru", model, x)[1], g[:2]),
    }.items():
        with pytest.raises(ValueError, match=says):
            call()


def spoiled(array):
    array = array + 0
    array[1, 0, 0] = float("nan")
    return array


def test_how_they_start():
    model = init_minimal(np.random.default_rng(0), "lstm", 5, 200)
    assert model.input_weights.shape == (600, 5) and not model.bias.any()
    assert abs(model.input_weights.std() - 5**-0.5) < 0.02 and params.count(model) == 3600
    with pytest.raises(ValueError, match="hidden"):
        minimal_params.init_minimal(np.random.default_rng(0), "gru", 2, 0)
