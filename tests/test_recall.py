"""The delayed recall task."""

import numpy as np
import pytest

from rnncourse.data.recall import recall


@pytest.mark.parametrize("lag", [1, 2, 7])
def test_a_symbol_then_noise_then_the_question(lag):
    task = recall(np.random.default_rng(0), 500, lag, symbols=5, noise=3)
    assert task.inputs.shape == (lag + 1, 500, 9) and task.inputs.dtype == np.float32
    assert (task.inputs.sum(axis=2) == 1).all()
    heard = task.inputs.argmax(axis=2)
    assert (heard[0] == task.targets).all() and (heard[-1] == 8).all()
    assert np.isin(heard[1:-1], [5, 6, 7]).all()
    assert len(np.unique(heard[0])) == 5 and (lag == 1 or len(np.unique(heard[1:-1])) == 3)
    same = (np.diff(heard[1:-1], axis=0) == 0).mean(axis=1)  # noise of one step does not foretell the next
    assert ((same > 0.25) & (same < 0.42)).all()
    again = recall(np.random.default_rng(1), 500, lag, symbols=5, noise=3)
    assert (again.targets == task.targets).mean() < 0.35 and np.bincount(task.targets).min() > 60


def test_it_is_repeatable_and_says_what_is_wrong():
    one, two = (recall(np.random.default_rng(3), 4, 5) for _ in range(2))
    assert (one.inputs == two.inputs).all() and (one.targets == two.targets).all()
    with pytest.raises(ValueError, match="lag: expected a whole number >= 1, got 0"):
        recall(np.random.default_rng(0), 4, 0)
