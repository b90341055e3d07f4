"""Lyapunov exponents against cases that can be solved."""

import numpy as np
import pytest
import torch
from oracles import problem
from proof import agree, verifies

from rnncourse import bridge, gpu
from rnncourse.params import RNNParams, orthogonal
from rnncourse.reference import cells, jacobians, lyapunov, unroll


def similar(seed, T):
    rng = np.random.default_rng(seed)
    M = np.eye(len(T)) + 0.3 * rng.standard_normal(T.shape)
    return M @ T @ np.linalg.inv(M)


def constant(W, T):
    return np.broadcast_to(W, (T, 1, *W.shape))


@pytest.mark.parametrize("seed", range(3))
@verifies("eq-lyapunov-constant", oracle="eigenvalues chosen beforehand")
def test_a_constant_matrix_has_the_logarithms_of_its_moduli(seed):
    eigenvalues = np.array([1.3, -0.9, 0.6, 0.2, -0.05])
    W = similar(seed, np.diag(eigenvalues))
    agree(lyapunov.exponents(constant(W, 400), skip=200)[0], np.log(abs(eigenvalues)), 1e-12)


@verifies("eq-lyapunov-constant", oracle="eigenvalues chosen beforehand")
def test_a_complex_pair_has_one_exponent_twice():
    angle = 2 * np.pi / 5  # five steps are a whole turn, so the average over them is exact
    turn = 0.8 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    W = similar(3, np.block([[turn, np.zeros((2, 1))], [np.zeros((1, 2)), np.array([[0.3]])]]))
    agree(lyapunov.exponents(constant(W, 300), skip=200)[0], np.log([0.8, 0.8, 0.3]), 1e-12)


@pytest.mark.parametrize("period", [1, 2, 5])
@verifies("eq-lyapunov-qr", oracle="eigenvalues of the product over one period")
def test_a_periodic_product_has_the_eigenvalues_of_its_period(period):
    """Factors near a diagonal, so that the moduli of the period's product are real and well apart."""
    rng = np.random.default_rng(period)
    J = np.diag([1.5, 0.8, 0.4, 0.1]) + 0.1 * rng.standard_normal((period, 4, 4))
    total = torch.eye(4, dtype=torch.float64)
    for factor in torch.tensor(J):
        total = factor @ total
    oracle = torch.linalg.eigvals(total).abs().log().sort(descending=True).values / period
    many = np.tile(J, (120, 1, 1))[:, None]
    agree(lyapunov.exponents(many, skip=90 * period)[0], oracle, 1e-12)


def test_the_exponents_are_those_of_the_singular_values():
    J = np.random.default_rng(0).standard_normal((300, 1, 2, 2))
    total, logs = np.eye(2), np.zeros(2)
    for factor in J[:, 0]:  # the larger singular value, and the product of both, each scaled at every step
        total = factor @ total
        size = np.linalg.norm(total, 2)
        total, logs[0] = total / size, logs[0] + np.log(size)
        logs[1] += np.log(abs(np.linalg.det(factor)))
    oracle = np.array([logs[0], logs[1] - logs[0]]) / 300
    assert abs(lyapunov.exponents(J)[0] - oracle).max() < 0.02  # they agree in the limit only


@verifies("eq-lyapunov-triangular", oracle="the diagonals' own means")
def test_triangular_matrices_have_the_means_of_their_diagonals():
    """Upper triangular, each another one; and diagonal."""
    rng = np.random.default_rng(4)
    d = np.array([0.3, 1.2, 0.6]) * np.exp(0.2 * rng.standard_normal((5, 3)))
    oracle = np.sort(np.log(d).mean(axis=0))[::-1]
    diagonal = d[:, :, None] * np.eye(3)
    upper = diagonal + np.triu(0.3 * rng.standard_normal((5, 3, 3)), 1)
    lower = upper.swapaxes(1, 2)
    for period in (diagonal, upper, lower):
        ours = lyapunov.exponents(np.tile(period, (100, 1, 1))[:, None], skip=300)[0]
        agree(ours, oracle, 1e-12)


def test_upper_and_lower_in_turn_do_not_have_the_means_of_their_diagonals():
    pair = np.array([[[1.0, 2.0], [0.0, 0.5]], [[0.5, 0.0], [2.0, 1.0]]])
    ours = lyapunov.exponents(np.tile(pair, (200, 1, 1))[:, None], skip=200)[0]
    oracle = torch.linalg.eigvals(torch.tensor(pair[1] @ pair[0])).abs().log().sort(descending=True).values / 2
    agree(ours, oracle, 1e-12)
    assert abs(ours - np.log(0.5) / 2).min() > 1  # both diagonals have this mean


def frames(J, Q):
    """Q_T, R_T ... R_1 and log |diag R_t|, t = 1..T, by the loop that the chapter prints."""
    triangle, logs = np.eye(len(Q)), []
    for J_t in J:
        Q, R = np.linalg.qr(J_t @ Q)
        triangle = R @ triangle
        logs.append(np.log(abs(np.diag(R))))
    return Q, triangle, np.array(logs)


@verifies("eq-lyapunov-qr", oracle="torch's product of the factors")
def test_the_straightened_frames_multiply_to_the_product():
    rng = np.random.default_rng(7)
    J, start = rng.standard_normal((5, 4, 4)), orthogonal(rng, 4)
    Q, triangle, logs = frames(J, start)
    agree(Q @ triangle, torch.linalg.multi_dot([*torch.tensor(J).flip(0), torch.tensor(start)]), 1e-12)
    agree(np.log(abs(np.diag(triangle))), logs.sum(axis=0), 1e-12)


