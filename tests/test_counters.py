"""LSTMs that count, against Python's own counting."""

import itertools

import numpy as np
import pytest

from rnncourse import counters
from rnncourse.reference import lstm, unroll


def judge(words):
    _, (h, c), _ = unroll.forward(lstm.plain(), counters.a_then_b(), counters.one_hot(words))
    return counters.right(h), c


@pytest.mark.parametrize("length", range(1, 11))
def test_every_word(length):
    words = ["".join(letters) for letters in itertools.product("ab", repeat=length)]
    truth = [word == "a" * (length // 2) + "b" * (length // 2) for word in words]
    assert (judge(words)[0] == truth).all()


def test_a_thousand_exactly():
    words = ["a" * 1000 + "b" * 1000, "a" * 1001 + "b" * 999, "a" * 999 + "b" * 1001, "a" * 999 + "ba" + "b" * 999]
    verdict, c = judge(words)
    assert verdict.tolist() == [True, False, False, False]
    assert c[:3, 0].tolist() == [0.0, 2.0, -2.0]  # to the last bit
    assert judge(["a" * 1000])[1][0, 0] == 1000.0


def test_every_gate_that_matters_is_open_or_shut():
    words = ["".join(letters) for letters in itertools.product("ab", repeat=6)]
    saved = unroll.forward(lstm.plain(), counters.a_then_b(), counters.one_hot(words))[2].saved
    i, f, new, o = lstm.blocks(np.array([gates for gates, _, _ in saved]))
    assert (f == 1).all() and (o == 1).all()
    assert (np.isin(i, [0, 1]) | (np.abs(i - np.round(i)) < 1e-12) | (new == 0)).all()


def test_what_is_no_word_is_refused():
    with pytest.raises(ValueError, match=r"words: expected words of one length, got lengths \[1, 2\]"):
        counters.one_hot(["a", "ab"])
    with pytest.raises(ValueError, match=r"words: expected letters a and b, got \['c'\]"):
        counters.one_hot(["ac"])
    with pytest.raises(ValueError, match="words: expected"):
        counters.one_hot([])
    assert np.shape(counters.one_hot(["ab", "ba"])) == (2, 2, 2)
