"""The small tasks: shapes, answers worked out another way, and where they count."""

import numpy as np
import pytest

from rnncourse.data import tasks

ALL = {
    "product": ((1, 2, 1), lambda rng: tasks.product(rng, 40)),
    "countdown": ((8, 1, 1), lambda rng: tasks.countdown(rng, 40)),
    "majority": ((9, 1, 1), lambda rng: tasks.majority(rng, 40)),
    "ends": ((7, 1, 1), lambda rng: tasks.ends(rng, 40)),
    "copy": ((8, 2, 1), lambda rng: tasks.copy(rng, 40)),
    "echo": ((20, 1, 1), lambda rng: tasks.echo(rng, 40)),
}


@pytest.mark.parametrize("name", ALL)
def test_shapes(name):
    (T, D, O), make = ALL[name]
    task = make(np.random.default_rng(0))
    assert task.inputs.shape == (T, 40, D) and task.targets.shape == (T, 40, O)
    assert task.mask.shape == (T, 40) and task.mask.dtype == bool
    assert task.lengths.shape == (40,) and task.lengths.max() == T
    assert (task.targets[~task.mask] == 0).all() and task.mask.any(axis=0).all()
    assert np.array_equal(make(np.random.default_rng(0)).inputs, task.inputs)
    assert not np.array_equal(make(np.random.default_rng(1)).inputs, task.inputs)


def columns(name):
    """Each sequence of a batch as plain lists."""
    task = ALL[name][1](np.random.default_rng(3))
    for b in range(40):
        yield (
            task.inputs[:, b].tolist(), task.targets[:, b, 0].tolist(), task.mask[:, b].tolist(), int(task.lengths[b])
        )  # fmt: skip


def test_product_is_exclusive_or():
    assert {tuple(pair) for (pair,), *_ in columns("product")} == {(1, 1), (1, -1), (-1, 1), (-1, -1)}
    for (pair,), (answer,), (counts,), _ in columns("product"):
        assert counts and answer == (1 if pair[0] == pair[1] else -1)


def test_countdown_reaches_zero_and_stays():
    seen = set()
    for x, y, mask, _ in columns("countdown"):
        n = round(8 * x[0][0])
        seen.add(n)
        assert all(mask) and x[1:] == [[0.0]] * 7
        assert [round(8 * value) for value in y] == [*range(n - 1, -1, -1), *[0] * (8 - n)]
    assert seen == set(range(1, 9))


def test_majority_is_told_at_the_last_real_step_only():
    seen = set()
    for x, y, mask, length in columns("majority"):
        heard = [value for (value,) in x[:length]]
        seen.add(length)
        assert set(heard) <= {-1.0, 1.0} and x[length:] == [[0.0]] * (9 - length)
        assert mask == [t == length - 1 for t in range(9)]
        assert y[length - 1] == (1 if heard.count(1.0) > heard.count(-1.0) else -1)
    assert seen == {1, 3, 5, 7, 9}


def test_ends():
    for x, y, mask, _ in columns("ends"):
        assert mask == [False] * 6 + [True] and y[-1] == (1 if x[0] == x[6] else -1)


def test_copy_says_in_the_second_half_what_it_heard_in_the_first():
    for x, y, mask, _ in columns("copy"):
        assert mask == [False] * 4 + [True] * 4
        assert y[4:] == [coin for coin, _ in x[:4]] and [coin for coin, _ in x[4:]] == [0.0] * 4
        assert [flag for _, flag in x] == [0.0] * 4 + [1.0] * 4


@pytest.mark.parametrize("lag", [0, 1, 5, 19])
def test_echo(lag):
    task = tasks.echo(np.random.default_rng(0), 6, 20, lag)
    x, y = task.inputs[:, :, 0], task.targets[:, :, 0]
    for t in range(20):
        assert task.mask[t].all() == (t >= lag)
        assert t < lag or np.array_equal(y[t], x[t - lag])


def test_coins_are_fair():
    x = tasks.coins(np.random.default_rng(0), 100, 100)
    assert set(np.unique(x)) == {-1.0, 1.0} and abs(x.mean()) < 0.04


def test_coins_know_nothing_of_one_another():
    x = tasks.coins(np.random.default_rng(0), 100, 100, 2)
    for k in range(1, 7):
        assert abs((x[k:] * x[:-k]).mean()) < 0.04, f"{k} steps apart"
        assert abs((x[:, k:] * x[:, :-k]).mean()) < 0.04, f"{k} sequences apart"
    assert abs((x[:, :, 0] * x[:, :, 1]).mean()) < 0.04


def test_lengths_of_majority_are_all_alike_likely():
    lengths = tasks.majority(np.random.default_rng(0), 5000).lengths
    counts = np.bincount(lengths, minlength=10)[1::2]
    assert (np.abs(counts - 1000) < 4 * np.sqrt(5000 * 0.2 * 0.8)).all()


@pytest.mark.parametrize(
    ("make", "name"),
    [
        (lambda rng: tasks.product(rng, 0), "size"),
        (lambda rng: tasks.countdown(rng, 2, 0), "steps"),
        (lambda rng: tasks.majority(rng, 2, 0), "steps"),
        (lambda rng: tasks.ends(rng, 2, 0), "steps"),
        (lambda rng: tasks.copy(rng, 2, 0), "steps"),
        (lambda rng: tasks.echo(rng, 2, 5, -1), "lag"),
    ],
)
def test_doors(make, name):
    with pytest.raises(ValueError, match=name):
        make(np.random.default_rng(0))
