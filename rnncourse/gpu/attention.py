"""Attention: to every query an average of the keys, weighed by how well they answer it.

All queries of a sequence are asked at once. Here a key is also the value that is averaged.
"""

from typing import NamedTuple

import numpy as np
import torch

from rnncourse import doors, masks
from rnncourse.gpu import graph
from rnncourse.seq2seq_params import AdditiveParams, DotParams, check_attention


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass: tensors that are nodes of autograd's graph.

    Attributes:
        params: of the attention.
        queries: d_1..d_N, shape (N, B, H).
        keys: h_1..h_T, shape (T, B, M).
        weights: alpha, shape (N, B, T): the share of each key in each average; zero in the padding.
        contexts: the averages, shape (N, B, M).
    """

    params: DotParams | AdditiveParams
    queries: torch.Tensor
    keys: torch.Tensor
    weights: torch.Tensor
    contexts: torch.Tensor


class Gradients(NamedTuple):
    """What the backward pass returns.

    Attributes:
        params: gradients in the form of the parameters.
        queries: by every query, shape (N, B, H).
        keys: by every key, shape (T, B, M): through the average and through the weights.
    """

    params: DotParams | AdditiveParams
    queries: torch.Tensor
    keys: torch.Tensor


def forward(params: DotParams | AdditiveParams, queries, keys, lengths=None) -> tuple[torch.Tensor, Tape]:
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
    real = real_keys(lengths, *keys.shape[:2]).to(keys.device)
    doors.shape("queries", queries, ("N", keys.shape[1], "H"))
    W, d, tracked = graph.tracked((params, queries, keys))
    h = torch.where(real.T[:, :, None], tracked, 0).transpose(0, 1)  # (B, T, M)
    scores = _dot(W, d, h) if isinstance(W, DotParams) else _additive(W, d, h)
    alpha = torch.softmax(scores.masked_fill(~real, -torch.inf), dim=2)
    contexts = (alpha.transpose(0, 1) @ h).transpose(0, 1)
    tape = Tape(W, d, tracked, alpha, contexts)
    return graph.returned(contexts, params, queries, keys), tape


def backward(tape: Tape, d_contexts) -> Gradients:
    """Pull a gradient at the averages back, through autograd.

    Args:
        tape: from :func:`forward`.
        d_contexts: the gradient of the loss by every average, shape (N, B, M).

    Returns:
        Gradients with respect to parameters, queries and keys.

    Raises:
        ValueError: if the shape does not fit, or nothing was recorded.
    """
    doors.shape("d_contexts", d_contexts, tuple(tape.contexts.shape))
    return Gradients(*graph.pull(tape.contexts, d_contexts, (tape.params, tape.queries, tape.keys)))


def real_keys(lengths, T: int, B: int) -> torch.Tensor:
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
        return torch.ones(B, T, dtype=torch.bool)
    lengths = lengths.cpu() if isinstance(lengths, torch.Tensor) else lengths
    real = masks.valid_steps(np.asarray(lengths), T).T
    doors.shape("lengths", real[:, 0], (B,))
    if not real[:, 0].all():
        raise ValueError("lengths: a sequence without a key has nothing to be attended to")
    return torch.as_tensor(np.ascontiguousarray(real))


def _dot(params: DotParams, d, h):
    """u = (W_q d_n) . h_t / sqrt(M)."""
    q = (d @ params.query_weights.T).transpose(0, 1)
    return (q @ h.transpose(1, 2)).transpose(0, 1) * h.shape[2] ** -0.5


def _additive(params: AdditiveParams, d, h):
    """u = w . tanh(W_q d_n + W_k h_t)."""
    W_q, W_k, w = params
    return torch.tanh((d @ W_q.T)[:, :, None] + h @ W_k.T) @ w
