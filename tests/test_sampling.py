"""Sampling: distributions reshaped as promised, draws that follow them, and text that follows the model."""

import itertools

import numpy as np
import pytest
import torch
from proof import agree, verifies

from rnncourse import gpu, information, reference
from rnncourse.params import init_model, map_arrays
from rnncourse.reference import characters, sampling

FLOORS = pytest.mark.parametrize("floor", [reference, gpu], ids=["reference", "gpu"])
LOGITS = np.random.default_rng(0).standard_normal((3, 2, 7)) * 2
P = torch.softmax(torch.tensor(LOGITS), -1).numpy()


def follows(counts, expected) -> bool:
    """Pearson's chi-square: five standard deviations above its mean would be one bad draw in a million."""
    counts, expected = np.ravel(counts), np.ravel(expected)
    assert expected.min() > 5, "too few expected for the statistic to be a chi-square"
    freedom = counts.size - 1
    return ((counts - expected) ** 2 / expected).sum() < freedom + 5 * np.sqrt(2 * freedom)


def small_model(V=3):
    """Weights large enough that every state says something else."""
    return map_arrays(lambda w: 1.5 * w, init_model(np.random.default_rng(5), V, 4, V))


@FLOORS
@pytest.mark.parametrize("temperature", [0.3, 1.0, 4.0])
def test_softmax_is_torchs(floor, temperature):
    ours = floor.sampling.softmax(LOGITS, temperature)
    agree(ours, torch.softmax(torch.tensor(LOGITS) / temperature, -1), 1e-14)


@FLOORS
def test_softmax_neither_overflows_nor_warns(floor):
    p = floor.sampling.softmax(np.array([1e300, -1e300, 0.0]), 1e-200)
    assert np.asarray(p).tolist() == [1, 0, 0]


@verifies("eq-temperature-limits", oracle="enumeration")
@FLOORS
def test_cold_is_greedy_and_hot_is_even(floor):
    logits = np.array([[0.3, 1.1, -2.0, 1.0], [2.0, 2.0, 1.9, -1.0]])  # the second has two that are largest
    greedy = np.array([[0, 1, 0, 0], [0.5, 0.5, 0, 0]])
    agree(floor.sampling.softmax(logits, 1e-3), greedy, 1e-12)
    agree(floor.sampling.softmax(logits, 1e13), np.full((2, 4), 0.25), 1e-12)


@verifies("eq-lm-temperature-entropy", oracle="autograd")
@pytest.mark.parametrize("temperature", [0.4, 1.0, 2.5])
def test_warmth_raises_the_entropy_by_the_variance_of_the_logits(temperature):
    y = LOGITS.reshape(-1, 7)
    p = sampling.softmax(y, temperature)
    mean = (p * y).sum(axis=1, keepdims=True)
    ours = (p * (y - mean) ** 2).sum(axis=1) / temperature**3
    tau = torch.tensor(temperature, dtype=torch.float64, requires_grad=True)
    entropies = torch.distributions.Categorical(logits=torch.tensor(y) / tau).entropy()
    agree(ours, np.array([torch.autograd.grad(h, tau, retain_graph=True)[0].item() for h in entropies]), 1e-12)
    assert ours.min() > 0


@FLOORS
@pytest.mark.parametrize("k", [1, 2, 5, 7, 9])
def test_top_k_keeps_the_likeliest(floor, k):
    ours = np.asarray(floor.sampling.top_k(P, k))
    for p, q in zip(P.reshape(-1, 7), ours.reshape(-1, 7), strict=True):
        best = sorted(range(7), key=lambda v: -p[v])[:k]
        expected = [p[v] / sum(p[u] for u in best) if v in best else 0 for v in range(7)]
        agree(q, np.array(expected), 1e-15)


@FLOORS
@pytest.mark.parametrize("mass", [0.05, 0.5, 0.9, 0.999, 1.0])
def test_the_nucleus_is_the_smallest_set_that_reaches_the_mass(floor, mass):
    ours = np.asarray(floor.sampling.nucleus(P, mass))
    for p, q in zip(P.reshape(-1, 7), ours.reshape(-1, 7), strict=True):
        sets = [s for n in range(1, 8) for s in itertools.combinations(range(7), n)]
        size = min(len(s) for s in sets if p[list(s)].sum() >= min(mass, 1 - 1e-12))
        best = max((s for s in sets if len(s) == size), key=lambda s: p[list(s)].sum())
        expected = [p[v] / p[list(best)].sum() if v in best else 0 for v in range(7)]
        agree(q, np.array(expected), 1e-14)


@FLOORS
def test_a_mass_that_is_reached_exactly_is_enough(floor):
    p = np.array([0.25, 0.5, 0.125, 0.125])  # no rounding
    assert np.asarray(floor.sampling.nucleus(p, 0.5)).tolist() == [0, 1, 0, 0]
    assert np.asarray(floor.sampling.nucleus(p, 0.75)).tolist() == [1 / 3, 2 / 3, 0, 0]


