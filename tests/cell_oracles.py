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


def lstm(params, x, state):
    """Four gates of one LSTM, each with its own rows."""
    W_x, W_h, b = params
    h, c = state
    a_i, a_f, a_g, a_o = (W_x @ x + W_h @ h + b).reshape(4, -1)
    c = torch.sigmoid(a_f) * c + torch.sigmoid(a_i) * torch.tanh(a_g)
    return torch.sigmoid(a_o) * torch.tanh(c), c


def peephole_lstm(params, x, state):
    W_x, W_h, b, peepholes = params
    h, c = state
    p_i, p_f, p_o = peepholes.reshape(3, -1)
    a_i, a_f, a_g, a_o = (W_x @ x + W_h @ h + b).reshape(4, -1)
    c = torch.sigmoid(a_f + p_f * c) * c + torch.sigmoid(a_i + p_i * c) * torch.tanh(a_g)
    return torch.sigmoid(a_o + p_o * c) * torch.tanh(c), c


def layer_norm_lstm(params, x, state, epsilon=1e-5):
    W_x, W_h, b, gain_x, gain_h, shift, gain_c, shift_c = params
    h, c = state
    a = normalised(W_x @ x + b, gain_x, None, epsilon) + normalised(W_h @ h, gain_h, shift, epsilon)
    a_i, a_f, a_g, a_o = a.reshape(4, -1)
    c = torch.sigmoid(a_f) * c + torch.sigmoid(a_i) * torch.tanh(a_g)
    return torch.sigmoid(a_o) * torch.tanh(normalised(c, gain_c, shift_c, epsilon)), c


def dense_jacobians(p, step, b=0):
    """Jacobians of every step of one sequence by the whole state, by torch's own differentiation."""
    params = type(p.params)(*map(torch.tensor, p.params))
    z, found, H = torch.cat([torch.tensor(h) for h in p.start]), [], len(p.start[0])
    for t in range(len(p.x)):

        def of_state(z, t=t):
            return torch.cat(step(params, torch.tensor(p.x[t, b]), z.split(H)))

        found.append(torch.autograd.functional.jacobian(of_state, z).numpy())
        z = of_state(z)
    return np.array(found)


def gru(update, reset):
    """Three blocks of one GRU, each with its own rows: four forms."""

    def step(params, x, state):
        W_x, W_h, b, *own = params
        (h,) = state
        (x_r, x_z, x_n), (W_r, W_z, W_n) = (W_x @ x + b).reshape(3, -1), W_h.reshape(3, len(h), len(h))
        r, z = torch.sigmoid(x_r + W_r @ h), torch.sigmoid(x_z + W_z @ h)
        n = torch.tanh(x_n + (r * (W_n @ h + own[0]) if reset == "after" else W_n @ (r * h)))
        return ((z * h + (1 - z) * n) if update == "keep" else ((1 - z) * h + z * n),)

    return step


def watched(p, step, pre_activations):
    """One sequence whose every pre-activation and state keeps its gradient: lists over time, from autograd.

    ``pre_activations`` makes what the step adds up from (params, x, state): tensors that are differentiated by.
    """
    params, start = leaves(p.params), tuple(map(leaves, p.start))
    state, seen, states, loss = start, [], [], 0.0
    for t in range(len(p.x)):
        sums = pre_activations(params, torch.tensor(p.x[t, 0]), state)
        state = step(params, sums, state)
        for tensor in (*sums, *state):
            tensor.retain_grad()
        seen.append(sums)
        states.append(state)
        loss = loss + (torch.tensor(p.g[t, 0]) * state[0]).sum()
    loss = loss + sum((torch.tensor(d[0]) * part).sum() for d, part in zip(p.d_final, state, strict=True))
    loss.backward()
    return tuple(
        [np.array([step[k].grad.numpy() for step in table]) for k in range(len(table[0]))] for table in (seen, states)
    )
