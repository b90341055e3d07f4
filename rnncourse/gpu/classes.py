"""Tensors of classes, checked in the words of the other floor."""

from typing import Any

import torch


def as_classes(tokens, size: int, device: Any = None) -> torch.Tensor:
    """Check that something is made of classes.

    Args:
        tokens: integers in 0..V-1, any shape.
        size: V, the number of classes.
        device: where the result shall be.

    Returns:
        The same as a tensor of int64.

    Raises:
        ValueError: if an entry is no integer or out of range.
    """
    tokens = torch.as_tensor(tokens, device=device)
    if tokens.is_floating_point() or tokens.is_complex() or tokens.dtype == torch.bool:
        raise ValueError(f"tokens: expected integer classes, got {str(tokens.dtype).removeprefix('torch.')}")
    if tokens.numel() and (tokens.min() < 0 or tokens.max() >= size):
        raise ValueError(f"tokens: expected classes in 0..{size - 1}, got {tokens.min()}..{tokens.max()}")
    return tokens.long()
