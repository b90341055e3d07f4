"""Lyapunov exponents: the rates at which products of Jacobians stretch and shrink, by QR."""

import numpy as np

from rnncourse import doors
from rnncourse.params import orthogonal
from rnncourse.reference import jacobians, unroll


def exponents(J: np.ndarray, count: int | None = None, skip: int = 0) -> np.ndarray:
    """Exponents of a product of matrices, J_t Q_{t-1} = Q_t R_t, :eq:`eq-lyapunov-qr`.

    Args:
        J: J_1..J_T, for example from ``jacobians.steps``, shape (T, B, H, H).
        count: how many, the largest first; all H unless given.
        skip: steps at the beginning that turn the frame but are not counted.

    Returns:
        Exponents per step, each sequence's in falling order, shape (B, count); minus infinity where
        a direction is lost for good.

    Raises:
        ValueError: if a shape or a number does not fit, or an entry is not finite.
    """
    doors.shape("J", J, ("T", "B", J.shape[-1], J.shape[-1]))
    doors.finite("J", J)
    T, B, H, _ = J.shape
    return _average(lambda t, Q: J[t] @ Q, T, B, H, count, skip, np.full(B, T - skip))


def along(tape: unroll.Tape, count: int | None = None, skip: int = 0) -> np.ndarray:
    """Exponents along the states that a vanilla network ran through, without forming a Jacobian.

    Args:
        tape: from ``unroll.forward`` with a vanilla cell.
        count: how many, the largest first; all H unless given.
        skip: steps at the beginning that turn the frame but are not counted.

    Returns:
        Exponents per step, each sequence's in falling order, shape (B, count); minus infinity where
        a direction is lost for good. Padded steps do not count.

    Raises:
        ValueError: if a number does not fit, the cell is no vanilla cell, or a sequence has no step to count.
    """
    slope, W_h, mask = jacobians.slopes(tape), tape.params.recurrent_weights, tape.mask
    T, B, H = slope.shape

    def step(t, Q):
        new = slope[t, :, :, None] * (W_h @ Q)
        return new if mask is None else np.where(mask[t, :, :, None], new, Q)

    real = np.full(B, T - skip) if mask is None else mask[skip:, :, 0].sum(axis=0)
    return _average(step, T, B, H, count, skip, real)


def _average(step, T: int, B: int, H: int, count, skip: int, real) -> np.ndarray:
    """Add up log |R_ii| over the steps that count, and divide by their number."""
    count = H if count is None else count
    doors.one_of("count", count, range(1, H + 1))
    doors.one_of("skip", skip, range(T))
    if not real.all():
        raise ValueError("lengths: expected every sequence to be longer than skip")
    # A frame in no special position: under a triangular matrix e_1 would stay e_1.
    frame = orthogonal(np.random.default_rng(0), H)[:, :count]
    Q, total = np.broadcast_to(frame, (B, H, count)), np.zeros((B, count))
    for t in range(T):
        Q, R = np.linalg.qr(step(t, Q))
        if t >= skip:
            with np.errstate(divide="ignore"):
                total += np.log(abs(np.diagonal(R, axis1=1, axis2=2)))
    return -np.sort(-total / real[:, None], axis=1)
