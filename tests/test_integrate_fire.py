"""An integrate-and-fire neuron: its closed form against the grid, a fine Euler run and its limits."""

import numpy as np
import pytest
import torch
from proof import agree, verifies

from rnncourse import bridge, gpu, reference
from rnncourse.brain_params import Neuron

FLOORS = pytest.mark.parametrize("floor", [reference, gpu], ids=["reference", "gpu"])
NEURONS = [Neuron(), Neuron(10.0, 0.0), Neuron(15.0, 3.0, 2.0, -0.5)]
DRIVES = np.array([2.05, 2.5, 4.0, 20.0])


def give(floor, tree):
    return tree if floor is reference else bridge.to_torch(tree)


def spikes_by_euler(neuron, u, dt, until):
    """One neuron and plain Euler steps, in clock time; the mean interval between its spikes."""
    tau, pause, threshold, reset = neuron
    v, now, free, times = reset, 0.0, 0.0, []
    while now < until:
        now += dt
        if now <= free:
            continue
        v += dt * (u - v) / tau
        if v >= threshold:
            times.append(now)
            v, free = reset, now + pause
    return np.diff(times).mean()


@verifies("eq-lif-interval", oracle="Gauss-Legendre quadrature of dv over its speed")
@FLOORS
@pytest.mark.parametrize("neuron", NEURONS)
def test_interval_against_quadrature(floor, neuron):
    """A neuron at voltage v moves by (u - v) / tau in a unit of time: add up how long each piece of the climb takes."""
    tau, pause, threshold, reset = neuron
    nodes, weights = np.polynomial.legendre.leggauss(60)
    half = (threshold - reset) / 2
    v = reset + half * (nodes + 1)
    climbs = pause + half * (weights * tau / (DRIVES[:, None] - v)).sum(axis=1)
    agree(floor.integrate_fire.interval(neuron, give(floor, DRIVES)), climbs, 1e-9)


@FLOORS
@pytest.mark.parametrize("neuron", NEURONS)
def test_interval_against_small_steps(floor, neuron):
    for u in (2.2, 5.0):
        fine = spikes_by_euler(neuron, u, 2e-4, 120.0)
        agree(float(floor.integrate_fire.interval(neuron, give(floor, np.array(u)))), fine, 1e-4)


@FLOORS
@pytest.mark.parametrize("neuron", NEURONS)
def test_simulation_spike_by_spike(floor, neuron):
    """On the grid the interval is ceil(closed form) steps, and that is all there is to differ."""
    dt = 0.05
    tau, pause, threshold, reset = neuron
    drive = np.tile(DRIVES, (8000, 1))
    _, spikes = floor.integrate_fire.simulate(neuron, give(floor, drive), dt)
    for u, column in zip(DRIVES, np.asarray(spikes).T, strict=True):
        gaps = np.diff(np.flatnonzero(column))
        climb = np.ceil(tau / dt * np.log((u - reset) / (u - threshold)))
        assert len(gaps) > 3 and set(gaps.tolist()) == {int(climb + round(pause / dt))}
        exact = float(reference.integrate_fire.interval(neuron, u))
        assert abs(dt * gaps.mean() - exact) < 1.001 * dt


@verifies("eq-lif-voltage", oracle="matrix exponential")
def test_voltage_between_spikes():
    drive = np.full((30, 1), 0.9)  # below the threshold: it never fires
    voltages, spikes = reference.integrate_fire.simulate(Neuron(reset=-0.4), drive, 1.5)
    system = torch.tensor([[-1 / 20.0, 0.9 / 20.0], [0.0, 0.0]], dtype=torch.float64)
    start = torch.tensor([-0.4, 1.0], dtype=torch.float64)
    exact = [(torch.linalg.matrix_exp(1.5 * n * system) @ start)[0].item() for n in range(1, 31)]
    assert not spikes.any()
    agree(voltages[:, 0], np.array(exact), 1e-13)


@FLOORS
@pytest.mark.parametrize("neuron", [Neuron(15.0, 0.0, 2.0, -0.5), Neuron(15.0, 3.0, 2.0, -0.5)])
def test_voltages_through_spikes(floor, neuron):
    """A loop in clock time; where a neuron has just spiked, the voltage told is the reset."""
    tau, pause, threshold, reset = neuron
    drive = 4 + 2 * np.random.default_rng(3).standard_normal((60, 1))
    v, free, expected, fired = reset, 0.0, [], []
    for n, u in enumerate(drive[:, 0]):
        if n >= free:
            v = u + np.exp(-1.5 / tau) * (v - u)
        fired.append(v >= threshold)
        if fired[-1]:
            v, free = reset, n + 1 + pause / 1.5
        expected.append(v)
    voltages, spikes = floor.integrate_fire.simulate(neuron, give(floor, drive), 1.5)
    assert sum(fired) > 3 and np.asarray(spikes)[:, 0].tolist() == fired
    agree(voltages[:, 0], np.array(expected), 1e-13)


