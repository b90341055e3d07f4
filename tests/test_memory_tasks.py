"""The adding problem."""

import numpy as np
import pytest
from proof import agree, verifies

from rnncourse.data import memory_tasks


@pytest.mark.parametrize("steps", [2, 3, 10, 151])
def test_adding_by_reading_each_sequence(steps):
    task = memory_tasks.adding(np.random.default_rng(0), 300, steps)
    assert task.inputs.shape == (steps, 300, 2) and task.targets.shape == (steps, 300, 1)
    assert (task.lengths == steps).all() and task.mask.sum() == 300 and task.mask[-1].all()
    assert not task.targets[:-1].any()
    seen = set()
    for b in range(300):
        numbers, marks = task.inputs[:, b].T
        first, second = np.flatnonzero(marks)
        assert first < steps // 2 <= second and set(marks) <= {0, 1}
        assert task.targets[-1, b, 0] == numbers[first] + numbers[second]
        seen |= {first, second}
    if steps <= 10:
        assert seen == set(range(steps))
    assert task.inputs.min() >= 0 and task.inputs.max() <= 1


@verifies("eq-adding-baseline", oracle="the answers of 400,000 sequences")
def test_who_always_answers_one():
    answers = memory_tasks.adding(np.random.default_rng(1), 400_000, 2).targets[-1]
    agree(1 / 6, ((answers - 1) ** 2).mean(), 0.01)
    agree(1.0, answers.mean(), 0.01)  # no other constant is better


@verifies("eq-adding-baseline", oracle="integration on a grid")
def test_the_baseline_by_integration():
    middle = (np.arange(2000) + 0.5) / 2000
    agree(1 / 6, ((middle[:, None] + middle - 1) ** 2).mean(), 1e-6)


def test_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="steps: expected a whole number >= 2, got 1"):
        memory_tasks.adding(rng, 3, 1)
    with pytest.raises(ValueError, match="size: expected a whole number >= 1, got 0"):
        memory_tasks.adding(rng, 0, 4)
