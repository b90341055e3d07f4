"""The gradient checkers, checked."""

from typing import NamedTuple

import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import given
from oracles import problem, torch_model
from proof import agree

from rnncourse import gradcheck
from rnncourse.params import map_arrays
from rnncourse.reference import bptt, cells, losses


class Inner(NamedTuple):
    w: np.ndarray
    b: np.ndarray


class Outer(NamedTuple):
    inner: Inner
    start: np.ndarray


def tree(dtype=float):
    rng = np.random.default_rng(0)
    return Outer(Inner(*(rng.standard_normal(n).astype(dtype) for n in [(2, 3), (3,)])), np.array(0.7, dtype))


def function(p):
    return (np.sin(p.inner.w) @ p.inner.b).sum() * np.exp(p.start)


def gradient(p):
    outer = np.sin(p.inner.w).sum(axis=0)
    d_w = np.cos(p.inner.w) * p.inner.b
    return Outer(Inner(np.exp(p.start) * d_w, np.exp(p.start) * outer), np.array(function(p)))


def test_complex_step_by_hand():
    ours = gradcheck.complex_step(function, tree())
    agree(ours, gradient(tree()), 1e-15)
    assert type(ours) is Outer
    assert type(ours.inner) is Inner
    assert ours.start.shape == ()


def test_central_difference_by_hand():
    agree(gradcheck.central_difference(function, tree()), gradient(tree()), 1e-9)


def test_complex_step_is_right_where_differences_are_not():
    exact = gradient(tree())
    errors = {}
    for step in (1e-1, 1e-5, 1e-13):
        errors[step] = gradcheck.relative_error(gradcheck.central_difference(function, tree(), step), exact)
    assert errors[1e-5] < 1e-9 < errors[1e-13]
    assert errors[1e-5] < errors[1e-1]
    for step in (1e-8, 1e-30, 1e-100):
        assert gradcheck.relative_error(gradcheck.complex_step(function, tree(), step), exact) < 1e-14


def test_the_step_grows_with_the_entry_and_is_measured_after_rounding():
    """Near a million float32 numbers lie 1/16 apart: a small step is lost, and a large one is rounded."""
    x = np.array([1e6, 1.234567e6], np.float32)
    agree(gradcheck.central_difference(lambda x: (3 * x.astype(float)).sum(), x), np.array([3.0, 3.0]), 1e-9)


def test_a_single_array_will_do():
    x = np.array([1.0, 2.0, 3.0])
    agree(gradcheck.complex_step(lambda x: (x**3).sum(), x), 3 * x**2, 1e-15)
    agree(gradcheck.central_difference(lambda x: (x**3).sum(), x), 3 * x**2, 1e-9)
    assert gradcheck.check(lambda x: (x**3).sum(), 3 * x**2, x).passed


@given(hnp.arrays(float, (2, 2), elements=st.floats(-3, 3)))
def test_both_methods_on_a_polynomial(x):
    exact = 4 * x**3 - 2 * x
    assert np.abs(gradcheck.complex_step(lambda x: (x**4 - x * x).sum(), x) - exact).max() < 1e-13
    assert np.abs(gradcheck.central_difference(lambda x: (x**4 - x * x).sum(), x) - exact).max() < 1e-7


@pytest.mark.parametrize("method", [gradcheck.central_difference, gradcheck.complex_step])
def test_params_are_left_alone(method):
    p = tree()
    before = map_arrays(np.array, p)
    seen = []

    def watched(q):
        seen.append(map_arrays(np.array, q))
        return function(q)

    method(watched, p)
    agree(p, before, 0)
    flat = [np.concatenate([q.inner.w.ravel(), q.inner.b, [q.start]]) for q in seen]
    base = np.concatenate([p.inner.w.ravel(), p.inner.b, [p.start]])
    assert {int((q != base).sum()) for q in flat} == {1}  # one entry at a time, the others restored


def test_read_only_params():
    x = np.arange(3.0)
    x.flags.writeable = False
    agree(gradcheck.complex_step(lambda x: (x * x).sum(), x), 2 * x, 1e-15)


