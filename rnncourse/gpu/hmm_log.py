"""The recursions on logarithms: no product can underflow, and every step costs K^2 exponentials."""

from typing import NamedTuple

import numpy as np
import torch

from rnncourse import hmm_params
from rnncourse.gpu import emissions, graph, unroll
from rnncourse.hmm_params import HMMParams


class Counts(NamedTuple):
    """What is expected to have happened, given all observations; sums over the batch.

    They are the derivatives of the sum of log p(x_1..x_T) by log pi, log P and log lambda_t, each taken
    as free: :eq:`eq-hmm-gradient-free`.

    Attributes:
        start: how many sequences began in state k, shape (K,).
        transition: N_ij, how often i was followed by j, shape (K, K).
        posterior: gamma_t = p(z_t | x_1..x_T), shape (T, B, K), zero in the padding.
    """

    start: torch.Tensor
    transition: torch.Tensor
    posterior: torch.Tensor


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass: tensors that are nodes of autograd's graph.

    Attributes:
        log_start: log pi, shape (K,).
        log_transition: log P, shape (K, K).
        log_likelihoods: log lambda_t, shape (T, B, K).
        log_filtered: log h_t, shape (T, B, K).
        log_normalisers: log kappa_t, shape (T, B).
        mask: which steps are real, shape (T, B), or None if all are.
    """

    log_start: torch.Tensor
    log_transition: torch.Tensor
    log_likelihoods: torch.Tensor
    log_filtered: torch.Tensor
    log_normalisers: torch.Tensor
    mask: torch.Tensor | None


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
    value, tape = run(params, logs, mask)
    return graph.returned(value, tuple(params)), tape


def run(params: HMMParams, logs: torch.Tensor, mask=None):
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
    log_pi, log_P, logs = graph.tracked((log(params.start), log(params.transition), logs))
    h, log_kappa, before = [], [], log_pi.expand(logs.shape[1:])
    for t, seen in enumerate(logs):
        joint = seen + (torch.logsumexp(before[:, :, None] + log_P, dim=1) if t else before)
        total = torch.logsumexp(joint, dim=1)
        new = joint - total[:, None]
        if mask is not None:
            total, new = torch.where(mask[t], total, 0), torch.where(mask[t, :, None], new, before)
        before = new
        h.append(new)
        log_kappa.append(total)
    log_kappa = torch.stack(log_kappa)
    possible = log_kappa > 0.1 * hmm_params.NEVER
    if not bool(possible.all()):
        t, b = torch.argwhere(~possible)[0].tolist()
        raise ValueError(f"observations: step {t} of sequence {b} has probability zero, given what came before it")
    return log_kappa.sum(dim=0), Tape(log_pi, log_P, logs, torch.stack(h), log_kappa, mask)


def backward(tape: Tape) -> Counts:
    """The expected counts, by one call to ``torch.autograd.grad``.

    Args:
        tape: from :func:`forward`; may be used again.

    Returns:
        Expected counts: every one a derivative of the summed log-likelihood.
    """
    return Counts(*graph.pull(tape.log_normalisers.sum(), None, tape[:3]))


def log(table: torch.Tensor) -> torch.Tensor:
    """Logarithms, with ``NEVER`` for that of zero.

    Args:
        table: probabilities.

    Returns:
        The same shape.
    """
    return torch.where(table > 0, torch.where(table > 0, table, 1).log(), hmm_params.NEVER)


def enter(params: HMMParams, observations, lengths, normalised: bool = True) -> torch.Tensor | None:
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
    shape = tuple(np.shape(observations))
    if len(shape) < 2 or 0 in shape[:2]:
        raise ValueError(f"observations: expected (T, B) symbols or (T, B, D) vectors, got shape {shape}")
    if lengths is None:
        return None
    return unroll._valid(lengths, params.start.new_empty(*shape[:2], 1))[:, :, 0]
