"""The GRU that resets before its product: n = tanh(W_nx x_t + b_n + W_nh (r * h_{t-1})).

``unroll`` makes every recurrent product before the step, and here one waits for a gate. So this
form has a loop of its own, called as that of ``unroll`` is: a step makes its gates from one
product and its candidate from another.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.gate_params import GRUParams
from rnncourse.reference import gru, unroll
from rnncourse.reference.activations import sigmoid


def _elsewhere(*_):
    raise ValueError("cell: the gru that resets before its product needs the loop of gru_before, not that of unroll")


class Before(NamedTuple):
    """What the loop needs to know, in the words of ``cells.Cell``. It has no step that ``unroll`` could call.

    Attributes:
        name: for messages and tables.
        update: what the update gate does to the old state, "keep" or "write".
        gates: pre-activation blocks per hidden unit.
        states: arrays in the state.
        step: refuses: this cell runs only here.
        pull: refuses, too.
        own: what belongs to the cell beyond W_x, W_h and b: nothing.
    """

    name: str
    update: str
    gates: int = 3
    states: int = 1
    step: Callable = _elsewhere
    pull: Callable = _elsewhere
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
        params: W_x (3 H, D), W_h (3 H, H), b (3 H,).
        inputs: x, shape (T, B, D). Padding may hold anything, NaN included.
        initial_state: h_0, shape (H,) for all or (B, H); zeros unless given.
        lengths: real steps of each sequence, shape (B,); all T unless given. After its end a
            sequence keeps its state, and its outputs are zero.

    Returns:
        ``(outputs, final_state, tape)``, as ``unroll.forward``.

    Raises:
        ValueError: if the cell is another, a shape does not fit, a length is out of range, or a real entry
            is not finite.
    """
    if not isinstance(cell, Before):
        raise ValueError(f"cell: the loop of gru_before runs reset_before, got {cell.name}; use unroll")
    x, mask = unroll._enter(cell, params, inputs, lengths)
    W_x, W_h, b = params
    (T, B, _), H = x.shape, W_h.shape[1]
    (h,), shared = unroll._start(cell, initial_state, B, H, np.result_type(x, *params))
    hidden = np.empty((T + 1, B, H), h.dtype)
    hidden[0] = h
    ax = (x.reshape(T * B, -1) @ W_x.T + b).reshape(T, B, -1)
    saved = []
    for t in range(T):
        gates = sigmoid(ax[t, :, : 2 * H] + hidden[t] @ W_h[: 2 * H].T)
        r, z = gates[:, :H], gates[:, H:]
        kept = r * hidden[t]
        n = np.tanh(ax[t, :, 2 * H :] + kept @ W_h[2 * H :].T)
        h = gru.blend(cell.update, z, hidden[t], n)
        hidden[t + 1] = h if mask is None else np.where(mask[t], h, hidden[t])
        saved.append((gates, kept, n))
    hidden.flags.writeable = False
    outputs = hidden[1:] if mask is None else np.where(mask, hidden[1:], 0)
    return outputs, (hidden[-1].copy(),), unroll.Tape(cell, params, x, hidden, saved, mask, shared)


def backward(tape: unroll.Tape, d_outputs, d_final_state: tuple | None = None) -> unroll.Gradients:
    """Back-propagate through time.

    Args:
        tape: from :func:`forward`.
        d_outputs: g_t, the gradient of the loss with respect to h_t as an output, everything
            later held fixed; shape (T, B, H). Its padding is ignored.
        d_final_state: gradient arriving at the final state from beyond the last step, a tuple of
            one array (B, H); none unless given.

    Returns:
        Gradients of the loss with respect to parameters, inputs, initial state and every h_t.

    Raises:
        ValueError: if a shape does not fit.
    """
    cell, (W_x, W_h, _), x, hidden, saved, mask, shared = tape
    (T, B, D), H = x.shape, W_h.shape[1]
    g = np.asarray(d_outputs)
    doors.shape("d_outputs", g, (T, B, H))
    if mask is not None:
        g = np.where(mask, g, 0)
    dtype = np.result_type(hidden, g) if np.iscomplexobj(g) else hidden.dtype
    (arriving,) = unroll._arriving(cell, d_final_state, B, H, dtype)
    s, delta = np.empty((T, B, H), dtype), np.empty((T, B, 3 * H), dtype)
    for t in reversed(range(T)):
        s[t] = arriving + g[t]
        real = s[t] if mask is None else np.where(mask[t], s[t], 0)
        delta[t], direct = _pull(cell, W_h, hidden[t], saved[t], real)
        back = direct + delta[t, :, : 2 * H] @ W_h[: 2 * H]
        arriving = back if mask is None else np.where(mask[t], back, s[t])
    rows, past = delta.reshape(T * B, -1), hidden[:-1].reshape(T * B, H)
    kept = np.array([kept for _, kept, _ in saved]).reshape(T * B, H)
    d_W_h = np.concatenate([rows[:, : 2 * H].T @ past, rows[:, 2 * H :].T @ kept])
    return unroll.Gradients(
        params=GRUParams(rows.T @ x.reshape(T * B, D), d_W_h, rows.sum(axis=0)),
        inputs=(rows @ W_x).reshape(T, B, D),
        initial_state=(arriving.sum(axis=0) if shared else arriving,),
        hidden=s,
    )


def _pull(cell: Before, W_h: np.ndarray, past: np.ndarray, saved: tuple, s: np.ndarray) -> tuple:
    """One step back: the gradient of its pre-activations, and that of h_{t-1} but for the gates' product."""
    gates, _, n = saved
    H = n.shape[1]
    r, z = gates[:, :H], gates[:, H:]
    d_past, d_z, d_n = gru.pull_blend(cell.update, z, past, n, s)
    delta_n = d_n * (1 - n * n)
    d_kept = delta_n @ W_h[2 * H :]
    d_gates = np.concatenate([d_kept * past, d_z], axis=1)
    return np.concatenate([d_gates * gates * (1 - gates), delta_n], axis=1), d_past + d_kept * r
