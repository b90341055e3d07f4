"""Embeddings: the look-up is the one-hot product, the scatter-add its transpose."""

import numpy as np
import pytest
import torch
from proof import agree, verifies

from rnncourse import bridge, gpu, reference

rng = np.random.default_rng(0)
V, D = 6, 4
TABLE = rng.standard_normal((V, D))
TOKENS = np.array([[2, 2, 5], [0, 2, 5]])  # 2 three times, 5 twice, 1, 3 and 4 never
ARRIVING = rng.standard_normal((2, 3, D))
FLOORS = pytest.mark.parametrize("floor", [reference, gpu], ids=["reference", "gpu"])


def on(floor, array):
    return array if floor is reference else bridge.to_torch(array)


@verifies("eq-embedding-lookup", oracle="one-hot product, one entry at a time")
@FLOORS
def test_looking_up_is_multiplying_by_one_hot(floor):
    ours, _ = floor.embedding.forward(on(floor, TABLE), on(floor, TOKENS))
    one_hot = [[[float(v == c) for v in range(V)] for c in row] for row in TOKENS.tolist()]
    agree(ours, torch.einsum("tbv,vd->tbd", torch.tensor(one_hot, dtype=torch.float64), torch.tensor(TABLE)), 0)


@verifies("eq-embedding-gradient", oracle="autograd")
@FLOORS
def test_the_gradient_is_that_of_the_one_hot_product(floor):
    _, tape = floor.embedding.forward(on(floor, TABLE), on(floor, TOKENS))
    ours = floor.embedding.backward(tape, on(floor, ARRIVING))
    table = torch.tensor(TABLE, requires_grad=True)
    product = torch.nn.functional.one_hot(torch.tensor(TOKENS), V).double() @ table
    product.backward(torch.tensor(ARRIVING))
    agree(ours, table.grad, 1e-15)
    assert not np.asarray(ours)[[1, 3, 4]].any()


def test_assigning_in_place_of_adding_is_another_gradient():
    wrong = np.zeros_like(TABLE)
    wrong[TOKENS] += ARRIVING  # one visit of several survives
    _, tape = reference.embedding.forward(TABLE, TOKENS)
    assert np.abs(wrong - reference.embedding.backward(tape, ARRIVING)).max() > 0.1


@pytest.mark.parametrize("shape", [(), (1,), (0,), (7, 2, 3)])
@FLOORS
def test_any_shape_of_tokens(floor, shape):
    tokens = np.zeros(shape, int)
    vectors, tape = floor.embedding.forward(on(floor, TABLE), on(floor, tokens))
    assert tuple(vectors.shape) == (*shape, D)
    gradient = floor.embedding.backward(tape, on(floor, np.ones((*shape, D))))
    assert np.asarray(gradient)[0].tolist() == [np.prod(shape, dtype=float)] * D


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@FLOORS
def test_precision_is_kept(floor, dtype):
    vectors, tape = floor.embedding.forward(on(floor, TABLE.astype(dtype)), on(floor, TOKENS))
    gradient = floor.embedding.backward(tape, on(floor, ARRIVING.astype(dtype)))
    assert np.asarray(vectors).dtype == np.asarray(gradient).dtype == dtype


def test_training_by_loss_backward_works():
    table = torch.tensor(TABLE, requires_grad=True)
    gpu.embedding.forward(table, torch.tensor(TOKENS))[0].sum().backward()
    assert table.grad.sum(dim=1).tolist() == [D, 0, 3 * D, 0, 0, 2 * D]
