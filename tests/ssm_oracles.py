"""Oracles for state-space models: dense Gaussians by torch.distributions, and bounds by autograd and by sampling.

Nothing here calls the library.
"""

import lds_oracles
import torch
from torch.distributions import MultivariateNormal


def prior(params, T):
    """Mean and covariance of (z_1..z_T) and of (x_1..x_T) with them: one huge Gaussian."""
    H = len(params.initial_mean)
    mean, out, S, S_xz, S_xx = lds_oracles.joint(params, torch.zeros(T, 0, dtype=torch.float64))
    return mean[H:], out, S[H:, H:], S_xz[:, H:], S_xx


def log_likelihood(params, x):
    """log p(x) of one sequence, shape (T, O)."""
    _, mean, _, _, S = prior(params, len(x))
    return MultivariateNormal(mean, S).log_prob(torch.as_tensor(x).ravel())


def exact(params, x):
    """Mean and covariance of all states given one sequence, by regression on its outputs."""
    mean, out, S, S_xz, S_xx = prior(params, len(x))
    gain = torch.linalg.solve(S_xx, S_xz).T
    return mean + gain @ (torch.as_tensor(x).ravel() - out), S - gain @ S_xz


def log_joint(params, z, x):
    """log p(z, x) of one sequence, as one Gaussian of all states and outputs."""
    mean, out, S, S_xz, S_xx = prior(params, len(x))
    whole = torch.cat([torch.cat([S, S_xz.T], 1), torch.cat([S_xz, S_xx], 1)])
    both = torch.cat([torch.as_tensor(part).ravel() for part in (z, x)])
    return MultivariateNormal(torch.cat([mean, out]), whole).log_prob(both)


def divergence(mean, variances, params, x):
    """KL of the exact posterior from a factorised Gaussian, for one sequence."""
    centre, S = exact(params, x)
    return kl(mean.ravel(), torch.diag(variances.ravel()), centre, S)


def kl(mean, S, centre, P):
    """KL of N(centre, P) from N(mean, S), by torch's own."""
    ours = MultivariateNormal(mean, S)
    return torch.distributions.kl_divergence(ours, MultivariateNormal(centre, P))


def mean_gap(weights, log_variances, params, T, S=None):
    """The mean of log p(x) less the bound over x of covariance S about the model's mean; differentiable."""
    mean, _, prior_S, S_xz, S_xx = prior(params, T)
    gain = torch.linalg.solve(S_xx, S_xz).T
    after = prior_S - gain @ S_xz
    S = S_xx if S is None else S
    off = weights - gain
    spread = kl(0 * mean, torch.diag(log_variances.exp()), 0 * mean, after)
    return spread + 0.5 * torch.trace(torch.linalg.solve(after, off @ S @ off.T))


def descend(params, T, mask, S=None):
    """The best weights and variances by L-BFGS on :func:`mean_gap`; mask of shape (T H, T O)."""
    H, O = len(params.initial_mean), params.emission.shape[0]
    W = torch.zeros(T * H, T * O, dtype=torch.float64, requires_grad=True)
    rho = torch.zeros(T * H, dtype=torch.float64, requires_grad=True)
    options = {"max_iter": 4000, "tolerance_grad": 1e-11, "tolerance_change": 1e-16, "history_size": 50}
    search = torch.optim.LBFGS([W, rho], line_search_fn="strong_wolfe", **options)

    def again():
        search.zero_grad()
        value = mean_gap(W * mask, rho, params, T, S)
        value.backward()
        return value

    search.step(again)
    return (W * mask).detach(), rho.exp().detach(), mean_gap(W * mask, rho, params, T, S).item()
