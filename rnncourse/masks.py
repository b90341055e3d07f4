"""Which steps of a ragged batch are real, and which of them count in a loss."""

import numpy as np


def valid_steps(lengths, steps: int) -> np.ndarray:
    """Mark the steps of a padded batch that belong to a sequence.

    Args:
        lengths: number of real steps of each sequence, shape (B,), integers in 0..steps.
        steps: T, the padded length.

    Returns:
        Booleans, shape (T, B): True where step t of sequence b is real.

    Raises:
        ValueError: if lengths is not one-dimensional, not integer, or out of range.
    """
    lengths = _as_lengths(lengths, steps)
    return np.arange(steps)[:, None] < lengths


def last_steps(lengths, steps: int) -> np.ndarray:
    """Mark only the last real step of each sequence: the mask of a sequence label.

    Args:
        lengths: number of real steps of each sequence, shape (B,), integers in 0..steps.
        steps: T, the padded length.

    Returns:
        Booleans, shape (T, B); a sequence of length 0 has none.

    Raises:
        ValueError: if lengths is not one-dimensional, not integer, or out of range.
    """
    lengths = _as_lengths(lengths, steps)
    return np.arange(steps)[:, None] == lengths - 1


def _as_lengths(lengths, steps: int) -> np.ndarray:
    lengths = np.asarray(lengths)
    if lengths.ndim != 1 or not np.issubdtype(lengths.dtype, np.integer):
        raise ValueError(f"lengths: expected integers of shape (B,), got {lengths.dtype} of shape {lengths.shape}")
    if lengths.size and (lengths.min() < 0 or lengths.max() > steps):
        raise ValueError(f"lengths: expected values in 0..{steps}, got {lengths.min()}..{lengths.max()}")
    return lengths.astype(np.int64)  # unsigned: 0 - 1 would wrap around
