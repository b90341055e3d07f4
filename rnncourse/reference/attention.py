"""Attention: to every query an average of the keys, weighed by how well they answer it.

All queries of a sequence are asked at once. Here a key is also the value that is averaged.
"""

from typing import NamedTuple

import numpy as np

from rnncourse import doors, masks
from rnncourse.seq2seq_params import AdditiveParams, DotParams, check_attention


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    Attributes:
        params: of the attention.
        queries: d_1..d_N, shape (N, B, H).
        keys: h_1..h_T with padding set to zero, shape (T, B, M).
        weights: alpha, shape (N, B, T): the share of each key in each average; zero in the padding.
        saved: W_q d_n (N, B, M) of a dot product; the hidden layer (N, B, T, A) of a small network.
    """

    params: DotParams | AdditiveParams
    queries: np.ndarray
    keys: np.ndarray
    weights: np.ndarray
    saved: np.ndarray


class Gradients(NamedTuple):
    """What the backward pass returns.

    Attributes:
        params: gradients in the form of the parameters.
        queries: by every query, shape (N, B, H).
        keys: by every key, shape (T, B, M): through the average and through the weights.
    """

    params: DotParams | AdditiveParams
    queries: np.ndarray
    keys: np.ndarray


def forward(params: DotParams | AdditiveParams, queries, keys, lengths=None) -> tuple[np.ndarray, Tape]:
    """Score, weigh, average: :eq:`def-attention-weights` and :eq:`def-attention-context`.

    Args:
        params: ``DotParams`` for :eq:`def-dot-score`, ``AdditiveParams`` for :eq:`def-additive-score`.
        queries: d, shape (N, B, H).
        keys: h, shape (T, B, M). Padding may hold anything, NaN included.
        lengths: real keys of each sequence, at least one, shape (B,); all T unless given.

    Returns:
        ``(contexts, tape)``: the averages, shape (N, B, M), and what :func:`backward` needs.

    Raises:
        ValueError: if a shape does not fit, or a sequence has no key at all.
    """
    doors.sequences("queries", queries, "H")
    doors.sequences("keys", keys, "M")
    check_attention(params, queries.shape[2], keys.shape[2])
    real = real_keys(lengths, *keys.shape[:2])
    doors.shape("queries", queries, ("N", keys.shape[1], "H"))
    h = np.where(real.T[:, :, None], keys, 0)
    scores, saved = _dot(params, queries, h) if isinstance(params, DotParams) else _additive(params, queries, h)
    highest = np.where(real, scores.real, -np.inf).max(axis=2, keepdims=True)
    e = np.exp(np.where(real, scores - highest, 0)) * real
    alpha = e / e.sum(axis=2, keepdims=True)
    contexts = (alpha.transpose(1, 0, 2) @ h.transpose(1, 0, 2)).transpose(1, 0, 2)
    return contexts, Tape(params, queries, h, alpha, saved)


def backward(tape: Tape, d_contexts) -> Gradients:
    """Pull a gradient at the averages back, :eq:`eq-attention-score-gradient` and what follows it.

    Args:
        tape: from :func:`forward`.
        d_contexts: the gradient of the loss by every average, shape (N, B, M).

    Returns:
        Gradients with respect to parameters, queries and keys.

    Raises:
        ValueError: if the shape does not fit.
    """
    params, queries, h, alpha, _ = tape
    g = np.asarray(d_contexts)
    doors.shape("d_contexts", g, (*queries.shape[:2], h.shape[2]))
    by_batch = h.transpose(1, 2, 0)  # (B, M, T)
    d_alpha = (g.transpose(1, 0, 2) @ by_batch).transpose(1, 0, 2)  # g_n . h_t
    d_scores = alpha * (d_alpha - (alpha * d_alpha).sum(axis=2, keepdims=True))
    averaged = (alpha.transpose(1, 2, 0) @ g.transpose(1, 0, 2)).transpose(1, 0, 2)
    pull = _pull_dot if isinstance(params, DotParams) else _pull_additive
    d_params, d_queries, through_scores = pull(tape, d_scores)
    return Gradients(d_params, d_queries, averaged + through_scores)


def real_keys(lengths, T: int, B: int) -> np.ndarray:
    """Which keys may be looked at.

    Args:
        lengths: real keys of each sequence, shape (B,), or None for all.
        T: the padded length.
        B: the number of sequences.

    Returns:
        Booleans, shape (B, T).

    Raises:
        ValueError: if lengths do not fit, or one is 0.
    """
    if lengths is None:
        return np.ones((B, T), bool)
    real = masks.valid_steps(lengths, T).T
    doors.shape("lengths", real[:, 0], (B,))
    if not real[:, 0].all():
        raise ValueError("lengths: a sequence without a key has nothing to be attended to")
    return real


def _dot(params: DotParams, d, h):
    """u = (W_q d_n) . h_t / sqrt(M)."""
    q = d @ params.query_weights.T
    scores = (q.transpose(1, 0, 2) @ h.transpose(1, 2, 0)).transpose(1, 0, 2)
    return scores * h.shape[2] ** -0.5, q


def _pull_dot(tape: Tape, d_scores):
    (W_q,), d, h, _, q = tape
    d_scores = d_scores * h.shape[2] ** -0.5
    d_q = (d_scores.transpose(1, 0, 2) @ h.transpose(1, 0, 2)).transpose(1, 0, 2)
    d_h = (d_scores.transpose(1, 2, 0) @ q.transpose(1, 0, 2)).transpose(1, 0, 2)
    return DotParams(_rows(d_q).T @ _rows(d)), d_q @ W_q, d_h


def _additive(params: AdditiveParams, d, h):
    """u = w . tanh(W_q d_n + W_k h_t)."""
    W_q, W_k, w = params
    layer = np.tanh((d @ W_q.T)[:, :, None] + (h @ W_k.T).transpose(1, 0, 2))
    return layer @ w, layer


def _pull_additive(tape: Tape, d_scores):
    (W_q, W_k, w), d, h, _, layer = tape
    delta = d_scores[..., None] * w * (1 - layer * layer)  # (N, B, T, A)
    to_queries, to_keys = delta.sum(axis=2), delta.sum(axis=0).transpose(1, 0, 2)
    d_w = _rows(layer).T @ d_scores.ravel()
    d_params = AdditiveParams(_rows(to_queries).T @ _rows(d), _rows(to_keys).T @ _rows(h), d_w)
    return d_params, to_queries @ W_q, to_keys @ W_k


def _rows(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1, array.shape[-1])
