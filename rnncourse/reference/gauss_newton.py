"""Damped Gauss-Newton (Levenberg and Marquardt) for the squared error of a small vanilla RNN."""

from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.params import ModelParams, RNNParams, map_arrays
from rnncourse.reference import jacobians, losses, readout, rtrl, unroll
from rnncourse.reference.cells import Cell


class Trial(NamedTuple):
    """What came of one step.

    Attributes:
        params: the new parameters if the loss fell, else the old ones.
        loss: half the sum of squares of their residuals.
        damping: what to take next: a tenth after a success, ten times as much after a failure.
        accepted: whether the loss fell.
    """

    params: ModelParams
    loss: float
    damping: float
    accepted: bool


def jacobian(cell: Cell, params: ModelParams, inputs, targets, mask=None) -> tuple[np.ndarray, np.ndarray]:
    """Residuals and their derivative by all parameters, in one forward sweep, :eq:`eq-residual-jacobian`.

    Forward mode carries dh_t/dtheta along, so every output's derivative is there when the output is.

    Args:
        cell: a vanilla cell from ``cells.rnn``.
        params: cell, readout and one initial state (H,) for all sequences.
        inputs: x, shape (T, B, D).
        targets: shape (T, B, O).
        mask: the steps that count, booleans (T, B); all unless given.

    Returns:
        ``(residuals, jacobian)``: r = y - y*, shape (N,), for the steps that count in the order of
        time, sequence, output; and dr/dtheta, shape (N, P), parameters in the order of ``named_arrays``.

    Raises:
        ValueError: if anything does not fit, naming it.
    """
    hidden, outputs, mask, tape = _run(cell, params, inputs, targets, mask)
    influence, slope, rows = rtrl.start(params.cell, hidden.shape[1]), jacobians.slopes(tape), []
    for t, counts in enumerate(mask):
        influence = rtrl.step(params.cell, influence, tape.inputs[t], tape.hidden[t], slope[t])
        rows.append(_rows(params, hidden[t][counts], influence.weights[counts], influence.start[counts]))
    return (outputs - targets)[mask].ravel(), np.concatenate(rows)


def step(residuals, jacobian, damping: float) -> np.ndarray:
    """The change of the parameters that :eq:`eq-gauss-newton-step` asks for.

    The smaller of two systems is solved, :eq:`eq-gauss-newton-dual`.

    Args:
        residuals: r, shape (N,).
        jacobian: R = dr/dtheta, shape (N, P).
        damping: lambda, positive.

    Returns:
        -(R^T R + lambda I)^{-1} R^T r, shape (P,).

    Raises:
        ValueError: if a shape does not fit, an entry is not finite, or the damping is not positive.
    """
    r, R = residuals, jacobian
    check_step(r, R, damping)
    if len(R) < R.shape[1]:
        return -R.T @ np.linalg.solve(R @ R.T + damping * np.eye(len(R), dtype=R.dtype), r)
    return -np.linalg.solve(R.T @ R + damping * np.eye(R.shape[1], dtype=R.dtype), R.T @ r)


def moved(params: ModelParams, change) -> ModelParams:
    """Add a change to the parameters.

    Args:
        params: nested NamedTuples of arrays with P entries.
        change: shape (P,), in the order of ``named_arrays``.

    Returns:
        New parameters of the same form.

    Raises:
        ValueError: if the change has another length.
    """
    doors.shape("change", change, (sum(array.size for array in _flat(params)),))
    sizes = np.cumsum([array.size for array in _flat(params)])
    parts = iter(np.split(change, sizes[:-1]))
    return map_arrays(lambda array: array + next(parts).reshape(array.shape), params)


def trial(cell: Cell, params: ModelParams, inputs, targets, damping: float, mask=None) -> Trial:
    """Try one damped step, and keep it only if the loss falls.

    Args:
        cell: a vanilla cell from ``cells.rnn``.
        params: cell, readout and one initial state (H,).
        inputs: x, shape (T, B, D).
        targets: shape (T, B, O).
        damping: lambda, positive.
        mask: the steps that count, booleans (T, B); all unless given.

    Returns:
        Parameters, loss, and the damping of the next trial.

    Raises:
        ValueError: if anything does not fit, naming it.
    """
    r, R = jacobian(cell, params, inputs, targets, mask)
    try:
        there = moved(params, step(r, R, damping))
    except np.linalg.LinAlgError:  # rounding has swallowed the damping
        return Trial(params, 0.5 * float((r * r).sum()), damping * 10, False)
    _, outputs, mask, _ = _run(cell, there, inputs, targets, mask)
    before, after = (0.5 * float((part * part).sum()) for part in (r, (outputs - targets)[mask]))
    return Trial(there, after, damping / 10, True) if after < before else Trial(params, before, damping * 10, False)


def check_step(residuals, jacobian, damping: float) -> None:
    """Check what a step is made from.

    Args:
        residuals: shape (N,).
        jacobian: shape (N, P).
        damping: lambda.

    Raises:
        ValueError: if a shape does not fit, an entry is not finite, or the damping is not positive.
    """
    doors.shape("residuals", residuals, ("N",))
    doors.shape("jacobian", jacobian, (len(residuals), "P"))
    doors.finite("residuals", residuals)
    doors.finite("jacobian", jacobian)
    if not damping > 0:
        raise ValueError(f"damping: expected a positive number, got {damping}")


def _run(cell: Cell, params: ModelParams, inputs, targets, mask):
    """Run a model of the kind that this is written for."""
    if not isinstance(params.cell, RNNParams):
        raise ValueError(f"params.cell: written for RNNParams, got {type(params.cell).__name__}")
    doors.shape("initial_state", params.initial_state, (len(params.cell.bias),))
    hidden, _, tape = unroll.forward(cell, params.cell, inputs, params.initial_state)
    outputs, _ = readout.forward(params.readout, hidden)
    doors.shape("targets", targets, outputs.shape)
    counted = np.ones(outputs.shape[:2], bool) if mask is None else losses.as_mask(mask, outputs.shape[:2])
    return hidden, outputs, counted, tape


def _rows(params: ModelParams, h, weights, start) -> np.ndarray:
    """dy_t/dtheta of the sequences that count, a row for each output, shape (B O, P)."""
    W_x, (W_y, b_y) = params.cell.input_weights, params.readout
    B, H, O, D = *h.shape, len(b_y), W_x.shape[1]
    through = np.einsum("oh,bhij->boij", W_y, weights)
    cell = np.split(through, [D, D + H], axis=3)
    eye = np.eye(O, dtype=h.dtype)
    own = np.einsum("op,bh->boph", eye, h)  # output o reads row o of W_y
    blocks = [*cell, own, np.broadcast_to(eye, (B, O, O)), np.einsum("oh,bhj->boj", W_y, start)]
    return np.concatenate([block.reshape(B * O, int(np.prod(block.shape[2:]))) for block in blocks], axis=1)


def _flat(params) -> list:
    return [array for part in params for array in (_flat(part) if isinstance(part, tuple) else [part])]
