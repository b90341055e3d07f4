"""Activations. Their slopes are autograd's business here."""

from collections.abc import Callable
from typing import NamedTuple

import torch

from rnncourse import doors


class Activation(NamedTuple):
    """An elementwise function.

    Attributes:
        function: phi, from pre-activation a to output h.
    """

    function: Callable


def sigmoid(a: torch.Tensor) -> torch.Tensor:
    """Logistic function 1 / (1 + exp(-a)).

    Args:
        a: pre-activations, any shape.

    Returns:
        Values in (0, 1), the shape of ``a``.
    """
    return torch.sigmoid(a)


def softplus(a: torch.Tensor) -> torch.Tensor:
    """log(1 + exp(a)), which is -log sigmoid(-a), without overflow.

    Args:
        a: pre-activations, any shape.

    Returns:
        Values above 0, the shape of ``a``.
    """
    return -torch.nn.functional.logsigmoid(-a)


def relu(a: torch.Tensor) -> torch.Tensor:
    """Rectifier max(a, 0).

    Args:
        a: pre-activations, any shape.

    Returns:
        Values >= 0, the shape of ``a``.
    """
    return torch.relu(a)


ACTIVATIONS = {
    "tanh": Activation(torch.tanh),
    "sigmoid": Activation(sigmoid),
    "relu": Activation(relu),
    "identity": Activation(lambda a: a),
}


def get(name: str) -> Activation:
    """Look up an activation.

    Args:
        name: "tanh", "sigmoid", "relu" or "identity".

    Returns:
        The function.

    Raises:
        ValueError: if there is none of that name.
    """
    doors.one_of("activation", name, ACTIVATIONS)
    return ACTIVATIONS[name]
