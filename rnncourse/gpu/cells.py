"""Cells: formulas on rows, without a matrix product. The matrices live in ``unroll``."""

from collections.abc import Callable
from typing import NamedTuple

from rnncourse.gpu import activations


class Cell(NamedTuple):
    """What ``unroll`` needs to know about a recurrence. Autograd does what a pull would.

    Attributes:
        name: for messages and tables.
        gates: pre-activation blocks per hidden unit (1 for the vanilla cell).
        states: tensors in the state (1: h alone). The first is h, which recurs and is the output.
        step: (own, ax, ah, state) -> state.
        own: what belongs to the cell beyond W_x, W_h and b, as the shape of each tensor in units of H:
            ((1,),) for one bias of shape (H,). ``step`` gets the tensors themselves as its first argument.
    """

    name: str
    gates: int
    states: int
    step: Callable
    own: tuple = ()


def rnn(activation: str = "tanh") -> Cell:
    """Make the vanilla cell h_t = phi(a_t) of :eq:`def-rnn-state`.

    Args:
        activation: phi: "tanh", "sigmoid", "relu" or "identity".

    Returns:
        The cell.

    Raises:
        ValueError: if there is no such activation.
    """
    (phi,) = activations.get(activation)

    def step(own, ax, ah, state):
        return (phi(ax + ah),)

    return Cell(f"rnn-{activation}", gates=1, states=1, step=step)
