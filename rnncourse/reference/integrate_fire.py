"""A leaky integrate-and-fire neuron: its rate in closed form, and spike by spike."""

import numpy as np

from rnncourse import doors
from rnncourse.brain_params import Neuron, check_neuron


def interval(neuron: Neuron, drive) -> np.ndarray:
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
    u = np.asarray(drive, float)
    fires = u > threshold
    above = np.where(fires, u - threshold, 1.0)
    return np.where(fires, pause + tau * np.log1p((threshold - reset) / above), np.inf)


def rate(neuron: Neuron, drive) -> np.ndarray:
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


def simulate(neuron: Neuron, drive, step: float) -> tuple[np.ndarray, np.ndarray]:
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
    u = np.asarray(drive, float)
    doors.shape("drive", u, ("T", "N"))
    doors.finite("drive", u)
    if not step > 0:
        raise ValueError(f"step: expected a positive number, got {step!r}")
    kept, silent = np.exp(-step / tau), round(pause / step)
    v, wait = np.full(u.shape[1], float(reset)), np.zeros(u.shape[1], int)
    voltages, spikes = np.empty(u.shape), np.zeros(u.shape, bool)
    for t, now in enumerate(u):
        v = np.where(wait > 0, reset, now + kept * (v - now))
        wait = np.maximum(wait - 1, 0)
        spikes[t] = v >= threshold
        v, wait = np.where(spikes[t], reset, v), np.where(spikes[t], silent, wait)
        voltages[t] = v
    return voltages, spikes
