"""Draws from linear systems have the moments that the closed form says, whatever the shape of the noise."""

import lds_oracles as oracles
import numpy as np
import pytest

from rnncourse import lds_params
from rnncourse.data import linear_systems, nile, processes
from rnncourse.reference import lds_joint

MANY, T = 20_000, 4


@pytest.mark.parametrize("noise", [None, linear_systems.laplace])
def test_moments_within_four_standard_errors(noise):
    params = oracles.system(0, offset=3.0)
    rng = np.random.default_rng(0)
    x = rng.standard_normal((T, 2))
    path = linear_systems.sample(rng, params, T, MANY, np.repeat(x[:, None], MANY, axis=1), noise)
    moments = lds_joint.moments(params, T, x)
    pairs = [(path.states, moments.means[1:], moments.covariances[1:]), (path.observations, *moments[2:])]
    for drawn, means, covariances in pairs:
        for one, mean, covariance in zip(drawn, means, covariances, strict=True):
            scale = np.sqrt(np.diag(covariance))
            assert (np.abs(one.mean(axis=0) - mean) < 4 * scale / np.sqrt(MANY)).all()
            error = np.outer(scale, scale) * np.sqrt(6 / MANY)  # of a product; a Laplace kurtosis is 6
            assert (np.abs(np.cov(one.T) - covariance) < 4 * error).all()


def test_noise_is_drawn_afresh():
    params = oracles.system(1)
    path = linear_systems.sample(np.random.default_rng(0), params, 3, MANY, np.zeros((3, MANY, 2)))
    w = path.states[1:] - path.states[:-1] @ params.transition.T
    v = path.observations - path.states @ params.emission.T
    for one, other in ((w[0], w[1]), (v[0], v[1]), (w[0], np.roll(w[0], 1, axis=0)), (w[0][:, :2], v[1])):
        assert np.abs(np.corrcoef(one[:, :2].T, other[:, :2].T)[:2, 2:]).max() < 0.03


def test_the_same_law_as_in_chapter_01():
    """There z_1 is drawn first, here z_0, one step before."""
    A, _, C, Q, R, m, P = params = oracles.system(2, D=0)
    one = linear_systems.sample(np.random.default_rng(0), params, 2, MANY)
    other = processes.lds(np.random.default_rng(1), A @ m, A @ P @ A.T + Q, A, C, Q, R, 2, MANY)
    for a, b in zip(one, other, strict=True):
        spread = a.std(axis=1) / np.sqrt(MANY)
        assert (np.abs(a.mean(axis=1) - b.mean(axis=1)) < 6 * spread).all()


def test_known_systems():
    for params, sizes in ((linear_systems.tracking(0.5), (4, 0, 2)), (linear_systems.ill_conditioned(), (3, 0, 1))):
        assert lds_params.check(params, 1, 1) == sizes
    system = linear_systems.tracking(interval=0.5, acceleration=3.0, blur=4.0)
    start, push = np.array([1.0, -2.0, 4.0, 6.0]), np.array([0.2, -0.3])
    after = np.concatenate([start[:2] + 0.5 * start[2:] + 0.125 * push, start[2:] + 0.5 * push])
    unit = np.array([[0.125, 0.0], [0.0, 0.125], [0.5, 0.0], [0.0, 0.5]])  # from rest, half a second of unit push
    assert np.allclose(system.transition @ start + unit @ push, after, rtol=1e-14)
    assert np.allclose(system.state_noise, 9 * unit @ unit.T, rtol=1e-14)
    assert np.array_equal(system.output_noise, 16 * np.eye(2))
    path = linear_systems.sample(np.random.default_rng(0), linear_systems.tracking(blur=0.0), 5, 2)
    assert np.array_equal(path.observations, path.states[:, :, :2])


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"steps": 0}, "steps"),
        ({"size": 0}, "size"),
        ({"inputs": np.zeros((3, 1, 2))}, "inputs"),
        ({"transition": np.ones((1, 3, 3))}, "transition"),
        ({"emission": np.full((2, 3), np.nan)}, "emission"),
        ({"state_noise": -np.eye(3)}, "state_noise"),
        ({"state_noise": -1e-10 * np.eye(3)}, "state_noise"),
        ({"output_noise": 1e-10 * np.triu(np.ones((2, 2)))}, "output_noise"),
        ({"output_noise": np.triu(np.ones((2, 2)))}, "output_noise"),
    ],
)
def test_doors(change, name):
    params = oracles.system(0)
    fields = {key: value for key, value in change.items() if key in params._fields}
    options = {"steps": 3, "size": 2} | {key: value for key, value in change.items() if key not in fields}
    with pytest.raises(ValueError, match=f"^{name}: "):
        linear_systems.sample(np.random.default_rng(0), params._replace(**fields), **options)


def test_the_nile(monkeypatch):
    years, flow = nile.flow()
    assert (years[0], years[-1], len(flow)) == (1871, 1970, 100)
    assert flow.mean() == 919.35 and (flow.min(), flow.max()) == (456, 1370)
    monkeypatch.setattr(nile, "_FLOW", nile._FLOW.replace("1120", "1121", 1))
    with pytest.raises(ValueError, match=r"^flow: "):
        nile.flow()
