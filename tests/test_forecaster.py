"""A forecaster begins as persistence, and learns what the series has to teach."""

import numpy as np
import pytest
import torch

from rnncourse.gpu import forecaster, training

rng = np.random.default_rng(0)
Y = rng.standard_normal((6, 2, 3)).astype(np.float32)


def test_it_begins_as_persistence():
    for differences in (False, True):
        model = forecaster.Forecaster(3, 4, hidden=5, differences=differences)
        with torch.no_grad():
            said = model(torch.from_numpy(Y))
        assert said.shape == (6, 4, 2, 3)
        assert torch.equal(said, torch.from_numpy(Y)[:, None].expand(6, 4, 2, 3))


def test_a_reader_of_differences_does_not_see_the_level():
    series = torch.from_numpy(Y)
    for differences in (False, True):
        model = forecaster.Forecaster(3, 2, hidden=5, differences=differences)
        torch.nn.init.normal_(model.readout.weight)
        with torch.no_grad():
            moved = model(series + 10) - 10
        assert torch.allclose(moved, model(series), atol=1e-5) == differences


@pytest.mark.parametrize("differences", [False, True])
@pytest.mark.parametrize("t", [0, 2, 4])
def test_it_does_not_look_into_the_future(t, differences):
    model = forecaster.Forecaster(3, 2, hidden=5, differences=differences)
    torch.nn.init.normal_(model.readout.weight, generator=torch.Generator().manual_seed(0))
    series = torch.from_numpy(Y)
    later = series.clone()
    later[t + 1 :, :, 0] += torch.arange(1.0, 6.0 - t)[:, None]
    with torch.no_grad():
        said, told = model(series), model(later)
        assert torch.equal(said[: t + 1], told[: t + 1])
        moved = (told - later[:, None])[t + 1] - (said - series[:, None])[t + 1]
        assert moved.abs().max() > 1e-3, "what is new is seen at once"


def test_starts_differ():
    one, same, other = (forecaster.Forecaster(1, 2, hidden=4, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.recurrence.weight_hh_l0, same.recurrence.weight_hh_l0)
    assert not torch.equal(one.recurrence.weight_hh_l0, other.recurrence.weight_hh_l0)


def test_targets_and_loss():
    wanted = forecaster.targets(Y, 4, warm=2)
    for t in range(6):
        for j in range(4):
            if t < 2 or t + 1 + j > 5:
                assert np.isnan(wanted[t, :, j]).all()
            else:
                assert np.array_equal(wanted[t, :, j], Y[t + 1 + j])
    model = forecaster.Forecaster(3, 4)
    value, carry = forecaster.loss(model, torch.from_numpy(Y), torch.from_numpy(wanted))
    errors = [(Y[t + j] - Y[t]) ** 2 for t in range(2, 6) for j in range(1, 5) if t + j < 6]
    assert carry is None and float(value.detach()) == pytest.approx(float(np.mean(errors)), rel=1e-5)


def test_it_learns_a_wave():
    t = np.arange(60)[:, None, None]
    wave = np.sin(0.5 * t + rng.uniform(0, 6, (1, 16, 1))).astype(np.float32)
    model = forecaster.Forecaster(1, 3, hidden=16)
    batch = training.Batch(torch.from_numpy(wave), torch.from_numpy(forecaster.targets(wave, 3, 10)))
    history = training.fit(model, lambda _: batch, forecaster.loss, training.Settings(100, 1e-2, every=100))
    model = forecaster.Forecaster(1, 3, hidden=16)
    before = float(forecaster.loss(model, batch.inputs, batch.targets)[0].detach())
    assert history[-1].train < 0.3 * before


def test_bad_input():
    for name, call in {
        "kind": lambda: forecaster.Forecaster(1, 1, "tree"),
        "steps": lambda: forecaster.Forecaster(1, 0),
        "warm": lambda: forecaster.targets(Y, 2, 5),
        "series": lambda: forecaster.targets(Y[0], 2),
    }.items():
        with pytest.raises(ValueError, match=rf"^{name}: "):
            call()
