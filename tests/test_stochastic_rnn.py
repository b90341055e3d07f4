"""Draws from noisy networks: without noise a network, with noise the noises that were asked for."""

import numpy as np
import pytest
from proof import agree

from rnncourse.data import stochastic_rnn
from rnncourse.lds_params import init_lds
from rnncourse.params import RNNParams
from rnncourse.reference import activations, cells, unroll

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


def test_the_first_state_has_its_own_mean_and_covariance():
    """Without noise and with the identity, z_1 is z_0."""
    rng = np.random.default_rng(3)
    m, P = np.array([2.0, -1.0]), np.array([[2.0, 0.9], [0.9, 0.5]])
    params = init_lds(rng, 2, 2)._replace(
        transition=np.eye(2), state_noise=np.zeros((2, 2)), initial_mean=m, initial_covariance=P
    )
    z = stochastic_rnn.sample(rng, params, 1, MANY, functions=("identity", "identity")).states[0]
    assert (np.abs(z.mean(axis=0) - m) < 5 * np.sqrt(np.diag(P) / MANY)).all()
    bound = 5 * np.sqrt((np.outer(np.diag(P), np.diag(P)) + P**2) / MANY)
    assert (np.abs(np.cov(z.T) - P) < bound).all()


def test_a_step_of_tanh_leaves_no_gaussian():
    """z_1 = tanh(2 z_0) of a normal z_0: its kurtosis, by quadrature and drawn, is far below a Gaussian's three."""
    z, weights = np.polynomial.hermite_e.hermegauss(200)
    square, fourth = (weights @ np.tanh(2 * z) ** n / weights.sum() for n in (2, 4))
    assert round(fourth / square**2, 2) == 1.30
    one = np.ones((1, 1))
    system = stochastic_rnn.two_wells()._replace(transition=2 * one, state_noise=0 * one)
    system = system._replace(initial_mean=np.zeros(1), initial_covariance=one)
    drawn = stochastic_rnn.sample(np.random.default_rng(0), system, 1, MANY).states[0]
    assert abs((drawn**4).mean() / (drawn**2).mean() ** 2 - fourth / square**2) < 0.02
    linear = stochastic_rnn.sample(np.random.default_rng(0), system, 1, MANY, functions=("identity", "identity"))
    assert abs((linear.states[0] ** 4).mean() / (linear.states[0] ** 2).mean() ** 2 - 3) < 0.15


def test_every_function_is_the_filters():
    """What the filters know by name is drawn by the same name."""
    assert set(stochastic_rnn.FUNCTIONS) == set(activations.ACTIVATIONS)
    a = np.linspace(-3, 3, 13)
    for name, function in stochastic_rnn.FUNCTIONS.items():
        agree(function(a), activations.get(name).function(a.copy()), 1e-15)


def test_what_the_two_systems_are_told():
    many = [stochastic_rnn.turning(np.random.default_rng(seed), outputs=3, noise=0.2) for seed in range(300)]
    C = np.stack([one.emission for one in many])
    assert abs(C.mean()) < 5 * 1.2 / np.sqrt(C.size) and abs(C.std() - 1.2) < 5 * 1.2 / np.sqrt(2 * C.size)
    for one in many[:2]:
        agree(one[3:5], (0.2 * np.eye(4), 0.2 * np.eye(3)), 1e-15)
        agree(one.initial_covariance, np.eye(4) / 4, 1e-15)
        assert not one.initial_mean.any() and one.input_weights.shape == (4, 0)
    wells = stochastic_rnn.two_wells(gain=3.0, push=0.2, blur=0.7)
    agree(np.concatenate([part.ravel() for part in wells]), np.array([3.0, 1.0, 0.2, 0.7, 0.0, 1.0]), 1e-15)


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
        ({"functions": ("tanh",)}, "functions"),
        ({"functions": ("tanh", "tanh", "tanh")}, "functions"),
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


@pytest.mark.parametrize(
    ("call", "name"),
    [
        (lambda rng: stochastic_rnn.turning(rng, outputs=0), "outputs"),
        (lambda rng: stochastic_rnn.turning(rng, noise=-1.0), "noise"),
        (lambda rng: stochastic_rnn.two_wells(push=-1.0), "push"),
        (lambda rng: stochastic_rnn.two_wells(blur=np.nan), "blur"),
    ],
)
def test_doors_of_the_two_systems(call, name):
    with pytest.raises(ValueError, match=f"^{name}: "):
        call(np.random.default_rng(0))
