"""Oracles for the vanilla RNN: the definitions, written out the long way.

Nothing here calls the library; only its NamedTuples are used, to carry numbers. The torch loop
runs each sequence alone over its own real steps, so it knows neither masks nor padding. The
brute force forms every dense Jacobian and every pair (loss at t, weights at tau) on its own.
"""

from types import SimpleNamespace

import numpy as np
import torch

from rnncourse.params import ModelParams, ReadoutParams, RNNParams

PHI = {"tanh": torch.tanh, "sigmoid": torch.sigmoid, "relu": torch.relu, "identity": lambda a: a}
SLOPES = {  # of the pre-activation, not of the output as in the library
    "tanh": lambda a: np.cosh(a) ** -2.0,
    "sigmoid": lambda a: 1 / (2 + np.exp(a) + np.exp(-a)),
    "relu": lambda a: np.heaviside(a, 0.0),
    "identity": lambda a: 1.0 + 0.0 * a,
}


def problem(seed=0, T=7, B=3, D=2, H=5, O=4, kind="squared", scale=0.7, dtype=np.float64):
    """A random model, its inputs and its targets; nothing in it is zero or one."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return scale * rng.standard_normal(shape).astype(dtype)

    params = ModelParams(RNNParams(draw(H, D), draw(H, H), draw(H)), ReadoutParams(draw(O, H), draw(O)), draw(H))
    targets = draw(T, B, O) if kind == "squared" else rng.integers(0, O, (T, B))
    return SimpleNamespace(params=params, inputs=draw(T, B, D) / scale, targets=targets, rng=rng, kind=kind)


def leaves(tree):
    """The same tree with torch leaves that ask for a gradient."""
    if isinstance(tree, tuple):
        return type(tree)(*map(leaves, tree))
    return torch.tensor(tree, requires_grad=True)


def gradients(value, tree):
    """The gradient of a torch scalar, in the form of the tree, as arrays; zeros where none flows."""
    flat = list(flatten(tree))
    found = iter(torch.autograd.grad(value, flat, allow_unused=True, retain_graph=True))
    return rebuild(
        tree, (np.zeros(leaf.shape) if d is None else d.numpy() for leaf, d in zip(flat, found, strict=True))
    )


def flatten(tree):
    """The leaves, in order."""
    for part in tree:
        if isinstance(part, tuple):
            yield from flatten(part)
        else:
            yield part


def rebuild(tree, values):
    """The tree with its leaves replaced, in order."""
    values = iter(values)

    def walk(part):
        return type(part)(*map(walk, part)) if isinstance(part, tuple) else next(values)

    return walk(tree)


def loss_term(kind, y, target):
    """The loss of one step of one sequence."""
    if kind == "squared":
        return 0.5 * ((y - torch.as_tensor(target)) ** 2).sum()
    return -torch.log_softmax(y, dim=0)[int(target)]


def output_gradient(kind, y, target):
    """The derivative of the loss of one step by its outputs."""
    if kind == "squared":
        return y - target
    return np.exp(y) / np.exp(y).sum() - (np.arange(len(y)) == target)


def torch_model(problem, activation="tanh", mask=None, lengths=None, reduction="sum", state=None, cuts=()):
    """Loss and all gradients by autograd through a plain loop, one sequence at a time.

    ``cuts`` holds the steps (from 0) whose incoming state is detached. Arrays come back padded
    with zeros where a sequence has ended.
    """
    params, x = leaves(problem.params), torch.tensor(problem.inputs, requires_grad=True)
    T, B, _ = x.shape
    lengths = [T] * B if lengths is None else lengths
    h, a, y, terms, finals = {}, {}, {}, [], []
    for b in range(B):
        now = torch.tensor(state[b]) if state is not None else params.initial_state
        now = now[b] if now.ndim == 2 else now
        for t in range(lengths[b]):
            past = now.detach() if t in cuts else now
            a[t, b] = params.cell.input_weights @ x[t, b] + params.cell.recurrent_weights @ past + params.cell.bias
            now = h[t, b] = PHI[activation](a[t, b])
            y[t, b] = params.readout.weights @ now + params.readout.bias
            if mask is None or mask[t, b]:
                terms.append(loss_term(problem.kind, y[t, b], problem.targets[t, b]))
        finals.append(now)
    loss = torch.stack(terms).sum() / (len(terms) if reduction == "mean" else 1)
    grads = gradients(loss, params)
    (d_x,) = torch.autograd.grad(loss, [x], retain_graph=True)

    def table(values, differentiate=False):
        keys = list(values)
        found = [v.detach() for v in values.values()]
        if differentiate:
            some = torch.autograd.grad(loss, list(values.values()), allow_unused=True, retain_graph=True)
            found = [torch.zeros_like(v) if d is None else d for v, d in zip(found, some, strict=True)]
        out = np.zeros((T, B, found[0].numel()), found[0].numpy().dtype)
        for (t, b), value in zip(keys, found, strict=True):
            out[t, b] = value.numpy()
        return out

    return SimpleNamespace(
        loss=loss.item(),
        gradients=grads,
        d_inputs=d_x.numpy(),
        hidden=table(h),
        outputs=table(y),
        d_hidden=table(h, True),
        d_preactivation=table(a, True),
        d_outputs=table(y, True),
        final=np.array([f.detach().numpy() for f in finals]),
    )


def roll(cell, x, h, activation="tanh"):
    """States h_1..h_T of one sequence; ``cell`` may be one RNNParams or a list with one for each step."""
    states = []
    for t in range(len(x)):
        W_x, W_h, b = cell[t] if isinstance(cell, list) else cell
        h = PHI[activation](W_x @ x[t] + W_h @ h + b)
        states.append(h)
    return states


def untied(problem, activation="tanh"):
    """The gradient of every step's own copy of the cell, batch summed: a list of RNNParams."""
    T, B, _ = problem.inputs.shape
    copies = [leaves(problem.params.cell) for _ in range(T)]
    readout, start = problem.params.readout, torch.tensor(problem.params.initial_state)
    x, total = torch.tensor(problem.inputs), 0.0
    for b in range(B):
        for t, h in enumerate(roll(copies, x[:, b], start, activation)):
            y = torch.tensor(readout.weights) @ h + torch.tensor(readout.bias)
            total = total + loss_term(problem.kind, y, problem.targets[t, b])
    return [gradients(total, copy) for copy in copies]


