"""Entropy, divergence, bits and perplexity, against torch's distributions and plain products."""

import math

import numpy as np
import pytest
import torch
from proof import agree, verifies

from rnncourse import information
from rnncourse.reference import losses

rng = np.random.default_rng(0)
P, Q = rng.dirichlet(np.ones(5), (2, 4, 3))


def categorical(p):
    return torch.distributions.Categorical(torch.tensor(p))


def test_entropy_is_torchs():
    agree(information.entropy(P), categorical(P).entropy(), 1e-14)


@verifies("eq-entropy-floor", oracle="torch.distributions")
def test_cross_entropy_is_the_entropy_and_the_divergence():
    ours = information.cross_entropy(P, Q)
    theirs = torch.nn.functional.cross_entropy(
        torch.tensor(Q).log().reshape(-1, 5), torch.tensor(P).reshape(-1, 5), reduction="none"
    )
    agree(ours, theirs.reshape(4, 3), 1e-14)
    agree(information.divergence(P, Q), torch.distributions.kl_divergence(categorical(P), categorical(Q)), 1e-13)
    agree(ours, categorical(P).entropy() + torch.distributions.kl_divergence(categorical(P), categorical(Q)), 1e-14)
    assert information.divergence(P, Q).min() > 0 and np.array_equal(information.divergence(P, P), np.zeros((4, 3)))


@verifies("eq-bits-and-perplexity", oracle="product of the probabilities")
def test_perplexity_is_the_geometric_mean_of_one_over_p():
    logits, targets = rng.standard_normal((9, 2, 5)), rng.integers(0, 5, (9, 2))
    nats = losses.cross_entropy(logits, targets, reduction="mean")[0]
    p = torch.softmax(torch.tensor(logits), -1).gather(2, torch.tensor(targets)[..., None]).ravel().tolist()
    geometric = math.prod(p) ** (-1 / 18)
    agree(information.perplexity(nats), geometric, 1e-13)
    agree(2 ** information.bits(nats), geometric, 1e-13)
    agree(information.bits(nats), -sum(map(math.log2, p)) / 18, 1e-13)


def test_what_never_happens_costs_nothing_and_what_was_held_impossible_costs_all():
    p, q = np.array([0.5, 0.5, 0.0]), np.array([0.5, 0.0, 0.5])
    assert information.entropy(p) == pytest.approx(math.log(2), rel=1e-15)
    assert information.cross_entropy(p, q) == information.divergence(p, q) == math.inf


@pytest.mark.parametrize("bad", [[0.5, 0.4], [1.5, -0.5], [np.nan, 1.0], [], 1.0])
def test_what_is_no_distribution_is_refused(bad):
    with pytest.raises(ValueError, match="truth: expected rows that are not negative and sum to 1, got shape"):
        information.divergence(bad, bad)


def test_shapes_must_agree():
    with pytest.raises(ValueError, match=r"model: expected shape \(5,\), got \(4, 3, 5\)"):
        information.cross_entropy(P[0, 0], Q)
