"""A linear recurrence, unit by unit, in one launch: h_t = a_t * h_{t-1} + b_t.

Nothing but its own past moves a unit, so units are shared out among programs, and within a program a stretch of
steps is scanned at once. Its way back is the same recurrence from the end: s_t = g_t + a_{t+1} * s_{t+1}.

The scan multiplies up to 64 neighbouring factors. Where such a product leaves the range of numbers, it gives NaN
though every state may be finite: factors beyond 1 are the loop's affair.
"""

import importlib.util

import torch

from rnncourse import doors

CHUNK, BLOCK = 64, 32  # steps and units of a tile
TYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


def forward(factors: torch.Tensor, added: torch.Tensor, start: torch.Tensor | None = None) -> torch.Tensor:
    """Run the recurrence, by a kernel on a CUDA device where Triton is installed, else by a loop.

    Args:
        factors: a, shape (T, ...), of one floating type and device with the rest.
        added: b, in the same shape.
        start: h_0, in the shape of one step; zeros unless given.

    Returns:
        h_1..h_T, in the shape of the factors. It is part of the graph of what was given; the kernel can be
        differentiated once, the loop as often as one likes.

    Raises:
        ValueError: if a shape or a type does not fit.
    """
    if factors.ndim < 1 or not len(factors):
        raise ValueError(f"factors: expected at least one step, got shape {tuple(factors.shape)}")
    start = torch.zeros_like(factors[0]) if start is None else start
    for name, tensor, shape in [("added", added, factors.shape), ("start", start, factors.shape[1:])]:
        doors.shape(name, tensor, tuple(shape))
        if (tensor.dtype, tensor.device) != (factors.dtype, factors.device):
            there = f"{factors.dtype} on {factors.device} like factors"
            raise ValueError(f"{name}: expected {there}, got {tensor.dtype} on {tensor.device}")
    if not available(factors):
        return loop(factors, added, start)
    a, b = (tensor.reshape(len(tensor), -1) for tensor in (factors, added))
    return linear_scan(a, b, start.reshape(-1)).reshape(factors.shape)


def loop(factors: torch.Tensor, added: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """The recurrence as it stands.

    Args:
        factors: a, shape (T, ...).
        added: b, in the same shape.
        start: h_0, in the shape of one step.

    Returns:
        h_1..h_T, in the shape of the factors.
    """
    h, states = start, []
    for a, b in zip(factors, added, strict=True):
        h = a * h + b
        states.append(h)
    return torch.stack(states)


def available(factors: torch.Tensor) -> bool:
    """Whether the kernel can run: Triton is there, and a CUDA device or Triton's interpreter.

    Args:
        factors: of the recurrence; their device counts.

    Returns:
        Yes or no.
    """
    if importlib.util.find_spec("triton") is None or factors.dtype not in TYPES:
        return False
    from rnncourse.gpu.kernels import language

    return factors.is_cuda or language.INTERPRETED


@torch.library.custom_op("rnncourse::linear_scan", mutates_args=())
def linear_scan(a: torch.Tensor, b: torch.Tensor, start: torch.Tensor) -> torch.Tensor:
    """The recurrence as an operator: a and b (T, N), start (N,)."""
    return _launch(a, b, start, reverse=False)


@linear_scan.register_fake
def _states(a, b, start):
    return b.new_empty(b.shape)  # contiguous, as the kernel's results are, whatever b is


@torch.library.custom_op("rnncourse::linear_scan_back", mutates_args=())
def linear_scan_back(a: torch.Tensor, d_states: torch.Tensor) -> torch.Tensor:
    """s_t = g_t + a_{t+1} s_{t+1}, all (T, N)."""
    return _launch(a, d_states, torch.zeros_like(a[0]), reverse=True)


@linear_scan_back.register_fake
def _totals(a, d_states):
    return d_states.new_empty(d_states.shape)


def _launch(a: torch.Tensor, b: torch.Tensor, start: torch.Tensor, reverse: bool) -> torch.Tensor:
    """One program for each block of units. On the way back, step t's factor is that of step t + 1."""
    from rnncourse.gpu.kernels import language
    from rnncourse.gpu.kernels.linear_scan import scan

    a, b, start = a.contiguous(), b.contiguous(), start.contiguous()
    (T, N), states = b.shape, torch.empty_like(b)
    kept = language.tl.float64 if b.dtype == torch.float64 else language.tl.float32
    fixed = {"REVERSED": reverse, "CHUNK": CHUNK, "BLOCK": BLOCK, "SUM": kept}
    with torch.cuda.device_of(b):
        scan[(-(-N // BLOCK),)](a, b, start, states, T, N, int(reverse), **fixed)
    return states


def _keep(ctx, inputs, output):
    a, _, start = inputs
    ctx.save_for_backward(a, start, output)


def _pull(ctx, d_states):
    a, start, states = ctx.saved_tensors
    s = linear_scan_back(a, d_states)
    before = torch.cat([start[None], states[:-1]])
    return s * before, s, a[0] * s[0]


linear_scan.register_autograd(_pull, setup_context=_keep)
