"""The GRU, forwards and backwards, against `torch.nn.GRU` and against a textbook's NumPy."""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from benchmarks import gated
from benchmarks.gated import BATCH, DTYPES, STEPS, WIDTHS  # noqa: F401  (the sizes of this race)
from benchmarks.race import Case
from rnncourse.bridge_gates import gru_to_torch
from rnncourse.gate_params import ResetAfterGRUParams, init_reset_after_gru
from rnncourse.reference import gru


def cases(steps: int = STEPS, batch: int = BATCH, widths=WIDTHS) -> Iterator[Case]:
    """One line-up for every width and precision, as :func:`benchmarks.gated.cases`."""
    peers = {"torch.nn.GRU": torch_gru, "textbook NumPy": textbook}
    yield from gated.cases(gated.Entry(gru.reset_after(), init_reset_after_gru, peers, step), steps, batch, widths)


def torch_gru(params: ResetAfterGRUParams, x: np.ndarray, g: np.ndarray) -> Callable:
    H = len(params.candidate_bias)

    def pick(d_W_x, d_W_h, d_b, d_b_h):
        return d_W_x, d_W_h, d_b, d_b_h[2 * H :]

    return gated.torch_layer(gru_to_torch(params), x, g, pick)


def textbook(params: ResetAfterGRUParams, x: np.ndarray, g: np.ndarray) -> Callable:
    """The equations as a textbook's listing has them: each step does all of its products itself."""
    W_x, W_h, b, b_hn = params

    def sigma(a):
        return 1 / (1 + np.exp(-a))

    def work():
        T = len(x)
        h = np.zeros((T + 1, *g.shape[1:]), x.dtype)
        gates = []
        for t in range(T):
            x_r, x_z, x_n = np.split(x[t] @ W_x.T + b, 3, axis=1)
            h_r, h_z, h_n = np.split(h[t] @ W_h.T, 3, axis=1)
            r, z, heard = sigma(x_r + h_r), sigma(x_z + h_z), h_n + b_hn
            n = np.tanh(x_n + r * heard)
            h[t + 1] = z * h[t] + (1 - z) * n
            gates.append((r, z, n, heard))
        d_W_x, d_W_h, d_b, d_b_hn = (np.zeros_like(array) for array in params)
        d_x, s = np.zeros_like(x), np.zeros_like(h[0])
        for t in reversed(range(T)):
            r, z, n, heard = gates[t]
            s = s + g[t]
            d_n, d_z = s * (1 - z) * (1 - n**2), s * (h[t] - n) * z * (1 - z)
            d_r, d_heard = d_n * heard * r * (1 - r), d_n * r
            to_x, to_h = (np.concatenate([d_r, d_z, part], axis=1) for part in (d_n, d_heard))
            d_W_x += to_x.T @ x[t]
            d_W_h += to_h.T @ h[t]
            d_b += to_x.sum(axis=0)
            d_b_hn += d_heard.sum(axis=0)
            d_x[t] = to_x @ W_x
            s = s * z + to_h @ W_h
        return h[1:], d_W_x, d_W_h, d_b, d_b_hn, d_x

    return work


def step(params, x: torch.Tensor, state: tuple) -> tuple:
    W_x, W_h, b, b_hn = params
    (h,) = state
    (x_r, x_z, x_n), (h_r, h_z, h_n) = (x @ W_x.T + b).chunk(3, dim=1), (h @ W_h.T).chunk(3, dim=1)
    r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
    n = torch.tanh(x_n + r * (h_n + b_hn))
    return (z * h + (1 - z) * n,)
