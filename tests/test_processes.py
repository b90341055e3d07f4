"""Samples of the classical models: their frequencies and moments are those of the model."""

import itertools

import numpy as np
import pytest

from rnncourse.data import processes
from rnncourse.params import init_model, map_arrays
from rnncourse.reference import cells, readout, unroll

START = np.array([0.7, 0.3])
MOVE = np.array([[0.9, 0.1], [0.35, 0.65]])
SHOW = np.array([[0.8, 0.15, 0.05], [0.1, 0.3, 0.6]])
A, C = np.array([[0.9, 0.3], [-0.3, 0.7]]), np.array([[1.0, 0.5], [0.0, 2.0], [1.0, -1.0]])
Q, R = np.array([[0.5, 0.2], [0.2, 0.3]]), np.diag([0.1, 0.2, 0.0])
MEAN, COVARIANCE = np.array([2.0, -1.0]), np.array([[1.0, -0.4], [-0.4, 0.5]])
MANY = 40_000


def rng():
    return np.random.default_rng(0)


def near(counts, p):
    """Frequencies within four standard deviations of their probabilities."""
    n = counts.sum()
    return (np.abs(counts / n - p) <= 4 * np.sqrt(p * (1 - p) / n) + 1e-12).all()


def test_a_markov_chain_has_its_joint_frequencies():
    x = processes.markov_chain(rng(), START, MOVE, 4, MANY)
    p = np.einsum("a,ab,bc,cd->abcd", START, MOVE, MOVE, MOVE)
    assert near(np.bincount(np.ravel_multi_index(x, p.shape), minlength=16), p.ravel())
    assert not near(np.bincount(np.ravel_multi_index(x, p.shape), minlength=16), p.T.ravel())


def brute(steps):
    """p(x_1..x_T) of the hidden Markov model, one path at a time."""
    table = np.zeros((3,) * steps)
    for x in np.ndindex(table.shape):
        for z in itertools.product(range(2), repeat=steps):
            p = START[z[0]] * SHOW[z[0], x[0]]
            for t in range(1, steps):
                p *= MOVE[z[t - 1], z[t]] * SHOW[z[t], x[t]]
            table[x] += p
    return table


@pytest.mark.parametrize("steps", [1, 2, 4])
def test_the_joint_of_a_hidden_markov_model_sums_over_its_paths(steps):
    assert np.allclose(processes.hmm_joint(START, MOVE, SHOW, steps), brute(steps), rtol=1e-13, atol=0)


def test_a_hidden_markov_model_has_its_joint_frequencies():
    path = processes.hmm(rng(), START, MOVE, SHOW, 3, MANY)
    p = brute(3)
    assert near(np.bincount(np.ravel_multi_index(path.observations, p.shape), minlength=27), p.ravel())
    states = np.einsum("a,ab,bc->abc", START, MOVE, MOVE)
    assert near(np.bincount(np.ravel_multi_index(path.states, states.shape), minlength=8), states.ravel())
    for k in range(2):
        assert near(np.bincount(path.observations[path.states == k], minlength=3), SHOW[k])


def test_a_linear_system_has_its_moments():
    path = processes.lds(rng(), MEAN, COVARIANCE, A, C, Q, R, 4, MANY)
    mean, covariance = MEAN, COVARIANCE
    for z, x in zip(*path, strict=True):
        for sample, m, S in ((z, mean, covariance), (x, C @ mean, C @ covariance @ C.T + R)):
            scale = np.sqrt(np.diag(S))
            assert (np.abs(sample.mean(axis=0) - m) < 4 * scale / np.sqrt(MANY)).all()
            assert (np.abs(np.cov(sample.T) - S) < 6 * np.outer(scale, scale) / np.sqrt(MANY)).all()
        mean, covariance = A @ mean, A @ covariance @ A.T + Q
    lagged = (path.states[1] - path.states[1].mean(axis=0)).T @ (path.states[0] - path.states[0].mean(axis=0)) / MANY
    assert np.allclose(lagged, A @ COVARIANCE, atol=0.03)  # in the direction of time


def test_a_linear_system_without_noise_is_a_linear_map():
    none = np.zeros((2, 2))
    path = processes.lds(rng(), MEAN, none, A, C, none, np.zeros((3, 3)), 5, 2)
    for t in range(5):
        z = np.linalg.matrix_power(A, t) @ MEAN
        assert np.allclose(path.states[t], z, rtol=1e-13) and np.allclose(path.observations[t], C @ z, rtol=1e-13)


