"""The Kalman filter of a system that does not change: its covariances settle, and then only means are left.

How certain the filter is does not depend on what it sees. So the covariances are run alone until they
move no more. From then on the means are a linear recurrence with one matrix, which need not be run one
step after the other.
"""

import math
from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.lds_params import LDSParams
from rnncourse.reference import gaussians, kalman
from rnncourse.reference.gaussians import symmetric
from rnncourse.reference.lds_entry import Problem, enter, flat


class Settled(NamedTuple):
    """The covariances of the filter, up to where they move no more.

    Attributes:
        predicted: of z_t given the past, shape (n, H, H).
        filtered: of z_t given the past and the present, shape (n, H, H).
        gains: K_t, shape (n, H, O).
        surprises: S_t, shape (n, O, O).
    """

    predicted: np.ndarray
    filtered: np.ndarray
    gains: np.ndarray
    surprises: np.ndarray


class Steady(NamedTuple):
    """What the filter knows after each step.

    Attributes:
        means: of z_t given y_1..y_t, shape (T, B, H); zero in padding.
        covariances: of the first n steps, shape (n, H, H); that of step n is also that of every later step.
        log_likelihood: log p(y_1..y_T) of each sequence, in nats, shape (B,).
    """

    means: np.ndarray
    covariances: np.ndarray
    log_likelihood: np.ndarray


def settle(params: LDSParams, steps: int, tolerance: float = 1e-14) -> Settled:
    """Run the covariances alone until a step changes none of their entries by more than a trifle.

    Args:
        params: the system; no matrix may change with time.
        steps: T, where to stop if they have not settled before.
        tolerance: the change of a covariance that counts as none, as in ``kalman.at_rest``.

    Returns:
        The first n of them, n <= T.

    Raises:
        ValueError: if a shape does not fit, a matrix changes with time, or the outputs' covariance is singular.
    """
    doors.at_least("steps", steps, 1)
    given = enter(params, np.zeros((1, 1, params.emission.shape[-2])), np.zeros((1, 1, params.input_weights.shape[-1])))
    if any(matrix.ndim > 2 for matrix in params[:5]):
        raise ValueError("params: expected matrices that do not change with time")
    return _settle(given, steps, tolerance)


def forward(params: LDSParams, outputs, inputs=None, lengths=None, tolerance: float = 1e-14) -> Steady:
    """Filter a batch of sequences as ``kalman.forward`` does, where everything was seen and nothing changes.

    Args:
        params: the system; no matrix may change with time.
        outputs: y, shape (T, B, O). In padding it may hold anything, NaN included.
        inputs: x, shape (T, B, D); may be left out where D is 0.
        lengths: real steps of each sequence, shape (B,); all T unless given.
        tolerance: the change of a covariance in one step that counts as none, as in ``kalman.at_rest``.

    Returns:
        What is known after each step.

    Raises:
        ValueError: as ``kalman.forward``, or if a matrix changes with time.
    """
    if any(matrix.ndim > 2 for matrix in params[:5]):
        raise ValueError("params: expected matrices that do not change with time")
    given = enter(params, outputs, inputs, None, lengths)
    T, B, _ = given.outputs.shape
    settled = _settle(given, T, tolerance)
    A, C, K, n = params.transition, params.emission, settled.gains, len(settled.gains)
    means = np.empty((T, B, len(A)), np.result_type(A, given.outputs))
    m = given.mean
    for t in range(n):
        p = m @ A.T + given.drive[t]
        means[t] = m = p + (given.outputs[t] - p @ C.T) @ K[t].T
    keep = np.eye(len(A), dtype=A.dtype) - K[-1] @ C
    push, driven = flat(given.outputs[n:], K[-1]), given.inputs.shape[-1] > 0
    if driven:
        push += flat(given.drive[n:], keep)
    means[n:] = recurrence(keep @ A, push, m)
    predicted = flat(np.concatenate([given.mean[None], means[:-1]]), A)
    if driven:
        predicted += given.drive
    likelihood = _log_likelihood(given, given.outputs - flat(predicted, C), settled.surprises)
    return Steady(means if given.real is None else np.where(given.real, means, 0), settled.filtered, likelihood)


def recurrence(M, push, start, block: int | None = None) -> np.ndarray:
    """h_t = M h_{t-1} + push_t for all t, many blocks of steps at once.

    Every block starts from zero, and all run side by side. The blocks' ends are a recurrence themselves, and
    what a block should have started from is pushed through it.

    Args:
        M: shape (H, H).
        push: shape (T, B, H).
        start: h_0, shape (B, H).
        block: steps in a block; fewer than the square root of T unless given.

    Returns:
        h_1..h_T, shape (T, B, H).
    """
    T, B, H = push.shape
    if T < 16 and block is None:
        return _step_by_step(M, push, start)
    k = block or int(0.5 * np.sqrt(T))
    blocks = -(-T // k)
    padded = np.concatenate([push, np.zeros((blocks * k - T, B, H), push.dtype)]).reshape(blocks, k, B * H)
    h = padded.swapaxes(0, 1).reshape(k, blocks * B, H)  # by the step within the block; a copy
    power = M
    for i in range(1, k):
        h[i] += h[i - 1] @ M.T
        power = M @ power
    ends = recurrence(power, h[-1].reshape(blocks, B, H), start)
    pushed = np.concatenate([start[None], ends[:-1]]).reshape(blocks * B, H)
    for i in range(k):
        pushed = pushed @ M.T
        h[i] += pushed
    return h.reshape(k, blocks, B * H).swapaxes(0, 1).reshape(blocks * k, B, H)[:T]


def _step_by_step(M, push, start) -> np.ndarray:
    h = np.empty_like(push)
    for t, row in enumerate(push):
        h[t] = start = start @ M.T + row
    return h


def _settle(given: Problem, steps: int, tolerance: float) -> Settled:
    A, C, Q, R = (matrix[0] for matrix in (given.A, given.C, given.Q, given.R))
    V, found = given.covariance, []
    for _ in range(steps):
        P = symmetric(A @ V @ A.mT + Q)
        V, K, S = kalman.weigh(P, C, R)
        found.append((P, V, K, S))
        if len(found) % 8 == 0 and kalman.at_rest(P, found[-2][0], tolerance):  # looking costs as much as a step
            break
    return Settled(*map(np.stack, zip(*found, strict=True)))


def _log_likelihood(given: Problem, surprises, S) -> np.ndarray:
    """As in ``kalman.log_likelihood``, where S is the same from step n on."""
    T, n = len(surprises), len(S)
    precisions, sizes = kalman.inverse(S), gaussians.log_determinant(S)
    distance = np.empty(surprises.shape[:2], surprises.dtype)
    distance[:n] = ((surprises[:n] @ precisions) * surprises[:n]).sum(axis=-1)
    distance[n:] = (flat(surprises[n:], precisions[-1]) * surprises[n:]).sum(axis=-1)
    sizes = np.concatenate([sizes, np.full(T - n, sizes[-1])])[:, None]
    terms = -0.5 * (distance + sizes + surprises.shape[-1] * math.log(2 * math.pi))
    return terms.sum(axis=0) if given.real is None else np.where(given.real[:, :, 0], terms, 0).sum(axis=0)