def test_a_frame_that_never_turns_finds_the_exponents_in_the_order_of_the_axes():
    W = np.array([[0.5, 1.0], [0.0, 2.0]])
    agree(frames([W] * 100, np.eye(2))[2].mean(axis=0), np.log([0.5, 2.0]), 1e-12)
    agree(lyapunov.exponents(constant(W, 200), count=1, skip=100)[0], np.log([2.0]), 1e-12)


@pytest.mark.parametrize("floor", ["reference", "gpu"])
def test_a_sequence_shorter_than_skip_is_refused(floor):
    p = problem(T=4, B=2)
    if floor == "reference":
        tape = unroll.forward(cells.rnn(), p.params.cell, p.inputs, p.params.initial_state, [4, 1])[2]
    else:
        params = bridge.to_torch(p.params)
        x = bridge.to_torch(p.inputs)
        tape = gpu.unroll.forward(gpu.cells.rnn(), params.cell, x, params.initial_state, [4, 1])[2]
    along = lyapunov.along if floor == "reference" else gpu.lyapunov.along
    for skip in (1, 2, 3):
        with pytest.raises(ValueError, match="longer than skip"):
            along(tape, skip=skip)


@pytest.mark.parametrize("H", [1, 2, 5])
@verifies("eq-lyapunov-sum", oracle="torch's determinants")
def test_the_sum_is_the_mean_logarithm_of_the_determinants_for_every_T(H):
    for T in (1, 3, 40):
        J = np.random.default_rng(T).standard_normal((T, 2, H, H))
        oracle = torch.linalg.slogdet(torch.tensor(J))[1].mean(dim=0)
        agree(lyapunov.exponents(J).sum(axis=1), oracle, 1e-12)


def mean_log_chi(k):
    """E log of the length of a Gaussian vector in k dimensions, by quadrature over u = log of its square."""
    u = np.linspace(-90.0, 8.0, 20001)
    log_density = 0.5 * k * u - 0.5 * np.exp(u)
    weight = np.exp(log_density - log_density.max())
    return float((0.5 * u * weight).sum() / weight.sum())


@verifies("eq-lyapunov-gaussian", oracle="quadrature of the mean logarithm of a chi distribution")
def test_gaussian_matrices_have_newmans_spectrum():
    H, T, g = 4, 4000, 0.9
    half = (H - torch.arange(H, dtype=torch.float64)) / 2
    newman = np.log(g) + 0.5 * (np.log(2 / H) + torch.digamma(half).numpy())
    agree(newman, np.array([np.log(g / np.sqrt(H)) + mean_log_chi(H - i) for i in range(H)]), 1e-10)
    J = g / np.sqrt(H) * np.random.default_rng(1).standard_normal((T, 8, H, H))
    ours = lyapunov.exponents(J)  # a sample: as near as its own spread says
    assert abs(ours.mean(axis=0) - newman).max() < 4 * ours.std(axis=0).max() / np.sqrt(8) < 0.03


def test_an_orthogonal_network_without_activation_has_exponents_zero():
    rng = np.random.default_rng(0)
    params = RNNParams(rng.standard_normal((6, 2)), orthogonal(rng, 6), np.zeros(6))
    tape = unroll.forward(cells.rnn("identity"), params, rng.standard_normal((50, 3, 2)))[2]
    assert abs(lyapunov.along(tape)).max() < 1e-14


@pytest.mark.parametrize("activation", ["tanh", "sigmoid", "identity"])
@pytest.mark.parametrize("lengths", [None, [9, 7, 4]])
@pytest.mark.parametrize(("count", "skip"), [(None, 0), (2, 0), (3, 3)])
def test_along_a_tape_is_what_its_jacobians_give_on_both_floors(activation, lengths, count, skip):
    p = problem(T=9)
    tape = unroll.forward(cells.rnn(activation), p.params.cell, p.inputs, p.params.initial_state, lengths)[2]
    params = bridge.to_torch(p.params)
    theirs = gpu.unroll.forward(
        gpu.cells.rnn(activation), params.cell, bridge.to_torch(p.inputs), params.initial_state, lengths
    )[2]
    ours = lyapunov.along(tape, count, skip)
    for b, length in enumerate(lengths or [9] * 3):
        alone = lyapunov.exponents(jacobians.steps(tape)[:length, [b]], count, skip)
        agree(ours[b], alone[0], 1e-11)
    agree(gpu.lyapunov.along(theirs, count, skip), ours, 1e-11)
    if lengths is None:
        agree(gpu.lyapunov.exponents(bridge.to_torch(jacobians.steps(tape)), count, skip), ours, 1e-11)


def test_the_largest_come_first_even_where_axes_are_invariant():
    """Under an upper triangular matrix the frame e_1, e_2 would stay, and the largest would be missed."""
    W = np.array([[0.1, 1.0, 0.0], [0.0, 0.5, 1.0], [0.0, 0.0, 2.0]])
    agree(lyapunov.exponents(constant(W, 300), count=1, skip=100)[0], np.log([2.0]), 1e-12)


def test_a_lost_direction_has_the_exponent_minus_infinity():
    ours = lyapunov.exponents(np.zeros((3, 1, 2, 2)))
    assert (ours == -np.inf).all()


def test_float32_keeps_its_place():
    J = np.random.default_rng(0).standard_normal((200, 2, 4, 4)).astype(np.float32)
    agree(lyapunov.exponents(J), lyapunov.exponents(J.astype(float)), 1e-4)
    assert gpu.lyapunov.exponents(torch.tensor(J)).dtype == torch.float32
