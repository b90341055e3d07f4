"""Kneser-Ney against a slow one written from the formula with dictionaries, and on real text."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from proof import agree, verifies

from rnncourse.data import text
from rnncourse.ngrams import KneserNey

V = 5
TINY = np.random.default_rng(0).integers(0, V - 1, 60)  # the last class never occurs


class BruteForce:
    """Interpolated Kneser-Ney, one probability at a time, straight from the definition."""

    def __init__(self, tokens, order):
        words = tuple(int(token) for token in tokens)
        grams = {k: Counter(words[i : i + k] for i in range(len(words) - k + 1)) for k in range(1, order + 1)}
        self.order, self.counts = order, {order: grams[order]}
        for k in range(1, order):
            self.counts[k] = Counter(gram[1:] for gram in grams[k + 1])

    def discount(self, k):
        ones, twos = (sum(c == n for c in self.counts[k].values()) for n in (1, 2))
        return ones / (ones + 2 * twos) if ones else 0.5

    def probability(self, word, context, k):
        if k == 0:
            return 1 / V
        u = tuple(context[len(context) - k + 1 :])
        shorter = self.probability(word, context, k - 1)
        followers = [c for gram, c in self.counts[k].items() if gram[:-1] == u]
        if not followers:
            return shorter
        D = self.discount(k)
        mine = max(self.counts[k][(*u, word)] - D, 0)
        return (mine + D * len(followers) * shorter) / sum(followers)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
def test_agrees_with_brute_force(order):
    ours, slow = KneserNey.fit(TINY, order, V), BruteForce(TINY, order)
    fresh = np.random.default_rng(1).integers(0, V, 40).tolist()
    expected = [slow.probability(w, fresh[:i], min(order, i + 1)) for i, w in enumerate(fresh)]
    assert np.allclose(ours.probabilities(fresh), expected, rtol=1e-12, atol=0)


@verifies("eq-kneser-ney-mass", oracle="enumeration")
@pytest.mark.parametrize("order", [2, 4])
def test_the_mass_taken_is_the_mass_given(order):
    """For each context seen: what the discounts took off, and that all words together have one."""
    model = KneserNey.fit(TINY, order, V)
    slow = BruteForce(TINY, order)
    contexts = sorted({gram[:-1] for gram in slow.counts[order]})
    taken = []
    for u in contexts:
        counts = [c for gram, c in slow.counts[order].items() if gram[:-1] == u]
        taken.append(sum(c - max(c - slow.discount(order), 0) for c in counts) / sum(counts))
    top = model.levels[-1]
    seen = top.totals > 0
    agree(top.discount * top.kinds[seen] / top.totals[seen], np.array(taken), 1e-13)
    agree(np.array([model.next_probabilities(u).sum() for u in contexts]), np.ones(len(contexts)), 1e-13)


@verifies("eq-lm-continuation", oracle="linear system of the marginals")
def test_continuation_counts_keep_the_marginals():
    """Solve for the shorter distribution with which the bigram model reproduces how often each word came."""
    model = KneserNey.fit(TINY, 2, V)
    counts = np.zeros((V, V))
    for u, w in pairwise(TINY.tolist()):
        counts[u, w] += 1
    D = BruteForce(TINY, 2).discount(2)
    kept = np.maximum(counts - D, 0).sum(axis=0)
    freed = D * (counts > 0).sum()
    shorter = np.linalg.solve(freed * np.eye(V), counts.sum(axis=0) - kept)
    level = model.levels[0]
    ours = np.zeros(V)
    ours[level.grams] = level.counts / level.totals[0]
    agree(ours, shorter, 1e-12)
    occurrences = np.bincount(TINY, minlength=V) / len(TINY)
    assert np.abs(ours - occurrences).max() > 0.01


@verifies("eq-lm-discount", oracle="search over a grid")
@pytest.mark.parametrize("order", [3, 4])
def test_the_discount_is_the_likeliest_one_when_each_gram_is_left_out(order):
    counts = list(BruteForce(TINY, order).counts[order].values())
    ones, twos = counts.count(1), counts.count(2)
    assert ones and twos
    grid = np.linspace(1e-6, 1 - 1e-6, 1_000_001)
    best = grid[np.argmax(ones * np.log(grid) + 2 * twos * np.log1p(-grid))]
    agree(KneserNey.fit(TINY, order, V).levels[-1].discount, best, 1e-5)


@pytest.mark.parametrize("context", [[], [0], [3, 1, 2], [4], [0, 4], [4, 4, 4, 4]])
@pytest.mark.parametrize("order", [1, 2, 4])
def test_probabilities_sum_to_one(order, context):
    p = KneserNey.fit(TINY, order, V).next_probabilities(context)
    assert p.sum() == pytest.approx(1, abs=1e-12) and p.min() > 0


def test_short_contexts_count_neighbours_not_occurrences():
    """The example of the papers: 3 follows only 2, however often; 1 follows several."""
    tokens = np.array([0, 1, 2, 3, 2, 3, 2, 3, 2, 3, 0, 2, 1, 0, 1, 1])
    p = KneserNey.fit(tokens, 2, V).next_probabilities([4])
    assert p[1] > p[3], "a token seen after many others is the better guess after an unknown one"


def test_more_context_helps_on_real_text():
    corpus = text.language_reference()
    bits = [KneserNey.fit(corpus.train, n, len(corpus.alphabet)).bits(corpus.test) for n in (1, 2, 3, 5)]
    assert all(later < earlier for earlier, later in pairwise(bits))
    assert 2.3 < bits[2] < 2.9 and 1.7 < bits[3] < 2.2


def test_bits_are_the_mean_surprise():
    model = KneserNey.fit(TINY, 3, V)
    assert model.bits(TINY) == pytest.approx(-np.mean([np.log2(p) for p in model.probabilities(TINY)]))


@pytest.mark.parametrize("tokens, order", [([0, V], 1), ([-1], 1), ([0.5], 1), ([[0, 1]], 1), ([0, 1], 3), ([0, 1], 0)])
def test_bad_input_is_refused(tokens, order):
    with pytest.raises(ValueError, match=r"tokens|order"):
        KneserNey.fit(tokens, order, V)
