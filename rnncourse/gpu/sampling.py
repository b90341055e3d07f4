"""From a model's outputs to text: reshape the distribution, draw from it, feed the draw back in.

Every choice here is a pure function; chance comes in as uniform numbers that the caller drew. So
the same numbers give the same text on both floors, and a test can walk through all that may happen.
"""

import math
from collections.abc import Callable
from typing import Any

import torch

from rnncourse import doors


def softmax(logits, temperature: float = 1.0) -> torch.Tensor:
    """Turn logits into probabilities, cooler or warmer than the model's own, :eq:`def-temperature`.

    Args:
        logits: y, shape (..., V).
        temperature: what the logits are divided by, positive; below 1 favours what is likely.

    Returns:
        Probabilities, shape (..., V), float64.

    Raises:
        ValueError: if the temperature is not positive or a logit not finite.
    """
    if not 0 < temperature < math.inf:
        raise ValueError(f"temperature: expected a positive number, got {temperature}")
    logits = _doubles(logits)
    doors.finite("logits", logits)
    return torch.softmax((logits - logits.amax(dim=-1, keepdim=True)) / temperature, dim=-1)


def top_k(probabilities, k: int) -> torch.Tensor:
    """Keep the k likeliest tokens, :eq:`def-top-k`; of equals, the first.

    Args:
        probabilities: p, shape (..., V).
        k: how many to keep; V or more keeps all.

    Returns:
        Probabilities, shape (..., V), zero for all but k.

    Raises:
        ValueError: if k is no whole number, or less than 1.
    """
    doors.at_least("k", k, 1)
    p = _doubles(probabilities)
    return _only(p, _ranks(p) < k)


def nucleus(probabilities, mass: float) -> torch.Tensor:
    """Keep the fewest tokens that together reach a mass, :eq:`def-nucleus`; of equals, the first.

    Args:
        probabilities: p, shape (..., V).
        mass: in (0, 1]; 1 keeps all.

    Returns:
        Probabilities, shape (..., V), zero for what was cut.

    Raises:
        ValueError: if the mass is not in (0, 1].
    """
    if not 0 < mass <= 1:
        raise ValueError(f"mass: expected a number in (0, 1], got {mass}")
    p = _doubles(probabilities)
    together = torch.cumsum(p.sort(dim=-1, descending=True).values, dim=-1)  # the mass of the likeliest 1, 2, ... V
    needed = 1 + (together < mass).sum(dim=-1, keepdim=True)
    return p if mass == 1 else _only(p, _ranks(p) < needed)


def draw(probabilities, uniforms) -> torch.Tensor:
    """Draw a token from each distribution: lay the probabilities end to end and see where a number falls.

    Args:
        probabilities: p, shape (..., V).
        uniforms: numbers in [0, 1), drawn evenly, shape (...).

    Returns:
        Classes, integers, shape (...); never one of probability zero.

    Raises:
        ValueError: if the shapes do not fit or a number is not in [0, 1).
    """
    p = _doubles(probabilities)
    u = _doubles(uniforms).to(p.device)
    doors.shape("uniforms", u, tuple(p.shape[:-1]))
    if not ((u >= 0) & (u < 1)).all():
        raise ValueError("uniforms: expected numbers in [0, 1)")
    ends = torch.cumsum(p, dim=-1)
    return (ends / ends[..., -1:] <= u[..., None]).sum(dim=-1)


def ancestral(step: Callable, tokens, state: Any, uniforms) -> tuple[torch.Tensor, Any]:
    """Write: draw each token from the model's own conditional, and feed it back in.

    Args:
        step: takes the last tokens (B,) and a state, returns the probabilities of the next ones
            (B, V) and the new state.
        tokens: the last of what is already there, integers, shape (B,).
        state: what ``step`` takes along with them.
        uniforms: numbers in [0, 1), drawn evenly, shape (T, B).

    Returns:
        ``(written, state)``: classes, shape (T, B), and the state before the last of them is read.

    Raises:
        ValueError: if the shapes do not fit.
    """
    tokens, uniforms = torch.as_tensor(tokens), torch.as_tensor(uniforms)
    doors.shape("tokens", tokens, ("B",))
    doors.shape("uniforms", uniforms, ("T", len(tokens)))
    written = []
    for numbers in uniforms:
        probabilities, state = step(tokens, state)
        tokens = draw(probabilities, numbers)
        written.append(tokens)
    return torch.stack(written), state


def _ranks(p: torch.Tensor) -> torch.Tensor:
    """The place of each class when they are sorted from likely to unlikely, from 0."""
    order = torch.argsort(p, dim=-1, descending=True, stable=True)
    return torch.argsort(order, dim=-1)


def _only(p: torch.Tensor, kept: torch.Tensor) -> torch.Tensor:
    """Zero what is not kept, and make the rest sum to 1 again."""
    p = torch.where(kept, p, 0)
    return p / p.sum(dim=-1, keepdim=True)


def _doubles(values) -> torch.Tensor:
    """A tensor of float64, outside every graph."""
    return torch.as_tensor(values).detach().double()
