"""Sequences with a planted cause: each is written by one of several Markov chains, which stays hidden.

All chains use every symbol equally often in the long run and differ in what follows what; so single symbols
say nothing of the cause, and a pair of neighbours says a little. Whoever knows the chains can work out, for
any sequence, how probable each is.
"""

from typing import NamedTuple

import numpy as np

from rnncourse import doors


class Drawn(NamedTuple):
    """Sequences and what wrote them.

    Attributes:
        words: symbols 1..S and an end, 0, in every column, integers, shape (T + 1, B).
        causes: the chain of each, integers in 0..C-1, shape (B,).
    """

    words: np.ndarray
    causes: np.ndarray


def turning(symbols: int = 4, faith: float = 0.7) -> np.ndarray:
    """Chains that step around a circle, each by an amount of its own: 0, 1, ..., S - 1 places.

    Args:
        symbols: S, which is the number of chains, too.
        faith: probability of the chain's own step; every other has an equal part of the rest.

    Returns:
        Transition matrices, rows summing to one, shape (S, S, S): chain, from, to.

    Raises:
        ValueError: if there are less than two symbols, or the faith is not between 0 and 1.
    """
    doors.at_least("symbols", symbols, 2)
    if not 0 < faith < 1:
        raise ValueError(f"faith: expected a number between 0 and 1, got {faith}")
    step = (np.arange(symbols)[None] - np.arange(symbols)[:, None]) % symbols
    own = step[None] == np.arange(symbols)[:, None, None]
    return np.where(own, faith, (1 - faith) / (symbols - 1))


def draw(rng: np.random.Generator, chains: np.ndarray, size: int, steps: int) -> Drawn:
    """Choose a chain for each sequence, evenly, and let it write; the first symbol is any.

    Args:
        rng: the source of randomness.
        chains: transition matrices, shape (C, S, S).
        size: B, how many sequences.
        steps: T, symbols of each.

    Returns:
        The sequences and their causes.

    Raises:
        ValueError: if a size is no whole number, or less than 1.
    """
    doors.shape("chains", chains, ("C", "S", chains.shape[1]))
    doors.at_least("size", size, 1)
    doors.at_least("steps", steps, 1)
    causes = rng.integers(len(chains), size=size)
    words = np.zeros((steps + 1, size), np.int64)
    words[0] = rng.integers(chains.shape[1], size=size)
    for t in range(1, steps):
        sums = chains[causes, words[t - 1]].cumsum(axis=1)
        words[t] = np.minimum((rng.random((size, 1)) >= sums).sum(axis=1), chains.shape[1] - 1)
    words[:steps] += 1
    return Drawn(words, causes)


def log_joint(chains: np.ndarray, words: np.ndarray) -> np.ndarray:
    """log p(cause, sequence) of every chain; the log-sum over chains is log p(sequence), the lengths being known.

    Args:
        chains: transition matrices, shape (C, S, S).
        words: as in :class:`Drawn`, all of one length, shape (T + 1, B).

    Returns:
        In nats, shape (C, B).
    """
    at = words[:-1] - 1
    steps = np.log(chains)[:, at[:-1], at[1:]].sum(axis=1)
    return steps - np.log(len(chains)) - np.log(chains.shape[1])


def bayes(chains: np.ndarray, words: np.ndarray) -> np.ndarray:
    """The most probable chain of each sequence: nobody can be right more often.

    Args:
        chains: transition matrices, shape (C, S, S).
        words: shape (T + 1, B).

    Returns:
        Integers in 0..C-1, shape (B,).
    """
    return log_joint(chains, words).argmax(axis=0)
