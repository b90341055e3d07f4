"""What is seen in each state of a hidden Markov model: likelihoods, expected counts, the best parameters."""

import math

import numpy as np

from rnncourse import doors, hmm_params
from rnncourse.hmm_params import Categorical, Gaussian


def log_likelihoods(emission, observations, mask=None) -> np.ndarray:
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
        x = symbols(emission, observations, mask)
        with np.errstate(divide="ignore"):
            table = np.log(emission.probabilities)
        found = np.where(table.real < hmm_params.NEVER, hmm_params.NEVER, table).T[x]
    else:
        found = _gaussian(emission, vectors(emission, observations, mask))
    return found if mask is None else np.where(mask[:, :, None], found, 0)


def scaled(emission, observations, mask=None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Likelihoods divided by the largest of their step, so that none that matters underflows, as a table to look up in.

    Args:
        emission: ``Categorical`` or ``Gaussian``.
        observations: symbols (T, B), integers, or vectors (T, B, D).
        mask: which steps are real, shape (T, B); all unless given.

    Returns:
        ``(table, index, log_scale)``: lambda_t / max lambda_t is ``table[index[t]]``, shapes (N, K) and (T, B),
        with one row for each symbol or each vector and a last row of ones for the padding; log max lambda_t,
        shape (T, B), 0 in the padding. A symbol that no state can emit has zeros.

    Raises:
        ValueError: as :func:`log_likelihoods`.
    """
    if isinstance(emission, Categorical):
        index, table = symbols(emission, observations, mask), emission.probabilities.T
        largest = table.real.max(axis=1)
        largest = np.where(largest == 0, 1, largest)
        table, scale = table / largest[:, None], np.log(largest)[index]
    else:
        logs = log_likelihoods(emission, observations, mask)
        scale = logs.max(axis=2)
        table = np.exp(logs - scale[:, :, None]).reshape(-1, logs.shape[2])
        index = np.arange(len(table)).reshape(scale.shape)
    table = np.concatenate([table, np.ones_like(table[:1])])
    if mask is None:
        return table, index, scale
    return table, np.where(mask, index, len(table) - 1), np.where(mask, scale, 0)


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
    weights = posterior.reshape(-1, posterior.shape[2])
    if isinstance(emission, Categorical):
        V = emission.probabilities.shape[1]
        x = symbols(emission, observations, mask).ravel()
        x = x.astype(np.uint16) if V <= 2**16 else x  # so small, NumPy sorts them in one pass
        order = np.argsort(x, kind="stable")  # rows of one symbol lie together, and are added up in one go
        found, first = np.unique(x[order], return_index=True)
        M = np.zeros((V, weights.shape[1]), weights.dtype)
        M[found] = np.add.reduceat(weights[order], first, axis=0)
        return Categorical(M.T.copy())
    x = vectors(emission, observations, mask).reshape(len(weights), -1)
    squares = (x[:, :, None] * x[:, None, :]).reshape(len(x), -1)
    D = x.shape[1]
    return Gaussian(weights.T @ x, (weights.T @ squares).reshape(-1, D, D))


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
    mass = posterior.sum(axis=(0, 1))
    empty, size = (mass == 0), np.where(mass == 0, 1, mass)
    if isinstance(emission, Categorical):
        return Categorical(np.where(empty[:, None], emission.probabilities, found.probabilities / size[:, None]))
    x = vectors(emission, observations, mask)
    means = np.where(empty[:, None], emission.means, found.means / size[:, None])
    apart = x[:, :, None] - means  # centred first: sums of squares would lose digits far from the origin
    covariances = np.einsum("tbk,tbkd,tbke->kde", posterior, apart, apart, optimize=True) / size[:, None, None]
    real = x.reshape(-1, x.shape[2]) if mask is None else x[mask]
    spread = real.var(axis=0)
    covariances = covariances + floor * np.diag(np.where(spread == 0, 1, spread))
    return Gaussian(means, np.where(empty[:, None, None], emission.covariances, covariances))


def symbols(emission: Categorical, observations, mask=None) -> np.ndarray:
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
    x, V = np.asarray(observations), emission.probabilities.shape[1]
    doors.shape("observations", x, ("T", "B"))
    if not np.issubdtype(x.dtype, np.integer):
        raise ValueError(f"observations: expected integers, got {x.dtype}")
    x = x if mask is None else np.where(mask, x, 0)
    if x.size and (x.min() < 0 or x.max() >= V):
        raise ValueError(f"observations: expected symbols in 0..{V - 1}, got {x.min()}..{x.max()}")
    return x


def vectors(emission: Gaussian, observations, mask=None) -> np.ndarray:
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
    x = np.asarray(observations)
    x = x if np.issubdtype(x.dtype, np.inexact) else x.astype(float)
    doors.shape("observations", x, ("T", "B", emission.means.shape[1]))
    x = x if mask is None else np.where(mask[:, :, None], x, 0)
    doors.finite("observations", x)
    return x


def _gaussian(emission: Gaussian, x: np.ndarray) -> np.ndarray:
    """log N(x_t; mu_k, Sigma_k) through the Cholesky factors, :eq:`def-hmm-gaussian`."""
    means, covariances = emission
    try:
        L = np.linalg.cholesky(covariances)
    except np.linalg.LinAlgError:
        raise ValueError("emission.covariances: expected positive definite matrices") from None
    apart = (x[:, :, None] - means).reshape(-1, *means.shape).transpose(1, 2, 0)  # (K, D, T B)
    white = np.linalg.solve(L, apart)
    half = np.log(np.diagonal(L, axis1=1, axis2=2)).sum(axis=1) + 0.5 * means.shape[1] * math.log(2 * math.pi)
    return (-0.5 * (white * white).sum(axis=1) - half[:, None]).T.reshape(*x.shape[:2], -1)