class BruteForce:
    """One sequence, from the definitions: dense step Jacobians and immediate derivatives, kept apart.

    Time runs from 1 as on the page. ``J[t]`` is dh_t/dh_{t-1}, shape (H, H); ``P[t]`` is the
    immediate derivative of h_t by all weights [W_x W_h b], shape (H, H, D + H + 1); ``g[t]`` the
    immediate derivative of the loss l_t by h_t.
    """

    def __init__(self, problem, b=0, activation="tanh"):
        (W_x, W_h, bias), (W_y, b_y), h = problem.params
        self.T, self.H, self.D = len(problem.inputs), len(W_h), W_x.shape[1]
        self.h, self.J, self.P, self.g, self.slope = [h], [None], [None], [None], [None]
        for x, target in zip(problem.inputs[:, b], problem.targets[:, b], strict=True):
            z = np.concatenate([x, h, [1.0]])
            a = np.concatenate([W_x, W_h, bias[:, None]], axis=1) @ z
            slope = SLOPES[activation](a)
            P = np.zeros((self.H, self.H, len(z)))
            for i in range(self.H):
                P[i, i] = slope[i] * z
            h = PHI[activation](torch.tensor(a)).numpy()
            y = W_y @ h + b_y
            e = output_gradient(problem.kind, y, target)
            self.h.append(h)
            self.J.append(np.diag(slope) @ W_h)
            self.P.append(P)
            self.g.append(np.array([sum(W_y[o, i] * e[o] for o in range(len(e))) for i in range(self.H)]))
            self.slope.append(slope)

    def product(self, t, tau):
        """dh_t/dh_tau = J_t ... J_{tau+1}, built from the left."""
        total = np.eye(self.H)
        for k in range(t, tau, -1):
            total = total @ self.J[k]
        return total

    def influence(self, t):
        """Total derivative of h_t by the weights, summed over tau."""
        return sum(np.einsum("ij,jkl->ikl", self.product(t, tau), self.P[tau]) for tau in range(1, t + 1))

    def pair(self, t, tau):
        """What the loss at t says to the weights as they were used at tau."""
        return np.einsum("i,ijk->jk", self.g[t] @ self.product(t, tau), self.P[tau])

    def pair_start(self, t):
        """What the loss at t says to the initial state."""
        return self.g[t] @ self.product(t, 0)

    def split(self, joint):
        """The joint gradient [W_x W_h b] as RNNParams."""
        return RNNParams(joint[:, : self.D], joint[:, self.D : -1], joint[:, -1])


def pairs(problem, keep, activation="tanh"):
    """Sum over the batch of the pairs (t, tau) with ``keep(t, tau)``; tau = 0 is the initial state."""
    cell, start = 0.0, np.zeros_like(problem.params.initial_state)
    for b in range(problem.inputs.shape[1]):
        brute = BruteForce(problem, b, activation)
        for t in range(1, brute.T + 1):
            for tau in range(1, t + 1):
                cell = cell + keep(t, tau) * brute.pair(t, tau)
            start = start + keep(t, 0) * brute.pair_start(t)
    return brute.split(cell), start


def torch_sliding(problem, window, activation="tanh"):
    """Each loss term alone, with the state that entered ``window`` steps before it detached."""
    total = None
    for t in range(len(problem.inputs)):
        only = np.zeros(problem.inputs.shape[:2], bool)
        only[t] = True
        part = torch_model(problem, activation, mask=only, cuts={t - window}).gradients
        total = part if total is None else rebuild(part, map(np.add, flatten(total), flatten(part)))
    return total
