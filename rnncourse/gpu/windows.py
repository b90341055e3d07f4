"""Models that see a window of the last W inputs: the baseline that every recurrent network has to beat."""

import numpy as np
import torch

from rnncourse import doors, masks
from rnncourse.gpu import activations
from rnncourse.gpu.cells import Cell

VOTES = ("mean", "sum")


def count(steps: int, width: int, padded: bool = False) -> int:
    """How many windows a sequence has, one step apart, :eq:`eq-window-count`.

    Args:
        steps: N, the length of the sequence.
        width: W, the length of a window.
        padded: whether W - 1 steps of padding stand before the sequence.

    Returns:
        N with padding; without, N - W + 1, or none if the sequence is shorter than a window.

    Raises:
        ValueError: if a number is no whole number, or too small.
    """
    doors.at_least("steps", steps, 0)
    doors.at_least("width", width, 1)
    return steps if padded else max(0, steps - width + 1)


def split(sequence, width: int, padding=None) -> torch.Tensor:
    """Cut a sequence into windows one step apart, :eq:`def-window`.

    Args:
        sequence: a tensor with time first, shape (N, ...).
        width: W, the length of a window.
        padding: one entry to stand W - 1 times before the sequence, so that every step is the last
            of a window; none unless given.

    Returns:
        The windows, shape (N - W + 1, W, ...), or (N, W, ...) with padding: a copy.

    Raises:
        ValueError: if the width is no whole number, or less than 1.
    """
    sequence = torch.as_tensor(sequence)
    doors.at_least("width", width, 1)
    if padding is not None:
        one = torch.as_tensor(padding, dtype=sequence.dtype, device=sequence.device)
        sequence = torch.cat([one.expand(width - 1, *sequence.shape[1:]), sequence])
    starts = torch.arange(count(len(sequence), width), device=sequence.device)
    return sequence[starts[:, None] + torch.arange(width, device=sequence.device)]


def features(inputs, width: int) -> torch.Tensor:
    """What a window model sees at each step: the last W inputs side by side, zeros before the first.

    Args:
        inputs: x, shape (T, B, D).
        width: W, the length of a window.

    Returns:
        w_t = (x_{t-W+1}, ..., x_t), shape (T, B, W D), the newest input last.

    Raises:
        ValueError: if the inputs have not three axes, or the width is too small.
    """
    inputs = torch.as_tensor(inputs)
    doors.sequences("inputs", inputs, "D")
    T, B, D = inputs.shape
    return split(inputs, width, padding=0).transpose(1, 2).reshape(T, B, width * D)


def cell(activation: str = "tanh") -> Cell:
    """A cell without memory, h_t = phi(W_x w_t + b_h): the hidden layer of a window model.

    Its recurrent weights are there for the form's sake. Nothing reads them, so their gradient is zero.

    Args:
        activation: phi: "tanh", "sigmoid", "relu" or "identity".

    Returns:
        The cell.

    Raises:
        ValueError: if there is no such activation.
    """
    (phi,) = activations.get(activation)

    def step(theta, ax, ah, state):
        return (phi(ax),)

    return Cell(f"window-{activation}", gates=1, states=1, step=step)


def vote(outputs, reduction: str = "mean", lengths=None) -> torch.Tensor:
    """One answer for a whole sequence from the answers of its windows, :eq:`def-seq-vote`.

    Args:
        outputs: y_1..y_T, shape (T, B, O). Padding may hold anything, NaN included.
        reduction: "mean", or "sum", which grows with the number of windows.
        lengths: real steps of each sequence, shape (B,), none of them 0; all T unless given.

    Returns:
        Shape (B, O).

    Raises:
        ValueError: if a shape does not fit, a length is 0 or out of range, or the reduction is unknown.
    """
    outputs = torch.as_tensor(outputs)
    doors.sequences("outputs", outputs, "O")
    doors.one_of("reduction", reduction, VOTES)
    T, B, _ = outputs.shape
    lengths = lengths.cpu() if isinstance(lengths, torch.Tensor) else lengths
    valid = masks.valid_steps(np.full(B, T) if lengths is None else np.asarray(lengths), T)
    doors.shape("lengths", valid[0], (B,))
    if not valid[0].all():
        raise ValueError("lengths: expected at least one step in every sequence, got a length of 0")
    valid = torch.as_tensor(valid, device=outputs.device)
    total = torch.where(valid[:, :, None], outputs, 0).sum(dim=0)
    return total if reduction == "sum" else total / valid.sum(dim=0)[:, None]
