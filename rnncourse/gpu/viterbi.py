"""The most probable path of states, by a maximum in the place of each sum."""

import torch

from rnncourse import hmm_params
from rnncourse.gpu import emissions, hmm_log
from rnncourse.hmm_params import HMMParams


@torch.no_grad()
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
    log_P, best = hmm_log.log(params.transition), hmm_log.log(params.start).expand(logs.shape[1:])
    came, itself = [], torch.arange(logs.shape[2], device=logs.device).expand(logs.shape[1:])
    for t, seen in enumerate(logs):
        largest, where = (best[:, :, None] + log_P).max(dim=1) if t else (best, itself)
        new = largest + seen
        if mask is not None:
            new, where = torch.where(mask[t, :, None], new, best), torch.where(mask[t, :, None], where, itself)
        best = new
        came.append(where)
        possible = best.amax(dim=1) > 0.1 * hmm_params.NEVER
        if not bool(possible.all()):
            b = int(possible.int().argmin())
            raise ValueError(f"observations: step {t} of sequence {b} has probability zero on every path")
    states = [best.argmax(dim=1)]
    for where in came[:0:-1]:
        states.append(where.gather(1, states[-1][:, None])[:, 0])
    states = torch.stack(states[::-1])
    value = best.amax(dim=1) if mask is None else torch.where(mask[0], best.amax(dim=1), 0)  # of no step it is log 1
    return (states if mask is None else torch.where(mask, states, -1)), value
