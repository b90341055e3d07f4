"""The sunspots are those that were published, and turn in about eleven years."""

import numpy as np
import pytest

from rnncourse.data import sunspots


def test_the_numbers(monkeypatch):
    years, numbers = sunspots.yearly()
    assert years[0] == 1700 and years[-1] == 2008 and len(numbers) == 309
    assert numbers[0] == 5 and numbers[years == 1957] == 190.2 == numbers.max() and numbers[-1] == 2.9
    power = np.abs(np.fft.rfft(numbers - numbers.mean()))
    assert 10 < len(numbers) / np.argmax(power) < 12
    monkeypatch.setattr(sunspots, "_NUMBERS", sunspots._NUMBERS.replace("36", "37", 1))
    with pytest.raises(ValueError, match="yearly"):
        sunspots.yearly()


@pytest.mark.parametrize("seen", [2, 100, 221, 309])
def test_scaled(seen):
    series, (_, numbers) = sunspots.scaled(seen), sunspots.yearly()
    assert abs(series[:seen].mean()) < 1e-12 and abs(series[:seen].std() - 1) < 1e-12
    assert np.corrcoef(series, numbers)[0, 1] > 1 - 1e-12 and len(series) == 309


def test_scaled_by_default_sees_the_years_to_1920():
    assert np.array_equal(sunspots.scaled(), sunspots.scaled(221)) and sunspots.yearly()[0][220] == 1920


@pytest.mark.parametrize("seen", [0, 1, 310, 2.0])
def test_doors(seen):
    with pytest.raises(ValueError, match=r"^seen: "):
        sunspots.scaled(seen)
