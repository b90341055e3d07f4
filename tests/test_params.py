"""Parameters: their start, and walks through nested NamedTuples."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rnncourse import params as P


def model(seed=0, D=2, H=5, O=4, **options):
    return P.init_model(np.random.default_rng(seed), D, H, O, **options)


def test_shapes_and_dtype():
    m = model()
    shapes = {name: array.shape for name, array in P.named_arrays(m)}
    assert shapes == {
        "cell.input_weights": (5, 2),
        "cell.recurrent_weights": (5, 5),
        "cell.bias": (5,),
        "readout.weights": (4, 5),
        "readout.bias": (4,),
        "initial_state": (5,),
    }
    assert {array.dtype for _, array in P.named_arrays(m)} == {np.dtype(float)}
    assert P.count(m) == 10 + 25 + 5 + 20 + 4 + 5
    assert not m.cell.bias.any()
    assert not m.readout.bias.any()
    assert not m.initial_state.any()


def test_the_same_seed_gives_the_same_start():
    assert all(
        np.array_equal(a, b) for (_, a), (_, b) in zip(P.named_arrays(model(3)), P.named_arrays(model(3)), strict=True)
    )
    assert not np.array_equal(model(3).cell.input_weights, model(4).cell.input_weights)


@given(st.integers(1, 8), st.integers(0, 10**6))
def test_orthogonal(size, seed):
    Q = P.orthogonal(np.random.default_rng(seed), size)
    assert np.allclose(Q @ Q.T, np.eye(size), atol=1e-13)


def test_orthogonal_is_uniform():
    """Over the whole group each entry has mean 0, and so has the trace; unsigned QR fails this."""
    rng = np.random.default_rng(0)
    draws = np.array([P.orthogonal(rng, 3) for _ in range(4000)])
    assert np.abs(draws.mean(axis=0)).max() < 0.05
    assert abs(np.mean(np.linalg.det(draws) > 0) - 0.5) < 0.05


def test_scales():
    rng = np.random.default_rng(0)
    cell = P.init_rnn(rng, 400, 50)
    assert cell.input_weights.std() == pytest.approx(1 / 20, rel=0.05)
    assert P.init_rnn(rng, 400, 50, input_scale=3.0).input_weights.std() == pytest.approx(3, rel=0.05)
    assert np.allclose(np.linalg.svd(P.init_rnn(rng, 2, 6, gain=1.5).recurrent_weights)[1], 1.5)
    assert P.init_readout(rng, 400, 50).weights.std() == pytest.approx(1 / 20, rel=0.05)
    assert model(D=400, H=50, input_scale=3.0).cell.input_weights.std() == pytest.approx(3, rel=0.05)
    assert np.allclose(np.linalg.svd(model().cell.recurrent_weights)[1], 1.0)


def test_map_arrays():
    m = model()
    doubled = P.map_arrays(lambda a, b: a + b, m, m)
    assert type(doubled) is P.ModelParams
    assert type(doubled.cell) is P.RNNParams
    assert all(
        np.array_equal(a, 2 * b) for (_, a), (_, b) in zip(P.named_arrays(doubled), P.named_arrays(m), strict=True)
    )
    assert P.map_arrays(np.negative, np.array([1.0])).tolist() == [-1.0]
    with pytest.raises(ValueError):
        P.map_arrays(np.add, m, m.cell)


def test_named_arrays():
    assert [name for name, _ in P.named_arrays(model().cell, "cell")] == [
        "cell.input_weights",
        "cell.recurrent_weights",
        "cell.bias",
    ]
    assert [name for name, _ in P.named_arrays(np.ones(2), "x")] == ["x"]


@pytest.mark.parametrize(
    ("sizes", "message"),
    [
        ((0, 5, 4), "inputs: expected a whole number >= 1, got 0"),
        ((2, 0, 4), "hidden: expected a whole number >= 1, got 0"),
        ((2, 5, -4), "outputs: expected a whole number >= 1, got -4"),
        ((2.0, 5, 4), "inputs: expected a whole number >= 1, got 2.0"),
        ((2, True, 4), "hidden: expected a whole number >= 1, got True"),
    ],
)
def test_doors(sizes, message):
    with pytest.raises(ValueError, match=message):
        P.init_model(np.random.default_rng(0), *sizes)


def test_door_of_orthogonal():
    with pytest.raises(ValueError, match="size: expected a whole number >= 1, got 0"):
        P.orthogonal(np.random.default_rng(0), 0)
