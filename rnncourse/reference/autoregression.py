"""Distributions over sequences, built from "what comes next, given what came before".

Small enough to be exact: joint tables with an axis for each step, and sums over every sequence there is.
A *next* function takes prefixes, integers of shape (t, B), and returns the probabilities of the next
symbol, shape (B, V); whatever has one can be sampled and summed.
"""

from collections.abc import Callable

import numpy as np

from rnncourse import doors
from rnncourse.data.text import as_classes
from rnncourse.params import ModelParams
from rnncourse.reference import cells, readout, unroll


def conditionals(joint) -> tuple[np.ndarray, ...]:
    """Every conditional of a joint table, the chain rule from left to right, :eq:`eq-probability-chain-rule`.

    Args:
        joint: p(x_1, ..., x_T), an axis for each step; the entries sum to 1.

    Returns:
        For each step t a table of t axes: p(x_t | x_1, ..., x_{t-1}), whose last axis sums to 1. After
        a past that cannot happen, every symbol is given the same probability: any choice would do.

    Raises:
        ValueError: if an entry is negative or not finite, or they do not sum to 1.
    """
    joint = as_distribution("joint", joint, axis=None)
    past, found = joint.sum(), []
    for t in range(1, joint.ndim + 1):
        present = joint.sum(axis=tuple(range(t, joint.ndim)))  # sums the future out
        before = past[..., None]
        ratio = present / np.where(before > 0, before, 1)
        found.append(np.where(before > 0, ratio, 1 / present.shape[-1]))
        past = present
    return tuple(found)


def joint(tables) -> np.ndarray:
    """The joint table back from its conditionals: their product, :eq:`eq-probability-chain-rule`.

    Args:
        tables: p(x_t | x_1, ..., x_{t-1}) for t = 1..T, as :func:`conditionals` returns them.

    Returns:
        p(x_1, ..., x_T), an axis for each step.

    Raises:
        ValueError: if a table does not continue the one before, or its last axis does not sum to 1.
    """
    product = np.ones(())
    for table in tables:
        table = as_distribution("tables", table, axis=-1)
        doors.shape("tables", table, (*product.shape, "V"))
        product = product[..., None] * table
    return product


def order_gap(table, order: int) -> float:
    """How much the last symbol's distribution can still depend on what lies more than m symbols back.

    It is zero if the last step has Markov order m, :eq:`def-markov-order`.

    Args:
        table: p(x_1, ..., x_T), an axis for each step.
        order: m, how many of the symbols before the last are told, 0..T-1.

    Returns:
        The largest total variation distance, over all pasts that can happen, between the last
        symbol's distribution given the whole past and given its last m symbols.

    Raises:
        ValueError: if the table is no distribution, or the order out of range.
    """
    table = as_distribution("table", table, axis=None)
    doors.one_of("order", order, range(table.ndim))
    whole = conditionals(table)[-1]
    recent = conditionals(table.sum(axis=tuple(range(table.ndim - 1 - order))))[-1]
    distance = np.abs(whole - recent).sum(axis=-1) / 2
    return float(distance[table.sum(axis=-1) > 0].max())


def next_in_tables(tables) -> Callable:
    """The next function of a list of conditionals.

    Args:
        tables: p(x_t | x_1, ..., x_{t-1}) for t = 1..T, as :func:`conditionals` returns them.

    Returns:
        A function from prefixes (t, B), t < T, to probabilities (B, V).
    """

    def following(prefix: np.ndarray) -> np.ndarray:
        table = tables[len(prefix)]
        return table[tuple(prefix)] if len(prefix) else np.tile(table, (prefix.shape[1], 1))

    return following


def next_in_rnn(cell: cells.Cell, params: ModelParams) -> Callable:
    """The next function of a recurrent network, which reads one-hot symbols after a first input of zeros.

    Args:
        cell: the recurrence.
        params: cell, readout and initial state; D = O = V.

    Returns:
        A function from prefixes (t, B) to probabilities (B, V): the softmax of the output after them.
    """
    V = len(params.readout.bias)

    def following(prefix: np.ndarray) -> np.ndarray:
        start = np.zeros((1, prefix.shape[1], V))
        x = np.concatenate([start, np.eye(V)[as_classes(prefix, V)]])
        hidden, _, _ = unroll.forward(cell, params.cell, x, params.initial_state)
        y = readout.forward(params.readout, hidden[-1:])[0][0]
        p = np.exp(y - y.max(axis=1, keepdims=True))
        return p / p.sum(axis=1, keepdims=True)

    return following


def sample(rng, following: Callable, steps: int, size: int) -> np.ndarray:
    """Ancestral sampling: draw a symbol, append it, ask for the next.

    A symbol's number is how many of the cumulative probabilities a uniform draw has passed.

    Args:
        rng: the source of randomness, a ``numpy.random.Generator``.
        following: a next function.
        steps: T, the length of the sequences.
        size: B, how many of them.

    Returns:
        Symbols, integers of shape (T, B): independent draws from the joint distribution.

    Raises:
        ValueError: if a number is too small, or what comes next is no distribution.
    """
    doors.at_least("steps", steps, 1)
    doors.at_least("size", size, 1)
    drawn = np.zeros((0, size), np.int64)
    for _ in range(steps):
        p = as_distribution("following", following(drawn), axis=-1)
        passed = rng.random(size)[:, None] >= np.cumsum(p, axis=1)[:, :-1]
        drawn = np.concatenate([drawn, passed.sum(axis=1)[None]])
    return drawn


def masses(following: Callable, alphabet: int, end: int, longest: int) -> tuple[np.ndarray, float]:
    """How much probability lies on the sequences of each length, by visiting them all, :eq:`eq-total-mass`.

    Args:
        following: a next function over V symbols.
        alphabet: V, the number of symbols, the end symbol among them.
        end: the symbol that ends a sequence; it is not counted in the length.
        longest: N, the greatest length; the work grows as (V - 1)^N.

    Returns:
        ``(ended, running)``: the mass of the sequences of length 0..N, shape (N + 1,), and the mass of
        those that have passed up all N + 1 chances to end. Together they are 1.

    Raises:
        ValueError: if a number is out of range, or what comes next is no distribution.
    """
    doors.at_least("alphabet", alphabet, 1)
    doors.at_least("longest", longest, 0)
    doors.one_of("end", end, range(alphabet))
    letters = np.delete(np.arange(alphabet), end)
    prefixes, mass, ended = np.zeros((0, 1), np.int64), np.ones(1), []
    for _ in range(longest + 1):
        p = as_distribution("following", following(prefixes), axis=-1)
        doors.shape("following", p, (len(mass), alphabet))
        ended.append(float(mass @ p[:, end]))
        mass = (mass[:, None] * p[:, letters]).ravel()
        prefixes = np.concatenate(
            [np.repeat(prefixes, len(letters), axis=1), np.tile(letters, prefixes.shape[1])[None]]
        )
    return np.array(ended), float(mass.sum())


def as_distribution(name: str, table, axis: int | None) -> np.ndarray:
    """Check that numbers are probabilities.

    Args:
        name: the argument's name, for the message.
        table: the numbers.
        axis: along which they sum to 1; None for all of them together.

    Returns:
        The numbers as an array of float64.

    Raises:
        ValueError: if one is negative or not finite, or a sum is not 1.
    """
    table = np.asarray(table, float)
    doors.finite(name, table)
    if not table.size or (table < 0).any() or not np.allclose(table.sum(axis=axis), 1, rtol=0, atol=1e-9):
        raise ValueError(f"{name}: expected numbers >= 0 that sum to 1, got shape {table.shape}, sum {table.sum():g}")
    return table
