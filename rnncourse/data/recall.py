"""Delayed recall: hear a symbol, then noise, and say the symbol when asked."""

from typing import NamedTuple

import numpy as np

from rnncourse import doors


class Recall(NamedTuple):
    """A batch of sequences.

    Attributes:
        inputs: one-hot, shape (lag + 1, B, symbols + noise + 1), float32.
        targets: the symbols, classes (B,).
    """

    inputs: np.ndarray
    targets: np.ndarray


def recall(rng: np.random.Generator, size: int, lag: int, symbols: int = 8, noise: int = 2) -> Recall:
    """Draw sequences: a symbol at step 1, noise at steps 2..lag, and the question at step lag + 1.

    Chance is one right answer in ``symbols``.

    Args:
        rng: the source of randomness.
        size: B, how many sequences.
        lag: steps from the symbol to the question.
        symbols: what may have to be remembered; features 0, 1, ...
        noise: kinds of noise, features of their own, all alike likely; the last feature is the question.

    Returns:
        Inputs and answers.

    Raises:
        ValueError: if a number is too small.
    """
    for name, value in {"size": size, "lag": lag, "symbols": symbols, "noise": noise}.items():
        doors.at_least(name, value, 1)
    targets = rng.integers(0, symbols, size)
    heard = symbols + rng.integers(0, noise, (lag + 1, size))
    heard[0], heard[-1] = targets, symbols + noise
    return Recall(np.eye(symbols + noise + 1, dtype=np.float32)[heard], targets)
