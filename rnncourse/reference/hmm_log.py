"""The same recursions on logarithms: no product can underflow, and every step costs K^2 exponentials.

The messages are normalised here, too. Without it they would grow like T, and their last digits would be
lost: a logarithm of a million carries ten digits after the point, and the posterior is the exponential
of a difference of two of them.
"""

from typing import NamedTuple

import numpy as np

from rnncourse import doors, hmm_params, masks
from rnncourse.hmm_params import HMMParams
from rnncourse.reference import emissions


class Counts(NamedTuple):
    """What is expected to have happened, given all observations; sums over the batch.

    They are the derivatives of the sum of log p(x_1..x_T) by log pi, log P and log lambda_t, each taken
    as free: :eq:`eq-hmm-gradient-free`.

    Attributes:
        start: how many sequences began in state k, shape (K,).
        transition: N_ij, how often i was followed by j, shape (K, K).
        posterior: gamma_t = p(z_t | x_1..x_T), shape (T, B, K), zero in the padding.
    """

    start: np.ndarray
    transition: np.ndarray
    posterior: np.ndarray


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    Attributes:
        log_transition: log P, shape (K, K).
        log_likelihoods: log lambda_t, shape (T, B, K).
        log_filtered: log h_t, shape (T, B, K).
        log_normalisers: log kappa_t, shape (T, B).
        mask: which steps are real, shape (T, B), or None if all are.
    """

    log_transition: np.ndarray
    log_likelihoods: np.ndarray
    log_filtered: np.ndarray
    log_normalisers: np.ndarray
    mask: np.ndarray | None


def forward(params: HMMParams, observations, lengths=None, normalised: bool = True):
    """The forward recursion in log space, :eq:`eq-hmm-log-forward`.

    Args:
        params: the model.
        observations: symbols (T, B), integers, or vectors (T, B, D). Padding may hold anything.
        lengths: real steps of each sequence, shape (B,); all T unless given.
        normalised: False takes pi, P and C as free weights, whose rows need not sum to 1.

    Returns:
        ``(log_likelihood, tape)``: log p(x_1..x_T) in nats, shape (B,), and what :func:`backward` needs.

    Raises:
        ValueError: if the model or a shape does not fit, or an observation has probability zero given what
            came before it.
    """
    mask = enter(params, observations, lengths, normalised)
    logs = emissions.log_likelihoods(params.emission, observations, mask)
    return run(params, logs, mask)


def run(params: HMMParams, logs: np.ndarray, mask=None):
    """The recursion itself, without doors.

    Args:
        params: the model; its emissions are not used.
        logs: log lambda_t, shape (T, B, K).
        mask: which steps are real, shape (T, B), or None if all are.

    Returns:
        As :func:`forward`.

    Raises:
        ValueError: if an observation has probability zero given what came before it.
    """
    log_pi, log_P = log(params.start), log(params.transition)
    h = np.empty(logs.shape, np.result_type(logs, log_P))
    log_kappa = np.zeros(logs.shape[:2], h.dtype)
    for t in range(len(logs)):
        before = h[t - 1] if t else np.broadcast_to(log_pi, logs[0].shape)
        joint = logs[t] + (logsumexp(before[:, :, None] + log_P, axis=1) if t else before)
        log_kappa[t] = logsumexp(joint, axis=1)
        h[t] = joint - log_kappa[t, :, None]
        if mask is not None:
            log_kappa[t] = np.where(mask[t], log_kappa[t], 0)
            h[t] = np.where(mask[t, :, None], h[t], before)
    possible = log_kappa.real > 0.1 * hmm_params.NEVER
    if not possible.all():
        t, b = np.argwhere(~possible)[0]
        raise ValueError(f"observations: step {t} of sequence {b} has probability zero, given what came before it")
    return log_kappa.sum(axis=0), Tape(log_P, logs, h, log_kappa, mask)


def backward(tape: Tape) -> Counts:
    """The backward recursion in log space, and the expected counts.

    Args:
        tape: from :func:`forward`.

    Returns:
        Expected counts: every one a derivative of the summed log-likelihood.
    """
    log_P, logs, h, log_kappa, mask = tape
    message, posterior, N = np.zeros(h[0].shape, h.dtype), np.empty_like(h), np.zeros_like(log_P)
    for t in range(len(logs) - 1, -1, -1):
        real = np.ones(len(message), bool) if mask is None else mask[t]
        posterior[t] = np.where(real[:, None], np.exp(h[t] + message), 0)
        if t:
            pairs = log_P + (logs[t] + message - log_kappa[t, :, None])[:, None, :]
            N += np.exp(h[t - 1][:, :, None] + pairs)[real].sum(axis=0)
            message = np.where(real[:, None], logsumexp(pairs, axis=2), message)
    return Counts(posterior[0].sum(axis=0), N, posterior)


def logsumexp(values: np.ndarray, axis: int) -> np.ndarray:
    """log sum exp, :eq:`eq-hmm-logsumexp`: the largest is taken out first.

    Args:
        values: any array.
        axis: the axis to sum over.

    Returns:
        The array without that axis.
    """
    largest = values.real.max(axis=axis, keepdims=True)
    return np.log(np.exp(values - largest).sum(axis=axis)) + largest.squeeze(axis)


def log(table: np.ndarray) -> np.ndarray:
    """Logarithms, with ``NEVER`` for that of zero.

    Args:
        table: probabilities.

    Returns:
        The same shape.
    """
    with np.errstate(divide="ignore"):
        logs = np.log(table)
    return np.where(logs.real < hmm_params.NEVER, hmm_params.NEVER, logs)


def enter(params: HMMParams, observations, lengths, normalised: bool = True) -> np.ndarray | None:
    """Check a model and the lengths of its sequences.

    Args:
        params: the model.
        observations: anything with a shape (T, B, ...).
        lengths: real steps of each sequence, shape (B,), or None.
        normalised: whether rows must sum to 1.

    Returns:
        Which steps are real, shape (T, B), or None if all are.

    Raises:
        ValueError: if something does not fit.
    """
    hmm_params.check(params, normalised)
    shape = np.shape(observations)
    if len(shape) < 2 or 0 in shape[:2]:
        raise ValueError(f"observations: expected (T, B) symbols or (T, B, D) vectors, got shape {shape}")
    if lengths is None:
        return None
    mask = masks.valid_steps(lengths, shape[0])
    doors.shape("lengths", mask[0], (shape[1],))
    return mask
