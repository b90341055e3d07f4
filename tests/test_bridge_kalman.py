"""Models of filterpy and ours give the same numbers; a stand-in with its attributes does where it is not installed."""

import lds_oracles as oracles
import numpy as np
import pytest

from rnncourse import bridge_kalman
from rnncourse.reference import kalman

try:
    from filterpy.kalman import KalmanFilter
except ImportError:
    KalmanFilter = None


class StandIn:
    """A filter in the textbook's words, with filterpy's attributes and calls."""

    def __init__(self, dim_x, dim_z):
        self.x, self.P, self.B = np.zeros((dim_x, 1)), np.eye(dim_x), None

    def predict(self, u=None):
        self.x = self.F @ self.x + (0 if self.B is None else self.B @ u)
        self.P = self.F @ self.P @ self.F.T + self.Q

    def update(self, z):
        K = self.P @ self.H.T @ np.linalg.inv(self.H @ self.P @ self.H.T + self.R)
        self.x = self.x + K @ (z - self.H @ self.x)
        self.P = self.P - K @ self.H @ self.P


KINDS = [StandIn, pytest.param(KalmanFilter, marks=pytest.mark.skipif(KalmanFilter is None, reason="no filterpy here"))]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("D", [0, 2])
def test_the_same_estimates(kind, D):
    p = oracles.problem(0, T=20, B=1, D=D)
    found, _ = kalman.forward(p.params, p.y, p.x)
    model = bridge_kalman.lds_to_filterpy(p.params, kind(dim_x=3, dim_z=2))
    for t in range(p.T):
        model.predict(p.x[t, 0][:, None] if D else None)
        model.update(p.y[t, 0][:, None])
        assert np.allclose(model.x[:, 0], found.means[t, 0], rtol=1e-10)
        assert np.allclose(model.P, found.covariances[t, 0], rtol=1e-10)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("D", [0, 2])
def test_there_and_back(kind, D):
    params = oracles.system(1, D=D)
    back = bridge_kalman.lds_from_filterpy(bridge_kalman.lds_to_filterpy(params, kind(dim_x=3, dim_z=2)))
    assert all(np.array_equal(one, other) for one, other in zip(params, back, strict=True))
    assert not any(np.shares_memory(one, other) for one, other in zip(params, back, strict=True) if one.size)


def test_a_flat_state_stays_flat():
    model = StandIn(3, 2)
    model.x = np.zeros(3)
    assert bridge_kalman.lds_to_filterpy(oracles.system(1), model).x.shape == (3,)


def test_doors():
    with pytest.raises(ValueError, match=r"^model: .* F, H, Q, R missing"):
        bridge_kalman.lds_from_filterpy(StandIn(3, 2))
    model = bridge_kalman.lds_to_filterpy(oracles.system(1), StandIn(3, 2))
    model.H = np.ones((2, 4))
    with pytest.raises(ValueError, match=r"^emission: "):
        bridge_kalman.lds_from_filterpy(model)
    params = oracles.system(1)
    with pytest.raises(ValueError, match=r"^transition: "):
        bridge_kalman.lds_to_filterpy(params._replace(transition=params.transition[None]), StandIn(3, 2))
    with pytest.raises(ValueError, match=r"^state_noise: "):
        bridge_kalman.lds_to_filterpy(params._replace(state_noise=np.triu(np.ones((3, 3)))), StandIn(3, 2))
