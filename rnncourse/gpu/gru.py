"""The GRU: one gate blends the old state with a candidate, another resets what the candidate sees. ::

    r, z = sigma(a_r), sigma(a_z)                          reset and update gate
    n = tanh(W_nx x_t + b_n + r * (W_nh h_{t-1} + b_hn))   the candidate, reset after the product
    n = tanh(W_nx x_t + b_n + W_nh (r * h_{t-1}))          the candidate, reset before the product
    h_t = z * h_{t-1} + (1 - z) * n                        the update gate keeps
    h_t = (1 - z) * h_{t-1} + z * n                        the update gate writes

Two choices make four forms; torch resets after and keeps. Here is the reset after, a cell for
``unroll``; ``gru_before`` has the other. Pre-activations lie side by side in torch's order,
a = (a_r, a_z, a_n), shape (B, 3 H).
"""

import torch

from rnncourse import doors
from rnncourse.gpu.cells import Cell

UPDATES = ("keep", "write")


def reset_after(update: str = "keep") -> Cell:
    """Make the GRU cell whose reset gate acts after the recurrent product, as torch's does.

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
        (x_r, x_z, x_n), (h_r, h_z, h_n) = ax.chunk(3, dim=-1), ah.chunk(3, dim=-1)
        r, z = torch.sigmoid(x_r + h_r), torch.sigmoid(x_z + h_z)
        n = torch.tanh(x_n + r * (h_n + own[0]))
        return (blend(update, z, past, n),)

    return Cell(f"gru-after-{update}", gates=3, states=1, step=step, own=((1,),))


def blend(update: str, z: torch.Tensor, past: torch.Tensor, n: torch.Tensor) -> torch.Tensor:
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
