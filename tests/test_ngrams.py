"""Kneser-Ney against a slow one written from the formula with dictionaries, and on real text."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest

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
