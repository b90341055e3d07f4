"""Where a network that runs under a constant input stands still, or almost: its fixed and its slow points."""

from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.reference import state_jacobians, unroll
from rnncourse.reference.cells import Cell


class Found(NamedTuple):
    """Where the searches ended.

    Attributes:
        points: one state for each start, shape (N, H).
        speeds: q at these states, shape (N,); 0, up to rounding, at a fixed point.
    """

    points: np.ndarray
    speeds: np.ndarray


def move(cell: Cell, params: NamedTuple, states, inputs) -> tuple[np.ndarray, np.ndarray]:
    """How far one step carries each state, and the Jacobian of the step.

    Args:
        cell: a recurrence whose only state is h.
        params: its parameters.
        states: h, shape (N, H).
        inputs: x, held fixed, shape (D,).

    Returns:
        ``(r, J)``: F(h) - h, shape (N, H), and dF/dh, shape (N, H, H).

    Raises:
        ValueError: if the cell has more states, or a shape does not fit.
    """
    if cell.states != 1:
        raise ValueError(f"cell: expected a cell whose only state is h, got {cell.name}")
    h, x = unroll.as_floats(states), unroll.as_floats(inputs)
    doors.shape("states", h, ("N", "H"))
    doors.shape("inputs", x, ("D",))
    outputs, _, tape = unroll.forward(cell, params, np.broadcast_to(x, (1, len(h), len(x))), h)
    return outputs[0] - h, state_jacobians.steps(tape)[0]


def speed(cell: Cell, params: NamedTuple, states, inputs) -> tuple[np.ndarray, np.ndarray]:
    """Half the squared length of the next move, :eq:`def-speed`, and its gradient, :eq:`eq-speed-gradient`.

    Args:
        cell: a recurrence whose only state is h.
        params: its parameters.
        states: h, shape (N, H).
        inputs: x, held fixed, shape (D,).

    Returns:
        ``(q, gradient)``: shapes (N,) and (N, H).

    Raises:
        ValueError: if the cell has more states, or a shape does not fit.
    """
    r, J = move(cell, params, states, inputs)
    return 0.5 * (r * r).sum(axis=1), np.einsum("nij,ni->nj", J, r) - r


def find(
    cell: Cell,
    params: NamedTuple,
    starts,
    inputs,
    iterations: int = 60,
    damping: float = 1e-3,
    enough: float = 0.0,
) -> Found:
    """Minimise q from many starts side by side, by damped Gauss-Newton steps, :eq:`eq-slow-step`.

    Each start has its own damping: a tenth after a step that made q smaller, ten times as much after one
    that did not, which is taken back. A minimum of q that is not 0 is a slow point.

    Args:
        cell: a recurrence whose only state is h.
        params: its parameters.
        starts: states to begin from, shape (N, H).
        inputs: x, held fixed, shape (D,).
        iterations: steps tried.
        damping: what to begin with, positive.
        enough: a search rests once its q is at most this; at 0 all go on to the end.

    Returns:
        Where each search ended, in the order of the starts.

    Raises:
        ValueError: if the cell has more states, a shape does not fit, or a number is out of range.
    """
    doors.at_least("iterations", iterations, 0)
    if not damping > 0:
        raise ValueError(f"damping: expected a positive number, got {damping!r}")
    h = np.array(unroll.as_floats(starts))
    r, J = move(cell, params, h, inputs)
    eye, weight = np.eye(h.shape[1]), np.full(len(h), damping)
    for _ in range(iterations):
        A = J - eye
        B = A.transpose(0, 2, 1)
        change = np.linalg.solve(B @ A + weight[:, None, None] * eye, -(B @ r[:, :, None]))[:, :, 0]
        r_there, J_there = move(cell, params, h + change, inputs)
        q, q_there = (0.5 * (part * part).sum(axis=1) for part in (r, r_there))
        better = (q_there < q) & (q > enough)
        h = np.where(better[:, None], h + change, h)
        r, J = np.where(better[:, None], r_there, r), np.where(better[:, None, None], J_there, J)
        weight = np.clip(np.where(better, weight / 10, weight * 10), 1e-12, 1e12)
    return Found(h, 0.5 * (r * r).sum(axis=1))


def distinct(points, apart: float) -> np.ndarray:
    """Of points that lie close together, keep the first.

    Args:
        points: shape (N, H), the best first.
        apart: how far from every point kept another one must be, positive.

    Returns:
        Indices of those kept, shape (M,), in order.

    Raises:
        ValueError: if the points are no matrix, or the distance is not positive.
    """
    doors.shape("points", points, ("N", "H"))
    if not apart > 0:
        raise ValueError(f"apart: expected a positive distance, got {apart!r}")
    kept: list[int] = []
    for n, point in enumerate(points):
        if all(np.linalg.norm(point - points[k]) > apart for k in kept):
            kept.append(n)
    return np.array(kept, int)


def time_constants(eigenvalues) -> np.ndarray:
    """In how many steps each mode of a linear map shrinks, or grows, by the factor e, :eq:`eq-mode-time`.

    Args:
        eigenvalues: real or complex, any shape.

    Returns:
        -1 / log of the modulus: positive where the mode decays, negative where it grows, infinite at 1.
    """
    with np.errstate(divide="ignore"):
        return -1 / np.log(abs(np.asarray(eigenvalues)))
