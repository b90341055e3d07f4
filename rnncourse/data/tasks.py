"""Small tasks with known answers, one at least for each shape that a problem with sequences can have.

All come as one :class:`Task`, so that one loop trains them all. What tells the shapes apart is where
inputs say something and where answers count: the mask.
"""

from typing import NamedTuple

import numpy as np

from rnncourse import doors, masks


class Task(NamedTuple):
    """A batch of sequences with their answers.

    Attributes:
        inputs: x, shape (T, B, D).
        targets: shape (T, B, O), zero where they do not count.
        mask: the steps whose answer counts, booleans, shape (T, B).
        lengths: real steps of each sequence, integers, shape (B,).
    """

    inputs: np.ndarray
    targets: np.ndarray
    mask: np.ndarray
    lengths: np.ndarray


def product(rng: np.random.Generator, size: int) -> Task:
    """One to one: a single step with two coins; the answer is their product (exclusive or, in signs).

    Args:
        rng: the source of randomness.
        size: B, how many pairs.

    Returns:
        T = 1, D = 2, O = 1.

    Raises:
        ValueError: if the size is too small.
    """
    x = coins(rng, 1, size, 2)
    return _task(x, x.prod(axis=2, keepdims=True), np.ones((1, size), bool))


def countdown(rng: np.random.Generator, size: int, steps: int = 8) -> Task:
    """One to many: a number at the first step, then silence; the answers count down from it.

    Args:
        rng: the source of randomness.
        size: B, how many sequences.
        steps: T, the length of the answer.

    Returns:
        D = O = 1. The input is n / T for a whole number n in 1..T, the answer at step t is
        max(n - t, 0) / T.

    Raises:
        ValueError: if a number is too small.
    """
    _at_least_one(size=size, steps=steps)
    n = rng.integers(1, steps + 1, size)
    x = np.zeros((steps, size, 1))
    x[0, :, 0] = n / steps
    answers = np.maximum(n - np.arange(1, steps + 1)[:, None], 0) / steps
    return _task(x, answers[:, :, None], np.ones((steps, size), bool))


def majority(rng: np.random.Generator, size: int, steps: int = 9) -> Task:
    """Many to one: coins, an odd number of them; the answer, after the last, is the side that fell more often.

    Args:
        rng: the source of randomness.
        size: B, how many sequences.
        steps: T, the padded length; lengths are odd numbers up to it, all alike likely.

    Returns:
        D = O = 1, lengths differ, padding is zero.

    Raises:
        ValueError: if a number is too small.
    """
    _at_least_one(size=size, steps=steps)
    lengths = 2 * rng.integers(0, (steps + 1) // 2, size) + 1
    x = np.where(masks.valid_steps(lengths, steps)[:, :, None], coins(rng, steps, size), 0)
    return _labelled(x, np.sign(x.sum(axis=0)), lengths)


def ends(rng: np.random.Generator, size: int, steps: int = 7) -> Task:
    """Many to one: coins; the answer, after the last, is +1 if the first and the last fell alike, else -1.

    Args:
        rng: the source of randomness.
        size: B, how many sequences.
        steps: T.

    Returns:
        D = O = 1.

    Raises:
        ValueError: if a number is too small.
    """
    x = coins(rng, steps, size)
    return _labelled(x, x[0] * x[-1], np.full(size, steps))


def copy(rng: np.random.Generator, size: int, symbols: int = 4) -> Task:
    """Many to many, one after the other: hear coins, then say them all in their order.

    Args:
        rng: the source of randomness.
        size: B, how many sequences.
        symbols: n, coins to remember; T = 2 n.

    Returns:
        D = 2: the coin in the first half, and a flag that is 1 in the second, when it is time to speak.
        O = 1; only the second half counts.

    Raises:
        ValueError: if a number is too small.
    """
    heard = coins(rng, symbols, size)
    silent = np.zeros_like(heard)
    flag = np.concatenate([silent, silent + 1])
    x = np.concatenate([np.concatenate([heard, silent]), flag], axis=2)
    return _task(x, np.concatenate([silent, heard]), flag[:, :, 0] == 1)


def echo(rng: np.random.Generator, size: int, steps: int = 20, lag: int = 5) -> Task:
    """Many to many, in step: at every step say the coin heard ``lag`` steps earlier.

    Args:
        rng: the source of randomness.
        size: B, how many sequences.
        steps: T.
        lag: k; the first k answers do not count. With 0 the answer is what is heard now.

    Returns:
        D = O = 1.

    Raises:
        ValueError: if a number is too small.
    """
    doors.at_least("lag", lag, 0)
    x = coins(rng, steps, size)
    known = np.arange(steps)[:, None] >= np.full(size, lag)
    return _task(x, np.where(known[:, :, None], np.roll(x, lag, axis=0), 0), known)


def coins(rng: np.random.Generator, steps: int, size: int, features: int = 1) -> np.ndarray:
    """Fair coins, +1 or -1.

    Args:
        rng: the source of randomness.
        steps: T.
        size: B.
        features: D.

    Returns:
        Shape (T, B, D).

    Raises:
        ValueError: if a number is too small.
    """
    _at_least_one(steps=steps, size=size, features=features)
    return rng.choice([-1.0, 1.0], size=(steps, size, features))


def _labelled(x: np.ndarray, label: np.ndarray, lengths: np.ndarray) -> Task:
    """A task whose only answer comes at the last real step."""
    mask = masks.last_steps(lengths, len(x))
    return _task(x, np.where(mask[:, :, None], label, 0), mask, lengths)


def _task(x: np.ndarray, targets: np.ndarray, mask: np.ndarray, lengths=None) -> Task:
    return Task(x, targets, mask, np.full(x.shape[1], len(x)) if lengths is None else lengths)


def _at_least_one(**numbers: int) -> None:
    for name, value in numbers.items():
        doors.at_least(name, value, 1)
