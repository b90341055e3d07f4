"""Dale's law: every neuron has one sign, and so has every column of the recurrent weights, whatever is learned."""

from typing import NamedTuple

import numpy as np

from rnncourse import brain_params, doors
from rnncourse.reference import activations
from rnncourse.reference.unroll import as_floats


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    Attributes:
        free: M, shape (H, H).
        signs: of the presynaptic neurons, shape (H,).
    """

    free: np.ndarray
    signs: np.ndarray


def forward(free, signs) -> tuple[np.ndarray, Tape]:
    """Weights that obey, from a matrix of free numbers, :eq:`def-dale-weights`: W_ij = sign_j softplus(M_ij).

    Args:
        free: M, shape (H, H).
        signs: +1 for a neuron that excites and -1 for one that inhibits, shape (H,): one for each column.

    Returns:
        ``(weights, tape)``: W, shape (H, H), and what :func:`backward` needs.

    Raises:
        ValueError: if a shape does not fit, an entry is not finite, or a sign is neither +1 nor -1.
    """
    M, signs = as_floats(free), np.asarray(signs)
    brain_params.check_signs(signs)
    doors.shape("free", M, 2 * signs.shape)
    doors.finite("free", M)
    return activations.softplus(M) * signs.astype(M.real.dtype), Tape(M, signs.astype(M.real.dtype))


def backward(tape: Tape, d_weights) -> np.ndarray:
    """The gradient of the free numbers, :eq:`eq-dale-gradient`.

    Args:
        tape: from :func:`forward`.
        d_weights: dL/dW, shape (H, H).

    Returns:
        dL/dM = sign_j sigma(M_ij) dL/dW_ij, shape (H, H).

    Raises:
        ValueError: if the shape does not fit.
    """
    doors.shape("d_weights", d_weights, tape.free.shape)
    return tape.signs * activations.sigmoid(tape.free) * d_weights


def invert(weights) -> np.ndarray:
    """The free numbers that give weights of these sizes: the inverse of softplus.

    Args:
        weights: W, shape (H, H), no entry zero; signs are dropped.

    Returns:
        M = log(exp(abs(W)) - 1), shape (H, H).

    Raises:
        ValueError: if an entry is zero or not finite.
    """
    sizes = abs(as_floats(weights))
    doors.finite("weights", sizes)
    if not (sizes > 0).all():
        raise ValueError("weights: an entry is zero, which softplus reaches only at minus infinity")
    return sizes + np.log(-np.expm1(-sizes))


def obeys(weights) -> np.ndarray:
    """Which neurons have one sign: no column of the recurrent weights may hold both.

    Args:
        weights: W, shape (H, H): column j is what neuron j sends.

    Returns:
        Booleans, shape (H,).

    Raises:
        ValueError: if it is no matrix.
    """
    doors.shape("weights", weights, ("H", "H"))
    return (weights >= 0).all(axis=0) | (weights <= 0).all(axis=0)
