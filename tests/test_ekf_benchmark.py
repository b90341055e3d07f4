"""The race of extended Kalman filters and resamplers, at toy size: every contender does the same work, rightly."""

import numpy as np
import pytest

from benchmarks import __main__ as program
from benchmarks import ekf, race

TOY = list(ekf.cases(steps=30, batch=3, widths=(4, 7)))


@pytest.mark.parametrize("case", TOY, ids=lambda case: str(case.facts))
def test_every_contender_finds_the_same(case):
    assert next(iter(case.contenders)) == "rnncourse"
    for name, work in case.contenders.items():
        found = work()
        assert [one.shape for one in found] == [one.shape for one in case.truth], name
        assert race.error(found, case.truth) < 1e-10, name


def test_the_line_up_is_what_it_says():
    filters = [case.facts for case in TOY if "H" in case.facts]
    assert {facts["B"] for facts in filters} == {1, 3} and {facts["H"] for facts in filters} == {4, 7}
    assert {facts["B"] for facts in (case.facts for case in ekf.cases(steps=2)) if "B" in facts} == {1, 16, 64}
    assert [case.facts["N"] for case in TOY if "N" in case.facts] == 3 * [3000]


def test_a_wrong_point_would_show():
    """The error column tells the right Jacobian from one at the step before."""
    params, y = ekf.problem(30, 2, 4)
    wrong, _ = ekf.ekf.forward(params, y, functions=ekf.FUNCTIONS, points="past")
    assert race.error(list(wrong[:2]), ekf.truth(params, y)) > 1e-3


@pytest.mark.parametrize("scheme", ["systematic", "stratified", "multinomial"])
def test_the_truth_of_resampling_by_counting(scheme):
    """Of the places below the end of each stretch, as many as there are."""
    weights = np.random.default_rng(1).dirichlet(np.ones(50))
    below = np.searchsorted(np.sort(ekf.places(scheme, 50)), np.cumsum(weights))
    counts = np.bincount(ekf.drawn(scheme, weights), minlength=50)
    assert np.array_equal(counts, np.diff(below, prepend=0))


def test_the_race_is_in_the_program():
    assert "ekf" in program.RACES
