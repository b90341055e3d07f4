"""The weights of a network as the state of a Kalman filter: learning one sample at a time, with a covariance.

The derivative of the output by all weights is carried forward, step by step, from what
``torch.func.jacrev`` says of one step. With one covariance for all weights this is the global filter;
with one for each unit, the decoupled one, which forgets how the weights of different units covary.
"""

import math
from typing import NamedTuple

import torch
from torch.func import jacrev, vmap

from rnncourse import doors
from rnncourse.gpu import graph
from rnncourse.gpu.cells import Cell
from rnncourse.gpu.gaussians import check_covariance, check_definite, symmetric
from rnncourse.params import ModelParams, ReadoutParams, RNNParams

GROUPS = ("global", "unit")


class Learner(NamedTuple):
    """What is carried from one sample to the next.

    Attributes:
        params: the mean of the weights, as a model; its initial state is never learned.
        covariances: of the weights before the next sample, their drift included; one for each group of
            them, in the order of :func:`flat`: one of shape (N, N) for "global", for "unit" H of
            (D + H + 1, D + H + 1), then O of (H + 1, H + 1).
        hidden: h_t, shape (B, H).
        influence: dh_t by the weights of the cell, in the order of :func:`flat`, shape (B, H, H (D + H + 1)).
    """

    params: ModelParams
    covariances: tuple
    hidden: torch.Tensor
    influence: torch.Tensor


def start(params: ModelParams, spread: float = 0.1, groups: str = "global", batch: int = 1) -> Learner:
    """Begin: the weights are normal about those given, and independent.

    Args:
        params: a vanilla cell and its readout.
        spread: the variance of every weight before the first sample.
        groups: "global" or "unit".
        batch: B, the number of sequences that are learned side by side.

    Returns:
        The learner before its first sample, outside every graph of autograd's.

    Raises:
        ValueError: if it is no vanilla cell, there are no such groups, no sequence, or the spread is no
            finite number above 0.
    """
    if not isinstance(params.cell, RNNParams):
        raise ValueError(f"params.cell: forward mode is written for RNNParams, got {type(params.cell).__name__}")
    doors.one_of("groups", groups, GROUPS)
    doors.at_least("batch", batch, 1)
    if not 0 < spread < math.inf:
        raise ValueError(f"spread: expected a variance above 0, got {spread!r}")
    params = graph.cut(params)
    (H, D), O = params.cell.input_weights.shape, len(params.readout.bias)
    sizes = [H * (D + H + 1) + O * (H + 1)] if groups == "global" else [D + H + 1] * H + [H + 1] * O
    covariances = tuple(spread * torch.eye(size).to(params.cell.bias) for size in sizes)
    hidden, influence = _begin(params, batch)
    return Learner(params, covariances, hidden, influence)


def step(cell: Cell, learner: Learner, x, y, noise, drift: float = 0.0, seen=None):
    """Take in one sample of each sequence, :eq:`eq-ekf-weights`.

    Args:
        cell: a vanilla cell from ``cells.rnn``.
        learner: what is known so far.
        x: x_t, shape (B, D).
        y: y_t, shape (B, O).
        noise: R, the covariance of an output about the network's, positive definite, shape (O, O).
        drift: q, the variance by which every weight may wander from sample to sample.
        seen: which entries of y count, booleans, shape (B, O); all unless given. The others may hold NaN.

    Returns:
        ``(learner, prediction)``: the prediction, shape (B, O), was made before y was looked at. Nothing
        is checked here: :func:`run` has the doors.
    """
    params, spreads, before, influence = learner
    h, influence = _advance(cell, params, x, before, influence)
    prediction = h @ params.readout.weights.T + params.readout.bias
    J, e = derivative(params, influence, h), y - prediction
    seen = torch.ones_like(e, dtype=torch.bool) if seen is None else seen
    R = torch.kron(torch.eye(len(h)).to(e), noise)[seen.ravel()][:, seen.ravel()]
    spreads, change = learn(spreads, J[seen], e[seen], R, drift)
    return Learner(moved(params, change), spreads, h, influence), prediction


def learn(covariances: tuple, J, e, R, drift: float = 0.0):
    """What a surprise changes in the weights: a Kalman update in which every group pays its share of S.

    Args:
        covariances: one for each group, in the order of the columns of J.
        J: derivative of what is seen by all weights, shape (M, N).
        e: what is seen less what was predicted, shape (M,).
        R: covariance of the noise, shape (M, M).
        drift: q, added to every variance afterwards.

    Returns:
        ``(covariances, change)``: the latter of the weights, shape (N,).
    """
    parts = torch.split(J, [len(P) for P in covariances], dim=1)
    crossed = [P @ part.T for P, part in zip(covariances, parts, strict=True)]
    S = R + sum(part @ PJ for part, PJ in zip(parts, crossed, strict=True))
    gains = [torch.linalg.solve(S, PJ.T).T for PJ in crossed]
    after = tuple(
        symmetric(P - K @ PJ.T) + drift * torch.eye(len(P)).to(P)
        for P, K, PJ in zip(covariances, gains, crossed, strict=True)
    )
    return after, torch.cat([K @ e for K in gains])


def derivative(params: ModelParams, influence, hidden):
    """How the output W_y h_t + b_y depends on the weights, ordered as in :func:`flat`, :eq:`eq-ekf-weights-jacobian`.

    Args:
        params: the model.
        influence: dh_t by the weights of the cell, shape (B, H, H (D + H + 1)).
        hidden: h_t, shape (B, H).

    Returns:
        dy_t by the weights, shape (B, O, N).
    """
    by_weights, by_hidden = vmap(jacrev(_read, argnums=(0, 1)), in_dims=(None, 0))(_read_row(params.readout), hidden)
    return torch.cat([by_hidden @ influence, by_weights], dim=2)


