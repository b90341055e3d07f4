"""Data with a planted cause, words of many languages, and the plain readers that ask a code what it knows."""

import itertools

import numpy as np
import pytest
from proof import agree

from rnncourse import probes
from rnncourse.data import chains, name_words, pairs


def test_chains_are_chains():
    P = chains.turning(4, 0.7)
    agree(P.sum(axis=2), np.ones((4, 4)), 1e-15)
    agree(P.sum(axis=1), np.ones((4, 4)), 1e-15)  # so every symbol is as frequent as any other
    assert P[1, 0, 1] == P[2, 3, 1] == P[0, 2, 2] == 0.7


def test_probabilities_of_all_sequences_sum_to_one():
    P = chains.turning(3, 0.6)
    words = pairs.pad(list(itertools.product((1, 2, 3), repeat=4)))
    joint = chains.log_joint(P, words)
    agree(np.exp(joint).sum(axis=1), np.full(3, 1 / 3), 1e-13)
    k, b = 2, 17
    by_hand = np.log(1 / 9) + sum(np.log(P[k, i - 1, j - 1]) for i, j in itertools.pairwise(words[:4, b]))
    agree(joint[k, b], by_hand, 1e-14)


def test_favourites():
    P = chains.favouring(4, 0.6, 0.3)
    agree(P.sum(axis=2), np.ones((4, 4)), 1e-15)
    assert P[1, 1, 1] == pytest.approx(0.3 + 0.7 * 0.6) and P[1, 0, 1] == pytest.approx(0.7 * 0.6)
    assert P[1, 0, 0] == pytest.approx(0.3 + 0.7 * 0.4 / 3) and P[1, 0, 2] == pytest.approx(0.7 * 0.4 / 3)


def test_what_was_drawn_has_the_frequencies():
    P = chains.turning(4, 0.7)
    some = chains.draw(np.random.default_rng(0), P, 4000, 12)
    assert some.words.shape == (13, 4000) and not some.words[-1].any() and some.words[:-1].min() == 1
    for k in range(4):
        words = some.words[:-1, some.causes == k] - 1
        found = ((words[1:] - words[:-1]) % 4 == k).mean()
        assert abs(found - 0.7) < 0.02
    right = (chains.bayes(P, some.words) == some.causes).mean()
    promised = np.exp(chains.log_joint(P, some.words))
    assert abs(right - (promised.max(axis=0) / promised.sum(axis=0)).mean()) < 0.02  # calibrated, as it must be


def test_words_and_parts():
    data = name_words.load()
    parts = [name_words.decode(part.tokens, data.alphabet) for part in (data.train, data.valid, data.test)]
    assert len(set().union(*parts)) == sum(map(len, parts))
    assert all(3 <= len(word) <= 12 for word in parts[0])
    assert "?" not in "".join(parts[0]) and len(data.languages) == 20
    assert all(len(part.labels) == part.tokens.shape[1] for part in (data.train, data.valid, data.test))
    some = name_words.encode(parts[2][:5], data.alphabet)
    assert (some == data.test.tokens[: len(some), :5]).all()


@pytest.mark.parametrize(
    "one, other, distance", [("", "abc", 3), ("kitten", "sitting", 3), ("abc", "abc", 0), ("ab", "ba", 2)]
)
def test_edits(one, other, distance):
    assert name_words.edits(one, other) == name_words.edits(other, one) == distance


def test_probes_find_what_is_there():
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=600)
    codes = 4 * rng.standard_normal((3, 5))[labels] + rng.standard_normal((600, 5))
    for probe in (probes.nearest_mean, probes.linear):
        assert (probe(codes[:400], labels[:400], codes[400:]) == labels[400:]).mean() > 0.95
        none = probe(rng.standard_normal((400, 5)), labels[:400], codes[400:])
        assert (none == labels[400:]).mean() < 0.6
    two = labels % 2
    line = (10 + 4 * two + 0.3 * rng.standard_normal(600))[:, None]  # both classes on one side of the origin
    assert (probes.linear(line[:400], two[:400], line[400:]) == two[400:]).all()


def test_refusals():
    for wrong in (lambda: chains.turning(1), lambda: chains.turning(3, 1.0), lambda: chains.favouring(3, 0.5, 1.0)):
        with pytest.raises(ValueError):
            wrong()
    with pytest.raises(ValueError, match="chains"):
        chains.draw(np.random.default_rng(0), np.ones((2, 3, 2)), 1, 1)
    x, y = np.zeros((4, 2)), np.array([0, 0, 2, 2])
    with pytest.raises(ValueError, match="every class"):
        probes.nearest_mean(x, y, x)
    with pytest.raises(ValueError, match="asked"):
        probes.nearest_mean(x, y, x[:, :1])
    with pytest.raises(ValueError, match="ridge"):
        probes.linear(x, y, x, 0.0)
