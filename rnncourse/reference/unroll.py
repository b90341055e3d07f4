"""Unroll a cell over time, forwards and backwards. Every matrix product of the course is here.

All inputs are projected in one product before the loop; the loop does one recurrent product a
step; every weight gradient is one product over all T * B rows after it.
"""

from typing import Any, NamedTuple

import numpy as np

from rnncourse import doors, masks
from rnncourse.reference.cells import Cell


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    It refers to the parameters and inputs given, without a copy: change none in place before the
    backward pass. (The states cannot be: they are read-only.)

    Attributes:
        cell: the cell that ran.
        params: its parameters.
        inputs: x_1..x_T with padding set to zero, shape (T, B, D).
        hidden: h_0..h_T, shape (T + 1, B, H).
        saved: what each step saved, a list of length T.
        mask: which steps are real, shape (T, B, 1), or None if all are.
        shared_start: whether the whole batch started from one h_0 of shape (H,).
    """

    cell: Cell
    params: NamedTuple
    inputs: np.ndarray
    hidden: np.ndarray
    saved: list
    mask: np.ndarray | None
    shared_start: bool


class Gradients(NamedTuple):
    """What the backward pass returns. All are total derivatives.

    Attributes:
        params: gradients in the form of the cell's parameters.
        inputs: dL/dx_t, shape (T, B, D).
        initial_state: the gradient with respect to each array of the initial state, in its shape.
        hidden: s_t = dL/dh_t for t = 1..T, shape (T, B, H).
    """

    params: NamedTuple
    inputs: np.ndarray
    initial_state: tuple
    hidden: np.ndarray


def forward(cell: Cell, params: NamedTuple, inputs, initial_state: Any = None, lengths=None):
    """Run a cell over a batch of sequences, :eq:`def-rnn-preactivation` and :eq:`def-rnn-state`.

    Args:
        cell: the recurrence, for example ``cells.rnn()``.
        params: its parameters: W_x (G H, D), W_h (G H, H), b (G H,), then what belongs to the cell.
        inputs: x, shape (T, B, D). Padding may hold anything, NaN included.
        initial_state: h_0, shape (H,) for all or (B, H), or a tuple with one such array for
            each state of the cell; zeros unless given.
        lengths: real steps of each sequence, shape (B,); all T unless given. After its end a
            sequence keeps its state, and its outputs are zero.

    Returns:
        ``(outputs, final_state, tape)``: h_1..h_T, shape (T, B, H); the tuple of states after
        the last real step, each (B, H); what :func:`backward` needs.

    Raises:
        ValueError: if a shape does not fit, a length is out of range, or a real entry is not finite.
    """
    x, mask = _enter(cell, params, inputs, lengths)
    W_x, W_h, b, *own = params
    T, B, _ = x.shape
    H = W_h.shape[1]
    state, shared = _start(cell, initial_state, B, H, np.result_type(x, *params))
    hidden = np.empty((T + 1, B, H), state[0].dtype)
    hidden[0] = state[0]
    ax = (x.reshape(T * B, -1) @ W_x.T + b).reshape(T, B, -1)
    saved = []
    for t in range(T):
        new, kept = cell.step(own, ax[t], state[0] @ W_h.T, state)
        state = new if mask is None else _where(mask[t], new, state)
        hidden[t + 1] = state[0]
        saved.append(hidden[t + 1] if kept is new[0] else kept)  # store h once, not twice
    hidden.flags.writeable = False  # the outputs are a view: a caller's change would spoil the tape
    outputs = hidden[1:] if mask is None else np.where(mask, hidden[1:], 0)
    state = tuple(part.copy() for part in state)  # a cell may have saved the last one
    return outputs, state, Tape(cell, params, x, hidden, saved, mask, shared)


def backward(tape: Tape, d_outputs, d_final_state: tuple | None = None) -> Gradients:
    """Back-propagate through time, :eq:`eq-bptt-recursion` and :eq:`eq-weight-gradients`.

    Args:
        tape: from :func:`forward`.
        d_outputs: g_t, the gradient of the loss with respect to h_t as an output, everything
            later held fixed; shape (T, B, H). Its padding is ignored.
        d_final_state: gradient arriving at the final state from beyond the last step, one
            array (B, H) for each state; none unless given.

    Returns:
        Gradients of the loss with respect to parameters, inputs, initial state and every h_t.

    Raises:
        ValueError: if a shape does not fit.
    """
    cell, (W_x, W_h, b, *own), x, hidden, saved, mask, shared = tape
    T, B, D = x.shape
    H = W_h.shape[1]
    g = np.asarray(d_outputs)
    doors.shape("d_outputs", g, (T, B, H))
    if mask is not None:
        g = np.where(mask, g, 0)
    dtype = np.result_type(hidden, g) if np.iscomplexobj(g) else hidden.dtype
    state = _arriving(cell, d_final_state, B, H, dtype)
    s = np.empty((T, B, H), dtype)
    d_ax = np.empty((T, B, len(b)), dtype)
    d_ah = d_ax
    d_own = [np.zeros(part.shape, dtype) for part in own]
    for t in reversed(range(T)):
        s[t] = state[0] + g[t]
        state = (s[t], *state[1:])
        real = state if mask is None else _where(mask[t], state, [0] * len(state))
        to_x, to_h, direct, to_own = cell.pull(own, saved[t], real)
        if mask is not None:
            direct = _where(mask[t], direct, state)  # a padded step hands its gradient on untouched
        if to_h is not to_x and d_ah is d_ax:
            d_ah = np.empty_like(d_ax)
        d_ax[t], d_ah[t] = to_x, to_h
        state = (direct[0] + to_h @ W_h, *direct[1:])
        for total, part in zip(d_own, to_own, strict=True):
            total += part
    rows = d_ax.reshape(T * B, -1)
    return Gradients(
        params=type(tape.params)(
            rows.T @ x.reshape(T * B, D),
            d_ah.reshape(T * B, -1).T @ hidden[:-1].reshape(T * B, H),
            rows.sum(axis=0),
            *d_own,
        ),
        inputs=(rows @ W_x).reshape(T, B, D),
        initial_state=tuple(part.sum(axis=0) if shared else part for part in state),
        hidden=s,
    )


def _enter(cell: Cell, params: NamedTuple, inputs, lengths) -> tuple[np.ndarray, np.ndarray | None]:
    """Check everything at the door; return the inputs with clean padding, and the mask."""
    doors.cell_params(cell, params)
    x = as_floats(inputs)
    doors.sequences("inputs", x, params[0].shape[1])
    mask = None
    if lengths is not None:
        valid = masks.valid_steps(lengths, len(x))
        doors.shape("lengths", valid[0], (x.shape[1],))
        mask = valid[:, :, None]
        x = np.where(mask, x, 0)
    for name, array in [("inputs", x), *zip(params._fields, params, strict=True)]:
        doors.finite(name, array)
    return x, mask


def _start(cell: Cell, initial_state: Any, B: int, H: int, dtype) -> tuple[tuple, bool]:
    """Turn what the caller gave into a tuple of (B, H) arrays; say whether one row served all."""
    if initial_state is None:
        return tuple(np.zeros((B, H), dtype) for _ in range(cell.states)), False
    given = initial_state if isinstance(initial_state, tuple) else (initial_state,)
    if len(given) != cell.states:
        raise ValueError(f"initial_state: the {cell.name} cell has {cell.states} state array(s), got {len(given)}")
    given = tuple(as_floats(part) for part in given)
    shared = given[0].ndim == 1
    for part in given:
        doors.shape("initial_state", part, (H,) if shared else (B, H))
        doors.finite("initial_state", part)
    dtype = np.result_type(dtype, *given)
    return tuple(np.array(np.broadcast_to(part, (B, H)), dtype) for part in given), shared


def _arriving(cell: Cell, d_final_state: tuple | None, B: int, H: int, dtype) -> tuple:
    """The gradient at the final state: what was given, or zeros."""
    if d_final_state is None:
        return tuple(np.zeros((B, H), dtype) for _ in range(cell.states))
    if len(d_final_state) != cell.states:
        raise ValueError(f"d_final_state: expected {cell.states} array(s), got {len(d_final_state)}")
    for part in d_final_state:
        doors.shape("d_final_state", part, (B, H))
    return tuple(np.array(part, dtype) for part in d_final_state)  # copies: a pull may add in place


def _where(mask: np.ndarray, new, old):
    """Take ``new`` where the step is real and ``old`` where it is padding, array by array."""
    return tuple(np.where(mask, n, o) for n, o in zip(new, old, strict=True))


def as_floats(values) -> np.ndarray:
    """Turn what the caller gave into an array of numbers with a fraction.

    Args:
        values: anything NumPy takes as an array.

    Returns:
        The array itself if it is floating or complex, else a float64 copy.
    """
    array = np.asarray(values)
    return array if np.issubdtype(array.dtype, np.inexact) else array.astype(float)
