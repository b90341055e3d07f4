"""The affine readout; its gradients by autograd."""

from typing import NamedTuple

import torch

from rnncourse import doors
from rnncourse.gpu import graph
from rnncourse.params import ReadoutParams


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    Attributes:
        params: the readout's parameters.
        hidden: the states it read, shape (T, B, H).
        outputs: y_1..y_T, shape (T, B, O).
    """

    params: ReadoutParams
    hidden: torch.Tensor
    outputs: torch.Tensor


def forward(params: ReadoutParams, hidden: torch.Tensor) -> tuple[torch.Tensor, Tape]:
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
    doors.finite("weights", W_y.detach())
    doors.finite("bias", b_y.detach())
    doors.shape("hidden", hidden, ("T", "B", W_y.shape[1]))
    (W_y, b_y), h = tracked = graph.tracked((params, hidden))
    outputs = h @ W_y.T + b_y
    return graph.returned(outputs, params, hidden), Tape(*tracked, outputs)


def backward(tape: Tape, d_outputs: torch.Tensor) -> tuple[ReadoutParams, torch.Tensor]:
    """Pull the output gradient e_t back.

    Args:
        tape: from :func:`forward`.
        d_outputs: e_t = dL/dy_t, shape (T, B, O).

    Returns:
        ``(params, hidden)``: gradients of W_y and b_y, and g_t, shape (T, B, H): the part of
        dL/dh_t that does not pass through later states.

    Raises:
        ValueError: if the shape does not fit, or nothing was recorded.
    """
    doors.shape("d_outputs", d_outputs, tuple(tape.outputs.shape))
    return graph.pull(tape.outputs, d_outputs, (tape.params, tape.hidden))
