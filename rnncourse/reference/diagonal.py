"""A recurrence over images: the state of a pixel is made from those of its left and its upper neighbour.

All pixels of one antidiagonal, i + j = d, wait only for the antidiagonal before. So M + N - 1 steps do the
work of M N, each on a batch of as many pixels as the antidiagonal has.
"""

from typing import NamedTuple

import numpy as np

from rnncourse import doors, raster
from rnncourse.diagonal_params import DiagonalParams, check, mirror
from rnncourse.reference.cells import Cell
from rnncourse.stack_params import BothWays, both


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    Attributes:
        cell: the cell that ran.
        params: its parameters.
        inputs: shape (M, N, B, D).
        hidden: the states with a border of zeros above and to the left, shape (M + 1, N + 1, B, H).
        saved: what each antidiagonal saved, a list of length M + N - 1.
    """

    cell: Cell
    params: DiagonalParams
    inputs: np.ndarray
    hidden: np.ndarray
    saved: list


class Gradients(NamedTuple):
    """What the backward pass returns. All are total derivatives.

    Attributes:
        params: gradients in the form of the parameters.
        inputs: dL/du_ij, shape (M, N, B, D).
    """

    params: DiagonalParams
    inputs: np.ndarray


def forward(cell: Cell, params: DiagonalParams, inputs):
    """Run a cell over images, :eq:`def-diagonal`, antidiagonal by antidiagonal, :eq:`eq-skew`.

    Whatever else the cell carries, such as an LSTM's memory, comes from the left neighbour alone.

    Args:
        cell: the recurrence, for example ``lstm.plain()``.
        params: W_x, W_l, W_a and b.
        inputs: u, shape (M, N, B, D).

    Returns:
        ``(outputs, tape)``: h, shape (M, N, B, H); what :func:`backward` needs.

    Raises:
        ValueError: if a shape does not fit or an entry is not finite.
    """
    u = np.asarray(inputs)
    check(cell, params, u)
    for name, array in [("inputs", u), *zip(params._fields, params, strict=True)]:
        doors.finite(name, array)
    W_x, W_l, W_a, b = params
    (M, N, B, _), H = u.shape, W_l.shape[1]
    states = [np.zeros((M + 1, N + 1, B, H), np.result_type(u, *params)) for _ in range(cell.states)]
    au, saved = u @ W_x.T + b, []
    for i, j in raster.antidiagonals(M, N):
        left = tuple(part[i + 1, j].reshape(-1, H) for part in states)
        above = states[0][i, j + 1].reshape(-1, H)
        new, kept = cell.step((), au[i, j].reshape(len(above), -1), left[0] @ W_l.T + above @ W_a.T, left)
        for part, value in zip(states, new, strict=True):
            part[i + 1, j + 1] = value.reshape(len(i), B, H)
        saved.append(kept)
    states[0].flags.writeable = False  # the outputs are a view: a caller's change would spoil the tape
    return states[0][1:, 1:], Tape(cell, params, u, states[0], saved)


def backward(tape: Tape, d_outputs) -> Gradients:
    """Pull gradients back over the image, :eq:`eq-diagonal-gradient` and :eq:`eq-diagonal-weights`.

    Args:
        tape: from :func:`forward`.
        d_outputs: g_ij, the gradient with respect to h_ij as an output, shape (M, N, B, H).

    Returns:
        Gradients of the loss with respect to parameters and inputs.

    Raises:
        ValueError: if a shape does not fit.
    """
    cell, (W_x, W_l, W_a, b), u, hidden, saved = tape
    (M, N, B, D), H = u.shape, W_l.shape[1]
    g = np.asarray(d_outputs)
    doors.shape("d_outputs", g, (M, N, B, H))
    arriving = [np.zeros_like(hidden) for _ in range(cell.states)]  # with the same border, where gradients end
    arriving[0][1:, 1:] = g
    d_au, d_ah = (np.empty((M, N, B, len(b)), hidden.dtype) for _ in range(2))
    for (i, j), kept in zip(reversed(raster.antidiagonals(M, N)), reversed(saved), strict=True):
        state = tuple(part[i + 1, j + 1].reshape(-1, H) for part in arriving)
        to_u, to_h, direct, _ = cell.pull((), kept, state)
        d_au[i, j], d_ah[i, j] = (part.reshape(len(i), B, -1) for part in (to_u, to_h))
        to_left = (direct[0] + to_h @ W_l, *direct[1:])
        for part, value in zip(arriving, to_left, strict=True):
            part[i + 1, j] += value.reshape(len(i), B, H)
        arriving[0][i, j + 1] += (to_h @ W_a).reshape(len(i), B, H)
    rows, fed = d_au.reshape(-1, len(b)), d_ah.reshape(-1, len(b))
    left, above = hidden[1:, :-1].reshape(-1, H), hidden[:-1, 1:].reshape(-1, H)
    gradients = DiagonalParams(rows.T @ u.reshape(-1, D), fed.T @ left, fed.T @ above, rows.sum(axis=0))
    return Gradients(gradients, d_au @ W_x)


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
    return np.concatenate([ahead, mirror(behind)], axis=3), BothWays(first, second)


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
    g = np.asarray(d_outputs)
    doors.shape("d_outputs", g, (*tapes.forwards.inputs.shape[:3], 2 * H))
    second = backward(tapes.backwards, mirror(g[..., H:]))
    return BothWays(backward(tapes.forwards, g[..., :H]), second._replace(inputs=mirror(second.inputs)))
