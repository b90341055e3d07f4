"""Noisy evidence: what is drawn, and the best judge against numerical integration and Bayes' rule."""

import numpy as np
import pytest
import torch
from proof import agree, verifies

from rnncourse.data import decisions


def test_what_is_drawn():
    trials = decisions.draw(np.random.default_rng(0), 5000, 6, 3, (0.5, 2.0), 0.7)
    assert trials.inputs.shape == trials.targets.shape == (9, 5000, 1) and trials.mask.shape == (9, 5000)
    assert not trials.mask[:6].any() and trials.mask[6:].all() and not trials.inputs[6:].any()
    assert np.array_equal(trials.targets[-1, :, 0] == 1, trials.coherence > 0)
    assert set(abs(trials.coherence)) == {0.5, 2.0} and abs((trials.coherence > 0).mean() - 0.5) < 0.03
    noise = trials.inputs[:6, :, 0] - trials.coherence
    assert abs(noise.mean()) < 0.02 and noise.std() == pytest.approx(0.7, rel=0.02)
    assert abs((noise[1:] * noise[:-1]).mean()) < 0.02
    again = decisions.draw(np.random.default_rng(0), 5000, 6, 3, (0.5, 2.0), 0.7)
    assert np.array_equal(again.inputs, trials.inputs)


@verifies("eq-psychometric", oracle="densities convolved on a grid")
def test_ideal_accuracy():
    """The density of a sum is the density of a step, convolved with itself; what lies above 0 is right."""
    c, steps, noise, h = 0.3, 4, 0.8, 0.01
    x = np.arange(-6, 6 + h / 2, h)
    one = np.exp(-((x - c) ** 2) / (2 * noise**2)) / (noise * np.sqrt(2 * np.pi))
    density = one
    for _ in range(steps - 1):
        density = h * np.convolve(density, one)
    middle = len(density) // 2  # the sum is 0 there
    above = h * (0.5 * density[middle] + density[middle + 1 :].sum())
    agree(decisions.ideal_accuracy(np.array([c, -c]), steps, noise), np.array([above, above]), 1e-5)
    assert decisions.ideal_accuracy(0.0) == 0.5 and decisions.ideal_accuracy(50.0) == 1.0


@verifies("eq-ideal-log-odds", oracle="Bayes' rule on all steps")
def test_log_odds():
    trials = decisions.draw(np.random.default_rng(1), 7, 6, 1, (0.5, 2.0, 0.1), 0.7)
    x = torch.tensor(trials.inputs[:6, :, 0])
    likely = {s: 0.0 for s in (1.0, -1.0)}
    for c in (0.5, 2.0, 0.1):
        for sign in likely:
            step = torch.distributions.Normal(sign * c * torch.ones_like(x), 0.7 * torch.ones_like(x))
            likely[sign] = likely[sign] + torch.exp(step.log_prob(x).sum(dim=0))
    ours = decisions.log_odds(trials.inputs.sum(axis=0)[:, 0], 6, (0.5, 2.0, 0.1), 0.7)
    agree(ours, torch.log(likely[1.0] / likely[-1.0]), 1e-11)
    assert decisions.log_odds(0.0) == 0 and np.isfinite(decisions.log_odds(1e6))


def test_the_best_judge_is_right_as_often_as_it_says():
    trials = decisions.draw(np.random.default_rng(2), 40_000)
    S = trials.inputs.sum(axis=0)[:, 0]
    right = (S > 0) == (trials.coherence > 0)
    for c in decisions.COHERENCES:
        some = np.isclose(abs(trials.coherence), c)
        expected = float(decisions.ideal_accuracy(c))
        assert abs(right[some].mean() - expected) < 4 * np.sqrt(expected * (1 - expected) / some.sum()) + 1e-3
    chance = 1 / (1 + np.exp(-decisions.log_odds(S)))
    for low in np.linspace(0, 0.9, 10):
        some = (chance >= low) & (chance < low + 0.1)
        assert abs((trials.coherence > 0)[some].mean() - chance[some].mean()) < 0.05


def test_doors():
    rng = np.random.default_rng(0)
    for options, words in [
        ({"size": 0}, "size: expected a whole number >= 1"),
        ({"size": 3, "pause": 0}, "pause: expected a whole number >= 1"),
        ({"size": 3, "steps": 0}, "steps: expected a whole number >= 1"),
        ({"size": 3, "coherences": (0.0, 1.0)}, "coherences: expected positive numbers"),
        ({"size": 3, "coherences": ()}, "coherences: expected positive numbers"),
        ({"size": 3, "noise": 0.0}, "noise: expected a positive number"),
    ]:
        with pytest.raises(ValueError, match=words):
            decisions.draw(rng, **options)
