"""The GRU that resets after the product, as torch's does. Blocks r, z, n; the update gate keeps."""

import torch

from rnncourse.gpu.kernels import tiles
from rnncourse.gpu.kernels.language import jit, tl


@jit
def forward(
    ax, W, own, states, saved, lengths, T, B, H,
    BLOCK: tl.constexpr, WIDE: tl.constexpr, SUM: tl.constexpr, INTERPRETED: tl.constexpr,
):  # fmt: skip
    """All steps. ax (T, B, 3 H); own: b_hn (H,); saved (T, B, 4 H): r, z, n and q = W_hn h_{t-1} + b_hn."""
    rows, units, inside = tiles.place(B, H, BLOCK, WIDE)
    tile = rows[:, None] * H + units[None, :]
    W_r, W_z = tiles.forward_weights(W, 0, H, WIDE), tiles.forward_weights(W, 1, H, WIDE)
    W_n = tiles.forward_weights(W, 2, H, WIDE)
    b_hn = tl.load(own + units, units < H, other=0.0).to(SUM)[None, :]
    length = tl.load(lengths + rows, rows < B, other=0)[:, None]
    h = tiles.load(states + tile, inside, SUM)
    for t in range(T):
        a = ax + t * B * 3 * H + rows[:, None] * 3 * H + units[None, :]
        r = tiles.sigmoid(tiles.load(a, inside, SUM) + tiles.product(h, W_r, SUM, INTERPRETED))
        z = tiles.sigmoid(tiles.load(a + H, inside, SUM) + tiles.product(h, W_z, SUM, INTERPRETED))
        q = tiles.product(h, W_n, SUM, INTERPRETED) + b_hn
        n = tiles.tanh(tiles.load(a + 2 * H, inside, SUM) + r * q)
        h = tl.where(t < length, z * h + (1 - z) * n, h)
        kept = saved + t * B * 4 * H + rows[:, None] * 4 * H + units[None, :]
        tl.store(kept, r, inside)
        tl.store(kept + H, z, inside)
        tl.store(kept + 2 * H, n, inside)
        tl.store(kept + 3 * H, q, inside)
        tl.store(states + (t + 1) * B * H + tile, h, inside)


@jit
def backward(
    W, own, states, saved, d_states, lengths, d_pre, d_start, T, B, H,
    BLOCK: tl.constexpr, WIDE: tl.constexpr, SUM: tl.constexpr, INTERPRETED: tl.constexpr,
):  # fmt: skip
    """All steps, the last first: s is the gradient that has arrived at h_t; d_pre (T, B, 3 H)."""
    rows, units, inside = tiles.place(B, H, BLOCK, WIDE)
    tile = rows[:, None] * H + units[None, :]
    W_r, W_z = tiles.backward_weights(W, 0, H, WIDE), tiles.backward_weights(W, 1, H, WIDE)
    W_n = tiles.backward_weights(W, 2, H, WIDE)
    length = tl.load(lengths + rows, rows < B, other=0)[:, None]
    s = tiles.load(d_states + T * B * H + tile, inside, SUM)
    for step in range(T):
        t = T - 1 - step
        kept = saved + t * B * 4 * H + rows[:, None] * 4 * H + units[None, :]
        r, z = tiles.load(kept, inside, SUM), tiles.load(kept + H, inside, SUM)
        n, q = tiles.load(kept + 2 * H, inside, SUM), tiles.load(kept + 3 * H, inside, SUM)
        before = tiles.load(states + t * B * H + tile, inside, SUM)
        real = t < length
        d_n = tl.where(real, s * (1 - z) * (1 - n * n), 0.0)
        d_z = tl.where(real, s * (before - n) * z * (1 - z), 0.0)
        d_r = d_n * q * r * (1 - r)
        out = d_pre + t * B * 3 * H + rows[:, None] * 3 * H + units[None, :]
        tl.store(out, d_r, inside)
        tl.store(out + H, d_z, inside)
        tl.store(out + 2 * H, d_n, inside)
        back = s * z + tiles.product(d_r, W_r, SUM, INTERPRETED) + tiles.product(d_z, W_z, SUM, INTERPRETED)
        back += tiles.product(d_n * r, W_n, SUM, INTERPRETED)
        s = tl.where(real, back, s) + tiles.load(d_states + t * B * H + tile, inside, SUM)
    tl.store(d_start + tile, s, inside)


def gather(own, states, saved, d_pre) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of ax, of the recurrent weights and of b_hn: the reset stands between n and its product."""
    H = states.shape[-1]
    d_q = d_pre[..., 2 * H :] * saved[..., :H]
    d_ah = torch.cat([d_pre[..., : 2 * H], d_q], dim=-1).flatten(0, 1)
    return d_pre, d_ah.T @ states[0, :-1].flatten(0, 1), d_q.sum(dim=(0, 1))
