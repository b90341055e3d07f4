"""The LSTM with layer normalisation. What is normalised of the inputs needs no loop and is done outside.

cuDNN has no such cell. The means and variances of a row are taken inside the program that owns the row.
"""

import torch

from rnncourse.gpu.kernels import tiles
from rnncourse.gpu.kernels.language import jit, tl


@jit
def forward(
    ax, W, own, states, saved, lengths, T, B, H,
    EPSILON: tl.constexpr, BLOCK: tl.constexpr, WIDE: tl.constexpr, SUM: tl.constexpr, INTERPRETED: tl.constexpr,
):  # fmt: skip
    """All steps. ax (T, B, 4 H), normalised; own (6 H,): gamma_h, gamma_c, beta_c; saved (T, B, 8 H): gates, W_h h."""
    rows, units, inside = tiles.place(B, H, BLOCK, WIDE)
    tile = rows[:, None] * H + units[None, :]
    W_i, W_f = tiles.forward_weights(W, 0, H, WIDE), tiles.forward_weights(W, 1, H, WIDE)
    W_g, W_o = tiles.forward_weights(W, 2, H, WIDE), tiles.forward_weights(W, 3, H, WIDE)
    y_i, y_f = row(own, 0, H, WIDE, SUM), row(own, 1, H, WIDE, SUM)
    y_g, y_o = row(own, 2, H, WIDE, SUM), row(own, 3, H, WIDE, SUM)
    y_c, beta = row(own, 4, H, WIDE, SUM), row(own, 5, H, WIDE, SUM)
    length = tl.load(lengths + rows, rows < B, other=0)[:, None]
    cells = states + (T + 1) * B * H
    h, c = tiles.load(states + tile, inside, SUM), tiles.load(cells + tile, inside, SUM)
    for t in range(T):
        p_i, p_f = tiles.product(h, W_i, SUM, INTERPRETED), tiles.product(h, W_f, SUM, INTERPRETED)
        p_g, p_o = tiles.product(h, W_g, SUM, INTERPRETED), tiles.product(h, W_o, SUM, INTERPRETED)
        mean, precision = over_gates(p_i, p_f, p_g, p_o, H, inside, EPSILON)
        a = ax + t * B * 4 * H + rows[:, None] * 4 * H + units[None, :]
        i = tiles.sigmoid(tiles.load(a, inside, SUM) + y_i * (p_i - mean) * precision)
        f = tiles.sigmoid(tiles.load(a + H, inside, SUM) + y_f * (p_f - mean) * precision)
        g = tiles.tanh(tiles.load(a + 2 * H, inside, SUM) + y_g * (p_g - mean) * precision)
        o = tiles.sigmoid(tiles.load(a + 3 * H, inside, SUM) + y_o * (p_o - mean) * precision)
        c = tl.where(t < length, f * c + i * g, c)
        n_c, _ = over_units(c, H, inside, EPSILON)
        h = tl.where((t < length) & inside, o * tiles.tanh(y_c * n_c + beta), h)
        kept = saved + t * B * 8 * H + rows[:, None] * 8 * H + units[None, :]
        store4(kept, i, f, g, o, H, inside)
        store4(kept + 4 * H, p_i, p_f, p_g, p_o, H, inside)
        tl.store(states + (t + 1) * B * H + tile, h, inside)
        tl.store(cells + (t + 1) * B * H + tile, c, inside)


