"""Leaky rate units: each keeps a share of its state and moves the rest of the way to where its current drives it."""

from rnncourse.reference import activations
from rnncourse.reference.cells import Cell


def leaky(alpha: float, activation: str = "tanh", baseline=0.0, swing: float = 1.0) -> Cell:
    """Make the cell h_t = (1 - alpha) h_{t-1} + alpha (rho_0 + rho_1 phi(a_t)), :eq:`def-leaky-cell`.

    With alpha = 1, no baseline and a swing of 1 it is the vanilla cell. Its pull is :eq:`eq-leaky-pull`.

    Args:
        alpha: the share that a step replaces, above 0, at most 1; see ``brain_params.leak``.
        activation: phi: "tanh", "sigmoid", "relu" or "identity".
        baseline: rho_0, a number or shape (H,).
        swing: rho_1, the rate that phi = 1 adds.

    Returns:
        The cell; its parameters are ``params.RNNParams``.

    Raises:
        ValueError: if there is no such activation, or alpha is out of range.
    """
    phi, slope = activations.get(activation)
    if not 0 < alpha <= 1:
        raise ValueError(f"alpha: expected a share above 0 and at most 1, got {alpha!r}")

    def step(own, ax, ah, state):
        (past,) = state
        driven = phi(ax + ah)
        return ((1 - alpha) * past + alpha * (baseline + swing * driven),), driven

    def pull(own, driven, d_state):
        (s,) = d_state
        delta = alpha * swing * slope(driven) * s
        return delta, delta, ((1 - alpha) * s,), ()

    return Cell(f"leaky-{activation}", gates=1, states=1, step=step, pull=pull)
