"""What skip-gram training reads: pairs of a word and a neighbour, and neighbours drawn from noise."""

from collections.abc import Iterator

import numpy as np

from rnncourse import doors
from rnncourse.data.text import as_classes


def pairs(tokens, window: int) -> tuple[np.ndarray, np.ndarray]:
    """Every word of a text with every word at most so many places away, :eq:`def-skip-gram`.

    Args:
        tokens: the text, integers, shape (N,).
        window: m, the farthest place, at least 1.

    Returns:
        ``(words, neighbours)``: integers, each of shape (P,); every pair is there both ways round.

    Raises:
        ValueError: if the window is no whole number, or less than 1, or the text has not one axis.
    """
    doors.at_least("window", window, 1)
    tokens = np.asarray(tokens)
    doors.shape("tokens", tokens, ("N",))
    apart = range(1, min(window, len(tokens) - 1) + 1)
    first = np.concatenate([tokens[:0], *(tokens[:-j] for j in apart)])
    second = np.concatenate([tokens[:0], *(tokens[j:] for j in apart)])
    return np.concatenate([first, second]), np.concatenate([second, first])


def noise(counts, power: float = 0.75) -> np.ndarray:
    """The distribution that false neighbours are drawn from, :eq:`def-noise`.

    Args:
        counts: how often each word occurs, shape (V,), none negative.
        power: 1 draws words as often as they occur, 0 all alike that occur.

    Returns:
        nu, shape (V,), summing to 1.

    Raises:
        ValueError: if a count is negative or not finite, or all are zero.
    """
    counts = np.asarray(counts, float)
    doors.shape("counts", counts, ("V",))
    doors.finite("counts", counts)
    if (counts < 0).any() or not counts.any():
        raise ValueError("counts: expected none negative and at least one above zero")
    weights = np.where(counts > 0, counts**power, 0)
    return weights / weights.sum()


def batches(
    tokens, size: int, window: int, negatives: int, passes: int, batch: int, rng: np.random.Generator
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """All pairs of a text in random order, again and again, each with false neighbours.

    Args:
        tokens: the text, integers in 0..V-1, shape (N,), N >= 2.
        size: V, the number of words.
        window: how far apart neighbours may stand.
        negatives: k, false neighbours for each true one, drawn from :func:`noise`.
        passes: how often every pair is seen.
        batch: pairs at a time; the last of a pass may have fewer.
        rng: the source of randomness.

    Yields:
        ``(words, neighbours, drawn)``: integers of shapes (B,), (B,) and (B, k).

    Raises:
        ValueError: if a token is out of range, or the text has no pair.
    """
    doors.at_least("negatives", negatives, 1)
    doors.at_least("batch", batch, 1)
    words, neighbours = pairs(as_classes(tokens, size), window)
    if not len(words):
        raise ValueError(f"tokens: expected at least two, which make a pair, got {len(tokens)}")
    reach = noise(np.bincount(tokens, minlength=size)).cumsum()
    for _ in range(passes):
        order = rng.permutation(len(words))
        for part in np.split(order, range(batch, len(order), batch)):
            chances = reach[-1] * rng.random((len(part), negatives))
            yield words[part], neighbours[part], np.searchsorted(reach, chances, side="right")
