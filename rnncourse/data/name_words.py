"""Single words among the names of :mod:`rnncourse.data.names`, closed by an end: what a model of words learns from.

Kept are names of one word, letters alone, of at most twelve. No word occurs twice, in one part or in two: a
name that two languages share is left out by :mod:`rnncourse.data.names`, and one language names a thing once.
"""

from typing import NamedTuple

import numpy as np

from rnncourse.data import names, pairs

LONGEST = 12
UNKNOWN = 1  # a letter that the training part lacks


class Words(NamedTuple):
    """Words as classes, with the language of each.

    Attributes:
        tokens: letters from 2 on, 1 for an unknown one, an end, 0, in every column; integers, shape (T, N).
        labels: places in ``NameWords.languages``, integers, shape (N,).
    """

    tokens: np.ndarray
    labels: np.ndarray


class NameWords(NamedTuple):
    """All words in three parts; of one thing, all names are in the same.

    Attributes:
        train: what may be learned from.
        valid: to choose settings on.
        test: to be looked at once.
        languages: their names.
        alphabet: letter i is token i + 2.
        source: where they come from.
    """

    train: Words
    valid: Words
    test: Words
    languages: tuple[str, ...]
    alphabet: str
    source: str


def load() -> NameWords:
    """Read the words.

    Returns:
        Twenty languages; about 4600 words to learn from, 700 to choose by and 750 to test on.

    Raises:
        ValueError: if babel is of the version that we know, and the names are not.
    """
    known = names.load()
    kept = [_short(part) for part in (known.train, known.valid, known.test)]
    alphabet = "".join(sorted(set("".join(kept[0][0]))))
    parts = [Words(encode(words, alphabet), np.array(labels)) for words, labels in kept]
    return NameWords(*parts, known.languages, alphabet, known.source)


def encode(words, alphabet: str) -> np.ndarray:
    """Turn words into classes, each with its end.

    Args:
        words: strings, none empty.
        alphabet: letter i becomes i + 2; others become 1.

    Returns:
        Integers, shape (T, N), where T is the longest word's length plus one.

    Raises:
        ValueError: if there is no word, or one is empty.
    """
    tokens = names.encode(words, alphabet)
    return np.concatenate([tokens, np.zeros_like(tokens[:1])])


def decode(tokens: np.ndarray, alphabet: str) -> list[str]:
    """Turn classes into words again.

    Args:
        tokens: integers, shape (T, N); what stands behind a column's first 0 is left out.
        alphabet: letter i is token i + 2; an unknown one becomes ``?``.

    Returns:
        N strings.
    """
    return ["".join(alphabet[k - 2] if k > UNKNOWN else "?" for k in word) for word in pairs.unpad(tokens)]


def edits(one: str, other: str) -> int:
    """Letters to put in, take out or replace on the way from one word to another, the least number.

    Args:
        one: a word.
        other: another.

    Returns:
        The distance of Levenshtein.
    """
    row = list(range(len(other) + 1))
    for i, a in enumerate(one, start=1):
        before, row = row, [i]
        for j, b in enumerate(other, start=1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (a != b)))
    return row[-1]


def _short(part: names.Labelled) -> tuple[list[str], list[int]]:
    both = zip(part.words, part.labels, strict=True)
    kept = [(word, label) for word, label in both if word.isalpha() and len(word) <= LONGEST]
    return [word for word, _ in kept], [label for _, label in kept]
