"""Lyapunov exponents: the rates at which products of Jacobians stretch and shrink, by QR."""

import numpy as np
import torch

from rnncourse import doors
from rnncourse.gpu import graph, products, unroll
from rnncourse.params import orthogonal


def exponents(J: torch.Tensor, count: int | None = None, skip: int = 0) -> torch.Tensor:
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
    J = graph.cut(J)
    doors.finite("J", J)
    T, B, H, _ = J.shape
    return _average(lambda t, Q: J[t] @ Q, (T, B, H), J, count, skip, torch.full((B,), T - skip))


def along(tape: unroll.Tape, count: int | None = None, skip: int = 0) -> torch.Tensor:
    """Exponents along the states that a network ran through, by ``torch.func.jvp`` of each step.

    Args:
        tape: from ``unroll.forward`` with a cell of one state.
        count: how many, the largest first; all H unless given.
        skip: steps at the beginning that turn the frame but are not counted.

    Returns:
        Exponents per step, each sequence's in falling order, shape (B, count); minus infinity where
        a direction is lost for good. Padded steps do not count.

    Raises:
        ValueError: if a number does not fit, the cell has several states, or a sequence has no step to count.
    """
    T, B, H = tape.outputs.shape

    def step(t, Q):
        return products.push(tape, Q.permute(2, 0, 1), t, t + 1).permute(1, 2, 0)

    real = torch.full((B,), T - skip) if tape.mask is None else tape.mask[skip:, :, 0].sum(dim=0)
    return _average(step, (T, B, H), tape.outputs, count, skip, real)


def _average(step, sizes: tuple, like: torch.Tensor, count: int | None, skip: int, real: torch.Tensor) -> torch.Tensor:
    """Add up log |R_ii| over the steps that count, and divide by their number."""
    T, B, H = sizes
    count = H if count is None else count
    doors.one_of("count", count, range(1, H + 1))
    doors.one_of("skip", skip, range(T))
    if not real.all():
        raise ValueError("lengths: expected every sequence to be longer than skip")
    # A frame in no special position: under a triangular matrix e_1 would stay e_1.
    frame = torch.as_tensor(orthogonal(np.random.default_rng(0), H)[:, :count].copy()).to(like)
    Q, total = frame.expand(B, H, count), torch.zeros(B, count).to(frame)
    for t in range(T):
        Q, R = torch.linalg.qr(step(t, Q))
        if t >= skip:
            total = total + R.diagonal(dim1=1, dim2=2).abs().log()
    return (total / real.to(total)[:, None]).sort(dim=1, descending=True).values
