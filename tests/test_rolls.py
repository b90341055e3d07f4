"""Frames of notes: their probability, counting, the recurrent rivals, stretches to train on."""

import itertools

import numpy as np
import pytest
import torch
from proof import agree, verifies

from rnncourse.gpu import rolls, training

rng = np.random.default_rng(0)
T, B, O = 7, 3, 4
X = torch.from_numpy((rng.random((T, B, O)) < 0.4).astype(float))
LENGTHS = np.array([7, 4, 1])


@verifies("eq-bernoulli-frame", oracle="torch.distributions.Bernoulli")
def test_a_frame():
    logits = torch.from_numpy(3 * rng.standard_normal((T, B, O)))
    oracle = torch.distributions.Bernoulli(logits=logits).log_prob(X).sum(-1)
    agree(rolls.log_probability(logits, X), oracle, 1e-13)


@verifies("eq-bernoulli-frame", oracle="enumeration of all frames: they sum to one")
def test_all_frames_sum_to_one():
    every = torch.tensor(list(itertools.product((0.0, 1.0), repeat=O)), dtype=torch.float64)
    for scale in (1, 30):
        logits = torch.from_numpy(scale * rng.standard_normal(O))
        agree(torch.exp(rolls.log_probability(logits.expand(16, O), every)).sum(), 1.0, 1e-11)


def test_far_logits_stay_finite():
    far = torch.tensor([1e4, -1e4, 1e4, -1e4], dtype=torch.float64)
    assert rolls.log_probability(far, torch.tensor([1.0, 0, 1, 0])) == 0
    assert rolls.log_probability(far, torch.tensor([0.0, 0, 1, 0])) == -1e4


def test_mask():
    agree(rolls.mask(LENGTHS, T, X), np.arange(T)[:, None] < LENGTHS, 0)
    assert rolls.mask(None, T, X).all() and rolls.mask(LENGTHS, T, X).dtype == X.dtype
    for wrong in ([7, 4], [8, 1, 1], [0, 1, 1], [1.0, 2.0, 3.0]):
        with pytest.raises(ValueError, match=r"^lengths: "):
            rolls.mask(wrong, T, X)


@pytest.mark.parametrize("memory", [False, True])
def test_counting(memory):
    """By loops over sequences, frames and notes."""
    first, after = np.zeros((O, 2)), np.zeros((2, O, 2))
    for b, t, n in itertools.product(range(B), range(T), range(O)):
        if t < LENGTHS[b]:
            now = int(X[t, b, n])
            if t == 0:
                first[n, now] += 1
            else:
                after[int(X[t - 1, b, n]), n, now] += 1
    if not memory:
        first = after[:] = first + after.sum(axis=0)
    chance = lambda table: (table[..., 1] + 0.5) / (table.sum(axis=-1) + 1)  # noqa: E731
    wild = X + 5 * (1 - rolls.mask(LENGTHS, T, X))[..., None]  # what stands in padding does not count
    found = rolls.count(wild, LENGTHS, memory)
    agree(found.first, chance(first), 1e-14)
    agree(found.after, chance(after), 1e-14)
    total = 0.0
    for b, t, n in itertools.product(range(B), range(T), range(O)):
        if t < LENGTHS[b]:
            p = chance(first)[n] if t == 0 else chance(after)[int(X[t - 1, b, n]), n]
            total -= np.log(p if X[t, b, n] else 1 - p)
    assert rolls.counted_nats(found, X, LENGTHS) == pytest.approx(total / LENGTHS.sum(), rel=1e-12)


@pytest.mark.parametrize("kind", rolls.KINDS)
def test_a_net_does_not_see_what_it_says(kind):
    model = rolls.RollModel(O, kind, 5, seed=1).double()
    said = model(X)
    for t in range(T):
        other = X.clone()
        other[t:] = 1 - other[t:]
        told = model(other)
        assert torch.equal(told[: t + 1], said[: t + 1])
        assert t + 1 == T or (told[t + 1] != said[t + 1]).any(), "and what was played last is heard at once"


def test_nats_of_whole_rolls_are_those_of_each():
    model = rolls.RollModel(O, "lstm", 5).double()
    one_by_one = []
    for b, length in enumerate(LENGTHS):
        x = X[:length, b : b + 1]
        with torch.no_grad():
            one_by_one.append(float(torch.distributions.Bernoulli(logits=model(x)).log_prob(x).sum()))
    assert rolls.nats(model, X, LENGTHS) == pytest.approx(-sum(one_by_one) / LENGTHS.sum(), rel=1e-12)
    real = rolls.mask(LENGTHS, T, X)
    assert float(rolls.loss(model, X, real)[0].detach()) == pytest.approx(rolls.nats(model, X, LENGTHS), rel=1e-12)


def test_dreams_follow_the_model():
    """With one note and no memory of anything else, the share of frames that sound is the chance."""
    model = rolls.RollModel(1, "rnn", 2, seed=3)
    played = model.dream(40, 500, torch.Generator().manual_seed(0))
    assert played.shape == (40, 500, 1) and set(played.unique().tolist()) == {0.0, 1.0}
    with torch.no_grad():
        chance = torch.sigmoid(model(played))
    z = float((played - chance).sum() / (chance * (1 - chance)).sum().sqrt())
    assert abs(z) < 4
    again = model.dream(40, 500, torch.Generator().manual_seed(0))
    assert torch.equal(played, again)


