"""The vanilla cell: h_t = phi(a_t), phi tanh or ReLU (an IRNN is a ReLU cell that starts at the identity)."""

import torch

from rnncourse.gpu.kernels import tiles
from rnncourse.gpu.kernels.language import jit, tl


@jit
def forward(
    ax, W, own, states, saved, lengths, T, B, H,
    RELU: tl.constexpr, BLOCK: tl.constexpr, WIDE: tl.constexpr, SUM: tl.constexpr, INTERPRETED: tl.constexpr,
):  # fmt: skip
    """All steps. ax (T, B, H); states (1, T + 1, B, H), the first of them h_0; nothing else is saved."""
    rows, units, inside = tiles.place(B, H, BLOCK, WIDE)
    tile = rows[:, None] * H + units[None, :]
    W_h = tiles.forward_weights(W, 0, H, WIDE)
    length = tl.load(lengths + rows, rows < B, other=0)[:, None]
    h = tiles.load(states + tile, inside, SUM)
    for t in range(T):
        a = tiles.load(ax + t * B * H + tile, inside, SUM) + tiles.product(h, W_h, SUM, INTERPRETED)
        new = tl.where(a < 0, 0.0, a) if RELU else tiles.tanh(a)  # a GPU's maximum would make 0 of NaN
        h = tl.where(t < length, new, h)
        tl.store(states + (t + 1) * B * H + tile, h, inside)


@jit
def backward(
    W, own, states, saved, d_states, lengths, d_pre, d_start, T, B, H,
    RELU: tl.constexpr, BLOCK: tl.constexpr, WIDE: tl.constexpr, SUM: tl.constexpr, INTERPRETED: tl.constexpr,
):  # fmt: skip
    """All steps, the last first: s is the gradient that has arrived at h_t, d_pre (T, B, H) that at a_t."""
    rows, units, inside = tiles.place(B, H, BLOCK, WIDE)
    tile = rows[:, None] * H + units[None, :]
    W_h = tiles.backward_weights(W, 0, H, WIDE)
    length = tl.load(lengths + rows, rows < B, other=0)[:, None]
    s = tiles.load(d_states + T * B * H + tile, inside, SUM)
    for step in range(T):
        t = T - 1 - step
        h = tiles.load(states + (t + 1) * B * H + tile, inside, SUM)
        slope = tl.where(h <= 0, 0.0, 1.0) if RELU else 1 - h * h
        delta = tl.where(t < length, s * slope, 0.0)
        tl.store(d_pre + t * B * H + tile, delta, inside)
        s = tl.where(t < length, tiles.product(delta, W_h, SUM, INTERPRETED), s)
        s += tiles.load(d_states + t * B * H + tile, inside, SUM)
    tl.store(d_start + tile, s, inside)


def gather(own, states, saved, d_pre) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of ax, of the recurrent weights, and of what belongs to the cell: one product over all steps."""
    return d_pre, d_pre.flatten(0, 1).T @ states[0, :-1].flatten(0, 1), torch.zeros_like(own)
