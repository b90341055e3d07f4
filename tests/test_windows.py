"""Windows: how many, what is in them, what their models cannot know, and how they vote."""

import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import leaves, problem
from proof import agree, verifies

from rnncourse import bridge, gpu, gradcheck
from rnncourse.params import init_model, map_arrays
from rnncourse.reference import bptt, cells, readout, unroll, windows

SENTENCE = ["This", "is", "a", "great", "movie"]


def a_model(W, D=2, H=5, O=3, seed=0):
    model = init_model(np.random.default_rng(seed), W * D, H, O)
    return map_arrays(lambda w: w + 0.3 * np.random.default_rng(seed + 1).standard_normal(w.shape), model)


def outputs(model, x, W, cell=None):
    """What the library's window model says at each step."""
    hidden, _, tape = unroll.forward(cell or windows.cell(), model.cell, windows.features(x, W), model.initial_state)
    y, read = readout.forward(model.readout, hidden)
    return y, read, tape


def convolved(model, x, W):
    """The same model in torch, as a causal convolution over a sequence (T, D) with zeros before it."""
    H, D = len(model.cell.bias), x.shape[1]
    kernel = torch.tensor(model.cell.input_weights).reshape(H, W, D).transpose(1, 2)
    padded = torch.nn.functional.pad(x.T[None], (W - 1, 0))
    h = torch.tanh(torch.nn.functional.conv1d(padded, kernel, torch.tensor(model.cell.bias)))[0].T
    return h @ torch.tensor(model.readout.weights).T + torch.tensor(model.readout.bias)


# How many, and which


def test_the_windows_of_words_and_characters():
    words = windows.split(SENTENCE, 2)
    assert windows.split(["a", "b"], 2, padding="<start>").tolist() == [["<start>", "a"], ["a", "b"]]
    assert [" ".join(w) for w in words] == ["This is", "is a", "a great", "great movie"]
    letters = list("Hello world!")
    before = windows.split(["#", *letters[:-1]], 3, padding="#")
    assert ["".join(w) for w in before[:5]] == ["###", "##H", "#He", "Hel", "ell"]
    assert len(before) == len(letters) == 12


@pytest.mark.parametrize("width", range(1, 8))
@pytest.mark.parametrize("steps", range(1, 9))
@verifies("eq-window-count", oracle="counting by hand")
def test_counts(steps, width):
    line = list(range(1, steps + 1))
    full = [line[a : a + width] for a in range(steps) if a + width <= steps]
    padded = [([0] * width + line)[a : a + width] for a in range(1, steps + 1)]
    ours = [windows.count(steps, width), windows.count(steps, width, padded=True)]
    agree(np.array(ours, float), np.array([len(full), len(padded)], float), 0.0)
    assert windows.split(np.array(line), width).tolist() == full
    assert windows.split(np.array(line), width, padding=0).tolist() == padded


def test_nothing_has_no_windows():
    assert windows.count(0, 3) == windows.count(0, 3, padded=True) == len(windows.split([], 3, padding=0)) == 0


@given(st.integers(1, 6), st.integers(1, 5), st.integers(1, 3), st.integers(1, 3))
def test_features_hold_the_last_inputs_newest_last(T, W, B, D):
    x = np.random.default_rng(0).standard_normal((T, B, D))
    w = windows.features(x, W).reshape(T, B, W, D)
    for t, back in itertools.product(range(T), range(W)):
        expected = x[t - back] if t >= back else np.zeros((B, D))
        assert np.array_equal(w[t, :, W - 1 - back], expected)


@given(st.integers(1, 7), st.integers(1, 9), st.integers(1, 3), st.integers(1, 3))
def test_fold_is_the_way_back_of_features(T, W, B, D):
    rng = np.random.default_rng(1)
    x, g = rng.standard_normal((T, B, D)), rng.standard_normal((T, B, W * D))
    assert (windows.features(x, W) * g).sum() == pytest.approx((x * windows.fold(g, W)).sum(), rel=1e-12, abs=1e-12)


