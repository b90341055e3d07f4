"""Activations whose slope can be read off their output, so that only the output need be stored."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rnncourse import doors


class Activation(NamedTuple):
    """An elementwise function and its slope.

    Attributes:
        function: phi, from pre-activation a to output h.
        slope: phi'(a) written as a function of h = phi(a).
    """

    function: Callable
    slope: Callable


def sigmoid(a: np.ndarray) -> np.ndarray:
    """Logistic function, through tanh, which never overflows: (1 + tanh(a/2)) / 2.

    Args:
        a: pre-activations, any shape.

    Returns:
        Values in (0, 1), the shape of ``a``.
    """
    return 0.5 + 0.5 * np.tanh(0.5 * a)


def softplus(a: np.ndarray) -> np.ndarray:
    """log(1 + exp(a)), which is -log sigmoid(-a), without overflow.

    Args:
        a: pre-activations, any shape; complex numbers are judged by their real part, for the complex step.

    Returns:
        Values above 0, the shape of ``a``.
    """
    positive = a.real > 0
    return np.where(positive, a, 0) + np.log1p(np.exp(np.where(positive, -a, a)))


def relu(a: np.ndarray) -> np.ndarray:
    """Rectifier max(a, 0); complex numbers are judged by their real part, for the complex step.

    Args:
        a: pre-activations, any shape.

    Returns:
        Values >= 0, the shape of ``a``.
    """
    return np.where(a.real > 0, a, 0)


ACTIVATIONS = {
    "tanh": Activation(np.tanh, lambda h: 1 - h * h),
    "sigmoid": Activation(sigmoid, lambda h: h * (1 - h)),
    "relu": Activation(relu, lambda h: (h.real > 0).astype(h.dtype)),
    "identity": Activation(lambda a: a, lambda h: np.ones_like(h)),
}


def get(name: str) -> Activation:
    """Look up an activation.

    Args:
        name: "tanh", "sigmoid", "relu" or "identity".

    Returns:
        The function and its slope, :eq:`eq-activation-slopes`.

    Raises:
        ValueError: if there is none of that name.
    """
    doors.one_of("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]
