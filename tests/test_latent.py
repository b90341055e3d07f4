"""Diagonal Gaussians as latents: against torch's own distributions, autograd, quadrature and many draws."""

import numpy as np
import pytest
import torch
from lds_battery import both_floors, on
from proof import agree, verifies

from rnncourse import gpu, reference
from rnncourse.latent_params import Diagonal

B, D = 4, 3
ours = reference.latent


def pair(seed=0, shape=(B, D)):
    rng = np.random.default_rng(seed)
    q, p = (Diagonal(rng.standard_normal(shape), rng.uniform(-2, 1.5, shape)) for _ in range(2))
    return q, p, rng


def normal(q):
    """The same distribution, made by torch."""
    mean, log_variance = map(torch.as_tensor, q)
    return torch.distributions.Normal(mean, torch.sqrt(torch.exp(log_variance)))


@both_floors
@verifies("eq-kl-diagonal", oracle="torch.distributions.kl_divergence")
def test_divergence(floor):
    q, p, _ = pair()
    oracle = torch.distributions.kl_divergence(normal(q), normal(p))
    agree(on(floor, "latent.kl_units")(q, p), oracle, 1e-13)
    agree(on(floor, "latent.kl")(q, p), oracle.sum(dim=-1), 1e-13)
    backwards = torch.distributions.kl_divergence(normal(p), normal(q)).sum(dim=-1)
    assert (abs(on(floor, "latent.kl")(q, p) - backwards.numpy()) > 0.1).all()  # the direction matters


@both_floors
@verifies("eq-kl-diagonal", oracle="Gauss-Hermite quadrature of the definition")
def test_divergence_by_quadrature(floor):
    """E_q[log q - log p] is the mean of a parabola, so a few nodes integrate it exactly."""
    q, p, _ = pair(1, (D,))
    nodes, weights = np.polynomial.hermite_e.hermegauss(5)
    where = torch.as_tensor(q.mean + np.exp(q.log_variance / 2) * nodes[:, None])
    integrand = (normal(q).log_prob(where) - normal(p).log_prob(where)).numpy()
    mean = weights @ integrand / weights.sum()
    agree(on(floor, "latent.kl")(q, p), mean.sum(), 1e-13)


@verifies("eq-kl-gradients", oracle="autograd through torch.distributions")
def test_divergence_gradients():
    q, p, rng = pair(2)
    grad = rng.standard_normal(B)
    leaves = [torch.tensor(array, requires_grad=True) for array in (*q, *p)]
    loss = torch.distributions.kl_divergence(normal(leaves[:2]), normal(leaves[2:])).sum(dim=-1) @ torch.tensor(grad)
    to_q, to_p = ours.kl_backward(q, p, grad)
    agree((*to_q, *to_p), torch.autograd.grad(loss, leaves), 1e-13)


@verifies("eq-reparameterised-gradient", oracle="autograd through torch.distributions.Normal.rsample")
@pytest.mark.parametrize("draws", [(), (5,), (2, 5)])
def test_gradient_through_a_draw(draws):
    """torch draws with a path of its own; the noise that it used is read back off its draw."""
    q, _, _ = pair(3)
    leaves = [torch.tensor(array, requires_grad=True) for array in q]
    z = normal(leaves).rsample(draws)
    noise = ((z - leaves[0]) / torch.exp(leaves[1] / 2)).detach().numpy()
    agree(ours.sample(q, noise), z.detach(), 1e-13)
    loss = (torch.sin(z) * (1 + z)).sum()
    grad = torch.cos(z) * (1 + z) + torch.sin(z)
    found = ours.sample_backward(q, noise, grad.detach().numpy())
    agree(tuple(found), torch.autograd.grad(loss, leaves), 1e-12)


@verifies("eq-reparameterised-gradient", oracle="the exact slope of E[z^2] = mu^2 + e^rho")
def test_many_draws_give_the_slope_of_the_mean():
    """Antithetic, normalised noise has mean 0 and mean square 1, so the average is exact for a parabola."""
    q, _, rng = pair(4, (D,))
    half = rng.standard_normal((500, D))
    noise = np.concatenate([half, -half]) / np.sqrt((half**2).mean(axis=0))
    z = ours.sample(q, noise)
    found = ours.sample_backward(q, noise, 2 * z / len(z))
    agree(tuple(found), (2 * q.mean, np.exp(q.log_variance)), 1e-12)


