"""The LSTM. Blocks i, f, g, o; the state is (h, c)."""

import torch

from rnncourse.gpu.kernels import tiles
from rnncourse.gpu.kernels.language import jit, tl


@jit
def forward(
    ax, W, own, states, saved, lengths, T, B, H,
    BLOCK: tl.constexpr, WIDE: tl.constexpr, SUM: tl.constexpr, INTERPRETED: tl.constexpr,
):  # fmt: skip
    """All steps. ax and saved (T, B, 4 H): pre-activations of the inputs, and the gates; states (2, T + 1, B, H)."""
    rows, units, inside = tiles.place(B, H, BLOCK, WIDE)
    tile, gates = rows[:, None] * H + units[None, :], rows[:, None] * 4 * H + units[None, :]
    W_i, W_f = tiles.forward_weights(W, 0, H, WIDE), tiles.forward_weights(W, 1, H, WIDE)
    W_g, W_o = tiles.forward_weights(W, 2, H, WIDE), tiles.forward_weights(W, 3, H, WIDE)
    length = tl.load(lengths + rows, rows < B, other=0)[:, None]
    cells = states + (T + 1) * B * H
    h, c = tiles.load(states + tile, inside, SUM), tiles.load(cells + tile, inside, SUM)
    for t in range(T):
        a = ax + t * B * 4 * H + gates
        i = tiles.sigmoid(tiles.load(a, inside, SUM) + tiles.product(h, W_i, SUM, INTERPRETED))
        f = tiles.sigmoid(tiles.load(a + H, inside, SUM) + tiles.product(h, W_f, SUM, INTERPRETED))
        g = tiles.tanh(tiles.load(a + 2 * H, inside, SUM) + tiles.product(h, W_g, SUM, INTERPRETED))
        o = tiles.sigmoid(tiles.load(a + 3 * H, inside, SUM) + tiles.product(h, W_o, SUM, INTERPRETED))
        c = tl.where(t < length, f * c + i * g, c)
        h = tl.where(t < length, o * tiles.tanh(c), h)
        kept = saved + t * B * 4 * H + gates
        tl.store(kept, i, inside)
        tl.store(kept + H, f, inside)
        tl.store(kept + 2 * H, g, inside)
        tl.store(kept + 3 * H, o, inside)
        tl.store(states + (t + 1) * B * H + tile, h, inside)
        tl.store(cells + (t + 1) * B * H + tile, c, inside)


@jit
def backward(
    W, own, states, saved, d_states, lengths, d_pre, d_start, T, B, H,
    BLOCK: tl.constexpr, WIDE: tl.constexpr, SUM: tl.constexpr, INTERPRETED: tl.constexpr,
):  # fmt: skip
    """All steps, the last first: s and k are the gradients that have arrived at h_t and c_t; d_pre (T, B, 4 H)."""
    rows, units, inside = tiles.place(B, H, BLOCK, WIDE)
    tile, gates = rows[:, None] * H + units[None, :], rows[:, None] * 4 * H + units[None, :]
    W_i, W_f = tiles.backward_weights(W, 0, H, WIDE), tiles.backward_weights(W, 1, H, WIDE)
    W_g, W_o = tiles.backward_weights(W, 2, H, WIDE), tiles.backward_weights(W, 3, H, WIDE)
    length = tl.load(lengths + rows, rows < B, other=0)[:, None]
    cells, d_cells = states + (T + 1) * B * H, d_states + (T + 1) * B * H
    s = tiles.load(d_states + T * B * H + tile, inside, SUM)
    k = tiles.load(d_cells + T * B * H + tile, inside, SUM)
    for step in range(T):
        t = T - 1 - step
        kept = saved + t * B * 4 * H + gates
        i, f = tiles.load(kept, inside, SUM), tiles.load(kept + H, inside, SUM)
        g, o = tiles.load(kept + 2 * H, inside, SUM), tiles.load(kept + 3 * H, inside, SUM)
        shown = tiles.tanh(tiles.load(cells + (t + 1) * B * H + tile, inside, SUM))
        before = tiles.load(cells + t * B * H + tile, inside, SUM)
        real = t < length
        d_c = k + s * o * (1 - shown * shown)
        d_i = tl.where(real, d_c * g * i * (1 - i), 0.0)
        d_f = tl.where(real, d_c * before * f * (1 - f), 0.0)
        d_g = tl.where(real, d_c * i * (1 - g * g), 0.0)
        d_o = tl.where(real, s * shown * o * (1 - o), 0.0)
        out = d_pre + t * B * 4 * H + gates
        tl.store(out, d_i, inside)
        tl.store(out + H, d_f, inside)
        tl.store(out + 2 * H, d_g, inside)
        tl.store(out + 3 * H, d_o, inside)
        back = tiles.product(d_i, W_i, SUM, INTERPRETED) + tiles.product(d_f, W_f, SUM, INTERPRETED)
        back += tiles.product(d_g, W_g, SUM, INTERPRETED) + tiles.product(d_o, W_o, SUM, INTERPRETED)
        s = tl.where(real, back, s) + tiles.load(d_states + t * B * H + tile, inside, SUM)
        k = tl.where(real, d_c * f, k) + tiles.load(d_cells + t * B * H + tile, inside, SUM)
    tl.store(d_start + tile, s, inside)
    tl.store(d_start + B * H + tile, k, inside)


def gather(own, states, saved, d_pre) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of ax, of the recurrent weights, and of what belongs to the cell: one product over all steps."""
    return d_pre, d_pre.flatten(0, 1).T @ states[0, :-1].flatten(0, 1), torch.zeros_like(own)
