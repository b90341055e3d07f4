"""One long sequence as many short ones: chunks that begin early to warm up, and prove that they may stand.

A filter forgets where it began. So each chunk can start from anywhere a little before its beginning, and all
chunks run as one batch. Whether it forgot *enough* is not assumed but measured, where chunks meet; if one
has not, the sequence is run again, step by step.
"""

from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.hmm_params import HMMParams
from rnncourse.reference import emissions, hmm, hmm_log


class Result(NamedTuple):
    """What both passes found.

    Attributes:
        log_likelihood: log p(x_1..x_T), shape (1,).
        counts: as from ``hmm.backward``.
        mismatch: the largest distance, in Hilbert's metric, between what two chunks say where they meet.
        exact: True if the chunks did not agree and the sequence was run step by step.
    """

    log_likelihood: np.ndarray
    counts: hmm_log.Counts
    mismatch: float
    exact: bool


def posterior(params: HMMParams, observations, chunk: int = 200, warm: int = 50, tolerance: float = 1e-11) -> Result:
    """Log-likelihood and expected counts of one long sequence.

    Args:
        params: the model.
        observations: symbols (T, 1), integers, or vectors (T, 1, D).
        chunk: steps of a chunk.
        warm: steps that a chunk runs before its beginning and after its end.
        tolerance: the largest mismatch at any meeting point. Both recursions never stretch Hilbert's
            metric, so logarithms of the messages are off by at most this times the number of chunks.

    Returns:
        The results. They are those of ``hmm`` to within what the tolerance allows.

    Raises:
        ValueError: as ``hmm.forward``, or if there are several sequences, or a number is too small.
    """
    doors.at_least("chunk", chunk, 1)
    doors.at_least("warm", warm, 0)
    hmm_log.enter(params, observations, None)
    if np.shape(observations)[1] != 1:
        raise ValueError(f"observations: expected one long sequence, got {np.shape(observations)[1]}")
    table, index, scale = emissions.scaled(params.emission, observations)
    pi, P, _ = params
    mismatch = np.inf
    if 0 < warm < len(index) - chunk:
        with np.errstate(divide="ignore", invalid="ignore"):
            h, ahead = _pass(pi, P, table, index[:, 0], chunk, warm)
            u, back = _pass(np.ones(len(P)), P.T.copy(), table, index[::-1, 0], chunk, warm)
        mismatch = float(np.maximum(ahead, back))  # where one is NaN, so is this
    if not mismatch <= tolerance:  # NaN, too: something underflowed
        value, tape = hmm.forward(params, observations)
        return Result(value, hmm.backward(tape), mismatch, True)
    return Result(*_together(params, table, index[:, 0], h, u[::-1], scale), mismatch, False)


def hilbert(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Hilbert's distance of two positive vectors, :eq:`def-hilbert`: it does not see their lengths.

    Args:
        one: shape (..., K); zeros are allowed where the other has them too.
        other: the same shape.

    Returns:
        max_k log(one/other) - min_k log(one/other), shape (...). Infinite where an entry of only one of them
        is zero; NaN where all entries of one are, for such a vector has no direction.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.log(one) - np.log(other)
        # Where both are zero the ratio is NaN, and these two pass over it.
        return np.fmax.reduce(ratio, axis=-1) - np.fmin.reduce(ratio, axis=-1)


def _pass(start, P, table, index, chunk: int, warm: int) -> tuple[np.ndarray, float]:
    """One recursion by chunks: v_t up to a factor, shape (T, K), and the mismatch where chunks meet.

    Chunk n runs from n chunk to (n + 1) chunk + warm. The first begins where the sequence does; of the
    others only what comes after the warm-up is kept.
    """
    T, K = len(index), len(P)
    many = -(-(T - warm) // chunk)
    padded = np.full(many * chunk + warm, len(table) - 1)
    padded[:T] = index
    rows = padded[np.arange(chunk + warm)[:, None] + chunk * np.arange(many)]
    v, early = np.empty((len(padded), K), np.result_type(table, P)), np.empty((warm, many, K))
    late = v[warm:].reshape(many, chunk, K).swapaxes(0, 1)  # a view: chunks side by side
    ends = [hmm.run(start, P, table, rows[:warm], early)]
    ends.append(hmm.run(early[-1] @ P, P, table, rows[warm:], late))
    v[:warm] = early[:, 0]
    mismatch = hilbert(late[-1, :-1], early[-1, 1:]).max(initial=0) if all(map(hmm.fine, ends)) else np.inf
    return v[:T], mismatch


def _together(params: HMMParams, table, index, h, u, scale) -> tuple[np.ndarray, hmm_log.Counts]:
    """The results of both passes put together; h and u may be known up to a factor for each step. h is written over."""
    pi, P, _ = params
    N, log_kappa, last = np.zeros(P.shape, h.dtype), np.empty(len(h), h.dtype), None
    size = -(-hmm.TOGETHER // len(P))
    for begin in range(0, len(h), size):  # stretches: what a stretch needs stays in the cache
        now, rest = h[begin : begin + size], u[begin : begin + size]
        now /= hmm.sums(now)[:, None]
        before = now[:-1] if last is None else np.concatenate([last, now[:-1]])
        ahead = before @ P if last is not None else np.concatenate([pi[None], before @ P])
        log_kappa[begin : begin + size] = np.log(hmm.sums(ahead * table[index[begin : begin + size]]))
        ahead *= rest  # p(z_t | x_1..x_T) up to a factor
        inner = hmm.sums(ahead)[:, None]
        N += before.T @ (rest / inner)[len(now) - len(before) :]
        last = now[-1:].copy()
        np.divide(ahead, inner, out=now)
    value = (log_kappa + scale[:, 0]).sum(keepdims=True)
    return value, hmm_log.Counts(h[0].copy(), P * N, h[:, None])
