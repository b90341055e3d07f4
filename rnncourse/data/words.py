"""The language reference as words: the same text as :mod:`rnncourse.data.text`, cut into larger tokens.

A word model needs a vocabulary, and a vocabulary is a choice that moves every figure: words too rare
to be learned become one token, ``<unk>``, and predicting that token is easy. So figures can be compared
only between models of one vocabulary.
"""

import re
from collections import Counter

import numpy as np

from rnncourse import doors
from rnncourse.data import text

UNKNOWN, NUMBER = "<unk>", "<number>"
_TOKEN = re.compile(r"[A-Za-z_]+(?:'[a-z]+)?|\d+|[^\sA-Za-z_\d]")


def split(string: str) -> list[str]:
    """Cut a text into words, numbers and marks.

    Args:
        string: any ASCII text.

    Returns:
        Words in lower case (``don't`` is one, ``for_loop`` too), every run of digits as
        ``<number>``, every other visible character by itself.
    """
    return [NUMBER if token[0].isdigit() else token.lower() for token in _TOKEN.findall(string)]


def vocabulary(tokens: list[str], least: int) -> tuple[str, ...]:
    """The tokens worth a class of their own.

    Args:
        tokens: the training text.
        least: how often a token must occur in it.

    Returns:
        ``<unk>`` first, then the tokens from frequent to rare, equals in alphabetical order.

    Raises:
        ValueError: if ``least`` is no whole number, or less than 1.
    """
    doors.at_least("least", least, 1)
    counts = Counter(tokens)
    often = sorted((token for token in counts if counts[token] >= least), key=lambda token: (-counts[token], token))
    return (UNKNOWN, *often)


def encode(tokens: list[str], words: tuple[str, ...]) -> np.ndarray:
    """Turn tokens into classes; what the vocabulary lacks becomes ``<unk>``.

    Args:
        tokens: from :func:`split`, length N.
        words: the V words of the vocabulary, ``<unk>`` first.

    Returns:
        Integers in 0..V-1, shape (N,).
    """
    classes = {word: k for k, word in enumerate(words)}
    return np.fromiter((classes.get(token, 0) for token in tokens), np.int64, len(tokens))


def language_reference(least: int = 3, valid: float = 0.05, test: float = 0.1) -> text.Corpus:
    """Python's language reference as words, split at the same places as the characters are.

    Args:
        least: how often a word must occur in the training part to be known.
        valid: share of the characters held out for choosing settings.
        test: share held out for the final figure.

    Returns:
        About 80,000 words in three pieces; ``alphabet`` is the vocabulary, a tuple of words. The
        vocabulary is made from the training part alone.

    Raises:
        ValueError: if the shares leave nothing for training or are not positive.
        RuntimeError: if this Python's text is not the one known for its version.
    """
    letters = text.language_reference(valid, test)
    pieces = [split(text.decode(part, letters.alphabet)) for part in (letters.train, letters.valid, letters.test)]
    words = vocabulary(pieces[0], least)
    return text.Corpus(*(encode(piece, words) for piece in pieces), words, letters.source, letters.licence)
