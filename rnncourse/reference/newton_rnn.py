"""All states of a nonlinear network at once: guess, linearise along the guess, solve by a scan, and again.

Plain, it is Newton's method for the equations h_t = f_t(h_{t-1}); damped, each of its steps is a Kalman
smoother to which the last guess is an observation.
"""

from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.lds_params import LDSParams
from rnncourse.reference import kalman_scan, linear_recurrence, scan, unroll
from rnncourse.reference.cells import Cell

FORMS = ("full", "diagonal", "zero")


class Solution(NamedTuple):
    """What the iteration found.

    Attributes:
        hidden: h_1..h_T, shape (T, B, H).
        residuals: the largest entry of h_t - f_t(h_{t-1}), in size: of the guess, and after each iteration,
            shape (iterations + 1,).
        iterations: guesses tried; with damping, also those that were turned down.
    """

    hidden: np.ndarray
    residuals: np.ndarray
    iterations: int


def solve(
    cell: Cell,
    params: NamedTuple,
    inputs,
    initial_state=None,
    guess=None,
    form: str = "full",
    damping: float = 0.0,
    tolerance: float = 1e-12,
    limit: int | None = None,
) -> Solution:
    """Find all states of a recurrent network, :eq:`eq-newton-step`, damped :eq:`eq-damped-step`.

    Without damping T iterations suffice, whatever the form and the guess: what is exact to the last bit is
    kept, and an entry that overflows is replaced by f_t of the last guess. A small residual is no small error
    where the network is chaotic. With damping there is one lambda for the whole batch.

    Args:
        cell: a cell with one state and no gates, from ``cells.rnn`` for one.
        params: W_x, W_h and b_h.
        inputs: x, shape (T, B, D).
        initial_state: h_0, shape (H,) or (B, H); zeros unless given.
        guess: of h_1..h_T, shape (T, B, H); zeros unless given.
        form: which part of the Jacobians is used: "full", "diagonal" or "zero".
        damping: lambda to begin with, for the full form; it falls where a step helps, and grows where none does.
        tolerance: the residual at which to stop; float32 reaches 1e-6 or so, and not the default.
        limit: the most iterations; T unless given.

    Returns:
        The states and how they were reached.

    Raises:
        ValueError: if a shape does not fit, an argument is out of range, an entry is not finite, or the cell has gates.
    """
    ax, h_0, h = _enter(cell, params, inputs, initial_state, guess)
    doors.one_of("form", form, FORMS)
    if not 0 <= damping < float("inf") or (damping and form != "full"):
        raise ValueError(f"damping: expected 0, or a positive number with form 'full', got {damping!r} with {form!r}")
    if not 0 <= tolerance < float("inf"):
        raise ValueError(f"tolerance: expected a number >= 0, got {tolerance!r}")
    limit = len(h) if limit is None else limit
    doors.at_least("limit", limit, 1)
    new, J = linearise(cell, params, ax, h_0, h, form)
    residuals = [abs(h - new)]
    while len(residuals) <= limit and not residuals[-1].max() <= tolerance:  # NaN is no end
        moved = step(h, new, J, damping)
        after, J_after = linearise(cell, params, ax, h_0, moved, form)
        worse = damping and not _length(moved - after) < _length(h - new)  # NaN is worse
        if not worse:
            h, new, J = moved, after, J_after
        damping *= 4 if worse else 0.25
        residuals.append(abs(h - new))
    largest = np.array([part.max() for part in residuals])
    return Solution(h, largest, len(residuals) - 1)


