"""Hidden Markov models: their parameters on both floors, how they start, and the same model as an RNN."""

from typing import Any, NamedTuple

import numpy as np

from rnncourse import doors, masks
from rnncourse.params import Array, ModelParams, ReadoutParams, RNNParams

# The logarithm of an impossible event, as a finite number: sums of it stay finite, and exp of it is 0.
NEVER = -1e30


class Categorical(NamedTuple):
    """Emissions of symbols.

    Attributes:
        probabilities: C, C_kv = p(x_t = v | z_t = k), shape (K, V), rows sum to 1.
    """

    probabilities: Array


class Gaussian(NamedTuple):
    """Emissions of vectors, a Gaussian for each state.

    Attributes:
        means: mu_k, shape (K, D).
        covariances: Sigma_k, shape (K, D, D), symmetric and positive definite.
    """

    means: Array
    covariances: Array


class HMMParams(NamedTuple):
    """A hidden Markov model with K states.

    Attributes:
        start: pi, pi_k = p(z_1 = k), shape (K,).
        transition: P, P_ij = p(z_t = j | z_{t-1} = i), shape (K, K), rows sum to 1.
        emission: what is seen in each state, :class:`Categorical` or :class:`Gaussian`.
    """

    start: Array
    transition: Array
    emission: Any


def init_categorical(
    rng: np.random.Generator, states: int, symbols: int, stay: float = 0.0, evenness: float = 1.0
) -> HMMParams:
    """Start a model of symbols at random: every row is drawn from a Dirichlet distribution.

    Args:
        rng: the source of randomness.
        states: K.
        symbols: V.
        stay: probability added to staying in a state; the drawn rows share the rest.
        evenness: the Dirichlet's parameter; the larger, the more even are the rows.

    Returns:
        The parameters, float64.

    Raises:
        ValueError: if a size is no whole number or less than 1, ``stay`` is outside 0..1, or ``evenness``
            is not positive.
    """
    doors.at_least("symbols", symbols, 1)
    start, transition = _chain(rng, states, stay, evenness)
    return HMMParams(start, transition, Categorical(rng.dirichlet(np.full(symbols, float(evenness)), states)))


def init_gaussian(
    rng: np.random.Generator, observations, states: int, stay: float = 0.0, lengths=None, floor: float = 1e-6
) -> HMMParams:
    """Start a model of vectors: means at observations drawn at random, covariances those of all the data.

    Args:
        rng: the source of randomness.
        observations: x, shape (T, B, D), at least K of them. Padding may hold anything.
        states: K.
        stay: probability added to staying in a state; the drawn rows share the rest.
        lengths: real steps of each sequence, shape (B,); all T unless given.
        floor: this share of the variances is added to the diagonal of the covariance.

    Returns:
        The parameters, float64.

    Raises:
        ValueError: if a shape does not fit, an entry is not finite, or a number is out of range.
    """
    x = np.asarray(observations, float)
    doors.sequences("observations", x, "D")
    rows = x.reshape(-1, x.shape[2]) if lengths is None else x[masks.valid_steps(lengths, len(x))]
    doors.finite("observations", rows)
    start, transition = _chain(rng, states, stay, 1.0)
    if len(rows) < states:
        raise ValueError(f"observations: expected at least {states}, one for each state, got {len(rows)}")
    means = rows[rng.choice(len(rows), states, replace=False)]
    spread = np.cov(rows.T, bias=True).reshape(x.shape[2], x.shape[2])
    spread = spread + floor * np.diag(np.where(np.diag(spread) == 0, 1, np.diag(spread)))
    return HMMParams(start, transition, Gaussian(means, np.tile(spread, (states, 1, 1))))


def check(params: HMMParams, normalised: bool = True) -> int:
    """Hold a model to its shapes and to the laws of probability; arrays and tensors.

    Args:
        params: the model.
        normalised: whether rows must sum to 1, or may be any weights >= 0.

    Returns:
        K, the number of states.

    Raises:
        ValueError: if a shape does not fit, an entry is negative or not finite, rows do not sum to 1, or
            covariances are not symmetric.
    """
    if not isinstance(params, HMMParams) or not isinstance(params.emission, Categorical | Gaussian):
        raise ValueError(f"params: expected HMMParams with Categorical or Gaussian emissions, got {params!r:.60}")
    pi, P, emission = params
    doors.shape("start", pi, ("K",))
    K = pi.shape[0]
    doors.shape("transition", P, (K, K))
    rows("start", pi, normalised)
    rows("transition", P, normalised)
    if isinstance(emission, Categorical):
        doors.shape("emission.probabilities", emission.probabilities, (K, "V"))
        rows("emission.probabilities", emission.probabilities, normalised)
    else:
        _gaussian(emission, K)
    return K


