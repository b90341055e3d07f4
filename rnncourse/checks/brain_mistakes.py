"""What goes wrong in the exercise on models of the brain, and the answers that it leads to."""

from collections.abc import Callable

import numpy as np


def _forward(alpha, W_x, W_h, b, x, h):
    """States h_0..h_T and what the currents drive them to."""
    states, driven = [h], []
    for row in x:
        driven.append(np.tanh(W_x @ row + W_h @ states[-1] + b))
        states.append((1 - alpha) * states[-1] + alpha * driven[-1])
    return np.array(states), np.array(driven)


def _back(
    alpha, W_x, W_h, b, x, h, g, leak=True, share=True, turned=True, by_state=False, late=True, forget=False, flat=False
):  # fmt: skip
    states, driven = _forward(alpha, W_x, W_h, b, x, h)
    s, deltas = np.zeros(len(h)), []
    for t in reversed(range(len(x))):
        s = s + g[t] if not forget else s + g[-1] * (t == len(x) - 1)
        slope = 1 - (states[t + 1] if by_state else driven[t]) ** 2
        delta = (alpha if share else 1.0) * (1.0 if flat else slope) * s
        deltas.append(delta)
        s = (leak * (1 - alpha)) * s + (W_h.T if turned else W_h) @ delta
    return np.array(deltas[::-1]), (s if late else s * 0 + deltas[-1] @ W_h)


BACK: dict[str, Callable] = {
    "is the leak missing on the way back? h_t is read by the next state directly, too.": lambda *p: _back(
        *p, leak=False
    ),
    "did you forget alpha in delta?": lambda *p: _back(*p, share=False),
    "did you forget the transpose in the recurrence?": lambda *p: _back(*p, turned=False),
    "is the slope read off h? With a leak, h is not tanh(a): keep tanh(a) itself.": lambda *p: _back(*p, by_state=True),
    "did you forget the slope of tanh?": lambda *p: _back(*p, flat=True),
    "does the leak reach h_0, too?": lambda *p: _back(*p, late=False),
    "did you use the last g alone?": lambda *p: _back(*p, forget=True),
}


def _fire(u, dt, tau, t_ref, pause=1, extra=0, reset=True, leak=True, euler=False, early=False, least=-np.inf):
    kept = (1 - dt / tau if euler else np.exp(-dt / tau)) if leak else 1.0
    gain = 1 - kept if leak else dt / tau
    silent = pause * round(t_ref / dt) + extra
    v, wait, spikes = 0.0, 0, np.zeros(len(u))
    for t, now in enumerate(u):
        if wait:
            v, wait = (v if early else 0.0), wait - 1
            continue
        v = max(kept * v + gain * now, least)
        if v >= 1:
            spikes[t], wait = 1.0, silent
            v = 0.0 if reset else v
    return spikes


FIRE: dict[str, Callable] = {
    "is there no pause after a spike?": lambda *p: _fire(*p, pause=0),
    "is the pause counted twice?": lambda *p: _fire(*p, pause=2),
    "is the pause a step too long? The next integration comes right after it.": lambda *p: _fire(*p, extra=1),
    "is the pause a step too short?": lambda *p: _fire(*p, extra=-1),
    "did you forget the leak? The voltage decays towards u.": lambda *p: _fire(*p, leak=False),
    "did you forget the reset?": lambda *p: _fire(*p, reset=False, early=True),
    "is this Euler's method? Solve the step exactly, with exp(-dt / tau).": lambda *p: _fire(*p, euler=True),
    "does the voltage stop at 0? A drive below 0 takes it lower.": lambda *p: _fire(*p, least=0.0),
}


def _sigmoid(a):
    return 1 / (1 + np.exp(-a))


LAW: dict[str, Callable] = {
    "are the signs on rows? The sender is the column.": lambda M, s, d: (
        s[:, None] * np.log1p(np.exp(M)),
        s[:, None] * _sigmoid(M) * d,
    ),
    "did you forget the slope of softplus?": lambda M, s, d: (s * np.log1p(np.exp(M)), s * d),
    "did you forget the signs in the gradient?": lambda M, s, d: (s * np.log1p(np.exp(M)), _sigmoid(M) * d),
    "did you forget the signs?": lambda M, s, d: (np.log1p(np.exp(M)), _sigmoid(M) * d),
    "is this exp in the place of log(1 + exp)?": lambda M, s, d: (s * np.exp(M), s * np.exp(M) * d),
    "is this the absolute value in the place of log(1 + exp)?": lambda M, s, d: (s * abs(M), s * np.sign(M) * d),
    "is the slope sigma (1 - sigma)? The slope of softplus is sigma itself.": lambda M, s, d: (
        s * np.log1p(np.exp(M)),
        s * _sigmoid(M) * (1 - _sigmoid(M)) * d,
    ),
}


