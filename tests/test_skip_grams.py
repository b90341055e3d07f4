"""Pairs of neighbours, the noise they are told from, and batches of both."""

import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given

from rnncourse.data import skip_grams


@given(st.lists(st.integers(0, 5), max_size=12), st.integers(1, 14))
def test_pairs_are_all_within_the_window(tokens, window):
    ours = sorted(zip(*(side.tolist() for side in skip_grams.pairs(np.array(tokens, int), window)), strict=True))
    places = [(t, s) for t in range(len(tokens)) for s in range(len(tokens)) if 0 < abs(t - s) <= window]
    assert ours == sorted((tokens[t], tokens[s]) for t, s in places)


def test_noise_by_hand():
    np.testing.assert_allclose(skip_grams.noise([16, 1, 0]), [8 / 9, 1 / 9, 0])
    np.testing.assert_allclose(skip_grams.noise([3, 1], power=1), [0.75, 0.25])
    np.testing.assert_allclose(skip_grams.noise([3, 1, 0], power=0), [0.5, 0.5, 0])


def test_a_pass_holds_every_pair_once():
    tokens = np.random.default_rng(0).integers(0, 7, 50)
    found = list(skip_grams.batches(tokens, 7, 2, 3, 1, 16, np.random.default_rng(1)))
    assert [len(words) for words, _, _ in found[:-1]] == [16] * (len(found) - 1)
    assert all(drawn.shape == (len(words), 3) for words, _, drawn in found)
    ours = sorted(pair for words, neighbours, _ in found for pair in zip(words, neighbours, strict=True))
    assert ours == sorted(zip(*skip_grams.pairs(tokens, 2), strict=True))


def test_false_neighbours_are_drawn_from_the_noise():
    tokens = np.repeat([0, 1, 3], [160, 40, 10])  # 2 never occurs
    many = skip_grams.batches(tokens, 4, 1, 20, 100, 1000, np.random.default_rng(2))
    drawn = np.concatenate([part.ravel() for _, _, part in many])
    q = skip_grams.noise([160, 40, 0, 10])
    share = np.bincount(drawn, minlength=4) / len(drawn)
    assert share[2] == 0
    assert np.abs(share - q).max() < 5 * np.sqrt(0.25 / len(drawn))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: skip_grams.pairs([1, 2], 0), "window: expected a whole number >= 1, got 0"),
        (lambda: skip_grams.pairs([[1, 2]], 1), r"tokens: expected shape \(N,\), got \(1, 2\)"),
        (lambda: skip_grams.noise([0, 0]), "counts: expected none negative and at least one above zero"),
        (lambda: skip_grams.noise([2, -1]), "counts: expected none negative"),
        (lambda: skip_grams.noise([2, np.inf]), "counts: 1 of 2 entries are NaN or infinite"),
        (lambda: next(batches([3])), "tokens: expected at least two, which make a pair, got 1"),
        (lambda: next(batches([3, 9])), "tokens: expected classes in 0..4, got 3..9"),
        (lambda: next(batches([3, 1], negatives=0)), "negatives: expected a whole number >= 1, got 0"),
        (lambda: next(batches([3, 1], batch=0)), "batch: expected a whole number >= 1, got 0"),
    ],
)
def test_doors(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def batches(tokens, negatives=2, batch=4):
    return skip_grams.batches(tokens, 5, 1, negatives, 1, batch, np.random.default_rng(0))
