"""Eigenvalues, singular values, and what lies between them."""

import numpy as np
import pytest
import torch
from proof import agree, verifies

from rnncourse import bridge
from rnncourse.gpu import spectra as twin
from rnncourse.params import orthogonal
from rnncourse.reference import spectra


def draw(seed, *shape):
    return np.random.default_rng(seed).standard_normal(shape)


def similar(seed, T):
    """U T U^top with a random orthogonal U."""
    U = orthogonal(np.random.default_rng(seed), len(T))
    return U @ T @ U.T


def powers(W, n):
    """|W^k| for k = 0..n, by squaring and torch's norm of matrices."""
    W = torch.tensor(W)
    return torch.stack([torch.linalg.matrix_norm(torch.linalg.matrix_power(W, k), 2) for k in range(n + 1)])


def test_radius_of_known_spectra():
    for seed, eigenvalues in enumerate([[0.5, -2.0, 1.0], [0.1], [-0.9, 0.8]]):
        T = np.diag(eigenvalues) + np.triu(draw(seed, len(eigenvalues), len(eigenvalues)), 1)
        agree(spectra.radius(similar(seed, T)), max(np.abs(eigenvalues)), 1e-12)
    turn = 0.9 * np.array([[0.0, -1.0], [1.0, 0.0]])  # eigenvalues +-0.9 i
    agree(spectra.radius(turn), 0.9, 1e-14)


@verifies("eq-departure", oracle="a Schur form chosen beforehand")
def test_departure_beside_a_complex_pair():
    """A block with eigenvalues 0.6 +- 0.8 i is normal: all departure is its coupling to the third axis."""
    coupling = np.array([0.7, -2.0])
    T = np.array([[0.6, -0.8, coupling[0]], [0.8, 0.6, coupling[1]], [0.0, 0.0, 0.3]])
    agree(spectra.departure(similar(5, T)) ** 2, (coupling**2).sum(), 1e-12)


def test_rounding_below_zero_is_no_departure():
    symmetric = [W + W.T for W in (draw(seed, 6, 6) for seed in range(30))]
    below = [W for W in symmetric if (W * W).sum() < (abs(np.linalg.eigvals(W)) ** 2).sum()]  # by rounding alone
    assert below and all(spectra.departure(W) == 0 for W in below)
    theirs = [torch.tensor(W) for W in symmetric]
    below = [W for W in theirs if (W * W).sum() < (torch.linalg.eigvals(W).abs() ** 2).sum()]
    assert below and all(twin.departure(W) == 0 for W in below)


@pytest.mark.parametrize("H", [2, 3, 6])
@verifies("eq-departure", oracle="a Schur form chosen beforehand")
def test_departure_is_the_length_of_the_strictly_upper_part(H):
    N, D = np.triu(draw(H, H, H), 1), np.diag(draw(10 + H, H))
    agree(spectra.departure(similar(H, D + N)) ** 2, (N**2).sum(), 1e-12)


@verifies("eq-power-bounds", oracle="normal matrices, where all three are one")
def test_normal_matrices_have_no_departure():
    symmetric, turn = draw(0, 6, 6), orthogonal(np.random.default_rng(1), 6)
    for W in (symmetric + symmetric.T, turn, 0.3 * turn - 2 * np.eye(6)):
        assert spectra.departure(W) < 1e-6 * np.linalg.norm(W)  # the root of a rounding error
        agree(np.exp(spectra.growth(W, 5)), spectra.radius(W) ** np.arange(6.0), 1e-12)


@pytest.mark.parametrize("seed", range(3))
@verifies("eq-power-bounds", oracle="torch's powers and norms")
def test_growth_is_that_of_the_powers_and_within_its_bounds(seed):
    W = draw(seed, 6, 6) / 3
    ours = np.exp(spectra.growth(W, 12))
    agree(ours, powers(W, 12), 1e-12)
    k = np.arange(13)
    assert (spectra.radius(W) ** k <= ours * (1 + 1e-12)).all()
    assert (ours <= (np.linalg.norm(W, 2) * (1 + 1e-12)) ** k).all()


