"""Expectation maximisation for a linear system: smooth, regress, repeat."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.lds_params import LDSParams
from rnncourse.reference import kalman, smoother
from rnncourse.reference.gaussians import divide, symmetric
from rnncourse.reference.lds_entry import check_linear, grouped


class Fit(NamedTuple):
    """What EM found.

    Attributes:
        params: after the last iteration.
        log_likelihood: of all sequences together, before each iteration and after the last, shape (iterations + 1,).
    """

    params: LDSParams
    log_likelihood: np.ndarray


class Regression(NamedTuple):
    """A regression whose data are Gaussians: rows of means, and the covariances around them, added up.

    Attributes:
        causes: means of what explains, shape (N, K).
        effects: means of what is explained, shape (N, M).
        own: covariance of the causes, a sum, shape (K, K).
        cross: covariance of effects with causes, a sum, shape (M, K).
        noise: covariance of the effects, a sum, shape (M, M).
    """

    causes: np.ndarray
    effects: np.ndarray
    own: np.ndarray
    cross: np.ndarray
    noise: np.ndarray


def fit(
    params: LDSParams,
    outputs,
    inputs=None,
    observed=None,
    lengths=None,
    iterations: int = 100,
    keep: tuple = (),
    moments: Callable = smoother.rts,
) -> Fit:
    """Raise the likelihood of a batch of sequences by :func:`iterate`, again and again.

    Args:
        params: where to start; no matrix may change with time.
        outputs: y, shape (T, B, O). Where not observed, and in padding, it may hold anything, NaN included.
        inputs: x, shape (T, B, D); may be left out where D is 0.
        observed: booleans, shape (T, B) or (T, B, O): what was seen; all unless given.
        lengths: real steps of each sequence, shape (B,); all T unless given.
        iterations: how many.
        keep: names of the parameters that stay as they are.
        moments: from a tape of the filter, the moments of the states: ``smoother.rts``.

    Returns:
        The system found and the log-likelihood on the way.

    Raises:
        ValueError: as ``kalman.forward``; if a matrix changes with time, or a name to keep is unknown.
    """
    doors.at_least("iterations", iterations, 0)
    curve = []
    for _ in range(iterations):
        filtered, tape = kalman.forward(params, outputs, inputs, observed, lengths)
        curve.append(filtered.log_likelihood.sum())
        params = iterate(tape, moments(tape), keep)
    curve.append(kalman.forward(params, outputs, inputs, observed, lengths)[0].log_likelihood.sum())
    return Fit(params, np.array(curve))


def iterate(tape: kalman.Tape, moments: smoother.Smoothed, keep: tuple = ()) -> LDSParams:
    """The system that best explains the states as they seem, :eq:`eq-em-regressions` and :eq:`eq-em-start`.

    Args:
        tape: from ``kalman.forward``.
        moments: of the states, from ``smoother.rts``.
        keep: names of the parameters that stay as they are.

    Returns:
        The new parameters.

    Raises:
        ValueError: if a matrix changes with time, a name to keep is unknown, or the tape is that of an
            extended filter.
    """
    check_linear(tape.problem)
    old = tape.problem.params
    for name in keep:
        doors.one_of("keep", name, LDSParams._fields)
    if any(matrix.ndim > 2 for matrix in old[:5]):
        raise ValueError("params: expected matrices that do not change with time")
    moves, looks = transitions(tape, moments), emissions(tape, moments)
    H = len(old.initial_mean)
    fixed = [slice(0, H)] * ("transition" in keep) + [slice(H, None)] * ("input_weights" in keep)
    AW = solve(moves, np.concatenate([old.transition, old.input_weights], axis=1), fixed)
    C = old.emission if "emission" in keep else solve(looks, old.emission, [])
    first, P = moments.means[0], np.broadcast_to(moments.covariances[0], (moments.means.shape[1], H, H))
    m = old.initial_mean if "initial_mean" in keep else first.mean(axis=0)
    spread = P.mean(axis=0) + (first - m).T @ (first - m) / len(first)
    new = LDSParams(AW[:, :H], AW[:, H:], C, residual(moves, AW), residual(looks, C), m, symmetric(spread))
    return new._replace(**{name: getattr(old, name) for name in keep})


def transitions(tape: kalman.Tape, moments: smoother.Smoothed) -> Regression:
    """The regression of every z_t on z_{t-1} and x_t.

    Args:
        tape: from ``kalman.forward``.
        moments: of the states.

    Returns:
        The regression; its causes are states, then inputs.
    """
    given, m = tape.problem, moments.means
    real = _real(given)
    causes = np.concatenate([m[:-1], given.inputs], axis=-1)[real]
    V, cross = moments.covariances, moments.cross_covariances
    D = given.inputs.shape[-1]
    own = np.pad(_total(V[:-1], real), ((0, D), (0, D)))
    return Regression(causes, m[1:][real], own, np.pad(_total(cross, real), ((0, 0), (0, D))), _total(V[1:], real))


def emissions(tape: kalman.Tape, moments: smoother.Smoothed) -> Regression:
    """The regression of every y_t on z_t, with what was not seen of y_t filled in, :eq:`eq-em-missing`.

    Args:
        tape: from ``kalman.forward``.
        moments: of the states.

    Returns:
        The regression.
    """
    given, m = tape.problem, moments.means[1:]
    real, V = _real(given), moments.covariances[1:]
    if given.seen[real].all():
        zeros = np.zeros((given.outputs.shape[-1], m.shape[-1]), m.dtype)
        return Regression(m[real], given.outputs[real], _total(V, real), zeros, zeros @ zeros.T)
    C, R = given.params.emission, symmetric(given.params.output_noise)
    cover = given.seen[..., None]
    told = (R * np.swapaxes(cover, -1, -2)) @ np.linalg.inv(grouped(given.R)) * np.swapaxes(cover, -1, -2)
    rest = C - told @ (C * cover)
    filled = (told @ given.outputs[..., None] + rest @ m[..., None])[..., 0]
    noise = rest @ V @ rest.mT + R - told @ (R * cover)
    return Regression(m[real], filled[real], _total(V, real), _total(rest @ V, real), _total(symmetric(noise), real))


def solve(data: Regression, old, fixed: list) -> np.ndarray:
    """The weights of least squares, :eq:`eq-em-regressions`, from rows and not from sums of squares.

    Sums of squares would lose half the digits: a mean far from zero would drown the rest.

    Args:
        data: the regression.
        old: weights where they are to stay, shape (M, K).
        fixed: slices of the causes whose weights stay as they are.

    Returns:
        The weights, shape (M, K).
    """
    free = np.ones(old.shape[1], bool)
    for part in fixed:
        free[part] = False
    if not free.any():
        return old
    values, vectors = np.linalg.eigh(symmetric(data.own))
    roots = np.sqrt(np.maximum(values, 0))[:, None] * vectors.T
    pulled = divide(data.cross, data.own) @ roots.T
    causes = np.concatenate([data.causes, roots])
    effects = np.concatenate([data.effects, pulled.T]) - causes[:, ~free] @ old[:, ~free].T
    new = old.copy()
    new[:, free] = np.linalg.lstsq(causes[:, free], effects, rcond=None)[0].T
    return new


def residual(data: Regression, weights) -> np.ndarray:
    """The mean covariance of what the weights leave unexplained, :eq:`eq-em-noises`.

    Args:
        data: the regression.
        weights: shape (M, K).

    Returns:
        The covariance, shape (M, M).
    """
    error = data.effects - data.causes @ weights.T
    both = data.cross @ weights.T
    spread = data.noise - both - both.T + weights @ data.own @ weights.T
    return symmetric(error.T @ error + spread) / len(error)


def _real(given) -> np.ndarray:
    return np.ones(given.outputs.shape[:2], bool) if given.real is None else given.real[:, :, 0]


def _total(stack, real) -> np.ndarray:
    """Add up matrices (T, G, ., .) over all real steps of all sequences."""
    return np.broadcast_to(stack, (*real.shape, *stack.shape[2:]))[real].sum(axis=0)
