"""Damped Gauss-Newton (Levenberg and Marquardt) for the squared error of a small vanilla RNN."""

from typing import NamedTuple

import torch

from rnncourse import doors
from rnncourse.gpu import graph, losses, readout, unroll
from rnncourse.gpu.cells import Cell
from rnncourse.params import ModelParams, RNNParams, map_arrays


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


def jacobian(cell: Cell, params: ModelParams, inputs, targets, mask=None) -> tuple[torch.Tensor, torch.Tensor]:
    """Residuals and their derivative by all parameters, by ``torch.func.jacrev``, :eq:`eq-residual-jacobian`.

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
    params = graph.cut(params)
    outputs, mask, tape = _run(cell, params, inputs, targets, mask)
    x = tape.inputs.detach()

    def counted(params):
        h = torch.stack([state for (state,) in unroll.run(cell, params.cell, x, (params.initial_state,))])
        W_y, b_y = params.readout
        return (h @ W_y.T + b_y)[mask].ravel()

    parts = torch.func.jacrev(counted)(params)
    rows = torch.cat([part.flatten(start_dim=1) for part in graph.tensors(parts)], dim=1)
    return (outputs - targets)[mask].ravel(), rows


def step(residuals, jacobian, damping: float) -> torch.Tensor:
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
        return -R.T @ torch.linalg.solve(R @ R.T + damping * torch.eye(len(R)).to(R), r)
    return -torch.linalg.solve(R.T @ R + damping * torch.eye(R.shape[1]).to(R), R.T @ r)


def moved(params: ModelParams, change) -> ModelParams:
    """Add a change to the parameters.

    Args:
        params: nested NamedTuples of tensors with P entries.
        change: shape (P,), in the order of ``named_arrays``.

    Returns:
        New parameters of the same form.

    Raises:
        ValueError: if the change has another length.
    """
    sizes = [tensor.numel() for tensor in graph.tensors(params)]
    doors.shape("change", change, (sum(sizes),))
    parts = iter(change.split(sizes))
    return map_arrays(lambda tensor: tensor + next(parts).reshape(tensor.shape), params)


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
    params = graph.cut(params)
    r, R = jacobian(cell, params, inputs, targets, mask)
    try:
        there = moved(params, step(r, R, damping))
    except torch.linalg.LinAlgError:  # rounding has swallowed the damping
        return Trial(params, 0.5 * float((r * r).sum()), damping * 10, False)
    outputs, mask, _ = _run(cell, there, inputs, targets, mask)
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
    doors.shape("targets", targets, tuple(outputs.shape))
    mask = torch.ones(outputs.shape[:2], dtype=torch.bool) if mask is None else mask
    return outputs, losses.as_mask(mask, outputs.shape[:2]).to(outputs.device), tape
