"""Adam and gradient clipping, on nested NamedTuples."""

from typing import Any, NamedTuple

import numpy as np

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
