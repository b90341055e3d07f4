"""The recurrence over images on both floors, against a double loop over pixels and autograd."""

import numpy as np
import pytest
import torch
from pixel_oracles import double_loop, problem
from proof import agree, verifies

from rnncourse import bridge, gate_params, gpu, raster, reference
from rnncourse.diagonal_params import DiagonalParams, init_diagonal, mirror
from rnncourse.stack_params import BothWays

FLOORS = pytest.mark.parametrize("floor", [reference, gpu], ids=["reference", "gpu"])
KINDS = pytest.mark.parametrize("kind", ["rnn", "lstm"])
SHAPES = [(3, 4, 2, 3, 5), (4, 3, 1, 2, 3), (1, 5, 2, 2, 3), (5, 1, 2, 2, 3), (1, 1, 1, 1, 1)]


def cell(floor, kind):
    return floor.cells.rnn() if kind == "rnn" else floor.lstm.plain()


def on(floor, tree):
    return tree if floor is reference else bridge.to_torch(tree)


def array(value):
    return value.detach().numpy() if hasattr(value, "detach") else np.asarray(value)


def arrays(tree):
    return type(tree)(*map(array, tree))


def leaves(tree):
    return [torch.tensor(part, requires_grad=True) for part in tree]


@FLOORS
@KINDS
@pytest.mark.parametrize("sizes", SHAPES)
@verifies("eq-diagonal-gradient", oracle="autograd of a double loop over pixels")
@verifies("eq-diagonal-weights", oracle="autograd of a double loop over pixels")
def test_against_a_double_loop(floor, kind, sizes):
    M, N, B, D, H = sizes
    p = problem(1 if kind == "rnn" else 4, M, N, B, D, H)
    outputs, tape = floor.diagonal.forward(cell(floor, kind), on(floor, p.params), on(floor, p.inputs))
    found = floor.diagonal.backward(tape, on(floor, p.g))
    *weights, u = leaves([*p.params, p.inputs])
    h = double_loop(kind, weights, u)
    agree(outputs, h, 1e-13)
    wanted = torch.autograd.grad((h * torch.tensor(p.g)).sum(), [*weights, u], materialize_grads=True)
    agree(arrays(found.params), DiagonalParams(*wanted[:4]), 1e-12)
    agree(found.inputs, wanted[4], 1e-12)


@verifies("eq-skew", oracle="double loop over pixels")
@pytest.mark.parametrize("sizes", SHAPES)
def test_by_antidiagonals_as_printed(sizes):
    M, N, B, D, H = sizes
    p = problem(1, M, N, B, D, H)
    u, (W_x, W_l, W_a, b) = p.inputs, p.params
    h = double_loop("rnn", [torch.tensor(part) for part in p.params], torch.tensor(u)).numpy()
    z = np.zeros((M + N, M + 1, B, H))  # z[d, i]; antidiagonal -1 and row -1 are the last ones, and stay zero
    for d in range(M + N - 1):
        for i in range(max(0, d - N + 1), min(M, d + 1)):
            z[d, i] = np.tanh(u[i, d - i] @ W_x.T + z[d - 1, i] @ W_l.T + z[d - 1, i - 1] @ W_a.T + b)
            agree(z[d, i], h[i, d - i], 1e-13)


@FLOORS
def test_both_ways_against_two_double_loops(floor):
    p, q = problem(seed=1), problem(seed=2)
    g = np.random.default_rng(3).standard_normal((3, 4, 2, 10))
    given = BothWays(on(floor, p.params), on(floor, q.params)), BothWays(on(floor, p.inputs), on(floor, q.inputs))
    outputs, tapes = floor.diagonal.forward_both(cell(floor, "lstm"), *given)
    found = floor.diagonal.backward_both(tapes, on(floor, g))
    all_leaves = leaves([*p.params, p.inputs, *q.params, q.inputs])
    ahead = double_loop("lstm", all_leaves[:4], all_leaves[4])
    behind = double_loop("lstm", all_leaves[5:9], all_leaves[9].flip(1)).flip(1)
    h = torch.cat([ahead, behind], dim=3)
    agree(outputs, h, 1e-13)
    wanted = torch.autograd.grad((h * torch.tensor(g)).sum(), all_leaves)
    for ours, theirs in zip(found, (wanted[:5], wanted[5:]), strict=True):
        agree((*map(array, ours.params), array(ours.inputs)), tuple(theirs), 1e-12)


def test_one_row_is_the_recurrence_of_chapter_07():
    """With M = 1 there is no upper neighbour, and the columns are time."""
    p = problem(M=1, N=6)
    outputs, _ = reference.diagonal.forward(reference.lstm.plain(), p.params, p.inputs)
    W_x, W_l, _, b = p.params
    h, _, _ = reference.unroll.forward(reference.lstm.plain(), gate_params.LSTMParams(W_x, W_l, b), p.inputs[0])
    np.testing.assert_allclose(outputs[0], h, atol=1e-14)


