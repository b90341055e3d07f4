"""The Cayley transform on both floors: orthogonal always, its gradient, and how a cell may start."""

import numpy as np
import pytest
import torch
from proof import agree, verifies

from rnncourse import bridge, gpu, gradcheck, params, reference, starts
from rnncourse.reference import jacobians, orthogonal, unroll

FLOORS = pytest.mark.parametrize("floor", [reference, gpu], ids=["reference", "gpu"])


def draw(H=5, seed=0, based=True):
    rng = np.random.default_rng(seed)
    base = params.orthogonal(rng, H) if based else None
    return rng.standard_normal((H, H)), base, rng.standard_normal((H, H))


def both_ways(floor, Z, base, G):
    convert = (lambda a: a) if floor is reference else bridge.to_torch
    W, tape = floor.orthogonal.forward(convert(Z), None if base is None else convert(base))
    d_Z = floor.orthogonal.backward(tape, convert(G))
    return tuple(part if floor is reference else bridge.to_numpy(part) for part in (W, d_Z))


def by_series(Z, base):
    """The transform without a solver: (I + S)^{-1} from the eigenvectors of the Hermitian matrix iS."""
    S = torch.tensor(Z - Z.T)
    values, U = torch.linalg.eigh(1j * S)  # S = U diag(-i v) U^H
    Q = (U @ torch.diag((1 + 1j * values) / (1 - 1j * values)) @ U.conj().T).real
    return (Q if base is None else torch.tensor(base) @ Q).numpy()


@FLOORS
@pytest.mark.parametrize("H", [1, 2, 5, 40])
@verifies("eq-cayley-orthogonal", oracle="the definition of orthogonality")
def test_orthogonal_for_any_parameters(floor, H):
    for scale in (1e-8, 1.0, 30.0):
        Z, base, G = draw(H)
        W, _ = both_ways(floor, scale * Z, base, G)
        agree(W.T @ W, np.eye(H), 1e-12)
        agree(W @ W.T, np.eye(H), 1e-12)
        assert floor.orthogonal.departure(W if floor is reference else torch.tensor(W)) < 1e-12


@FLOORS
@pytest.mark.parametrize("based", [True, False])
def test_against_its_eigenvectors(floor, based):
    Z, base, G = draw(6, based=based)
    agree(both_ways(floor, Z, base, G)[0], by_series(Z, base), 1e-13)


def test_it_turns_by_the_angle_that_its_entry_says():
    for angle in (0.1, 1.0, 3.0):
        Z = np.array([[0, np.tan(angle / 2)], [0, 0]])
        expected = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        agree(orthogonal.forward(Z)[0], expected, 1e-13)


def test_zero_is_the_start():
    _, base, _ = draw()
    agree(orthogonal.forward(np.zeros((5, 5)), base)[0], base, 1e-15)
    agree(orthogonal.forward(np.zeros((5, 5)))[0], np.eye(5), 1e-15)


@FLOORS
@pytest.mark.parametrize("H", [2, 7])
@pytest.mark.parametrize("based", [True, False])
@verifies("eq-cayley-gradient", oracle="autograd")
def test_gradient_against_autograd(floor, H, based):
    Z, base, G = draw(H, based=based)
    leaf = torch.tensor(Z, requires_grad=True)
    eye = torch.eye(H, dtype=torch.float64)
    W = torch.linalg.inv(eye + leaf - leaf.T) @ (eye - leaf + leaf.T)
    W = W if base is None else torch.tensor(base) @ W
    (d_Z,) = torch.autograd.grad((W * torch.tensor(G)).sum(), leaf)
    found = both_ways(floor, Z, base, G)[1]
    agree(found, d_Z, 1e-12)
    agree(found, -found.T, 1e-15)


@FLOORS
def test_one_number_has_no_angle_to_turn_by(floor):
    assert not both_ways(floor, *draw(1))[1].any()


@verifies("eq-cayley-gradient", oracle="complex step")
def test_gradient_against_the_complex_step():
    Z, base, G = draw(4)
    oracle = gradcheck.complex_step(lambda Z: (orthogonal.forward(Z, base)[0] * G).sum(), Z)
    agree(both_ways(reference, Z, base, G)[1], oracle, 1e-12)


@FLOORS
def test_float32_stays(floor):
    Z, base, G = (part.astype("f4") for part in draw())
    W, d_Z = both_ways(floor, Z, base, G)
    assert W.dtype == d_Z.dtype == np.dtype("f4")
    agree((W, d_Z), both_ways(reference, *draw()), 1e-4)


def test_autograd_goes_through_the_torch_floor():
    Z, base, G = bridge.to_torch(draw())
    Z.requires_grad_()
    W, tape = gpu.orthogonal.forward(Z, base)
    d_Z = gpu.orthogonal.backward(tape, G)  # keeps the graph for the caller
    (W * G).sum().backward()
    agree(Z.grad, d_Z, 0)
    assert not gpu.orthogonal.forward(Z.detach(), base)[0].requires_grad


