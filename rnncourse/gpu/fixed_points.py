"""Where a network that runs under a constant input stands still, or almost: its fixed and its slow points."""

from typing import NamedTuple

import torch

from rnncourse import doors
from rnncourse.gpu import graph, state_jacobians, unroll
from rnncourse.gpu.cells import Cell


class Found(NamedTuple):
    """Where the searches ended.

    Attributes:
        points: one state for each start, shape (N, H).
        speeds: q at these states, shape (N,); 0, up to rounding, at a fixed point.
    """

    points: torch.Tensor
    speeds: torch.Tensor


def move(cell: Cell, params: NamedTuple, states, inputs) -> tuple[torch.Tensor, torch.Tensor]:
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
    params, h, x = graph.cut((params, h, x))
    outputs, _, tape = unroll.forward(cell, params, x.expand(1, len(h), len(x)), h)
    return outputs[0] - h, state_jacobians.steps(tape)[0]


def speed(cell: Cell, params: NamedTuple, states, inputs) -> tuple[torch.Tensor, torch.Tensor]:
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
    return 0.5 * (r * r).sum(dim=1), torch.einsum("nij,ni->nj", J, r) - r


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
    h = graph.cut(unroll.as_floats(starts)).clone()
    r, J = move(cell, params, h, inputs)
    eye, weight = torch.eye(h.shape[1]).to(h), torch.full_like(h[:, 0], damping)
    for _ in range(iterations):
        A = J - eye
        change = torch.linalg.solve(A.mT @ A + weight[:, None, None] * eye, -(A.mT @ r[:, :, None]))[:, :, 0]
        r_there, J_there = move(cell, params, h + change, inputs)
        q, q_there = (0.5 * (part * part).sum(dim=1) for part in (r, r_there))
        better = (q_there < q) & (q > enough)
        h = torch.where(better[:, None], h + change, h)
        r, J = torch.where(better[:, None], r_there, r), torch.where(better[:, None, None], J_there, J)
        weight = torch.where(better, weight / 10, weight * 10).clamp(1e-12, 1e12)
    return Found(h, 0.5 * (r * r).sum(dim=1))


def distinct(points, apart: float) -> torch.Tensor:
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
        if all(torch.linalg.vector_norm(point - points[k]) > apart for k in kept):
            kept.append(n)
    return torch.tensor(kept, dtype=torch.long)


def time_constants(eigenvalues) -> torch.Tensor:
    """In how many steps each mode of a linear map shrinks, or grows, by the factor e, :eq:`eq-mode-time`.

    Args:
        eigenvalues: real or complex, any shape.

    Returns:
        -1 / log of the modulus: positive where the mode decays, negative where it grows, infinite at 1.
    """
    return -1 / torch.log(torch.as_tensor(eigenvalues).abs())
