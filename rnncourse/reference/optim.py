"""Adam, Adagrad and gradient clipping, on nested NamedTuples."""

from typing import Any, NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.params import map_arrays, named_arrays


class AdamState(NamedTuple):
    """What Adam remembers.

    Attributes:
        step: updates made.
        mean: running mean of the gradient, in the form of the parameters.
        square: running mean of its square.
    """

    step: int
    mean: Any
    square: Any


def adam_start(params: Any) -> AdamState:
    """Adam's memory before the first update.

    Args:
        params: nested NamedTuples of arrays.

    Returns:
        Zeros of the same form.
    """
    return AdamState(0, map_arrays(np.zeros_like, params), map_arrays(np.zeros_like, params))


def adam(params: Any, gradients: Any, state: AdamState, rate: float, decay=(0.9, 0.999), floor: float = 1e-8):
    """One update of Adam (Kingma and Ba, 2015, algorithm 1).

    Args:
        params: nested NamedTuples of arrays.
        gradients: of the same form.
        state: from :func:`adam_start` or the last update.
        rate: step size.
        decay: how slowly the two running means forget.
        floor: added to the root of the second.

    Returns:
        ``(params, state)``: new ones; the old are untouched.
    """
    step, (beta, gamma) = state.step + 1, decay
    mean = map_arrays(lambda m, g: beta * m + (1 - beta) * g, state.mean, gradients)
    square = map_arrays(lambda v, g: gamma * v + (1 - gamma) * g * g, state.square, gradients)
    size = rate / (1 - beta**step)
    root = (1 - gamma**step) ** -0.5
    moved = map_arrays(lambda p, m, v: p - size * m / (root * np.sqrt(v) + floor), params, mean, square)
    return moved, AdamState(step, mean, square)


def adagrad_start(params: Any) -> Any:
    """Adagrad's memory before the first update.

    Args:
        params: nested NamedTuples of arrays.

    Returns:
        Zeros of the same form.
    """
    return map_arrays(np.zeros_like, params)


def adagrad(params: Any, gradients: Any, squares: Any, rate: float, floor: float = 1e-10):
    """One update of Adagrad (Duchi, Hazan and Singer, 2011), :eq:`def-adagrad`.

    Args:
        params: nested NamedTuples of arrays.
        gradients: of the same form.
        squares: S, from :func:`adagrad_start` or the last update: the sum of all squared gradients.
        rate: step size.
        floor: added to the root of S.

    Returns:
        ``(params, squares)``: new ones; the old are untouched.
    """
    squares = map_arrays(lambda S, g: S + g * g, squares, gradients)
    moved = map_arrays(lambda p, g, S: p - rate * g / (np.sqrt(S) + floor), params, gradients, squares)
    return moved, squares


def norm(tree: Any) -> float:
    """Euclidean norm of everything in nested NamedTuples.

    Args:
        tree: nested NamedTuples of arrays.

    Returns:
        The root of the sum of all squares.
    """
    return float(np.sqrt(sum((array * array).sum() for _, array in named_arrays(tree))))


def clip_by_norm(gradients: Any, threshold: float) -> Any:
    """Shorten a gradient that is longer than the threshold; keep its direction.

    Args:
        gradients: nested NamedTuples of arrays.
        threshold: the longest norm allowed, positive.

    Returns:
        The gradients times min(1, threshold / norm).

    Raises:
        ValueError: if the threshold is not positive, or the norm is not finite.
    """
    if not threshold > 0:
        raise ValueError(f"threshold: expected a positive number, got {threshold}")
    length = norm(gradients)
    if not np.isfinite(length):
        raise ValueError("gradients: their norm is not finite; look for an overflow before clipping")
    scale = min(1.0, threshold / length) if length else 1.0
    return map_arrays(lambda g: scale * g, gradients)


def clip_by_value(gradients: Any, limit: float) -> Any:
    """Cut every entry off at a limit, :eq:`def-clip-by-value`; unlike a norm, this turns the gradient.

    Args:
        gradients: nested NamedTuples of arrays.
        limit: the largest size of an entry, positive.

    Returns:
        The gradients, each entry in [-limit, limit].

    Raises:
        ValueError: if the limit is not positive, or an entry is not finite.
    """
    if not limit > 0:
        raise ValueError(f"limit: expected a positive number, got {limit}")
    for name, array in named_arrays(gradients):
        doors.finite(name or "gradients", array)
    return map_arrays(lambda g: np.clip(g, -limit, limit), gradients)
