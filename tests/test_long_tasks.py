"""Adding and copying: what is drawn, and what the best blind answer costs."""

import numpy as np
import pytest
from proof import agree, verifies

from rnncourse.data.long_tasks import adding, copy


@pytest.mark.parametrize("steps", [2, 3, 40])
def test_adding_marks_one_number_in_each_half(steps):
    task = adding(np.random.default_rng(0), 2000, steps)
    numbers, marks = task.inputs[..., 0], task.inputs[..., 1]
    assert task.inputs.shape == (steps, 2000, 2) and task.inputs.dtype == task.targets.dtype == np.float32
    assert set(np.unique(marks)) <= {0, 1}
    half = steps // 2
    assert (marks[:half].sum(axis=0) == 1).all() and (marks[half:].sum(axis=0) == 1).all()
    assert (marks.mean(axis=1) > 0).all(), "every place is marked now and then"
    assert np.allclose((numbers * marks).sum(axis=0), task.targets[0, :, 0], atol=1e-6)
    assert numbers.min() >= 0 and numbers.max() <= 1 and abs(numbers.mean() - 0.5) < 0.02
    assert abs(((task.targets - 1) ** 2).mean() - 1 / 6) < 0.02


def test_who_always_answers_one():
    answers = adding(np.random.default_rng(1), 400_000, 2).targets[-1]
    assert abs(((answers - 1) ** 2).mean() - 1 / 6) < 0.001
    assert abs(answers.mean() - 1) < 0.005  # no other constant is better


@verifies("eq-adding-baseline", oracle="integration on a grid")
def test_the_baseline_by_integration():
    middle = (np.arange(2000) + 0.5) / 2000
    agree(1 / 6, ((middle[:, None] + middle - 1) ** 2).mean(), 1e-6)


@pytest.mark.parametrize("pause", [0, 1, 30])
def test_copy_says_a_word_waits_and_asks(pause):
    task = copy(np.random.default_rng(0), 500, pause, word=3, symbols=4)
    heard = task.inputs.argmax(axis=2)
    assert task.inputs.shape == (6 + pause, 500, 6) and (task.inputs.sum(axis=2) == 1).all()
    assert (heard[:3] == task.targets).all() and task.targets.shape == (3, 500)
    assert (heard[3 + pause] == 5).all() and (heard[3 : 3 + pause] == 4).all() and (heard[4 + pause :] == 4).all()
    assert abs(np.bincount(task.targets.ravel(), minlength=4) / 1500 - 0.25).max() < 0.05
    assert not (task.targets[0] == task.targets[1]).all()


def test_they_are_repeatable_and_refuse_what_is_too_small():
    for draw in (adding, copy):
        one, two = (draw(np.random.default_rng(3), 4, 5) for _ in range(2))
        assert (one.inputs == two.inputs).all() and (one.targets == two.targets).all()
        with pytest.raises(ValueError, match="size: expected a whole number >= 1, got 0"):
            draw(np.random.default_rng(0), 0, 5)
    with pytest.raises(ValueError, match="steps: expected a whole number >= 2"):
        adding(np.random.default_rng(0), 4, 1)
    with pytest.raises(ValueError, match="pause: expected a whole number >= 0"):
        copy(np.random.default_rng(0), 4, -1)
    with pytest.raises(ValueError, match="word: expected a whole number >= 1"):
        copy(np.random.default_rng(0), 4, 5, word=0)