def flat(params: ModelParams) -> torch.Tensor:
    """All weights in one row: unit by unit [W_x W_h b_h], then output by output [W_y b_y].

    Args:
        params: the model.

    Returns:
        The weights, shape (N,).
    """
    return torch.cat([_cell_row(params.cell), _read_row(params.readout)])


def moved(params: ModelParams, change) -> ModelParams:
    """The model with every weight changed.

    Args:
        params: the model.
        change: in the order of :func:`flat`, shape (N,).

    Returns:
        The changed model.
    """
    (H, D), O = params.cell.input_weights.shape, len(params.readout.bias)
    cell, readout = torch.split(flat(params) + change, [H * (D + H + 1), O * (H + 1)])
    W_y, b_y = _read_parts(readout, H)
    return ModelParams(RNNParams(*_cell_parts(cell, H)), ReadoutParams(W_y, b_y), params.initial_state)


def run(cell: Cell, learner: Learner, inputs, targets, noise, drift: float = 0.0, observed=None):
    """One pass over sequences, side by side.

    Args:
        cell: a vanilla cell from ``cells.rnn``.
        learner: from :func:`start`, or from the pass before, with :func:`rewound`.
        inputs: x, shape (T, B, D).
        targets: y, shape (T, B, O); where not observed it may hold anything, NaN included.
        noise: R, positive definite, shape (O, O).
        drift: q, 0 or more.
        observed: booleans, shape (T, B) or (T, B, O); all unless given.

    Returns:
        ``(learner, predictions)``: each prediction was made before its target was looked at, shape (T, B, O).

    Raises:
        ValueError: if a shape does not fit, an entry that counts is not finite, the noise is no positive
            definite covariance, the drift no variance, or ``observed`` not of booleans.
    """
    doors.sequences("inputs", inputs, learner.params.cell.input_weights.shape[1])
    T, B, _ = inputs.shape
    O = len(learner.params.readout.bias)
    doors.shape("targets", targets, (T, B, O))
    doors.shape("noise", noise, (O, O))
    check_covariance("noise", noise)
    check_definite("noise", noise)
    if not 0 <= drift < math.inf:
        raise ValueError(f"drift: expected a variance, 0 or more, got {drift!r}")
    doors.shape("learner.hidden", learner.hidden, (B, "H"))
    seen = _seen(observed, targets)
    y = torch.where(seen, targets, 0)
    doors.finite("inputs", inputs)
    doors.finite("targets", y)
    predictions = []
    for t in range(T):
        learner, prediction = step(cell, learner, inputs[t], y[t], noise, drift, seen[t])
        predictions.append(prediction)
    return learner, torch.stack(predictions)


def rewound(learner: Learner) -> Learner:
    """The same weights and covariances, the network back at the start of its sequences.

    Args:
        learner: after a pass.

    Returns:
        The learner before the next.
    """
    hidden, influence = _begin(learner.params, len(learner.hidden))
    return learner._replace(hidden=hidden, influence=influence)


def _begin(params: ModelParams, batch: int) -> tuple:
    """h_0, shape (B, H), which no weight of the cell has touched."""
    H, D = params.cell.input_weights.shape
    hidden = params.initial_state.expand(batch, H).clone()
    return hidden, hidden.new_zeros(batch, H, H * (D + H + 1))


def _advance(cell: Cell, params: ModelParams, x, before, influence) -> tuple:
    """h_t and its total derivative by the weights: the immediate part, and J_t times that of h_{t-1}."""

    def following(row, h, x):
        W_x, W_h, b = _cell_parts(row, len(h))
        after = cell.step((), W_x @ x + b, W_h @ h, (h,))[0]
        return after, after

    both = vmap(jacrev(following, argnums=(0, 1), has_aux=True), in_dims=(None, 0, 0))
    (immediate, J), h = both(_cell_row(params.cell), before, x)
    return h, immediate + J @ influence


def _cell_row(cell: RNNParams) -> torch.Tensor:
    W_x, W_h, b = cell
    return torch.cat([W_x, W_h, b[:, None]], dim=1).ravel()


def _cell_parts(row, H: int) -> tuple:
    joint = row.reshape(H, -1)
    return joint[:, : -H - 1], joint[:, -H - 1 : -1], joint[:, -1]


def _read_row(readout: ReadoutParams) -> torch.Tensor:
    return torch.cat([readout.weights, readout.bias[:, None]], dim=1).ravel()


def _read_parts(row, H: int) -> tuple:
    joint = row.reshape(-1, H + 1)
    return joint[:, :-1], joint[:, -1]


def _read(row, h):
    W_y, b_y = _read_parts(row, len(h))
    return W_y @ h + b_y


def _seen(observed, targets) -> torch.Tensor:
    """What counts, entry by entry; the same words as at the doors of the other filters."""
    if observed is None:
        return torch.ones_like(targets, dtype=torch.bool)
    seen = torch.as_tensor(observed, device=targets.device)
    if seen.dtype != torch.bool:
        raise ValueError(f"observed: expected booleans, got {seen.dtype}")
    doors.shape("observed", seen, tuple(targets.shape[: max(seen.ndim, 2)]))
    return torch.broadcast_to(seen if seen.ndim == 3 else seen[:, :, None], targets.shape)
