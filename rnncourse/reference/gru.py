"""The GRU: one gate blends the old state with a candidate, another resets what the candidate sees. ::

    r, z = sigma(a_r), sigma(a_z)                          reset and update gate
    n = tanh(W_nx x_t + b_n + r * (W_nh h_{t-1} + b_hn))   the candidate, reset after the product
    n = tanh(W_nx x_t + b_n + W_nh (r * h_{t-1}))          the candidate, reset before the product
    h_t = z * h_{t-1} + (1 - z) * n                        the update gate keeps
    h_t = (1 - z) * h_{t-1} + z * n                        the update gate writes

Two choices make four forms; torch resets after and keeps. From keep to write the sign of the update
gate's weights is all the difference (``gate_params.swap_update``). From after to before no change of
weights leads. Here is the reset after, a cell for ``unroll``; ``gru_before`` has the other.
Pre-activations lie side by side in torch's order, a = (a_r, a_z, a_n), shape (B, 3 H).
"""

import numpy as np

from rnncourse import doors
from rnncourse.reference.activations import sigmoid
from rnncourse.reference.cells import Cell

UPDATES = ("keep", "write")


def reset_after(update: str = "keep") -> Cell:
    """Make the GRU cell whose reset gate acts after the recurrent product, as torch's does.

    The gradient of the old state has two parts: d_past here, through the blend, and what
    ``unroll`` sends through W_h. Only of this cell do the two pulled gradients differ, in the
    candidate's block: the reset gate stands between W_nh h_{t-1} and the sum, not before W_nx x_t.

    Args:
        update: what the update gate does to the old state: "keep" it, as in torch, or "write" over it.

    Returns:
        The cell; its parameters are ``gate_params.ResetAfterGRUParams``.

    Raises:
        ValueError: if there is no such update.
    """
    doors.one_of("update", update, UPDATES)

    def step(own, ax, ah, state):
        (past,) = state
        H = past.shape[1]
        gates = sigmoid(ax[:, : 2 * H] + ah[:, : 2 * H])
        r, z = gates[:, :H], gates[:, H:]
        heard = ah[:, 2 * H :] + own[0]
        n = np.tanh(ax[:, 2 * H :] + r * heard)
        return (blend(update, z, past, n),), (gates, heard, n, past)

    def pull(own, saved, d_state):
        (gates, heard, n, past), (s,) = saved, d_state
        r, z = np.split(gates, 2, axis=1)
        d_past, d_z, d_n = pull_blend(update, z, past, n, s)
        delta_n = d_n * (1 - n * n)
        d_gates = np.concatenate([delta_n * heard, d_z], axis=1)
        delta = d_gates * gates * (1 - gates)
        to_heard = delta_n * r
        to_x, to_h = (np.concatenate([delta, part], axis=1) for part in (delta_n, to_heard))
        return to_x, to_h, (d_past,), (to_heard.sum(axis=0),)

    return Cell(f"gru-after-{update}", gates=3, states=1, step=step, pull=pull, own=((1,),))


def blend(update: str, z: np.ndarray, past: np.ndarray, n: np.ndarray) -> np.ndarray:
    """Blend the old state with the candidate.

    Args:
        update: "keep" or "write".
        z: the update gate, shape (B, H).
        past: h_{t-1}, shape (B, H).
        n: the candidate, shape (B, H).

    Returns:
        h_t, between the two unit by unit, shape (B, H).
    """
    old, new = (past, n) if update == "keep" else (n, past)
    return z * old + (1 - z) * new  # exactly old where z is 1, exactly new where it is 0


def pull_blend(update: str, z: np.ndarray, past: np.ndarray, n: np.ndarray, s: np.ndarray) -> tuple:
    """Pull a gradient back through :func:`blend`.

    Args:
        update: "keep" or "write".
        z: the update gate, shape (B, H).
        past: h_{t-1}, shape (B, H).
        n: the candidate, shape (B, H).
        s: dL/dh_t, shape (B, H).

    Returns:
        The gradients of h_{t-1}, z and n by this step's blend alone, each (B, H).
    """
    with_z = s * z
    if update == "keep":
        return with_z, s * (past - n), s - with_z
    return s - with_z, s * (n - past), with_z
