"""The GRU that resets before its product: n = tanh(W_nx x_t + b_n + W_nh (r * h_{t-1})).

``unroll`` makes every recurrent product before the step, and here one waits for a gate. So this
form has a loop of its own, called as that of ``unroll`` is: a step makes its gates from one
product and its candidate from another.
"""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import torch

from rnncourse import doors
from rnncourse.gate_params import GRUParams
from rnncourse.gpu import graph, gru, unroll


def _elsewhere(*_):
    raise ValueError("cell: the gru that resets before its product needs the loop of gru_before, not that of unroll")


class Before(NamedTuple):
    """What the loop needs to know, in the words of ``cells.Cell``. It has no step that ``unroll`` could call.

    Attributes:
        name: for messages and tables.
        update: what the update gate does to the old state, "keep" or "write".
        gates: pre-activation blocks per hidden unit.
        states: tensors in the state.
        step: refuses: this cell runs only here.
        own: what belongs to the cell beyond W_x, W_h and b: nothing.
    """

    name: str
    update: str
    gates: int = 3
    states: int = 1
    step: Callable = _elsewhere
    own: tuple = ()


def reset_before(update: str = "keep") -> Before:
    """Make the GRU cell whose reset gate acts on the state before the recurrent product.

    Args:
        update: what the update gate does to the old state: "keep" it or "write" over it.

    Returns:
        The cell for :func:`forward`; its parameters are ``gate_params.GRUParams``.

    Raises:
        ValueError: if there is no such update.
    """
    doors.one_of("update", update, gru.UPDATES)
    return Before(f"gru-before-{update}", update)


def forward(cell: Before, params: GRUParams, inputs, initial_state: Any = None, lengths=None):
    """Run the cell over a batch of sequences.

    Args:
        cell: from :func:`reset_before`.
        params: W_x (3 H, D), W_h (3 H, H), b (3 H,), tensors of one dtype on one device.
        inputs: x, shape (T, B, D). Padding may hold anything, NaN included.
        initial_state: h_0, shape (H,) for all or (B, H); zeros unless given.
        lengths: real steps of each sequence, shape (B,); all T unless given. After its end a
            sequence keeps its state, and its outputs are zero.

    Returns:
        ``(outputs, final_state, tape)``, as ``unroll.forward``.

    Raises:
        ValueError: if the cell is another, a shape does not fit, a length is out of range, a real entry is not finite,
            or dtypes or devices are mixed.
    """
    if not isinstance(cell, Before):
        raise ValueError(f"cell: the loop of gru_before runs reset_before, got {cell.name}; use unroll")
    x, mask = unroll._enter(cell, params, inputs, lengths)
    start = unroll._start(cell, initial_state, x.shape[1], params)
    W, x, h = graph.tracked((params, x, start))
    states = tuple(run(cell, W, x, h, mask))
    outputs = torch.stack([state[0] for state in states])
    outputs = outputs if mask is None else torch.where(mask, outputs, 0)
    tape = unroll.Tape(cell, W, x, h, states, outputs, mask)
    return *graph.returned((outputs, states[-1]), params, inputs, initial_state), tape


def run(cell: Before, params: GRUParams, x: torch.Tensor, start: tuple, mask=None) -> Iterator[tuple]:
    """The bare recurrence, without doors.

    Args:
        cell: from :func:`reset_before`.
        params: its parameters.
        x: inputs with clean padding, shape (T, B, D).
        start: the initial state, a tuple of one (H,) or (B, H).
        mask: which steps are real, shape (T, B, 1), or None if all are.

    Yields:
        The state after each step, a tuple of one (B, H).
    """
    W_x, W_h, b = params
    H = W_h.shape[1]
    h = start[0].expand(x.shape[1], H)
    for t, ax in enumerate((x @ W_x.T + b).unbind()):
        r, z = torch.sigmoid(ax[:, : 2 * H] + h @ W_h[: 2 * H].T).chunk(2, dim=-1)
        n = torch.tanh(ax[:, 2 * H :] + (r * h) @ W_h[2 * H :].T)
        new = gru.blend(cell.update, z, h, n)
        h = new if mask is None else torch.where(mask[t], new, h)
        yield (h,)


def backward(tape: unroll.Tape, d_outputs, d_final_state: tuple | None = None) -> unroll.Gradients:
    """Back-propagate through time, by autograd: nothing in ``unroll.backward`` asks how a state was made.

    Args:
        tape: from :func:`forward`; may be used again.
        d_outputs: g_t, the gradient of the loss with respect to h_t as an output, everything
            later held fixed; shape (T, B, H). Its padding is ignored.
        d_final_state: gradient arriving at the final state from beyond the last step, a tuple of
            one tensor (B, H); none unless given.

    Returns:
        Gradients of the loss with respect to parameters, inputs, initial state and every h_t.

    Raises:
        ValueError: if a shape does not fit, or nothing was recorded.
    """
    return unroll.backward(tape, d_outputs, d_final_state)
