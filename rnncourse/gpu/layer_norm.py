"""Layer normalisation: each row gets mean 0 and variance 1, then a learned gain and shift.

Written out as on the other floor, so that it can be read; the way back is autograd's.
"""

import math
from typing import NamedTuple

import torch

from rnncourse import doors
from rnncourse.gate_params import LayerNormParams
from rnncourse.gpu import activations, graph
from rnncourse.gpu.cells import Cell


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    Attributes:
        params: gain and shift.
        inputs: a, shape (..., N).
        outputs: y, shape (..., N).
    """

    params: LayerNormParams
    inputs: torch.Tensor
    outputs: torch.Tensor


def forward(params: LayerNormParams, inputs: torch.Tensor, epsilon: float = 1e-5) -> tuple[torch.Tensor, Tape]:
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
    doors.shape("shift", beta, tuple(gamma.shape))
    doors.shape("inputs", inputs, (*inputs.shape[:-1], len(gamma)))
    for name, tensor in [("gain", gamma), ("shift", beta), ("inputs", inputs)]:
        doors.finite(name, tensor.detach())
    (gamma, beta), a = tracked = graph.tracked((params, inputs))
    outputs = gamma * normalise(a, epsilon)[0] + beta
    return graph.returned(outputs, params, inputs), Tape(*tracked, outputs)


def backward(tape: Tape, d_outputs: torch.Tensor) -> tuple[LayerNormParams, torch.Tensor]:
    """Pull a gradient back through gain, shift and normalisation, by autograd.

    Args:
        tape: from :func:`forward`.
        d_outputs: dL/dy, shape (..., N).

    Returns:
        ``(params, inputs)``: the gradients of gamma and beta, and dL/da, shape (..., N).

    Raises:
        ValueError: if the shape does not fit, or nothing was recorded.
    """
    doors.shape("d_outputs", d_outputs, tuple(tape.outputs.shape))
    return graph.pull(tape.outputs, d_outputs, (tape.params, tape.inputs))


def normalise(a: torch.Tensor, epsilon: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Give every row mean 0 and variance 1 (the variance of the row itself, over N, not N - 1).

    Args:
        a: rows, shape (..., N).
        epsilon: added to the variance.

    Returns:
        ``(n, precision)``: the rows n, shape (..., N), and 1 / sqrt(variance + epsilon), shape (..., 1).
    """
    centred = a - a.mean(dim=-1, keepdim=True)
    variance = (centred * centred).mean(dim=-1, keepdim=True)
    precision = 1 / torch.sqrt(variance + epsilon)
    return centred * precision, precision


def rnn(activation: str = "tanh", epsilon: float = 1e-5) -> Cell:
    """Make a vanilla cell that normalises its pre-activation: h_t = phi(gamma * n_t + beta).

    n_t is the normalised *sum* W_x x_t + W_h h_{t-1} + b_h, as Ba, Kiros and Hinton (2016, section
    3.1) have it for the vanilla RNN; for their LSTM they normalise the two products apart.

    Args:
        activation: phi: "tanh", "sigmoid", "relu" or "identity".
        epsilon: added to the variance of a row.

    Returns:
        The cell; its parameters are ``gate_params.LayerNormRNNParams``.

    Raises:
        ValueError: if there is no such activation, or epsilon is not positive.
    """
    (phi,) = activations.get(activation)
    check_epsilon(epsilon)

    def step(own, ax, ah, state):
        gamma, beta = own
        return (phi(gamma * normalise(ax + ah, epsilon)[0] + beta),)

    return Cell(f"layer-norm-rnn-{activation}", gates=1, states=1, step=step, own=((1,), (1,)))


def check_epsilon(epsilon: float) -> None:
    """Check what is added to a variance.

    Args:
        epsilon: a number.

    Raises:
        ValueError: unless it is positive and finite.
    """
    if not 0 < epsilon < math.inf:
        raise ValueError(f"epsilon: expected a positive number, got {epsilon!r}")
