"""Gates that see the input alone: the recurrence is then linear in the state, and a scan runs it."""

from typing import NamedTuple

import numpy as np

from rnncourse import doors, minimal_params
from rnncourse.minimal_params import MinimalParams
from rnncourse.reference import activations, linear_recurrence
from rnncourse.reference.unroll import as_floats


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    Attributes:
        kind: which gates.
        params: the parameters.
        inputs: x, shape (T, B, D).
        blocks: the gates and the candidate, each (T, B, H): z, n; for the LSTM i / (i + f), i, f, g.
        recurrence: the tape of the linear recurrence.
        shared_start: whether the batch started from one h_0 of shape (H,).
    """

    kind: str
    params: MinimalParams
    inputs: np.ndarray
    blocks: tuple
    recurrence: linear_recurrence.Tape
    shared_start: bool


class Gradients(NamedTuple):
    """Total derivatives.

    Attributes:
        params: in the form of the parameters.
        inputs: dL/dx_t, shape (T, B, D).
        initial_state: dL/dh_0, in the shape of h_0.
    """

    params: MinimalParams
    inputs: np.ndarray
    initial_state: np.ndarray


def forward(kind: str, params: MinimalParams, inputs, initial_state=None):
    """Run a layer of minimal gates by a scan, :eq:`def-minimal-gru` and :eq:`def-minimal-lstm`.

    Args:
        kind: "gru" (a gate in (0, 1)), "signed" (the same in (-1, 1)) or "lstm" (two gates that sum to 1).
        params: W_x and b.
        inputs: x, shape (T, B, D).
        initial_state: h_0, shape (H,) or (B, H); zeros unless given.

    Returns:
        ``(hidden, tape)``: h_1..h_T, shape (T, B, H), and what :func:`backward` needs.

    Raises:
        ValueError: if a shape does not fit, there is no such kind, or an entry is not finite.
    """
    H = minimal_params.check(kind, params)
    W, b = params
    x = as_floats(inputs)
    doors.sequences("inputs", x, W.shape[1])
    for name, array in (("inputs", x), ("input_weights", W), ("bias", b)):
        doors.finite(name, array)
    blocks = _squashed(kind, np.split(x @ W.T + b, minimal_params.BLOCKS[kind], axis=-1))
    h_0 = np.zeros(H) if initial_state is None else as_floats(initial_state)
    shared = initial_state is not None and h_0.ndim == 1
    doors.shape("initial_state", h_0, (H,) if h_0.ndim == 1 else (x.shape[1], H))
    hidden, tape = linear_recurrence.forward(*affine(kind, *blocks), np.broadcast_to(h_0, (x.shape[1], H)))
    return hidden, Tape(kind, params, x, blocks, tape, shared)


def affine(kind: str, *blocks) -> tuple:
    """What gates and candidate make of a state: h -> A h + b.

    Args:
        kind: "gru", "signed" or "lstm".
        blocks: as in :class:`Tape`.

    Returns:
        (A, b), each (T, B, H).
    """
    if kind == "lstm":
        share, _, _, g = blocks
        return 1 - share, share * g
    z, n = blocks
    return z, (1 - z) * n


def backward(tape: Tape, d_outputs) -> Gradients:
    """The gradients, by a scan the other way, :eq:`eq-minimal-gradients`.

    Args:
        tape: from :func:`forward`.
        d_outputs: g_t, the gradient at h_t as an output, shape (T, B, H).

    Returns:
        The gradients.

    Raises:
        ValueError: if a shape does not fit.
    """
    W, _ = tape.params
    d_A, d_b, d_start = linear_recurrence.backward(tape.recurrence, d_outputs)
    d_a = np.concatenate(_pulled(tape.kind, tape.blocks, d_A, d_b), axis=-1)
    rows, x = d_a.reshape(-1, len(W)), tape.inputs
    weights = MinimalParams(rows.T @ x.reshape(len(rows), -1), rows.sum(axis=0))
    return Gradients(weights, d_a @ W, d_start.sum(axis=0) if tape.shared_start else d_start)


def _squashed(kind: str, blocks) -> tuple:
    if kind == "lstm":
        a_i, a_f, g = blocks  # i / (i + f) by logarithms: both gates may be too small for a number
        share = activations.sigmoid(activations.softplus(-a_f) - activations.softplus(-a_i))
        return share, activations.sigmoid(a_i), activations.sigmoid(a_f), g
    z, n = blocks
    return (np.tanh(z) if kind == "signed" else activations.sigmoid(z)), n


def _pulled(kind: str, blocks, d_A, d_b) -> tuple:
    """Gradients at the pre-activations, block by block."""
    if kind == "lstm":
        share, i, f, g = blocks
        d_share = d_b * g - d_A
        inner = d_share * share * (1 - share)
        return inner * (1 - i), -inner * (1 - f), d_b * share
    z, n = blocks
    slope = 1 - z * z if kind == "signed" else z * (1 - z)
    return (d_A - d_b * n) * slope, d_b * (1 - z)
