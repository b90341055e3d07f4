"""The LSTM, forwards and backwards, against `torch.nn.LSTM` and against a textbook's NumPy."""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from benchmarks import gated
from benchmarks.gated import BATCH, DTYPES, STEPS, WIDTHS  # noqa: F401  (the sizes of this race)
from benchmarks.race import Case
from rnncourse.bridge_gates import lstm_to_torch
from rnncourse.gate_params import LSTMParams, init_lstm
from rnncourse.reference import lstm


def cases(steps: int = STEPS, batch: int = BATCH, widths=WIDTHS) -> Iterator[Case]:
    """One line-up for every width and precision, as :func:`benchmarks.gated.cases`."""
    peers = {"torch.nn.LSTM": torch_lstm, "textbook NumPy": textbook}
    yield from gated.cases(gated.Entry(lstm.plain(), init_lstm, peers, step), steps, batch, widths)


def torch_lstm(params: LSTMParams, x: np.ndarray, g: np.ndarray) -> Callable:
    return gated.torch_layer(lstm_to_torch(params), x, g, lambda d_W_x, d_W_h, d_b, _: (d_W_x, d_W_h, d_b))


def textbook(params: LSTMParams, x: np.ndarray, g: np.ndarray) -> Callable:
    """The equations as a textbook's listing has them: each step does all of its products itself."""
    W_x, W_h, b = params

    def sigma(a):
        return 1 / (1 + np.exp(-a))

    def work():
        T, H = len(x), W_h.shape[1]
        h, c = (np.zeros((T + 1, *g.shape[1:]), x.dtype) for _ in range(2))
        gates = []
        for t in range(T):
            a_i, a_f, a_g, a_o = np.split(x[t] @ W_x.T + h[t] @ W_h.T + b, 4, axis=1)
            i, f, n, o = sigma(a_i), sigma(a_f), np.tanh(a_g), sigma(a_o)
            c[t + 1] = f * c[t] + i * n
            h[t + 1] = o * np.tanh(c[t + 1])
            gates.append((i, f, n, o))
        d_W_x, d_W_h, d_b, d_x = np.zeros_like(W_x), np.zeros_like(W_h), np.zeros_like(b), np.zeros_like(x)
        d_h, d_c = np.zeros_like(h[0]), np.zeros_like(h[0])
        for t in reversed(range(T)):
            (i, f, n, o), seen = gates[t], np.tanh(c[t + 1])
            d_h = d_h + g[t]
            d_c = d_c + d_h * o * (1 - seen**2)
            d_i, d_f = d_c * n * i * (1 - i), d_c * c[t] * f * (1 - f)
            d_n, d_o = d_c * i * (1 - n**2), d_h * seen * o * (1 - o)
            delta = np.concatenate([d_i, d_f, d_n, d_o], axis=1)
            d_W_x += delta.T @ x[t]
            d_W_h += delta.T @ h[t]
            d_b += delta.sum(axis=0)
            d_x[t] = delta @ W_x
            d_h, d_c = (delta @ W_h)[:, :H], d_c * f
        return h[1:], d_W_x, d_W_h, d_b, d_x

    return work


def step(params, x: torch.Tensor, state: tuple) -> tuple:
    W_x, W_h, b = params
    h, c = state
    a_i, a_f, a_g, a_o = (x @ W_x.T + h @ W_h.T + b).chunk(4, dim=1)
    c = torch.sigmoid(a_f) * c + torch.sigmoid(a_i) * torch.tanh(a_g)
    return torch.sigmoid(a_o) * torch.tanh(c), c
