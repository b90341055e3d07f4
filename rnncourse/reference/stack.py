"""Deep nets: each level reads the states of the level below. Any cell, one direction or both."""

from typing import Any, NamedTuple

import numpy as np

from rnncourse.reference import bidirectional, unroll
from rnncourse.reference.cells import Cell
from rnncourse.stack_params import BothWays, for_each


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    Attributes:
        levels: the tape of every level, the lowest first.
        loop: the module that ran the cell.
    """

    levels: tuple
    loop: Any


class Gradients(NamedTuple):
    """What the backward pass returns. All are total derivatives.

    Attributes:
        params: a tuple with one entry for each level, in the form of its parameters.
        inputs: dL/dx_t, shape (T, B, D).
        initial_state: a tuple with one entry for each level, in the form of its initial state.
        hidden: a tuple with one array for each level: dL/dh_t, shape (T, B, H) or (T, B, 2 H).
    """

    params: tuple
    inputs: np.ndarray
    initial_state: tuple
    hidden: tuple


def forward(
    cell: Cell,
    params: tuple,
    inputs,
    initial_state: tuple | None = None,
    lengths=None,
    loop: Any = None,
):
    """Run a cell on every level, the lowest first; what a level returns is what the next one reads.

    Args:
        cell: the recurrence.
        params: a tuple with one entry for each level: the cell's parameters, or ``BothWays`` of them.
        inputs: x, shape (T, B, D). Padding may hold anything, NaN included.
        initial_state: a tuple with one entry for each level, None in place of zeros; all zeros unless given.
        lengths: real steps of each sequence, shape (B,); all T unless given.
        loop: the module that runs the cell; ``unroll`` unless given (``gru_before`` is another).

    Returns:
        ``(outputs, final_state, tape)``: the states of the highest level, shape (T, B, H) or
        (T, B, 2 H); a tuple with the last states of each level; what :func:`backward` needs.

    Raises:
        ValueError: if anything does not fit, naming the level.
    """
    loop = loop or unroll
    if not isinstance(params, tuple) or hasattr(params, "_fields") or not params:
        raise ValueError(f"params: expected a tuple with one entry for each level, got {type(params).__name__}")
    starts = for_each("initial_state", initial_state, len(params))
    outputs, finals, tapes = inputs, [], []
    for k, (level, start) in enumerate(zip(params, starts, strict=True)):
        try:
            if isinstance(level, BothWays):
                outputs, final, tape = bidirectional.forward(cell, level, outputs, start, lengths, loop)
            else:
                outputs, final, tape = loop.forward(cell, level, outputs, start, lengths)
        except ValueError as error:
            raise ValueError(f"level {k}: {error}") from None
        finals.append(final)
        tapes.append(tape)
    return outputs, tuple(finals), Tape(tuple(tapes), loop)


def backward(tape: Tape, d_outputs, d_final_state: tuple | None = None) -> Gradients:
    """Back-propagate through every level, the highest first; the gradient of its inputs is the next one's g.

    Args:
        tape: from :func:`forward`.
        d_outputs: g_t of the highest level, in the shape of the outputs. Its padding is ignored.
        d_final_state: a tuple with what arrives at the last states of each level, None in place of
            zeros; none unless given.

    Returns:
        Gradients with respect to parameters, inputs, initial states and all states.

    Raises:
        ValueError: if a shape does not fit.
    """
    arriving: Any = for_each("d_final_state", d_final_state, len(tape.levels))
    g, found = d_outputs, []
    for level, d_final in zip(reversed(tape.levels), reversed(arriving), strict=True):
        pull = bidirectional.backward if isinstance(level, bidirectional.Tape) else tape.loop.backward
        back = pull(level, g, d_final)
        g = back.inputs
        found.append(back)
    params, _, starts, hidden = zip(*reversed(found), strict=True)
    return Gradients(params, g, starts, hidden)
