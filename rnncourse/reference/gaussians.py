"""Gaussians: their density, what a linear map makes of them, and what remains when a part is known."""

from typing import NamedTuple

import numpy as np

from rnncourse import doors

_SINGULAR = 1e-13  # an eigenvalue this small, beside the largest, is rounding


class Gaussian(NamedTuple):
    """A normal distribution.

    Attributes:
        mean: shape (..., N).
        covariance: shape (..., N, N).
    """

    mean: np.ndarray
    covariance: np.ndarray


def affine(before: Gaussian, weights, shift, noise) -> Gaussian:
    """What a linear map and independent noise make of a Gaussian, :eq:`eq-gaussian-affine`.

    Args:
        before: of u, shapes (N,) and (N, N).
        weights: F, shape (K, N).
        shift: b, shape (K,).
        noise: covariance of the noise, shape (K, K).

    Returns:
        The distribution of F u + b + noise.

    Raises:
        ValueError: if a shape does not fit.
    """
    mean, covariance = before
    doors.shape("weights", weights, ("K", mean.shape[-1]))
    doors.shape("noise", noise, 2 * (len(weights),))
    return Gaussian(weights @ mean + shift, weights @ covariance @ weights.T + noise)


def condition(joint: Gaussian, known, values) -> Gaussian:
    """What is left of a Gaussian when some of its entries become known, :eq:`eq-gaussian-conditioning`.

    Args:
        joint: of all entries, shapes (N,) and (N, N).
        known: which entries are known, booleans of shape (N,).
        values: what they are, shape (number known,).

    Returns:
        The distribution of the others, in their order.

    Raises:
        ValueError: if a shape does not fit, or what is known has a singular covariance.
    """
    mean, S = joint
    known = np.asarray(known, bool)
    doors.shape("known", known, mean.shape)
    doors.shape("values", np.asarray(values), (int(known.sum()),))
    S_uv, S_vv = S[np.ix_(~known, known)], S[np.ix_(known, known)]
    gain = _solve("joint", S_vv, S_uv.T).T
    return Gaussian(mean[~known] + gain @ (values - mean[known]), S[np.ix_(~known, ~known)] - gain @ S_uv.T)


def log_density(x, mean, covariance) -> np.ndarray:
    """The logarithm of a Gaussian's density, :eq:`def-gaussian-density`, in nats.

    Args:
        x: where, shape (..., N).
        mean: shape (..., N).
        covariance: shape (..., N, N).

    Returns:
        The values, shape (...).

    Raises:
        ValueError: if the covariance is singular, or has a negative eigenvalue.
    """
    check_definite("covariance", covariance)
    error = x - mean
    distance = (error * np.linalg.solve(covariance, error[..., None])[..., 0]).sum(axis=-1)
    return -0.5 * (distance + log_determinant(covariance) + error.shape[-1] * np.log(2 * np.pi))


def log_determinant(S) -> np.ndarray:
    """log det of positive definite matrices, analytic also where an entry is complex.

    Args:
        S: shape (..., N, N).

    Returns:
        The values, shape (...).
    """
    sign, size = np.linalg.slogdet(S)
    return size + np.log(sign) if np.iscomplexobj(S) else size


def divide(B, P) -> np.ndarray:
    """B P^{-1} for a covariance P, or B P^+ where P is singular: right where B = B P^+ P, as in a smoother.

    Args:
        B: shape (..., K, N).
        P: symmetric, without negative eigenvalues, shape (..., N, N).

    Returns:
        The quotient, shape (..., K, N).
    """
    size = np.sqrt(np.diagonal(P, axis1=-2, axis2=-1))
    scale = 1 / np.where(size > 0, size, 1)  # units must not decide what counts as singular
    even = P * scale[..., :, None] * scale[..., None, :]
    values = np.linalg.eigvalsh(even)
    if (values[..., 0] > _SINGULAR * values[..., -1]).all():
        inverse = np.linalg.inv(even)
    else:
        inverse = np.linalg.pinv(even, rcond=_SINGULAR, hermitian=True)
    return ((B * scale[..., None, :]) @ inverse) * scale[..., None, :]


def symmetric(S) -> np.ndarray:
    """The symmetric part of a matrix.

    Args:
        S: shape (..., N, N).

    Returns:
        (S + S^T) / 2.
    """
    return 0.5 * (S + S.mT)


def check_covariance(name: str, S) -> None:
    """Check that matrices can be covariances: finite, symmetric, without negative eigenvalues.

    Args:
        name: the argument's name, for the message.
        S: shape (..., N, N); of complex entries the real part is looked at.

    Raises:
        ValueError: if they cannot.
    """
    doors.finite(name, S)
    S = np.real(S)
    size = np.abs(S).max(initial=1e-300)
    lowest = np.linalg.eigvalsh(symmetric(S)).min(initial=0)
    if np.abs(S - S.mT).max(initial=0) > 1e-6 * size or lowest < -1e-6 * size:
        raise ValueError(f"{name}: expected a symmetric matrix without negative eigenvalues, got {lowest:.2g}")


def check_definite(name: str, S) -> None:
    """Check that matrices are positive definite.

    Args:
        name: the argument's name, for the message.
        S: shape (..., N, N); of complex entries the real part is looked at.

    Raises:
        ValueError: if one is singular, or has a negative eigenvalue.
    """
    try:
        np.linalg.cholesky(np.real(S))
    except np.linalg.LinAlgError:
        raise ValueError(f"{name}: expected a positive definite matrix, got a singular or indefinite one") from None


def _solve(name: str, S, B) -> np.ndarray:
    try:
        return np.linalg.solve(S, B)
    except np.linalg.LinAlgError:
        raise ValueError(f"{name}: what is known has a singular covariance") from None