@FLOORS
def test_at_the_threshold_it_never_fires(floor):
    with np.errstate(all="raise"):
        assert float(floor.integrate_fire.rate(Neuron(), give(floor, np.array(1.0)))) == 0


@FLOORS
def test_a_step_that_ends_at_the_threshold_spikes_and_a_pause_is_rounded_to_steps(floor):
    ones = give(floor, np.ones((4, 1)))  # the step is so long that the voltage reaches the drive, to the last bit
    assert np.asarray(floor.integrate_fire.simulate(Neuron(refractory=0.0), ones, 1e6)[1]).all()
    strong = give(floor, np.full((12, 1), 1e9))
    spikes = floor.integrate_fire.simulate(Neuron(refractory=0.3), strong, 0.1)[1]  # 0.3 / 0.1 < 3 in floats
    assert np.flatnonzero(np.asarray(spikes)[:, 0]).tolist() == [0, 4, 8]


@verifies("eq-lif-saturation", oracle="Richardson's extrapolation from two large drives")
@FLOORS
def test_saturation_is_slow(floor):
    """u (1/t_ref - f) nears its limit as 1/u does; of two drives, the second twice the first, that term cancels."""
    for neuron in NEURONS[::2]:
        tau, pause, threshold, reset = neuron
        u = np.array([1e4, 2e4])
        missing = u * (1 / pause - 1 / (pause + tau * np.log((u - reset) / (u - threshold))))
        ours = u * (1 / pause - np.asarray(floor.integrate_fire.rate(neuron, give(floor, u))))
        agree(ours, missing, 1e-8)
        agree(tau * (threshold - reset) / pause**2, 2 * ours[1] - ours[0], 1e-5)
        assert abs(ours[1] - ours[0]) > 1e-4 * ours[0]  # at either drive alone the limit is not yet reached


@FLOORS
def test_rheobase_bound_and_rise(floor):
    u = np.concatenate([np.linspace(-2, 1, 50), np.linspace(1.0001, 400, 500)])
    f = np.asarray(floor.integrate_fire.rate(Neuron(), give(floor, u)))
    assert not f[:50].any() and (f[50:] > 0).all()
    assert (np.diff(f[50:]) > 0).all() and f.max() < 1 / 2.0
    free = np.asarray(floor.integrate_fire.rate(Neuron(refractory=0.0), give(floor, u)))
    assert free.max() > 10 / 2.0  # without a pause there is no such bound
    agree(1 / f[60:], 1 / free[60:] + 2.0, 1e-12)  # the pause is added once


@FLOORS
def test_a_pause_and_a_changing_drive(floor):
    drive = np.zeros((40, 2))
    drive[:, 0] = 1e9
    drive[20:, 1] = 1e9
    _, spikes = floor.integrate_fire.simulate(Neuron(refractory=3.0), give(floor, drive), 1.0)
    spikes = np.asarray(spikes)
    assert np.flatnonzero(spikes[:, 0]).tolist() == list(range(0, 40, 4))
    assert np.flatnonzero(spikes[:, 1]).tolist() == list(range(20, 40, 4))


def test_the_rate_has_a_slope_on_the_torch_floor():
    u = torch.tensor([0.5, 1.5, 8.0], dtype=torch.float64, requires_grad=True)
    gpu.integrate_fire.rate(Neuron(), u).sum().backward()
    T = 2 + 20 * np.log(np.array([1.5, 8.0]) / np.array([0.5, 7.0]))
    agree(u.grad[1:], 20 / T**2 / np.array([1.5 * 0.5, 8.0 * 7.0]), 1e-12)
    assert u.grad[0] == 0


@FLOORS
def test_doors(floor):
    drive = give(floor, np.ones((3, 1)))
    for neuron, words in [
        (Neuron(0.0), "a positive time constant"),
        (Neuron(20.0, -1.0), "a refractory period of 0 or more"),
        (Neuron(reset=1.0), "a reset below the threshold"),
    ]:
        with pytest.raises(ValueError, match=words):
            floor.integrate_fire.simulate(neuron, drive, 0.1)
        with pytest.raises(ValueError, match=words):
            floor.integrate_fire.rate(neuron, drive)
    with pytest.raises(ValueError, match="step: expected a positive number"):
        floor.integrate_fire.simulate(Neuron(), drive, 0.0)
    with pytest.raises(ValueError, match="drive: expected shape"):
        floor.integrate_fire.simulate(Neuron(), drive[:, 0], 0.1)
    with pytest.raises(ValueError, match="drive: 3 of 3 entries are NaN"):
        floor.integrate_fire.simulate(Neuron(), drive * np.nan, 0.1)
