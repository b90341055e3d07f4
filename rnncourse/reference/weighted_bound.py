"""The importance-weighted bound: the logarithm of a mean of weights, and how its gradient is shared out."""

import math

import numpy as np

from rnncourse import doors


def forward(log_weights):
    """log of the mean of N weights p(z, x) / q(z), without leaving the logarithms, :eq:`eq-ssm-importance`.

    Args:
        log_weights: log p(z, x) - log q(z) of N draws, shape (N, ...).

    Returns:
        ``(bound, tape)``: shape (...); and the normalised weights, shape (N, ...), for :func:`backward`.

    Raises:
        ValueError: if there is no draw, or an entry is not finite.
    """
    doors.at_least("log_weights", len(log_weights), 1)
    doors.finite("log_weights", log_weights)
    top = log_weights.max(axis=0)
    scaled = np.exp(log_weights - top)
    total = scaled.sum(axis=0)
    return top + np.log(total) - math.log(len(log_weights)), scaled / total


def backward(tape, d_bound=1.0) -> np.ndarray:
    """The gradient by every logarithm: the normalised weight, :eq:`eq-ssm-importance-gradient`.

    Args:
        tape: the normalised weights, from :func:`forward`.
        d_bound: the weight of each bound, a number or shape (...).

    Returns:
        Shape (N, ...).
    """
    return tape * d_bound
