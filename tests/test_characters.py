"""The character model: its gradient, its bookkeeping, and that it learns and writes what can be learned."""

import math
import time
from itertools import pairwise

import numpy as np
import pytest

from rnncourse.data import text
from rnncourse.params import init_model, map_arrays, named_arrays
from rnncourse.reference import bptt, characters, losses, sampling

ALPHABET = "abc\n"
TOKENS = text.encode("abc\n" * 200, ALPHABET)  # the next character is always certain
CORPUS = text.Corpus(TOKENS, TOKENS[:101], TOKENS[:201], ALPHABET, "made here", "none")
SMALL = {"hidden": 8, "streams": 4, "stretch": 10}


@pytest.fixture(scope="module")
def trained():
    return characters.train(CORPUS, steps=150, rate=2e-2, **SMALL)


@pytest.fixture
def model():
    return init_model(np.random.default_rng(0), 4, 6, 4)


def one_stretch():
    return next(text.batches(np.random.default_rng(1).integers(0, 4, 200), streams=3, steps=12))


@pytest.mark.parametrize("chunk", [1, 5, 12])
def test_the_gradient_is_the_chunked_one(model, chunk):
    inputs, targets = one_stretch()
    ours = characters.hand_gradient(model, inputs, targets, None, chunk)
    x = text.one_hot(inputs, 4)
    theirs = bptt.chunked(characters.CELL, model, x, targets, chunk, losses.cross_entropy, reduction="mean")
    assert ours.loss == pytest.approx(theirs.loss, rel=1e-12)
    for part in ("cell", "readout"):  # the streams start from zeros, not from a learned state
        for (name, a), (_, b) in zip(
            named_arrays(getattr(ours.gradients, part)), named_arrays(getattr(theirs.gradients, part)), strict=True
        ):
            assert np.allclose(a, b, rtol=1e-10, atol=1e-14), name


def test_the_state_is_carried_and_starts_afresh_with_the_text():
    given, returned = [], []

    def spy(params, inputs, targets, state, chunk):
        result = characters.hand_gradient(params, inputs, targets, state, chunk)
        given.append(state)
        returned.append(result.final_state)
        return result

    list(characters.updates(CORPUS, 8, 25, streams=4, stretch=20, gradient=spy))
    epoch = len(list(text.batches(TOKENS, 4, 20)))
    assert 1 < epoch < 13
    for step in range(25):
        assert given[step] is (returned[step - 1] if step % epoch else None)


def test_it_learns_what_is_certain(trained):
    params, history = trained
    assert history[0].valid > 0.5 > 0.05 > history[-1].valid
    assert characters.bits_per_character(params, CORPUS.test) < 0.05


def test_it_writes_what_it_learned(trained):
    params, _ = trained
    rng = np.random.default_rng(0)
    assert characters.sample(params, ALPHABET, rng, "abc\nab", 9, temperature=0.5) == "c\nabc\nabc"


def test_history_tells_when_it_looked(trained):
    _, history = trained
    assert [look.step for look in history] == [15 * k for k in range(1, 11)]
    assert all(a.seconds < b.seconds for a, b in pairwise(history))


def test_the_rate_falls_to_nothing():
    steps = [params for params, _ in characters.updates(CORPUS, 8, 60, streams=4, stretch=10)]
    moved = [np.abs(b.cell.recurrent_weights - a.cell.recurrent_weights).max() for a, b in pairwise(steps)]
    assert moved[-1] < 0.02 * max(moved)


def test_parameters_stay_in_single_precision(trained):
    assert {array.dtype for _, array in named_arrays(trained[0])} == {np.dtype(np.float32)}


def test_the_same_seed_gives_the_same_model():
    a, b, c = (characters.train(CORPUS, steps=3, seed=seed, **SMALL)[0].cell.bias for seed in (0, 0, 1))
    assert np.array_equal(a, b) and not np.array_equal(a, c)


def test_no_knowledge_costs_the_logarithm_of_the_alphabet(model):
    blank = map_arrays(np.zeros_like, model)
    assert characters.bits_per_character(blank, TOKENS) == pytest.approx(math.log2(4), rel=1e-12)


def test_bits_are_the_mean_loss_with_the_state_carried(model):
    tokens = np.random.default_rng(2).integers(0, 4, 50)
    x = text.one_hot(tokens[:-1, None], 4)
    whole = bptt.full(characters.CELL, model, x, tokens[1:, None], losses.cross_entropy, reduction="mean").loss
    assert characters.bits_per_character(model, tokens, streams=1) == pytest.approx(whole / math.log(2), rel=1e-12)


def test_progress_is_silent_where_nobody_watches(capfd):
    characters.train(CORPUS, steps=3, **SMALL)
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("wrong", [{"steps": 0}, {"looks": 0}, {"chunk": -1}, {"streams": 0}, {"stretch": 10**6}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match=r"steps|looks|chunk|streams|tokens"):
        characters.train(CORPUS, **(SMALL | {"steps": 3} | wrong))


@pytest.mark.parametrize("prompt, temperature", [("", 1.0), ("abx", 1.0), ("a", 0.0)])
def test_sampling_needs_a_prompt_and_some_warmth(model, prompt, temperature):
    with pytest.raises(ValueError, match=r"prompt|alphabet|temperature"):
        characters.sample(model, ALPHABET, np.random.default_rng(0), prompt, 3, temperature)


def test_a_cut_is_made_before_each_draw(model):
    """Keeping one character alone is the same as no warmth at all."""
    cold = characters.sample(model, ALPHABET, np.random.default_rng(0), "ab", 12, temperature=1e-6)
    cut = characters.sample(model, ALPHABET, np.random.default_rng(0), "ab", 12, cut=lambda p: sampling.top_k(p, 1))
    assert cut == cold


def test_next_logits_are_those_of_the_text_read_so_far(model):
    tokens = np.random.default_rng(3).integers(0, 4, (9, 2))
    _, state = characters.next_logits(model, tokens[:5])
    carried, _ = characters.next_logits(model, tokens[5:], state)
    assert carried.shape == (2, 4)
    assert np.allclose(carried, characters.next_logits(model, tokens)[0], rtol=1e-13, atol=1e-15)


def test_low_temperature_plays_safe(model):
    """Half the temperature squares the odds; near zero only the likeliest character is left."""
    cold = {characters.sample(model, ALPHABET, np.random.default_rng(k), "ab", 12, temperature=1e-6) for k in range(5)}
    warm = {characters.sample(model, ALPHABET, np.random.default_rng(k), "ab", 12, temperature=1.0) for k in range(5)}
    assert len(cold) == 1 and len(warm) == 5


def test_shrinking_takes_the_rate_times_the_share_off():
    (plain, _), (shrunk, _) = (
        next(characters.updates(CORPUS, 8, 1, rate=0.01, streams=4, stretch=10, shrink=share)) for share in (0.0, 5.0)
    )
    for (name, a), (_, b) in zip(named_arrays(plain), named_arrays(shrunk), strict=True):
        assert np.allclose(b, 0.95 * a, rtol=1e-5, atol=1e-8), name


def test_looking_does_not_count_as_training(monkeypatch):
    def slow_look(params, tokens):
        time.sleep(0.1)
        return 1.0

    monkeypatch.setattr(characters, "bits_per_character", slow_look)
    began = time.perf_counter()
    _, history = characters.train(CORPUS, steps=10, **SMALL)
    passed = time.perf_counter() - began
    assert history[-1].seconds < passed - 0.95
