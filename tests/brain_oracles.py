"""Oracles of chapter 17: leaky units written out for one sequence, and their ways back, by autograd alone.

Nothing here calls the library; only its NamedTuples are used, to carry numbers.
"""

import numpy as np
import torch
from oracles import PHI, gradients, leaves


def leaky(alpha=0.3, activation="tanh", baseline=0.0, swing=1.0):
    """A leaky unit as ``cell_oracles.autograd`` wants it."""

    def step(params, x, state):
        W_x, W_h, b = params
        driven = PHI[activation](W_x @ x + W_h @ state[0] + b)
        rest = torch.as_tensor(baseline, dtype=driven.dtype)
        return (state[0] - alpha * (state[0] - (rest + swing * driven)),)

    return step


class Through(torch.autograd.Function):
    """W h forwards; backwards the gradient of W as it is, and that of h through another matrix."""

    @staticmethod
    def forward(ctx, W, h, B):
        ctx.save_for_backward(h, B)
        return W @ h

    @staticmethod
    def backward(ctx, d):
        h, B = ctx.saved_tensors
        return torch.outer(d, h), B.T @ d, None


def bernoulli(y, target):
    """One answer, yes or no, in nats."""
    return torch.nn.functional.binary_cross_entropy_with_logits(y, torch.as_tensor(target), reduction="sum")


def swapped(p, alpha, B_h, B_y, product="all"):
    """The gradient of everything by autograd, with other matrices on the way back.

    ``product`` says what passes back through the recurrent product: "all" of it, through B_h; "none",
    the state that enters it is cut; "own", each unit's weight on itself alone.
    """
    params, x = leaves(p.params), torch.tensor(p.inputs)
    B_h, B_y = torch.tensor(B_h), torch.tensor(B_y)
    (W_x, W_h, b), (W_y, b_y), start = params
    total = 0.0
    for n in range(x.shape[1]):
        h = start.detach()
        for t in range(len(x)):
            if product == "all":
                recurrent = Through.apply(W_h, h, B_h)
            else:
                still = h.detach()
                own = torch.diagonal(W_h).detach() * (h - still) if product == "own" else 0.0
                recurrent = W_h @ still + own
            h = (1 - alpha) * h + alpha * torch.tanh(W_x @ x[t, n] + recurrent + b)
            y = Through.apply(W_y, h, B_y) + b_y
            if p.mask[t, n]:
                total = total + bernoulli(y, p.targets[t, n])
    found = gradients(total, params)
    return total.item(), found._replace(initial_state=np.zeros_like(found.initial_state))
