"""The kernels as operators of torch: it differentiates them, compiles around them, and knows the shapes they give.

``torch.ops.rnncourse.fused_forward`` runs all steps of a cell; its gradient is ``fused_backward``, and that has
none of its own: second derivatives are the loop's affair.
"""

import importlib
from typing import NamedTuple

import torch

BLOCK = 16  # rows of the batch in a program: the fewest that a tensor core multiplies


class Kind(NamedTuple):
    """What the launch of a cell's kernels needs to know.

    Attributes:
        module: where its kernels are, in this package.
        gates: pre-activation blocks of a hidden unit.
        states: tensors of its state.
        saved: blocks of a hidden unit that the way back reads.
        pre: blocks of a hidden unit that the way back writes.
        widest: hidden units of the widest tile whose weights stay on the chip, for numbers of 8, 4 and 2
            bytes: what the compiler fits into the 227 KiB of shared memory of an H100 or H200, with
            hardly a register spilled (tests/test_kernels_compile.py asks it). Float32 is multiplied
            without tensor cores, in more registers, so that its end is not between the two others'.
        constants: what is compiled in.
    """

    module: str
    gates: int
    states: int
    saved: int
    pre: int
    widest: dict
    constants: dict


KINDS = {
    "rnn-tanh": Kind("rnn", 1, 1, 0, 1, {8: 128, 4: 64, 2: 256}, {"RELU": False}),
    "rnn-relu": Kind("rnn", 1, 1, 0, 1, {8: 128, 4: 64, 2: 256}, {"RELU": True}),
    "lstm": Kind("lstm", 4, 2, 4, 4, {8: 32, 4: 64, 2: 128}, {}),
    "layer-norm-lstm": Kind("layer_norm_lstm", 4, 2, 8, 9, {8: 32, 4: 64, 2: 64}, {"EPSILON": 1e-5}),
    "gru": Kind("gru", 3, 1, 4, 3, {8: 64, 4: 64, 2: 128}, {}),
    "gru-before": Kind("gru_before", 3, 1, 3, 3, {8: 64, 4: 64, 2: 128}, {}),
}


def wide(H: int) -> int:
    """The width of a tile: the next power of two, 16 at least.

    Args:
        H: hidden units.

    Returns:
        A power of two.
    """
    return max(16, 1 << (H - 1).bit_length())


def warps(dtype: torch.dtype, H: int) -> int:
    """Groups of 32 threads in a program: more of them where a row of a tile is long, or registers run out.

    Args:
        dtype: of the arrays.
        H: hidden units.

    Returns:
        4 or 8.
    """
    return 8 if wide(H) * dtype.itemsize >= 256 else 4


def settings(kind: str, dtype: torch.dtype, H: int) -> dict:
    """What a kernel is compiled for.

    Args:
        kind: a name from ``KINDS``.
        dtype: of the arrays. Sums are float64 for float64, else float32.
        H: hidden units.

    Returns:
        The compile-time arguments, by name.
    """
    from rnncourse.gpu.kernels import language

    kept = language.tl.float64 if dtype == torch.float64 else language.tl.float32
    return KINDS[kind].constants | {
        "BLOCK": BLOCK,
        "WIDE": wide(H),
        "SUM": kept,
        "INTERPRETED": language.INTERPRETED,
    }


@torch.library.custom_op("rnncourse::fused_forward", mutates_args=())
def fused_forward(
    kind: str, ax: torch.Tensor, W_h: torch.Tensor, own: torch.Tensor, start: torch.Tensor, lengths: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """All steps of a recurrence.

    Args:
        kind: a name from ``KINDS``, of which G, S and K below are the gates, states and saved blocks.
        ax: W_x x_t + b, shape (T, B, G H).
        W_h: recurrent weights, shape (G H, H).
        own: what belongs to the cell, one axis.
        start: the initial state, shape (S, B, H).
        lengths: real steps of each sequence, int32, shape (B,).

    Returns:
        ``(states, saved)``: the states from the first on, shape (S, T + 1, B, H), and what the way back
        reads, shape (T, B, K H).
    """
    states, saved = _results(kind, ax, W_h, own, start, lengths)
    states[:, 0] = start
    tensors = [tensor.contiguous() for tensor in (ax, W_h, own)]
    _launch(kind, "forward", *tensors, states, saved, lengths.contiguous())
    return states, saved


@fused_forward.register_fake
def _results(kind, ax, W_h, own, start, lengths):
    (T, B, _), (S, _, H) = ax.shape, start.shape
    return ax.new_empty(S, T + 1, B, H), ax.new_empty(T, B, KINDS[kind].saved * H)


@torch.library.custom_op("rnncourse::fused_backward", mutates_args=())
def fused_backward(
    kind: str,
    W_h: torch.Tensor,
    own: torch.Tensor,
    states: torch.Tensor,
    saved: torch.Tensor,
    d_states: torch.Tensor,
    lengths: torch.Tensor,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The way back through all steps. Products over steps (weight gradients) are left to one product outside.

    Args:
        kind: a name from ``KINDS``.
        W_h: recurrent weights, shape (G H, H).
        own: what belongs to the cell, one axis.
        states: from :func:`fused_forward`.
        saved: from :func:`fused_forward`.
        d_states: immediate gradients at every state, shape (S, T + 1, B, H).
        lengths: real steps of each sequence, int32, shape (B,).

    Returns:
        ``(d_pre, d_start)``: total gradients at what the cell's module names, shape (T, B, P H), and at the
        initial state, shape (S, B, H).
    """
    d_pre, d_start = _gradients(kind, W_h, own, states, saved, d_states, lengths)
    tensors = [tensor.contiguous() for tensor in (W_h, own, states, saved, d_states)]
    _launch(kind, "backward", *tensors, lengths.contiguous(), d_pre, d_start)
    return d_pre, d_start


@fused_backward.register_fake
def _gradients(kind, W_h, own, states, saved, d_states, lengths):
    S, steps, B, H = states.shape
    return states.new_empty(steps - 1, B, KINDS[kind].pre * H), states.new_empty(S, B, H)


def _launch(kind: str, way: str, *tensors: torch.Tensor) -> None:
    """One launch: as many programs as there are blocks of rows."""
    states = tensors[3 if way == "forward" else 2]
    _, steps, B, H = states.shape
    kernel = getattr(importlib.import_module(f"rnncourse.gpu.kernels.{KINDS[kind].module}"), way)
    with torch.cuda.device_of(states):
        compiled_in = settings(kind, states.dtype, H)
        kernel[(-(-B // BLOCK),)](*tensors, steps - 1, B, H, **compiled_in, num_warps=warps(states.dtype, H))


def _keep(ctx, inputs, output):
    kind, _, W_h, own, _, lengths = inputs
    ctx.kind = kind
    ctx.save_for_backward(W_h, own, *output, lengths)


def _pull(ctx, d_states, _):
    W_h, own, states, saved, lengths = ctx.saved_tensors
    d_pre, d_start = fused_backward(ctx.kind, W_h, own, states, saved, d_states, lengths)
    gather = importlib.import_module(f"rnncourse.gpu.kernels.{KINDS[ctx.kind].module}").gather
    d_ax, d_W, d_own = gather(own, states, saved, d_pre)
    return None, d_ax, d_W, d_own, d_start, None


fused_forward.register_autograd(_pull, setup_context=_keep)
