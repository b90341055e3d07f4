"""A recurrence in one launch: the kernels of ``gpu.kernels``, and the loop wherever they cannot run.

They need a CUDA device and Triton (or Triton's interpreter, for tests), and recurrent weights that fit beside
one another on one processor of the chip.
"""

import importlib.util
from typing import Any, NamedTuple

import torch

from rnncourse import doors
from rnncourse.gpu import cells, gru, gru_before, lstm, unroll
from rnncourse.gpu.kernels import ops

CELLS = {
    "rnn-tanh": cells.rnn("tanh"),
    "rnn-relu": cells.rnn("relu"),
    "lstm": lstm.plain(),
    "layer-norm-lstm": lstm.normed(),
    "gru": gru.reset_after(),
    "gru-before": gru_before.reset_before(),
}
DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
HOPPER = 227 * 1024  # bytes of shared memory that a program may have on an H100 or H200
SMALL = 99 * 1024  # and on the smallest chips that half the width is compiled for: capability 8.6 and 8.9
EPSILON = ops.KINDS["layer-norm-lstm"].constants["EPSILON"]
ENTRIES = 2**31  # an array's addresses are 32-bit numbers inside the kernels


def forward(kind: str, params: NamedTuple, inputs, initial_state: Any = None, lengths=None):
    """Run a cell over a batch of sequences, by a kernel where :func:`why_not` finds nothing against it.

    Args:
        kind: one of ``CELLS``; "gru" resets after the product, "gru-before" before it, and both keep.
        params: its parameters, tensors of one dtype on one device.
        inputs: x, shape (T, B, D). Padding may hold anything, NaN included.
        initial_state: h_0, shape (H,) for all or (B, H), or a tuple with one such tensor for
            each state of the cell; zeros unless given.
        lengths: real steps of each sequence, shape (B,); all T unless given. After its end a
            sequence keeps its state, and its outputs are zero.

    Returns:
        ``(outputs, final_state)``: h_1..h_T, shape (T, B, H), and the tuple of states after the last real
        step, each (B, H). They are part of the graph of what was given, if that requires gradients. The
        kernels can be differentiated once, the loop as often as one likes. Which of the two ran is not
        said here: ask :func:`why_not`.

    Raises:
        ValueError: as ``unroll.forward``, or if there is no such cell.
    """
    doors.one_of("kind", kind, tuple(CELLS))
    doors.cell_params(CELLS[kind], params)
    given = unroll.as_floats(inputs)
    doors.sequences("inputs", given, params[0].shape[1])
    if why_not(kind, params, given) is not None:
        floor = gru_before if kind == "gru-before" else unroll
        return floor.forward(CELLS[kind], params, inputs, initial_state, lengths)[:2]
    x, mask = unroll._enter(CELLS[kind], params, inputs, lengths)
    start = unroll._start(CELLS[kind], initial_state, x.shape[1], params)
    steps = None if mask is None else mask[:, :, 0].sum(dim=0, dtype=torch.int32)
    states = run(kind, params, x, start, steps)
    outputs = states[0, 1:]
    outputs = outputs if mask is None else torch.where(mask, outputs, 0)
    return outputs, tuple(part.clone() for part in states[:, -1])  # a view would keep every step alive


def run(kind: str, params: NamedTuple, x: torch.Tensor, start: tuple, lengths: torch.Tensor | None = None):
    """The kernel without doors: no check looks at a value, so nothing waits for the device.

    Args:
        kind: one of ``CELLS``.
        params: its parameters.
        x: inputs with clean padding, shape (T, B, D).
        start: the initial state, each (H,) or (B, H).
        lengths: real steps of each sequence, int32 on the device of x, shape (B,); all T unless given.

    Returns:
        Every state from the initial one on, shape (S, T + 1, B, H): S tensors make a state.
    """
    W_x, W_h, b, *own = params
    T, B, _ = x.shape
    ax = x @ W_x.T + b
    if kind == "layer-norm-lstm":
        from rnncourse.gpu.kernels import layer_norm_lstm

        gain_x, gain_h, shift, *rest = own
        ax = (gain_x * layer_norm_lstm.normalise(ax, EPSILON) + shift).to(ax.dtype)
        own = [gain_h, *rest]
    own = torch.cat(own) if own else W_h.new_empty(0)
    start = torch.stack([part.expand(B, W_h.shape[1]) for part in start])
    if lengths is None:
        lengths = torch.full((B,), T, dtype=torch.int32, device=x.device)
    return ops.fused_forward(kind, ax, W_h, own, start, lengths)[0]


def why_not(kind: str, params: NamedTuple, inputs) -> str | None:
    """What keeps a kernel from running.

    Args:
        kind: one of ``CELLS``.
        params: its parameters.
        inputs: x, shape (T, B, D).

    Returns:
        A sentence, or None if it can run.
    """
    W_h, H, facts = params[1], params[1].shape[-1], ops.KINDS[kind]
    blocks = max(facts.gates, facts.states, facts.saved, facts.pre)
    numbers = (inputs.shape[0] + 1) * inputs.shape[1] * H * blocks  # of states there is one more than steps
    if W_h.dtype not in DTYPES:
        return f"there are no kernels for {W_h.dtype}"
    if importlib.util.find_spec("triton") is None:
        return "Triton is not installed"
    if not (W_h.is_cuda or _interpreted()):
        return "the parameters are not on a CUDA device, and TRITON_INTERPRET=1 was not set"
    if (widest := widest_here(kind, W_h)) < H:
        return f"{H} hidden units: the recurrent weights of {kind} stay on this chip up to {widest} in {W_h.dtype}"
    if numbers >= ENTRIES:
        return f"an array would have {numbers} entries; addresses in the kernels end at {ENTRIES}"
    return None


def widest_here(kind: str, weights: torch.Tensor) -> int:
    """The most hidden units whose recurrent weights stay on the chip.

    Args:
        kind: one of ``CELLS``.
        weights: any of the parameters: its type and device count.

    Returns:
        H. Half of what an H100 takes where a program has less shared memory, which is a quarter of the
        weights; 0, so that the loop runs, where it has less than 99 KiB.
    """
    widest = ops.KINDS[kind].widest[weights.element_size()]
    if not weights.is_cuda:
        return widest
    room = torch.cuda.get_device_properties(weights.device).shared_memory_per_block_optin
    return widest if room >= HOPPER else widest // 2 if room >= SMALL else 0


def _interpreted() -> bool:
    from rnncourse.gpu.kernels import language

    return language.INTERPRETED
