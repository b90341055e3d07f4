"""Pairs of sequences as padded batches of classes. Class 0 ends a sequence, on both sides.

After its first 0 a column is padding. The same 0 is what a decoder hears before its first output: what
ends one sequence begins the next. So a batch needs no list of lengths: it can be read off.
"""

import numpy as np

from rnncourse import doors
from rnncourse.data.text import as_classes

END = 0


def pad(sequences) -> np.ndarray:
    """Put an end behind every sequence, and all of them side by side.

    Args:
        sequences: B lists of integers from 1 on.

    Returns:
        Integers, shape (T, B), where T is the longest length plus one.

    Raises:
        ValueError: if there is none, or a class is less than 1.
    """
    sequences = [np.asarray(one, np.int64) for one in sequences]
    if not sequences:
        raise ValueError("sequences: expected at least one, got none")
    if any(one.size and one.min() <= END for one in sequences):
        raise ValueError(f"sequences: expected classes from {END + 1} on, for {END} is the end")
    padded = np.zeros((1 + max(map(len, sequences)), len(sequences)), np.int64)
    for b, one in enumerate(sequences):
        padded[: len(one), b] = one
    return padded


def lengths(tokens) -> np.ndarray:
    """Count the steps of each column up to its end, and with it.

    Args:
        tokens: integers, shape (T, B).

    Returns:
        Integers in 1..T, shape (B,).

    Raises:
        ValueError: if a column has no end.
    """
    tokens = np.asarray(tokens)
    doors.shape("tokens", tokens, ("T", "B"))
    ends = tokens == END
    if not ends.any(axis=0).all():
        raise ValueError(
            f"tokens: expected an end (class {END}) in every column; {(~ends.any(axis=0)).sum()} have none"
        )
    return 1 + ends.argmax(axis=0)


def shifted(targets) -> np.ndarray:
    """What the decoder hears when it is taught: at each step the target of the step before, at first an end.

    Args:
        targets: y_1..y_N, integers, shape (N, B).

    Returns:
        y_0..y_{N-1}, shape (N, B), with y_0 = 0.
    """
    targets = np.asarray(targets)
    doors.shape("targets", targets, ("N", "B"))
    return np.concatenate([np.full_like(targets[:1], END), targets[:-1]])


def unpad(tokens) -> list[tuple[int, ...]]:
    """Take the sequences out of a batch again.

    Args:
        tokens: integers, shape (T, B); a column without an end is taken whole.

    Returns:
        B tuples, without their ends.
    """
    tokens = np.asarray(tokens)
    doors.shape("tokens", tokens, ("T", "B"))
    cut = np.where((tokens == END).any(axis=0), (tokens == END).argmax(axis=0), len(tokens))
    return [tuple(column[:length].tolist()) for column, length in zip(tokens.T, cut, strict=True)]


def reversals(rng: np.random.Generator, size: int, length, symbols: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """Draw strings of random symbols, and each of them backwards.

    Args:
        rng: the source of randomness.
        size: B, how many pairs.
        length: one for all, or (shortest, longest), drawn evenly for each pair.
        symbols: how many there are: classes 1..symbols.

    Returns:
        ``(source, target)``: each (T, B).

    Raises:
        ValueError: if a size is no whole number, or less than 1, or the lengths are out of order.
    """
    doors.at_least("size", size, 1)
    doors.at_least("symbols", symbols, 1)
    shortest, longest = length if isinstance(length, tuple) else (length, length)
    doors.at_least("length", shortest, 1)
    doors.at_least("length", longest, shortest)
    strings = [rng.integers(1, symbols + 1, n) for n in rng.integers(shortest, longest + 1, size)]
    return pad(strings), pad([string[::-1] for string in strings])


def checked(tokens, size: int) -> np.ndarray:
    """A batch of classes, each column with its end.

    Args:
        tokens: integers in 0..V-1, shape (T, B).
        size: V, the number of classes, the end among them.

    Returns:
        The same as an array, padding set to 0.

    Raises:
        ValueError: if the shape does not fit, a class is out of range, or a column has no end.
    """
    tokens = np.asarray(tokens)
    real = np.arange(len(tokens))[:, None] < lengths(tokens)
    return as_classes(np.where(real, tokens, END), size)
