"""The text as words: what is a word, what is known, and that nothing of the test is in the vocabulary's making."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncourse.data import text, words


@pytest.fixture(scope="module")
def corpus():
    return words.language_reference()


def test_words_numbers_and_marks():
    string = 'Don\'t use "x_1" in 3.14 for-loops\n\n(see PEP 8).'
    expected = 'don\'t use " x_ <number> " in <number> . <number> for - loops ( see pep <number> ) .'
    assert words.split(string) == expected.split()


@given(st.text(st.characters(codec="ascii", exclude_categories=["Cc"])))
def test_nothing_visible_is_lost(string):
    """Every visible character that is no digit comes back, in lower case and in order."""
    kept = "".join(token for token in words.split(string) if token != words.NUMBER)
    assert kept == "".join(c for c in string.lower() if not c.isspace() and not c.isdigit())


def test_a_vocabulary_goes_from_frequent_to_rare():
    assert words.vocabulary(["b", "a", "c", "a", "b", "d", "a"], least=1) == ("<unk>", "a", "b", "c", "d")
    assert words.vocabulary(["b", "a", "c", "a", "b", "d", "a"], least=2) == ("<unk>", "a", "b")
    with pytest.raises(ValueError, match=r"^least: expected a whole number >= 1, got 0$"):
        words.vocabulary(["a"], least=0)


def test_encode_knows_what_it_does_not_know():
    np.testing.assert_array_equal(words.encode(["b", "never", "a"], ("<unk>", "a", "b")), [2, 0, 1])
    assert words.encode([], ("<unk>",)).shape == (0,)


def test_the_vocabulary_comes_from_the_training_part_alone(corpus):
    counts = Counter(corpus.train.tolist())
    assert min(counts[k] for k in range(1, len(corpus.alphabet))) == 3
    assert 0 < np.mean(corpus.test == 0) < 0.06, "held-out text must hold unknown words, and few"


def test_words_are_cut_where_the_characters_are(corpus):
    letters = text.language_reference()
    for piece, characters in zip(corpus[:3], letters[:3], strict=True):
        assert len(piece) == len(words.split(text.decode(characters, letters.alphabet)))
    assert corpus.source == letters.source and corpus.licence == letters.licence
