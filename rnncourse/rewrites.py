"""The same vanilla network in other words: joined weights, another activation.

Each function takes the arrays or tensors of one network and returns those of another that computes
the same outputs. They use nothing but arithmetic, so gradients of torch flow through them.
"""

from typing import Any

from rnncourse import doors
from rnncourse.params import ModelParams, ReadoutParams, RNNParams


def split(joined: Any, bias: Any) -> RNNParams:
    """Take apart one matrix that acts on state and input together, :eq:`eq-concatenated-weights`.

    Args:
        joined: the weights of [h, x], state first, shape (H, H + D).
        bias: b_h, shape (H,).

    Returns:
        W_x (H, D), W_h (H, H) and b_h, the matrices as views of the joined one.

    Raises:
        ValueError: if a shape does not fit, or there are fewer than H + 1 columns.
    """
    doors.shape("joined", joined, ("H", "H+D"))
    H, columns = joined.shape
    if columns <= H:
        raise ValueError(f"joined: expected more columns than rows, got shape {tuple(joined.shape)}")
    doors.shape("bias", bias, (H,))
    return RNNParams(joined[:, H:], joined[:, :H], bias)


def as_sigmoid(model: ModelParams) -> ModelParams:
    """Rewrite a tanh network as a sigmoid network, :eq:`eq-tanh-as-sigmoid-network`.

    Its state is (h_t + 1) / 2, between 0 and 1, and its outputs are those of the tanh network.

    Args:
        model: W_x (H, D), W_h (H, H), b_h (H,), W_y (O, H), b_y (O,) and h_0, (H,) or (B, H).

    Returns:
        Parameters of the same shapes, for a cell with activation "sigmoid".

    Raises:
        ValueError: if a shape does not fit.
    """
    (W_x, W_h, b_h), (W_y, b_y), h_0 = model
    doors.shape("recurrent_weights", W_h, ("H", "H"))
    doors.shape("bias", b_h, W_h.shape[:1])
    doors.shape("weights", W_y, ("O", W_h.shape[1]))
    cell = RNNParams(2 * W_x, 4 * W_h, 2 * (b_h - W_h.sum(axis=1)))
    readout = ReadoutParams(2 * W_y, b_y - W_y.sum(axis=1))
    return ModelParams(cell, readout, (h_0 + 1) / 2)
