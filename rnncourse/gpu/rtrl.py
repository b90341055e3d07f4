"""Forward mode (real-time recurrent learning): the same gradient, carried along instead of sent back."""

from collections.abc import Callable

import torch

from rnncourse.gpu import graph, losses, readout, unroll
from rnncourse.gpu.bptt import Result
from rnncourse.gpu.cells import Cell
from rnncourse.params import ModelParams, RNNParams


@torch.enable_grad()
def full(
    cell: Cell, params: ModelParams, inputs, targets, loss: Callable = losses.squared_error, reduction: str = "sum"
) -> Result:
    """The loss of a vanilla RNN and its exact gradient, in one forward sweep, :eq:`eq-rtrl-gradient`.

    ``torch.func.jacfwd`` carries one tangent of the state for each weight beside the state itself.

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
    params = graph.cut(params)
    hidden, final, tape = unroll.forward(cell, params.cell, inputs, params.initial_state)
    outputs, read_tape = readout.forward(params.readout, hidden)
    value, loss_tape = loss(outputs, targets, None, reduction)
    d_readout, g = readout.backward(read_tape, losses.backward(loss_tape))
    x = tape.inputs.detach()

    def weighed(weights, h_0):  # its derivative is the sum over t of g_t^T dh_t/dW
        return sum((g_t * h).sum() for g_t, (h,) in zip(g, unroll.run(cell, weights, x, (h_0,)), strict=True))

    with torch.no_grad():  # forward mode needs no graph
        d_cell, d_start = torch.func.jacfwd(weighed, argnums=(0, 1))(params.cell, params.initial_state)
    return Result(value.detach(), ModelParams(d_cell, d_readout, d_start), graph.cut(final))
