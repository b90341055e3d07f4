"""Lengths of gradients by step and by lag."""

import numpy as np
import pytest
import torch
from oracles import PHI, BruteForce, problem, torch_model
from proof import agree

from rnncourse import bridge, gpu
from rnncourse.reference import cells, profiles, unroll


def run(p, activation="tanh"):
    return unroll.forward(cells.rnn(activation), p.params.cell, p.inputs, p.params.initial_state)[2]


def twin(p, activation="tanh"):
    params = bridge.to_torch(p.params)
    cell = gpu.cells.rnn(activation)
    return gpu.unroll.forward(cell, params.cell, bridge.to_torch(p.inputs), params.initial_state)[2]


def test_by_step_against_autograd():
    p = problem()
    oracle = torch_model(p)
    e = np.array([oracle.d_outputs[:, b] @ p.params.readout.weights for b in range(3)]).swapaxes(0, 1)
    s = unroll.backward(run(p), e).hidden
    agree(profiles.by_step(s), np.sqrt((oracle.d_hidden**2).sum(axis=2)), 1e-12)
    agree(gpu.profiles.by_step(bridge.to_torch(s)), profiles.by_step(s), 1e-14)


@pytest.mark.parametrize("activation", list(PHI))
def test_by_lag_against_dense_jacobians(activation):
    p = problem(B=2)
    g = p.rng.standard_normal((7, 2, 5))
    ours = profiles.by_lag(run(p, activation), g, 6)
    assert ours.shape == (7, 2)
    for b in range(2):
        brute = BruteForce(p, b, activation)
        for lag in range(7):
            sent = [brute.product(k, k - lag).T @ g[k - 1, b] for k in range(lag + 1, 8)]
            agree(ours[lag, b], np.mean([np.linalg.norm(one) for one in sent]), 1e-12)
    agree(gpu.profiles.by_lag(twin(p, activation), bridge.to_torch(g), 6), ours, 1e-12)


def test_a_cell_with_more_than_one_state_is_refused_on_the_torch_floor():
    tape = twin(problem())
    with pytest.raises(ValueError, match="expected one state array, got 2"):
        gpu.profiles.by_lag(tape._replace(cell=tape.cell._replace(states=2)), torch.ones(7, 3, 5), 1)
