"""A recurrence over images: the state of a pixel is made from those of its left and its upper neighbour.

All pixels of one antidiagonal, i + j = d, wait only for the antidiagonal before. So M + N - 1 steps do the
work of M N, each on a batch of as many pixels as the antidiagonal has. The way back is autograd's.
"""

from typing import NamedTuple

import numpy as np
import torch

from rnncourse import doors, raster
from rnncourse.diagonal_params import DiagonalParams, check, mirror
from rnncourse.gpu import graph
from rnncourse.gpu.cells import Cell
from rnncourse.stack_params import BothWays, both


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass: tensors that are nodes of autograd's graph.

    Attributes:
        cell: the cell that ran.
        params: its parameters.
        inputs: shape (M, N, B, D).
        hidden: the states, shape (M, N, B, H).
    """

    cell: Cell
    params: DiagonalParams
    inputs: torch.Tensor
    hidden: torch.Tensor


class Gradients(NamedTuple):
    """What the backward pass returns. All are total derivatives.

    Attributes:
        params: gradients in the form of the parameters.
        inputs: dL/du_ij, shape (M, N, B, D).
    """

    params: DiagonalParams
    inputs: torch.Tensor


def forward(cell: Cell, params: DiagonalParams, inputs):
    """Run a cell over images, :eq:`def-diagonal`, antidiagonal by antidiagonal, :eq:`eq-skew`.

    Whatever else the cell carries, such as an LSTM's memory, comes from the left neighbour alone.

    Args:
        cell: the recurrence, for example ``lstm.plain()``.
        params: W_x, W_l, W_a and b, tensors of one dtype on one device.
        inputs: u, shape (M, N, B, D).

    Returns:
        ``(outputs, tape)``: h, shape (M, N, B, H); what :func:`backward` needs. Outputs require gradients
        only if something given does.

    Raises:
        ValueError: if a shape does not fit or an entry is not finite.
    """
    u = torch.as_tensor(inputs)
    check(cell, params, u)
    for name, tensor in [("inputs", u), *zip(params._fields, params, strict=True)]:
        doors.finite(name, tensor.detach())
    W, x = graph.tracked((params, u))
    h = run(cell, W, x)
    (outputs,) = graph.returned((h,), params, inputs)
    return outputs, Tape(cell, W, x, h)


def run(cell: Cell, params: DiagonalParams, inputs: torch.Tensor) -> torch.Tensor:
    """The bare recurrence, without doors: what a training loop differentiates.

    Args:
        cell: the recurrence.
        params: its parameters.
        inputs: u, shape (M, N, B, D).

    Returns:
        h, shape (M, N, B, H).
    """
    W_x, W_l, W_a, b = params
    (M, N, B, _), H = inputs.shape, W_l.shape[1]
    au, order = inputs @ W_x.T + b, raster.antidiagonals(M, N)
    states, first, found = (au.new_zeros(0, B, H),) * cell.states, 0, []
    for i, j in order:
        low, high = int(i[0]), int(i[-1]) + 1  # the rows of this antidiagonal; first is the lowest of the one before
        edged = [torch.nn.functional.pad(part, (0, 0, 0, 0, 1, 1)) for part in states]
        left = tuple(part[low - first + 1 : high - first + 1] for part in edged)
        above = edged[0][low - first : high - first]
        states = cell.step((), au[i, j], left[0] @ W_l.T + above @ W_a.T, left)
        found.append(states[0])
        first = low
    places = np.concatenate([i * N + j for i, j in order])
    return torch.cat(found)[np.argsort(places)].reshape(M, N, B, H)


def backward(tape: Tape, d_outputs) -> Gradients:
    """Pull gradients back over the image, by one call to ``torch.autograd.grad``.

    Args:
        tape: from :func:`forward`; may be used again.
        d_outputs: g_ij, the gradient with respect to h_ij as an output, shape (M, N, B, H).

    Returns:
        Gradients of the loss with respect to parameters and inputs.

    Raises:
        ValueError: if a shape does not fit, or nothing was recorded.
    """
    doors.shape("d_outputs", d_outputs, tuple(tape.hidden.shape))
    return Gradients(*graph.pull((tape.hidden,), (torch.as_tensor(d_outputs),), (tape.params, tape.inputs)))


def forward_both(cell: Cell, params: BothWays, inputs: BothWays):
    """Run one recurrence from the upper left and one from the upper right corner.

    The second reads to the left, so its state at (i, j) has seen the inputs of every pixel to the right in its
    own row: they must not tell of that row, :eq:`eq-receptive-field`.

    Args:
        cell: the recurrence of both.
        params: of each.
        inputs: of each, shape (M, N, B, D).

    Returns:
        ``(outputs, tapes)``: both states side by side, shape (M, N, B, 2 H); what :func:`backward_both` needs.

    Raises:
        ValueError: if something does not fit.
    """
    both("params", params), both("inputs", inputs)
    ahead, first = forward(cell, params.forwards, inputs.forwards)
    behind, second = forward(cell, params.backwards, mirror(inputs.backwards))
    doors.shape("inputs.backwards", inputs.backwards, (*ahead.shape[:3], inputs.backwards.shape[3]))
    return torch.cat([ahead, mirror(behind)], dim=3), BothWays(first, second)


def backward_both(tapes: BothWays, d_outputs) -> BothWays:
    """Pull gradients back through both recurrences.

    Args:
        tapes: from :func:`forward_both`.
        d_outputs: shape (M, N, B, 2 H).

    Returns:
        The :class:`Gradients` of each.

    Raises:
        ValueError: if a shape does not fit.
    """
    both("tapes", tapes)
    H = tapes.forwards.params.left_weights.shape[1]
    doors.shape("d_outputs", d_outputs, (*tapes.forwards.inputs.shape[:3], 2 * H))
    second = backward(tapes.backwards, mirror(d_outputs[..., H:]))
    return BothWays(backward(tapes.forwards, d_outputs[..., :H]), second._replace(inputs=mirror(second.inputs)))
