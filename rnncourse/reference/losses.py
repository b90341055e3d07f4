"""Losses over time: summed, or averaged over the steps that count."""

from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.reference import activations

REDUCTIONS = ("sum", "mean")


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    Attributes:
        gradient: dL/dy_t, shape (T, B, O), zero where a step does not count.
    """

    gradient: np.ndarray


def squared_error(outputs, targets, mask=None, reduction: str = "sum"):
    """Half the squared distance to the target, :eq:`def-squared-error`.

    Args:
        outputs: y, shape (T, B, O).
        targets: the same shape; may hold anything where the mask is False.
        mask: booleans, shape (T, B): the steps that count; all unless given.
        reduction: "sum" over steps and sequences, or "mean" over the steps that count.

    Returns:
        ``(value, tape)``: the loss, a scalar, and what :func:`backward` needs.

    Raises:
        ValueError: if a shape does not fit, a counted entry is not finite, or no step counts
            in a mean.
    """
    mask, targets = _steps(outputs, mask), np.asarray(targets)
    doors.shape("targets", targets, outputs.shape)
    error = np.where(mask[:, :, None], outputs - targets, 0)
    doors.finite("outputs - targets", error)
    scale = _scale(mask, reduction)
    return 0.5 * scale * (error * error).sum(), Tape(scale * error)  # not abs(): the complex step needs it analytic


def cross_entropy(outputs, targets, mask=None, reduction: str = "sum"):
    """Softmax cross-entropy in nats, :eq:`def-cross-entropy`.

    Args:
        outputs: logits y, shape (T, B, V).
        targets: the right class of each step, integers in 0..V-1, shape (T, B); may hold
            anything where the mask is False.
        mask: booleans, shape (T, B): the steps that count; all unless given.
        reduction: "sum" over steps and sequences, or "mean" over the steps that count.

    Returns:
        ``(value, tape)``: the loss, a scalar, and what :func:`backward` needs.

    Raises:
        ValueError: if a shape does not fit, a counted class is out of range, a counted logit
            is not finite, or no step counts in a mean.
    """
    mask = _steps(outputs, mask)
    V = outputs.shape[2]
    targets = _classes(targets, mask, V)
    logits = np.where(mask[:, :, None], outputs, 0)
    doors.finite("outputs", logits)
    logits = logits - logits.real.max(axis=2, keepdims=True)  # the largest is 0: exp cannot overflow
    exps = np.exp(logits)
    norms = exps.sum(axis=2, keepdims=True)
    right = np.arange(V) == targets[:, :, None]
    losses = np.log(norms[:, :, 0]) - np.where(right, logits, 0).sum(axis=2)
    scale = _scale(mask, reduction)
    gradient = np.where(mask[:, :, None], scale * (exps / norms - right), 0)
    return scale * np.where(mask, losses, 0).sum(), Tape(gradient)


def bernoulli(outputs, targets, mask=None, reduction: str = "sum"):
    """Cross-entropy of independent yes-or-no answers in nats, :eq:`def-rnn-bernoulli`.

    Args:
        outputs: logits y, shape (T, B, O); the probability of a yes is sigma(y).
        targets: 1 for yes and 0 for no, or a probability between; shape (T, B, O). May hold
            anything where the mask is False.
        mask: booleans, shape (T, B): the steps that count; all unless given.
        reduction: "sum" over steps, sequences and outputs, or "mean" over the steps that count
            (outputs are summed).

    Returns:
        ``(value, tape)``: the loss, a scalar, and what :func:`backward` needs.

    Raises:
        ValueError: if a shape does not fit, a counted target is outside 0..1, a counted logit is
            not finite, or no step counts in a mean.
    """
    mask = _steps(outputs, mask)
    targets = _chances(targets, outputs, mask)
    logits = np.where(mask[:, :, None], outputs, 0)
    doors.finite("outputs", logits)
    size = np.where(logits.real > 0, logits, -logits)  # |y|, analytic on either side of 0
    # log(1 + e^y) = max(y, 0) + log(1 + e^-|y|), which cannot overflow
    losses = 0.5 * (logits + size) + np.log1p(np.exp(-size)) - targets * logits
    scale, counted = _scale(mask, reduction), mask[:, :, None]
    gradient = np.where(counted, scale * (activations.sigmoid(logits) - targets), 0)
    return scale * np.where(counted, losses, 0).sum(), Tape(gradient)


def backward(tape: Tape) -> np.ndarray:
    """The gradient with respect to the outputs, :eq:`eq-loss-gradients`: mean minus target, :eq:`eq-mean-minus-target`.

    Args:
        tape: from one of the losses.

    Returns:
        e_t = dL/dy_t, shape (T, B, O).
    """
    return tape.gradient


def as_mask(mask, shape: tuple) -> np.ndarray:
    """The steps that count, checked.

    Args:
        mask: booleans, shape (T, B).
        shape: (T, B).

    Returns:
        The mask as an array.

    Raises:
        ValueError: if its shape differs, or it does not hold booleans.
    """
    mask = np.asarray(mask)
    doors.shape("mask", mask, shape)
    if mask.dtype != bool:
        raise ValueError(f"mask: expected booleans, got {mask.dtype}")
    return mask


def _steps(outputs, mask) -> np.ndarray:
    """The mask, all True unless given."""
    doors.shape("outputs", outputs, ("T", "B", "O"))
    return np.ones(outputs.shape[:2], bool) if mask is None else as_mask(mask, outputs.shape[:2])


def _classes(targets, mask: np.ndarray, V: int) -> np.ndarray:
    """The targets as classes in range, with 0 where a step does not count."""
    targets = np.asarray(targets)
    doors.shape("targets", targets, mask.shape)
    if not np.issubdtype(targets.dtype, np.integer):
        raise ValueError(f"targets: expected integer classes, got {targets.dtype}")
    targets = np.where(mask, targets, 0)
    if targets.size and (targets.min() < 0 or targets.max() >= V):
        raise ValueError(f"targets: expected classes in 0..{V - 1}, got {targets.min()}..{targets.max()}")
    return targets


def _chances(targets, outputs, mask: np.ndarray) -> np.ndarray:
    """The targets as chances of a yes in the precision of the outputs, with 0 where a step does not count."""
    targets = np.asarray(targets)
    doors.shape("targets", targets, outputs.shape)
    targets = np.where(mask[:, :, None], targets, 0).astype(outputs.real.dtype)
    if not ((targets >= 0) & (targets <= 1)).all():  # NaN fails both
        raise ValueError(f"targets: expected 0, 1 or a chance between, got {targets.min()}..{targets.max()}")
    return targets


def _scale(mask: np.ndarray, reduction: str) -> float:
    """What each counted step weighs."""
    doors.one_of("reduction", reduction, REDUCTIONS)
    if reduction == "sum":
        return 1.0
    if not mask.any():
        raise ValueError("mask: a mean over no step at all has no value")
    return 1.0 / int(mask.sum())  # a plain number, so that float32 stays float32
