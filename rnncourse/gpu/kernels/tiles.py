"""What the kernels share. A tile is (BLOCK, WIDE): rows of the batch by hidden units, padded to powers of two.

Loads give zero outside, and so the padding of weights, inputs and states is zero; stores leave it out.
"""

from rnncourse.gpu.kernels.language import jit, tl


@jit
def place(B, H, BLOCK: tl.constexpr, WIDE: tl.constexpr):
    """The rows and units of this program, and which of them exist."""
    rows = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    units = tl.arange(0, WIDE)
    inside = (rows[:, None] < B) & (units[None, :] < H)
    return rows, units, inside


@jit
def forward_weights(W, gate, H, WIDE: tl.constexpr):
    """The block of one gate, transposed: (from, to). ``rows @ it`` is W h for every row."""
    units = tl.arange(0, WIDE)
    inside = (units[:, None] < H) & (units[None, :] < H)
    return tl.load(W + gate * H * H + units[None, :] * H + units[:, None], inside, other=0.0)


@jit
def backward_weights(W, gate, H, WIDE: tl.constexpr):
    """The block of one gate as it lies: (to, from). ``rows @ it`` is the transpose of W times every row."""
    units = tl.arange(0, WIDE)
    inside = (units[:, None] < H) & (units[None, :] < H)
    return tl.load(W + gate * H * H + units[:, None] * H + units[None, :], inside, other=0.0)


@jit
def load(at, inside, SUM: tl.constexpr):
    """A tile, in the type that sums are kept in."""
    return tl.load(at, inside, other=0.0).to(SUM)


@jit
def product(rows, weights, SUM: tl.constexpr, INTERPRETED: tl.constexpr):
    """Rows times weights: factors in the type of the weights, sums in SUM.

    The interpreter has no bfloat16 products. It gets the same factors widened, which changes no product.
    """
    rows = rows.to(weights.dtype)
    if INTERPRETED:
        rows, weights = rows.to(SUM), weights.to(SUM)
    return tl.dot(rows, weights, input_precision="ieee").to(SUM)


@jit
def sigmoid(a):
    """1 / (1 + exp(-a)); where exp overflows, 0 is right."""
    return 1 / (1 + tl.exp(-a))


@jit
def tanh(a):
    """Of -2|a|, so that nothing overflows; the error is a rounding of 1, which near 0 is many of tanh itself."""
    e = tl.exp(-2 * tl.abs(a))
    size = (1 - e) / (1 + e)
    return tl.where(a < 0, -size, size)
