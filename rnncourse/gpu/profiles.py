"""How long gradients are: at every step, and by how far they have travelled."""

import torch

from rnncourse import doors
from rnncourse.gpu import graph, unroll


def by_step(gradients: torch.Tensor) -> torch.Tensor:
    """Length of s_t at every step.

    Args:
        gradients: s_1..s_T, as ``unroll.backward`` returns them in ``hidden``, shape (T, B, H).

    Returns:
        The lengths, shape (T, B).

    Raises:
        ValueError: if the shape does not fit.
    """
    doors.sequences("gradients", gradients, "H")
    return graph.cut(gradients).norm(dim=2)


def by_lag(tape: unroll.Tape, d_outputs: torch.Tensor, lags: int) -> torch.Tensor:
    """Length of what a loss sends back over 0, 1, ... steps, :eq:`def-lag-profile`.

    All losses move together: a further lag is one ``torch.func.vjp`` of all steps.

    Args:
        tape: from ``unroll.forward`` with a cell of one state, without padding.
        d_outputs: g_t, what each loss says at its own step, shape (T, B, H).
        lags: the longest lag, less than T.

    Returns:
        The mean length of (dh_k/dh_{k-lag})^T g_k over all k > lag, for lags 0, 1, ..., shape (lags + 1, B).

    Raises:
        ValueError: if a shape or the lag does not fit, the tape has padding, or the cell has several states.
    """
    if tape.cell.states != 1:
        raise ValueError(f"cell: expected one state array, got {tape.cell.states} of the {tape.cell.name} cell")
    doors.shape("d_outputs", d_outputs, tuple(tape.outputs.shape))
    doors.one_of("lags", lags, range(len(d_outputs)))
    if tape.mask is not None:
        raise ValueError("tape: expected no padding, for a lag across it means nothing")
    W_x, W_h, b, *own = graph.cut(tape.params)
    h, ax = graph.cut(tape.hidden)[:-1], graph.cut(tape.inputs) @ W_x.T + b
    term, lengths = graph.cut(d_outputs), []
    for k in range(lags + 1):
        lengths.append(term.norm(dim=2).mean(dim=0))
        if k < lags:
            many = len(term)
            step = torch.func.vjp(lambda h, ax=ax[:many]: tape.cell.step(own, ax, h @ W_h.T, (h,))[0], h[:many])[1]
            term = step(term)[0][1:]
    return torch.stack(lengths)
