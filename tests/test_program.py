"""The chain rule for a program, on random programs: total times immediate, summed over the readers."""

import numpy as np
import pytest
import torch
from proof import agree, verifies


def random_program(seed, size=9):
    """Weights of a program v_k = tanh(sum_j w[k, j] v_j): each value reads about half of those before."""
    rng = np.random.default_rng(seed)
    read = np.tril(rng.random((size, size)) < 0.6, k=-1)
    read[-1, 0] = True  # the result reads the first value, past all the others
    return np.where(read, rng.standard_normal((size, size)), 0.0)


def total_derivatives(w, v):
    """dL/dv_j for every j, from the last value back, by the rule; L is the last value."""
    immediate = (1 - v[:, None] ** 2) * w  # of the formula for v_k by v_j, the rest held fixed
    total = np.zeros_like(v)
    total[-1] = 1.0
    for j in reversed(range(len(v) - 1)):
        total[j] = sum(total[k] * immediate[k, j] for k in range(j + 1, len(v)))
    return total


def run(w, first):
    values = [first]
    for k in range(1, len(w)):
        values.append(torch.tanh(sum(float(w[k, j]) * values[j] for j in range(k))))
    return values


@pytest.mark.parametrize("seed", range(5))
@verifies("eq-program-chain-rule", oracle="autograd")
def test_total_times_immediate_summed_over_the_readers(seed):
    w = random_program(seed)
    values = run(w, torch.tensor(0.3, dtype=torch.float64, requires_grad=True))
    for value in values:
        if value.requires_grad:
            value.retain_grad()
    values[-1].backward()
    oracle = [0.0 if value.grad is None else float(value.grad) for value in values]
    agree(total_derivatives(w, np.array([float(value.detach()) for value in values])), np.array(oracle), 1e-13)


def test_total_times_total_is_another_number():
    """Read both factors as total, and paths are counted more than once."""
    w = random_program(0)
    v = np.array([float(value) for value in run(w, torch.tensor(0.3, dtype=torch.float64))])
    immediate = (1 - v[:, None] ** 2) * w
    between = np.linalg.inv(np.eye(len(v)) - immediate)  # total derivative of each value by each
    right = total_derivatives(w, v)
    np.testing.assert_allclose(between[-1], right, rtol=1e-12, atol=1e-14)
    twice = sum(between[-1, k] * between[k, 0] for k in range(1, len(v)))
    assert abs(twice - right[0]) > 0.1 * abs(right[0])
