"""Oracles for models with a latent variable at every step: loops over one sequence, and sums over a grid.

They use a model's matrices, read by name, and torch's own distributions; none of the library's functions.
"""

import numpy as np
import torch
from torch.distributions import Bernoulli, Normal


def weights(model):
    return {name: array.detach() for name, array in model.named_parameters()}


def layer(w, name, x):
    return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]


def gru_step(w, x, h, own="weight_ih", back="weight_hh", bi="bias_ih", bh="bias_hh"):
    """One step of torch's GRU: gates in the order reset, update, new."""
    a, b = x @ w[own].T + w[bi], h @ w[back].T + w[bh]
    (ar, au, an), (br, bu, bn) = a.chunk(3, -1), b.chunk(3, -1)
    r, u = torch.sigmoid(ar + br), torch.sigmoid(au + bu)
    return u * h + (1 - u) * torch.tanh(an + r * bn)


def normal(mean, log_variance):
    return Normal(mean, torch.exp(log_variance / 2))


class DeepMarkovByHand:
    """One sequence at a time, in the order of the equations."""

    def __init__(self, model):
        self.w, self.model = weights(model), model

    def transition(self, z):
        w = self.w
        gate = torch.sigmoid(layer(w, "transition.gate.2", torch.relu(layer(w, "transition.gate.0", z))))
        curve = layer(w, "transition.curve.2", torch.relu(layer(w, "transition.curve.0", z)))
        mean = (1 - gate) * layer(w, "transition.line", z) + gate * curve
        return normal(mean, layer(w, "transition.log_variance", torch.relu(curve)))

    def emission(self, z):
        inner = torch.relu(layer(self.w, "emission.3", torch.relu(layer(self.w, "emission.0", z))))
        return Bernoulli(logits=layer(self.w, "emission.5", inner))

    def start(self):
        return self.w["start"]

    def futures(self, x):
        """h_T, ..., h_1 and back into their order."""
        names = {"own": "weight_ih_l0", "back": "weight_hh_l0", "bi": "bias_ih_l0", "bh": "bias_hh_l0"}
        w = {name: self.w[f"reader.{name}"] for name in names.values()}
        h, found = torch.zeros(w["weight_hh_l0"].shape[1], dtype=x.dtype), {}
        for t in reversed(range(len(x))):
            h = gru_step(w, x[t], h, **names)
            found[t] = h
        return found

    def walk(self, x, noise):
        """For each step: the prior, the posterior, the draw, the emission."""
        h, z = self.futures(x), self.start()
        for t in range(len(x)):
            prior = self.transition(z)
            both = (torch.tanh(layer(self.w, "combine", z)) + h[t]) / 2
            q = normal(*layer(self.w, "posterior", both).chunk(2, -1))
            z = q.mean + q.stddev * noise[t]
            yield prior, q, z, self.emission(z)


class VariationalByHand:
    """One sequence at a time, in the order of the equations."""

    def __init__(self, model):
        self.w = weights(model)

    def two(self, name, x):
        return layer(self.w, f"{name}.2", torch.relu(layer(self.w, f"{name}.0", x)))

    def emission(self, z, h):
        inner = torch.relu(layer(self.w, "emission.0", torch.cat([self.unfold(z), h], -1)))
        return Bernoulli(logits=layer(self.w, "emission.3", inner))

    def unfold(self, z):
        return torch.relu(layer(self.w, "unfold.0", z))

    def prior(self, h):
        return normal(*self.two("prior", h).chunk(2, -1))

    def step(self, x, z, h):
        seen = torch.relu(layer(self.w, "see.0", x))
        own = {name.removeprefix("recurrence."): array for name, array in self.w.items() if "recurrence" in name}
        return gru_step(own, torch.cat([seen, self.unfold(z)], -1), h)

    def silence(self, like):
        return torch.zeros(self.w["recurrence.weight_hh"].shape[1], dtype=like.dtype)

    def walk(self, x, noise):
        """For each step: the prior, the posterior, the draw, the emission."""
        h = self.silence(x)
        for t in range(len(x)):
            prior = self.prior(h)
            seen = torch.relu(layer(self.w, "see.0", x[t]))
            q = normal(*self.two("posterior", torch.cat([seen, h], -1)).chunk(2, -1))
            z = q.mean + q.stddev * noise[t]
            yield prior, q, z, self.emission(z, h)
            h = self.step(x[t], z, h)


def elbo(by_hand, x, noise):
    """The two terms of the ELBO of one sequence: the fit, and the divergences by torch."""
    fit, kl = 0, 0
    for t, (prior, q, _, seen) in enumerate(by_hand.walk(x, noise)):
        fit = fit + seen.log_prob(x[t]).sum()
        kl = kl + torch.distributions.kl_divergence(q, prior).sum()
    return fit, kl


def log_weight(by_hand, x, noise):
    """log p(x, z) - log q(z | x) of one draw."""
    total = 0
    for t, (prior, q, z, seen) in enumerate(by_hand.walk(x, noise)):
        total = total + seen.log_prob(x[t]).sum() + (prior.log_prob(z) - q.log_prob(z)).sum()
    return total


GRID = torch.linspace(-12, 12, 1201, dtype=torch.float64)[:, None]
STEP = float(GRID[1] - GRID[0])


def markov_evidence(by_hand, x):
    """log p(x) of a deep Markov model with one latent number: the forward recursion on a grid."""
    alpha = by_hand.transition(by_hand.start()).log_prob(GRID).sum(-1).exp()
    moves = by_hand.transition(GRID)  # from each point of the grid
    to = Normal(moves.mean, moves.stddev).log_prob(GRID[:, 0]).exp()  # [from, to]
    for t in range(len(x)):
        if t:
            alpha = alpha @ to * STEP
        alpha = alpha * by_hand.emission(GRID).log_prob(x[t]).sum(-1).exp()
    return float(torch.log(alpha.sum() * STEP))


def variational_evidence(by_hand, x):
    """log p(x) of a variational RNN with one latent number and two steps: a sum over a square grid."""
    assert len(x) == 2
    h = by_hand.silence(x)
    still = h.expand(len(GRID), -1)
    first = by_hand.prior(h).log_prob(GRID).sum(-1) + by_hand.emission(GRID, still).log_prob(x[0]).sum(-1)
    states, total = by_hand.step(x[0].expand(len(GRID), -1), GRID, still), []
    for k in range(0, len(GRID), 3):  # every third point of the first number is fine enough
        state = states[k].expand(len(GRID), -1)
        second = by_hand.prior(states[k]).log_prob(GRID).sum(-1) + by_hand.emission(GRID, state).log_prob(x[1]).sum(-1)
        total.append(float(first[k] + torch.logsumexp(second, 0)))
    return float(np.logaddexp.reduce(total) + np.log(3 * STEP * STEP))
