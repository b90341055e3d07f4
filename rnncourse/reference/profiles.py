"""How long gradients are: at every step, and by how far they have travelled."""

import numpy as np

from rnncourse import doors
from rnncourse.reference import jacobians, unroll


def by_step(gradients: np.ndarray) -> np.ndarray:
    """Length of s_t at every step.

    Args:
        gradients: s_1..s_T, as ``unroll.backward`` returns them in ``hidden``, shape (T, B, H).

    Returns:
        The lengths, shape (T, B).

    Raises:
        ValueError: if the shape does not fit.
    """
    doors.sequences("gradients", gradients, "H")
    return np.linalg.norm(gradients, axis=2)


def by_lag(tape: unroll.Tape, d_outputs: np.ndarray, lags: int) -> np.ndarray:
    """Length of what a loss sends back over 0, 1, ... steps, :eq:`def-lag-profile`.

    All losses move together: a further lag is one pull and one product for all of them.

    Args:
        tape: from ``unroll.forward`` with a vanilla cell, without padding.
        d_outputs: g_t, what each loss says at its own step, shape (T, B, H).
        lags: the longest lag, less than T.

    Returns:
        The mean length of (dh_k/dh_{k-lag})^T g_k over all k > lag, for lags 0, 1, ..., shape (lags + 1, B).

    Raises:
        ValueError: if a shape or the lag does not fit, the tape has padding, or the cell is no vanilla cell.
    """
    slope, W_h = jacobians.slopes(tape), tape.params.recurrent_weights
    doors.shape("d_outputs", d_outputs, slope.shape)
    doors.one_of("lags", lags, range(len(slope)))
    if tape.mask is not None:
        raise ValueError("tape: expected no padding, for a lag across it means nothing")
    term, lengths = d_outputs, []
    for k in range(lags + 1):
        lengths.append(np.linalg.norm(term, axis=2).mean(axis=0))
        if k < lags:
            term = ((slope[: len(term)] * term) @ W_h)[1:]
    return np.array(lengths)
