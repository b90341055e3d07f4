"""Bounds on a log-likelihood that nobody can compute: one draw, many draws, and a case where all is known."""

import numpy as np

from rnncourse import doors
from rnncourse.latent_params import Diagonal, check, check_draws
from rnncourse.reference import gaussians, latent


def log_weights(log_likelihood: np.ndarray, z: np.ndarray, q: Diagonal, p: Diagonal) -> np.ndarray:
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


def importance(log_weights: np.ndarray) -> np.ndarray:
    """The importance-weighted bound, :eq:`def-importance`: the logarithm of the mean weight of K draws.

    Args:
        log_weights: log w_1..log w_K, shape (K, ...).

    Returns:
        One estimate for each of the other axes, shape (...). On average it lies below log p(x).

    Raises:
        ValueError: if there is no draw.
    """
    _drawn(log_weights)
    highest = log_weights.max(axis=0)  # taken out before exp, so that nothing overflows and not all underflows
    return highest + np.log(np.exp(log_weights - highest).mean(axis=0))


def importance_backward(log_weights: np.ndarray, grad: np.ndarray) -> np.ndarray:
    """Pull a gradient through :func:`importance`, :eq:`eq-importance-gradient`.

    Args:
        log_weights: as there, shape (K, ...).
        grad: dL/d bound, shape (...).

    Returns:
        dL/d log w_k, shape (K, ...): the gradient, shared out by weight.

    Raises:
        ValueError: if a shape does not fit.
    """
    _drawn(log_weights)
    doors.shape("grad", grad, tuple(log_weights.shape[1:]))
    shares = np.exp(log_weights - log_weights.max(axis=0))
    return grad * shares / shares.sum(axis=0)


def score(q: Diagonal, z: np.ndarray, value: np.ndarray) -> Diagonal:
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
    deviation = np.exp(q[1] / 2)
    noise = (z - q[0]) / deviation
    return Diagonal(value[..., None] * noise / deviation, value[..., None] * 0.5 * (noise * noise - 1))


def linear(q: Diagonal, x: np.ndarray, weights: np.ndarray, shift: np.ndarray, noise: np.ndarray) -> np.ndarray:
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
    fit = gaussians.log_density(error, np.zeros_like(error), noise)
    return fit - 0.5 * np.exp(q[1]) @ curvature - latent.kl(q, latent.standard(q))


def linear_backward(q: Diagonal, x: np.ndarray, weights: np.ndarray, shift: np.ndarray, noise: np.ndarray) -> Diagonal:
    """The gradient of :func:`linear` by q, :eq:`eq-elbo-linear-gradient`.

    Args:
        q: as in :func:`linear`.
        x: as there.
        weights: as there.
        shift: as there.
        noise: as there.

    Returns:
        d ELBO/dmu and d ELBO/drho, shapes (..., D).

    Raises:
        ValueError: as there.
    """
    error, pull, curvature = _linear(q, x, weights, shift, noise)
    return Diagonal(error @ pull.T - q[0], 0.5 * (1 - np.exp(q[1]) * (1 + curvature)))


def free_bits(units: np.ndarray, floor: float) -> np.ndarray:
    """A divergence that costs nothing up to a floor, :eq:`def-free-bits`.

    Args:
        units: what each latent unit costs for each sequence of a batch, in nats, shape (B, D).
        floor: lambda, nats that every unit may use for nothing; 0 changes nothing.

    Returns:
        The sum over the units of the larger of the floor and the unit's mean over the batch, a scalar.

    Raises:
        ValueError: if the shape does not fit, or the floor is negative.
    """
    return np.maximum(_floored(units, floor).mean(axis=0), floor).sum()


def free_bits_backward(units: np.ndarray, floor: float, grad: float) -> np.ndarray:
    """Pull a gradient through :func:`free_bits`: units under their floor get none.

    Args:
        units: as there, shape (B, D).
        floor: as there.
        grad: dL/d result, a scalar.

    Returns:
        dL/d units, shape (B, D).

    Raises:
        ValueError: if the shape does not fit, or the floor is negative.
    """
    paid = _floored(units, floor).mean(axis=0) > floor
    return np.broadcast_to(np.where(paid, grad / len(units), 0), units.shape)


def active_units(means: np.ndarray, least: float = 0.01) -> np.ndarray:
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
    return ((means - means.mean(axis=0)) ** 2).mean(axis=0) > least


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
    pull = np.linalg.solve(noise, weights).T
    return x - q[0] @ weights.T - shift, pull, (pull * weights.T).sum(axis=1)
