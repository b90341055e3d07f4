"""Encoder, decoder and attention for one pair at a time, from the definitions; and every sequence that may be said.

Nothing here calls the library; its NamedTuples carry numbers. There is no padding and no batch.
"""

import itertools

import torch
from cell_oracles import lstm

from rnncourse.seq2seq_params import DotParams


def average(params, query, keys):
    """The context of one query (H,) over keys, a list of (M,); and the weights."""
    if isinstance(params, DotParams):
        q = params.query_weights @ query
        scores = [sum(q * h) / len(h) ** 0.5 for h in keys]
    else:
        W_q, W_k, w = params
        scores = [sum(w * torch.tanh(W_q @ query + W_k @ h)) for h in keys]
    e = [torch.exp(score) for score in scores]
    weights = [one / sum(e) for one in e]
    return sum(a * h for a, h in zip(weights, keys, strict=True)), weights


def read(params, x):
    """States of the encoder and what is handed over, for one source: a list of classes with its end."""
    E, encoder, *_ = params

    def run(cell, symbols):
        H = cell.recurrent_weights.shape[1]
        state, h = (torch.zeros(H, dtype=E.dtype),) * 2, []
        for symbol in symbols:
            state = lstm(cell, E[symbol], state)
            h.append(state[0])
        return h, state

    if not hasattr(encoder, "forwards"):
        return run(encoder, x)
    ahead, last = run(encoder.forwards, x)
    behind, first = run(encoder.backwards, x[::-1])
    keys = [torch.cat(pair) for pair in zip(ahead, behind[::-1], strict=True)]
    return keys, tuple(torch.cat(pair) for pair in zip(last, first, strict=True))


def log_probabilities(params, x, y):
    """log p of every y_n given those before it, for one pair; and the logits."""
    _, _, F, decoder, attention, (W_y, b_y) = params
    keys, state = read(params, x)
    logs, logits, last = [], [], 0
    for symbol in y:
        state = lstm(decoder, F[last], state)
        seen = torch.cat([state[0], average(attention, state[0], keys)[0]]) if attention else state[0]
        logits.append(W_y @ seen + b_y)
        logs.append(logits[-1][symbol] - torch.log(torch.exp(logits[-1]).sum()))
        last = symbol
    return logs, logits


def everything(symbols, limit):
    """Every sequence of classes 1..symbols with its end 0, of at most ``limit`` symbols in all."""
    for length in range(limit):
        for words in itertools.product(range(1, symbols + 1), repeat=length):
            yield (*words, 0)
