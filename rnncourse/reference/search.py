"""From a decoder to a sequence: greedily, by chance, by beam search, or by trying everything.

A decoder is any function ``step(tokens, state) -> (log_probabilities, state)``: it takes the last symbols
(R,) and a state, nested tuples of arrays with R rows each, and returns log p of the next symbol (R, V). It
hears class 0 first, and has said everything when it says class 0.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.data.pairs import END
from rnncourse.params import map_arrays, named_arrays
from rnncourse.reference import sampling


class Found(NamedTuple):
    """Sequences for each of B sources, K of them, the best first.

    Attributes:
        tokens: shape (B, K, N): padded with the end.
        lengths: symbols of each, its end counted, shape (B, K); 0 where nothing was found.
        log_probabilities: log p(y | x) as the decoder gives it, shape (B, K); minus infinity where nothing was.
        scores: what they are sorted by, shape (B, K): log p over length to a power.
        finished: whether the sequence has its end, shape (B, K).
    """

    tokens: np.ndarray
    lengths: np.ndarray
    log_probabilities: np.ndarray
    scores: np.ndarray
    finished: np.ndarray


def greedy(step: Callable, state: Any, limit: int) -> Found:
    """Say what is most probable now, again and again.

    Args:
        step: a decoder.
        state: what it begins with, B rows.
        limit: N, the most symbols, the end counted.

    Returns:
        One sequence for each source.

    Raises:
        ValueError: if the limit is less than 1 or the state has no rows.
    """
    doors.at_least("limit", limit, 1)
    return _write(step, state, limit, lambda n, log_p: log_p.argmax(axis=1))


def ancestral(step: Callable, state: Any, uniforms) -> Found:
    """Draw every symbol from the decoder's own probabilities: a fair draw from p(y | x).

    Args:
        step: a decoder.
        state: what it begins with, B rows.
        uniforms: numbers in [0, 1), drawn evenly, shape (N, B).

    Returns:
        One sequence for each source.

    Raises:
        ValueError: if the shape does not fit the state.
    """
    u = np.asarray(uniforms)
    doors.shape("uniforms", u, ("N", rows(state)))
    doors.at_least("uniforms' steps", len(u), 1)
    return _write(step, state, len(u), lambda n, log_p: sampling.draw(np.exp(log_p), u[n]))


def beam(step: Callable, state: Any, width: int, limit: int, power: float = 0.0) -> Found:
    """Keep the best unfinished beginnings at every length, and the best finished sequences ever met.

    It stops before the limit only where nothing that goes on can enter the list, :eq:`eq-beam-bound`.

    Args:
        step: a decoder.
        state: what it begins with, B rows.
        width: K, beginnings and sequences kept for each source.
        limit: N, the most symbols, the end counted.
        power: sequences are sorted by log p over their length to this power: 0 for the most probable,
            1 for the best on average a symbol.

    Returns:
        At most K sequences for each source, all of them finished; ``finished`` is False where fewer were.

    Raises:
        ValueError: if a size is less than 1, the power negative, or the state has no rows.
    """
    doors.at_least("width", width, 1)
    _check(limit, power)
    B, pool = rows(state), _nothing(rows(state), width, limit)
    each = np.arange(B)[:, None]  # the sources, down the rows
    alive, beginnings, last = np.zeros((B, 1)), np.zeros((B, 1, limit), np.int64), np.full(B, END)
    for n in range(1, limit + 1):
        log_p, state = step(last, state)
        V = log_p.shape[1]
        totals = alive[:, :, None] + log_p.reshape(B, -1, V)
        pool = _best(pool, beginnings, totals[:, :, END], n, power)
        if n == limit or V == 1:
            break
        totals[:, :, END] = -np.inf
        kept, alive = _highest(totals.reshape(B, -1), min(width, totals.shape[1] * (V - 1)))
        if (pool.scores[:, -1] >= alive[:, 0] / limit**power).all():
            break
        parents, symbols = np.divmod(kept, V)
        beginnings = beginnings[each, parents]
        beginnings[:, :, n - 1] = symbols
        places = (each * totals.shape[1] + parents).ravel()
        last, state = symbols.ravel(), map_arrays(lambda array, p=places: array[p], state)
    return pool


def exhaustive(step: Callable, state: Any, limit: int, power: float = 0.0) -> Found:
    """Try every sequence of at most N symbols: with V symbols there are sum (V - 1)^(n - 1) of them.

    Args:
        step: a decoder.
        state: what it begins with, B rows.
        limit: N, the most symbols, the end counted.
        power: as in :func:`beam`.

    Returns:
        All of them for each source, sorted.

    Raises:
        ValueError: if the limit is less than 1, the power negative, or the state has no rows.
    """
    _check(limit, power)
    B, found = rows(state), []
    logs, beginnings, last = np.zeros((B, 1)), np.zeros((B, 1, 0), np.int64), np.full(B, END)
    for n in range(1, limit + 1):
        log_p, state = step(last, state)
        V, width = log_p.shape[1], logs.shape[1]
        totals = logs[:, :, None] + log_p.reshape(B, width, V)
        ended = np.pad(beginnings, ((0, 0), (0, 0), (0, limit + 1 - n)))
        found.append((ended, np.full((B, width), n), totals[:, :, END]))
        parents, symbols = np.divmod(np.arange(width * (V - 1)), V - 1) if V > 1 else (np.arange(0),) * 2
        if n == limit or not len(parents):
            break
        logs = totals[:, parents, symbols + 1]
        tail = np.broadcast_to(symbols + 1, (B, len(symbols)))
        beginnings = np.concatenate([beginnings[:, parents], tail[:, :, None]], axis=2)
        places = (np.arange(B)[:, None] * width + parents).ravel()
        last, state = tail.ravel(), map_arrays(lambda array, p=places: array[p], state)
    tokens, lengths, logs = (np.concatenate(parts, axis=1) for parts in zip(*found, strict=True))
    everything = Found(tokens, lengths, logs, logs / lengths**power, np.isfinite(logs))
    return _sorted(everything, np.argsort(-everything.scores, axis=1, kind="stable"))


def rows(state: Any) -> int:
    """How many rows the arrays of a state have.

    Args:
        state: nested tuples of arrays.

    Returns:
        The size of the first axis of the first of them.

    Raises:
        ValueError: if there is no array.
    """
    first = next((array for _, array in named_arrays(state)), None)
    if first is None or not getattr(first, "shape", ()):
        raise ValueError("state: expected arrays with a row for each source, got none")
    return int(first.shape[0])


def _check(limit: int, power: float) -> None:
    doors.at_least("limit", limit, 1)
    if not power >= 0:
        raise ValueError(f"power: expected 0 or more, got {power}")


def _write(step: Callable, state: Any, limit: int, choose: Callable) -> Found:
    """One sequence for each source; after its end a row goes on unheard."""
    B = rows(state)
    tokens, total, open_ = np.zeros((limit, B), np.int64), np.zeros(B), np.ones(B, bool)
    lengths, last = np.zeros(B, np.int64), np.full(B, END)
    for n in range(limit):
        log_p, state = step(last, state)
        last = np.where(open_, choose(n, log_p), END)
        total += np.where(open_, log_p[np.arange(B), last], 0)
        lengths += open_
        tokens[n] = last
        open_ = open_ & (last != END)
        if not open_.any():
            break
    return Found(tokens.T[:, None], lengths[:, None], total[:, None], total[:, None], ~open_[:, None])


def _nothing(B: int, width: int, limit: int) -> Found:
    """Lists without an entry yet."""
    none = np.full((B, width), -np.inf)
    zeros = np.zeros((B, width), np.int64)
    return Found(np.zeros((B, width, limit), np.int64), zeros, none, none, zeros.astype(bool))


def _best(pool: Found, beginnings: np.ndarray, logs: np.ndarray, n: int, power: float) -> Found:
    """The list again, with what has ended at length n; of equals the older stays, so the impossible never enters."""
    scores = logs / n**power
    if (scores <= pool.scores[:, -1:]).all():  # nothing enters
        return pool
    ended = Found(beginnings, np.full(logs.shape, n), logs, scores, np.full(logs.shape, True))
    both = Found(*(np.concatenate(parts, axis=1) for parts in zip(pool, ended, strict=True)))
    return _sorted(both, np.argsort(-both.scores, axis=1, kind="stable")[:, : pool.scores.shape[1]])


def _sorted(found: Found, order: np.ndarray) -> Found:
    each = np.arange(len(order))[:, None]
    return Found(*(part[each, order] for part in found))


def _highest(values: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """Places and values of the highest in every row, from high to low; of equals, the first."""
    places = np.array([_few(row, count) for row in values])
    return places, values[np.arange(len(values))[:, None], places]


def _few(row: np.ndarray, count: int, blocks: int = 64) -> np.ndarray:
    """Places of the highest. The count-th highest of the blocks' maxima is beaten by few, and by none that matters."""
    size = len(row) // blocks
    some = np.arange(len(row))
    if size > 1 and count <= blocks:
        maxima = row[: size * blocks].reshape(blocks, size).max(axis=1)
        some = np.flatnonzero(row >= np.partition(maxima, blocks - count)[blocks - count])
    return some[np.argsort(-row[some], kind="stable")[:count]]