@pytest.mark.parametrize("seed", range(3))
@verifies("eq-gelfand", oracle="eigenvalues")
def test_the_slope_is_the_logarithm_of_the_radius(seed):
    W = np.abs(draw(seed, 5, 5))  # positive: one real eigenvalue leads, so that the slope settles quickly
    slope = (spectra.growth(W, 200)[200] - spectra.growth(W, 200)[100]) / 100
    agree(slope, np.log(np.abs(np.linalg.eigvals(W)).max()), 1e-12)
    general = draw(10 + seed, 5, 5)  # a complex pair may lead: then the slope wobbles, by less and less
    error = spectra.growth(general, 4000)[4000] / 4000 - np.log(np.abs(np.linalg.eigvals(general)).max())
    assert abs(error) < 1e-3


@pytest.mark.parametrize("a, b", [(0.5, 10.0), (1.0, 1.0), (-0.9, 2.0)])
@verifies("eq-jordan-power", oracle="repeated products")
def test_a_jordan_block_raised_to_a_power(a, b):
    for n in (1, 2, 5, 20):
        product = torch.eye(2, dtype=torch.float64)
        for _ in range(n):
            product = torch.tensor([[a, b], [0.0, a]], dtype=torch.float64) @ product
        agree(np.array([[a**n, n * a ** (n - 1) * b], [0.0, a**n]]), product, 1e-12)
        agree(np.exp(spectra.growth(np.array([[a, b], [0.0, a]]), n)[n]), np.linalg.norm(product.numpy(), 2), 1e-12)


@verifies("eq-nilpotent-pair", oracle="torch's matrix power")
def test_nilpotent_factors_whose_product_explodes():
    A, B = np.array([[0.0, 2.0], [0.0, 0.0]]), np.array([[0.0, 0.0], [2.0, 0.0]])
    assert spectra.radius(A) == spectra.radius(B) == 0
    for n in (1, 3, 10):
        agree(np.diag([4.0**n, 0.0]), torch.linalg.matrix_power(torch.tensor(A @ B), n), 0)
    J = np.array([B, A] * 10)[:, None]
    agree(np.exp(spectra.log_norms(J)[:, 0]), [2.0**t for t in range(21)], 1e-12)


def test_log_norms_neither_overflow_nor_underflow():
    for size in (1e200, 1e-200):
        J = np.broadcast_to(size * orthogonal(np.random.default_rng(0), 3), (50, 2, 3, 3))
        agree(spectra.log_norms(J)[-1], np.full(2, 50 * np.log(size)), 1e-13)


def test_a_product_that_is_zero_stays_so():
    shift = np.eye(3, k=1)
    assert spectra.growth(shift, 5).tolist() == [0, 0, 0, -np.inf, -np.inf, -np.inf]
    assert twin.growth(torch.tensor(shift), 5).tolist() == [0, 0, 0, -np.inf, -np.inf, -np.inf]


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_floors_agree(dtype):
    J = draw(3, 9, 2, 4, 4).astype(dtype)
    exact = 1e-12 if dtype is np.float64 else 1e-4
    theirs = bridge.to_torch(J)
    agree(spectra.log_norms(J), twin.log_norms(theirs), exact)
    agree(spectra.radius(J[0, 0]), twin.radius(theirs[0, 0]), exact)
    agree(spectra.departure(J[0, 0]), twin.departure(theirs[0, 0]), exact)
    agree(spectra.growth(J[0, 0], 7), twin.growth(theirs[0, 0], 7), exact)


def test_no_graph_is_kept_on_the_torch_floor():
    W = torch.ones(2, 2, requires_grad=True)
    assert not twin.growth(W, 3).requires_grad and twin.radius(W) == pytest.approx(2)
