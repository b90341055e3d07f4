"""Dale's law: signs by column, gradients against autograd, and nothing that training does can break it."""

import numpy as np
import pytest
import torch
from proof import agree, verifies

from rnncourse import brain_params, bridge, gpu, gradcheck, reference
from rnncourse.reference import dale, optim

FLOORS = pytest.mark.parametrize("floor", [reference, gpu], ids=["reference", "gpu"])


def draw(H=5, seed=0):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((H, H)), brain_params.signs(H, 0.6), rng.standard_normal((H, H))


@verifies("eq-dale-gradient", oracle="autograd")
@FLOORS
@pytest.mark.parametrize("H", [1, 2, 5])
def test_gradient(floor, H):
    M, signs, d = draw(H)
    give = (lambda a: a) if floor is reference else bridge.to_torch
    W, tape = floor.dale.forward(give(M), give(signs))
    leaf = torch.tensor(M, requires_grad=True)
    theirs = torch.log1p(torch.exp(leaf)) @ torch.diag(torch.tensor(signs))
    (oracle,) = torch.autograd.grad(theirs, [leaf], torch.tensor(d))
    agree(W, theirs, 1e-14)
    agree(floor.dale.backward(tape, give(d)), oracle, 1e-13)


def test_gradient_by_the_complex_step():
    M, signs, d = draw()
    oracle = gradcheck.complex_step(lambda M: (dale.forward(M, signs)[0] * d).sum(), M)
    agree(dale.backward(dale.forward(M, signs)[1], d), oracle, 1e-14)


@FLOORS
def test_inverse(floor):
    give = (lambda a: a) if floor is reference else bridge.to_torch
    signs = brain_params.signs(6)
    sizes = np.geomspace(1e-6, 50, 36).reshape(6, 6)
    W = floor.dale.forward(floor.dale.invert(give(-sizes)), give(signs))[0]
    agree(W, sizes * signs, 1e-12)
    with pytest.raises(ValueError, match="an entry is zero"):
        floor.dale.invert(give(0 * sizes))


@FLOORS
def test_who_obeys(floor):
    give = (lambda a: a) if floor is reference else bridge.to_torch
    W = np.array([[1.0, -1.0, 1.0, 0.0], [2.0, -3.0, -1.0, 0.0], [0.0, -1.0, 1.0, 0.0], [1.0, 0.0, 1.0, 0.0]])
    assert floor.dale.obeys(give(W)).tolist() == [True, True, False, True]
    assert floor.dale.obeys(give(W.T)).tolist() != [True, True, False, True]


def test_columns_and_not_rows():
    M, signs, _ = draw()
    W = dale.forward(M, signs)[0]
    assert np.array_equal(np.sign(W), np.tile(signs, (5, 1))) and dale.obeys(W).all() and not dale.obeys(W.T).any()


def test_no_update_breaks_the_law_and_without_it_no_column_obeys():
    rng = np.random.default_rng(0)
    M, signs, _ = draw(20)
    memory = optim.adam_start(M)
    assert not dale.obeys(M).any()
    for _ in range(50):
        W, tape = dale.forward(M, signs)
        M, memory = optim.adam(M, dale.backward(tape, 100 * rng.standard_normal((20, 20))), memory, 0.5)
    W = dale.forward(M, signs)[0]
    assert dale.obeys(W).all() and np.array_equal(np.sign(W[0]), signs)


def test_starts():
    assert brain_params.signs(5, 0.75).tolist() == [1, 1, 1, 1, -1]  # 3.75 is rounded
    signs = brain_params.signs(40, 0.75)
    assert (signs > 0).sum() == 30
    sizes = brain_params.init_magnitudes(np.random.default_rng(0), signs, 0.9)
    assert (sizes > 0).all() and abs(np.linalg.eigvals(sizes * signs)).max() == pytest.approx(0.9, rel=1e-12)
    rows = (sizes * signs).sum(axis=1)
    assert abs(rows.mean()) < 0.2 * sizes.sum(axis=1).mean()  # excitation and inhibition about cancel
    one = brain_params.init_magnitudes(np.random.default_rng(0), np.ones(3))
    assert one.shape == (3, 3)


@FLOORS
def test_doors(floor):
    give = (lambda a: a) if floor is reference else bridge.to_torch
    M, signs, _ = draw()
    with pytest.raises(ValueError, match=r"free: expected shape \(5, 5\), got \(4, 5\)"):
        floor.dale.forward(give(M[:4]), give(signs))
    with pytest.raises(ValueError, match=r"signs: expected \+1 and -1 alone"):
        floor.dale.forward(give(M), give(2 * signs))
    with pytest.raises(ValueError, match="free: 1 of 25 entries are NaN"):
        floor.dale.forward(give(np.where(np.arange(25).reshape(5, 5) == 7, np.nan, M)), give(signs))
    with pytest.raises(ValueError, match="d_weights"):
        floor.dale.backward(floor.dale.forward(give(M), give(signs))[1], give(M[:4]))
    with pytest.raises(ValueError, match="excitatory"):
        brain_params.signs(5, 1.5)
    with pytest.raises(ValueError, match="radius"):
        brain_params.init_magnitudes(np.random.default_rng(0), signs, 0)
