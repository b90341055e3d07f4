"""The text: where it is cut, that nothing leaks, and that targets are inputs one step later."""

import sys

import numpy as np
import pytest

from rnncourse.data import text


@pytest.fixture(scope="module")
def corpus():
    return text.language_reference()


def test_pieces_make_the_whole_text(corpus):
    pieces = [text.decode(piece, corpus.alphabet) for piece in (corpus.train, corpus.valid, corpus.test)]
    assert "".join(pieces) == text.language_text()
    assert all(piece.endswith("\n\n") for piece in pieces[:2]), "a cut fell inside a paragraph"


def test_shares_are_those_asked_for(corpus):
    total = len(corpus.train) + len(corpus.valid) + len(corpus.test)
    assert len(corpus.test) / total == pytest.approx(0.1, abs=0.01)
    assert len(corpus.valid) / total == pytest.approx(0.05, abs=0.01)


def test_no_paragraph_occurs_twice():
    paragraphs = text.language_text().split("\n\n")
    assert len(paragraphs) == len(set(paragraphs)) > 1000


def test_held_out_lines_are_new(corpus):
    def long_lines(tokens):
        return [line for line in text.decode(tokens, corpus.alphabet).splitlines() if len(line) >= 40]

    seen = set(long_lines(corpus.train))
    held_out = long_lines(corpus.valid) + long_lines(corpus.test)
    assert len(held_out) > 300
    assert sum(line in seen for line in held_out) < 0.01 * len(held_out)


def test_it_says_where_it_comes_from(corpus):
    assert ".".join(map(str, sys.version_info[:3])) in corpus.source
    assert "Python Software Foundation" in corpus.licence
    assert len(corpus.alphabet) == 96


@pytest.mark.parametrize("valid, test", [(0.0, 0.1), (0.1, -0.1), (0.5, 0.5)])
def test_impossible_shares_are_refused(valid, test):
    with pytest.raises(ValueError, match="valid, test"):
        text.language_reference(valid, test)


def test_another_text_under_a_known_version_is_noticed():
    whole = text.language_text()
    version = (3, 11, 7)
    with pytest.raises(RuntimeError, match="should have"):
        text.check(whole[:-1] + "#", version)


def test_an_unknown_version_is_held_to_bounds():
    text.check("x" * text.SANE[0], (3, 99, 0))
    with pytest.raises(RuntimeError, match="characters, not"):
        text.check("x" * (text.SANE[0] - 1), (3, 99, 0))


def test_folding_to_ascii():
    assert text.to_ascii("“naïve” – ‘it’ — …") == "\"naive\" - 'it' -- ..."


def test_decode_undoes_encode():
    words = "every\ncharacter ~"
    assert text.decode(text.encode(words, text.ALPHABET), text.ALPHABET) == words
    assert text.encode("abca", "cab").tolist() == [1, 2, 0, 1]


def test_unknown_characters_are_named():
    with pytest.raises(ValueError, match="é"):
        text.encode("café", text.ALPHABET)
    with pytest.raises(ValueError, match="every character once"):
        text.encode("aa", "aba")


@pytest.mark.parametrize("tokens", [[-1], [3], [0.5]])
def test_classes_out_of_range_are_refused(tokens):
    with pytest.raises(ValueError, match="tokens"):
        text.decode(tokens, "abc")
    with pytest.raises(ValueError, match="tokens"):
        text.one_hot(tokens, 3)


def test_one_hot_rows():
    tokens = np.array([[0, 2], [1, 0]])
    x = text.one_hot(tokens, 3, np.float32)
    assert x.shape == (2, 2, 3) and x.dtype == np.float32
    assert np.array_equal(x.argmax(axis=2), tokens) and np.all(x.sum(axis=2) == 1)


def test_targets_are_the_next_inputs():
    for inputs, targets in text.batches(np.arange(1000), streams=4, steps=7):
        assert inputs.shape == targets.shape == (7, 4)
        assert np.array_equal(targets, inputs + 1), "a target must be the token after its input"


def test_chunks_continue_their_stream():
    pieces = list(text.batches(np.arange(1000), streams=4, steps=7))
    stream = np.concatenate([inputs for inputs, _ in pieces])
    assert np.all(np.diff(stream, axis=0) == 1), "a state carried over would meet another text"
    assert np.unique(stream).size == stream.size, "no token is read twice"
    assert 1000 - stream.size < 4 * 7 + 4


def test_the_last_full_chunk_is_kept():
    assert len(list(text.batches(np.arange(2 * 6 + 1), streams=2, steps=3))) == 2


def test_batches_need_enough_text():
    with pytest.raises(ValueError, match="need 13, got 12"):
        text.batches(np.arange(12), streams=3, steps=4)
    with pytest.raises(ValueError, match="steps"):
        text.batches(np.arange(12), streams=3, steps=0)
