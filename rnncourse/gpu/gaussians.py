"""Gaussians: their density, what a linear map makes of them, and what remains when a part is known."""

import math
from typing import NamedTuple

import torch

from rnncourse import doors

_SINGULAR = 1e-13  # an eigenvalue this small, beside the largest, is rounding


class Gaussian(NamedTuple):
    """A normal distribution.

    Attributes:
        mean: shape (..., N).
        covariance: shape (..., N, N).
    """

    mean: torch.Tensor
    covariance: torch.Tensor


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
    known = torch.as_tensor(known, device=S.device).bool()
    doors.shape("known", known, tuple(mean.shape))
    doors.shape("values", values, (int(known.sum()),))
    S_uv, S_vv = S[~known][:, known], S[known][:, known]
    gain, info = torch.linalg.solve_ex(S_vv, S_uv.T)
    if info:
        raise ValueError("joint: what is known has a singular covariance")
    return Gaussian(mean[~known] + gain.T @ (values - mean[known]), S[~known][:, ~known] - gain.T @ S_uv.T)


def log_density(x, mean, covariance) -> torch.Tensor:
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
    distance = (error * torch.linalg.solve(covariance, error[..., None])[..., 0]).sum(dim=-1)
    return -0.5 * (distance + log_determinant(covariance) + error.shape[-1] * math.log(2 * math.pi))


def log_determinant(S) -> torch.Tensor:
    """log det of positive definite matrices.

    Args:
        S: shape (..., N, N).

    Returns:
        The values, shape (...).
    """
    return torch.linalg.slogdet(S).logabsdet


def divide(B, P) -> torch.Tensor:
    """B P^{-1} for a covariance P, or B P^+ where P is singular: right where B = B P^+ P, as in a smoother.

    Args:
        B: shape (..., K, N).
        P: symmetric, without negative eigenvalues, shape (..., N, N).

    Returns:
        The quotient, shape (..., K, N).
    """
    size = torch.diagonal(P, dim1=-2, dim2=-1).sqrt()
    scale = 1 / torch.where(size > 0, size, 1)  # units must not decide what counts as singular
    even = P * scale[..., :, None] * scale[..., None, :]
    values = torch.linalg.eigvalsh(even.detach())
    if (values[..., 0] > _SINGULAR * values[..., -1]).all():
        inverse = torch.linalg.inv(even)
    else:
        inverse = torch.linalg.pinv(even, rtol=_SINGULAR, hermitian=True)
    return ((B * scale[..., None, :]) @ inverse) * scale[..., None, :]


def symmetric(S) -> torch.Tensor:
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
        S: shape (..., N, N).

    Raises:
        ValueError: if they cannot.
    """
    doors.finite(name, S)
    S = S.detach()
    size, lowest = float(S.abs().max()), float(torch.linalg.eigvalsh(symmetric(S)).min())
    if float((S - S.mT).abs().max()) > 1e-6 * size or lowest < -1e-6 * size:
        raise ValueError(f"{name}: expected a symmetric matrix without negative eigenvalues, got {min(lowest, 0):.2g}")


def check_definite(name: str, S) -> None:
    """Check that matrices are positive definite.

    Args:
        name: the argument's name, for the message.
        S: shape (..., N, N).

    Raises:
        ValueError: if one is singular, or has a negative eigenvalue.
    """
    if torch.linalg.cholesky_ex(S.detach()).info.any():
        raise ValueError(f"{name}: expected a positive definite matrix, got a singular or indefinite one")
