"""What chapter 09 says beyond the library: the filter as a network, the best linear estimate, the Nile."""

import lds_oracles as oracles
import numpy as np
import torch
from proof import agree, verifies

from rnncourse.data import linear_systems, nile
from rnncourse.lds_params import LDSParams
from rnncourse.params import RNNParams
from rnncourse.reference import cells, kalman, lds_em, lds_joint, smoother, steady, unroll


@verifies("eq-kalman-rnn", oracle="conditioning of the dense joint")
def test_the_settled_filter_is_a_linear_network():
    p = oracles.problem(0, T=12)
    fixed = steady.settle(p.params, 2000, tolerance=0.0)
    params = p.params._replace(initial_covariance=fixed.filtered[-1])  # at rest from the first step on
    A, W, C, *_, m, _ = params
    K = fixed.gains[-1]
    keep = np.eye(3) - K @ C
    network = RNNParams(np.hstack([keep @ W, K]), keep @ A, np.zeros(3))
    h, _, _ = unroll.forward(cells.rnn("identity"), network, np.concatenate([p.x, p.y], axis=2), m)
    seen = np.ones((p.T, p.O), bool)
    for t in range(1, p.T + 1):
        agree(h[t - 1, 0], oracles.filtered(params, p.x[:, 0], p.y[:, 0], seen, t)[0], 1e-10)


@verifies("eq-kalman-joseph", oracle="second moments of state and output")
def test_josephs_form_holds_for_every_gain():
    p = oracles.problem(0, T=1, B=1)
    _, _, S_zz, S_yz, S_yy = (part.numpy() for part in oracles.joint(p.params, p.x[:, 0]))
    P, S_yz, C, R = S_zz[3:, 3:], S_yz[:, 3:], p.params.emission, p.params.output_noise
    K = p.rng.standard_normal((3, 2))
    error = P - K @ S_yz - (K @ S_yz).T + K @ S_yy @ K.T
    keep = np.eye(3) - K @ C
    agree(keep @ P @ keep.T + K @ R @ K.T, error, 1e-12)
    assert np.abs(P - K @ C @ P - error).max() > 0.1 * np.abs(error).max()  # that is for the best gain


@verifies("eq-posterior-gradient", oracle="quadrature")
def test_an_estimate_moves_along_its_gradient_whatever_the_data():
    """One Gaussian number and a likelihood that is none: how probable a yes was."""
    P = 0.7
    points, weights = (torch.tensor(part) for part in np.polynomial.hermite_e.hermegauss(100))

    def seen(m):
        return torch.sigmoid(2 * (m + P**0.5 * points) - 1) * weights

    m = torch.tensor(0.3, dtype=torch.float64)
    log = lambda m: torch.log(seen(m).sum())  # noqa: E731
    slope = torch.autograd.functional.jacobian(log, m)
    bend = torch.autograd.functional.hessian(log, m)
    z, share = m + P**0.5 * points, seen(m) / seen(m).sum()
    mean = (share * z).sum()
    agree((m + P * slope).numpy(), mean.numpy(), 1e-10)
    agree((P + P * bend * P).numpy(), (share * (z - mean) ** 2).sum().numpy(), 1e-10)


@verifies("eq-best-linear", oracle="second moments of the noises alone")
def test_the_covariance_is_that_of_the_errors_for_any_noise():
    """The estimate is a matrix times the outputs, found one output at a time; the rest is second moments."""
    p = oracles.problem(1, T=5, B=1)
    centred = p.params._replace(initial_mean=np.zeros(3))
    N = p.T * p.O
    units = np.eye(N).reshape(N, p.T, p.O).transpose(1, 0, 2)
    found, _ = kalman.forward(centred, units, np.zeros((p.T, N, p.D)))
    _, _, S_zz, S_yz, S_yy = (part.numpy() for part in oracles.joint(centred, np.zeros((p.T, p.D))))
    for t in range(1, p.T + 1):
        L, own = found.means[t - 1].T, slice(t * 3, t * 3 + 3)  # m_t = L y
        error = S_zz[own, own] - L @ S_yz[:, own] - (L @ S_yz[:, own]).T + L @ S_yy @ L.T
        agree(found.covariances[t - 1, 0], error, 1e-10)
        seen = slice(0, t * p.O)
        best = np.linalg.lstsq(S_yy[seen, seen], S_yz[seen, own], rcond=None)[0].T
        agree(L[:, seen], best, 1e-10)
        assert not L[:, t * p.O :].any()


def test_the_nile_has_the_variances_that_others_find():
    """A peer (statsmodels 0.15, UnobservedComponents) says 1479 and 15078; with its exact start, 1485 and 15068."""
    one = np.ones((1, 1))
    start = LDSParams(one, np.zeros((1, 0)), one, 1e4 * one, 1e4 * one, np.zeros(1), 1e7 * one)
    keep = ("transition", "emission", "initial_mean", "initial_covariance")
    found = lds_em.fit(start, nile.flow()[1][:, None, None], iterations=300, keep=keep)
    assert (np.diff(found.log_likelihood) > -1e-9).all()
    assert abs(found.params.state_noise[0, 0] / 1479 - 1) < 0.02
    assert abs(found.params.output_noise[0, 0] / 15078 - 1) < 0.02


def test_part_of_the_noise_that_no_output_tells():
    """Quick question: what is added to the settled covariance where C does not look changes no output."""
    A, C = np.array([[0.8, 0.3], [-0.2, 0.6]]), np.array([[1.0, 0.0]])
    one = LDSParams(A, np.zeros((2, 0)), C, np.eye(2), 0.5 * np.eye(1), np.zeros(2), np.eye(2))
    settled = lds_joint.stationary(one)
    P = settled + 0.5 * np.diag([0.0, 1.0])
    Q = P - A @ P @ A.T
    assert np.linalg.eigvalsh(Q).min() > 0.5 and np.abs(Q - np.eye(2)).max() > 0.3
    other = one._replace(state_noise=Q, initial_covariance=P)
    y = np.random.default_rng(0).standard_normal((200, 3, 1))
    found = [kalman.forward(s, y)[0].log_likelihood for s in (one._replace(initial_covariance=settled), other)]
    agree(*found, 1e-12)


def test_where_a_covariance_does_not_settle_or_not_at_one_place():
    def last(C, Q, V):
        one = np.ones((1, 1))
        system = LDSParams(1.5 * one, np.zeros((1, 0)), C * one, Q * one, one, np.zeros(1), V * one)
        return kalman.forward(system, np.zeros((100, 1, 1)))[1].predicted_covariances[-1, 0, 0]

    assert last(0, 1, 1) > 1e30
    assert last(1, 0, 0) == 0
    for V in (1e-3, 1, 50):
        assert abs(last(1, 0, V) - 1.25) < 1e-10


def test_after_a_vague_start_the_form_by_gradients_loses_digits():
    vague = linear_systems.tracking()
    vague = vague._replace(initial_covariance=1e8 * vague.initial_covariance)
    tape = kalman.forward(vague, np.zeros((20, 1, 2)))[1]
    found = [np.linalg.eigvalsh(form(tape).covariances).min() for form in (smoother.adjoint, smoother.rts)]
    assert found[0] < 0 < found[1]
