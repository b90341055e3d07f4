"""Interpolated Kneser-Ney: the counting model that a recurrent network has to beat.

A context of n - 1 tokens predicts the next one. What the longest context has not seen is left to
the context one token shorter, and so on down to "every token alike". Shorter contexts do not count
how often a token occurred but after how many different tokens: "Francisco" is frequent and yet a
poor guess anywhere but after "San" (Kneser and Ney, 1995; Chen and Goodman, 1999).
"""

from itertools import pairwise
from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.data.text import as_classes


class Level(NamedTuple):
    """All grams of one length k. A gram is the number of its first k - 1 tokens times V, plus its last token.

    Attributes:
        grams: the distinct grams, sorted, shape (G,); a gram's number is its place here.
        counts: how often each occurred or, below the top, after how many different tokens, shape (G,).
        totals: the counts added up for each context, shape (number of grams of length k - 1,).
        kinds: how many different tokens followed each context, the same shape.
        discount: D, what is taken off every count and given to the level below.
    """

    grams: np.ndarray
    counts: np.ndarray
    totals: np.ndarray
    kinds: np.ndarray
    discount: float


class KneserNey(NamedTuple):
    """An n-gram model, interpolated down to the uniform distribution.

    Attributes:
        levels: for grams of length 1, 2, ... n.
        alphabet: V, the number of classes.
    """

    levels: tuple[Level, ...]
    alphabet: int

    @classmethod
    def fit(cls, tokens, order: int, alphabet: int) -> "KneserNey":
        """Count a text.

        Args:
            tokens: the text, integers in 0..V-1, shape (N,).
            order: n, the length of the longest grams; 3 makes a trigram model.
            alphabet: V, the number of classes.

        Returns:
            The model.

        Raises:
            ValueError: if a token is out of range, or the text is shorter than one gram.
        """
        doors.at_least("order", order, 1)
        doors.at_least("alphabet", alphabet, 1)
        tokens = _as_text(tokens, alphabet)
        if len(tokens) < order:
            raise ValueError(f"tokens: expected at least {order}, one gram of this order, got {len(tokens)}")
        tables = _gram_tables(tokens, order, alphabet)
        counts = [_continuations(*pair) for pair in pairwise(tables)]
        counts.append(np.bincount(tables[-1][1]))
        sizes = [1] + [len(grams) for grams, _ in tables]  # one context of length 0
        levels = (_level(grams, c, n, alphabet) for (grams, _), c, n in zip(tables, counts, sizes, strict=False))
        return cls(tuple(levels), alphabet)

    def probabilities(self, tokens) -> np.ndarray:
        """How probable each token of a text was, given those before it.

        Args:
            tokens: integers in 0..V-1, shape (N,).

        Returns:
            Probabilities, shape (N,); the first tokens have shorter contexts.

        Raises:
            ValueError: if a token is out of range.
        """
        tokens = _as_text(tokens, self.alphabet)
        p = np.full(len(tokens), 1 / self.alphabet)
        context = np.zeros(len(tokens), np.int64)  # number of the gram that ends just before, -1 if never seen
        for k, level in enumerate(self.levels):
            here = slice(k, None)  # earlier tokens have no context this long: they keep the shorter one's answer
            found = _look_up(level.grams, np.where(context < 0, -1, context * self.alphabet + tokens[here]))
            p[here] = _interpolate(level, found, context, p[here])
            context = found[:-1]
        return p

    def next_probabilities(self, context) -> np.ndarray:
        """The distribution of the token that follows.

        Args:
            context: the tokens so far, integers in 0..V-1, shape (N,); may be empty.

        Returns:
            Probabilities that sum to 1, shape (V,).
        """
        longest = np.asarray(context, np.int64)[len(context) - min(len(context), len(self.levels) - 1) :]
        return np.array([self.probabilities(np.append(longest, w))[-1] for w in range(self.alphabet)])

    def bits(self, tokens) -> float:
        """How many bits this model needs for a token of a text, on average.

        Args:
            tokens: integers in 0..V-1, shape (N,), N >= 1.

        Returns:
            The mean of -log2 p.
        """
        return float(-np.log2(self.probabilities(tokens)).mean())


def _gram_tables(tokens: np.ndarray, order: int, size: int) -> list[tuple[np.ndarray, np.ndarray]]:
    """For each length: the sorted distinct grams, and the number of the gram that starts at each place."""
    numbers, tables = np.zeros(len(tokens) + 1, np.int64), []  # every gram of length 0 is number 0
    for k in range(order):
        grams, numbers = np.unique(numbers[:-1] * size + tokens[k:], return_inverse=True)
        tables.append((grams, numbers))
    return tables


def _continuations(short: tuple, long: tuple) -> np.ndarray:
    """For each gram: how many different tokens stood before it, from the table one longer."""
    (grams, numbers), (longer, places) = short, long
    ends = np.zeros(len(longer), np.int64)
    ends[places] = numbers[1:]  # a longer gram without its first token is the gram that starts one later
    return np.bincount(ends, minlength=len(grams))


def _level(grams: np.ndarray, counts: np.ndarray, contexts: int, size: int) -> Level:
    """Put a level together from its grams and counts."""
    context = grams // size
    return Level(
        grams,
        counts,
        np.bincount(context, counts, contexts),
        np.bincount(context, counts > 0, contexts),
        _discount(counts),
    )


def _discount(counts: np.ndarray) -> float:
    """D = n1 / (n1 + 2 n2), of counts equal to one and two; a half where the text has no ones to tell."""
    ones, twos = (counts == 1).sum(), (counts == 2).sum()
    return float(ones / (ones + 2 * twos)) if ones else 0.5


def _interpolate(level: Level, found: np.ndarray, context: np.ndarray, shorter: np.ndarray) -> np.ndarray:
    """Discounted count plus what the discount freed, shared out as the shorter context says."""
    count = np.where(found < 0, 0, level.counts[found])
    total = np.where(context < 0, 0, level.totals[context])
    known = total > 0
    mine = np.maximum(count - level.discount, 0) + level.discount * level.kinds[context] * shorter
    return np.where(known, mine / np.where(known, total, 1), shorter)


def _look_up(grams: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Places in the sorted table, -1 for what is not there."""
    places = np.minimum(np.searchsorted(grams, wanted), len(grams) - 1)
    return np.where(grams[places] == wanted, places, -1)


def _as_text(tokens, size: int) -> np.ndarray:
    tokens = as_classes(tokens, size)
    doors.shape("tokens", tokens, ("N",))
    return tokens.astype(np.int64)  # gram numbers outgrow smaller integers
