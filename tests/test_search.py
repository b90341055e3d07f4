"""Greedy, by chance, by beam and by trying everything, on both floors, against every sequence one by one."""

import itertools
import math

import numpy as np
import pytest
import seq2seq_oracles as oracles
import torch
from oracles import leaves
from proof import agree, verifies

from rnncourse import bridge, gpu, reference
from rnncourse.data import pairs
from rnncourse.params import map_arrays
from rnncourse.seq2seq_params import init_seq2seq

FLOORS = pytest.mark.parametrize("floor", [reference, gpu], ids=["reference", "gpu"])
SOURCES = [(3, 1, 0), (2, 0), (4, 4, 1, 0)]
SYMBOLS, LIMIT = 3, 5  # three symbols and the end: 1 + 3 + 9 + 27 + 81 sequences


def on(floor, tree):
    return tree if floor is reference else bridge.to_torch(tree)


def numbers(found):
    return type(found)(*map(np.asarray, found))


def network(seed=0, scale=1.0):
    params = init_seq2seq(np.random.default_rng(seed), 5, SYMBOLS + 1, 3, 4, "dot")
    return map_arrays(lambda array: scale * array, params)


def decoder(floor, params):
    cell, x = floor.lstm.plain(), pairs.pad([one[:-1] for one in SOURCES])
    params = on(floor, params)
    return floor.seq2seq.stepper(cell, params, floor.seq2seq.encode(cell, params, x))


def table(floor, seed, V=4, B=1, sharp=1.0):
    """A decoder whose log-probabilities depend on all that was said, through a random table."""
    rng = np.random.default_rng(seed)
    logits = sharp * rng.standard_normal((997, V))
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))

    def step(tokens, state):
        (memory,) = state
        memory = (31 * memory + tokens + 7) % 997
        return on(floor, logs)[memory], (memory,)

    starts = rng.integers(0, 997, B)
    return step, (on(floor, starts),), lambda b, y: sum(_walk(logs, int(starts[b]), y))


def _walk(logs, memory, y):
    last = 0
    for symbol in y:
        memory = (31 * memory + last + 7) % 997
        yield logs[memory, symbol]
        last = symbol


def ranking(log_p, limit, V, power=0.0):
    """Every sequence with its log-probability, the best first, by going through them all."""
    every = [(log_p(y), y) for y in oracles.everything(V - 1, limit)]
    return sorted(every, key=lambda one: -one[0] / len(one[1]) ** power)


def check_list(found, b, right):
    """The list of one source is that of the oracle."""
    K = len(right)
    for k, (_log_p, y) in enumerate(right):
        n = found.lengths[b, k]
        assert n == len(y) and found.finished[b, k]
        assert tuple(found.tokens[b, k, :n].tolist()) == y and not found.tokens[b, k, n:].any()
    agree(found.log_probabilities[b, :K], np.array([log_p for log_p, _ in right]), 1e-12)


@FLOORS
@pytest.mark.parametrize("power", [0.0, 0.7, 1.0])
def test_trying_everything_is_trying_everything(floor, power):
    params = network()
    step, state = decoder(floor, params)
    found = numbers(floor.search.exhaustive(step, state, LIMIT, power))
    # torch raises whole lengths to a power in single precision
    agree(found.scores, found.log_probabilities / found.lengths**power, 1e-15 if floor is reference else 1e-6)
    assert found.tokens.shape == (3, 121, LIMIT)
    tensors = leaves(params)
    for b, x in enumerate(SOURCES):
        with torch.no_grad():
            log_p = lambda y, x=x: float(sum(oracles.log_probabilities(tensors, list(x), y)[0]))  # noqa: E731
            check_list(found, b, ranking(log_p, LIMIT, SYMBOLS + 1, power))


@verifies("eq-seq2seq-mass", oracle="every sequence one by one, and what a loop leaves unfinished")
@FLOORS
def test_finished_and_unfinished_are_one_together(floor):
    step, state, log_p = table(floor, seed=3)
    for limit in (1, 2, 4):
        ended = np.exp(numbers(floor.search.exhaustive(step, state, limit)).log_probabilities).sum()
        open_ = sum(math.exp(log_p(0, y)) for y in itertools.product((1, 2, 3), repeat=limit))
        agree(ended + open_, 1.0, 1e-13)
        agree(ended, 1 - open_, 1e-13)