@FLOORS
def test_of_equals_the_first_are_kept(floor):
    even = np.full((1, 5), 0.2)
    assert np.asarray(floor.sampling.top_k(even, 2)).tolist() == [[0.5, 0.5, 0, 0, 0]]
    assert np.asarray(floor.sampling.nucleus(even, 0.39)).tolist() == [[0.5, 0.5, 0, 0, 0]]


@FLOORS
def test_a_draw_falls_where_the_probabilities_lie(floor):
    p = np.array([0.25, 0.0, 0.5, 0.25, 0.0])
    uniforms = np.array([0.0, 0.2499, 0.25, 0.7499, 0.75, np.nextafter(1, 0)])
    assert np.asarray(floor.sampling.draw(np.tile(p, (6, 1)), uniforms)).tolist() == [0, 0, 2, 2, 3, 3]


@FLOORS
def test_rounding_never_draws_what_is_impossible(floor):
    p = np.append(np.full(10, 0.1), 0.0)  # adds up to a little less than one
    assert p.cumsum()[-1] < 1
    assert int(floor.sampling.draw(p, np.nextafter(1, 0))) == 9


@FLOORS
def test_frequencies_are_the_probabilities_and_a_chi_square_tells(floor):
    p, n = P[0, 0], 20_000
    u = np.random.default_rng(1).random(n)
    wanted = n * p
    assert follows(np.bincount(floor.sampling.draw(np.tile(p, (n, 1)), u), minlength=7), wanted)
    for wrong in (sampling.softmax(np.log(p), 1.1), sampling.nucleus(p, 0.97), np.roll(p, 1)):
        counts = np.bincount(floor.sampling.draw(np.tile(wrong, (n, 1)), u), minlength=7)
        assert not follows(counts, wanted)


def whole_texts(model, first, length):
    """The probability of every text that may follow, by the product of conditionals, each read from the start."""
    V = len(model.readout.bias)
    found = {}
    for rest in itertools.product(range(V), repeat=length):
        tokens, p = [first, *rest], 1.0
        for t in range(1, length + 1):
            logits = torch.tensor(characters.next_logits(model, np.array(tokens[:t])[:, None])[0][0])
            p *= torch.softmax(logits, 0)[tokens[t]].item()
        found[rest] = p
    return found


def written(model, step, n, length):
    """How often each text was written, in the order of ``whole_texts``."""
    V = len(model.readout.bias)
    u = np.random.default_rng(2).random((length, n))
    texts, _ = sampling.ancestral(step, np.zeros(n, int), None, u)
    return np.bincount(texts.T @ V ** np.arange(length)[::-1], minlength=V**length)


def test_ancestral_texts_have_the_probability_that_the_model_gives_them():
    model, n, length = small_model(), 30_000, 3
    expected = n * np.array(list(whole_texts(model, 0, length).values()))

    def step(tokens, state):
        logits, state = characters.next_logits(model, tokens[None], state)
        return sampling.softmax(logits), state

    def forgets_the_state(tokens, state):
        return step(tokens, None)

    def forgets_what_it_wrote(tokens, state):
        return step(np.zeros_like(tokens), state)

    assert expected.sum() == pytest.approx(n, rel=1e-12)
    assert follows(written(model, step, n, length), expected)
    for wrong in (forgets_the_state, forgets_what_it_wrote):
        assert not follows(written(model, wrong, n, length), expected)


def test_both_floors_write_the_same():
    table = np.random.default_rng(3).dirichlet(np.ones(6), 6)
    u = np.random.default_rng(4).random((50, 8))
    start = np.arange(8) % 6
    ours, steps = reference.sampling.ancestral(lambda tokens, n: (table[tokens], n + 1), start, 0, u)
    twin = torch.tensor(table)
    theirs, _ = gpu.sampling.ancestral(lambda tokens, n: (twin[tokens], n + 1), start, 0, u)
    assert steps == 50 and np.array_equal(ours, theirs.numpy())


def test_cutting_lowers_the_entropy():
    whole = information.entropy(P)
    assert (information.entropy(sampling.top_k(P, 3)) < whole).all()
    assert (information.entropy(sampling.nucleus(P, 0.8)) < whole).all()


@pytest.mark.parametrize("mass", [0.0, -1.0, 1.1, float("nan")])
@FLOORS
def test_the_door_of_the_nucleus(floor, mass):
    with pytest.raises(ValueError, match=r"mass: expected a number in \(0, 1\], got"):
        floor.sampling.nucleus(P, mass)


@pytest.mark.parametrize("temperature", [0.0, -1.0, float("inf"), float("nan")])
@FLOORS
def test_the_door_of_the_temperature(floor, temperature):
    with pytest.raises(ValueError, match="temperature: expected a positive number, got"):
        floor.sampling.softmax(LOGITS, temperature)