def test_the_start_gets_its_gradient_too():
    Z, base, G = bridge.to_torch(draw())
    base.requires_grad_()
    (gpu.orthogonal.forward(Z, base)[0] * G).sum().backward()
    agree(base.grad, G @ gpu.orthogonal.forward(Z)[0].T, 1e-12)


@FLOORS
def test_departure_is_the_largest_entry_in_size(floor):
    W = np.array([[1.0, 0.3], [0.0, 0.5]])  # W'W - I = [[0, 0.3], [0.3, -0.66]]
    agree(floor.orthogonal.departure(W if floor is reference else torch.tensor(W)), 0.66, 1e-14)


def test_training_keeps_it_orthogonal():
    """A thousand large steps of random gradients: nothing adds up, because W is made anew each time."""
    Z, base, _ = draw(20)
    rng, worst = np.random.default_rng(3), 0.0
    for _ in range(1000):
        W, tape = orthogonal.forward(Z, base)
        worst = max(worst, orthogonal.departure(W))
        Z = Z - 0.1 * orthogonal.backward(tape, rng.standard_normal(W.shape))
    assert worst < 1e-10


BAD = {
    "not square": (lambda Z, W: (Z[:3], W), r"free: expected shape \(5, 5\), got \(3, 5\)"),
    "a number": (lambda Z, W: (Z[0, 0], W), r"free: expected shape \(H, H\), got \(\)"),
    "nan": (lambda Z, W: (Z * float("nan"), W), "free: 25 of 25 entries are NaN"),
    "base": (lambda Z, W: (Z, W[:4]), r"base: expected shape \(5, 5\), got \(4, 5\)"),
    "base nan": (lambda Z, W: (Z, W * float("inf")), "base: 25 of 25 entries are NaN"),
}


@FLOORS
@pytest.mark.parametrize("name", BAD)
def test_both_floors_refuse_in_the_same_words(name, floor):
    make, says = BAD[name]
    Z, base, G = draw() if floor is reference else bridge.to_torch(draw())
    with pytest.raises(ValueError, match=says):
        floor.orthogonal.forward(*make(Z, base))
    with pytest.raises(ValueError, match=r"d_weights: expected shape \(5, 5\), got \(3, 5\)"):
        floor.orthogonal.backward(floor.orthogonal.forward(Z, base)[1], G[:3])
    with pytest.raises(ValueError, match=r"weights: expected shape \(5, 5\), got \(3, 5\)"):
        floor.orthogonal.departure(Z[:3])


@pytest.mark.cuda
def test_on_a_device():
    Z, base, G = bridge.to_torch(draw(), "cuda")
    W, tape = gpu.orthogonal.forward(Z, base)
    agree((W, gpu.orthogonal.backward(tape, G)), both_ways(reference, *draw()), 1e-12)


# Starts


@verifies("eq-irnn-jacobian", oracle="autograd")
def test_the_jacobian_of_an_irnn_asks_for_the_whole_preactivation():
    rng = np.random.default_rng(0)
    cell_params = starts.identity(rng, 3, 50, input_scale=0.5)
    x = rng.standard_normal((20, 1, 3))
    x[0] = 0  # in silence at zero a unit's slope is 0
    _, _, tape = unroll.forward(reference.cells.rnn("relu"), cell_params, x)
    J = jacobians.steps(tape)[:, 0]
    assert not J[0].any()
    W_x, W_h, _ = map(torch.tensor, cell_params)
    for t in range(20):
        before, now = torch.tensor(tape.hidden[t, 0]), torch.tensor(x[t, 0])
        oracle = torch.autograd.functional.jacobian(lambda h, now=now: torch.relu(W_h @ h + W_x @ now), before)
        agree(J[t], oracle, 0)
        agree(np.diag((tape.hidden[t, 0] + x[t, 0] @ cell_params[0].T > 0).astype(float)), oracle, 0)


def test_starts():
    rng = np.random.default_rng(0)
    W_x, W_h, b = starts.identity(rng, 3, 400, input_scale=0.05, gain=0.9)
    assert np.array_equal(W_h, 0.9 * np.eye(400)) and not b.any()
    assert abs(W_x.std() / 0.05 - 1) < 0.1 and W_x.shape == (400, 3)
    W_x, W_h, b = starts.gaussian(rng, 3, 400, gain=1.5)
    assert abs(W_h.std() * 20 / 1.5 - 1) < 0.02 and abs(W_x.std() * 3**0.5 - 1) < 0.1 and not b.any()
    assert 2.7 < np.linalg.norm(W_h, 2) < 3.1 and abs(np.abs(np.linalg.eigvals(W_h)).max() - 1.5) < 0.15
    for start in (starts.identity, starts.gaussian):
        for name in ("inputs", "hidden"):
            with pytest.raises(ValueError, match=f"{name}: expected a whole number >= 1, got 0"):
                start(rng, **{"inputs": 2, "hidden": 3, name: 0})
