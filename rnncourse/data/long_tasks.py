"""Two tasks that need a memory over many steps: adding two marked numbers, and copying a word after a pause."""

from typing import NamedTuple

import numpy as np

from rnncourse import doors


class LongTask(NamedTuple):
    """A batch of sequences whose last steps are judged.

    Attributes:
        inputs: shape (T, B, D), float32.
        targets: what the last steps should say: numbers (1, B, 1), float32, or classes (N, B).
    """

    inputs: np.ndarray
    targets: np.ndarray


def adding(rng: np.random.Generator, size: int, steps: int) -> LongTask:
    """The adding problem: numbers in a row, two of them marked; at the end, say the sum of the two.

    The first mark falls into the first half, the second into the second. Numbers are uniform between
    0 and 1, so the best answer without looking is 1, and its mean squared error 1/6.

    Args:
        rng: the source of randomness.
        size: B, how many sequences.
        steps: T, at least 2.

    Returns:
        D = 2: the number and the mark, 0 or 1. One answer, at the last step.

    Raises:
        ValueError: if a number is too small.
    """
    doors.at_least("size", size, 1)
    doors.at_least("steps", steps, 2)
    numbers, marks = rng.random((steps, size)), np.zeros((steps, size))
    half = steps // 2
    for place in (rng.integers(0, half, size), rng.integers(half, steps, size)):
        marks[place, np.arange(size)] = 1
    sums = (numbers * marks).sum(axis=0)
    return LongTask(np.stack([numbers, marks], axis=2).astype(np.float32), sums.astype(np.float32)[None, :, None])


def copy(rng: np.random.Generator, size: int, pause: int, word: int = 5, symbols: int = 8) -> LongTask:
    """The copy task: read a word, wait, and when asked say the word, one symbol a step.

    Args:
        rng: the source of randomness.
        size: B, how many sequences.
        pause: blank steps between the word and the question, at least 0.
        word: N, the length of the word.
        symbols: how many different ones; chance is one right answer in so many.

    Returns:
        T = 2 N + pause, D = symbols + 2: the symbols, a blank, and the question, which begins the last
        N steps. Answers are the classes of the word.

    Raises:
        ValueError: if a number is too small.
    """
    doors.at_least("pause", pause, 0)
    for name, value in {"size": size, "word": word, "symbols": symbols}.items():
        doors.at_least(name, value, 1)
    said = rng.integers(0, symbols, (word, size))
    heard = np.full((2 * word + pause, size), symbols)
    heard[:word], heard[word + pause] = said, symbols + 1
    return LongTask(np.eye(symbols + 2, dtype=np.float32)[heard], said)
