"""Forward and backward through a hidden Markov model, scaled so that any length fits; the way back is autograd's."""

from typing import NamedTuple

import torch

from rnncourse import hmm_params
from rnncourse.gpu import emissions, graph, hmm_log
from rnncourse.gpu.hmm_log import Counts
from rnncourse.hmm_params import HMMParams


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass: tensors that are nodes of autograd's graph.

    Attributes:
        params: the model, its start and transition as recorded.
        log_likelihoods: log lambda_t, shape (T, B, K), as recorded.
        filtered: h_t = p(z_t | x_1..x_t), shape (T, B, K), zero in the padding.
        normalisers: log kappa_t = log p(x_t | x_1..x_{t-1}), shape (T, B), 0 in the padding.
        mask: which steps are real, shape (T, B), or None if all are.
        logs: the tape of ``hmm_log`` where scaling could not save the sequence, else None.
    """

    params: HMMParams
    log_likelihoods: torch.Tensor
    filtered: torch.Tensor
    normalisers: torch.Tensor
    mask: torch.Tensor | None
    logs: hmm_log.Tape | None


def forward(params: HMMParams, observations, lengths=None, normalised: bool = True):
    """The normalised forward recursion, :eq:`eq-hmm-forward`, and the likelihood :eq:`eq-hmm-evidence`.

    Args:
        params: the model, tensors of one dtype on one device.
        observations: symbols (T, B), integers, or vectors (T, B, D). Padding may hold anything.
        lengths: real steps of each sequence, shape (B,); all T unless given.
        normalised: False takes pi, P and C as free weights, whose rows need not sum to 1; what comes out
            is then the log-normaliser A.

    Returns:
        ``(log_likelihood, tape)``: log p(x_1..x_T) in nats, shape (B,), and what :func:`backward` needs.

    Raises:
        ValueError: if the model or a shape does not fit, or an observation has probability zero given what
            came before it.
    """
    mask = hmm_log.enter(params, observations, lengths, normalised)
    logs = emissions.log_likelihoods(params.emission, observations, mask)
    pi, P, logs = graph.tracked((params.start, params.transition, logs))
    h, log_kappa = _run(pi, P, logs, mask)
    tape, recorded = None, HMMParams(pi, P, params.emission)
    usual = bool((torch.isfinite(log_kappa) & (log_kappa > 0.1 * hmm_params.NEVER)).all())
    if not usual or _forgets(pi, P, logs, h, mask):  # underflow, or impossible
        _, tape = hmm_log.run(params, logs, mask)
        h, log_kappa = tape.log_filtered.exp(), tape.log_normalisers
    h = h if mask is None else torch.where(mask[:, :, None], h, 0)
    value = graph.returned(log_kappa.sum(dim=0), tuple(params))
    return value, Tape(recorded, logs, h, log_kappa, mask, tape)


def backward(tape: Tape) -> Counts:
    """The expected counts: a derivative by a logarithm is one by the number itself, times the number.

    Args:
        tape: from :func:`forward`; may be used again.

    Returns:
        Expected counts: every one a derivative of the summed log-likelihood.
    """
    if tape.logs is not None:
        return hmm_log.backward(tape.logs)
    pi, P, _ = tape.params
    d_pi, d_P, posterior = graph.pull(tape.normalisers.sum(), None, (pi, P, tape.log_likelihoods))
    return Counts(*graph.cut((pi * d_pi, P * d_P, posterior)))


def messages(tape: Tape) -> torch.Tensor:
    """s_t of :eq:`eq-hmm-tail`, the posterior over the filter: what the rest of the sequence says of z_t.

    Args:
        tape: from :func:`forward`.

    Returns:
        Shape (T, B, K); 0 where the filter is.
    """
    h = tape.filtered.detach()
    return backward(tape).posterior / torch.where(h == 0, 1, h)


def predicted(tape: Tape) -> torch.Tensor:
    """p(z_t | x_1..x_{t-1}), the message that has not seen x_t, :eq:`def-hmm-predicted`.

    Args:
        tape: from :func:`forward`.

    Returns:
        Shape (T, B, K); it says nothing in the padding.
    """
    pi, P = graph.cut(tuple(tape.params[:2]))
    h = tape.filtered.detach()
    return torch.cat([pi.expand_as(h[:1]), h[:-1] @ P])


def _run(pi, P, logs, mask) -> tuple[torch.Tensor, torch.Tensor]:
    """h_t and log kappa_t, both (T, ...)."""
    scale = logs.detach().amax(dim=2, keepdim=True)
    likelihoods, h, log_kappa = torch.exp(logs - scale), [], []
    before = pi.expand(logs.shape[1:])
    for t, seen in enumerate(likelihoods.unbind()):
        joint = seen * (before @ P if t else before)
        total = joint.sum(dim=1, keepdim=True)
        new, step = joint / total, (total.log() + scale[t])[:, 0]
        if mask is not None:
            new, step = torch.where(mask[t, :, None], new, before), torch.where(mask[t], step, 0)
        before = new
        h.append(new)
        log_kappa.append(step)
    return torch.stack(h), torch.stack(log_kappa)


def _forgets(pi, P, logs, h, mask) -> bool:
    """Whether a share was lost by underflow in a chain that cannot go back, as on the other floor."""
    pi, P, logs, h = (part.detach() for part in (pi, P, logs, h))
    tiny = torch.finfo(h.dtype).tiny
    if bool(P.min() > tiny**0.1):
        return False
    if bool(((h > 0) & (h < tiny**0.95)).any()):
        return True
    if not bool((h == 0).any()):
        return False
    there, ways, can = (pi > 0).expand_as(h[0]), (P > 0).to(h), logs > 0.1 * hmm_params.NEVER
    for t, now in enumerate(h):
        new = ((there.to(h) @ ways > 0) if t else there) & can[t]
        there = new if mask is None else torch.where(mask[t, :, None], new, there)
        if bool((there & (now == 0)).any()):
            return True
    return False
