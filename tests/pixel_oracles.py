"""Oracles for images: a double loop over pixels, and a joint distribution given as a table.

Nothing here calls the library; only its NamedTuples carry numbers.
"""

import itertools
from types import SimpleNamespace

import numpy as np
import torch

from rnncourse.diagonal_params import DiagonalParams


def problem(gates=4, M=3, N=4, B=2, D=3, H=5, seed=0, scale=0.6):
    """A random diagonal cell, its inputs and weights for its outputs."""
    rng = np.random.default_rng(seed)
    W_x, W_l, W_a = (scale * rng.standard_normal((gates * H, k)) for k in (D, H, H))
    params = DiagonalParams(W_x, W_l, W_a, rng.standard_normal(gates * H))
    return SimpleNamespace(params=params, inputs=rng.standard_normal((M, N, B, D)), g=rng.standard_normal((M, N, B, H)))


def double_loop(kind, params, inputs):
    """The definitions, pixel by pixel and image by image, in torch."""
    W_x, W_l, W_a, b = params
    M, N, B, _ = inputs.shape
    H = W_l.shape[1]
    zero = inputs.new_zeros(H)
    h, c = {}, {}
    for i, j, k in itertools.product(range(M), range(N), range(B)):
        left, above = h.get((i, j - 1, k), zero), h.get((i - 1, j, k), zero)
        a = W_x @ inputs[i, j, k] + W_l @ left + W_a @ above + b
        if kind == "rnn":
            h[i, j, k] = torch.tanh(a)
            continue
        write, keep, what, show = a[:H], a[H : 2 * H], a[2 * H : 3 * H], a[3 * H :]
        memory = c.get((i, j - 1, k), zero)
        c[i, j, k] = memory / (1 + torch.exp(-keep)) + torch.tanh(what) / (1 + torch.exp(-write))
        h[i, j, k] = torch.tanh(c[i, j, k]) / (1 + torch.exp(-show))
    return torch.stack([h[key] for key in itertools.product(range(M), range(N), range(B))]).reshape(M, N, B, H)


class Table:
    """A joint distribution of small images, every probability written down; pixels in raster order."""

    def __init__(self, M=3, N=3, V=2, seed=0, sharp=1.5):
        rng = np.random.default_rng(seed)
        self.shape, self.V, self.K = (M, N), V, M * N
        p = np.exp(sharp * rng.standard_normal((V,) * self.K))
        self.p = p / p.sum()

    def marginal(self, keep):
        """The distribution of some pixels, axes in their order."""
        return self.p.sum(axis=tuple(k for k in range(self.K) if k not in keep))

    def conditionals(self, images):
        """What the table says of each pixel given those before it, by summing it out."""
        flat = np.asarray(images).reshape(len(images), -1)
        rows = [np.empty((len(flat), self.V)) for _ in range(self.K)]
        for k in range(self.K):
            upto = self.marginal(range(k + 1))
            block = upto[tuple(flat[:, m] for m in range(k))] if k else np.broadcast_to(upto, (len(flat), self.V))
            rows[k] = block / block.sum(axis=1, keepdims=True)
        return np.log(np.stack(rows, axis=1)).reshape(*np.shape(images), self.V)

    def given(self, image, unknown):
        """The distribution of the unknown pixels given the others: a slice of the table."""
        flat, hole = np.ravel(image), np.ravel(unknown)
        part = self.p[tuple(slice(None) if gone else int(v) for v, gone in zip(flat, hole, strict=True))]
        return (part / part.sum()).ravel()

    def information(self, k, hidden, known):
        """I(x_k; x_hidden | x_known) in nats, by entropies of marginals."""

        def entropy(places):
            p = self.marginal(places).ravel()
            return -(p * np.log(p)).sum()

        hidden, known = list(hidden), list(known)
        return entropy([k, *known]) + entropy(hidden + known) - entropy([k, *hidden, *known]) - entropy(known)
