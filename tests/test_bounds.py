"""Bounds on a log-likelihood: against enumeration, quadrature, autograd, and torch's own densities."""

import itertools

import numpy as np
import pytest
import torch
from lds_battery import both_floors, on
from proof import agree, verifies

from rnncourse import gpu, reference
from rnncourse.latent_params import Diagonal

ours = reference.bounds
N, D = 4, 2


def case(seed=0, latent=D):
    """A linear decoder, one thing seen, and a q that is not the posterior."""
    rng = np.random.default_rng(seed)
    root = rng.standard_normal((N, N))
    F, b, C = rng.standard_normal((N, latent)), rng.standard_normal(N), root @ root.T + 0.3 * np.eye(N)
    q = Diagonal(rng.standard_normal(latent), rng.uniform(-2, 0, latent))
    return q, rng.standard_normal(N), F, b, C, rng


def marginal(x, F, b, C):
    """log p(x) by torch: everything is Gaussian."""
    S = torch.tensor(F @ F.T + C)
    return torch.distributions.MultivariateNormal(torch.tensor(b), S).log_prob(torch.tensor(x))


def joint(z, x, F, b, C):
    """log p(x, z) by torch, at many z of shape (K, D)."""
    z = torch.as_tensor(z)
    seen = torch.distributions.MultivariateNormal(z @ torch.tensor(F).T + torch.tensor(b), torch.tensor(C))
    return seen.log_prob(torch.tensor(x)) + torch.distributions.Normal(0.0, 1.0).log_prob(z).sum(dim=-1)


def grid(q, nodes=9):
    """Nodes and weights with which means over a two-dimensional q of polynomials are exact."""
    at, weight = np.polynomial.hermite_e.hermegauss(nodes)
    pairs = np.array(list(itertools.product(at, repeat=2)))
    weights = np.array([a * b for a, b in itertools.product(weight, repeat=2)])
    return q.mean + np.sqrt(np.exp(q.log_variance)) * pairs, weights / weights.sum()


def density(q, z):
    scale = torch.tensor(np.sqrt(np.exp(q.log_variance)))
    return torch.distributions.Normal(torch.tensor(q.mean), scale).log_prob(torch.as_tensor(z)).sum(dim=-1)


@both_floors
@verifies("eq-elbo-linear", oracle="Gauss-Hermite quadrature of the definition")
def test_the_linear_elbo(floor):
    q, x, F, b, C, _ = case()
    z, weights = grid(q)
    oracle = weights @ (joint(z, x, F, b, C) - density(q, z)).numpy()
    agree(on(floor, "bounds.linear")(q, x, F, b, C), oracle, 1e-12)


@both_floors
@verifies("eq-elbo-gap", oracle="marginal density and completed posterior by torch")
def test_the_gap_is_a_divergence(floor):
    """log p(x) = ELBO + KL(q || posterior), the posterior read off the curvature of log p(x, z)."""
    q, x, F, b, C, _ = case(1)
    zero = torch.zeros(D, dtype=torch.float64)
    at = lambda z: joint(z, x, F, b, C)  # noqa: E731
    precision = -torch.autograd.functional.hessian(at, zero)
    mean = torch.linalg.solve(precision, torch.autograd.functional.jacobian(at, zero))
    posterior = torch.distributions.MultivariateNormal(mean, precision_matrix=precision)
    covariance = torch.diag(torch.exp(torch.tensor(q.log_variance)))
    here = torch.distributions.MultivariateNormal(torch.tensor(q.mean), covariance)
    gap = torch.distributions.kl_divergence(here, posterior)
    assert gap > 0.1
    agree(on(floor, "bounds.linear")(q, x, F, b, C) + gap.numpy(), marginal(x, F, b, C), 1e-12)


@verifies("eq-elbo-linear-gradient", oracle="autograd through torch's densities")
def test_gradient_of_the_linear_elbo():
    q, x, F, b, C, _ = case(2)
    leaves = [torch.tensor(array, requires_grad=True) for array in q]
    nodes, weights = grid(Diagonal(np.zeros(D), np.zeros(D)))
    z = leaves[0] + torch.exp(leaves[1] / 2) * torch.tensor(nodes)
    own = torch.distributions.Normal(leaves[0], torch.exp(leaves[1] / 2)).log_prob(z).sum(dim=-1)
    value = torch.tensor(weights) @ (joint(z, x, F, b, C) - own)
    agree(tuple(ours.linear_backward(q, x, F, b, C)), torch.autograd.grad(value, leaves), 1e-12)


