"""The minimal character model: its gradient, its recipe, and that the recipe works."""

import math

import numpy as np
import pytest
import torch
from oracles import flatten, gradients, leaves
from proof import agree

from rnncourse.data import text
from rnncourse.params import map_arrays, named_arrays
from rnncourse.reference import characters, minimal_characters

TOKENS = text.encode("hello there, \n" * 40, "\n ,ehlort")
V = 9
SMALL = {"hidden": 12, "chunk": 5}


def test_manual_gradients_are_autograds_before_clipping():
    """Karpathy's page checks his by finite differences; autograd is sharper."""
    rng = np.random.default_rng(0)
    model = map_arrays(lambda w: w + 0.3 * rng.standard_normal(w.shape), minimal_characters.start(V, 7, 0))
    inputs, targets = rng.integers(0, V, (2, 25, 1))
    state = (rng.standard_normal((1, 7)),)
    ours = minimal_characters.gradient(model, inputs, targets, state)
    params = leaves(model)
    (W_x, W_h, b_h), (W_y, b_y), _ = params
    h, loss = torch.tensor(state[0][0]), 0.0
    for c, d in zip(inputs[:, 0].tolist(), targets[:, 0].tolist(), strict=True):
        h = torch.tanh(W_x[:, c] + W_h @ h + b_h)
        loss = loss - torch.log_softmax(W_y @ h + b_y, 0)[d]
    agree(ours.loss, loss, 1e-12)
    agree(tuple(flatten(ours.gradients))[:-1], tuple(flatten(gradients(loss, params)))[:-1], 1e-10)
    agree(ours.final_state[0][0], h, 1e-12)
    assert not ours.gradients.initial_state.any()


def test_an_update_is_cut_off_then_handed_to_adagrad():
    first, second = minimal_characters.updates(TOKENS, V, 2, limit=0.01, **SMALL)
    before = minimal_characters.start(V, 12, 0)
    assert max(np.abs(g).max() for _, g in named_arrays(first.gradients)) > 0.01
    for p, g, moved in zip(*map(flatten, (before, first.gradients, first.params)), strict=True):
        cut = np.clip(g, -0.01, 0.01)
        agree(moved, p - 0.1 * cut / (np.abs(cut) + 1e-10), 1e-12)
    for p, g, h, moved in zip(
        *map(flatten, (first.params, first.gradients, second.gradients, second.params)), strict=True
    ):
        a, b = np.clip(g, -0.01, 0.01), np.clip(h, -0.01, 0.01)
        agree(moved, p - 0.1 * b / (np.sqrt(a * a + b * b) + 1e-10), 1e-12)


def test_the_state_is_carried_and_forgotten_where_the_text_begins_again(monkeypatch):
    given, returned, original = [], [], minimal_characters.gradient

    def spy(params, inputs, targets, state):
        result = original(params, inputs, targets, state)
        given.append(state)
        returned.append(result.final_state)
        return result

    monkeypatch.setattr(minimal_characters, "gradient", spy)
    list(minimal_characters.updates(TOKENS, V, 250, **SMALL))
    epoch = (len(TOKENS) - 1) // 5
    assert 100 < epoch < 125
    for step in range(250):
        if step % epoch:
            assert given[step] is returned[step - 1]
        else:
            assert not given[step][0].any()


def test_the_smoothed_loss_starts_at_the_uniform_guess():
    first, *_, last = minimal_characters.updates(TOKENS, V, 60, **SMALL)
    assert first.loss == pytest.approx(5 * math.log(V), rel=0.01)
    assert first.smoothed == pytest.approx(0.999 * 5 * math.log(V) + 0.001 * first.loss, rel=1e-14)
    losses = [u.loss for u in minimal_characters.updates(TOKENS, V, 60, **SMALL)]
    weights = 0.001 * 0.999 ** np.arange(60)[::-1]
    assert last.smoothed == pytest.approx(0.999**60 * 5 * math.log(V) + weights @ losses, rel=1e-12)


def test_the_recipe_learns():
    *_, last = minimal_characters.updates(TOKENS, V, 1500, **SMALL)
    assert characters.bits_per_character(last.params, TOKENS, streams=1) < 0.3


def test_start_is_small_and_seeded():
    a, b, c = (minimal_characters.start(V, 200, seed) for seed in (0, 0, 1))
    for name, weights in named_arrays(a):
        if weights.ndim == 2:
            assert weights.std() == pytest.approx(0.01, rel=0.1), name
        else:
            assert not weights.any(), name
    assert np.array_equal(a.cell.recurrent_weights, b.cell.recurrent_weights)
    assert not np.array_equal(a.cell.recurrent_weights, c.cell.recurrent_weights)


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"hidden": 0}, {"alphabet": 0}, {"chunk": 0}, {"limit": 0.0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=r"steps|hidden|alphabet|limit"):
        next(minimal_characters.updates(TOKENS, **({"alphabet": V, "steps": 3} | SMALL | wrong)))
