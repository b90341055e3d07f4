"""Draws from noisy networks: without noise a network, with noise the noises that were asked for."""

import numpy as np
import pytest
from proof import agree

from rnncourse.data import stochastic_rnn
from rnncourse.lds_params import init_lds
from rnncourse.params import RNNParams
from rnncourse.reference import cells, unroll

MANY = 20_000


def test_without_noise_it_is_a_network():
    rng = np.random.default_rng(0)
    params, x = init_lds(rng, 3, 2, 1), rng.standard_normal((9, 4, 1))
    silent = params._replace(
        state_noise=np.zeros((3, 3)), output_noise=np.zeros((2, 2)), initial_covariance=np.zeros((3, 3))
    )
    path = stochastic_rnn.sample(rng, silent, 9, 4, x, ("tanh", "sigmoid"))
    A, W, C, *_, m, _ = params
    h, _, _ = unroll.forward(cells.rnn("tanh"), RNNParams(W, A, np.zeros(3)), x, m)
    agree(path.states, h, 1e-14)
    agree(path.observations, 1 / (1 + np.exp(-h @ C.T)), 1e-14)


def test_the_noises_have_their_covariances():
    rng = np.random.default_rng(1)
    params = init_lds(rng, 2, 2)
    root = rng.standard_normal((2, 2))
    params = params._replace(state_noise=root @ root.T, output_noise=np.array([[2.0, 1.0], [1.0, 3.0]]))
    path = stochastic_rnn.sample(rng, params, 2, MANY)
    w = path.states[1] - np.tanh(path.states[0] @ params.transition.T)
    v = path.observations - path.states @ params.emission.T
    for noise, S in ((w, params.state_noise), (v[1], params.output_noise)):
        bound = 5 * np.sqrt((np.outer(np.diag(S), np.diag(S)) + S**2) / MANY)
        assert (np.abs(noise.T @ noise / MANY - S) < bound).all()


def test_where_it_starts():
    """z_0 has mean m_0 and covariance P_0; its image is seen when nothing else moves."""
    params = init_lds(np.random.default_rng(0), 2, 2)._replace(
        transition=np.eye(2), state_noise=np.zeros((2, 2)), initial_mean=np.array([3.0, -1.0])
    )
    params = params._replace(initial_covariance=np.array([[2.0, 1.0], [1.0, 3.0]]))
    z = stochastic_rnn.sample(np.random.default_rng(3), params, 1, MANY, functions=("identity", "identity")).states[0]
    assert np.abs(z.mean(axis=0) - [3, -1]).max() < 5 * np.sqrt(3 / MANY)
    assert np.abs(np.cov(z.T) - [[2, 1], [1, 3]]).max() < 5 * np.sqrt(2 * 9 / MANY)


def test_the_rectifier():
    params = init_lds(np.random.default_rng(0), 2, 2)._replace(state_noise=np.zeros((2, 2)))
    z = stochastic_rnn.sample(np.random.default_rng(1), params, 1, 50, functions=("relu", "identity")).states
    assert (z >= 0).all() and (z == 0).any() and (z > 0).any()


def test_what_the_two_systems_are_told():
    rng = np.random.default_rng(0)
    system = stochastic_rnn.turning(rng, noise=0.3, outputs=400)
    agree(system.state_noise, 0.3 * np.eye(4), 1e-14)
    agree(system.output_noise, 0.3 * np.eye(400), 1e-14)
    agree(system.initial_covariance, np.eye(4) / 4, 1e-14)
    assert abs(system.emission.std() - 1.2) < 0.1
    wells = stochastic_rnn.two_wells(gain=3.0, push=0.2, blur=2.0)
    found = [wells.transition, wells.state_noise, wells.output_noise, wells.emission]
    agree(np.ravel(found), np.array([3, 0.2, 2, 1]), 1e-14)
    for name, call in (
        ("outputs", lambda: stochastic_rnn.turning(rng, outputs=0)),
        ("noise", lambda: stochastic_rnn.turning(rng, noise=-1.0)),
        ("push", lambda: stochastic_rnn.two_wells(push=-1.0)),
        ("blur", lambda: stochastic_rnn.two_wells(blur=np.nan)),
    ):
        with pytest.raises(ValueError, match=f"^{name}: "):
            call()


def test_the_two_systems():
    rng = np.random.default_rng(2)
    system = stochastic_rnn.turning(rng, gain=1.5, outputs=3)
    agree(system.transition @ system.transition.T, 2.25 * np.eye(4), 1e-14)
    assert system.emission.shape == (3, 4)
    z = stochastic_rnn.sample(rng, stochastic_rnn.two_wells(push=0.01), 30, 2000).states[-1]
    assert (np.abs(np.abs(z) - 0.957) < 0.5).mean() > 0.99 and abs((z > 0).mean() - 0.5) < 0.06


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"steps": 0}, "steps"),
        ({"functions": ("tanh", "cube")}, "functions"),
        ({"inputs": np.zeros((2, 3, 1))}, "inputs"),
        ({"params": {"state_noise": -np.eye(4)}}, "state_noise"),
        ({"params": {"transition": np.full((4, 4), np.nan)}}, "transition"),
    ],
)
def test_doors(change, name):
    change = dict(change)
    params = stochastic_rnn.turning(np.random.default_rng(0))._replace(**change.pop("params", {}))
    given = {"steps": 2, "size": 3} | change
    with pytest.raises(ValueError, match=f"^{name}: "):
        stochastic_rnn.sample(np.random.default_rng(0), params, **given)