@FLOORS
@pytest.mark.parametrize("power", [0.0, 0.6, 1.0, 2.0])
@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_finds_what_is_best(floor, power, seed):
    V, limit = 3, 4
    step, state, log_p = table(floor, seed, V, B=2)
    found = numbers(floor.search.beam(step, state, V ** (limit - 1), limit, power))
    for b in range(2):
        right = ranking(lambda y, b=b: log_p(b, y), limit, V, power)
        assert found.finished[b].sum() == len(right) == 15
        check_list(found, b, right)


@verifies("eq-beam-bound", oracle="the larger of its two sides, at every string and every beginning")
@pytest.mark.parametrize("power", [0.0, 0.5, 1.0, 2.0])
def test_the_bound_at_every_string(power):
    limit = 5
    _, _, log_p = table(reference, 4, V=3, sharp=2.0)
    both = np.array(
        [
            (log_p(0, y) / len(y) ** power, log_p(0, y[:n]) / limit**power)
            for y in oracles.everything(2, limit)
            for n in range(len(y) + 1)
        ]
    )
    agree(both.max(axis=1), both[:, 1], 0)


@verifies("eq-beam-bound", oracle="four numbers by hand")
@FLOORS
def test_a_long_answer_may_overtake_at_the_last_step(floor):
    """It ends with 0.7 at once, or goes on to the limit at no cost: log 0.3 / 4 is more than log 0.7."""
    rows = np.log([[0.7, 0.3], [1e-9, 1 - 1e-9], [1e-9, 1 - 1e-9], [1 - 1e-9, 1e-9]])
    calls = []

    def step(tokens, state):
        calls.append(len(tokens))
        return on(floor, rows)[state[0]], (state[0] + 1,)

    state = (on(floor, np.zeros(1, np.int64)),)
    found = numbers(floor.search.beam(step, state, 1, 4, 1.0))
    assert found.tokens[0, 0].tolist() == [1, 1, 1, 0]
    agree(found.scores[0, 0], math.log(0.3) / 4, 1e-8)
    calls.clear()
    floor.search.beam(step, state, 1, 4, 0.0)
    assert len(calls) == 1  # 0.7 is more than 0.3: it stops


@verifies("eq-beam-bound", oracle="sets of strings, searched to the limit")
@pytest.mark.parametrize("power", [0.0, 1.0])
@pytest.mark.parametrize("width", [1, 2, 5])
@pytest.mark.parametrize("seed", range(6))
def test_a_narrow_beam_is_its_definition(width, power, seed):
    """Against sets of strings; it runs to the limit, so stopping early must have changed nothing."""
    V, limit = 4, 9
    step, state, log_p = table(reference, seed, V, B=3, sharp=2.0)
    found = reference.search.beam(step, state, width, limit, power)
    assert numbers(gpu.search.beam(*table(gpu, seed, V, B=3, sharp=2.0)[:2], width, limit, power)).tokens.tolist() == (
        found.tokens.tolist()
    )
    for b in range(3):
        alive, ended = [()], []
        for _n in range(1, limit + 1):
            ended += [(log_p(b, (*y, 0)), (*y, 0)) for y in alive]
            longer = [(*y, v) for y in alive for v in range(1, V)]
            alive = sorted(longer, key=lambda y: -log_p(b, y))[:width]
        ended.sort(key=lambda one: -one[0] / len(one[1]) ** power)
        check_list(found, b, ended[:width])


@FLOORS
def test_one_list_may_be_half_full_beside_another(floor):
    """The first source never ends and the second can: what never ends has no tokens and no length."""
    logs = np.log([[1e-300, 0.6, 0.4], [0.5, 0.3, 0.2]])
    logs[0, 0] = -np.inf

    def step(tokens, state):
        return on(floor, logs)[state[0]], state

    found = numbers(floor.search.beam(step, (on(floor, np.arange(2)),), 2, 3))
    assert found.finished.tolist() == [[False, False], [True, True]]
    assert not found.tokens[0].any() and not found.lengths[0].any()
    agree(found.log_probabilities[1], np.log([0.5, 0.15]), 1e-13)


