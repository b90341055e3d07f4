"""The race of scans, at toy size: every contender does the same work, and does it right."""

import pytest

from benchmarks import __main__ as program
from benchmarks import race, scans


@pytest.mark.parametrize("case", list(scans.cases(steps=11, batch=3, widths=(4, 7))), ids=lambda case: str(case.facts))
def test_every_contender_finds_the_same_states(case):
    assert next(iter(case.contenders)) == "rnncourse scan" and "rnncourse loop" in case.contenders
    for name, work in case.contenders.items():
        (states,) = work()
        assert states.shape == (case.facts["T"], case.facts["B"], case.facts["H"])
        assert race.error([states], case.truth) < 1e-12, name


def test_the_race_is_in_the_program():
    assert "scans" in program.RACES
