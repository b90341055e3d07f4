"""Oracles for every cell: its equations written out for one sequence, and autograd through a plain loop.

Nothing here calls the library; only its NamedTuples are used, to carry numbers. Each sequence
runs alone over its own real steps, so the loop knows neither masks nor padding nor batches.
"""

from types import SimpleNamespace

import numpy as np
import torch
from oracles import PHI, flatten, leaves, rebuild

SHAPES = [(1, 1, 1, 1), (1, 3, 2, 5), (6, 1, 2, 3), (7, 3, 1, 5), (5, 2, 4, 1), (9, 4, 3, 7)]  # T, B, D, H
RAGGED = (7, 3, 0)


def draw_problem(kind, gates=1, own=(), states=1, seed=0, T=7, B=3, D=2, H=5, scale=0.7, dtype=np.float64):
    """Random parameters of a kind, inputs, a shared start and arriving gradients; nothing is zero or one."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return scale * rng.standard_normal(shape).astype(dtype)

    params = kind(draw(gates * H, D), draw(gates * H, H), draw(gates * H), *(draw(n * H) for n in own))
    start = tuple(draw(H) for _ in range(states))
    d_final = tuple(draw(B, H) for _ in range(states))
    x, g = draw(T, B, D) / np.asarray(scale, dtype), draw(T, B, H)
    return SimpleNamespace(params=params, x=x, start=start, g=g, d_final=d_final, rng=rng, states=states)


def autograd(p, step, lengths=None):
    """Outputs, final states and every total derivative of sum(g * h) + sum(d_final * final)."""
    T, B, _ = p.x.shape
    lengths = (T,) * B if lengths is None else lengths
    params, start = leaves(p.params), tuple(map(leaves, p.start))
    x = torch.tensor(np.where(np.isnan(p.x), 0, p.x), requires_grad=True)
    outputs, loss, finals = torch.zeros(T, B, len(p.start[0]), dtype=x.dtype), 0.0, []
    seen = {}
    for b in range(B):
        state = start
        for t in range(lengths[b]):
            state = step(params, x[t, b], state)
            state[0].retain_grad()
            seen[t, b] = state[0]
            outputs[t, b] = state[0].detach()
            loss = loss + (torch.tensor(p.g[t, b]) * state[0]).sum()
        loss = loss + sum((torch.tensor(d[b]) * part).sum() for d, part in zip(p.d_final, state, strict=True))
        finals.append([part.detach().numpy() for part in state])
    loss.backward()
    hidden = np.zeros((T, B, len(p.start[0])), p.g.dtype)
    for (t, b), h in seen.items():
        hidden[t, b] = h.grad.numpy()
    return SimpleNamespace(
        outputs=outputs.numpy(),
        final=tuple(np.array([f[k] for f in finals]) for k in range(p.states)),
        params=_grads(params),
        inputs=x.grad.numpy(),
        initial_state=tuple(h.grad.numpy() for h in start),
        hidden=hidden,
    )


def _grads(tree):
    return rebuild(tree, (np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy() for leaf in flatten(tree)))


def normalised(a, gain, shift, epsilon=1e-5):
    """torch's own layer normalisation of one row."""
    return torch.nn.functional.layer_norm(a, a.shape, gain, shift, epsilon)


def layer_norm_rnn(activation="tanh"):
    """The vanilla cell with its sum normalised."""

    def step(params, x, state):
        W_x, W_h, b, gain, shift = params
        return (PHI[activation](normalised(W_x @ x + W_h @ state[0] + b, gain, shift)),)

    return step
