"""Forward mode (real-time recurrent learning): the same gradient, carried along instead of sent back."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rnncourse.params import ModelParams, RNNParams
from rnncourse.reference import jacobians, losses, readout, unroll
from rnncourse.reference.bptt import Result
from rnncourse.reference.cells import Cell


class Influence(NamedTuple):
    """How the present state depends on everything before it: total derivatives.

    Attributes:
        weights: dh_t / d[W_x W_h b_h], shape (B, H, H, D + H + 1): unit, then row and column of
            the joint weight matrix.
        start: dh_t / dh_0, shape (B, H, H).
    """

    weights: np.ndarray
    start: np.ndarray


def start(params: RNNParams, batch: int) -> Influence:
    """The influence before the first step: none of the weights, all of h_0.

    Args:
        params: the cell's parameters.
        batch: B.

    Returns:
        Zeros, and the identity for each sequence.
    """
    H, D = params.input_weights.shape
    dtype = np.result_type(*params)
    return Influence(np.zeros((batch, H, H, D + H + 1), dtype), np.tile(np.eye(H, dtype=dtype), (batch, 1, 1)))


def step(params: RNNParams, influence: Influence, x, h_previous, slope) -> Influence:
    """Carry the influence over one step, :eq:`eq-rtrl-recursion`.

    Args:
        params: the cell's parameters.
        influence: of step t - 1.
        x: x_t, shape (B, D).
        h_previous: h_{t-1}, shape (B, H).
        slope: phi'(a_t), shape (B, H).

    Returns:
        The influence of step t.
    """
    W_h = params.recurrent_weights
    B, H = h_previous.shape
    z = np.concatenate([x, h_previous, np.ones((B, 1), x.dtype)], axis=1)
    weights = (W_h @ influence.weights.reshape(B, H, -1)).reshape(influence.weights.shape)
    units = np.arange(H)
    weights[:, units, units] += z[:, None, :]  # the immediate part: unit i sees row i of the weights
    return Influence(slope[:, :, None, None] * weights, slope[:, :, None] * (W_h @ influence.start))


def full(
    cell: Cell, params: ModelParams, inputs, targets, loss: Callable = losses.squared_error, reduction: str = "sum"
) -> Result:
    """The loss of a vanilla RNN and its exact gradient, in one forward sweep, :eq:`eq-rtrl-gradient`.

    Memory is B H (H (D + H + 1) + H) numbers whatever T, and time H times that each step:
    compare :func:`rnncourse.reference.bptt.full`, which gives the same numbers.

    Args:
        cell: a vanilla cell from ``cells.rnn``.
        params: cell, readout and initial state.
        inputs: x, shape (T, B, D).
        targets: what the loss compares with, (T, B, O) or classes (T, B).
        loss: ``losses.squared_error`` or ``losses.cross_entropy``.
        reduction: "sum" or "mean" over all steps.

    Returns:
        Loss, gradients and final state.

    Raises:
        ValueError: if anything does not fit, naming it.
    """
    if not isinstance(params.cell, RNNParams):
        raise ValueError(f"params.cell: forward mode is written for RNNParams, got {type(params.cell).__name__}")
    hidden, final, tape = unroll.forward(cell, params.cell, inputs, params.initial_state)
    outputs, read_tape = readout.forward(params.readout, hidden)
    value, loss_tape = loss(outputs, targets, None, reduction)
    d_readout, g = readout.backward(read_tape, losses.backward(loss_tape))
    T, B, D = tape.inputs.shape
    influence = start(params.cell, B)
    d_joint, d_start = 0.0, 0.0
    slope = jacobians.slopes(tape)
    for t in range(T):
        influence = step(params.cell, influence, tape.inputs[t], tape.hidden[t], slope[t])
        d_joint = d_joint + np.tensordot(g[t], influence.weights, axes=2)
        d_start = d_start + np.einsum("bi,bij->bj", g[t], influence.start)
    d_x, d_h, d_b = np.split(d_joint, [D, D + hidden.shape[2]], axis=1)
    d_start = d_start.sum(axis=0) if tape.shared_start else d_start
    return Result(value, ModelParams(RNNParams(d_x, d_h, d_b[:, 0]), d_readout, d_start), final)
