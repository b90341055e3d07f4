"""Bounds on log p(x) of models with a latent variable at every step: the ELBO, and the importance-weighted bound.

A model here is a module with ``infer(rolls, noise, lengths)``, which draws z from the posterior and says what it met
on the way: an :class:`Inferred`.
"""

import math
from typing import NamedTuple

import torch
from torch import nn

from rnncourse import doors
from rnncourse.gpu import latent
from rnncourse.gpu.rolls import log_probability, mask
from rnncourse.latent_params import Diagonal


class Inferred(NamedTuple):
    """One draw of the latent path, and the distributions met on it.

    Attributes:
        z: the draw, shape (T, B, L).
        posterior: q(z_t | z_{t-1}, x), which z_t was drawn from, shapes (T, B, L).
        prior: p(z_t | z_{t-1}) along the same path (for a VRNN, given x before t too), shapes (T, B, L).
        logits: of the notes, given the path, shape (T, B, O).
    """

    z: torch.Tensor
    posterior: Diagonal
    prior: Diagonal
    logits: torch.Tensor


class Terms(NamedTuple):
    """The ELBO of each sequence is the difference of the two, :eq:`eq-roll-elbo`.

    Attributes:
        fit: sum over the real frames of log p(x_t | ...), shape (B,).
        kl: sum over the real frames of KL(posterior || prior), shape (B,).
    """

    fit: torch.Tensor
    kl: torch.Tensor


def draw_noise(model: nn.Module, steps: int, size: int, generator: torch.Generator | None = None) -> torch.Tensor:
    """Standard normal numbers for one draw of the path of each sequence.

    Args:
        model: says L, as ``model.latent``, and by its parameters the type and the device.
        steps: T.
        size: B.
        generator: of the random numbers, on the CPU; torch's own unless given.

    Returns:
        Shape (T, B, L).
    """
    one = next(model.parameters())
    return torch.randn(steps, size, model.latent, generator=generator, dtype=one.dtype).to(one.device)


def terms(found: Inferred, rolls: torch.Tensor, real: torch.Tensor) -> Terms:
    """The two sums of the ELBO, the divergences in closed form.

    Args:
        found: a draw.
        rolls: x, shape (T, B, O).
        real: 1 at real frames, shape (T, B).

    Returns:
        The terms.
    """
    fit = log_probability(found.logits, rolls)
    return Terms((fit * real).sum(dim=0), (latent.kl(found.posterior, found.prior) * real).sum(dim=0))


def log_weights(found: Inferred, rolls: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """log p(x, z) - log q(z | x) of a draw, :eq:`def-path-weight`; its mean is the ELBO.

    Args:
        found: a draw.
        rolls: x, shape (T, B, O).
        real: 1 at real frames, shape (T, B).

    Returns:
        Shape (B,).
    """
    ratio = latent.log_density(found.z, found.prior) - latent.log_density(found.z, found.posterior)
    return ((log_probability(found.logits, rolls) + ratio) * real).sum(dim=0)


@torch.no_grad()
def importance(model: nn.Module, rolls, lengths, draws: int, generator=None, at_once: int = 10) -> torch.Tensor:
    """The importance-weighted bound on log p(x) of each sequence, :eq:`eq-roll-importance`.

    Args:
        model: put into evaluation mode.
        rolls: x, shape (T, B, O).
        lengths: real frames, shape (B,), or None.
        draws: N; with one, a draw of the ELBO.
        generator: of the random numbers, on the CPU.
        at_once: how many draws are made side by side; it changes the memory needed and which numbers are drawn.

    Returns:
        log of the mean of N weights, shape (B,).

    Raises:
        ValueError: if a number is too small or lengths does not fit.
    """
    doors.at_least("draws", draws, 1)
    doors.at_least("at_once", at_once, 1)
    model.eval()
    (T, B, _), found = rolls.shape, []
    for begin in range(0, draws, at_once):
        many = min(at_once, draws - begin)
        x, real = rolls.repeat(1, many, 1), mask(lengths, T, rolls).repeat(1, many)
        lasting = None if lengths is None else torch.as_tensor(lengths).repeat(many)
        drawn = model.infer(x, draw_noise(model, T, B * many, generator), lasting)
        found.append(log_weights(drawn, x, real).reshape(many, B))
    return torch.logsumexp(torch.cat(found).double(), dim=0) - math.log(draws)


@torch.no_grad()
def bound(model: nn.Module, rolls, lengths, draws: int = 1, generator=None) -> dict[str, float]:
    """Minus the ELBO in nats per frame, and its two terms: all nats over all real frames.

    Args:
        model: put into evaluation mode.
        rolls: x, shape (T, B, O).
        lengths: real frames, shape (B,), or None.
        draws: paths to average over.
        generator: of the random numbers, on the CPU.

    Returns:
        ``nats`` (minus the ELBO), ``misfit`` and ``kl``, whose sum it is.

    Raises:
        ValueError: if a number is too small or lengths does not fit.
    """
    doors.at_least("draws", draws, 1)
    model.eval()
    real, total = mask(lengths, len(rolls), rolls), torch.zeros(2, dtype=torch.float64)
    for _ in range(draws):
        drawn = model.infer(rolls, draw_noise(model, *rolls.shape[:2], generator), lengths)
        fit, kl = terms(drawn, rolls, real)
        total += torch.stack([-fit.double().sum(), kl.double().sum()]).cpu() / draws
    misfit, kl = (total / float(real.sum())).tolist()
    return {"nats": misfit + kl, "misfit": misfit, "kl": kl}


class Warming:
    """The loss for ``training.fit``: minus the ELBO, with the weight of the KL rising in a straight line.

    The weight is a function of the number of updates that the module itself has made, which it keeps in the
    buffer ``updates``, so that a training that is resumed goes on where it stood.

    Args:
        steps: updates until the weight is 1; with 0 it is 1 from the first.
        start: the weight at the first update.
    """

    def __init__(self, steps: int, start: float = 0.1):
        doors.at_least("steps", steps, 0)
        self.steps, self.start = steps, start

    def weight(self, update: int) -> float:
        """The weight at an update.

        Args:
            update: updates made before.

        Returns:
            A number from ``start`` to 1.
        """
        return min(1.0, self.start + (1 - self.start) * update / self.steps) if self.steps else 1.0

    def __call__(self, model: nn.Module, rolls: torch.Tensor, real: torch.Tensor, carry=None):
        """Mean loss per real frame of stretches, in the form that ``training.fit`` takes."""
        own = getattr(model, "module", model)  # what several processes share is wrapped
        found = model(rolls, draw_noise(own, *rolls.shape[:2]), real.sum(dim=0).long())
        fit, kl = terms(found, rolls, real)
        weight = self.weight(int(own.updates))
        own.updates += 1
        return (weight * kl.sum() - fit.sum()) / real.sum(), None
