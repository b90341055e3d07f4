"""The forward and backward recursions of a hidden Markov model by a parallel prefix: depth log T in the place of T.

A stretch of steps is summed up by K filters, one for each state the chain may come from: where each ends
(the rows of F), and how likely it finds the stretch (r). Two stretches combine into one, and in whatever
order they are combined the result is the same. So all prefixes come out of a tree. The price is K times
the work: matrices are multiplied where the recursion multiplies a vector.
"""

from typing import NamedTuple

import torch

from rnncourse import hmm_params
from rnncourse.gpu import emissions, hmm_log
from rnncourse.hmm_params import HMMParams


class Stretch(NamedTuple):
    """K filters over some steps, :eq:`def-hmm-stretch`; leading axes may be any.

    Attributes:
        level: the largest log p(x_{tau+1}..x_t | z_tau = i) over i, shape (...): apart from the rest, because it
            grows with the stretch, and the last digits of the others would be lost beside it.
        evidence: r_i = log p(x_{tau+1}..x_t | z_tau = i) - level, shape (..., K).
        filtered: F_ij = p(z_t = j | z_tau = i, x_{tau+1}..x_t), shape (..., K, K), rows sum to 1.
    """

    level: torch.Tensor
    evidence: torch.Tensor
    filtered: torch.Tensor


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    Attributes:
        params: the model.
        steps: one stretch for each step from the second on, (T - 1, B, ...).
        filtered: h_t = p(z_t | x_1..x_t), shape (T, B, K), zero in the padding.
        log_filtered: log h_t, shape (T, B, K): a share too small for a number may be the one that counts in the end.
        log_likelihoods: log lambda_t, shape (T, B, K).
        mask: which steps are real, shape (T, B), or None if all are.
    """

    params: HMMParams
    steps: Stretch
    filtered: torch.Tensor
    log_filtered: torch.Tensor
    log_likelihoods: torch.Tensor
    mask: torch.Tensor | None


@torch.no_grad()
def forward(params: HMMParams, observations, lengths=None):
    """All filters h_t at once, :eq:`eq-hmm-scan`. No gradient is recorded: :func:`backward` scans the other way.

    Args:
        params: the model, tensors of one dtype on one device.
        observations: symbols (T, B), integers, or vectors (T, B, D). Padding may hold anything.
        lengths: real steps of each sequence, shape (B,); all T unless given.

    Returns:
        ``(log_likelihood, tape)``: log p(x_1..x_T) in nats, shape (B,), and what :func:`backward` needs.

    Raises:
        ValueError: if the model or a shape does not fit, or the sequence has probability zero.
    """
    mask = hmm_log.enter(params, observations, lengths)
    logs = emissions.log_likelihoods(params.emission, observations, mask)
    steps = _steps(params, logs, mask)
    joint = (hmm_log.log(params.start) + logs[0])[None]  # log p(z_1, x_1..x_t), less the level
    level, F = torch.zeros_like(joint[:, :, 0]), torch.eye(joint.shape[2]).to(joint).expand(1, 1, -1, -1)
    if len(logs) > 1:
        later, r, ends = prefixes(steps)
        joint, level = torch.cat([joint, joint + r]), torch.cat([level, later])
        F = torch.cat([F.expand_as(ends[:1]), ends])
    total = joint.logsumexp(dim=2)
    log_h = (joint[..., None] + hmm_log.log(F)).logsumexp(dim=2) - total[..., None]
    value = level[-1] + total[-1]
    if not bool((value > 0.1 * hmm_params.NEVER).all()):
        hmm_log.run(params, logs, mask)  # says where
    h = log_h.exp() if mask is None else torch.where(mask[:, :, None], log_h.exp(), 0)
    return value, Tape(params, steps, h, log_h, logs, mask)


@torch.no_grad()
def backward(tape: Tape) -> hmm_log.Counts:
    """Expected counts, by a scan over the reversed stretches.

    Args:
        tape: from :func:`forward`.

    Returns:
        As ``hmm.backward``.
    """
    params, steps, _, log_h, logs, mask = tape
    rest = torch.zeros_like(logs)  # log p(x_{t+1}..x_T | z_t), less its level
    if len(logs) > 1:
        rest[:-1] = suffixes(steps).evidence
    posterior = torch.softmax(log_h + rest, dim=2)
    pairs = log_h[:-1, :, :, None] + hmm_log.log(params.transition) + (logs[1:] + rest[1:])[:, :, None, :]
    pairs = torch.softmax(pairs.flatten(2), dim=2).view_as(pairs)  # p(z_{t-1}, z_t | x_1..x_T)
    if mask is not None:
        posterior, pairs = torch.where(mask[:, :, None], posterior, 0), torch.where(mask[1:, :, None, None], pairs, 0)
    N = pairs.sum(dim=(0, 1))
    return hmm_log.Counts(posterior[0].sum(dim=0), N, posterior)


def combine(early: Stretch, late: Stretch) -> Stretch:
    """Two neighbouring stretches as one, :eq:`eq-hmm-combine`.

    Args:
        early: the first.
        late: the one that follows.

    Returns:
        Both together.
    """
    joint = hmm_log.log(early.filtered) + late.evidence[..., None, :]
    evidence = joint.logsumexp(dim=-1)
    filtered = torch.exp(joint - evidence[..., None]) @ late.filtered
    evidence = early.evidence + evidence
    level = evidence.amax(dim=-1)
    return Stretch(
        early.level + late.level + level, evidence - level[..., None], filtered / filtered.sum(dim=-1, keepdim=True)
    )


def prefixes(steps: Stretch) -> Stretch:
    """The stretches from the first step to each: pairs are combined, their prefixes taken, the gaps filled.

    Args:
        steps: stretches along the first axis, T of them.

    Returns:
        T stretches.
    """
    T = len(steps.evidence)
    if T == 1:
        return steps
    even, odd = _take(steps, slice(0, T - 1, 2)), _take(steps, slice(1, T, 2))
    whole = prefixes(combine(even, odd))  # after steps 2, 4, ...
    found = Stretch(*(torch.empty_like(part) for part in steps))
    gaps = combine(_take(whole, slice(0, (T - 1) // 2)), _take(steps, slice(2, T, 2)))
    for into, first, at_odd, at_even in zip(found, steps, whole, gaps, strict=True):
        into[0], into[1::2], into[2::2] = first[0], at_odd, at_even
    return found


def suffixes(steps: Stretch) -> Stretch:
    """The stretches from each step to the last.

    Args:
        steps: stretches along the first axis, T of them.

    Returns:
        T stretches.
    """
    T = len(steps.evidence)
    if T == 1:
        return steps
    odd = T % 2  # pairs are counted from the end
    pairs = combine(_take(steps, slice(odd, T - 1, 2)), _take(steps, slice(odd + 1, T, 2)))
    whole = suffixes(pairs)
    found = Stretch(*(torch.empty_like(part) for part in steps))
    gaps = combine(_take(steps, slice(1 - odd, T - 1, 2)), _take(whole, slice(1 - odd, None)))
    for into, last, at_pairs, at_gaps in zip(found, steps, whole, gaps, strict=True):
        into[-1], into[odd::2], into[1 - odd : T - 1 : 2] = last[-1], at_pairs, at_gaps
    return found


def _take(steps: Stretch, at) -> Stretch:
    return Stretch(*(part[at] for part in steps))


def _steps(params: HMMParams, logs: torch.Tensor, mask) -> Stretch:
    """Each step from the second on as a stretch; a padded one is the identity."""
    joint = hmm_log.log(params.transition) + logs[1:, :, None, :]
    evidence = joint.logsumexp(dim=-1)
    filtered = torch.exp(joint - evidence[..., None])
    if mask is not None:
        real = mask[1:, :, None]
        evidence = torch.where(real, evidence, 0)
        filtered = torch.where(real[..., None], filtered, torch.eye(len(params.start)).to(filtered))
    level = evidence.amax(dim=-1)
    return Stretch(level, evidence - level[..., None], filtered)
