"""Cells: formulas on rows, without a matrix product. The matrices live in ``unroll``.

A cell is two short functions. ``step`` turns pre-activations and a state into the next state and
says what to save; ``pull`` takes a gradient with respect to that next state and pulls it back.
"""

from collections.abc import Callable
from typing import NamedTuple

from rnncourse.reference import activations


class Cell(NamedTuple):
    """What ``unroll`` needs to know about a recurrence.

    Attributes:
        name: for messages and tables.
        gates: pre-activation blocks per hidden unit (1 for the vanilla cell).
        states: arrays in the state (1: h alone). The first is h, which recurs and is the output.
        step: (own, ax, ah, state) -> state, saved.
        pull: (own, saved, d_state) -> d_ax, d_ah, d_state, d_own. Linear in d_state, and it
            writes into none of its arguments.
        own: what belongs to the cell beyond W_x, W_h and b, as the shape of each array in units of H:
            ((1,),) for one bias of shape (H,). ``step`` gets the arrays themselves as its first argument.
    """

    name: str
    gates: int
    states: int
    step: Callable
    pull: Callable
    own: tuple = ()


def rnn(activation: str = "tanh") -> Cell:
    """Make the vanilla cell h_t = phi(a_t) of :eq:`def-rnn-state`.

    Its pull is :eq:`eq-preactivation-gradient`, delta_t = phi'(a_t) * s_t. Nothing but h_t is
    saved, because the slope is a function of it.

    Args:
        activation: phi: "tanh", "sigmoid", "relu" or "identity".

    Returns:
        The cell.

    Raises:
        ValueError: if there is no such activation.
    """
    phi, slope = activations.get(activation)

    def step(own, ax, ah, state):
        h = phi(ax + ah)
        return (h,), h

    def pull(own, h, d_state):
        (s,) = d_state
        delta = slope(h) * s
        return delta, delta, (0.0,), ()

    return Cell(f"rnn-{activation}", gates=1, states=1, step=step, pull=pull)