# What a window cannot know


@pytest.mark.parametrize("W", [1, 2, 4, 6, 9])
@verifies("eq-window-blind", oracle="autograd through a causal convolution")
def test_the_jacobian_is_a_band(W):
    T, D, O = 6, 2, 3
    model, x = a_model(W), np.random.default_rng(3).standard_normal((T, D))
    oracle = torch.autograd.functional.jacobian(lambda x: convolved(model, x, W), torch.tensor(x))
    y, read, tape = outputs(model, x[:, None], W)
    ours = np.empty((T, O, T, D))
    for t, o in itertools.product(range(T), range(O)):
        e = np.zeros_like(y)
        e[t, 0, o] = 1.0
        d_windows = unroll.backward(tape, readout.backward(read, e)[1]).inputs
        ours[t, o] = windows.fold(d_windows, W)[:, 0]
    agree(ours, oracle, 1e-13)
    for t, s in itertools.product(range(T), range(T)):
        assert ours[t, :, s].any() == (0 <= t - s < W)


@pytest.mark.parametrize("W, lag", [(1, 1), (2, 2), (2, 3), (3, 4)])
@verifies("eq-seq-chance", oracle="every sequence of coins there is")
def test_no_window_model_beats_chance_on_what_it_cannot_see(W, lag):
    T = 5
    model = a_model(W, D=1, O=1, seed=W)
    heard = np.array(list(itertools.product([-1.0, 1.0], repeat=T))).T[:, :, None]
    y = outputs(model, heard, W)[0]
    error = sum((y[t, b, 0] - heard[t - lag, b, 0]) ** 2 for b in range(2**T) for t in range(lag, T))
    size = sum(y[t, b, 0] ** 2 for b in range(2**T) for t in range(lag, T))
    terms = 2**T * (T - lag)
    agree(1 + size / terms, error / terms, 1e-13)
    right = np.mean([(np.sign(y[t]) == heard[t - lag]).mean() for t in range(lag, T)])
    assert right == 0.5


def test_a_window_just_wide_enough_can_be_right():
    """The bound is sharp: with W = lag + 1 one weight does it."""
    model = map_arrays(np.zeros_like, a_model(3, D=1, H=1, O=1))
    model.cell.input_weights[0, 0] = model.readout.weights[0, 0] = 1.0
    x = np.random.default_rng(0).choice([-1.0, 1.0], (9, 4, 1))
    y = outputs(model, x, 3, windows.cell("identity"))[0]
    assert np.array_equal(y[2:], x[:-2])


def test_far_windows_may_change_places():
    x = np.random.default_rng(4).standard_normal((12, 1, 2))
    model = a_model(3)
    w = windows.features(x, 3)
    swapped = w.copy()
    swapped[[2, 9]] = w[[9, 2]]

    def run(cell, w):
        return unroll.forward(cell, model.cell, w)[0]

    order = np.arange(12)
    order[[2, 9]] = 9, 2
    assert np.array_equal(run(windows.cell(), swapped), run(windows.cell(), w)[order])
    assert not np.allclose(run(cells.rnn(), swapped)[10], run(cells.rnn(), w)[10])


# The cell, its gradients and its twin


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "identity"])
def test_gradients_of_a_window_model(activation):
    p = problem(T=5, B=2, D=6, H=4, O=3)
    cell = windows.cell(activation)
    ours = bptt.full(cell, p.params, p.inputs, p.targets).gradients
    report = gradcheck.check(lambda q: bptt.full(cell, q, p.inputs, p.targets).loss, ours, p.params)
    assert report.passed, report
    assert not ours.cell.recurrent_weights.any() and not ours.initial_state.any()


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "relu", "identity"])
def test_the_twin_agrees(activation):
    p = problem(T=6, B=3, D=2, H=4, O=3)
    params = init_model(p.rng, 3 * 2, 4, 3)
    x, lengths = p.inputs.copy(), [6, 4, 1]
    x[4:, 1] = np.nan
    mine = bptt.full(windows.cell(activation), params, windows.features(x, 3), p.targets[:, :, :3], lengths=lengths)
    theirs = gpu.bptt.full(
        gpu.windows.cell(activation),
        bridge.to_torch(params),
        gpu.windows.features(bridge.to_torch(x), 3),
        bridge.to_torch(p.targets[:, :, :3]),
        lengths=lengths,
    )
    assert gradcheck.relative_error(mine.gradients, bridge.to_numpy(theirs.gradients)) < 1e-13
    assert mine.loss == pytest.approx(float(theirs.loss), rel=1e-13)


