"""Back-propagation through time with every ingredient open to change, right or wrong.

The library's own functions cannot go wrong on purpose; these can, and so they show what a mistake
would have given.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from rnncourse.params import ModelParams
from rnncourse.reference import bptt, cells, readout, unroll

CELL = cells.rnn("tanh")


class Run(NamedTuple):
    """A forward pass and what the losses send into it.

    Attributes:
        params: the model.
        x: inputs, shape (T, B, D).
        targets: shape (T, B, O).
        h: h_0..h_T, shape (T + 1, B, H).
        e: y_t minus target, shape (T, B, O).
        g: immediate gradients W_y^T e_t, shape (T, B, H).
        slope: phi'(a_t), shape (T, B, H).
    """

    params: ModelParams
    x: np.ndarray
    targets: np.ndarray
    h: np.ndarray
    e: np.ndarray
    g: np.ndarray
    slope: np.ndarray


def run(params: ModelParams, x: np.ndarray, targets: np.ndarray) -> Run:
    """Run the network forward and stop short of the backward pass.

    Args:
        params: the model.
        x: inputs, shape (T, B, D).
        targets: shape (T, B, O).

    Returns:
        States, output errors, immediate gradients and slopes.
    """
    _, _, tape = unroll.forward(CELL, params.cell, x, params.initial_state)
    y, _ = readout.forward(params.readout, tape.hidden[1:])
    e = y - targets
    return Run(params, x, targets, tape.hidden, e, e @ params.readout.weights, 1 - tape.hidden[1:] ** 2)


def one_step(W_h, x, h_previous, s, slope) -> dict[str, np.ndarray]:
    """One step backward with ingredients as given, right or wrong.

    Args:
        W_h: the matrix whose transpose takes the gradient back, shape (H, H).
        x: input, shape (D,).
        h_previous: what the recurrent weights met, shape (H,).
        s: gradient arriving at the state, shape (H,).
        slope: phi' of the step, shape (H,).

    Returns:
        The five answers by name.
    """
    delta = slope * s
    return {
        "delta": delta,
        "d_W_x": np.outer(delta, x),
        "d_W_h": np.outer(delta, h_previous),
        "d_b_h": delta,
        "d_h_previous": W_h.T @ delta,
    }


def sweep(g: np.ndarray, slope: np.ndarray, W_h: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The backward recursion with ingredients as given, right or wrong.

    Args:
        g: immediate gradients, shape (T, B, H).
        slope: phi'(a_t), shape (T, B, H).
        W_h: the matrix whose transpose takes the gradient back, shape (H, H).

    Returns:
        ``(s, start)``: s_t for all t, shape (T, B, H), and what arrives at h_0, shape (B, H).
    """
    s = np.empty_like(g)
    arriving = np.zeros_like(g[0])
    for t in reversed(range(len(g))):
        s[t] = g[t] + arriving
        arriving = (slope[t] * s[t]) @ W_h
    return s, arriving


def cell_gradients(delta: np.ndarray, x: np.ndarray, h_before: np.ndarray) -> dict[str, np.ndarray]:
    """The cell's gradients from any delta, right or wrong.

    Args:
        delta: shape (T, B, H).
        x: inputs, shape (T, B, D).
        h_before: the states that the recurrent weights met, shape (T, B, H).

    Returns:
        The three gradients by name.
    """
    return {
        "d_W_x": np.einsum("tbi,tbj->ij", delta, x),
        "d_W_h": np.einsum("tbi,tbj->ij", delta, h_before),
        "d_b_h": delta.sum(axis=(0, 1)),
    }


def all_gradients(r: Run, e: np.ndarray | None = None) -> dict[str, np.ndarray]:
    """All six gradients by the right recursion, from output errors that may be wrong.

    Args:
        r: the run.
        e: output errors, shape (T, B, O); those of the run unless given.

    Returns:
        The gradients by name.
    """
    e = r.e if e is None else e
    s, start = sweep(e @ r.params.readout.weights, r.slope, r.params.cell.recurrent_weights)
    return {
        **cell_gradients(r.slope * s, r.x, r.h[:-1]),
        "d_W_y": np.einsum("tbi,tbj->ij", e, r.h[1:]),
        "d_b_y": e.sum(axis=(0, 1)),
        "d_h_0": start.sum(axis=0),
    }