def test_a_state_sees_its_quadrant_and_nothing_else():
    p = problem(M=3, N=4, B=1)
    u = torch.tensor(p.inputs)
    jacobian = torch.autograd.functional.jacobian(
        lambda x: gpu.diagonal.run(gpu.lstm.plain(), bridge.to_torch(p.params), x), u
    )
    seen = jacobian.abs().amax(dim=(2, 3, 6, 7)).numpy() > 0
    itself = np.eye(12, dtype=bool).reshape(3, 4, 3, 4)
    assert (seen == raster.quadrant(3, 4) | itself).all()


@FLOORS
def test_float32_stays(floor):
    p = problem()
    params = DiagonalParams(*(part.astype(np.float32) for part in p.params))
    outputs, tape = floor.diagonal.forward(
        cell(floor, "lstm"), on(floor, params), on(floor, p.inputs.astype(np.float32))
    )
    found = floor.diagonal.backward(tape, on(floor, p.g.astype(np.float32)))
    assert {str(part.dtype).removeprefix("torch.") for part in (outputs, found.inputs, *found.params)} == {"float32"}


BAD = {
    "axes": lambda f, p, x: f.diagonal.forward(cell(f, "lstm"), p, x[0]),
    "features": lambda f, p, x: f.diagonal.forward(cell(f, "lstm"), p, x[..., :2]),
    "empty": lambda f, p, x: f.diagonal.forward(cell(f, "lstm"), p, x[:0]),
    "gates": lambda f, p, x: f.diagonal.forward(cell(f, "rnn"), p, x),
    "kind of cell": lambda f, p, x: f.diagonal.forward(f.lstm.peephole(), p, x),
    "params": lambda f, p, x: f.diagonal.forward(cell(f, "lstm"), tuple(p), x),
    "nan": lambda f, p, x: f.diagonal.forward(cell(f, "lstm"), p, x * float("nan")),
    "bias": lambda f, p, x: f.diagonal.forward(cell(f, "lstm"), p._replace(bias=p.bias[:3]), x),
    "g": lambda f, p, x: f.diagonal.backward(f.diagonal.forward(cell(f, "lstm"), p, x)[1], x),
    "pair": lambda f, p, x: f.diagonal.forward_both(cell(f, "lstm"), p, BothWays(x, x)),
    "pair of inputs": lambda f, p, x: f.diagonal.forward_both(cell(f, "lstm"), BothWays(p, p), (1, 2)),
    "g of both": lambda f, p, x: f.diagonal.backward_both(
        f.diagonal.forward_both(cell(f, "lstm"), BothWays(p, p), BothWays(x, x))[1], x
    ),
    "nan in a matrix": lambda f, p, x: f.diagonal.forward(
        cell(f, "lstm"), p._replace(above_weights=p.above_weights * float("nan")), x
    ),
    "unequal": lambda f, p, x: f.diagonal.forward_both(cell(f, "lstm"), BothWays(p, p), BothWays(x, x[:2])),
}


@pytest.mark.parametrize("name", BAD)
def test_both_refuse_in_the_same_words(name):
    p, said = problem(), []
    for floor in (reference, gpu):
        with pytest.raises(ValueError) as refusal:
            BAD[name](floor, on(floor, p.params), on(floor, p.inputs))
        said.append(str(refusal.value).replace("torch.", ""))
    assert said[0] == said[1]


def test_the_start():
    params = init_diagonal(np.random.default_rng(0), 3, 4)
    assert [part.shape for part in params] == [(16, 3), (16, 4), (16, 4), (16,)]
    assert params.bias[4:8].tolist() == [1] * 4 and params.bias.sum() == 4
    for W in (params.left_weights, params.above_weights):
        for block in np.split(W, 4):
            np.testing.assert_allclose(block @ block.T, np.eye(4) / 4, atol=1e-14)
    assert init_diagonal(np.random.default_rng(0), 3, 4, forget_bias=2.5).bias[4:8].tolist() == [2.5] * 4
    wide = init_diagonal(np.random.default_rng(0), 400, 50).input_weights
    assert abs(wide.std() * 20 - 1) < 0.05
    with pytest.raises(ValueError, match="hidden"):
        init_diagonal(np.random.default_rng(0), 3, 0)


def test_outputs_are_safe():
    """On the reference floor they cannot be written to; on the other they ask for gradients only if they must."""
    p = problem()
    outputs, _ = reference.diagonal.forward(reference.lstm.plain(), p.params, p.inputs)
    with pytest.raises(ValueError, match="read-only"):
        outputs[:] = 0
    params, u = bridge.to_torch(p.params), bridge.to_torch(p.inputs)
    assert not gpu.diagonal.forward(gpu.lstm.plain(), params, u)[0].requires_grad
    assert gpu.diagonal.forward(gpu.lstm.plain(), params, u.requires_grad_())[0].requires_grad


def test_mirror():
    x = np.arange(6).reshape(1, 3, 2)
    assert mirror(x).tolist() == [[[4, 5], [2, 3], [0, 1]]] == mirror(torch.tensor(x)).tolist()
