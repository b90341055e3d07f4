"""Oracles for hidden Markov models: every path of states, one after the other.

Nothing here calls the library; only its NamedTuples are used, to carry numbers.
"""

import itertools
import math
from types import SimpleNamespace

import numpy as np
import torch

from rnncourse.hmm_params import Categorical, Gaussian, HMMParams


def random_model(seed=0, K=3, V=4, kind="categorical", D=2):
    """A model without a zero, drawn at random."""
    rng = np.random.default_rng(seed)

    def table(*shape):
        e = np.exp(1.2 * rng.standard_normal(shape))
        return e / e.sum(axis=-1, keepdims=True)

    pi, P = table(K), table(K, K)
    if kind == "categorical":
        return HMMParams(pi, P, Categorical(table(K, V)))
    roots = rng.standard_normal((K, D, D)) + 2 * np.eye(D)
    return HMMParams(pi, P, Gaussian(2 * rng.standard_normal((K, D)), roots @ roots.transpose(0, 2, 1)))


def draw(model, T, B, seed=0):
    """Observations that have little to do with the model, so that nothing is easy."""
    rng = np.random.default_rng([seed, 1])
    if isinstance(model.emission, Categorical):
        return rng.integers(0, model.emission.probabilities.shape[1], (T, B))
    return 2 * rng.standard_normal((T, B, model.emission.means.shape[1]))


def likelihood(emission, k, x):
    """p(x | z = k), from the definition."""
    if isinstance(emission, Categorical):
        return emission.probabilities[k, x]
    apart, S = x - emission.means[k], emission.covariances[k]
    D = len(apart)
    return math.exp(-0.5 * apart @ np.linalg.inv(S) @ apart) / math.sqrt((2 * math.pi) ** D * np.linalg.det(S))


def paths(model, x):
    """Every path of one sequence, and its joint probability with what is seen."""
    pi, P, emission = model
    for z in itertools.product(range(len(pi)), repeat=len(x)):
        p = pi[z[0]] * likelihood(emission, z[0], x[0])
        for t in range(1, len(x)):
            p = p * P[z[t - 1], z[t]] * likelihood(emission, z[t], x[t])
        yield z, p


def enumerate_all(model, x):
    """What all paths of one sequence say together."""
    K, T = len(model.start), len(x)
    total, start, N, posterior = 0.0, np.zeros(K), np.zeros((K, K)), np.zeros((T, K))
    best = (-1.0, None)
    for z, p in paths(model, x):
        total += p
        start[z[0]] += p
        for t in range(T):
            posterior[t, z[t]] += p
            if t:
                N[z[t - 1], z[t]] += p
        best = max(best, (p, z))
    return SimpleNamespace(
        p=total, start=start / total, transition=N / total, posterior=posterior / total,
        path=best[1], best=best[0],
    )  # fmt: skip


def filtered(model, x):
    """p(z_t | x_1..x_t) for every t, each by a sum over all paths up to it."""
    return np.array([enumerate_all(model, x[: t + 1]).posterior[t] for t in range(len(x))])


def torch_log_likelihood(pi, P, C, x):
    """log p of one sequence of symbols, by sums of logarithms in torch; rows need not sum to 1."""
    a = pi.log() + C[:, x[0]].log()
    for symbol in x[1:]:
        a = torch.logsumexp(a[:, None] + P.log(), dim=0) + C[:, symbol].log()
    return torch.logsumexp(a, dim=0)
