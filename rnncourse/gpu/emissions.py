"""What is seen in each state of a hidden Markov model: likelihoods, expected counts, the best parameters."""

import math

import numpy as np
import torch

from rnncourse import doors, hmm_params
from rnncourse.gpu import unroll
from rnncourse.hmm_params import Categorical, Gaussian


def log_likelihoods(emission, observations, mask=None) -> torch.Tensor:
    """log lambda_t, the logarithm of what each state says of each observation, :eq:`def-hmm-likelihoods`.

    Args:
        emission: ``Categorical`` or ``Gaussian``.
        observations: symbols (T, B), integers, or vectors (T, B, D).
        mask: which steps are real, shape (T, B); all unless given. Padding may hold anything.

    Returns:
        Shape (T, B, K), 0 in the padding; ``NEVER`` where a symbol is impossible.

    Raises:
        ValueError: if a shape does not fit, a symbol is out of range, an observation is not finite, or a
            covariance is not positive definite.
    """
    if isinstance(emission, Categorical):
        C = emission.probabilities
        x = symbols(emission, observations, mask).to(C.device)
        found = torch.where(C > 0, torch.where(C > 0, C, 1).log(), hmm_params.NEVER).T[x]
    else:
        found = _gaussian(emission, vectors(emission, observations, mask))
    return found if mask is None else torch.where(mask[:, :, None], found, 0)


def counts(emission, observations, posterior, mask=None):
    """Expected statistics of the emissions, :eq:`eq-hmm-emission-counts` for symbols.

    Args:
        emission: ``Categorical`` or ``Gaussian``: which kind.
        observations: symbols (T, B), integers, or vectors (T, B, D).
        posterior: gamma, shape (T, B, K), zero in the padding.
        mask: which steps are real, shape (T, B); all unless given.

    Returns:
        ``Categorical`` of M_kv, how often state k is expected to have emitted v, shape (K, V); or
        ``Gaussian`` of the sums over t of gamma_tk x_t, (K, D), and of gamma_tk x_t x_t^T, (K, D, D).

    Raises:
        ValueError: as :func:`log_likelihoods`.
    """
    weights = posterior.flatten(0, 1)
    if isinstance(emission, Categorical):
        x = symbols(emission, observations, mask).flatten().to(weights.device)
        M = weights.new_zeros(emission.probabilities.shape[1], weights.shape[1])
        return Categorical(M.index_add(0, x, weights).T)
    x = vectors(emission, observations, mask).flatten(0, 1)
    return Gaussian(weights.T @ x, torch.einsum("nk,nd,ne->kde", weights, x, x))


def maximise(emission, observations, posterior, mask=None, floor: float = 1e-6):
    """The emissions that make the observations most likely, the posterior held fixed: the M-step's share.

    Args:
        emission: the present ones; a state that is expected nowhere keeps its own.
        observations: symbols (T, B), integers, or vectors (T, B, D).
        posterior: gamma, shape (T, B, K), zero in the padding.
        mask: which steps are real, shape (T, B); all unless given.
        floor: this share of the variances of all observations together is added to the diagonal of every
            covariance, so that no state can shrink onto one observation. For vectors alone.

    Returns:
        New emissions of the same kind.

    Raises:
        ValueError: as :func:`log_likelihoods`.
    """
    found = counts(emission, observations, posterior, mask)
    mass = posterior.sum(dim=(0, 1))
    empty, size = mass == 0, torch.where(mass == 0, 1, mass)
    if isinstance(emission, Categorical):
        new = found.probabilities / size[:, None]
        return Categorical(torch.where(empty[:, None], emission.probabilities, new))
    x = vectors(emission, observations, mask)
    means = torch.where(empty[:, None], emission.means, found.means / size[:, None])
    apart = x[:, :, None] - means  # centred first: sums of squares would lose digits far from the origin
    covariances = torch.einsum("tbk,tbkd,tbke->kde", posterior, apart, apart) / size[:, None, None]
    real = x.flatten(0, 1) if mask is None else x[mask.to(x.device)]
    spread = real.var(dim=0, unbiased=False)
    covariances = covariances + floor * torch.diag(torch.where(spread == 0, 1, spread))
    return Gaussian(means, torch.where(empty[:, None, None], emission.covariances, covariances))


def symbols(emission: Categorical, observations, mask=None) -> torch.Tensor:
    """Symbols at the door, with 0 in the padding.

    Args:
        emission: says how many symbols there are.
        observations: integers (T, B).
        mask: which steps are real, shape (T, B); all unless given.

    Returns:
        The symbols.

    Raises:
        ValueError: if they have another shape, are no integers, or are out of range.
    """
    x, V = torch.as_tensor(observations), emission.probabilities.shape[1]
    doors.shape("observations", x, ("T", "B"))
    if x.is_floating_point() or x.is_complex() or x.dtype == torch.bool:
        raise ValueError(f"observations: expected integers, got {x.dtype}")
    x = x if mask is None else torch.where(mask.to(x.device), x, 0)
    if x.numel() and (int(x.min()) < 0 or int(x.max()) >= V):
        raise ValueError(f"observations: expected symbols in 0..{V - 1}, got {int(x.min())}..{int(x.max())}")
    return x.long()


def vectors(emission: Gaussian, observations, mask=None) -> torch.Tensor:
    """Vectors at the door, with 0 in the padding.

    Args:
        emission: says how many features there are.
        observations: numbers (T, B, D).
        mask: which steps are real, shape (T, B); all unless given.

    Returns:
        The vectors.

    Raises:
        ValueError: if they have another shape, or a real one is not finite.
    """
    # NumPy reads lists of numbers as float64, torch would as float32.
    x = unroll.as_floats(observations if isinstance(observations, torch.Tensor) else np.asarray(observations))
    doors.shape("observations", x, ("T", "B", emission.means.shape[1]))
    x = x if mask is None else torch.where(mask[:, :, None].to(x.device), x, 0)
    doors.finite("observations", x.detach())
    return x


def _gaussian(emission: Gaussian, x: torch.Tensor) -> torch.Tensor:
    """log N(x_t; mu_k, Sigma_k) through the Cholesky factors, :eq:`def-hmm-gaussian`."""
    means, covariances = emission
    L, failed = torch.linalg.cholesky_ex(covariances)
    if bool(failed.any()):
        raise ValueError("emission.covariances: expected positive definite matrices")
    apart = (x[:, :, None] - means).flatten(0, 1).permute(1, 2, 0)  # (K, D, T B)
    white = torch.linalg.solve_triangular(L, apart, upper=False)
    half = L.diagonal(dim1=1, dim2=2).log().sum(dim=1) + 0.5 * means.shape[1] * math.log(2 * math.pi)
    return (-0.5 * white.square().sum(dim=1) - half[:, None]).T.reshape(*x.shape[:2], -1)