def step(hidden, images, jacobians, damping: float = 0.0) -> np.ndarray:
    """One iteration: the states of the linearised network, :eq:`eq-newton-step` or :eq:`eq-damped-step`.

    Args:
        hidden: the guess h, shape (T, B, H).
        images: f_t(h_{t-1}), shape (T, B, H).
        jacobians: of f_t at h_{t-1}, shape (T, B, H, H), or their diagonals, (T, B, H).
        damping: lambda, 0 for none.

    Returns:
        The next guess, shape (T, B, H).
    """
    before = np.concatenate([np.zeros_like(hidden[:1]), hidden[:-1]])
    with np.errstate(over="ignore", invalid="ignore"):
        shift = images - linear_recurrence.apply(jacobians, before)  # at step 1, h_0 is known: f_1(h_0) itself
        if damping:
            return _smoothed(hidden, shift, jacobians, damping)
        wrong = (hidden != images).any(axis=-1, keepdims=True)
        known = wrong.cumsum(axis=0) - wrong == 0  # every state before this step is exact: no tangent is needed
        shift = np.where(known, images, shift)
        jacobians = np.where(known[..., None] if jacobians.ndim == 4 else known, 0, jacobians)
        _, moved = scan.prefixes(linear_recurrence.combine, (jacobians, shift))
        far = np.sqrt(np.finfo(moved.dtype).max)  # beyond it, the next product may overflow
        return np.where((abs(moved) < far) & ~known, moved, images)


def linearise(cell: Cell, params: NamedTuple, ax, initial_state, hidden, form: str = "full") -> tuple:
    """Apply every step to a guess of the state before it, and differentiate it there.

    Args:
        cell: a vanilla cell.
        params: W_x, W_h and b_h.
        ax: W_x x_t + b_h, shape (T, B, H).
        initial_state: h_0, shape (B, H).
        hidden: the guess, shape (T, B, H).
        form: as in :func:`solve`.

    Returns:
        ``(images, jacobians)``: f_t(h_{t-1}), (T, B, H); (T, B, H, H), or (T, B, H) if only diagonals are used.
    """
    before = np.concatenate([initial_state[None], hidden[:-1]])
    W_h = params[1]
    (images,), kept = cell.step((), ax, before @ W_h.T, (before,))
    if form == "zero":
        return images, np.zeros_like(images)
    _, slope, (direct,), _ = cell.pull((), kept, (np.ones_like(images),))
    if form == "full":
        passed_on = (direct + np.zeros_like(images))[..., None] * np.eye(len(W_h), dtype=images.dtype)
        return images, slope[..., None] * W_h + passed_on
    return images, slope * np.diagonal(W_h) + direct


def _smoothed(hidden, shift, jacobians, damping: float) -> np.ndarray:
    """The mean of h_1..h_T, if the linearised network has noise of variance 1 and the guess, noise 1 / lambda."""
    H = hidden.shape[-1]
    one, nothing = np.eye(H, dtype=hidden.dtype), np.zeros((H, H), hidden.dtype)
    system = LDSParams(jacobians, one, one, one, one / damping, np.zeros(H, hidden.dtype), nothing)
    _, tape = kalman_scan.forward(system, hidden, shift)
    return kalman_scan.smooth(tape).means[1:].astype(hidden.dtype, copy=False)


def _length(error) -> float:
    return float((error * error).sum())


def _enter(cell: Cell, params, inputs, initial_state, guess) -> tuple:
    if cell.states != 1 or cell.gates != 1 or cell.own:
        raise ValueError(f"cell: expected a cell with one state and no gates, got {cell.name}")
    doors.cell_params(cell, params)
    W_x, W_h, b = params
    x = unroll.as_floats(inputs)
    doors.sequences("inputs", x, W_x.shape[1])
    shape = (*x.shape[:2], len(W_h))
    h_0 = np.zeros(len(W_h), x.dtype) if initial_state is None else unroll.as_floats(initial_state)
    doors.shape("initial_state", h_0, shape[2:] if h_0.ndim == 1 else shape[1:])
    h = np.zeros(shape, x.dtype) if guess is None else unroll.as_floats(guess)
    doors.shape("guess", h, shape)
    for name, array in (("inputs", x), ("initial_state", h_0), ("guess", h), *zip(params._fields, params, strict=True)):
        doors.finite(name, array)
    return x @ W_x.T + b, np.broadcast_to(h_0, shape[1:]), h