@FLOORS
def test_scores_are_log_probabilities_over_a_power_of_the_length(floor):
    step, state, _ = table(floor, seed=1, B=2)
    found = numbers(floor.search.beam(step, state, 3, 6, power=0.7))
    agree(found.scores, found.log_probabilities / found.lengths**0.7, 1e-15)
    assert (np.diff(found.scores, axis=1) <= 0).all()


@FLOORS
def test_what_a_beam_returns_has_its_true_probability(floor):
    params = network(seed=5, scale=2.0)
    cell, x = floor.lstm.plain(), pairs.pad([one[:-1] for one in SOURCES])
    found = numbers(floor.search.beam(*decoder(floor, params), 3, LIMIT, power=1.0))
    for b, k in np.ndindex(3, 3):
        y = found.tokens[b, k, : found.lengths[b, k], None]
        taught = float(floor.seq2seq.full(cell, on(floor, params), x[:, b : b + 1][: len(SOURCES[b])], y).loss)
        agree(found.log_probabilities[b, k], -taught, 1e-12)


@FLOORS
def test_greedy_takes_the_best_at_each_step(floor):
    step, state, log_p = table(floor, seed=2, B=3, sharp=1.5)
    found = numbers(floor.search.greedy(step, state, 6))
    for b in range(3):
        y = ()
        while len(y) < 6 and 0 not in y:
            y += (max(range(4), key=lambda v: log_p(b, (*y, v))),)
        assert tuple(found.tokens[b, 0, : len(y)].tolist()) == y and found.lengths[b, 0] == len(y)
        assert found.finished[b, 0] == (0 in y)
        agree(found.log_probabilities[b, 0], log_p(b, y), 1e-13)


@verifies("eq-greedy-match", oracle="free running and teacher forcing, each in its own loop")
@FLOORS
def test_greedy_is_right_exactly_where_the_taught_choices_all_are(floor):
    step, state, log_p = table(floor, seed=2, B=40, sharp=1.5)
    found = numbers(floor.search.greedy(step, state, 5))
    rng = np.random.default_rng(0)
    free, taught = [], []
    for b in range(40):
        said = tuple(found.tokens[b, 0, : found.lengths[b, 0]].tolist())
        for y in {said, *((*tuple(rng.integers(1, 4, n).tolist()), 0) for n in (1, 2, 3))}:
            if y[-1] != 0:
                continue
            free.append(said == y)
            best = (max(range(4), key=lambda v: log_p(b, (*y[:n], v))) for n in range(len(y)))
            taught.append(math.prod(float(v == w) for v, w in zip(best, y, strict=True)))
    assert 5 < sum(free) < len(free)
    agree(np.array(taught), np.array(free, float), 0)


@FLOORS
def test_ancestral_draws_are_fair(floor):
    step, state, log_p = table(floor, seed=0, V=3, sharp=0.5)
    state = (on(floor, np.repeat(np.asarray(state[0]), 40_000)),)
    found = numbers(floor.search.ancestral(step, state, np.random.default_rng(0).random((4, 40_000))))
    for y in oracles.everything(2, 3):
        drawn = [
            tuple(row[:n]) == y for row, n in zip(found.tokens[:2000, 0].tolist(), found.lengths[:2000, 0], strict=True)
        ]
        p = math.exp(log_p(0, y))
        assert abs(np.mean(drawn) - p) < 5 * (p / 2000) ** 0.5
    assert 0 < (~found.finished).sum() < 20_000
    first = tuple(found.tokens[0, 0, : found.lengths[0, 0]].tolist())
    agree(found.log_probabilities[0, 0], log_p(0, first), 1e-12)


@FLOORS
def test_nothing_finished_is_said_to_be_nothing(floor):
    def step(tokens, state):
        logs = np.full((len(tokens), 3), math.log(0.5))
        logs[:, 0] = -np.inf
        return on(floor, logs), state

    state = (on(floor, np.zeros(2)),)
    found = numbers(floor.search.beam(step, state, 2, 4))
    assert not found.finished.any() and not found.lengths.any() and not found.tokens.any()
    assert (found.log_probabilities == -np.inf).all()
    assert not numbers(floor.search.greedy(step, state, 4)).finished.any()


