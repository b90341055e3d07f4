"""Layer normalisation and the vanilla cell that uses it, on both floors."""

import cell_battery as battery
import numpy as np
import pytest
import torch
from cell_oracles import RAGGED, SHAPES, draw_problem, layer_norm_rnn
from proof import agree

from rnncourse import bridge, gate_params, gpu, gradcheck, reference
from rnncourse.gate_params import LayerNormParams, LayerNormRNNParams

FLOORS = pytest.mark.parametrize("floor", [reference, gpu], ids=["reference", "gpu"])
NAMES = ["tanh", "sigmoid", "relu", "identity"]


def rows(*shape, seed=0):
    rng = np.random.default_rng(seed)
    a, d_y = 3 + 2 * rng.standard_normal((2, *shape))
    return LayerNormParams(*rng.standard_normal((2, shape[-1]))), a, d_y


def both_ways(floor, params, a, d_y, epsilon=1e-5):
    tree = (params, a, d_y) if floor is reference else bridge.to_torch((params, a, d_y))
    y, tape = floor.layer_norm.forward(*tree[:2], epsilon)
    d_params, d_a = floor.layer_norm.backward(tape, tree[2])
    return (y, d_params, d_a) if floor is reference else bridge.to_numpy((y, d_params, d_a))


# The normalisation itself


@FLOORS
@pytest.mark.parametrize("shape", [(4, 5), (7, 3, 6), (9,), (2, 1), (1, 3)])
def test_against_torchs_layer_norm(floor, shape):
    params, a, d_y = rows(*shape)
    gamma, beta, x = (torch.tensor(array, requires_grad=True) for array in (*params, a))
    y = torch.nn.functional.layer_norm(x, shape[-1:], gamma, beta)
    d_gamma, d_beta, d_x = torch.autograd.grad(y, [gamma, beta, x], torch.tensor(d_y))
    if shape[-1] == 1:  # a row of one entry has no shape to normalise: everything is zero but the shift
        d_gamma, d_x = torch.zeros_like(d_gamma), torch.zeros_like(d_x)
    agree(both_ways(floor, params, a, d_y), (y, LayerNormParams(d_gamma, d_beta), d_x), 1e-12)


@FLOORS
@pytest.mark.parametrize("epsilon", [1e-5, 0.1])
def test_the_epsilon_is_the_one_that_is_given(floor, epsilon):
    params, a, d_y = rows(4, 5)
    gamma, beta, x = (torch.tensor(array) for array in (*params, a))
    agree(
        both_ways(floor, params, a, d_y, epsilon)[0],
        torch.nn.functional.layer_norm(x, (5,), gamma, beta, epsilon),
        1e-12,
    )
    p = draw_problem(LayerNormRNNParams, own=(1, 1))
    W_x, W_h, b, gain, shift = (torch.tensor(array) for array in p.params)
    h = torch.zeros(len(p.x[0]), len(b), dtype=torch.float64)
    given = (p.params, p.x) if floor is reference else bridge.to_torch((p.params, p.x))
    hidden = floor.unroll.forward(floor.layer_norm.rnn(epsilon=epsilon), *given)[0]
    for x_t, found in zip(torch.tensor(p.x), hidden if floor is reference else bridge.to_numpy(hidden), strict=True):
        a_t = x_t @ W_x.T + h @ W_h.T + b
        h = torch.tanh(torch.nn.functional.layer_norm(a_t, (len(b),), gain, shift, epsilon))
        agree(found, h, 1e-11)


def without_calculus(slope, tolerance):
    params, a, d_y = rows(3, 5)
    norm = reference.layer_norm.forward
    _, d_params, d_a = both_ways(reference, params, a, d_y)
    agree(d_params, slope(lambda p: (norm(p, a)[0] * d_y).sum(), params), tolerance)
    agree(d_a, slope(lambda a: (norm(params, a)[0] * d_y).sum(), a), tolerance)


def test_against_the_complex_step():
    without_calculus(gradcheck.complex_step, 1e-12)


def test_against_central_differences():
    without_calculus(gradcheck.central_difference, 1e-8)


def test_against_the_dense_jacobian():
    _, a, d_n = rows(6)
    n, precision = reference.layer_norm.normalise(a, 1e-5)
    J = precision * (np.eye(6) - np.full((6, 6), 1 / 6) - np.outer(n, n) / 6)
    agree(reference.layer_norm.pull(n, precision, d_n), J.T @ d_n, 1e-13)


@FLOORS
def test_rows_come_out_with_mean_zero_and_variance_one(floor):
    _, a, _ = rows(4, 50)
    n, _ = floor.layer_norm.normalise(a if floor is reference else torch.tensor(a), 1e-12)
    n = np.asarray(n)
    assert np.abs(n.mean(axis=1)).max() < 1e-14 and np.abs(n.var(axis=1) - 1).max() < 1e-11


def test_the_gradient_neither_moves_nor_stretches_a_row():
    params, a, d_y = rows(4, 7)
    _, _, d_a = both_ways(reference, params, a, d_y, epsilon=1e-30)
    assert np.abs(d_a.sum(axis=1)).max() < 1e-14
    assert np.abs((d_a * (a - a.mean(axis=1, keepdims=True))).sum(axis=1)).max() < 1e-13


@FLOORS
def test_a_constant_row_is_no_division_by_zero(floor):
    params, a, d_y = rows(2, 5)
    a[0] = 4.0
    y, _, d_a = both_ways(floor, params, a, d_y)
    agree(y[0], params.shift, 1e-13)
    assert np.isfinite(d_a).all()


