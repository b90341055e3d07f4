"""Linear recurrences h_t = A_t h_{t-1} + b_t, step by step and by a scan; the way back is one of the same kind."""

from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.reference import scan
from rnncourse.reference.unroll import as_floats


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    Attributes:
        transitions: A_1..A_T, as given.
        hidden: h_0..h_T, shape (T + 1, B, H).
    """

    transitions: np.ndarray
    hidden: np.ndarray


class Gradients(NamedTuple):
    """Total derivatives.

    Attributes:
        transitions: dL/dA_t, in the shape of the transitions.
        inputs: dL/db_t, which is s_t = dL/dh_t, shape (T, B, H).
        initial_state: dL/dh_0, shape (B, H).
    """

    transitions: np.ndarray
    inputs: np.ndarray
    initial_state: np.ndarray


def forward(transitions, inputs, initial_state=None):
    """All states by a scan over affine maps, :eq:`eq-affine-combine`.

    Args:
        transitions: A_1..A_T: diagonals, shape (T, B, H), or matrices, shape (T, B, H, H).
        inputs: b_1..b_T, shape (T, B, H).
        initial_state: h_0, shape (B, H); zeros unless given.

    Returns:
        ``(hidden, tape)``: h_1..h_T, shape (T, B, H), and what :func:`backward` needs.

    Raises:
        ValueError: if a shape does not fit.
    """
    A, b, h_0 = _enter(transitions, inputs, initial_state)
    started = np.concatenate([b[:1] + apply(A[0], h_0)[None], b[1:]])  # h_0 is part of what enters at step 1
    _, h = scan.prefixes(combine, (A, started))
    return h, Tape(A, np.concatenate([h_0[None], h]))


def loop(transitions, inputs, initial_state=None):
    """The same, step by step, :eq:`def-linear-recurrence`.

    Args:
        transitions: as in :func:`forward`.
        inputs: as in :func:`forward`.
        initial_state: as in :func:`forward`.

    Returns:
        As :func:`forward`.

    Raises:
        ValueError: if a shape does not fit.
    """
    A, b, h_0 = _enter(transitions, inputs, initial_state)
    h = [h_0]
    for A_t, b_t in zip(A, b, strict=True):
        h.append(apply(A_t, h[-1]) + b_t)
    h = np.stack(h)
    return h[1:], Tape(A, h)


def backward(tape: Tape, d_outputs) -> Gradients:
    """Back through time by one more scan, :eq:`eq-linear-backward`.

    Args:
        tape: from :func:`forward` or :func:`loop`.
        d_outputs: g_t, the gradient at h_t as an output, shape (T, B, H).

    Returns:
        The gradients.

    Raises:
        ValueError: if a shape does not fit.
    """
    A, h = tape
    doors.shape("d_outputs", as_floats(d_outputs), h[1:].shape)
    s = reverse(A, d_outputs)
    d_A = s * h[:-1] if A.ndim == 3 else s[..., :, None] * h[:-1, :, None, :]
    return Gradients(d_A, s, apply(_transposed(A[:1]), s[:1])[0])


def reverse(transitions, d_outputs) -> np.ndarray:
    """The recursion s_t = A_{t+1}^T s_{t+1} + g_t with s_T = g_T, by a scan, :eq:`eq-linear-backward`.

    Args:
        transitions: A_1..A_T, of which the first is not used; shape (T, B, H) or (T, B, H, H).
        d_outputs: g_1..g_T, shape (T, B, H).

    Returns:
        s_1..s_T, shape (T, B, H).

    Raises:
        ValueError: if a shape does not fit.
    """
    A, g, _ = _enter(transitions, d_outputs, None, "d_outputs")
    later = np.concatenate([_transposed(A[1:]), np.zeros_like(A[:1])])  # s_t reads A_{t+1}, one step further on
    _, s = scan.prefixes(combine, (later[::-1], g[::-1]))
    return s[::-1]


def combine(early: tuple, late: tuple) -> tuple:
    """Two affine maps, one after the other, as one, :eq:`eq-affine-combine`.

    Args:
        early: (A, b), the map that is applied first; leading axes may be any.
        late: the map that is applied to its result.

    Returns:
        (A_late A_early, A_late b_early + b_late).
    """
    (A, b), (A_late, b_late) = early, late
    both = A_late * A if A.ndim == b.ndim else A_late @ A
    return both, apply(A_late, b) + b_late


def apply(A, h) -> np.ndarray:
    """A transition, diagonal or matrix, times states.

    Args:
        A: shape (..., H), or (..., H, H).
        h: shape (..., H).

    Returns:
        The products, shape (..., H).
    """
    return A * h if A.ndim == h.ndim else (A @ h[..., None])[..., 0]


def _enter(transitions, inputs, initial_state, name: str = "inputs") -> tuple:
    A, b = as_floats(transitions), as_floats(inputs)
    doors.sequences(name, b, "H")
    doors.shape("transitions", A, b.shape if A.ndim == 3 else (*b.shape, b.shape[-1]))
    h_0 = np.zeros_like(b[0]) if initial_state is None else as_floats(initial_state)
    doors.shape("initial_state", h_0, b.shape[1:])
    for one, array in (("transitions", A), (name, b), ("initial_state", h_0)):
        doors.finite(one, array)
    return A, b, h_0


def _transposed(A) -> np.ndarray:
    """Every matrix of all steps; diagonals are their own transposes."""
    return A if A.ndim == 3 else A.mT