def test_the_twins_windows_are_the_same():
    x = np.random.default_rng(0).standard_normal((7, 2, 3))
    assert np.array_equal(gpu.windows.split(torch.tensor(x), 4), windows.split(x, 4))
    assert np.array_equal(gpu.windows.split(torch.tensor(x), 9), windows.split(x, 9))
    assert np.array_equal(gpu.windows.split(torch.arange(5), 3, padding=-1), windows.split(np.arange(5), 3, padding=-1))
    assert gpu.windows.count(7, 3) == windows.count(7, 3) == 5


def test_autograd_flows_through_the_twins_windows():
    model, x = leaves(a_model(3)), torch.randn(5, 2, 2, dtype=torch.float64, requires_grad=True)
    hidden = gpu.unroll.forward(gpu.windows.cell(), model.cell, gpu.windows.features(x, 3))[0]
    hidden[2].sum().backward()
    assert [bool(part.any()) for part in x.grad] == [True] * 3 + [False] * 2


# Votes


@pytest.mark.parametrize("floor", [windows, gpu.windows], ids=["reference", "gpu"])
def test_votes(floor):
    y = np.ones((4, 1, 1))
    make = torch.tensor if floor is gpu.windows else np.array
    assert float(floor.vote(make(y))[0, 0]) == 1
    assert float(floor.vote(make(y), "sum")[0, 0]) == 4
    ragged = np.array([[1.0, 2.0], [3.0, np.nan]])[:, :, None]
    assert floor.vote(make(ragged), lengths=[2, 1]).tolist() == [[2.0], [2.0]]
    assert np.isnan(np.asarray(floor.vote(make(ragged)))).any(), "a NaN at a real step must stay visible"
    assert floor.vote(make(ragged), "sum", lengths=make([2, 1])).tolist() == [[4.0], [2.0]]


REFUSED = {
    "steps": lambda f, a: f.count(-1, 2),
    "width": lambda f, a: f.count(3, 0),
    "width ": lambda f, a: f.split(a(np.ones(3)), 0),
    "width  ": lambda f, a: f.features(a(np.ones((3, 1, 1))), 1.5),
    "inputs": lambda f, a: f.features(a(np.ones((3, 2))), 2),
    "outputs": lambda f, a: f.vote(a(np.ones((3, 2)))),
    "reduction": lambda f, a: f.vote(a(np.ones((3, 2, 1))), "max"),
    "lengths": lambda f, a: f.vote(a(np.ones((3, 2, 1))), lengths=[1]),
    "lengths ": lambda f, a: f.vote(a(np.ones((3, 2, 1))), lengths=[1, 0]),
    "lengths  ": lambda f, a: f.vote(a(np.ones((3, 2, 1))), lengths=[1, 4]),
    "activation": lambda f, a: f.cell("gelu"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_both_floors_refuse_in_the_same_words(name):
    said = []
    for floor, make in ((windows, np.asarray), (gpu.windows, torch.as_tensor)):
        with pytest.raises(ValueError, match=f"^{name.strip()}: ") as refusal:
            REFUSED[name](floor, make)
        said.append(str(refusal.value))
    assert said[0] == said[1]


def test_fold_refuses_what_does_not_divide():
    with pytest.raises(ValueError, match="d_features: expected a last axis that 2 divides, got 3"):
        windows.fold(np.ones((4, 1, 3)), 2)
