"""The race of Kalman filters, at toy size: every contender does the same work, and does it right."""

import pytest

from benchmarks import __main__ as program
from benchmarks import kalman, race


@pytest.mark.parametrize("case", kalman.cases(steps=30, batch=3, widths=(4, 7)), ids=lambda case: str(case.facts))
def test_every_contender_finds_the_same_means(case):
    assert next(iter(case.contenders)).startswith("rnncourse")
    for name, work in case.contenders.items():
        (means,) = work()
        assert means.shape == (case.facts["T"], case.facts["B"], case.facts["H"])
        # statsmodels stops its covariances earlier than we do
        assert race.error([means], case.truth) < (1e-7 if name == "statsmodels" else 1e-11), name


def test_the_race_is_in_the_program():
    assert "kalman" in program.RACES
