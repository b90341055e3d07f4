"""Dale's law: every neuron has one sign, and so has every column of the recurrent weights, whatever is learned."""

from typing import NamedTuple

import torch

from rnncourse import brain_params, doors
from rnncourse.gpu import activations, graph
from rnncourse.gpu.unroll import as_floats


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    Attributes:
        free: M, shape (H, H).
        weights: W, shape (H, H).
    """

    free: torch.Tensor
    weights: torch.Tensor


def forward(free, signs) -> tuple[torch.Tensor, Tape]:
    """Weights that obey, from a matrix of free numbers, :eq:`def-dale-weights`: W_ij = sign_j softplus(M_ij).

    Args:
        free: M, shape (H, H).
        signs: +1 for a neuron that excites and -1 for one that inhibits, shape (H,): one for each column.

    Returns:
        ``(weights, tape)``: W, shape (H, H), and what :func:`backward` needs.

    Raises:
        ValueError: if a shape does not fit, an entry is not finite, or a sign is neither +1 nor -1.
    """
    M = as_floats(free)
    signs = torch.as_tensor(signs).to(M)
    brain_params.check_signs(signs)
    doors.shape("free", M, 2 * tuple(signs.shape))
    doors.finite("free", M.detach())
    recorded = graph.tracked(M)
    weights = activations.softplus(recorded) * signs
    return graph.returned(weights, M), Tape(recorded, weights)


def backward(tape: Tape, d_weights) -> torch.Tensor:
    """The gradient of the free numbers, by autograd; :eq:`eq-dale-gradient` on the other floor.

    Args:
        tape: from :func:`forward`.
        d_weights: dL/dW, shape (H, H).

    Returns:
        dL/dM, shape (H, H).

    Raises:
        ValueError: if the shape does not fit, or nothing was recorded.
    """
    doors.shape("d_weights", d_weights, tuple(tape.free.shape))
    return graph.pull(tape.weights, d_weights, tape.free)


def invert(weights) -> torch.Tensor:
    """The free numbers that give weights of these sizes: the inverse of softplus.

    Args:
        weights: W, shape (H, H), no entry zero; signs are dropped.

    Returns:
        M = log(exp(abs(W)) - 1), shape (H, H).

    Raises:
        ValueError: if an entry is zero or not finite.
    """
    sizes = as_floats(weights).abs()
    doors.finite("weights", sizes.detach())
    if not (sizes > 0).all():
        raise ValueError("weights: an entry is zero, which softplus reaches only at minus infinity")
    return sizes + torch.log(-torch.expm1(-sizes))


def obeys(weights) -> torch.Tensor:
    """Which neurons have one sign: no column of the recurrent weights may hold both.

    Args:
        weights: W, shape (H, H): column j is what neuron j sends.

    Returns:
        Booleans, shape (H,).

    Raises:
        ValueError: if it is no matrix.
    """
    doors.shape("weights", weights, ("H", "H"))
    return (weights >= 0).all(dim=0) | (weights <= 0).all(dim=0)