@FLOORS
def test_one_symbol_or_one_step(floor):
    def step(tokens, state):
        return on(floor, np.zeros((len(tokens), 1))), state

    state = (on(floor, np.zeros(2)),)
    for found in (floor.search.beam(step, state, 3, 4), floor.search.exhaustive(step, state, 4)):
        assert numbers(found).lengths[:, 0].tolist() == [1, 1]
    short = numbers(floor.search.beam(*table(floor, 0)[:2], 2, 1))
    assert short.finished.tolist() == [[True, False]]


@FLOORS
def test_bad_input_is_named(floor):
    step, state, _ = table(floor, 0)
    with pytest.raises(ValueError, match="width: expected a whole number >= 1, got 0"):
        floor.search.beam(step, state, 0, 4)
    with pytest.raises(ValueError, match="limit: expected a whole number >= 1"):
        floor.search.greedy(step, state, 0)
    with pytest.raises(ValueError, match="power: expected 0 or more, got -1"):
        floor.search.exhaustive(step, state, 3, -1)
    with pytest.raises(ValueError, match="state: expected arrays with a row for each source, got none"):
        floor.search.greedy(step, (), 3)
    with pytest.raises(ValueError, match=r"uniforms: expected shape \(N, 1\)"):
        floor.search.ancestral(step, state, np.zeros((3, 2)))


@FLOORS
@pytest.mark.parametrize("width", [1, 8, 70])
def test_many_symbols(floor, width):
    """A beam of one step over a long row, ends apart: the highest, in order."""
    logs = np.log(np.random.default_rng(width).dirichlet(np.ones(1003)))

    def step(tokens, state):
        return on(floor, np.tile(logs, (len(tokens), 1))), state

    found = numbers(floor.search.beam(step, (on(floor, np.zeros(1)),), width, 2))
    best = np.argsort(-logs[1:])[:width] + 1
    two = sorted([logs[0], *(logs[best] + logs[0])], reverse=True)[:width]
    agree(found.log_probabilities[0, : len(two)], np.array(two), 1e-13)
    assert found.tokens[0, 1:, 0].tolist() == best[: width - 1].tolist()


@FLOORS
def test_a_wider_beam_may_be_worse(floor):
    """The three words of chapter 12: two places are filled by children of the second word, and the best is dropped."""
    known = {0: [0.5, 0.4, 0.1], 1: [0.36, 0.32, 0.32], 2: [0.5, 0.5, 0], 5: [1, 0, 0]}

    def step(tokens, state):
        n, said = (np.asarray(part) for part in state)
        said = 4 * said + np.asarray(tokens)
        p = np.array([[0, *known.get(int(one), [1 / 3] * 3)] for one in said])
        p[n == 3] = [1, 0, 0, 0]  # after three words it ends
        with np.errstate(divide="ignore"):
            return on(floor, np.log(p)), (on(floor, n + 1), on(floor, said))

    state = (on(floor, np.zeros(1, np.int64)), on(floor, np.zeros(1, np.int64)))
    found = [numbers(floor.search.beam(step, state, width, 4)).log_probabilities[0, 0] for width in (1, 2, 3, 27)]
    assert np.exp(found) == pytest.approx([0.18, 0.2 / 3, 0.18, 0.18], abs=1e-12)


def test_the_highest_of_long_rows():
    """Rows are cut into blocks from 128 entries on; many entries are equal, and the first of them comes first."""
    rng = np.random.default_rng(0)
    for size in (127, 128, 197, 640):
        for count in (1, 2, 17, 63, 64, 65, 90):
            values = np.round(rng.standard_normal((3, size)), 1)
            right = np.argsort(-values, axis=1, kind="stable")[:, :count]
            places, highest = reference.search._highest(values, count)
            assert places.tolist() == right.tolist()
            assert highest.tolist() == [list(row[order]) for row, order in zip(values, right, strict=True)]


@FLOORS
def test_a_beam_over_three_hundred_symbols(floor):
    V, limit, width = 300, 4, 3
    step, state, log_p = table(floor, 5, V, sharp=2.0)
    found = numbers(floor.search.beam(step, state, width, limit))
    alive, ended = [()], []
    for _ in range(limit):
        ended += [(log_p(0, (*y, 0)), (*y, 0)) for y in alive]
        alive = sorted(((*y, v) for y in alive for v in range(1, V)), key=lambda y: -log_p(0, y))[:width]
    check_list(found, 0, sorted(ended, key=lambda one: -one[0])[:width])