@pytest.mark.parametrize("kind", rolls.KINDS)
def test_each_sequence_of_a_dream_hears_itself(kind):
    """What was played is as surprising to the model as its own chances say, no more."""
    model = rolls.RollModel(O, kind, 6, seed=5)
    with torch.no_grad():
        model.readout.weight *= 8  # what comes next depends on what was played
        for array in model.recurrence.parameters():
            array *= 3
        played = model.dream(30, 200, torch.Generator().manual_seed(0))
        logits = model(played).double()
    chance = torch.sigmoid(logits)
    excess = rolls.log_probability(logits, played).sum() - rolls.log_probability(logits, chance).sum()
    spread = (logits**2 * chance * (1 - chance)).sum().sqrt()
    assert abs(excess / spread) < 4
    assert chance.std(dim=1).max() > 0.1, "or nothing was tested"


def test_stretches():
    counted = np.zeros((9, 2, 12), np.float32)
    for t, b in itertools.product(range(9), range(2)):
        counted[t, b, [(t % 5) + 3, 7 + b]] = 1
    batch = rolls.stretches(counted, [9, 2], 4, 50, seed=1)
    x, real, _ = batch(0)
    assert x.shape == (4, 50, 12) and torch.equal(batch(0).inputs, x) and not torch.equal(batch(1).inputs, x)
    starts = set()
    for k in range(50):
        length = int(real[:, k].sum())
        assert torch.equal(real[:, k], (torch.arange(4) < length).float()) and not x[length:, k].any()
        found = [
            (b, s)
            for b, end in ((0, 9), (1, 2))
            for s in range(max(0, end - 4) + 1)
            if np.array_equal(counted[s : min(end, s + 4), b], x[:length, k].numpy())
        ]
        assert found
        starts |= set(found)
    assert {(0, 0), (0, 5), (1, 0)} <= starts and (0, 6) not in starts


def test_longer_rolls_give_more_stretches():
    """A roll is drawn with a chance in proportion to its frames: nine of eleven here."""
    lone = np.zeros((9, 2, 3), np.float32)
    lone[:, 0, 0] = lone[:2, 1, 1] = 1
    batch = rolls.stretches(lone, [9, 2], 2, 50, seed=1)
    share = np.mean([batch(step).inputs[0, :, 0].numpy() for step in range(100)])
    assert abs(share - 9 / 11) < 4 * (9 * 2 / 121 / 5000) ** 0.5


@pytest.mark.parametrize("kind", rolls.KINDS)
def test_judged_and_played_without_dropout(kind):
    wet, dry = (rolls.RollModel(O, kind, 5, dropout=rate, seed=1) for rate in (0.5, 0.0))
    x = X.float()
    assert rolls.nats(wet.train(), x, LENGTHS) == rolls.nats(dry.train(), x, LENGTHS)
    played = [model.train().dream(9, 4, torch.Generator().manual_seed(0)) for model in (wet, dry)]
    assert torch.equal(*played)
    torch.manual_seed(0)
    assert not torch.equal(wet.train()(x)[0], dry.train()(x)[0]), "dropout of the state"


def test_stretches_in_other_keys():
    counted = np.zeros((5, 1, 9), np.float32)
    counted[:, 0, [2, 5]] = 1
    seen = set()
    for step in range(20):
        x, _, _ = rolls.stretches(counted, [5], 5, 8, shift=6)(step)
        for k in range(8):
            low, high = np.flatnonzero(x[0, k])
            assert high - low == 3 and (x[:, k] == x[0, k]).all()
            seen.add(int(low))
    assert seen == {0, 1, 2, 3, 4, 5}, "as far as no note falls off, both ends among them"
    with pytest.raises(ValueError, match=r"^semitones: "):
        rolls.moved(counted[:, 0], 4)
    with pytest.raises(ValueError, match=r"^semitones: "):
        rolls.moved(counted[:, 0], -3)


def test_it_learns_what_comes_next():
    turn = np.tile(np.eye(O, dtype=np.float32)[:, None], (6, 1, 1))
    model = rolls.RollModel(O, "gru", 12, seed=0)
    batch = rolls.stretches(turn, [24], 8, 16)
    training.fit(model, batch, rolls.loss, training.Settings(120, 2e-2, every=120))
    counted = rolls.counted_nats(rolls.count(torch.from_numpy(turn), [24]), torch.from_numpy(turn), [24])
    assert rolls.nats(model, torch.from_numpy(turn), [24]) < 0.4 < counted


def test_bad_input():
    for name, call in {
        "kind": lambda: rolls.RollModel(4, "tree"),
        "hidden": lambda: rolls.RollModel(4, hidden=0),
        "length": lambda: rolls.stretches(X, LENGTHS, 0, 3),
        "shift": lambda: rolls.stretches(X, LENGTHS, 2, 3, -1),
        "lengths": lambda: rolls.stretches(X, LENGTHS[:2], 2, 3),
    }.items():
        with pytest.raises(ValueError, match=rf"^{name}: "):
            call()
