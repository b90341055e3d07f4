"""Parameters of recurrences whose gates see the input alone: the same on both floors, and how they start."""

from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.params import Array

BLOCKS = {"gru": 2, "signed": 2, "lstm": 3}


class MinimalParams(NamedTuple):
    """A layer of minimal gates. Blocks of H rows: z, n; for the LSTM i, f, g.

    Attributes:
        input_weights: W_x, shape (2 H, D), for the LSTM (3 H, D).
        bias: b, shape (2 H,), for the LSTM (3 H,).
    """

    input_weights: Array
    bias: Array


def init_minimal(rng: np.random.Generator, kind: str, inputs: int, hidden: int) -> MinimalParams:
    """Start with random weights of standard deviation 1/sqrt(D) and zero bias.

    Args:
        rng: the source of randomness.
        kind: "gru", "lstm" or "signed".
        inputs: D, the number of input features.
        hidden: H, the number of hidden units.

    Returns:
        The parameters, float64.

    Raises:
        ValueError: if a size is too small, or there is no such kind.
    """
    doors.one_of("kind", kind, BLOCKS)
    doors.at_least("inputs", inputs, 1)
    doors.at_least("hidden", hidden, 1)
    rows = BLOCKS[kind] * hidden
    return MinimalParams(rng.standard_normal((rows, inputs)) / np.sqrt(inputs), np.zeros(rows))


def check(kind: str, params: MinimalParams) -> int:
    """Check that parameters fit a kind.

    Args:
        kind: "gru", "lstm" or "signed".
        params: arrays or tensors.

    Returns:
        H.

    Raises:
        ValueError: if there is no such kind, or a shape does not fit.
    """
    doors.one_of("kind", kind, BLOCKS)
    W, b = params
    doors.shape("input_weights", W, ("G*H", "D"))
    if W.shape[0] % BLOCKS[kind] or not W.shape[0]:
        raise ValueError(f"input_weights: expected {BLOCKS[kind]} blocks of H rows, got {W.shape[0]} rows")
    doors.shape("bias", b, (W.shape[0],))
    return W.shape[0] // BLOCKS[kind]
