"""How much a model is surprised: entropy, cross-entropy, divergence, bits and perplexity.

All in nats, unless a name says bits. A class of probability zero adds nothing to an entropy, and
makes a cross-entropy infinite where it does occur.
"""

import math

import numpy as np

from rnncourse import doors


def entropy(probabilities) -> np.ndarray:
    """The least that a code for these tokens costs, H(p) = -sum p log p.

    Args:
        probabilities: p, shape (..., V), each row summing to 1.

    Returns:
        Nats, shape (...).

    Raises:
        ValueError: if a row is no distribution.
    """
    return cross_entropy(probabilities, probabilities)


def cross_entropy(truth, model) -> np.ndarray:
    """What tokens drawn from one distribution cost under another, H(p, q) = -sum p log q.

    Args:
        truth: p, shape (..., V), each row summing to 1.
        model: q, the same shape.

    Returns:
        Nats, shape (...); infinite where something that happens was held impossible.

    Raises:
        ValueError: if a row is no distribution, or the shapes differ.
    """
    p, q = distributions("truth", truth), distributions("model", model)
    doors.shape("model", q, p.shape)
    with np.errstate(divide="ignore"):
        return -np.where(p > 0, p * np.log(np.where(p > 0, q, 1)), 0).sum(axis=-1)


def divergence(truth, model) -> np.ndarray:
    """What the wrong model costs on top, KL(p || q) = sum p log(p / q), :eq:`eq-entropy-floor`.

    Args:
        truth: p, shape (..., V), each row summing to 1.
        model: q, the same shape.

    Returns:
        Nats, shape (...): 0 where the two are equal, more everywhere else.

    Raises:
        ValueError: if a row is no distribution, or the shapes differ.
    """
    p, q = distributions("truth", truth), distributions("model", model)
    doors.shape("model", q, p.shape)
    with np.errstate(divide="ignore"):
        return np.where(p > 0, p * np.log(np.where(p > 0, p, 1) / np.where(p > 0, q, 1)), 0).sum(axis=-1)


def perplexity(nats: float) -> float:
    """The number of equally likely tokens that would surprise as much, :eq:`def-perplexity`.

    Args:
        nats: mean cross-entropy of a token.

    Returns:
        Its exponential.
    """
    return math.exp(nats)


def bits(nats: float) -> float:
    """The same surprise counted in bits, :eq:`eq-bits-and-perplexity`.

    Args:
        nats: mean cross-entropy of a token.

    Returns:
        The nats over ln 2.
    """
    return nats / math.log(2)


def distributions(name: str, probabilities) -> np.ndarray:
    """Check that every row is a distribution.

    Args:
        name: the argument's name, for the message.
        probabilities: shape (..., V).

    Returns:
        The same as an array of floats.

    Raises:
        ValueError: if an entry is negative or no number, or a row does not sum to 1 within 1e-6.
    """
    p = np.asarray(probabilities, float)
    if not (p.ndim and p.size and (p >= 0).all() and (abs(p.sum(axis=-1) - 1) < 1e-6).all()):
        raise ValueError(f"{name}: expected rows that are not negative and sum to 1, got shape {p.shape}")
    return p
