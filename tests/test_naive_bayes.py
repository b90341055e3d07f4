"""Naive Bayes against exact fractions and against a climber of the likelihood."""

from fractions import Fraction

import numpy as np
import pytest
import torch
from proof import agree, verifies

from rnncourse.reference import naive_bayes

WORDS, LABELS = ["abba", "aab", "bb", "cab", "acc", "b"], [0, 0, 1, 1, 2, 1]


def bags(words, longest=2):
    return [naive_bayes.grams(word, longest) for word in words]


def occurrences(word, gram):
    return sum(word[i:].startswith(gram) for i in range(len(word)))


@verifies("eq-naive-bayes", oracle="Bayes's rule in exact fractions")
def test_the_posterior():
    model = naive_bayes.fit(bags(WORDS), LABELS, 3, smoothing=0.5)
    every = sorted({word[i:j] for word in WORDS for i in range(4) for j in (i + 1, i + 2) if j <= len(word)})
    asked = ["ab", "cc", "bza", "aaaa"]
    expected = []
    for word in asked:
        joint = []
        for k in range(3):
            mine = [w for w, label in zip(WORDS, LABELS, strict=True) if label == k]
            counts = {g: Fraction(sum(occurrences(w, g) for w in mine)) + Fraction(1, 2) for g in every}
            p = Fraction(len(mine), len(WORDS))
            for gram, count in counts.items():
                p *= (count / sum(counts.values())) ** occurrences(word, gram)
            joint.append(p)
        expected.append([float(p / sum(joint)) for p in joint])
    agree(np.exp(naive_bayes.log_posterior(model, bags(asked))), np.array(expected), 1e-12)


@verifies("eq-naive-bayes-counts", oracle="L-BFGS on the scores of a softmax")
def test_smoothed_shares_are_the_best():
    model = naive_bayes.fit(bags(WORDS), LABELS, 3, smoothing=0.5)
    n = torch.zeros(3, len(model.columns), dtype=torch.float64)
    for word, k in zip(WORDS, LABELS, strict=True):
        for gram, column in model.columns.items():
            n[k, column] += occurrences(word, gram)
    s = torch.zeros_like(n, requires_grad=True)
    climber = torch.optim.LBFGS(
        [s], max_iter=500, tolerance_grad=1e-12, tolerance_change=0, line_search_fn="strong_wolfe"
    )

    def value():
        climber.zero_grad()
        loss = -((n + 0.5) * torch.log_softmax(s, dim=1)).sum()
        loss.backward()
        return loss

    climber.step(value)
    agree(np.exp(model.log_likelihood), torch.softmax(s, dim=1), 1e-6)


def test_grams():
    assert naive_bayes.grams("abc", 2) == ["a", "b", "c", "ab", "bc"]
    assert naive_bayes.grams(("x", "y"), 3, 2) == [("x", "y")]
    assert naive_bayes.grams("", 2) == []


def test_order_does_not_matter_beyond_the_grams():
    model = naive_bayes.fit(bags(WORDS, 1), LABELS, 3)
    one, two = naive_bayes.log_posterior(model, bags(["abc", "cba"], 1))
    assert np.allclose(one, two, rtol=0, atol=1e-14)
    (nothing,) = naive_bayes.log_posterior(model, [["never seen"]])
    assert np.allclose(np.exp(nothing), [2 / 6, 3 / 6, 1 / 6])


BAD = {
    "longest": lambda: naive_bayes.grams("a", 1, 2),
    "shortest": lambda: naive_bayes.grams("a", 1, 0),
    "classes": lambda: naive_bayes.fit([["a"]], [0], 0),
    "labels": lambda: naive_bayes.fit([["a"], ["b"]], [0, 2], 3),
    "smoothing": lambda: naive_bayes.fit([["a"]], [0], 1, 0),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    with pytest.raises(ValueError, match=rf"^{name}: "):
        BAD[name]()
    with pytest.raises(ValueError, match=r"^labels: expected shape"):
        naive_bayes.fit([["a"]], [0, 1], 2)
