"""A leaky integrate-and-fire neuron: its rate in closed form, and spike by spike."""

import math

import torch

from rnncourse import doors
from rnncourse.brain_params import Neuron, check_neuron
from rnncourse.gpu.unroll import as_floats


def interval(neuron: Neuron, drive) -> torch.Tensor:
    """The time from spike to spike under a constant drive, :eq:`eq-lif-interval`.

    Args:
        neuron: its constants.
        drive: u, the voltage at which it would come to rest without a threshold; any shape.

    Returns:
        t_ref + tau_m log((u - reset) / (u - threshold)); infinite unless u is above the threshold.

    Raises:
        ValueError: if a constant is out of range.
    """
    check_neuron(neuron)
    tau, pause, threshold, reset = neuron
    u = as_floats(drive)
    fires = u > threshold
    above = torch.where(fires, u - threshold, 1.0)
    return torch.where(fires, pause + tau * torch.log1p((threshold - reset) / above), math.inf)


def rate(neuron: Neuron, drive) -> torch.Tensor:
    """The f-I curve: spikes in a unit of time under a constant drive, :eq:`eq-lif-interval`.

    Args:
        neuron: its constants.
        drive: u, any shape.

    Returns:
        One over the interval; 0 unless the drive is above the threshold.

    Raises:
        ValueError: if a constant is out of range.
    """
    return 1 / interval(neuron, drive)


def simulate(neuron: Neuron, drive, step: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Run neurons through time, each step solved exactly for a drive that stands still meanwhile.

    A spike is found at the end of the step in which the voltage reaches the threshold; the pause
    that follows is a whole number of steps.

    Args:
        neuron: its constants; all neurons start at the reset.
        drive: u, shape (T, N): one column for each neuron.
        step: the length of a step.

    Returns:
        ``(voltages, spikes)``: after each step, shape (T, N); the reset where a neuron has just
        spiked. Booleans, shape (T, N).

    Raises:
        ValueError: if a constant is out of range, the step not positive, or the drive no finite matrix.
    """
    check_neuron(neuron)
    tau, pause, threshold, reset = neuron
    u = as_floats(drive)
    doors.shape("drive", u, ("T", "N"))
    doors.finite("drive", u.detach())
    if not step > 0:
        raise ValueError(f"step: expected a positive number, got {step!r}")
    kept, silent = math.exp(-step / tau), round(pause / step)
    v, wait = torch.full_like(u[0], reset), torch.zeros_like(u[0], dtype=torch.long)
    voltages, spikes = [], []
    for now in u:
        v = torch.where(wait > 0, reset, now + kept * (v - now))
        wait = (wait - 1).clamp(min=0)
        spiked = v >= threshold
        v, wait = torch.where(spiked, reset, v), torch.where(spiked, silent, wait)
        voltages.append(v)
        spikes.append(spiked)
    return torch.stack(voltages), torch.stack(spikes)
