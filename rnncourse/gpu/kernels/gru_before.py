"""The GRU that resets before the product: two products a step, one after the other. cuDNN has no such cell."""

import torch

from rnncourse.gpu.kernels import tiles
from rnncourse.gpu.kernels.language import jit, tl


@jit
def forward(
    ax, W, own, states, saved, lengths, T, B, H,
    BLOCK: tl.constexpr, WIDE: tl.constexpr, SUM: tl.constexpr, INTERPRETED: tl.constexpr,
):  # fmt: skip
    """All steps. ax and saved (T, B, 3 H): pre-activations of the inputs, and r, z, n; states (1, T + 1, B, H)."""
    rows, units, inside = tiles.place(B, H, BLOCK, WIDE)
    tile, gates = rows[:, None] * H + units[None, :], rows[:, None] * 3 * H + units[None, :]
    W_r, W_z = tiles.forward_weights(W, 0, H, WIDE), tiles.forward_weights(W, 1, H, WIDE)
    W_n = tiles.forward_weights(W, 2, H, WIDE)
    length = tl.load(lengths + rows, rows < B, other=0)[:, None]
    h = tiles.load(states + tile, inside, SUM)
    for t in range(T):
        a = ax + t * B * 3 * H + gates
        r = tiles.sigmoid(tiles.load(a, inside, SUM) + tiles.product(h, W_r, SUM, INTERPRETED))
        z = tiles.sigmoid(tiles.load(a + H, inside, SUM) + tiles.product(h, W_z, SUM, INTERPRETED))
        n = tiles.tanh(tiles.load(a + 2 * H, inside, SUM) + tiles.product(r * h, W_n, SUM, INTERPRETED))
        h = tl.where(t < length, z * h + (1 - z) * n, h)
        kept = saved + t * B * 3 * H + gates
        tl.store(kept, r, inside)
        tl.store(kept + H, z, inside)
        tl.store(kept + 2 * H, n, inside)
        tl.store(states + (t + 1) * B * H + tile, h, inside)


@jit
def backward(
    W, own, states, saved, d_states, lengths, d_pre, d_start, T, B, H,
    BLOCK: tl.constexpr, WIDE: tl.constexpr, SUM: tl.constexpr, INTERPRETED: tl.constexpr,
):  # fmt: skip
    """All steps, the last first: s is the gradient that has arrived at h_t; d_pre (T, B, 3 H)."""
    rows, units, inside = tiles.place(B, H, BLOCK, WIDE)
    tile, gates = rows[:, None] * H + units[None, :], rows[:, None] * 3 * H + units[None, :]
    W_r, W_z = tiles.backward_weights(W, 0, H, WIDE), tiles.backward_weights(W, 1, H, WIDE)
    W_n = tiles.backward_weights(W, 2, H, WIDE)
    length = tl.load(lengths + rows, rows < B, other=0)[:, None]
    s = tiles.load(d_states + T * B * H + tile, inside, SUM)
    for step in range(T):
        t = T - 1 - step
        kept = saved + t * B * 3 * H + gates
        r, z = tiles.load(kept, inside, SUM), tiles.load(kept + H, inside, SUM)
        n = tiles.load(kept + 2 * H, inside, SUM)
        before = tiles.load(states + t * B * H + tile, inside, SUM)
        real = t < length
        d_n = tl.where(real, s * (1 - z) * (1 - n * n), 0.0)
        d_z = tl.where(real, s * (before - n) * z * (1 - z), 0.0)
        d_rest = tiles.product(d_n, W_n, SUM, INTERPRETED)  # at r * h_{t-1}
        d_r = d_rest * before * r * (1 - r)
        out = d_pre + t * B * 3 * H + gates
        tl.store(out, d_r, inside)
        tl.store(out + H, d_z, inside)
        tl.store(out + 2 * H, d_n, inside)
        back = tiles.product(d_r, W_r, SUM, INTERPRETED) + tiles.product(d_z, W_z, SUM, INTERPRETED)
        back += s * z + d_rest * r
        s = tl.where(real, back, s) + tiles.load(d_states + t * B * H + tile, inside, SUM)
    tl.store(d_start + tile, s, inside)


def gather(own, states, saved, d_pre) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of ax and of the recurrent weights: those of n saw r * h_{t-1}, the others h_{t-1}."""
    H = states.shape[-1]
    before, flat = states[0, :-1], d_pre.flatten(0, 1)
    reset = (saved[..., :H] * before).flatten(0, 1)
    d_W = torch.cat([flat[:, : 2 * H].T @ before.flatten(0, 1), flat[:, 2 * H :].T @ reset])
    return d_pre, d_W, torch.zeros_like(own)