@FLOORS
def test_float32_rows_stay_float32(floor):
    params, a, d_y = rows(4, 5)
    narrow = (LayerNormParams(*(array.astype("f4") for array in params)), a.astype("f4"), d_y.astype("f4"))
    y, d_params, d_a = both_ways(floor, *narrow)
    assert {array.dtype for array in (y, *d_params, d_a)} == {np.dtype("f4")}
    agree((y, d_params, d_a), both_ways(floor, params, a, d_y), 1e-5)


BAD = {
    "gain axes": (lambda p, a: (p._replace(gain=a), a), r"gain: expected shape \(N,\), got \(4, 5\)"),
    "shift": (lambda p, a: (p._replace(shift=a[0, :3]), a), r"shift: expected shape \(5,\), got \(3,\)"),
    "inputs": (lambda p, a: (p, a[:, :3]), r"inputs: expected shape \(4, 5\), got \(4, 3\)"),
    "nan": (lambda p, a: (p, a + float("nan")), "inputs: 20 of 20 entries are NaN"),
    "epsilon": (lambda p, a: (p, a, 0.0), "epsilon: expected a positive number, got 0.0"),
    "epsilon nan": (lambda p, a: (p, a, float("nan")), "epsilon: expected a positive number, got nan"),
}


@FLOORS
@pytest.mark.parametrize("name", BAD)
def test_both_floors_refuse_in_the_same_words(name, floor):
    make, says = BAD[name]
    tree = rows(4, 5)[:2]
    with pytest.raises(ValueError, match=says):
        floor.layer_norm.forward(*make(*(tree if floor is reference else bridge.to_torch(tree))))
    tree = rows(4, 5)
    params, a, d_y = tree if floor is reference else bridge.to_torch(tree)
    with pytest.raises(ValueError, match=r"d_outputs: expected shape \(4, 5\), got \(3, 5\)"):
        floor.layer_norm.backward(floor.layer_norm.forward(params, a)[1], d_y[:3])
    with pytest.raises(ValueError, match="epsilon: expected a positive number"):
        floor.layer_norm.rnn(epsilon=-1.0)
    with pytest.raises(ValueError, match="activation: expected one of"):
        floor.layer_norm.rnn("gelu")


# The vanilla cell with its sum normalised


def problem(**settings):
    return draw_problem(LayerNormRNNParams, own=(1, 1), **settings)


@FLOORS
@pytest.mark.parametrize("activation", NAMES)
@pytest.mark.parametrize(("T", "B", "D", "H"), SHAPES)
def test_cell_against_autograd(floor, T, B, D, H, activation):
    p = problem(T=T, B=B, D=D, H=max(H, 3))
    battery.against_autograd(floor, floor.layer_norm.rnn(activation), p, layer_norm_rnn(activation))


@FLOORS
def test_cell_ragged(floor):
    p = battery.ragged(problem())
    battery.against_autograd(floor, floor.layer_norm.rnn(), p, layer_norm_rnn(), RAGGED)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_cell_against_the_complex_step(activation):
    battery.without_calculus(reference.layer_norm.rnn(activation), problem(), "complex_step", 1e-12)


@pytest.mark.parametrize("activation", ["tanh", "sigmoid"])
def test_cell_against_central_differences(activation):
    battery.without_calculus(reference.layer_norm.rnn(activation), problem(), "central_difference", 1e-7)


def test_pull():
    battery.pull_is_linear_and_writes_nowhere(reference.layer_norm.rnn(), problem())


@FLOORS
def test_cell_float32(floor):
    battery.float32_stays(floor, floor.layer_norm.rnn(), problem(dtype=np.float32), tolerance=1e-4)


@FLOORS
def test_long_and_saturated(floor):
    p = problem(T=300, B=1, H=4)
    p.params.gain[:2] = 20.0
    battery.against_autograd(floor, floor.layer_norm.rnn(), p, layer_norm_rnn(), tolerance=1e-11)


def test_the_scale_of_all_weights_does_not_matter():
    p = problem()
    cell = reference.layer_norm.rnn(epsilon=1e-30)
    scaled = p.params._replace(**{name: 100 * getattr(p.params, name) for name in p.params._fields[:3]})
    outputs = [reference.unroll.forward(cell, params, p.x)[0] for params in (p.params, scaled)]
    agree(*outputs, 1e-12)


def test_compiled():
    battery.compiled(lambda floor: floor.layer_norm.rnn(), problem(T=3))


# How they start


def test_starts():
    params = gate_params.init_layer_norm_rnn(np.random.default_rng(0), 3, 5, gain=0.5)
    _, W_h, b, gain, shift = params
    agree(W_h @ W_h.T, np.eye(5), 1e-14)
    assert (gain == 0.5).all() and not b.any() and not shift.any()
    reference.unroll.forward(reference.layer_norm.rnn(), params, np.ones((4, 2, 3)))
    ones, zeros = gate_params.init_layer_norm(4)
    assert (ones == 1).all() and not zeros.any() and len(ones) == len(zeros) == 4
    with pytest.raises(ValueError, match="features: expected a whole number >= 1, got 0"):
        gate_params.init_layer_norm(0)


@pytest.mark.cuda
def test_on_a_device():
    battery.on_a_device(lambda floor: floor.layer_norm.rnn(), battery.ragged(problem()))
