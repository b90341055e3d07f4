"""The exact posterior as a chain, against the dense posterior."""

import lds_oracles
import numpy as np
import pytest
import ssm_oracles as oracles
import torch
from lds_battery import both_floors, on
from proof import agree, verifies
from torch.distributions import MultivariateNormal

CASES = {
    "plain": {},
    "one step": {"T": 1, "B": 1, "H": 1, "O": 1, "seed": 1},
    "wide outputs": {"H": 2, "O": 4, "seed": 2},
    "unstable": {"radius": 1.2, "T": 8, "seed": 3},
    "long": {"T": 40, "B": 1, "seed": 4},
}
cases = pytest.mark.parametrize("case", CASES)


def draw(case):
    return lds_oracles.problem(**{"D": 0, **CASES[case]})


@both_floors
@cases
@verifies("eq-structured", oracle="conditioning the dense posterior")
@verifies("eq-backward-reader", oracle="conditioning the dense posterior")
def test_each_link_is_a_conditional_of_the_posterior(floor, case):
    p = draw(case)
    chain = on(floor, "structured_posterior.forward")(p.params, p.y)
    H = p.H
    for b in range(p.B):
        mean, S = (part.numpy() for part in oracles.exact(p.params, p.y[:, b]))
        for t in range(p.T):
            now, before = slice(t * H, (t + 1) * H), slice((t - 1) * H, t * H)
            if t == 0:
                agree(chain.offsets[0, b], mean[now], 1e-9)
                agree(chain.covariances[0], S[now, now], 1e-9)
                continue
            F = np.linalg.solve(S[before, before], S[before, now]).T
            agree(chain.matrices[t], F, 1e-8)
            agree(chain.offsets[t, b], mean[now] - F @ mean[before], 1e-8)
            agree(chain.covariances[t], S[now, now] - F @ S[before, now], 1e-8)


@both_floors
@cases
@verifies("eq-structured", oracle="the density of the dense posterior")
def test_the_density_of_the_chain_is_the_posteriors(floor, case):
    p = draw(case)
    chain = on(floor, "structured_posterior.forward")(p.params, p.y)
    noise = p.rng.standard_normal((p.T, p.B, p.H))
    z = on(floor, "structured_posterior.sample")(chain, noise)
    ours = on(floor, "structured_posterior.log_density")(chain, z)
    right = [
        MultivariateNormal(*oracles.exact(p.params, p.y[:, b])).log_prob(torch.tensor(z[:, b].ravel()))
        for b in range(p.B)
    ]
    agree(ours, np.array(right), 1e-9)
    # the draw as such: noise moved by a root of the covariance of the first state
    root = np.linalg.cholesky(chain.covariances[0])
    agree(z[0], chain.offsets[0] + noise[0] @ root.T, 1e-12)


@both_floors
@cases
@verifies("eq-structured", oracle="mean and covariance of the dense posterior")
def test_draws_have_the_posteriors_covariance(floor, case):
    """A draw is linear in its noise: its matrix times the transpose is the covariance; without noise, the mean."""
    p = draw(case)
    sample = on(floor, "structured_posterior.sample")
    chain = on(floor, "structured_posterior.forward")(p.params, p.y)
    still = np.asarray(sample(chain, np.zeros((p.T, p.B, p.H))))
    mean, S = oracles.exact(p.params, p.y[:, 0])
    agree(still[:, 0].ravel(), mean, 1e-9)
    kicks = np.eye(p.T * p.H).reshape(-1, p.T, 1, p.H).repeat(p.B, axis=2)
    J = np.stack([(np.asarray(sample(chain, kick)) - still)[:, 0].ravel() for kick in kicks], axis=1)
    agree(J @ J.T, S, 1e-9)


@both_floors
@cases
@verifies("eq-ssm-zero-gap", oracle="one dense Gaussian")
def test_one_draw_gives_the_likelihood(floor, case):
    """The gap is zero, and so is the spread: every draw says the same."""
    p = draw(case)
    chain = on(floor, "structured_posterior.forward")(p.params, p.y)
    right = np.array([oracles.log_likelihood(p.params, p.y[:, b]) for b in range(p.B)])
    for _ in range(3):
        z = on(floor, "structured_posterior.sample")(chain, 3 * p.rng.standard_normal((p.T, p.B, p.H)))
        joint = on(floor, "state_space.log_joint")(p.params, z, p.y)
        agree(joint - on(floor, "structured_posterior.log_density")(chain, z), right, 1e-9)


@both_floors
def test_doors(floor):
    p = draw("plain")
    forward, sample, density = (
        on(floor, f"structured_posterior.{name}") for name in ("forward", "sample", "log_density")
    )
    chain = forward(p.params, p.y)
    for call, name in [
        (lambda: forward(p.params, p.y[:, :, :1]), "outputs"),
        (lambda: forward(p.params, np.full_like(p.y, np.nan)), "outputs"),
        (lambda: forward(lds_oracles.system(), p.y), "input_weights"),
        (lambda: sample(chain, np.zeros((2, 3, 3))), "noise"),
        (lambda: density(chain, np.zeros((2, 3, 3))), "states"),
    ]:
        with pytest.raises(ValueError, match=f"^{name}: "):
            call()