def test_batches_of_the_linear_elbo():
    _, _, F, b, C, rng = case(3)
    many = Diagonal(*(rng.standard_normal((3, 2, D)) for _ in range(2)))
    seen = rng.standard_normal((3, 2, N))
    whole, back = ours.linear(many, seen, F, b, C), ours.linear_backward(many, seen, F, b, C)
    one = Diagonal(many.mean[1, 0], many.log_variance[1, 0])
    agree(whole[1, 0], ours.linear(one, seen[1, 0], F, b, C), 1e-13)
    agree(back.log_variance[1, 0], ours.linear_backward(one, seen[1, 0], F, b, C).log_variance, 1e-13)
    agree(on("gpu", "bounds.linear")(many, seen, F, b, C), whole, 1e-12)


@both_floors
@verifies("eq-level-valley", oracle="torch's density of the readings, which does not know the share")
@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_every_share_of_the_level_reaches_log_p(floor, share):
    """z carries a share of the level; the decoder works out the rest from what came before. The ELBO is the same."""
    rng, T, s = np.random.default_rng(4), 5, 0.7
    x = rng.standard_normal(T) + 1
    F = np.full((T, 1), np.sqrt(share))
    C = (1 - share) * np.ones((T, T)) + s**2 * np.eye(T)
    precision = 1 + (F.T @ np.linalg.solve(C, F))[0, 0]
    agree(precision, (s**2 + T) / (s**2 + (1 - share) * T), 1e-13)  # of which half the logarithm is what z tells
    q = Diagonal(F.T @ np.linalg.solve(C, x) / precision, -np.log(precision) * np.ones(1))
    exact = torch.distributions.MultivariateNormal(
        torch.zeros(T, dtype=torch.float64), torch.tensor(np.ones((T, T)) + s**2 * np.eye(T))
    ).log_prob(torch.tensor(x))
    agree(on(floor, "bounds.linear")(q, x, F, np.zeros(T), C), exact, 1e-12)
    cost = on(floor, "latent.kl")(q, Diagonal(np.zeros(1), np.zeros(1)))
    assert (cost == 0) == (share == 0)


@both_floors
def test_weights_of_draws(floor):
    q, x, F, b, C, rng = case(5)
    z = reference.latent.sample(q, rng.standard_normal((6, D)))
    p = Diagonal(np.zeros(D), np.zeros(D))
    seen = torch.distributions.MultivariateNormal(torch.tensor(z @ F.T + b), torch.tensor(C)).log_prob(torch.tensor(x))
    found = on(floor, "bounds.log_weights")(seen.numpy(), z, q, p)
    agree(found, joint(z, x, F, b, C) - density(q, z), 1e-12)


@both_floors
def test_the_right_posterior_needs_one_draw(floor):
    """If q is the posterior, every weight is p(x), whatever was drawn."""
    _, x, F, b, C, rng = case(6, latent=1)
    precision = 1 + (F.T @ np.linalg.solve(C, F))[0, 0]
    q = Diagonal(F.T @ np.linalg.solve(C, x - b) / precision, np.array([-np.log(precision)]))
    z = reference.latent.sample(q, rng.standard_normal((5, 1)))
    seen = torch.distributions.MultivariateNormal(torch.tensor(z @ F.T + b), torch.tensor(C)).log_prob(torch.tensor(x))
    logs = on(floor, "bounds.log_weights")(seen.numpy(), z, q, Diagonal(np.zeros(1), np.zeros(1)))
    agree(logs, np.full(5, marginal(x, F, b, C)), 1e-11)


@both_floors
def test_the_bound_climbs_with_the_draws(floor):
    """A latent of three values, every tuple of draws counted: the mean bound rises with K and stays below."""
    prior, like, q = np.array([0.5, 0.3, 0.2]), np.array([0.02, 0.4, 0.9]), np.array([0.6, 0.3, 0.1])
    exact = np.log(prior @ like)
    logs = np.log(prior) + np.log(like) - np.log(q)
    means = []
    for K in (1, 2, 3, 4, 5):
        draws = np.array(list(itertools.product(range(3), repeat=K)))
        means.append(q[draws].prod(axis=1) @ on(floor, "bounds.importance")(logs[draws].T))
    agree(means[0], q @ logs, 1e-13)
    assert (np.diff([*means, exact]) > 1e-3).all()


@both_floors
@verifies("eq-importance-gradient", oracle="autograd through torch.logsumexp")
def test_gradient_is_shared_out_by_weight(floor):
    rng = np.random.default_rng(7)
    logs, grad = 3 * rng.standard_normal((5, 2, 3)), rng.standard_normal((2, 3))
    leaf = torch.tensor(logs, requires_grad=True)
    value = torch.logsumexp(leaf, dim=0) - np.log(5)
    (found,) = torch.autograd.grad(value, leaf, torch.tensor(grad))
    agree(on(floor, "bounds.importance")(logs), value, 1e-13)
    agree(ours.importance_backward(logs, grad), found, 1e-13)
    agree(on(floor, "bounds.importance")(logs - 2000), value - 2000, 1e-13)  # nothing underflows
    agree(ours.importance_backward(logs - 2000, grad), found, 1e-10)
    apart = np.array([0.0, 2000.0, 900.0])  # each sequence has a scale of its own
    agree(on(floor, "bounds.importance")(logs - apart) + apart, value, 1e-11)
    agree(ours.importance_backward(logs - apart, grad), found, 1e-10)


