"""Parameters of recurrences over images: the same on both floors, and how they start."""

from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.params import Array, orthogonal


class DiagonalParams(NamedTuple):
    """A cell whose state is fed by two neighbours. G blocks of H rows, as the cell has them.

    Attributes:
        input_weights: W_x, shape (G H, D).
        left_weights: W_l, shape (G H, H): what the state of the left neighbour adds.
        above_weights: W_a, shape (G H, H): what the state of the upper neighbour adds.
        bias: b, shape (G H,).
    """

    input_weights: Array
    left_weights: Array
    above_weights: Array
    bias: Array


def init_diagonal(
    rng: np.random.Generator, inputs: int, hidden: int, gates: int = 4, forget_bias: float = 1.0
) -> DiagonalParams:
    """Start a diagonal cell: half of an orthogonal matrix for each neighbour and block.

    Args:
        rng: the source of randomness.
        inputs: D, the number of input features.
        hidden: H, the number of hidden units.
        gates: G, blocks of pre-activations: 4 for the LSTM, 1 for the vanilla cell.
        forget_bias: of the second block, where there are four.

    Returns:
        The parameters, float64.

    Raises:
        ValueError: if a size is no whole number, or less than 1.
    """
    for name, size in [("inputs", inputs), ("hidden", hidden), ("gates", gates)]:
        doors.at_least(name, size, 1)
    W_l, W_a = (0.5 * np.concatenate([orthogonal(rng, hidden) for _ in range(gates)]) for _ in range(2))
    bias = np.zeros(gates * hidden)
    if gates == 4:
        bias[hidden : 2 * hidden] = forget_bias
    return DiagonalParams(inputs**-0.5 * rng.standard_normal((gates * hidden, inputs)), W_l, W_a, bias)


def check(cell, params, inputs) -> None:
    """Check that parameters fit a cell, and images the parameters.

    Args:
        cell: of either floor, without parameters of its own.
        params: a :class:`DiagonalParams`.
        inputs: shape (M, N, B, D).

    Raises:
        ValueError: if something does not fit.
    """
    if cell.own:
        raise ValueError(f"cell: expected one without parameters of its own, got {cell.name}")
    if not isinstance(params, DiagonalParams):
        raise ValueError(f"params: expected DiagonalParams, got {type(params).__name__}")
    W_x, W_l, W_a, b = params
    doors.shape("left_weights", W_l, ("G*H", "H"))
    H = W_l.shape[1]
    for name, array, size in [("left_weights", W_l, H), ("above_weights", W_a, H), ("input_weights", W_x, "D")]:
        doors.shape(name, array, (cell.gates * H, size))
    doors.shape("bias", b, (cell.gates * H,))
    doors.shape("inputs", inputs, ("M", "N", "B", W_x.shape[1]))
    if 0 in tuple(inputs.shape[:3]):
        raise ValueError(f"inputs: expected at least one pixel and one image, got shape {tuple(inputs.shape)}")


def mirror(maps):
    """Turn maps left to right; twice, they are what they were.

    Args:
        maps: shape (M, N, ...), an array or a tensor.

    Returns:
        The same with its columns in the opposite order.
    """
    return maps.flip(1) if hasattr(maps, "flip") else maps[:, ::-1]
