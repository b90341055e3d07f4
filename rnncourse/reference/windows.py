"""Models that see a window of the last W inputs: the baseline that every recurrent network has to beat.

A window model is a feed-forward network run at every step on the last W inputs, :eq:`def-window`. It
needs no code of its own: :func:`features` lays the W inputs side by side, and :func:`cell` is a cell
that does not look at its state. So the same training loop trains it and a recurrent network.
"""

import numpy as np

from rnncourse import doors, masks
from rnncourse.reference import activations
from rnncourse.reference.cells import Cell

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


def split(sequence, width: int, padding=None) -> np.ndarray:
    """Cut a sequence into windows one step apart, :eq:`def-window`.

    Args:
        sequence: anything with time first, shape (N, ...): numbers, words, characters.
        width: W, the length of a window.
        padding: one entry to stand W - 1 times before the sequence, so that every step is the last
            of a window; none unless given.

    Returns:
        The windows, shape (N - W + 1, W, ...), or (N, W, ...) with padding: a copy.

    Raises:
        ValueError: if the width is no whole number, or less than 1.
    """
    sequence = np.asarray(sequence)
    doors.at_least("width", width, 1)
    if padding is not None:
        before = np.broadcast_to(np.asarray(padding), (width - 1, *sequence.shape[1:]))
        sequence = np.concatenate([before, sequence])
    starts = np.arange(count(len(sequence), width))
    return sequence[starts[:, None] + np.arange(width)]


def features(inputs, width: int) -> np.ndarray:
    """What a window model sees at each step: the last W inputs side by side, zeros before the first.

    Args:
        inputs: x, shape (T, B, D).
        width: W, the length of a window.

    Returns:
        w_t = (x_{t-W+1}, ..., x_t), shape (T, B, W D), the newest input last.

    Raises:
        ValueError: if the inputs have not three axes, or the width is too small.
    """
    inputs = np.asarray(inputs)
    doors.sequences("inputs", inputs, "D")
    T, B, D = inputs.shape
    return np.moveaxis(split(inputs, width, padding=0), 1, 2).reshape(T, B, width * D)


def fold(d_features, width: int) -> np.ndarray:
    """The way back of :func:`features`: each input collects from the W windows that hold it.

    Args:
        d_features: dL/dw_t, shape (T, B, W D).
        width: W, the length of a window.

    Returns:
        dL/dx_t, shape (T, B, D).

    Raises:
        ValueError: if the last axis does not divide into W parts.
    """
    doors.at_least("width", width, 1)
    d_features = np.asarray(d_features)
    doors.sequences("d_features", d_features, "W*D")
    T, B, size = d_features.shape
    if size % width:
        raise ValueError(f"d_features: expected a last axis that {width} divides, got {size}")
    parts = d_features.reshape(T, B, width, size // width)
    total = np.zeros_like(parts[:, :, 0])
    for lag in range(min(width, T)):
        total[: T - lag] += parts[lag:, :, width - 1 - lag]
    return total


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
    phi, slope = activations.get(activation)

    def step(theta, ax, ah, state):
        h = phi(ax)
        return (h,), h

    def pull(theta, h, d_state):
        (s,) = d_state
        delta = slope(h) * s
        return delta, 0.0 * delta, (0.0,), ()

    return Cell(f"window-{activation}", gates=1, states=1, step=step, pull=pull)


def vote(outputs, reduction: str = "mean", lengths=None) -> np.ndarray:
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
    outputs = np.asarray(outputs)
    doors.sequences("outputs", outputs, "O")
    doors.one_of("reduction", reduction, VOTES)
    T, B, _ = outputs.shape
    valid = masks.valid_steps([T] * B if lengths is None else lengths, T)
    doors.shape("lengths", valid[0], (B,))
    if not valid[0].all():
        raise ValueError("lengths: expected at least one step in every sequence, got a length of 0")
    total = np.where(valid[:, :, None], outputs, 0).sum(axis=0)
    return total if reduction == "sum" else total / valid.sum(axis=0)[:, None]
