"""Parameters of deep and bidirectional nets: a tuple with one entry for each level, the lowest first.

A level that reads one way is the parameters of a cell. One that reads both ways is :class:`BothWays`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rnncourse import doors


class BothWays(NamedTuple):
    """One thing for each direction of time: parameters, states, or gradients of these.

    Attributes:
        forwards: of the net that reads from the first step to the last.
        backwards: of the net that reads from a sequence's own last step to the first.
    """

    forwards: Any
    backwards: Any


def init_stack(
    init: Callable, rng: np.random.Generator, inputs: int, hidden: int, levels: int, both_ways: bool = False
) -> tuple:
    """Start every level of a net.

    Args:
        init: starts one cell, for example ``params.init_rnn`` or ``gate_params.init_lstm``; called as
            init(rng, features, hidden).
        rng: the source of randomness.
        inputs: D, the number of input features.
        hidden: H, the number of hidden units of each direction in each level.
        levels: how many.
        both_ways: whether each level reads in both directions; then those above the lowest read 2 H features.

    Returns:
        A tuple with one entry for each level.

    Raises:
        ValueError: if a size is no whole number, or less than 1.
    """
    doors.at_least("levels", levels, 1)
    above = 2 * hidden if both_ways else hidden
    widths = [inputs] + [above] * (levels - 1)
    if both_ways:
        return tuple(BothWays(init(rng, width, hidden), init(rng, width, hidden)) for width in widths)
    return tuple(init(rng, width, hidden) for width in widths)


def both(name: str, given) -> BothWays:
    """Check that something was given for each direction.

    Args:
        name: the argument's name, for the message.
        given: what was given.

    Returns:
        The same.

    Raises:
        ValueError: if it is no ``BothWays``.
    """
    if not isinstance(given, BothWays):
        raise ValueError(f"{name}: expected BothWays(forwards, backwards), got {type(given).__name__}")
    return given


def for_each(name: str, given: tuple | None, levels: int) -> tuple:
    """Check that there is one entry for each level.

    Args:
        name: the argument's name, for the message.
        given: a tuple, or None for none at all.
        levels: how many there should be.

    Returns:
        The tuple, or one of as many times None.

    Raises:
        ValueError: if it is no tuple or has another length.
    """
    if given is None:
        return (None,) * levels
    if not isinstance(given, tuple) or len(given) != levels:
        got = len(given) if isinstance(given, tuple) else type(given).__name__
        raise ValueError(f"{name}: expected a tuple with one entry for each of {levels} levels, got {got}")
    return given
