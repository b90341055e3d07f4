"""Between the library and others: NumPy and torch, and the layouts of ``torch.nn``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from rnncourse import doors
from rnncourse.params import RNNParams, map_arrays

if TYPE_CHECKING:
    import torch


def to_torch(tree: Any, device: Any = None, dtype: torch.dtype | None = None) -> Any:
    """Copy arrays to tensors.

    Args:
        tree: an array, or tuples of arrays (NamedTuples too), nested as deep as you like.
        device: where to, for example "cuda"; the CPU unless given.
        dtype: what real arrays become; their own precision unless given. Integers and booleans
            keep theirs.

    Returns:
        The same form, with tensors.
    """
    import torch

    def convert(array):
        tensor = torch.tensor(np.array(array, order="C"), device=device)  # torch takes no negative strides
        return tensor.to(dtype) if dtype is not None and tensor.is_floating_point() else tensor

    return map_arrays(convert, tree)


def to_numpy(tree: Any) -> Any:
    """Copy tensors to arrays, from any device and out of any graph.

    Args:
        tree: a tensor, or tuples of tensors (NamedTuples too), nested as deep as you like.

    Returns:
        The same form, with NumPy arrays.
    """
    return map_arrays(lambda tensor: tensor.detach().cpu().numpy().copy(), tree)


def rnn_from_torch(module: torch.nn.RNN) -> RNNParams:
    """Read the parameters of a torch layer; its two biases always appear as a sum, so they become one.

    Args:
        module: a layer with one direction and one level, tanh or relu.

    Returns:
        W_x (H, D), W_h (H, H) and b_h (H,), NumPy arrays of the layer's precision.

    Raises:
        ValueError: if it is no ``torch.nn.RNN``, or has two directions or several levels.
    """
    import torch

    if not isinstance(module, torch.nn.RNN):
        raise ValueError(f"module: expected a torch.nn.RNN, got {type(module).__name__}")
    if module.bidirectional:
        raise ValueError("module: expected one direction, got a bidirectional layer")
    if module.num_layers != 1:
        raise ValueError(f"module: expected one level, got num_layers={module.num_layers}")
    W_x, W_h, *biases = to_numpy(tuple(module.parameters()))
    return RNNParams(W_x, W_h, sum(biases) if biases else np.zeros_like(W_h[0]))


def rnn_to_torch(params: RNNParams, activation: str = "tanh") -> torch.nn.RNN:
    """Make a torch layer that computes what ``unroll.forward`` computes.

    Args:
        params: W_x (H, D), W_h (H, H) and b_h (H,), arrays or tensors.
        activation: "tanh" or "relu", the two that torch has.

    Returns:
        A layer of the same precision on the same device, its second bias zero. It takes (T, B, D).

    Raises:
        ValueError: if a shape does not fit, or torch has no such activation.
    """
    import torch

    doors.one_of("activation", activation, ("tanh", "relu"))
    W_x, W_h, b_h = (torch.as_tensor(array).detach() for array in params)
    doors.shape("input_weights", W_x, ("H", "D"))
    H, D = W_x.shape
    doors.shape("recurrent_weights", W_h, (H, H))
    doors.shape("bias", b_h, (H,))
    module = torch.nn.RNN(D, H, nonlinearity=activation, dtype=W_x.dtype, device=W_x.device)
    with torch.no_grad():
        for own, given in zip(module.parameters(), (W_x, W_h, b_h, torch.zeros_like(b_h)), strict=True):
            own.copy_(given)
    return module
