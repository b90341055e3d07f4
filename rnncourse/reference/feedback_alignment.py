"""Back-propagation through time with fixed random matrices on the way back: no weight need be known twice."""

from collections.abc import Callable

import numpy as np

from rnncourse import doors
from rnncourse.brain_params import Feedback
from rnncourse.params import ModelParams, map_arrays
from rnncourse.reference import bptt, losses, readout, unroll
from rnncourse.reference.bptt import Result
from rnncourse.reference.cells import Cell


def full(
    cell: Cell,
    params: ModelParams,
    feedback: Feedback,
    inputs,
    targets,
    loss: Callable = losses.squared_error,
    mask=None,
    lengths=None,
    reduction: str = "sum",
) -> Result:
    """The loss of a model, and what feedback alignment takes for its gradient, :eq:`eq-feedback-alignment`.

    The forward pass is that of :func:`rnncourse.reference.bptt.full`. On the way back every product
    with W_h^T is one with B_h^T, and every product with W_y^T one with B_y^T. With the weights
    themselves as feedback the result is the gradient.

    Args:
        cell: the recurrence.
        params: cell, readout and initial state.
        feedback: B_h, shape (G H, H) like W_h, and B_y, shape (O, H).
        inputs: x, shape (T, B, D).
        targets: what the loss compares with, (T, B, O) or classes (T, B).
        loss: of ``losses``.
        mask: the steps that count in the loss, booleans (T, B); unless given, all real ones.
        lengths: real steps of each sequence, shape (B,); all T unless given.
        reduction: "sum" or "mean" over the steps that count.

    Returns:
        The exact loss, the directions in the form of the parameters, and the final state. The
        readout's is its gradient; that of the initial state is zero: nothing reports there.

    Raises:
        ValueError: if anything does not fit, naming it.
    """
    B_h, B_y = feedback
    doors.shape("feedback.recurrent_weights", B_h, params.cell.recurrent_weights.shape)
    doors.shape("feedback.readout_weights", B_y, params.readout.weights.shape)
    hidden, final, tape = unroll.forward(cell, params.cell, inputs, params.initial_state, lengths)
    outputs, read_tape = readout.forward(params.readout, hidden)
    value, loss_tape = loss(outputs, targets, bptt._counted(mask, tape), reduction)
    e = losses.backward(loss_tape)
    d_readout, _ = readout.backward(read_tape, e)
    swapped = tape._replace(params=tape.params._replace(recurrent_weights=B_h))
    back = unroll.backward(swapped, e @ B_y)
    return Result(value, ModelParams(back.params, d_readout, map_arrays(np.zeros_like, params.initial_state)), final)
