"""Gaussians against sampling-free judges: a quadratic form completed by hand, torch's own density, ranks."""

import numpy as np
import pytest
import torch
from lds_battery import both_floors, on
from proof import agree, verifies

from rnncourse.reference import gaussians
from rnncourse.reference.gaussians import Gaussian

N, K = 5, 3


def joint(seed=0):
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((N, N))
    return Gaussian(rng.standard_normal(N), root @ root.T + 0.1 * np.eye(N)), rng


@both_floors
@verifies("eq-gaussian-conditioning", oracle="ratio of two densities, completed to a square")
def test_conditioning(floor):
    """log p(u | v) as a function of u is a parabola; its slope and curvature say mean and covariance."""
    p, rng = joint()
    known = np.array([False, True, False, True, False])
    values = rng.standard_normal(2)
    found = on(floor, "gaussians.condition")(p, known, values)
    density = torch.distributions.MultivariateNormal(*map(torch.tensor, p))

    def log(u):
        whole = torch.zeros(N, dtype=torch.float64)
        whole[torch.tensor(~known)], whole[torch.tensor(known)] = u, torch.tensor(values)
        return density.log_prob(whole)

    zero = torch.zeros(3, dtype=torch.float64)
    curvature = torch.autograd.functional.hessian(log, zero).numpy()
    slope = torch.autograd.functional.jacobian(log, zero).numpy()
    agree(found.covariance, -np.linalg.inv(curvature), 1e-10)
    agree(found.mean, -np.linalg.solve(curvature, slope), 1e-10)


@both_floors
@verifies("eq-gaussian-affine", oracle="characteristic function by torch's density of more variables")
def test_a_linear_map(floor):
    """(u, M u + b + noise) has the density p(u) p(noise); its second moments are found from the joint precision."""
    p, rng = joint(1)
    M, b, root = rng.standard_normal((K, N)), rng.standard_normal(K), rng.standard_normal((K, K))
    noise = root @ root.T
    found = on(floor, "gaussians.affine")(p, M, b, noise)
    first = torch.distributions.MultivariateNormal(*map(torch.tensor, p))
    second = torch.distributions.MultivariateNormal(torch.zeros(K, dtype=torch.float64), torch.tensor(noise))

    def log(w):
        u, v = w[:N], w[N:]
        return first.log_prob(u) + second.log_prob(v - torch.tensor(M) @ u - torch.tensor(b))

    zero = torch.zeros(N + K, dtype=torch.float64)
    curvature = torch.autograd.functional.hessian(log, zero).numpy()
    covariance = -np.linalg.inv(curvature)
    mean = covariance @ torch.autograd.functional.jacobian(log, zero).numpy()
    agree(found.covariance, covariance[N:, N:], 1e-10)
    agree(found.mean, mean[N:], 1e-10)


@both_floors
def test_density(floor):
    p, rng = joint(2)
    x = rng.standard_normal((4, N))
    oracle = torch.distributions.MultivariateNormal(*map(torch.tensor, p)).log_prob(torch.tensor(x))
    found = on(floor, "gaussians.log_density")(x, np.tile(p.mean, (4, 1)), np.tile(p.covariance, (4, 1, 1)))
    agree(found, oracle, 1e-12)
    with pytest.raises(ValueError, match=r"^covariance: "):
        on(floor, "gaussians.log_density")(x, np.tile(p.mean, (4, 1)), np.zeros((4, N, N)))


def test_log_determinant_is_analytic():
    p, rng = joint(3)
    direction = rng.standard_normal((N, N))
    slope = gaussians.log_determinant(p.covariance + 1e-30j * direction).imag / 1e-30
    agree(slope, np.trace(np.linalg.solve(p.covariance, direction)), 1e-12)


@both_floors
@pytest.mark.parametrize("units", [1.0, 1e-9])
def test_dividing_by_a_singular_covariance(floor, units):
    rng = np.random.default_rng(4)
    root = rng.standard_normal((N, 2)) * np.array([1.0, 1e-3])  # a small direction is not one that is missing
    scale = np.array([1, 1, units, 1, 1])
    P = scale[:, None] * (root @ root.T) * scale
    B = rng.standard_normal((K, N)) @ P
    X = on(floor, "gaussians.divide")(B, P)
    assert (np.abs(X @ P - B) < 1e-8 * np.abs(B).max(axis=0)).all()
    well = P + np.diag(scale**2)
    agree(on(floor, "gaussians.divide")(B, well), np.linalg.solve(well, B.T).T, 1e-12)
    assert not on(floor, "gaussians.divide")(np.zeros((K, N)), np.zeros((N, N))).any()


@both_floors
def test_doors(floor):
    p, _rng = joint()
    known = np.array([False, True, False, True, False])
    condition, affine = on(floor, "gaussians.condition"), on(floor, "gaussians.affine")
    for call, name in [
        (lambda: condition(p, known[:4], np.zeros(2)), "known"),
        (lambda: condition(p, known, np.zeros(3)), "values"),
        (lambda: condition(Gaussian(p.mean, np.zeros((N, N))), known, np.zeros(2)), "joint"),
        (lambda: affine(p, np.zeros((K, N - 1)), 0, np.eye(K)), "weights"),
        (lambda: affine(p, np.zeros((K, N)), 0, np.eye(N)), "noise"),
        (lambda: on(floor, "gaussians.check_covariance")("S", np.diag([1.0, -1.0])), "S"),
        (lambda: on(floor, "gaussians.check_covariance")("S", np.array([[1.0, np.nan], [0, 1]])), "S"),
        (lambda: on(floor, "gaussians.check_definite")("S", np.zeros((2, 2))), "S"),
    ]:
        with pytest.raises(ValueError, match=f"^{name}: "):
            call()
    on(floor, "gaussians.check_covariance")("S", np.zeros((2, 2)))
