"""h_t = a_t h_{t-1} + b_t, unit by unit: a scan inside each stretch of steps, a loop over the stretches."""

from rnncourse.gpu.kernels.language import jit, tl


@jit
def join(a, b, a_late, b_late):
    """Two neighbouring stretches as one: h -> a_late (a h + b) + b_late."""
    return a_late * a, a_late * b + b_late


@jit
def scan(
    a, b, start, states, T, N, shift,
    REVERSED: tl.constexpr, CHUNK: tl.constexpr, BLOCK: tl.constexpr, SUM: tl.constexpr,
):  # fmt: skip
    """All steps for BLOCK of N units. a, b, states (T, N); start (N,). Step t takes its factor from a[t + shift]."""
    units = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    h = tl.load(start + units, units < N, other=0.0).to(SUM)
    for first in range(0, T, CHUNK):
        step = first + tl.arange(0, CHUNK)
        t = T - 1 - step if REVERSED else step
        tile = t.to(tl.int64)[:, None] * N + units[None, :]
        inside = (step < T)[:, None] & (units < N)[None, :]
        known = inside & (t + shift < T)[:, None]  # the way back begins with no factor: what it multiplies is 0
        factors = tl.load(a + tile + shift * N, known, other=0.0).to(SUM)
        added = tl.load(b + tile, inside, other=0.0).to(SUM)
        grown, gathered = tl.associative_scan((factors, added), 0, join)
        found = grown * h[None, :] + gathered
        tl.store(states + tile, found, inside)
        last = tl.arange(0, CHUNK)[:, None] == CHUNK - 1
        h = tl.sum(tl.where(last, found, 0.0), axis=0)
