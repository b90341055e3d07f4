"""What every cell must stand: the same questions asked of each, on both floors."""

from types import SimpleNamespace

import numpy as np
import torch
from cell_oracles import RAGGED, autograd
from proof import agree

from rnncourse import bridge, gpu, gradcheck, reference


def run(floor, cell, p, lengths=None, loop="unroll", start="shared", device=None):
    """Forward and backward; everything that comes out, as arrays."""
    tree = (p.params, p.x, tuple(p.start), p.g, p.d_final)
    params, x, first, g, d_final = tree if floor is reference else bridge.to_torch(tree, device)
    loop = getattr(floor, loop)
    outputs, final, tape = loop.forward(cell, params, x, first if start == "shared" else None, lengths)
    back = loop.backward(tape, g, d_final)
    found = (outputs, final, back.params, back.inputs, back.initial_state, back.hidden)
    return found if floor is reference else bridge.to_numpy(found)


def everything(oracle):
    return oracle.outputs, oracle.final, oracle.params, oracle.inputs, oracle.initial_state, oracle.hidden


def against_autograd(floor, cell, p, step, lengths=None, tolerance=1e-12, loop="unroll"):
    """Outputs, final states and all six kinds of gradient against a plain loop, one sequence at a time."""
    *found, hidden = run(floor, cell, p, lengths, loop)
    if lengths is not None:  # on padding, the library carries on what arrives at the final state
        hidden = np.where(np.arange(len(hidden))[:, None, None] < np.array(lengths)[:, None], hidden, 0)
    agree((*found, hidden), everything(autograd(p, step, lengths)), tolerance)


def on_a_device(make, p, loop="unroll"):
    """The same on a CUDA device as by hand, with ragged lengths."""
    ours, theirs = (run(floor, make(floor), p, RAGGED, loop, device="cuda") for floor in (reference, gpu))
    agree(theirs, ours, 1e-12)


def ragged(p):
    """NaN in the padding of inputs and arriving gradients."""
    for b, length in enumerate(RAGGED):
        p.x[length:, b] = np.nan
        p.g[length:, b] = np.nan
    return p


def value(cell, p, params, x, start, loop=reference.unroll):
    """The scalar whose gradient the backward pass gives, by the library's forward pass."""
    outputs, final, _ = loop.forward(cell, params, x, start)
    return (outputs * p.g).sum() + sum((part * d).sum() for part, d in zip(final, p.d_final, strict=True))


def without_calculus(cell, p, method, tolerance, loop=reference.unroll):
    """Parameters, inputs and each initial state, against the complex step or central differences."""
    slope = getattr(gradcheck, method)
    _, _, tape = loop.forward(cell, p.params, p.x, tuple(p.start))
    back = loop.backward(tape, p.g, p.d_final)
    start = tuple(p.start)
    agree(back.params, slope(lambda q: value(cell, p, q, p.x, start, loop), p.params), tolerance)
    agree(back.inputs, slope(lambda x: value(cell, p, p.params, x, start, loop), p.x), tolerance)
    for k, part in enumerate(back.initial_state):

        def of_start(h, k=k):
            return value(cell, p, p.params, p.x, (*start[:k], h, *start[k + 1 :]), loop)

        agree(part, slope(of_start, start[k]), tolerance)


def float32_stays(floor, cell, narrow, loop="unroll", tolerance=2e-5):
    """Single precision in, single precision out, and right to its digits."""
    wide = SimpleNamespace(**{key: _widened(value) for key, value in vars(narrow).items()})
    found = run(floor, cell, narrow, loop=loop)
    assert {array.dtype for array in _arrays(found)} == {np.dtype(np.float32)}
    agree(found, run(floor, cell, wide, loop=loop), tolerance)


def _widened(value):
    if isinstance(value, tuple):
        parts = map(_widened, value)
        return type(value)(*parts) if hasattr(value, "_fields") else tuple(parts)
    return value.astype(float) if isinstance(value, np.ndarray) else value


def _arrays(tree):
    for part in tree:
        yield from _arrays(part) if isinstance(part, tuple) else [part]


def pull_is_linear_and_writes_nowhere(cell, p):
    """pull(2 u - v) = 2 pull(u) - pull(v), and every argument is left as it was."""
    own, B, H = p.params[3:], p.x.shape[1], len(p.start[0])
    G = len(p.params[2])
    ax, ah = p.rng.standard_normal((2, B, G))
    state = tuple(p.rng.standard_normal((B, H)) for _ in p.start)
    _, saved = cell.step(own, ax, ah, state)
    u, v = (tuple(p.rng.standard_normal((B, H)) for _ in p.start) for _ in range(2))
    given = [array.copy() for array in _flat((saved, u, own))]
    pulled = [_flat(cell.pull(own, saved, d)) for d in (u, v, tuple(2 * a - b for a, b in zip(u, v, strict=True)))]
    for a, b in zip(given, _flat((saved, u, own)), strict=True):
        assert np.array_equal(a, b)
    for a, b, both in zip(*pulled, strict=True):
        assert np.allclose(2 * a - b, both, rtol=0, atol=1e-13)


def _flat(tree):
    if not isinstance(tree, list | tuple):
        return [np.asarray(tree)]
    return [array for part in tree for array in _flat(part)]


def compiled(make, p):
    """The torch floor's bare loop under torch.compile (its eager back end: the graph is traced, not fused)."""
    params, x, start = bridge.to_torch((p.params, p.x, tuple(p.start)))
    cell = make(gpu)

    def outputs(params, x, start):
        return torch.stack([state[0] for state in gpu.unroll.run(cell, params, x, start)])

    traced = torch.compile(outputs, backend="eager", fullgraph=True)
    agree(traced(params, x, start), outputs(params, x, start).numpy(), 1e-14)


def pulled(cell, p):
    """What the pull says at every step of one sequence: gradients of W_x x, of W_h h, and of each state."""
    tape = reference.unroll.forward(cell, p.params, p.x, tuple(p.start))[2]
    own, W_h, state = p.params[3:], p.params.recurrent_weights, tuple(p.d_final)
    found = []
    for t in reversed(range(len(p.x))):
        state = (state[0] + p.g[t], *state[1:])
        to_x, to_h, direct, _ = cell.pull(own, tape.saved[t], state)
        found.append((to_x[0], to_h[0], *(part[0] for part in state)))
        state = (direct[0] + to_h @ W_h, *direct[1:])
    return [np.array(column) for column in zip(*reversed(found), strict=True)]
