"""Accuracy, its error, confusions and F1, against enumeration and sets."""

import math
from itertools import product

import numpy as np
import pytest
from proof import agree, verifies

from rnncourse import scores


@verifies("eq-accuracy-error", oracle="enumeration of the binomial distribution")
@pytest.mark.parametrize(("p", "N"), [(0.5, 1), (0.07, 30), (0.83, 57)])
def test_the_error_of_a_share(p, N):
    chance = [math.comb(N, k) * p**k * (1 - p) ** (N - k) for k in range(N + 1)]
    mean = sum(c * k / N for k, c in enumerate(chance))
    variance = sum(c * (k / N - mean) ** 2 for k, c in enumerate(chance))
    agree(scores.standard_error(p, N), math.sqrt(variance), 1e-12)


@verifies("eq-paired-error", oracle="enumeration of all answers of two classifiers")
@pytest.mark.parametrize("d", [(0.3, 0.1), (0.25, 0.2), (0.0, 0.4)])
def test_the_error_of_a_difference(d):
    d_1, d_2 = d
    chances = {(1, 1): 0.7 * (1 - d_1 - d_2), (0, 0): 0.3 * (1 - d_1 - d_2), (1, 0): d_1, (0, 1): d_2}
    for N in (1, 2, 5):
        mean = square = 0.0
        for answers in product(chances, repeat=N):
            chance = math.prod(chances[pair] for pair in answers)
            difference = sum(one - two for one, two in answers) / N
            mean, square = mean + chance * difference, square + chance * difference**2
        agree(d_1 - d_2, mean, 1e-12)
        agree(math.sqrt((d_1 + d_2 - (d_1 - d_2) ** 2) / N), math.sqrt(square - mean**2), 1e-12)


def test_accuracy_counts_what_is_right():
    share, error = scores.accuracy([0, 1, 1, 2], [0, 1, 2, 2])
    assert share == 0.75 and error == pytest.approx(math.sqrt(0.75 * 0.25 / 4))


@verifies("eq-f1", oracle="precision and recall from sets")
def test_f1_is_the_harmonic_mean():
    rng = np.random.default_rng(0)
    said, true = rng.integers(0, 4, (2, 60))
    counts = scores.confusion(said, true, 5)  # the last class does not occur
    for i in range(5):
        for j in range(5):
            assert counts[i, j] == sum(a == j and b == i for a, b in zip(said, true, strict=True))
    expected = []
    for k in range(4):
        named, real = set(np.flatnonzero(said == k)), set(np.flatnonzero(true == k))
        precision, recall = len(named & real) / len(named), len(named & real) / len(real)
        expected.append(2 / (1 / precision + 1 / recall))
    agree(scores.f1(counts), np.array([*expected, 0.0]), 1e-12)


BAD = {
    "said": lambda: scores.accuracy([0, 1], [0]),
    "true": lambda: scores.accuracy([], []),
    "count": lambda: scores.standard_error(0.5, 0),
    "share": lambda: scores.standard_error(1.5, 3),
    "classes": lambda: scores.confusion([0], [0], 0),
    "counts": lambda: scores.f1(np.ones((2, 3))),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input(name):
    with pytest.raises(ValueError, match=rf"^{name}: "):
        BAD[name]()


def test_classes_out_of_range():
    for said, true, name in (([3], [0], "said"), ([0], [-1], "true")):
        with pytest.raises(ValueError, match=rf"^{name}: expected classes in 0..2"):
            scores.confusion(said, true, 3)