def rows(name: str, table: Array, normalised: bool = True) -> None:
    """Check that a table holds probabilities along its last axis.

    Args:
        name: the argument's name, for the message.
        table: an array or tensor.
        normalised: whether rows must sum to 1.

    Raises:
        ValueError: if an entry is negative or not finite, or a row does not sum to 1.
    """
    table = table.detach() if hasattr(table, "detach") else table
    doors.finite(name, table)
    if bool((table.real < 0).any()):
        raise ValueError(f"{name}: expected numbers >= 0, got {float(table.real.min()):.3g}")
    if normalised:
        off = float(abs(table.sum(-1) - 1).max())
        if off > (1e-8 if "64" in str(table.dtype) or "128" in str(table.dtype) else 1e-4):
            raise ValueError(f"{name}: expected rows that sum to 1, got one that is off by {off:.3g}")


def as_rnn(params: HMMParams) -> ModelParams:
    """A model of symbols as a recurrent network, :eq:`eq-hmm-as-rnn`, for ``unroll`` with ``hmm_cell.filtering``.

    A state is added in front of all others, the (K+1)st: the chain is there before step 1, leaves by
    pi and never comes back, so that its own row of W_x does not matter.
    The readout gives the probabilities of the next symbol.

    Args:
        params: a model with categorical emissions, arrays.

    Returns:
        W_x = log C (K + 1, V), W_h = P^T (K + 1, K + 1), b = 0; the readout C^T P^T; h_0, a one at the
        added state.

    Raises:
        ValueError: if it is no such model.
    """
    K = check(params)
    if not isinstance(params.emission, Categorical):
        raise ValueError("params: expected Categorical emissions; a Gaussian's log-likelihoods are inputs of the cell")
    pi, P, (C,) = params
    with np.errstate(divide="ignore"):
        log_C = np.maximum(np.log(C), NEVER)
    W_x = np.concatenate([log_C, np.full((1, C.shape[1]), NEVER)])
    whole = np.zeros((K + 1, K + 1))
    whole[:K, :K], whole[K, :K] = P, pi
    seen = np.concatenate([C, np.zeros((1, C.shape[1]))])
    return ModelParams(
        RNNParams(W_x, whole.T.copy(), np.zeros(K + 1)),
        ReadoutParams((whole @ seen).T.copy(), np.zeros(C.shape[1])),
        np.eye(K + 1)[K],
    )


def gaussian_features(emission: Gaussian) -> tuple[np.ndarray, np.ndarray]:
    """Weights and bias with which log N(x; mu_k, Sigma_k) is affine in the features x and x x^T.

    Args:
        emission: arrays.

    Returns:
        ``(weights, bias)``: shapes (K, D + D^2) and (K,), for the features ``[x, (x x^T).ravel()]``.
    """
    means, covariances = emission
    inverse = np.linalg.inv(covariances)
    pulled = np.einsum("kde,ke->kd", inverse, means)
    K, D = means.shape
    bias = -0.5 * ((pulled * means).sum(axis=1) + np.linalg.slogdet(covariances)[1] + D * np.log(2 * np.pi))
    return np.concatenate([pulled, -0.5 * inverse.reshape(K, D * D)], axis=1), bias


def _chain(rng, states: int, stay: float, evenness: float) -> tuple[np.ndarray, np.ndarray]:
    """A start and a transition matrix at random."""
    doors.at_least("states", states, 1)
    if not 0 <= stay <= 1:
        raise ValueError(f"stay: expected a probability, got {stay!r}")
    if not 0 < evenness < np.inf:
        raise ValueError(f"evenness: expected a positive number, got {evenness!r}")
    weights = np.full(states, float(evenness))
    return rng.dirichlet(weights), stay * np.eye(states) + (1 - stay) * rng.dirichlet(weights, states)


def _gaussian(emission: Gaussian, K: int) -> None:
    """Shapes, finite entries, symmetry; whether it is positive definite shows in the Cholesky factor."""
    means, covariances = (part.detach() if hasattr(part, "detach") else part for part in emission)
    doors.shape("emission.means", means, (K, "D"))
    doors.shape("emission.covariances", covariances, (K, means.shape[1], means.shape[1]))
    doors.finite("emission.means", means)
    doors.finite("emission.covariances", covariances)
    apart = abs(covariances - covariances.swapaxes(1, 2)).reshape(K, -1)
    if any(float(one.max()) > 1e-6 * float(abs(full).max()) for one, full in zip(apart, covariances, strict=True)):
        raise ValueError("emission.covariances: expected symmetric matrices")
