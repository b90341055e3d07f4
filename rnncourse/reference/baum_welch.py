"""Expectation maximisation for hidden Markov models: count what is expected, divide, repeat."""

import numpy as np

from rnncourse import doors
from rnncourse.hmm_params import HMMParams
from rnncourse.reference import emissions, hmm


def step(params: HMMParams, observations, lengths=None, floor: float = 1e-6):
    """One step of Baum and Welch, :eq:`eq-baum-welch`.

    Args:
        params: the model.
        observations: symbols (T, B), integers, or vectors (T, B, D). Padding may hold anything.
        lengths: real steps of each sequence, shape (B,); all T unless given.
        floor: as in ``emissions.maximise``; with one, the likelihood of vectors may fall a little.

    Returns:
        ``(params, log_likelihood)``: the new model, and the log-likelihood of the old one, summed over the batch.

    Raises:
        ValueError: as ``hmm.forward``.
    """
    log_likelihood, tape = hmm.forward(params, observations, lengths)
    counts = hmm.backward(tape)
    emission = emissions.maximise(params.emission, observations, counts.posterior, tape.mask, floor)
    start, transition = (
        divided(*pair) for pair in ((counts.start, params.start), (counts.transition, params.transition))
    )
    return HMMParams(start, transition, emission), float(log_likelihood.sum())


def fit(params: HMMParams, observations, lengths=None, steps: int = 100, tolerance: float = 0.0, floor: float = 1e-6):
    """Repeat :func:`step`.

    Args:
        params: the model to begin with.
        observations: symbols (T, B), integers, or vectors (T, B, D). Padding may hold anything.
        lengths: real steps of each sequence, shape (B,); all T unless given.
        steps: how many at most.
        tolerance: stop when a step gains less than this, in nats.
        floor: as in :func:`step`.

    Returns:
        ``(params, history)``: the last model, and the log-likelihood before each step.

    Raises:
        ValueError: as ``hmm.forward``, or if ``steps`` is no whole number.
    """
    doors.at_least("steps", steps, 0)
    history = []
    for _ in range(steps):
        params, value = step(params, observations, lengths, floor)
        history.append(value)
        if len(history) > 1 and history[-1] - history[-2] < tolerance:
            break
    return params, history


def divided(counts: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Rows of counts over their sums; a row that was never used stays as it was.

    Args:
        counts: expected counts, rows along the last axis.
        old: the present probabilities, in the same shape.

    Returns:
        New probabilities.
    """
    total = counts.sum(axis=-1, keepdims=True)
    return np.where(total == 0, old, counts / np.where(total == 0, 1, total))