def test_a_network_without_noise_is_the_network():
    model = map_arrays(lambda w: w + 0.1, init_model(rng(), 2, 4, 3))
    x = rng().standard_normal((5, 3, 2))
    path = processes.noisy_rnn(rng(), model, x)
    hidden, _, _ = unroll.forward(cells.rnn(), model.cell, x, model.initial_state)
    assert np.allclose(path.states, hidden, rtol=1e-13)
    assert np.allclose(path.observations, readout.forward(model.readout, hidden)[0], rtol=1e-13)


def test_the_noise_of_a_network_has_the_size_asked_for():
    model = init_model(rng(), 2, 4, 3)
    x = np.zeros((2, MANY, 2))
    path = processes.noisy_rnn(rng(), model, x, state_noise=0.5, output_noise=0.25)
    assert np.allclose(path.states[0].std(axis=0), 0.5, rtol=0.02)
    noise = path.observations - readout.forward(model.readout, path.states)[0]
    assert np.allclose(noise.std(axis=1), 0.25, rtol=0.02)
    moved = path.states[1] - np.tanh(path.states[0] @ model.cell.recurrent_weights.T)
    assert np.allclose(moved.std(axis=0), 0.5, rtol=0.02)  # the noise stays in the state and is carried on


def test_noise_is_drawn_afresh_at_every_step():
    """Its size at each step could be right, and the noise still one draw for all."""
    system = processes.lds(rng(), MEAN, COVARIANCE, A, C, Q, R, 3, MANY)
    model = init_model(rng(), 2, 4, 3)
    network = processes.noisy_rnn(rng(), model, np.zeros((3, MANY, 2)), state_noise=0.5, output_noise=0.25)
    noises = {
        "lds state": system.states[1:] - system.states[:-1] @ A.T,
        "lds output": (system.observations - system.states @ C.T)[1:],
        "rnn state": network.states[1:] - np.tanh(network.states[:-1] @ model.cell.recurrent_weights.T),
        "rnn output": (network.observations - readout.forward(model.readout, network.states)[0])[1:],
    }
    for name, noise in noises.items():
        for one, next_one in ((noise[0, :, 0], noise[1, :, 0]), (noise[0, :, 0], np.roll(noise[0, :, 0], 1))):
            assert abs(np.corrcoef(one, next_one)[0, 1]) < 0.03, name


HMM = [START, MOVE, SHOW]
LDS = [MEAN, COVARIANCE, A, C, Q, R]


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda: processes.markov_chain(rng(), [0.5, 0.6], MOVE, 2, 2), "start"),
        (lambda: processes.markov_chain(rng(), START, MOVE.T, 2, 2), "transition"),
        (lambda: processes.markov_chain(rng(), START, np.eye(3), 2, 2), "transition"),
        (lambda: processes.markov_chain(rng(), START, MOVE, 0, 2), "steps"),
        (lambda: processes.markov_chain(rng(), START, MOVE, 2, 0), "size"),
        (lambda: processes.hmm(rng(), START, MOVE, SHOW.T, 2, 2), "emission"),
        (lambda: processes.hmm_joint(*HMM, 0), "steps"),
        (lambda: processes.lds(rng(), MEAN, np.array([[1.0, 2.0], [2.0, 1.0]]), A, C, Q, R, 2, 2), "covariance"),
        (lambda: processes.lds(rng(), *LDS[:2], A[:1], C, Q, R, 2, 2), "A"),
        (lambda: processes.lds(rng(), *LDS[:3], C.T, Q, R, 2, 2), "C"),
        (lambda: processes.lds(rng(), *LDS[:4], Q + np.triu(Q), R, 2, 2), "Q"),
        (lambda: processes.lds(rng(), *LDS[:5], Q, 2, 2), "R"),
        (lambda: processes.lds(rng(), *LDS, 0, 2), "steps"),
        (lambda: processes.noisy_rnn(rng(), init_model(rng(), 2, 4, 3), np.ones((3, 1, 2)), -1), "state_noise"),
        (lambda: processes.noisy_rnn(rng(), init_model(rng(), 2, 4, 3), np.ones((3, 1, 3))), "inputs"),
    ],
)
def test_doors(call, name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        call()
