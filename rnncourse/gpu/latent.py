"""Diagonal Gaussians as latent variables: draws that can be differentiated, densities, divergences."""

import math

import torch

from rnncourse.latent_params import Diagonal, check, check_draws


def standard(like: Diagonal) -> Diagonal:
    """The standard normal distribution N(0, I) in the form of another.

    Args:
        like: gives the shape and the precision.

    Returns:
        Mean 0 and log variance 0, shapes (..., D).
    """
    return Diagonal(torch.zeros_like(like[0]), torch.zeros_like(like[1]))


def sample(q: Diagonal, noise: torch.Tensor) -> torch.Tensor:
    """Draw by moving noise, :eq:`def-reparameterised`: z = mu + exp(rho / 2) * epsilon.

    Args:
        q: what to draw from, shapes (..., D).
        noise: epsilon, standard normal, shape (..., D), behind axes for several draws if you like.

    Returns:
        z, in the shape of the noise.

    Raises:
        ValueError: if a shape does not fit, or an entry is not finite.
    """
    check("q", q)
    check_draws("noise", noise, q)
    mean, log_variance = q
    return mean + torch.exp(log_variance / 2) * noise


def kl(q: Diagonal, p: Diagonal) -> torch.Tensor:
    """The divergence of p from q, KL(q || p) = E_q[log q - log p], :eq:`eq-kl-diagonal`, in nats.

    Args:
        q: the distribution over which the mean is taken, shapes (..., D).
        p: the other, of the same shapes.

    Returns:
        The divergences, shape (...): the sum over the components.

    Raises:
        ValueError: if a shape does not fit, or an entry is not finite.
    """
    return kl_units(q, p).sum(dim=-1)


def kl_units(q: Diagonal, p: Diagonal) -> torch.Tensor:
    """The divergence component by component, :eq:`eq-kl-diagonal` before the sum, in nats.

    Args:
        q: the distribution over which the mean is taken, shapes (..., D).
        p: the other, of the same shapes.

    Returns:
        What each component contributes, shape (..., D), none negative.

    Raises:
        ValueError: if a shape does not fit, or an entry is not finite.
    """
    (m, r), (n, s) = _pair(q, p)
    return 0.5 * (s - r + torch.exp(r - s) + (m - n) ** 2 * torch.exp(-s) - 1)


def log_density(z: torch.Tensor, q: Diagonal) -> torch.Tensor:
    """The logarithm of q's density, :eq:`def-diagonal-density`, in nats.

    Args:
        z: where, shape (..., D), behind axes for several draws if you like.
        q: the distribution, shapes (..., D).

    Returns:
        The sum over the components, in the shape of z without its last axis.

    Raises:
        ValueError: if a shape does not fit, or an entry of q is not finite.
    """
    check("q", q)
    check_draws("z", z, q)
    mean, log_variance = q
    return -0.5 * ((z - mean) ** 2 * torch.exp(-log_variance) + log_variance + math.log(2 * math.pi)).sum(dim=-1)


def _pair(q: Diagonal, p: Diagonal) -> tuple[Diagonal, Diagonal]:
    check("q", q)
    check("p", p)
    if q[0].shape != p[0].shape:
        raise ValueError(f"p: expected q's shape {tuple(q[0].shape)}, got {tuple(p[0].shape)}")
    return q, p
