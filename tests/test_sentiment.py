"""Sentences and their mirrors: the same words, the same pairs, the opposite verdict."""

from collections import Counter
from fractions import Fraction
from itertools import pairwise, product

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
    sizes = [len(words) for words in drawn.words]
    assert (min(sizes), max(sizes)) == (13, 21)
    assert 0.4 < drawn.labels[::2].mean() < 0.6, "which of a pair is praise is drawn"


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
    for seed in range(3):  # any classifier: a table of coins, one for each bag that there is
        coin = np.random.default_rng(seed)
        for longest in (1, 2):
            bags = [frozenset(Counter(naive_bayes.grams(words, longest)).items()) for words in drawn.words]
            table = {bag: int(coin.integers(2)) for bag in dict.fromkeys(bags)}
            agree(np.mean([table[bag] == c for bag, c in zip(bags, drawn.labels, strict=True)]), 0.5, 1e-12)
    looser = [Counter(naive_bayes.grams(words, 4)) for words in drawn.words]
    assert any(a != b for a, b in zip(looser[::2], looser[1::2], strict=True))


def clauses(praise):
    """Every clause that praises or blames and its chance, by the module's text; two words of a kind stand for all."""
    found = {}
    for turned, count in product((0, 1), range(4)):
        pool = sentiment.GOOD if praise != turned else sentiment.BAD
        for thing, word, *degrees in product(sentiment.THINGS, pool, *[sentiment.DEGREES] * count):
            clause = ("the", thing, "was", *["not"] * turned, *degrees, word, "to", "us")
            found[clause] = Fraction(1, 2 * 4 * len(sentiment.THINGS) * len(pool) * len(sentiment.DEGREES) ** count)
    return found


def test_stretches_of_four_words_tell_nothing_and_those_of_five_do(monkeypatch):
    for kind in ("GOOD", "BAD", "THINGS", "DEGREES"):
        monkeypatch.setattr(sentiment, kind, getattr(sentiment, kind)[:2])
    by_label = [clauses(0), clauses(1)]
    assert all(sum(found.values()) == 1 for found in by_label)
    drawn = sentiment.pairs(np.random.default_rng(1), 4000)
    halves = Counter()
    for words, label in zip(drawn.words, drawn.labels.tolist(), strict=True):
        place = words.index("but")
        halves[words[:place], 1 - label] += 1
        halves[words[place + 1 :], label] += 1
    for (clause, praise), times in halves.items():  # the code draws what is enumerated, about as often
        expected = 8000 * float(by_label[praise][clause])
        assert abs(times - expected) < 6 * expected**0.5 + 1
    for longest, tells in ((4, False), (5, True)):
        expected = [Counter(), Counter()]  # how often a stretch occurs in a sentence, on average
        for label in (0, 1):
            for (one, p), (two, q) in product(by_label[1 - label].items(), by_label[label].items()):
                # stretches within a half, and those that cross the "but", which see eight words at most
                sentence = (*one[-longest:], "but", *two[:longest])
                crossing = [g for g in naive_bayes.grams(sentence, longest, longest) if "but" in g]
                for gram in crossing:
                    expected[label][gram] += p * q
            for half in by_label:
                for clause, p in half.items():
                    for gram in naive_bayes.grams(clause, longest, longest):
                        expected[label][gram] += p
        assert (expected[0] != expected[1]) == tells
        told = [g for g in expected[1] if not expected[0][g]]
        assert (("not", "good", "to", "us", "but") in told) == tells


def test_encode():
    tokens = sentiment.encode([("the", "plot"), ("but",)])
    assert tokens.T[1].tolist() == [6, 0] and tokens[0, 0] == 1
    for bad in ([], [("word",)]):
        with pytest.raises(ValueError, match=r"^words: "):
            sentiment.encode(bad)
    with pytest.raises(ValueError, match=r"^size: "):
        sentiment.pairs(np.random.default_rng(0), 0)
