"""L-BFGS: downhill with a memory of a few steps in the place of a matrix of second derivatives."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rnncourse import doors


class Result(NamedTuple):
    """What a minimisation found.

    Attributes:
        point: where it ended, shape (N,).
        values: the function at every evaluation, in order: each is one call.
    """

    point: np.ndarray
    values: list


def minimise(function: Callable, start, evaluations: int = 100, memory: int = 10, tolerance: float = 0.0) -> Result:
    """Minimise a smooth function by L-BFGS (Nocedal and Wright, algorithm 7.5), but with a backtracking line search.

    Args:
        function: takes a vector, returns its value and its gradient; the value may be infinite where there is none.
        start: where to begin, shape (N,).
        evaluations: calls allowed.
        memory: steps remembered.
        tolerance: stop when no entry of the gradient is larger.

    Returns:
        The best point and the value of every call.

    Raises:
        ValueError: if the start is no vector or a number is too small.
    """
    x = np.array(start, float)
    doors.shape("start", x, ("N",))
    doors.at_least("evaluations", evaluations, 1)
    doors.at_least("memory", memory, 1)
    value, g = function(x)
    values, pairs = [value], []
    while len(values) < evaluations and abs(g).max() > tolerance:
        d = -_times_inverse(pairs, g)
        if not d @ g < 0:
            pairs, d = [], -g
        size = 1.0 if pairs else min(1.0, 1 / abs(g).sum())
        while len(values) < evaluations:
            new_value, new_g = function(x + size * d)
            values.append(new_value)
            if new_value <= value + 1e-4 * size * (d @ g):
                break
            size *= 0.5
            if size < 1e-12:
                return Result(x, values)
        else:
            break
        y = new_g - g
        if size * (d @ y) > 1e-12 * (y @ y):  # only where the curvature is positive
            pairs = [*pairs, (size * d, y)][-memory:]
        x, value, g = x + size * d, new_value, new_g
    return Result(x, values)


def _times_inverse(pairs: list, g: np.ndarray) -> np.ndarray:
    """The remembered inverse of the second derivatives, times g: the two loops."""
    q, alphas = g.copy(), []
    for s, y in reversed(pairs):
        alphas.append((s @ q) / (s @ y))
        q -= alphas[-1] * y
    if pairs:
        s, y = pairs[-1]
        q *= (s @ y) / (y @ y)
    for (s, y), alpha in zip(pairs, reversed(alphas), strict=True):
        q += s * (alpha - (y @ q) / (s @ y))
    return q
