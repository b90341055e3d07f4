"""Two nets over the same sequence, one reading forwards and one backwards; their states side by side.

At step t the first has seen x_1..x_t, the second x_t..x_L, where L is the sequence's own length: in
a ragged batch every sequence is turned around within itself, or the second net would begin on padding.
"""

from typing import Any, NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.reference import unroll
from rnncourse.reference.cells import Cell
from rnncourse.stack_params import BothWays


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    Attributes:
        tapes: one of each direction; that of the second counts steps from the sequence's end.
        lengths: real steps of each sequence, shape (B,), or None if all are.
        loop: the module that ran the cell.
    """

    tapes: BothWays
    lengths: np.ndarray | None
    loop: Any


def forward(
    cell: Cell,
    params: BothWays,
    inputs,
    initial_state: BothWays | None = None,
    lengths=None,
    loop: Any = None,
):
    """Run a cell in both directions of time.

    Args:
        cell: the recurrence.
        params: its parameters for each direction.
        inputs: x, shape (T, B, D). Padding may hold anything, NaN included.
        initial_state: for each direction what ``loop`` takes as a start; zeros unless given. The
            second is the state beyond the last step.
        lengths: real steps of each sequence, shape (B,); all T unless given.
        loop: the module that runs the cell; ``unroll`` unless given (``gru_before`` is another).

    Returns:
        ``(outputs, final_state, tape)``: the states of both side by side, shape (T, B, 2 H); for each
        direction the tuple of its last states, that of the second being at the first step; what
        :func:`backward` needs.

    Raises:
        ValueError: if a shape does not fit, a length is out of range, or a real entry is not finite.
    """
    both("params", params)
    start = both("initial_state", BothWays(None, None) if initial_state is None else initial_state)
    loop = loop or unroll
    x = unroll.as_floats(inputs)
    ahead, final, tape = loop.forward(cell, params.forwards, x, start.forwards, lengths)
    lengths = None if lengths is None else np.array(lengths)  # a copy: the caller may use his again
    turned = reverse(x, lengths)
    behind, first, back_tape = loop.forward(cell, params.backwards, turned, start.backwards, lengths)
    outputs = np.concatenate([ahead, reverse(behind, lengths)], axis=2)
    return outputs, BothWays(final, first), Tape(BothWays(tape, back_tape), lengths, loop)


def backward(tape: Tape, d_outputs, d_final_state: BothWays | None = None) -> unroll.Gradients:
    """Back-propagate through both nets; for the second that is forwards in time.

    Args:
        tape: from :func:`forward`.
        d_outputs: g_t, the gradient of the loss with respect to both states as outputs, shape (T, B, 2 H).
        d_final_state: for each direction the gradients arriving at its last states; none unless given.

    Returns:
        Gradients with respect to parameters and initial states (each ``BothWays``), inputs, and
        both states, shape (T, B, 2 H).

    Raises:
        ValueError: if a shape does not fit.
    """
    (ahead, behind), lengths, loop = tape
    arriving = both("d_final_state", BothWays(None, None) if d_final_state is None else d_final_state)
    T, B, H = ahead.hidden[1:].shape
    g = np.asarray(d_outputs)
    doors.shape("d_outputs", g, (T, B, 2 * H))
    one = loop.backward(ahead, g[:, :, :H], arriving.forwards)
    two = loop.backward(behind, reverse(g[:, :, H:], lengths), arriving.backwards)
    return unroll.Gradients(
        params=BothWays(one.params, two.params),
        inputs=one.inputs + reverse(two.inputs, lengths),
        initial_state=BothWays(one.initial_state, two.initial_state),
        hidden=np.concatenate([one.hidden, reverse(two.hidden, lengths)], axis=2),
    )


def reverse(sequences: np.ndarray, lengths=None) -> np.ndarray:
    """Turn every sequence around within its own length; padding stays where it is. Twice changes nothing.

    Args:
        sequences: shape (T, B, N).
        lengths: real steps of each sequence, integers of shape (B,); all T unless given.

    Returns:
        The same steps in the other order, shape (T, B, N).
    """
    if lengths is None:
        return sequences[::-1]
    t = np.arange(len(sequences))[:, None]
    order = np.where(t < lengths, np.asarray(lengths, np.int64) - 1 - t, t)
    return np.take_along_axis(sequences, order[:, :, None], axis=0)


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
