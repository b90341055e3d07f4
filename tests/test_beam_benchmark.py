"""The race of beam searches, at toy size: every contender finds the same, and the truth is another's."""

import numpy as np
import pytest

from benchmarks import __main__ as program
from benchmarks import beam, race

TOY = list(beam.cases(steps=5, batch=3, widths=(4, 7), symbols=20))


def test_it_is_among_the_races():
    assert "beam" in program.RACES


@pytest.mark.parametrize("case", TOY, ids=lambda case: f"H{case.facts['H']}")
def test_every_contender_does_the_same_work_and_does_it_right(case):
    assert list(case.contenders) == ["rnncourse", "loop in NumPy", "loop in torch", "batched torch"]
    for work in case.contenders.values():
        (logs,) = work()
        assert logs.shape == (1, 3) and (np.diff(logs) < 0).all()
        assert race.error([logs], case.truth) < 1e-12


def test_the_search_goes_on_to_the_limit():
    """An end is improbable, so that the list of finished answers fills late and nobody may stop early."""
    params = beam.problem(4, 20)
    assert params.readout.bias[0] == -30
