"""From a model's outputs to text: reshape the distribution, draw from it, feed the draw back in.

Every choice here is a pure function; chance comes in as uniform numbers that the caller drew. So
the same numbers give the same text on both floors, and a test can walk through all that may happen.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from rnncourse import doors


def softmax(logits, temperature: float = 1.0) -> np.ndarray:
    """Turn logits into probabilities, cooler or warmer than the model's own, :eq:`def-temperature`.

    Args:
        logits: y, shape (..., V).
        temperature: what the logits are divided by, positive; below 1 favours what is likely.

    Returns:
        Probabilities, shape (..., V), float64.

    Raises:
        ValueError: if the temperature is not positive or a logit not finite.
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature: expected a positive number, got {temperature}")
    logits = np.asarray(logits, float)
    doors.finite("logits", logits)
    with np.errstate(over="ignore"):  # near zero, what is less likely goes to minus infinity
        p = np.exp((logits - logits.max(axis=-1, keepdims=True)) / temperature)
    return p / p.sum(axis=-1, keepdims=True)


def top_k(probabilities, k: int) -> np.ndarray:
    """Keep the k likeliest tokens, :eq:`def-top-k`; of equals, the first.

    Args:
        probabilities: p, shape (..., V).
        k: how many to keep; V or more keeps all.

    Returns:
        Probabilities, shape (..., V), zero for all but k.

    Raises:
        ValueError: if k is no whole number, or less than 1.
    """
    doors.at_least("k", k, 1)
    p = np.asarray(probabilities, float)
    return _only(p, _ranks(p) < k)


def nucleus(probabilities, mass: float) -> np.ndarray:
    """Keep the fewest tokens that together reach a mass, :eq:`def-nucleus`; of equals, the first.

    Args:
        probabilities: p, shape (..., V).
        mass: in (0, 1]; 1 keeps all.

    Returns:
        Probabilities, shape (..., V), zero for what was cut.

    Raises:
        ValueError: if the mass is not in (0, 1].
    """
    if not 0 < mass <= 1:
        raise ValueError(f"mass: expected a number in (0, 1], got {mass}")
    p = np.asarray(probabilities, float)
    together = np.cumsum(-np.sort(-p, axis=-1), axis=-1)  # of the likeliest 1, 2, ... V
    needed = 1 + (together < mass).sum(axis=-1, keepdims=True)
    return p if mass == 1 else _only(p, _ranks(p) < needed)


def draw(probabilities, uniforms) -> np.ndarray:
    """Draw a token from each distribution: lay the probabilities end to end and see where a number falls.

    Args:
        probabilities: p, shape (..., V).
        uniforms: numbers in [0, 1), drawn evenly, shape (...).

    Returns:
        Classes, integers, shape (...); never one of probability zero.

    Raises:
        ValueError: if the shapes do not fit or a number is not in [0, 1).
    """
    p, u = np.asarray(probabilities, float), np.asarray(uniforms, float)
    doors.shape("uniforms", u, p.shape[:-1])
    if not ((u >= 0) & (u < 1)).all():
        raise ValueError("uniforms: expected numbers in [0, 1)")
    ends = np.cumsum(p, axis=-1)
    return (ends / ends[..., -1:] <= u[..., None]).sum(axis=-1)


def ancestral(step: Callable, tokens, state: Any, uniforms) -> tuple[np.ndarray, Any]:
    """Write: draw each token from the model's own conditional, and feed it back in.

    Args:
        step: takes the last tokens (B,) and a state, returns the probabilities of the next ones
            (B, V) and the new state.
        tokens: the last of what is already there, integers, shape (B,).
        state: what ``step`` takes along with them.
        uniforms: numbers in [0, 1), drawn evenly, shape (T, B).

    Returns:
        ``(written, state)``: classes, shape (T, B), and the state before the last of them is read.

    Raises:
        ValueError: if the shapes do not fit.
    """
    tokens, uniforms = np.asarray(tokens), np.asarray(uniforms)
    doors.shape("tokens", tokens, ("B",))
    doors.shape("uniforms", uniforms, ("T", len(tokens)))
    written = np.empty(uniforms.shape, np.int64)
    for t, numbers in enumerate(uniforms):
        probabilities, state = step(tokens, state)
        written[t] = tokens = draw(probabilities, numbers)
    return written, state


def _ranks(p: np.ndarray) -> np.ndarray:
    """The place of each class when they are sorted from likely to unlikely, from 0."""
    order = np.argsort(-p, axis=-1, kind="stable")
    return np.argsort(order, axis=-1, kind="stable")


def _only(p: np.ndarray, kept: np.ndarray) -> np.ndarray:
    """Zero what is not kept, and make the rest sum to 1 again."""
    p = np.where(kept, p, 0)
    return p / p.sum(axis=-1, keepdims=True)