def _slow(alpha, W_h, b, h, mu, minus=True, leak=True, turned=True, columns=False, damped=True, half=True, sign=-1.0):
    driven = np.tanh(W_h @ h + b)
    slope = 1 - driven**2
    J = leak * (1 - alpha) * np.eye(len(h)) + alpha * (W_h * slope if columns else slope[:, None] * W_h)
    there = (1 - alpha) * h + alpha * driven
    r, A = (there - h, J - np.eye(len(h))) if minus else (there, J)
    gradient = (A.T if turned else A) @ r
    step = sign * np.linalg.solve(A.T @ A + damped * mu * np.eye(len(h)), A.T @ r if turned else A @ r)
    return np.asarray((0.5 if half else 1.0) * r @ r), (1.0 if half else 2.0) * gradient, step


SLOW: dict[str, Callable] = {
    "did you forget to take off h? It is F(h) - h that shall be small, and J - I its Jacobian.": lambda *p: _slow(
        *p, minus=False
    ),
    "is the leak missing from the Jacobian?": lambda *p: _slow(*p, leak=False),
    "did you forget to transpose J - I?": lambda *p: _slow(*p, turned=False),
    "does the slope scale columns? It belongs to the rows of W_h.": lambda *p: _slow(*p, columns=True),
    "did you forget the damping?": lambda *p: _slow(*p, damped=False),
    "did you forget the factor one half?": lambda *p: _slow(*p, half=False),
    "does the step go uphill?": lambda *p: _slow(*p, sign=1.0),
}


def deltas(alpha, W_x, W_h, b, x, h, e, B_h, B_y, turned=True, true=False, leak=True, share=True, by_state=False):
    """What feedback alignment sends to every current, or one of its slips.

    Args:
        alpha: the leak.
        W_x: input weights, shape (H, D).
        W_h: recurrent weights, shape (H, H).
        b: bias, shape (H,).
        x: inputs, shape (T, D).
        h: the initial state, shape (H,).
        e: errors at the outputs, shape (T, O).
        B_h: fixed feedback, shape (H, H).
        B_y: fixed feedback, shape (O, H).
        turned: whether B_h is transposed.
        true: whether W_h is taken in the place of B_h.
        leak: whether the leak carries back.
        share: whether delta has its factor alpha.
        by_state: whether the slope is read off h.

    Returns:
        Shape (T, H).
    """
    states, driven = _forward(alpha, W_x, W_h, b, x, h)
    back, s, found = W_h if true else B_h, np.zeros(len(h)), []
    for t in reversed(range(len(x))):
        s = s + e[t] @ B_y
        found.append((alpha if share else 1.0) * (1 - (states[t + 1] if by_state else driven[t]) ** 2) * s)
        s = leak * (1 - alpha) * s + (back.T if turned else back) @ found[-1]
    return np.array(found[::-1])


ALIGNED: dict[str, Callable] = {
    "is this W_h^T? The point is to do without it: B_h takes its place.": lambda *p: deltas(*p, true=True),
    "did you forget to transpose B_h?": lambda *p: deltas(*p, turned=False),
    "is the leak missing on the way back? It needs no weights, so it stays.": lambda *p: deltas(*p, leak=False),
    "did you forget alpha in delta?": lambda *p: deltas(*p, share=False),
    "is the slope read off h? With a leak, h is not tanh(a).": lambda *p: deltas(*p, by_state=True),
}


def traced(alpha, W_x, W_h, b, x, h, e, B_y, leak=True, share=True, late=False, by_state=False, own=False, mean=False):
    """What the local rule takes for the gradient of W_h, or one of its slips.

    Args:
        alpha: the leak.
        W_x: input weights, shape (H, D).
        W_h: recurrent weights, shape (H, H).
        b: bias, shape (H,).
        x: inputs, shape (T, D).
        h: the initial state, shape (H,).
        e: errors at the outputs, shape (T, O).
        B_y: fixed feedback, shape (O, H).
        leak: whether the trace keeps anything.
        share: whether what comes in has its factor alpha.
        late: whether the sender's rate is taken at t in the place of t - 1.
        by_state: whether the slope is read off h.
        own: whether the trace keeps what W_ii keeps.
        mean: whether the steps are averaged.

    Returns:
        Shape (H, H).
    """
    states, driven = _forward(alpha, W_x, W_h, b, x, h)
    p, G = np.zeros_like(W_h), np.zeros_like(W_h)
    for t in range(len(x)):
        slope = (alpha if share else 1.0) * (1 - (states[t + 1] if by_state else driven[t]) ** 2)
        kept = leak * (1 - alpha) + own * slope * np.diag(W_h)
        p = (kept * np.ones(len(h)))[:, None] * p + np.outer(slope, states[t + late])
        G += (e[t] @ B_y)[:, None] * p
    return G / len(x) if mean else G


LOCAL: dict[str, Callable] = {
    "did you forget the leak? The trace keeps 1 - alpha of itself.": lambda *p: traced(*p, leak=False),
    "did you forget alpha in what comes into the trace?": lambda *p: traced(*p, share=False),
    "is the sender's rate taken at t? The weight met h_{t-1}.": lambda *p: traced(*p, late=True),
    "is the slope read off h? With a leak, h is not tanh(a).": lambda *p: traced(*p, by_state=True),
    "does the trace keep W_ii too? That is the other form.": lambda *p: traced(*p, own=True),
    "is this a mean over the steps? It is a sum.": lambda *p: traced(*p, mean=True),
}
