"""Losses over time: summed, or averaged over the steps that count."""

from typing import NamedTuple

import torch

from rnncourse import doors
from rnncourse.gpu import graph

REDUCTIONS = ("sum", "mean")


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    Attributes:
        outputs: y, shape (T, B, O).
        value: the loss, a scalar.
    """

    outputs: torch.Tensor
    value: torch.Tensor


def squared_error(outputs, targets, mask=None, reduction: str = "sum"):
    """Half the squared distance to the target, :eq:`def-squared-error`.

    Args:
        outputs: y, shape (T, B, O).
        targets: the same shape; may hold anything where the mask is False.
        mask: booleans, shape (T, B): the steps that count; all unless given.
        reduction: "sum" over steps and sequences, or "mean" over the steps that count.

    Returns:
        ``(value, tape)``: the loss, a scalar tensor, and what :func:`backward` needs.

    Raises:
        ValueError: if a shape does not fit, a counted entry is not finite, or no step counts
            in a mean.
    """
    mask = _steps(outputs, mask)
    doors.shape("targets", targets, tuple(outputs.shape))
    y = graph.tracked(outputs)
    error = torch.where(mask[:, :, None], y - torch.as_tensor(targets, device=y.device), 0)
    doors.finite("outputs - targets", error.detach())
    value = 0.5 * _scale(mask, reduction) * error.square().sum()
    return graph.returned(value, outputs), Tape(y, value)


def cross_entropy(outputs, targets, mask=None, reduction: str = "sum"):
    """Softmax cross-entropy in nats, :eq:`def-cross-entropy`.

    Args:
        outputs: logits y, shape (T, B, V).
        targets: the right class of each step, integers in 0..V-1, shape (T, B); may hold
            anything where the mask is False.
        mask: booleans, shape (T, B): the steps that count; all unless given.
        reduction: "sum" over steps and sequences, or "mean" over the steps that count.

    Returns:
        ``(value, tape)``: the loss, a scalar tensor, and what :func:`backward` needs.

    Raises:
        ValueError: if a shape does not fit, a counted class is out of range, a counted logit
            is not finite, or no step counts in a mean.
    """
    mask = _steps(outputs, mask)
    targets = _classes(targets, mask, outputs.shape[2])
    y = graph.tracked(outputs)
    logits = torch.where(mask[:, :, None], y, 0)
    doors.finite("outputs", logits.detach())
    right = torch.log_softmax(logits, dim=2).gather(2, targets[:, :, None])[:, :, 0]
    value = -_scale(mask, reduction) * torch.where(mask, right, 0).sum()
    return graph.returned(value, outputs), Tape(y, value)


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
        ``(value, tape)``: the loss, a scalar tensor, and what :func:`backward` needs.

    Raises:
        ValueError: if a shape does not fit, a counted target is outside 0..1, a counted logit is
            not finite, or no step counts in a mean.
    """
    mask = _steps(outputs, mask)
    targets = _chances(targets, outputs, mask)
    y = graph.tracked(outputs)
    logits = torch.where(mask[:, :, None], y, 0)
    doors.finite("outputs", logits.detach())
    losses = torch.nn.functional.softplus(logits, threshold=60) - targets * logits
    value = _scale(mask, reduction) * torch.where(mask[:, :, None], losses, 0).sum()
    return graph.returned(value, outputs), Tape(y, value)


def backward(tape: Tape) -> torch.Tensor:
    """The gradient with respect to the outputs, by autograd.

    Args:
        tape: from one of the losses.

    Returns:
        e_t = dL/dy_t, shape (T, B, O).

    Raises:
        ValueError: if nothing was recorded.
    """
    return graph.pull(tape.value, None, tape.outputs)


def as_mask(mask, shape: tuple) -> torch.Tensor:
    """The steps that count, checked.

    Args:
        mask: booleans, shape (T, B).
        shape: (T, B).

    Returns:
        The mask as a tensor.

    Raises:
        ValueError: if its shape differs, or it does not hold booleans.
    """
    mask = torch.as_tensor(mask)
    doors.shape("mask", mask, tuple(shape))
    if mask.dtype != torch.bool:
        raise ValueError(f"mask: expected booleans, got {mask.dtype}")
    return mask


def _steps(outputs, mask) -> torch.Tensor:
    """The mask, all True unless given, on the device of the outputs."""
    doors.shape("outputs", outputs, ("T", "B", "O"))
    if mask is None:
        return torch.ones(outputs.shape[:2], dtype=torch.bool, device=outputs.device)
    return as_mask(mask, outputs.shape[:2]).to(outputs.device)


def _classes(targets, mask: torch.Tensor, V: int) -> torch.Tensor:
    """The targets as classes in range, with 0 where a step does not count."""
    targets = torch.as_tensor(targets, device=mask.device)
    doors.shape("targets", targets, tuple(mask.shape))
    if targets.is_floating_point() or targets.is_complex() or targets.dtype == torch.bool:
        raise ValueError(f"targets: expected integer classes, got {targets.dtype}")
    targets = torch.where(mask, targets.long(), 0)
    if targets.numel() and (targets.min() < 0 or targets.max() >= V):
        raise ValueError(f"targets: expected classes in 0..{V - 1}, got {targets.min()}..{targets.max()}")
    return targets


def _chances(targets, outputs: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The targets as chances of a yes in the precision of the outputs, with 0 where a step does not count."""
    targets = torch.as_tensor(targets, device=mask.device)
    doors.shape("targets", targets, tuple(outputs.shape))
    targets = torch.where(mask[:, :, None], targets, 0).to(outputs.dtype)
    if not ((targets >= 0) & (targets <= 1)).all():  # NaN fails both
        raise ValueError(f"targets: expected 0, 1 or a chance between, got {targets.min()}..{targets.max()}")
    return targets


def _scale(mask: torch.Tensor, reduction: str) -> float:
    """What each counted step weighs."""
    doors.one_of("reduction", reduction, REDUCTIONS)
    if reduction == "sum":
        return 1.0
    if not mask.any():
        raise ValueError("mask: a mean over no step at all has no value")
    return 1.0 / int(mask.sum())
