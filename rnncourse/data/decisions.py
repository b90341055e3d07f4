"""Noisy evidence for one of two answers, a pause, and the question: which way did it lean?

Stands in for the moving dots of perceptual experiments. The mean of the evidence is the signed coherence
of a trial. The best possible judge is known in closed form, since the sum of the evidence is all that matters.
"""

import math
from typing import NamedTuple

import numpy as np

from rnncourse import doors

COHERENCES = (0.04, 0.08, 0.16, 0.32, 0.64)


class Trials(NamedTuple):
    """A batch of trials.

    Attributes:
        inputs: x: evidence, then silence, shape (T, B, 1).
        targets: 1 if the coherence is positive, else 0, at every step, shape (T, B, 1).
        mask: the steps of the pause, whose answers count, booleans, shape (T, B).
        coherence: signed, shape (B,).
    """

    inputs: np.ndarray
    targets: np.ndarray
    mask: np.ndarray
    coherence: np.ndarray


def draw(
    rng: np.random.Generator, size: int, steps: int = 20, pause: int = 10, coherences=COHERENCES, noise: float = 1.0
) -> Trials:
    """Draw trials: all coherences alike likely, and so are both signs.

    Args:
        rng: the source of randomness.
        size: B, how many trials.
        steps: how many steps of evidence, each its coherence plus noise.
        pause: how many silent steps follow.
        coherences: the sizes that occur, positive.
        noise: the standard deviation of one step's noise.

    Returns:
        T = steps + pause, D = O = 1.

    Raises:
        ValueError: if a number is too small, or a coherence is not positive.
    """
    _check(steps, coherences, noise)
    doors.at_least("size", size, 1)
    doors.at_least("pause", pause, 1)
    c = rng.choice(np.asarray(coherences, float), size) * rng.choice([-1.0, 1.0], size)
    x = np.zeros((steps + pause, size, 1))
    x[:steps, :, 0] = c + noise * rng.standard_normal((steps, size))
    targets = np.broadcast_to((c > 0).astype(float)[:, None], x.shape).copy()
    return Trials(x, targets, np.broadcast_to(np.arange(len(x))[:, None] >= steps, x.shape[:2]).copy(), c)


def ideal_accuracy(coherence, steps: int = 20, noise: float = 1.0) -> np.ndarray:
    """How often the sign of the sum is right, which no judge can better, :eq:`eq-psychometric`.

    Args:
        coherence: its size, any shape.
        steps: how many steps of evidence.
        noise: the standard deviation of one step's noise.

    Returns:
        The probability of the right answer, in the shape of the coherence.

    Raises:
        ValueError: if a number is not positive.
    """
    _check(steps, (1.0,), noise)
    erf = np.vectorize(math.erf, otypes=[float])
    return 0.5 + 0.5 * erf(np.abs(coherence) * math.sqrt(steps / 2) / noise)


def log_odds(evidence, steps: int = 20, coherences=COHERENCES, noise: float = 1.0) -> np.ndarray:
    """How sure the sum of the evidence makes the best judge that the coherence is positive, :eq:`eq-ideal-log-odds`.

    Args:
        evidence: the sum over the steps, any shape.
        steps: how many steps it is a sum of.
        coherences: the sizes that occur.
        noise: the standard deviation of one step's noise.

    Returns:
        The logarithm of the odds, in the shape of the evidence.

    Raises:
        ValueError: if a number is not positive.
    """
    _check(steps, coherences, noise)
    c = np.asarray(coherences, float)
    S = np.asarray(evidence, float)[..., None]
    terms = -steps * c * c / (2 * noise**2)
    return np.logaddexp.reduce(terms + c * S / noise**2, axis=-1) - np.logaddexp.reduce(
        terms - c * S / noise**2, axis=-1
    )


def _check(steps: int, coherences, noise: float) -> None:
    doors.at_least("steps", steps, 1)
    if not (len(coherences) and min(coherences) > 0):
        raise ValueError(f"coherences: expected positive numbers, got {coherences!r}")
    if not noise > 0:
        raise ValueError(f"noise: expected a positive number, got {noise!r}")
