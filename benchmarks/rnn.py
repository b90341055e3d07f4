"""The vanilla RNN, forwards and backwards, against `torch.nn.RNN` and against a textbook's NumPy.

Equal work for all: outputs, and the gradients of both weights, of the bias and of the inputs.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from benchmarks.race import Case
from rnncourse.params import RNNParams, init_rnn
from rnncourse.reference import cells, unroll

STEPS, BATCH = 100, 32
WIDTHS = (32, 128, 512)
DTYPES = ("float64", "float32")


def cases(steps: int = STEPS, batch: int = BATCH, widths=WIDTHS) -> Iterator[Case]:
    """One line-up for every width and precision.

    Args:
        steps: T, the length of the sequences.
        batch: B, how many run at once.
        widths: values of H, with D = H.

    Yields:
        Cases for :func:`benchmarks.race.run`.
    """
    for dtype in DTYPES:
        for H in widths:
            params, x, g = problem(steps, batch, H, dtype)
            contenders = {
                "rnncourse": ours(params, x, g),
                "torch.nn.RNN": torch_rnn(params, x, g),
                "textbook NumPy": textbook(params, x, g),
            }
            yield Case({"T": steps, "B": batch, "H": H, "dtype": dtype}, contenders, truth(params, x, g))


def problem(steps: int, batch: int, width: int, dtype: str) -> tuple[RNNParams, np.ndarray, np.ndarray]:
    """Parameters, inputs and output gradients, rounded to the precision that races."""
    rng = np.random.default_rng(0)
    params = RNNParams(*(array.astype(dtype) for array in init_rnn(rng, width, width)))
    x = rng.standard_normal((steps, batch, width)).astype(dtype)
    g = rng.standard_normal((steps, batch, width)).astype(dtype)
    return params, x, g


def ours(params: RNNParams, x: np.ndarray, g: np.ndarray) -> Callable:
    cell = cells.rnn()

    def work():
        outputs, _, tape = unroll.forward(cell, params, x)
        back = unroll.backward(tape, g)
        return outputs, *back.params, back.inputs

    return work


def torch_rnn(params: RNNParams, x: np.ndarray, g: np.ndarray) -> Callable:
    W_x, W_h, b = (torch.from_numpy(array) for array in params)
    net = torch.nn.RNN(W_x.shape[1], W_x.shape[0], dtype=W_x.dtype)
    with torch.no_grad():
        for own, given in zip(net.parameters(), (W_x, W_h, b, torch.zeros_like(b)), strict=True):
            own.copy_(given)
    inputs = torch.from_numpy(x).clone().requires_grad_()
    wanted = [*net.parameters(), inputs]
    arriving = torch.from_numpy(g)

    def work():
        outputs, _ = net(inputs)
        d_W_x, d_W_h, d_b, _, d_x = torch.autograd.grad(outputs, wanted, arriving)
        return outputs.detach(), d_W_x, d_W_h, d_b, d_x

    return work


def textbook(params: RNNParams, x: np.ndarray, g: np.ndarray) -> Callable:
    """The equations as a textbook's listing has them: each step does all of its products itself."""
    W_x, W_h, b = params

    def work():
        h = np.zeros((len(x) + 1, *g.shape[1:]), x.dtype)
        for t in range(len(x)):
            h[t + 1] = np.tanh(x[t] @ W_x.T + h[t] @ W_h.T + b)
        d_W_x, d_W_h, d_b, d_x = np.zeros_like(W_x), np.zeros_like(W_h), np.zeros_like(b), np.zeros_like(x)
        s = np.zeros_like(h[0])
        for t in reversed(range(len(x))):
            delta = (1 - h[t + 1] ** 2) * (s + g[t])
            d_W_x += delta.T @ x[t]
            d_W_h += delta.T @ h[t]
            d_b += delta.sum(axis=0)
            d_x[t] = delta @ W_x
            s = delta @ W_h
        return h[1:], d_W_x, d_W_h, d_b, d_x

    return work


def truth(params: RNNParams, x: np.ndarray, g: np.ndarray) -> list[np.ndarray]:
    """The same problem by autograd through a loop written out in float64."""
    leaves = [torch.tensor(array, dtype=torch.float64, requires_grad=True) for array in (*params, x)]
    W_x, W_h, b, inputs = leaves
    h, outputs = torch.zeros(g.shape[1:], dtype=torch.float64), []
    for x_t in inputs:
        h = torch.tanh(x_t @ W_x.T + h @ W_h.T + b)
        outputs.append(h)
    outputs = torch.stack(outputs)
    gradients = torch.autograd.grad(outputs, leaves, torch.tensor(g, dtype=torch.float64))
    return [array.detach().numpy() for array in (outputs, *gradients)]
