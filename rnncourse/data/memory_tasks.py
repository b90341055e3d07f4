"""The adding problem: what came long ago must still be there at the end."""

import numpy as np

from rnncourse import doors, masks
from rnncourse.data.tasks import Task


def adding(rng: np.random.Generator, size: int, steps: int = 150) -> Task:
    """The adding problem: of T numbers two are marked, one in each half; the answer at the end is their sum.

    Whoever always answers 1, the mean, has a mean squared error of 1/6, :eq:`eq-adding-baseline`.

    Args:
        rng: the source of randomness.
        size: B, how many sequences.
        steps: T, at least 2.

    Returns:
        D = 2: a number, uniform in 0..1, and the mark, 1 at two steps and 0 elsewhere: one among the
        first T // 2 steps, one after them. O = 1; only the last step counts.

    Raises:
        ValueError: if a number is too small.
    """
    doors.at_least("size", size, 1)
    doors.at_least("steps", steps, 2)
    numbers = rng.random((steps, size))
    marks, everyone, half = np.zeros((steps, size)), np.arange(size), steps // 2
    marks[rng.integers(0, half, size), everyone] = 1
    marks[rng.integers(half, steps, size), everyone] = 1
    lengths = np.full(size, steps)
    mask = masks.last_steps(lengths, steps)
    targets = np.where(mask, (numbers * marks).sum(axis=0), 0)
    return Task(np.stack([numbers, marks], axis=2), targets[:, :, None], mask, lengths)
