"""The most probable path of states, by a maximum in the place of each sum."""

import numpy as np

from rnncourse import hmm_params
from rnncourse.hmm_params import HMMParams
from rnncourse.reference import emissions, hmm_log
from rnncourse.reference.hmm_log import log


def path(params: HMMParams, observations, lengths=None):
    """Find argmax over z_1..z_T of p(z_1..z_T, x_1..x_T), :eq:`eq-hmm-viterbi`.

    Args:
        params: the model.
        observations: symbols (T, B), integers, or vectors (T, B, D). Padding may hold anything.
        lengths: real steps of each sequence, shape (B,); all T unless given.

    Returns:
        ``(states, log_probability)``: the path, integers (T, B), -1 in the padding; and
        log p(z_1..z_T, x_1..x_T) along it, shape (B,).

    Raises:
        ValueError: if the model or a shape does not fit, or every path has probability zero.
    """
    mask = hmm_log.enter(params, observations, lengths)
    logs = emissions.log_likelihoods(params.emission, observations, mask)
    T, B, K = logs.shape
    best, came = np.broadcast_to(log(params.start), (B, K)), np.zeros((T, B, K), int)
    for t in range(T):
        real = np.ones((B, 1), bool) if mask is None else mask[t, :, None]
        scores = best[:, :, None] + log(params.transition) if t else np.zeros((B, 1, K))
        came[t] = np.where(real, scores.argmax(axis=1), np.arange(K))
        best = np.where(real, (scores.max(axis=1) if t else best) + logs[t], best)
        if not (best.max(axis=1) > 0.1 * hmm_params.NEVER).all():
            b = np.argmin(best.max(axis=1) > 0.1 * hmm_params.NEVER)
            raise ValueError(f"observations: step {t} of sequence {b} has probability zero on every path")
    value = best.max(axis=1) if mask is None else np.where(mask[0], best.max(axis=1), 0)  # of no step it is log 1
    states = np.empty((T, B), int)
    states[-1] = best.argmax(axis=1)
    for t in range(T - 1, 0, -1):
        states[t - 1] = came[t, np.arange(B), states[t]]
    return (states if mask is None else np.where(mask, states, -1)), value