@jit
def backward(
    W, own, states, saved, d_states, lengths, d_pre, d_start, T, B, H,
    EPSILON: tl.constexpr, BLOCK: tl.constexpr, WIDE: tl.constexpr, SUM: tl.constexpr, INTERPRETED: tl.constexpr,
):  # fmt: skip
    """All steps, the last first. d_pre (T, B, 9 H): at the gates' sums, at W_h h, at what the last tanh takes."""
    rows, units, inside = tiles.place(B, H, BLOCK, WIDE)
    tile = rows[:, None] * H + units[None, :]
    W_i, W_f = tiles.backward_weights(W, 0, H, WIDE), tiles.backward_weights(W, 1, H, WIDE)
    W_g, W_o = tiles.backward_weights(W, 2, H, WIDE), tiles.backward_weights(W, 3, H, WIDE)
    y_i, y_f = row(own, 0, H, WIDE, SUM), row(own, 1, H, WIDE, SUM)
    y_g, y_o = row(own, 2, H, WIDE, SUM), row(own, 3, H, WIDE, SUM)
    y_c, beta = row(own, 4, H, WIDE, SUM), row(own, 5, H, WIDE, SUM)
    length = tl.load(lengths + rows, rows < B, other=0)[:, None]
    cells, d_cells = states + (T + 1) * B * H, d_states + (T + 1) * B * H
    s = tiles.load(d_states + T * B * H + tile, inside, SUM)
    k = tiles.load(d_cells + T * B * H + tile, inside, SUM)
    for step in range(T):
        t = T - 1 - step
        kept = saved + t * B * 8 * H + rows[:, None] * 8 * H + units[None, :]
        i, f, g, o = load4(kept, H, inside, SUM)
        p_i, p_f, p_g, p_o = load4(kept + 4 * H, H, inside, SUM)
        n_c, precision_c = over_units(tiles.load(cells + (t + 1) * B * H + tile, inside, SUM), H, inside, EPSILON)
        before = tiles.load(cells + t * B * H + tile, inside, SUM)
        real = (t < length) & inside
        shown = tiles.tanh(y_c * n_c + beta)
        d_last = tl.where(real, s * o * (1 - shown * shown), 0.0)
        d_c = k + pull(d_last * y_c, n_c, precision_c, total(d_last * y_c) / H, total(d_last * y_c * n_c) / H)
        d_i = tl.where(real, d_c * g * i * (1 - i), 0.0)
        d_f = tl.where(real, d_c * before * f * (1 - f), 0.0)
        d_g = tl.where(real, d_c * i * (1 - g * g), 0.0)
        d_o = tl.where(real, s * shown * o * (1 - o), 0.0)
        mean, precision = over_gates(p_i, p_f, p_g, p_o, H, inside, EPSILON)
        n_i, n_f = (p_i - mean) * precision, (p_f - mean) * precision
        n_g, n_o = (p_g - mean) * precision, (p_o - mean) * precision
        e_i, e_f, e_g, e_o = d_i * y_i, d_f * y_f, d_g * y_g, d_o * y_o
        level = (total(e_i) + total(e_f) + total(e_g) + total(e_o)) / (4 * H)
        along = (total(e_i * n_i) + total(e_f * n_f) + total(e_g * n_g) + total(e_o * n_o)) / (4 * H)
        q_i = tl.where(real, pull(e_i, n_i, precision, level, along), 0.0)
        q_f = tl.where(real, pull(e_f, n_f, precision, level, along), 0.0)
        q_g = tl.where(real, pull(e_g, n_g, precision, level, along), 0.0)
        q_o = tl.where(real, pull(e_o, n_o, precision, level, along), 0.0)
        out = d_pre + t * B * 9 * H + rows[:, None] * 9 * H + units[None, :]
        store4(out, d_i, d_f, d_g, d_o, H, inside)
        store4(out + 4 * H, q_i, q_f, q_g, q_o, H, inside)
        tl.store(out + 8 * H, d_last, inside)
        back = tiles.product(q_i, W_i, SUM, INTERPRETED) + tiles.product(q_f, W_f, SUM, INTERPRETED)
        back += tiles.product(q_g, W_g, SUM, INTERPRETED) + tiles.product(q_o, W_o, SUM, INTERPRETED)
        s = tl.where(real, back, s) + tiles.load(d_states + t * B * H + tile, inside, SUM)
        k = tl.where(real, d_c * f, k) + tiles.load(d_cells + t * B * H + tile, inside, SUM)
    tl.store(d_start + tile, s, inside)
    tl.store(d_start + B * H + tile, k, inside)


@jit
def row(own, block, H, WIDE: tl.constexpr, SUM: tl.constexpr):
    """One block of what belongs to the cell, (1, WIDE)."""
    units = tl.arange(0, WIDE)
    return tl.load(own + block * H + units, units < H, other=0.0).to(SUM)[None, :]


@jit
def total(tile):
    """The sum of each row, (BLOCK, 1)."""
    return tl.sum(tile, axis=1)[:, None]


@jit
def over_units(tile, H, inside, EPSILON: tl.constexpr):
    """A row with mean 0 and variance 1, and what it was multiplied by."""
    centred = tl.where(inside, tile - total(tile) / H, 0.0)
    precision = 1 / tl.sqrt(total(centred * centred) / H + EPSILON)
    return centred * precision, precision


@jit
def over_gates(i, f, g, o, H, inside, EPSILON: tl.constexpr):
    """Mean and 1 / sqrt(variance + epsilon) over the 4 H entries of a row."""
    mean = (total(i) + total(f) + total(g) + total(o)) / (4 * H)
    i, f = tl.where(inside, i - mean, 0.0), tl.where(inside, f - mean, 0.0)
    g, o = tl.where(inside, g - mean, 0.0), tl.where(inside, o - mean, 0.0)
    variance = (total(i * i) + total(f * f) + total(g * g) + total(o * o)) / (4 * H)
    return mean, 1 / tl.sqrt(variance + EPSILON)


@jit
def pull(gradient, normalised, precision, level, along):
    """Back through a normalisation: what moves the mean or the length of a row has no effect."""
    return precision * (gradient - level - normalised * along)


@jit
def store4(at, i, f, g, o, H, inside):
    """Four blocks side by side."""
    tl.store(at, i, inside)
    tl.store(at + H, f, inside)
    tl.store(at + 2 * H, g, inside)
    tl.store(at + 3 * H, o, inside)


@jit
def load4(at, H, inside, SUM: tl.constexpr):
    """Four blocks side by side."""
    i, f = tiles.load(at, inside, SUM), tiles.load(at + H, inside, SUM)
    return i, f, tiles.load(at + 2 * H, inside, SUM), tiles.load(at + 3 * H, inside, SUM)


def gather(own, states, saved, d_pre, epsilon: float = 1e-5) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Gradients of ax, of the recurrent weights, and of the gains and the shift."""
    H = states.shape[-1]
    d_ax, d_ah, d_last = d_pre[..., : 4 * H], d_pre[..., 4 * H : 8 * H], d_pre[..., 8 * H :]
    n_h, n_c = normalise(saved[..., 4 * H :], epsilon), normalise(states[1, 1:], epsilon)
    d_own = [(d_ax * n_h).sum(dim=(0, 1)), (d_last * n_c).sum(dim=(0, 1)), d_last.sum(dim=(0, 1))]
    d_W = d_ah.flatten(0, 1).T @ states[0, :-1].flatten(0, 1)
    return d_ax, d_W, torch.cat(d_own).to(own.dtype)


def normalise(rows: torch.Tensor, epsilon: float) -> torch.Tensor:
    """Rows with mean 0 and variance 1, computed in float32 at least."""
    wide = rows if rows.dtype == torch.float64 else rows.float()
    return torch.nn.functional.layer_norm(wide, wide.shape[-1:], eps=epsilon)
