"""Activations and their slopes."""

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from hypothesis import given
from oracles import PHI, SLOPES
from proof import agree, verifies

from rnncourse.reference import activations

NAMES = ["tanh", "sigmoid", "relu", "identity"]
A = np.concatenate([np.linspace(-3, 3, 40), [-20, 20, -0.5, 700, -700]])  # the grid holds no 0


@pytest.mark.parametrize("name", NAMES)
@verifies("eq-activation-slopes", oracle="autograd")
def test_slope_against_autograd(name):
    phi, slope = activations.get(name)
    a = torch.tensor(A, requires_grad=True)
    h = PHI[name](a)
    (oracle,) = torch.autograd.grad(h.sum(), [a])
    agree(phi(A), h, 1e-14)
    agree(slope(phi(A)), oracle, 1e-14)


@pytest.mark.parametrize("name", NAMES)
@verifies("eq-activation-slopes", oracle="complex step")
def test_slope_against_complex_step(name):
    phi, slope = activations.get(name)
    agree(slope(phi(A)), phi(A + 1e-30j).imag / 1e-30, 1e-14)


@pytest.mark.parametrize("name", NAMES)
@verifies("eq-activation-slopes", oracle="closed form of the pre-activation")
def test_slope_against_the_formula_of_the_pre_activation(name):
    phi, slope = activations.get(name)
    agree(slope(phi(A[:42])), SLOPES[name](A[:42]), 1e-14)


@given(st.floats(-1e6, 1e6))
def test_tanh_is_a_stretched_sigmoid(a):
    assert abs(np.tanh(a) - (2 * activations.sigmoid(2 * np.float64(a)) - 1)) < 1e-15


@given(st.floats(-1e300, 1e300))
def test_sigmoid_never_overflows(a):
    with np.errstate(over="raise"):
        value = activations.sigmoid(np.float64(a))
    assert 0 <= value <= 1
    assert abs(value - torch.sigmoid(torch.tensor(a, dtype=torch.float64)).item()) < 1e-15


def test_relu_has_slope_zero_at_zero_as_in_torch():
    phi, slope = activations.get("relu")
    a = torch.zeros(1, requires_grad=True)
    torch.relu(a).backward()
    assert slope(phi(np.zeros(1)))[0] == a.grad.item() == 0


def test_relu_judges_complex_numbers_by_their_real_part():
    assert activations.relu(np.array([-1 + 5j, 2 - 7j, 1j])).tolist() == [0, 2 - 7j, 0]  # slope 0 at the kink too


@pytest.mark.parametrize("dtype", [np.float32, np.float64, complex])
@pytest.mark.parametrize("name", NAMES)
def test_dtype_and_shape_are_kept(name, dtype):
    phi, slope = activations.get(name)
    h = phi(np.ones((2, 3, 1), dtype))
    assert h.dtype == slope(h).dtype == dtype
    assert h.shape == slope(h).shape == (2, 3, 1)


def test_unknown_activation():
    with pytest.raises(ValueError, match=r"activation: expected one of 'tanh', 'sigmoid', .* got 'softsign'"):
        activations.get("softsign")
