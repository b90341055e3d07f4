"""The weights of a network as the state of a Kalman filter: learning one sample at a time, with a covariance.

The derivative of the output by all weights is carried forward by ``rtrl``. With one covariance for all
weights this is the global filter; with one for each unit, the decoupled one, which forgets how the
weights of different units covary.
"""

import math
from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.params import ModelParams, ReadoutParams, RNNParams
from rnncourse.reference import jacobians, rtrl, unroll
from rnncourse.reference.cells import Cell
from rnncourse.reference.gaussians import check_covariance, check_definite, symmetric

GROUPS = ("global", "unit")


class Learner(NamedTuple):
    """What is carried from one sample to the next.

    Attributes:
        params: the mean of the weights, as a model; its initial state is never learned.
        covariances: of the weights before the next sample, their drift included; one for each group of
            them, in the order of :func:`flat`: one of shape (N, N) for "global", for "unit" H of
            (D + H + 1, D + H + 1), then O of (H + 1, H + 1).
        hidden: h_t, shape (B, H).
        influence: dh_t by the weights, from ``rtrl``.
    """

    params: ModelParams
    covariances: tuple
    hidden: np.ndarray
    influence: rtrl.Influence


def start(params: ModelParams, spread: float = 0.1, groups: str = "global", batch: int = 1) -> Learner:
    """Begin: the weights are normal about those given, and independent.

    Args:
        params: a vanilla cell and its readout.
        spread: the variance of every weight before the first sample.
        groups: "global" or "unit".
        batch: B, the number of sequences that are learned side by side.

    Returns:
        The learner before its first sample.

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
    (H, D), O = params.cell.input_weights.shape, len(params.readout.bias)
    sizes = [H * (D + H + 1) + O * (H + 1)] if groups == "global" else [D + H + 1] * H + [H + 1] * O
    hidden = np.array(np.broadcast_to(params.initial_state, (batch, H)))
    return Learner(params, tuple(spread * np.eye(size) for size in sizes), hidden, rtrl.start(params.cell, batch))


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
    hidden, _, tape = unroll.forward(cell, params.cell, x[None], before)
    influence = rtrl.step(params.cell, influence, tape.inputs[0], before, jacobians.slopes(tape)[0])
    h, (W_y, b_y) = hidden[0], params.readout
    prediction = h @ W_y.T + b_y
    J, e = derivative(params, influence, h), y - prediction
    seen = np.ones(e.shape, bool) if seen is None else seen
    J, e, R = J[seen], e[seen], np.kron(np.eye(len(h)), noise)[seen.ravel()][:, seen.ravel()]
    spreads, change = learn(spreads, J, e, R, drift)
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
    ends = np.cumsum([len(P) for P in covariances])
    parts = np.split(J, ends[:-1], axis=1)
    crossed = [P @ part.T for P, part in zip(covariances, parts, strict=True)]
    S = R + sum(part @ PJ for part, PJ in zip(parts, crossed, strict=True))
    gains = [np.linalg.solve(S, PJ.T).T for PJ in crossed]
    after = tuple(
        symmetric(P - K @ PJ.T) + drift * np.eye(len(P)) for P, K, PJ in zip(covariances, gains, crossed, strict=True)
    )
    return after, np.concatenate([K @ e for K in gains])


def derivative(params: ModelParams, influence: rtrl.Influence, hidden):
    """How the output W_y h_t + b_y depends on the weights, ordered as in :func:`flat`, :eq:`eq-ekf-weights-jacobian`.

    Args:
        params: the model.
        influence: dh_t by the weights of the cell.
        hidden: h_t, shape (B, H).

    Returns:
        dy_t by the weights, shape (B, O, N).
    """
    B, H = hidden.shape
    O = len(params.readout.bias)
    through = np.tensordot(params.readout.weights, influence.weights.reshape(B, H, -1), axes=(1, 1)).swapaxes(0, 1)
    now = np.concatenate([hidden, np.ones((B, 1))], axis=1)
    read = np.eye(O)[None, :, :, None] * now[:, None, None, :]
    return np.concatenate([through, read.reshape(B, O, -1)], axis=2)


def flat(params: ModelParams) -> np.ndarray:
    """All weights in one row: unit by unit [W_x W_h b_h], then output by output [W_y b_y].

    Args:
        params: the model.

    Returns:
        The weights, shape (N,).
    """
    W_x, W_h, b_h = params.cell
    joint = np.concatenate([W_x, W_h, b_h[:, None]], axis=1)
    read = np.concatenate([params.readout.weights, params.readout.bias[:, None]], axis=1)
    return np.concatenate([joint.ravel(), read.ravel()])


def moved(params: ModelParams, change) -> ModelParams:
    """The model with every weight changed.

    Args:
        params: the model.
        change: in the order of :func:`flat`, shape (N,).

    Returns:
        The changed model.
    """
    (H, D), O = params.cell.input_weights.shape, len(params.readout.bias)
    cut = H * (D + H + 1)
    joint, read = change[:cut].reshape(H, -1), change[cut:].reshape(O, -1)
    steps = RNNParams(joint[:, :D], joint[:, D:-1], joint[:, -1])
    cell = RNNParams(*(w + d for w, d in zip(params.cell, steps, strict=True)))
    readout = ReadoutParams(params.readout.weights + read[:, :-1], params.readout.bias + read[:, -1])
    return ModelParams(cell, readout, params.initial_state)


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
    seen = _seen(observed, targets.shape)
    y = np.where(seen, targets, 0)
    doors.finite("inputs", inputs)
    doors.finite("targets", y)
    predictions = np.empty(y.shape)
    for t in range(T):
        learner, predictions[t] = step(cell, learner, inputs[t], y[t], noise, drift, seen[t])
    return learner, predictions


def rewound(learner: Learner) -> Learner:
    """The same weights and covariances, the network back at the start of its sequences.

    Args:
        learner: after a pass.

    Returns:
        The learner before the next.
    """
    batch, H = learner.hidden.shape
    hidden = np.array(np.broadcast_to(learner.params.initial_state, (batch, H)))
    return learner._replace(hidden=hidden, influence=rtrl.start(learner.params.cell, batch))


def _seen(observed, shape: tuple) -> np.ndarray:
    """What counts, entry by entry; the same words as at the doors of the other filters."""
    seen = np.ones(shape, bool) if observed is None else np.asarray(observed)
    if seen.dtype != bool:
        raise ValueError(f"observed: expected booleans, got {seen.dtype}")
    doors.shape("observed", seen, shape[: max(seen.ndim, 2)])
    return np.broadcast_to(seen if seen.ndim == 3 else seen[:, :, None], shape)
