"""Which path carries the gradient of an LSTM: the memory cell itself, or one of its gates.

From (h_{t-1}, c_{t-1}) to (h_t, c_t) there are five paths. One is direct: c_{t-1} is multiplied by
f, with every gate held fixed. Four lead from h_{t-1}, by a gate or the candidate. Each is a matrix in blocks ::

    ( dh_t/dh_{t-1}   dh_t/dc_{t-1} )
    ( dc_t/dh_{t-1}   dc_t/dc_{t-1} )

and together they make the Jacobian of the step.
"""

from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.reference import lstm, unroll


class Paths(NamedTuple):
    """One matrix for each path; what they add up to is the whole.

    Attributes:
        direct: through the memory cell, every gate held fixed.
        input_gate: through i.
        forget_gate: through f.
        candidate: through g.
        output_gate: through o.
    """

    direct: np.ndarray
    input_gate: np.ndarray
    forget_gate: np.ndarray
    candidate: np.ndarray
    output_gate: np.ndarray


def steps(tape: unroll.Tape) -> Paths:
    """The Jacobian of every step of an LSTM, path by path.

    Args:
        tape: from ``unroll.forward`` with ``lstm.plain()``.

    Returns:
        Five arrays (T, B, 2 H, 2 H). Where a step is padding, the direct path is the identity and
        the others are zero.

    Raises:
        ValueError: if another cell made the tape.
    """
    if tape.cell.name != "lstm":
        raise ValueError(f"tape: expected one of the plain lstm, got {tape.cell.name}")
    gates, before, seen = (np.array(arrays) for arrays in zip(*tape.saved, strict=True))
    i, f, g, o = lstm.blocks(gates)
    slope_i, slope_f, slope_g, slope_o = (
        slope[..., None] * W
        for slope, W in zip(lstm.blocks(lstm.slopes(gates)), np.split(tape.params.recurrent_weights, 4), strict=True)
    )
    shown = o * (1 - seen * seen)  # dh_t/dc_t, the gates held fixed
    zero = np.zeros_like(slope_i)
    eye = np.eye(f.shape[-1], dtype=f.dtype)

    def through_cell(by_h, by_c):
        """What reaches c_t, and from there h_t."""
        return np.block([[shown[..., None] * by_h, shown[..., None] * by_c], [by_h, by_c]])

    paths = Paths(
        direct=through_cell(zero, f[..., None] * eye),
        input_gate=through_cell(g[..., None] * slope_i, zero),
        forget_gate=through_cell(before[..., None] * slope_f, zero),
        candidate=through_cell(i[..., None] * slope_g, zero),
        output_gate=np.block([[seen[..., None] * slope_o, zero], [zero, zero]]),
    )
    if tape.mask is None:
        return paths
    kept = [np.eye(2 * len(eye), dtype=f.dtype), 0, 0, 0, 0]
    return Paths(*(np.where(tape.mask[..., None], path, keep) for path, keep in zip(paths, kept, strict=True)))


def carried(paths: Paths, start: int, stop: int) -> Paths:
    """Split the derivative of a later state by an earlier one by the path on which it first leaves the cell.

    A product of sums is a sum over every way through time. The ways are sorted by their first
    step that is not direct: those that never leave go to ``direct``, those that first go through the
    input gate to ``input_gate``, and so on. The five add up to the product of the step Jacobians.

    Args:
        paths: from :func:`steps`.
        start: tau, from 0: differentiate by the state at tau.
        stop: t, at least tau: differentiate the state at t.

    Returns:
        Five arrays (B, 2 H, 2 H).

    Raises:
        ValueError: unless 0 <= start <= stop <= T.
    """
    doors.at_least("start", start, 0)
    doors.at_least("stop", stop, start)
    if stop > len(paths.direct):
        raise ValueError(f"stop: expected at most {len(paths.direct)}, the number of steps, got {stop}")
    J = sum(paths)
    direct = np.broadcast_to(np.eye(J.shape[-1], dtype=J.dtype), J.shape[1:]).copy()
    left = [np.zeros_like(direct) for _ in paths[1:]]
    for t in range(start, stop):
        left = [J[t] @ part + path[t] @ direct for part, path in zip(left, paths[1:], strict=True)]
        direct = paths.direct[t] @ direct
    return Paths(direct, *left)
