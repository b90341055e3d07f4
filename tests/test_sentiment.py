"""Sentences and their mirrors: the same words, the same pairs, the opposite verdict."""

from collections import Counter
from itertools import pairwise

import numpy as np
import pytest
from proof import agree, verifies

from rnncourse.data import sentiment
from rnncourse.reference import naive_bayes


@pytest.fixture(scope="module")
def drawn():
    return sentiment.pairs(np.random.default_rng(0), 300)


def means(words):
    """The verdict, by the rules that the module's text gives."""
    last = words[words.index("but") + 1 :]
    praise = bool(set(last) & set(sentiment.GOOD))
    assert praise != bool(set(last) & set(sentiment.BAD))
    return int(praise != ("not" in last))


def test_labels(drawn):
    assert [means(words) for words in drawn.words] == drawn.labels.tolist()
    assert 0.4 < np.mean(["not" in words[words.index("but") :] for words in drawn.words]) < 0.6
    assert {13, 21} >= {min(map(len, drawn.words))} and max(map(len, drawn.words)) <= 21


@verifies("eq-bag-half", oracle="counts of words and of pairs of words")
def test_a_bag_is_right_on_one_of_two(drawn):
    for one, two in zip(drawn.words[::2], drawn.words[1::2], strict=True):
        assert Counter(one) == Counter(two) and one != two
        assert Counter(pairwise(one)) == Counter(pairwise(two))
    assert (drawn.labels[::2] + drawn.labels[1::2] == 1).all()
    for longest in (1, 2):
        bags = [naive_bayes.grams(words, longest) for words in drawn.words]
        model = naive_bayes.fit(bags, drawn.labels, 2)
        scores = naive_bayes.log_posterior(model, [sorted(bag) for bag in bags])  # a bag has no order, in rounding too
        agree((scores.argmax(axis=1) == drawn.labels).mean(), 0.5, 1e-12)
    looser = [Counter(naive_bayes.grams(words, 4)) for words in drawn.words]
    assert any(a != b for a, b in zip(looser[::2], looser[1::2], strict=True))


def test_encode():
    tokens = sentiment.encode([("the", "plot"), ("but",)])
    assert tokens.T[1].tolist() == [6, 0] and tokens[0, 0] == 1
    for bad in ([], [("word",)]):
        with pytest.raises(ValueError, match=r"^words: "):
            sentiment.encode(bad)
    with pytest.raises(ValueError, match=r"^size: "):
        sentiment.pairs(np.random.default_rng(0), 0)