@both_floors
def test_density(floor):
    q, _, rng = pair(5)
    z = rng.standard_normal((6, B, D))
    agree(on(floor, "latent.log_density")(z, q), normal(q).log_prob(torch.tensor(z)).sum(dim=-1), 1e-13)
    agree(on(floor, "latent.log_density")(z[0], q), normal(q).log_prob(torch.tensor(z[0])).sum(dim=-1), 1e-13)


@both_floors
def test_draws_have_the_moments(floor):
    q, _, rng = pair(6)
    z = on(floor, "latent.sample")(q, rng.standard_normal((40_000, B, D)))
    deviation = np.exp(q.log_variance / 2)
    assert (abs(z.mean(axis=0) - q.mean) < 5 * deviation / 200).all()
    assert (abs(z.std(axis=0) / deviation - 1) < 0.03).all()


@both_floors
@pytest.mark.parametrize("shape", [(1,), (1, 1), (3, 2, 4)])
def test_no_distance_to_itself(floor, shape):
    q, _, _ = pair(7, shape)
    assert (on(floor, "latent.kl")(q, Diagonal(q.mean.copy(), q.log_variance.copy())) == 0).all()
    p = on(floor, "latent.standard")(q)
    assert p.mean.shape == shape and not p.mean.any() and not p.log_variance.any()
    assert (on(floor, "latent.kl")(q, p) > 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_both_floors_keep_the_precision(dtype):
    q, p, rng = pair(8)
    q, p = (Diagonal(*(array.astype(dtype) for array in one)) for one in (q, p))
    noise = rng.standard_normal((B, D)).astype(dtype)
    for floor in ("reference", "gpu"):
        for name, given in (("kl", (q, p)), ("sample", (q, noise)), ("log_density", (noise, q)), ("standard", (q,))):
            result = on(floor, f"latent.{name}")(*given)
            assert all(array.dtype == dtype for array in (result if isinstance(result, tuple) else (result,)))
    assert all(array.dtype == dtype for both in ours.kl_backward(q, p, noise[:, 0]) for array in both)
    assert all(array.dtype == dtype for array in ours.sample_backward(q, noise, noise))


def test_autograd_reaches_everything_on_the_torch_floor():
    q, p, rng = pair(9)
    noise, grad = rng.standard_normal((B, D)), rng.standard_normal(B)
    leaves = [torch.tensor(array, requires_grad=True) for array in (*q, *p)]
    there = Diagonal(*leaves[:2]), Diagonal(*leaves[2:])
    loss = gpu.latent.kl(*there) @ torch.tensor(grad) + gpu.latent.sample(there[0], torch.tensor(noise)).sum()
    to_q, to_p = ours.kl_backward(q, p, grad)
    path = ours.sample_backward(q, noise, np.ones_like(noise))
    whole = (to_q.mean + path.mean, to_q.log_variance + path.log_variance, *to_p)
    agree(whole, torch.autograd.grad(loss, leaves), 1e-13)


BAD = {
    "pair": lambda f, q, p: f.kl(q[0], p),
    "shape": lambda f, q, p: f.kl(Diagonal(q[0], q[1][:1]), p),
    "scalar": lambda f, q, p: f.kl(Diagonal(q[0][0, 0], q[1][0, 0]), p),
    "other": lambda f, q, p: f.kl(q, Diagonal(p[0][:2], p[1][:2])),
    "nan": lambda f, q, p: f.kl(Diagonal(q[0] * float("nan"), q[1]), p),
    "nan p": lambda f, q, p: f.kl(q, Diagonal(p[0] * float("nan"), p[1])),
    "inf": lambda f, q, p: f.log_density(q[0], Diagonal(q[0], q[1] + float("inf"))),
    "noise": lambda f, q, p: f.sample(q, q[0][:, :2]),
    "noise axes": lambda f, q, p: f.sample(q, q[0][0]),
    "where": lambda f, q, p: f.log_density(q[0][:2], q),
}


@pytest.mark.parametrize("name", BAD)
def test_both_refuse_in_the_same_words(name):
    q, p, _ = pair()
    said = []
    for floor, convert in ((ours, np.asarray), (gpu.latent, torch.as_tensor)):
        with pytest.raises(ValueError) as refusal:
            BAD[name](floor, Diagonal(*map(convert, q)), Diagonal(*map(convert, p)))
        said.append(str(refusal.value).replace("Tensor", "ndarray"))
    assert said[0] == said[1]


def test_the_way_back_refuses():
    q, p, _ = pair()
    with pytest.raises(ValueError, match=r"grad: expected shape \(4,\), got \(4, 3\)"):
        ours.kl_backward(q, p, q.mean)
    with pytest.raises(ValueError, match="grad: expected a shape that ends with"):
        ours.sample_backward(q, q.mean, q.mean[0])