@both_floors
@verifies("eq-score-gradient", oracle="the exact slope of E[z^2 + z] by mu and log variance")
def test_score_function(floor):
    """Quadrature over q of the estimate is the gradient of the mean."""
    q = Diagonal(np.array([0.4, -1.0]), np.array([-0.5, 0.7]))
    z, weights = grid(q)
    value = (z * z + z).sum(axis=1)
    found = on(floor, "bounds.score")(q, z, value)
    mean = Diagonal(*(weights @ part for part in found))
    agree(tuple(mean), (2 * q.mean + 1, np.exp(q.log_variance)), 1e-12)


@both_floors
def test_free_bits(floor):
    units = np.array([[0.1, 0.9, 0.0], [0.2, 0.3, 0.0]])
    assert on(floor, "bounds.free_bits")(units, 0.25) == pytest.approx(0.25 + 0.6 + 0.25)
    assert on(floor, "bounds.free_bits")(units, 0.0) == pytest.approx(0.75)


def test_free_bits_backward():
    rng = np.random.default_rng(8)
    units = rng.random((6, 4)) * [0.1, 0.5, 1.0, 2.0]
    leaf = torch.tensor(units, requires_grad=True)
    (found,) = torch.autograd.grad(gpu.bounds.free_bits(leaf, 0.2), leaf)
    agree(ours.free_bits_backward(units, 0.2, 1.0), found, 1e-13)
    assert not found[:, 0].any() and found[:, 3].all()


@both_floors
def test_active_units(floor):
    means = np.array([[0.0, 1.0, 0.05], [0.0, -1.0, -0.05], [0.0, 0.0, 0.0]])
    assert on(floor, "bounds.active_units")(means).tolist() == [False, True, False]
    assert on(floor, "bounds.active_units")(means + 100.0, 1e-4).tolist() == [False, True, True]


BAD = {
    "no draw": lambda f, x: f.importance(x[:0]),
    "scalar": lambda f, x: f.importance(x[0, 0]),
    "floor": lambda f, x: f.free_bits(x, -1.0),
    "units": lambda f, x: f.free_bits(x[0], 0.1),
    "no unit": lambda f, x: f.free_bits(x[:0], 0.1),
    "means": lambda f, x: f.active_units(x[0]),
    "one mean": lambda f, x: f.active_units(x[:1]),
    "log likelihood": lambda f, x: f.log_weights(x, x, Diagonal(x[0], x[0]), Diagonal(x[0], x[0])),
    "value": lambda f, x: f.score(Diagonal(x[0], x[0]), x, x),
    "weights": lambda f, x: f.linear(Diagonal(x[0], x[0]), x[0], x, x[0], x @ x.T),
    "covariance": lambda f, x: f.linear(Diagonal(x[0], x[0]), x[0], x.T @ x, x[0], -(x.T @ x)),
}


NAMED = {
    "z": lambda f, x: f.score(Diagonal(x[0], x[0]), x[:, :1], x[:, 0]),
    "weights": lambda f, x: f.linear(Diagonal(x[0], x[0]), x[:3, 0], x[:3, :1], x[:3, 0], x[:3] @ x[:3].T),
}


@both_floors
@pytest.mark.parametrize("name", NAMED)
def test_a_refusal_names_the_argument(floor, name):
    module, convert = (ours, np.asarray) if floor == "reference" else (gpu.bounds, torch.as_tensor)
    with pytest.raises(ValueError, match=f"^{name}: "):
        NAMED[name](module, convert(np.eye(4)[:, :2] + 1))


@pytest.mark.parametrize("name", BAD)
def test_both_refuse_in_the_same_words(name):
    x = np.arange(8.0).reshape(4, 2) + np.array([[0, 1], [0, 0], [1, 0], [0, 0]])
    said = []
    for floor, convert in ((ours, np.asarray), (gpu.bounds, torch.as_tensor)):
        with pytest.raises(ValueError) as refusal:
            BAD[name](floor, convert(x))
        said.append(str(refusal.value))
    assert said[0] == said[1]


def test_the_way_back_refuses():
    with pytest.raises(ValueError, match="grad"):
        ours.importance_backward(np.zeros((3, 2)), np.zeros(3))
