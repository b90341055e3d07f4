"""Back-propagation through time as a scan: the recursion is linear, whatever the cell."""

import torch

from rnncourse import doors
from rnncourse.gpu import jacobians, linear_recurrence, unroll
from rnncourse.gpu.unroll import as_floats


def hidden(tape: unroll.Tape, d_outputs) -> torch.Tensor:
    """The total gradients of all states at once, :eq:`eq-bptt-scan`.

    It multiplies H x H matrices where the loop multiplies a vector: 2H times the work, for a depth of log T.

    Args:
        tape: from ``unroll.forward`` with a vanilla cell.
        d_outputs: g_t, the gradient at h_t as an output, shape (T, B, H). Its padding is ignored.

    Returns:
        s_t = dL/dh_t, t = 1..T, shape (T, B, H), as in ``unroll.backward``.

    Raises:
        ValueError: if a shape does not fit, or the cell is no vanilla cell.
    """
    J = jacobians.steps(tape)
    g = as_floats(d_outputs)
    doors.shape("d_outputs", g, J.shape[:3])
    return linear_recurrence.reverse(J, g if tape.mask is None else torch.where(tape.mask, g, 0))
