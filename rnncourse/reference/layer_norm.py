"""Layer normalisation: each row gets mean 0 and variance 1, then a learned gain and shift.

A row is normalised on its own, so nothing depends on the rest of the batch or on other steps.
"""

import math
from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.gate_params import LayerNormParams
from rnncourse.reference import activations
from rnncourse.reference.cells import Cell


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    Attributes:
        params: gain and shift.
        normalised: n, the rows with mean 0 and variance 1, shape (..., N).
        precision: 1 / sqrt(variance + epsilon) of each row, shape (..., 1).
    """

    params: LayerNormParams
    normalised: np.ndarray
    precision: np.ndarray


def forward(params: LayerNormParams, inputs: np.ndarray, epsilon: float = 1e-5) -> tuple[np.ndarray, Tape]:
    """Normalise over the last axis: y = gamma * (a - mean) / sqrt(variance + epsilon) + beta.

    Args:
        params: gamma and beta, each (N,).
        inputs: a, shape (..., N).
        epsilon: keeps a constant row from a division by zero; torch's default.

    Returns:
        ``(outputs, tape)``: y in the shape of the inputs, and what :func:`backward` needs.

    Raises:
        ValueError: if a shape does not fit, an entry is not finite, or epsilon is not positive.
    """
    gamma, beta = params
    check_epsilon(epsilon)
    doors.shape("gain", gamma, ("N",))
    doors.shape("shift", beta, gamma.shape)
    doors.shape("inputs", inputs, (*inputs.shape[:-1], len(gamma)))
    for name, array in [("gain", gamma), ("shift", beta), ("inputs", inputs)]:
        doors.finite(name, array)
    n, precision = normalise(inputs, epsilon)
    return gamma * n + beta, Tape(params, n, precision)


def backward(tape: Tape, d_outputs: np.ndarray) -> tuple[LayerNormParams, np.ndarray]:
    """Pull a gradient back through gain, shift and normalisation.

    Args:
        tape: from :func:`forward`.
        d_outputs: dL/dy, shape (..., N).

    Returns:
        ``(params, inputs)``: the gradients of gamma and beta, and dL/da, shape (..., N).

    Raises:
        ValueError: if the shape does not fit.
    """
    (gamma, _), n, precision = tape
    doors.shape("d_outputs", d_outputs, n.shape)
    rows = tuple(range(n.ndim - 1))
    d_params = LayerNormParams((d_outputs * n).sum(axis=rows), d_outputs.sum(axis=rows))
    return d_params, pull(n, precision, gamma * d_outputs)


def normalise(a: np.ndarray, epsilon: float) -> tuple[np.ndarray, np.ndarray]:
    """Give every row mean 0 and variance 1 (the variance of the row itself, over N, not N - 1).

    Args:
        a: rows, shape (..., N).
        epsilon: added to the variance.

    Returns:
        ``(n, precision)``: the rows n, shape (..., N), and 1 / sqrt(variance + epsilon), shape (..., 1).
    """
    centred = a - a.mean(axis=-1, keepdims=True)
    variance = (centred * centred).mean(axis=-1, keepdims=True)
    precision = 1 / np.sqrt(variance + epsilon)
    return centred * precision, precision


def pull(n: np.ndarray, precision: np.ndarray, d_n: np.ndarray) -> np.ndarray:
    """Pull a gradient back through :func:`normalise`.

    A row's mean and variance depend on all of its entries, so two things are taken out of the
    gradient: its mean, and its component along n. What would only move or stretch the row is lost.

    Args:
        n: normalised rows, shape (..., N).
        precision: 1 / sqrt(variance + epsilon), shape (..., 1).
        d_n: dL/dn, shape (..., N).

    Returns:
        dL/da = precision * (d_n - mean(d_n) - n * mean(d_n * n)), shape (..., N).
    """
    mean, along = d_n.mean(axis=-1, keepdims=True), (d_n * n).mean(axis=-1, keepdims=True)
    return precision * (d_n - mean - n * along)


def rnn(activation: str = "tanh", epsilon: float = 1e-5) -> Cell:
    """Make a vanilla cell that normalises its pre-activation: h_t = phi(gamma * n_t + beta).

    n_t is the normalised *sum* W_x x_t + W_h h_{t-1} + b_h, as Ba, Kiros and Hinton (2016, section
    3.1) have it for the vanilla RNN; for their LSTM they normalise the two products apart, and so does
    ``lstm.normed``. torch has no such layer; people who build one put ``torch.nn.LayerNorm(H)``
    around this sum.

    Args:
        activation: phi: "tanh", "sigmoid", "relu" or "identity".
        epsilon: added to the variance of a row.

    Returns:
        The cell; its parameters are ``gate_params.LayerNormRNNParams``.

    Raises:
        ValueError: if there is no such activation, or epsilon is not positive.
    """
    phi, slope = activations.get(activation)
    check_epsilon(epsilon)

    def step(own, ax, ah, state):
        gamma, beta = own
        n, precision = normalise(ax + ah, epsilon)
        h = phi(gamma * n + beta)
        return (h,), (h, n, precision)

    def back(own, saved, d_state):
        (gamma, _), (h, n, precision), (s,) = own, saved, d_state
        d_y = slope(h) * s
        delta = pull(n, precision, gamma * d_y)
        return delta, delta, (0.0,), ((d_y * n).sum(axis=0), d_y.sum(axis=0))

    return Cell(f"layer-norm-rnn-{activation}", gates=1, states=1, step=step, pull=back, own=((1,), (1,)))


def check_epsilon(epsilon: float) -> None:
    """Check what is added to a variance.

    Args:
        epsilon: a number.

    Raises:
        ValueError: unless it is positive and finite.
    """
    if not 0 < epsilon < math.inf:
        raise ValueError(f"epsilon: expected a positive number, got {epsilon!r}")
