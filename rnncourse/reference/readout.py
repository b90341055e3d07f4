"""The affine readout, forwards and backwards."""

from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.params import ReadoutParams


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    Attributes:
        params: the readout's parameters.
        hidden: the states it read, shape (T, B, H).
    """

    params: ReadoutParams
    hidden: np.ndarray


def forward(params: ReadoutParams, hidden: np.ndarray) -> tuple[np.ndarray, Tape]:
    """Read outputs off the states, :eq:`def-readout`: y_t = W_y h_t + b_y.

    Args:
        params: W_y (O, H) and b_y (O,).
        hidden: h_1..h_T, shape (T, B, H).

    Returns:
        ``(outputs, tape)``: y_1..y_T, shape (T, B, O), and what :func:`backward` needs.

    Raises:
        ValueError: if a shape does not fit, or a parameter is not finite.
    """
    W_y, b_y = params
    doors.shape("weights", W_y, ("O", "H"))
    doors.shape("bias", b_y, (W_y.shape[0],))
    doors.finite("weights", W_y)
    doors.finite("bias", b_y)
    doors.shape("hidden", hidden, ("T", "B", W_y.shape[1]))
    return hidden @ W_y.T + b_y, Tape(params, hidden)


def backward(tape: Tape, d_outputs: np.ndarray) -> tuple[ReadoutParams, np.ndarray]:
    """Pull the output gradient e_t back, :eq:`eq-readout-gradients` and :eq:`eq-immediate-gradient`.

    Args:
        tape: from :func:`forward`.
        d_outputs: e_t = dL/dy_t, shape (T, B, O).

    Returns:
        ``(params, hidden)``: gradients of W_y and b_y, and g_t = W_y^T e_t, shape (T, B, H): the
        part of dL/dh_t that does not pass through later states.

    Raises:
        ValueError: if the shape does not fit.
    """
    (W_y, _), hidden = tape
    doors.shape("d_outputs", d_outputs, (*hidden.shape[:2], len(W_y)))
    e = d_outputs.reshape(-1, len(W_y))
    h = hidden.reshape(-1, hidden.shape[-1])
    return ReadoutParams(e.T @ h, e.sum(axis=0)), (e @ W_y).reshape(hidden.shape)