@pytest.mark.parametrize("method", ["complex", "central"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_check_of_a_right_gradient(dtype, method):
    p = problem(T=6, B=2, H=4, dtype=dtype)
    p.inputs = p.inputs.astype(dtype)
    result = bptt.full(cells.rnn(), p.params, p.inputs, p.targets)
    report = gradcheck.check(
        lambda q: bptt.full(cells.rnn(), q, p.inputs, p.targets).loss, result.gradients, p.params, method
    )
    assert report.passed, report
    assert report.tolerance == gradcheck.TOLERANCES[np.dtype(dtype).name, method]
    assert report.error < report.tolerance / 2


@pytest.mark.parametrize("method", ["complex", "central"])
@pytest.mark.parametrize("name", ["input_weights", "recurrent_weights", "bias"])
def test_check_names_the_wrong_array(name, method):
    p = problem(T=6, B=2, H=4)
    right = bptt.full(cells.rnn(), p.params, p.inputs, p.targets).gradients
    wrong = right._replace(cell=right.cell._replace(**{name: 1.01 * getattr(right.cell, name)}))
    report = gradcheck.check(lambda q: bptt.full(cells.rnn(), q, p.inputs, p.targets).loss, wrong, p.params, method)
    assert not report.passed
    assert report.array == f"cell.{name}"
    assert report.error == pytest.approx(0.01, rel=1e-4)


def test_a_forgotten_transpose_is_found():
    p = problem()
    right = bptt.full(cells.rnn(), p.params, p.inputs, p.targets).gradients
    wrong = right._replace(cell=right.cell._replace(recurrent_weights=right.cell.recurrent_weights.T))
    assert not gradcheck.check(lambda q: bptt.full(cells.rnn(), q, p.inputs, p.targets).loss, wrong, p.params).passed


def test_a_gradient_that_is_not_finite_never_passes():
    for bad in (np.nan, np.inf):
        report = gradcheck.check(lambda x: (x * x).sum(), np.array([bad, 2.0]), np.ones(2))
        assert report.error == np.inf
        assert not report.passed


def test_complex_step_through_the_whole_model():
    p = problem(kind="cross_entropy")

    def loss(q):
        return bptt.full(cells.rnn("relu"), q, p.inputs, p.targets, losses.cross_entropy, reduction="mean").loss

    agree(gradcheck.complex_step(loss, p.params), torch_model(p, "relu", reduction="mean").gradients, 1e-13)


# Relative error


def test_relative_error_is_normalised_by_the_largest_entry():
    assert gradcheck.relative_error(np.array([10.0, 0.1]), np.array([10.0, 0.0])) == pytest.approx(0.01)
    assert (
        gradcheck.relative_error(Inner(np.array([1.0]), np.array([300.0])), Inner(np.array([1.5]), np.array([200.0])))
        == 0.5
    )


def test_elementwise_relative_error_rejects_a_right_answer():
    """Entries that cancel to nearly nothing are rounding noise in both answers."""
    x = np.array([1.0, 1e-3])
    noisy = np.array([1.0, 1e-17]), np.array([1.0, 3e-17])
    assert np.abs(noisy[0] / noisy[1] - 1).max() > 0.5
    assert gradcheck.relative_error(*noisy) < 1e-16
    assert gradcheck.relative_error(x, x) == 0


def test_relative_error_to_zero_is_absolute():
    assert gradcheck.relative_error(np.array([1e-3]), np.zeros(1)) == 1e-3
    assert gradcheck.relative_error(np.zeros(2), np.zeros(2)) == 0


@pytest.mark.parametrize(("a", "b"), [(np.nan, 1.0), (1.0, np.nan), (np.inf, np.inf), (np.nan, np.nan)])
def test_relative_error_of_what_is_not_finite(a, b):
    assert gradcheck.relative_error(np.array([0.0, a]), np.array([0.0, b])) == np.inf


# Doors

SQUARE = (lambda x: (x * x).sum(),)


@pytest.mark.parametrize("method", [gradcheck.central_difference, gradcheck.complex_step])
@pytest.mark.parametrize(
    ("params", "message"),
    [
        (np.arange(3), "params: expected real numbers with a fraction, got int64"),
        (np.ones(2, complex), "params: expected real numbers with a fraction, got complex128"),
        (np.array([1.0, np.nan]), "params: 1 of 2 entries are NaN or infinite"),
        (Inner(np.ones(2), np.arange(2)), r"params.b: expected real numbers with a fraction, got int64"),
        (Inner(np.array([np.inf]), np.ones(2)), r"params.w: 1 of 1 entries are NaN or infinite"),
        ([np.ones(2)], "params: expected NamedTuples of arrays, got a list"),
        ((np.ones(2), np.ones(2)), "params: expected NamedTuples of arrays, got a tuple"),
        ({"w": np.ones(2)}, "params: expected NamedTuples of arrays, got a dict"),
        (Inner([1.0, 2.0], np.ones(2)), "params.w: expected NamedTuples of arrays, got a list"),
        ("weights", "params: expected real numbers with a fraction, got <U7"),
    ],
)
def test_doors_of_params(method, params, message):
    with pytest.raises(ValueError, match=message):
        method(lambda p: 0.0, params)


@pytest.mark.parametrize("method", [gradcheck.central_difference, gradcheck.complex_step])
@pytest.mark.parametrize("step", [0.0, -1e-5, np.nan, np.inf])
def test_doors_of_the_step(method, step):
    with pytest.raises(ValueError, match="step: expected a positive number, got"):
        method(*SQUARE, np.ones(2), step)


def test_doors_of_the_function():
    with pytest.raises(
        ValueError, match=r"function: expected a complex scalar, got float64; did abs\(\), float\(\) or .real"
    ):
        gradcheck.complex_step(lambda x: abs(x).sum(), np.ones(2))
    with pytest.raises(ValueError, match="function: expected a float scalar, got complex128"):
        gradcheck.central_difference(lambda x: 1j * x.sum(), np.ones(2))
    with pytest.raises(ValueError, match=r"function: expected a scalar, got float64 of shape \(2,\)"):
        gradcheck.central_difference(lambda x: x, np.ones(2))
    with pytest.raises(ValueError, match="function: expected a scalar, got object"):
        gradcheck.complex_step(lambda x: None, np.ones(2))
    with pytest.raises(ValueError, match="function: returned nan, not a finite number"):
        gradcheck.central_difference(lambda x: np.nan * x.sum(), np.ones(2))


@pytest.mark.parametrize(
    ("gradients", "message"),
    [
        (np.ones(2), "gradients: expected arrays w, b, got "),
        (
            Outer(Inner(np.ones(2), np.ones(2)), np.ones(2)),
            "gradients: expected arrays w, b, got inner.w, inner.b, start",
        ),
        (Inner(np.ones(3), np.ones(2)), r"gradients.w: expected shape \(2,\), got \(3,\)"),
        (Inner(np.ones(2), np.ones((2, 1))), r"gradients.b: expected shape \(2,\), got \(2, 1\)"),
        ((np.ones(2), np.ones(2)), "gradients: expected NamedTuples of arrays, got a tuple"),
    ],
)
def test_doors_of_check(gradients, message):
    with pytest.raises(ValueError, match=message):
        gradcheck.check(lambda p: (p.w * p.b).sum(), gradients, Inner(np.ones(2), np.ones(2)))


def test_doors_of_relative_error():
    with pytest.raises(ValueError, match=r"ours: expected shape \(3,\), got \(2,\)"):
        gradcheck.relative_error(np.ones(2), np.ones(3))


def test_doors_of_the_method():
    with pytest.raises(ValueError, match="method: expected one of 'complex', 'central', got 'forward'"):
        gradcheck.check(*SQUARE, np.ones(2), np.ones(2), "forward")


def test_tolerances_cover_both_methods_and_dtypes():
    assert set(gradcheck.TOLERANCES) == {(d, m) for d in ("float32", "float64") for m in gradcheck.METHODS}