def truncated(r: Run, kept: np.ndarray, meets: str = "", **changed: np.ndarray) -> dict[str, np.ndarray]:
    """The cell's gradients from a chosen set of pairs (t, tau), with ingredients right or wrong.

    Args:
        r: the run.
        kept: booleans, shape (T, T): whether the loss at t counts through the weights at tau.
        meets: what delta_tau is multiplied by: x_tau and h_{tau-1} unless given; "tau" takes h_tau,
            "t" takes x_t and h_{t-1}.
        changed: fields of the run to replace (``g``, ``slope``), or ``W_h``.

    Returns:
        The three gradients by name.
    """
    W_h = changed.pop("W_h", r.params.cell.recurrent_weights)
    r = r._replace(**changed)
    delta = np.zeros_like(r.g)
    for t in range(len(r.g)):
        s = r.g[t]
        for tau in range(t, -1, -1):
            delta[t if meets == "t" else tau] += kept[t, tau] * r.slope[tau] * s
            s = (r.slope[tau] * s) @ W_h
    return cell_gradients(delta, r.x, r.h[1:] if meets == "tau" else r.h[:-1])


def piled(r: Run, window: int) -> dict[str, np.ndarray]:
    """A window in which every step on the way back adds its own immediate gradient again.

    Args:
        r: the run.
        window: m.

    Returns:
        The three gradients by name.
    """
    delta = np.zeros_like(r.g)
    for t in range(len(r.g)):
        s = r.g[t]
        for tau in range(t, max(-1, t - window - 1), -1):
            delta[tau] += r.slope[tau] * s
            s = (r.slope[tau] * s) @ r.params.cell.recurrent_weights + r.g[tau - 1]
    return cell_gradients(delta, r.x, r.h[:-1])


def window_pairs(steps: int, window: int) -> np.ndarray:
    """The pairs that a sliding window keeps.

    Args:
        steps: T.
        window: m, the most Jacobians on the way from t back to tau.

    Returns:
        Booleans, shape (T, T): row t, column tau.
    """
    lag = np.arange(steps)[:, None] - np.arange(steps)
    return (lag >= 0) & (lag <= window)


def chunk_pairs(steps: int, chunk: int) -> np.ndarray:
    """The pairs that chunks keep.

    Args:
        steps: T.
        chunk: k, steps in a chunk.

    Returns:
        Booleans, shape (T, T): row t, column tau.
    """
    place = np.arange(steps) // chunk
    return (place[:, None] == place) & window_pairs(steps, steps)


def wrapped(r: Run, window: int) -> dict[str, np.ndarray]:
    """A window that takes negative indices for steps, as Python does.

    Args:
        r: the run.
        window: m, which reaches beyond the start of the sequence.

    Returns:
        The three gradients by name.
    """
    total = {name: 0.0 for name in ("d_W_x", "d_W_h", "d_b_h")}
    for t in range(len(r.x)):
        s = r.g[t]
        for tau in range(t, t - window - 1, -1):
            delta = (1 - r.h[tau + 1] ** 2) * s
            share = cell_gradients(delta[None], r.x[[tau % len(r.x)]], r.h[[tau % len(r.h)]])
            total = {name: total[name] + share[name] for name in total}
            s = delta @ r.params.cell.recurrent_weights
    return total


def restarted(r: Run, chunk: int, h_0: np.ndarray, behind: int = 0) -> dict[str, np.ndarray]:
    """Chunks that all start from the same state, or from one that is too old.

    Args:
        r: the run.
        chunk: k.
        h_0: that state, shape (H,).
        behind: if not 0, chunks after the first start this many steps before the end of the one before.

    Returns:
        The three gradients by name.
    """
    total = {name: 0.0 for name in ("d_W_x", "d_W_h", "d_b_h")}
    params, state = r.params._replace(initial_state=h_0), None
    for a in range(0, len(r.x), chunk):
        run = bptt.full(CELL, params, r.x[a : a + chunk], r.targets[a : a + chunk], state=state)
        part = run.gradients.cell
        if behind:
            start = params.initial_state if state is None else state[0]
            states = unroll.forward(CELL, params.cell, r.x[a : a + chunk], start)[2].hidden
            state = (np.array(states[-1 - behind]),)
        total = {name: total[name] + share for name, share in zip(total, part, strict=True)}
    return total


def moved(theta: np.ndarray, by: float) -> Iterator[np.ndarray]:
    """Copies of an array, each with one entry moved.

    Args:
        theta: any shape.
        by: how far.

    Yields:
        One copy for each entry, in C order.
    """
    for i in range(theta.size):
        copy = theta.copy()
        copy.flat[i] += by
        yield copy


def drifting(f, theta: np.ndarray, step: float, left_at: float) -> list[float]:
    """Central differences in which every entry is left off its place.

    Args:
        f: from an array to a number.
        theta: any shape.
        step: how far an entry is moved.
        left_at: how far from its place it is left.

    Returns:
        The results in C order.
    """
    drifting, values = theta.copy(), []
    for i in range(theta.size):
        middle = drifting.flat[i]
        drifting.flat[i] = middle + step
        ahead = f(drifting)
        drifting.flat[i] = middle - step
        values.append((ahead - f(drifting)) / (2 * step))
        drifting.flat[i] = middle + left_at
    return values
