"""Bounds on a log-likelihood that nobody can compute: one draw, many draws, and a case where all is known."""

import torch

from rnncourse import doors
from rnncourse.gpu import gaussians, latent
from rnncourse.latent_params import Diagonal, check, check_draws


def log_weights(log_likelihood: torch.Tensor, z: torch.Tensor, q: Diagonal, p: Diagonal) -> torch.Tensor:
    """What each draw says of p(x), :eq:`def-log-weight`: log p(x | z) + log p(z) - log q(z | x).

    Args:
        log_likelihood: log p(x | z) of each draw, shape (K, ...).
        z: the draws from q, shape (K, ..., D).
        q: where they were drawn, shapes (..., D).
        p: the prior, of the same shapes.

    Returns:
        The logarithms of the weights, shape (K, ...). The mean of one of them over q is the ELBO.

    Raises:
        ValueError: if a shape does not fit, or an entry of q or p is not finite.
    """
    doors.shape("log_likelihood", log_likelihood, tuple(z.shape[:-1]))
    return log_likelihood + latent.log_density(z, p) - latent.log_density(z, q)


def importance(log_weights: torch.Tensor) -> torch.Tensor:
    """The importance-weighted bound, :eq:`def-importance`: the logarithm of the mean weight of K draws.

    Args:
        log_weights: log w_1..log w_K, shape (K, ...).

    Returns:
        One estimate for each of the other axes, shape (...). On average it lies below log p(x).

    Raises:
        ValueError: if there is no draw.
    """
    _drawn(log_weights)
    highest = log_weights.amax(dim=0)  # taken out before exp, so that nothing overflows and not all underflows
    return highest + torch.exp(log_weights - highest).mean(dim=0).log()


def score(q: Diagonal, z: torch.Tensor, value: torch.Tensor) -> Diagonal:
    """The score-function estimate of the gradient of E_q[value], :eq:`eq-score-gradient`: no path through the draw.

    Args:
        q: where z was drawn, shapes (..., D).
        z: the draws, shape (K, ..., D).
        value: what each draw was worth, a number that need not be differentiable, shape (K, ...).

    Returns:
        An estimate for each draw, shapes (K, ..., D); the mean of each is the gradient.

    Raises:
        ValueError: if a shape does not fit, or an entry of q is not finite.
    """
    check("q", q)
    check_draws("z", z, q)
    doors.shape("value", value, tuple(z.shape[:-1]))
    deviation = torch.exp(q[1] / 2)
    noise = (z - q[0]) / deviation
    return Diagonal(value[..., None] * noise / deviation, value[..., None] * 0.5 * (noise * noise - 1))


def linear(
    q: Diagonal, x: torch.Tensor, weights: torch.Tensor, shift: torch.Tensor, noise: torch.Tensor
) -> torch.Tensor:
    """The ELBO where the decoder is linear and Gaussian, :eq:`eq-elbo-linear`: x = F z + b + noise, z ~ N(0, I).

    Args:
        q: any distribution of z, shapes (..., D).
        x: what was seen, shape (..., N).
        weights: F, shape (N, D).
        shift: b, shape (N,).
        noise: C, the covariance of the noise, shape (N, N).

    Returns:
        The ELBO in nats, shape (...).

    Raises:
        ValueError: if a shape does not fit, an entry of q is not finite, or C is not positive definite.
    """
    error, _, curvature = _linear(q, x, weights, shift, noise)
    fit = gaussians.log_density(error, torch.zeros_like(error), noise)
    return fit - 0.5 * torch.exp(q[1]) @ curvature - latent.kl(q, latent.standard(q))


def free_bits(units: torch.Tensor, floor: float) -> torch.Tensor:
    """A divergence that costs nothing up to a floor, :eq:`def-free-bits`.

    Args:
        units: what each latent unit costs for each sequence of a batch, in nats, shape (B, D).
        floor: lambda, nats that every unit may use for nothing; 0 changes nothing.

    Returns:
        The sum over the units of the larger of the floor and the unit's mean over the batch, a scalar.

    Raises:
        ValueError: if the shape does not fit, or the floor is negative.
    """
    return _floored(units, floor).mean(dim=0).clamp(min=floor).sum()


def active_units(means: torch.Tensor, least: float = 0.01) -> torch.Tensor:
    """Which latent units say different things of different sequences, :eq:`def-active-units`.

    Args:
        means: the posterior means of a set of sequences, shape (B, D).
        least: the variance above which a unit counts as active.

    Returns:
        Booleans, shape (D,).

    Raises:
        ValueError: if the shape does not fit, or there are less than two sequences.
    """
    doors.shape("means", means, ("B", "D"))
    doors.at_least("means: sequences", means.shape[0], 2)
    return ((means - means.mean(dim=0)) ** 2).mean(dim=0) > least


def _drawn(log_weights) -> None:
    if not len(log_weights.shape) or not log_weights.shape[0]:
        raise ValueError(f"log_weights: expected at least one draw, got shape {tuple(log_weights.shape)}")


def _floored(units, floor: float):
    doors.shape("units", units, ("B", "D"))
    doors.at_least("units: sequences", units.shape[0], 1)
    if not floor >= 0:
        raise ValueError(f"floor: expected 0 or more, got {floor}")
    return units


def _linear(q, x, weights, shift, noise) -> tuple:
    """x - F mu - b, F^T C^{-1}, and the diagonal of F^T C^{-1} F."""
    check("q", q)
    doors.shape("weights", weights, ("N", q[0].shape[-1]))
    doors.shape("x", x, (*q[0].shape[:-1], len(weights)))
    doors.shape("noise", noise, 2 * (len(weights),))
    gaussians.check_definite("noise", noise)
    pull = torch.linalg.solve(noise, weights).T
    return x - q[0] @ weights.T - shift, pull, (pull * weights.T).sum(dim=1)
