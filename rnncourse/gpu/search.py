"""From a decoder to a sequence: greedily, by chance, by beam search, or by trying everything.

A decoder is any function ``step(tokens, state) -> (log_probabilities, state)``: it takes the last symbols
(R,) and a state, nested tuples of tensors with R rows each, and returns log p of the next symbol (R, V). It
hears class 0 first, and has said everything when it says class 0.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from rnncourse import doors
from rnncourse.data.pairs import END
from rnncourse.gpu import sampling
from rnncourse.params import map_arrays, named_arrays


class Found(NamedTuple):
    """Sequences for each of B sources, K of them, the best first.

    Attributes:
        tokens: shape (B, K, N): padded with the end.
        lengths: symbols of each, its end counted, shape (B, K); 0 where nothing was found.
        log_probabilities: log p(y | x) as the decoder gives it, shape (B, K); minus infinity where nothing was.
        scores: what they are sorted by, shape (B, K): log p over length to a power.
        finished: whether the sequence has its end, shape (B, K).
    """

    tokens: torch.Tensor
    lengths: torch.Tensor
    log_probabilities: torch.Tensor
    scores: torch.Tensor
    finished: torch.Tensor


@torch.no_grad()
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
    return _write(step, state, limit, lambda n, log_p: log_p.argmax(dim=1))


@torch.no_grad()
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
    u = torch.as_tensor(uniforms)
    doors.shape("uniforms", u, ("N", rows(state)))
    doors.at_least("uniforms' steps", len(u), 1)
    return _write(step, state, len(u), lambda n, log_p: sampling.draw(log_p.double().exp(), u[n].to(log_p.device)))


@torch.no_grad()
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
    B, device = rows(state), _device(state)
    pool, alive = None, None
    beginnings = torch.zeros(B, 1, limit, dtype=torch.long, device=device)
    last = torch.full((B,), END, device=device)
    for n in range(1, limit + 1):
        log_p, state = step(last, state)
        V = log_p.shape[1]
        totals = log_p.reshape(B, -1, V) + (0 if alive is None else alive[:, :, None])
        pool = _nothing(totals, width, limit) if pool is None else pool
        pool = _best(pool, beginnings, totals[:, :, END], n, power)
        if n == limit or V == 1:
            break
        totals[:, :, END] = -torch.inf
        alive, kept = totals.flatten(1).topk(min(width, totals.shape[1] * (V - 1)), dim=1)
        if (pool.scores[:, -1] >= alive[:, 0] / limit**power).all():
            break
        parents, symbols = kept // V, kept % V
        beginnings = beginnings.gather(1, parents[:, :, None].expand(-1, -1, limit))
        beginnings[:, :, n - 1] = symbols
        places = (torch.arange(B, device=device)[:, None] * totals.shape[1] + parents).flatten()
        last, state = symbols.flatten(), map_arrays(lambda tensor, p=places: tensor[p], state)
    return pool


@torch.no_grad()
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
    B, device, found, logs = rows(state), _device(state), [], None
    beginnings = torch.zeros(B, 1, 0, dtype=torch.long, device=device)
    last = torch.full((B,), END, device=device)
    for n in range(1, limit + 1):
        log_p, state = step(last, state)
        width, V = beginnings.shape[1], log_p.shape[1]
        totals = log_p.reshape(B, width, V) + (0 if logs is None else logs[:, :, None])
        ended = torch.nn.functional.pad(beginnings, (0, limit + 1 - n), value=END)
        found.append((ended, torch.full((B, width), n, device=device), totals[:, :, END]))
        if n == limit or V == 1:
            break
        logs = totals[:, :, 1:].flatten(1)
        tail = torch.arange(1, V, device=device).repeat(width).expand(B, -1)
        beginnings = torch.cat([beginnings.repeat_interleave(V - 1, dim=1), tail[:, :, None]], dim=2)
        places = torch.arange(B * width, device=device).repeat_interleave(V - 1)
        last, state = tail.flatten(), map_arrays(lambda tensor, p=places: tensor[p], state)
    tokens, lengths, logs = (torch.cat(parts, dim=1) for parts in zip(*found, strict=True))
    everything = Found(tokens, lengths, logs, logs / lengths**power, logs.isfinite())
    return _sorted(everything, (-everything.scores).argsort(dim=1, stable=True))


def rows(state: Any) -> int:
    """How many rows the tensors of a state have.

    Args:
        state: nested tuples of tensors.

    Returns:
        The size of the first axis of the first of them.

    Raises:
        ValueError: if there is no tensor.
    """
    first = next((tensor for _, tensor in named_arrays(state)), None)
    if first is None or not getattr(first, "shape", ()):
        raise ValueError("state: expected arrays with a row for each source, got none")
    return int(first.shape[0])


def _device(state: Any) -> torch.device:
    return next(tensor for _, tensor in named_arrays(state)).device


def _check(limit: int, power: float) -> None:
    doors.at_least("limit", limit, 1)
    if not power >= 0:
        raise ValueError(f"power: expected 0 or more, got {power}")


def _write(step: Callable, state: Any, limit: int, choose: Callable) -> Found:
    """One sequence for each source; after its end a row goes on unheard."""
    B, device = rows(state), _device(state)
    tokens = torch.zeros(limit, B, dtype=torch.long, device=device)
    open_, lengths = torch.ones(B, dtype=torch.bool, device=device), torch.zeros(B, dtype=torch.long, device=device)
    last, total = torch.full((B,), END, device=device), 0.0
    for n in range(limit):
        log_p, state = step(last, state)
        last = torch.where(open_, choose(n, log_p), END)
        total = total + torch.where(open_, log_p.gather(1, last[:, None])[:, 0], 0)
        lengths += open_
        tokens[n] = last
        open_ = open_ & (last != END)
        if not open_.any():
            break
    return Found(tokens.T[:, None], lengths[:, None], total[:, None], total[:, None], ~open_[:, None])


def _nothing(like: torch.Tensor, width: int, limit: int) -> Found:
    """Lists without an entry yet."""
    none = like.new_full((len(like), width), -torch.inf)
    zeros = torch.zeros(len(like), width, dtype=torch.long, device=like.device)
    return Found(zeros[:, :, None].repeat(1, 1, limit), zeros, none, none, zeros.bool())


def _best(pool: Found, beginnings: torch.Tensor, logs: torch.Tensor, n: int, power: float) -> Found:
    """The list again, with what has ended at length n."""
    real = logs.isfinite()
    ended = Found(beginnings * real[:, :, None], n * real, logs, logs / n**power, real)
    both = Found(*(torch.cat(parts, dim=1) for parts in zip(pool, ended, strict=True)))
    return _sorted(both, both.scores.argsort(dim=1, descending=True, stable=True)[:, : pool.scores.shape[1]])


def _sorted(found: Found, order: torch.Tensor) -> Found:
    tokens = found.tokens.gather(1, order[:, :, None].expand(-1, -1, found.tokens.shape[2]))
    return Found(tokens, *(part.gather(1, order) for part in found[1:]))
