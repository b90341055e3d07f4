"""Diagonal Gaussians as latent variables: draws that can be differentiated, densities, divergences."""

import math

import numpy as np

from rnncourse.latent_params import Diagonal, check, check_draws


def standard(like: Diagonal) -> Diagonal:
    """The standard normal distribution N(0, I) in the form of another.

    Args:
        like: gives the shape and the precision.

    Returns:
        Mean 0 and log variance 0, shapes (..., D).
    """
    return Diagonal(np.zeros_like(like[0]), np.zeros_like(like[1]))


def sample(q: Diagonal, noise: np.ndarray) -> np.ndarray:
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
    return mean + np.exp(log_variance / 2) * noise


def sample_backward(q: Diagonal, noise: np.ndarray, grad: np.ndarray) -> Diagonal:
    """Pull a gradient through the draw to what was drawn from, :eq:`eq-reparameterised-gradient`.

    Args:
        q: as in :func:`sample`.
        noise: as in :func:`sample`.
        grad: dL/dz, in the shape of the noise.

    Returns:
        dL/dmu and dL/drho, shapes (..., D), summed over the axes for draws.

    Raises:
        ValueError: if a shape does not fit, or an entry is not finite.
    """
    check("q", q)
    check_draws("noise", noise, q)
    check_draws("grad", grad, Diagonal(noise, noise))
    draws = tuple(range(noise.ndim - q[0].ndim))
    stretch = 0.5 * np.exp(q[1] / 2) * noise  # dz/drho, which needs the noise that was drawn
    return Diagonal(grad.sum(axis=draws), (grad * stretch).sum(axis=draws))


def kl(q: Diagonal, p: Diagonal) -> np.ndarray:
    """The divergence of p from q, KL(q || p) = E_q[log q - log p], :eq:`eq-kl-diagonal`, in nats.

    Args:
        q: the distribution over which the mean is taken, shapes (..., D).
        p: the other, of the same shapes.

    Returns:
        The divergences, shape (...): the sum over the components.

    Raises:
        ValueError: if a shape does not fit, or an entry is not finite.
    """
    return kl_units(q, p).sum(axis=-1)


def kl_units(q: Diagonal, p: Diagonal) -> np.ndarray:
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
    return 0.5 * (s - r + np.exp(r - s) + (m - n) ** 2 * np.exp(-s) - 1)


def kl_backward(q: Diagonal, p: Diagonal, grad: np.ndarray) -> tuple[Diagonal, Diagonal]:
    """Pull a gradient through :func:`kl` to both distributions, :eq:`eq-kl-gradients`.

    Args:
        q: as in :func:`kl`.
        p: as in :func:`kl`.
        grad: dL/dKL, shape (...).

    Returns:
        dL/d(mean, log variance) of q, then of p, all of shapes (..., D).

    Raises:
        ValueError: if a shape does not fit, or an entry is not finite.
    """
    (m, r), (n, s) = _pair(q, p)
    grad = np.asarray(grad)
    if grad.shape != m.shape[:-1]:
        raise ValueError(f"grad: expected shape {m.shape[:-1]}, got {grad.shape}")
    grad = grad[..., None]
    away, ratio = (m - n) * np.exp(-s), np.exp(r - s)
    to_q = Diagonal(grad * away, grad * 0.5 * (ratio - 1))
    return to_q, Diagonal(-to_q.mean, grad * 0.5 * (1 - ratio - (m - n) * away))


def log_density(z: np.ndarray, q: Diagonal) -> np.ndarray:
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
    return -0.5 * ((z - mean) ** 2 * np.exp(-log_variance) + log_variance + math.log(2 * math.pi)).sum(axis=-1)


def _pair(q: Diagonal, p: Diagonal) -> tuple[Diagonal, Diagonal]:
    check("q", q)
    check("p", p)
    if q[0].shape != p[0].shape:
        raise ValueError(f"p: expected q's shape {tuple(q[0].shape)}, got {tuple(p[0].shape)}")
    return q, p
