"""Attention on both floors against a loop over single queries and autograd, the complex step, and torch's own."""

import numpy as np
import pytest
import seq2seq_oracles as oracles
import torch
from oracles import gradients, leaves
from proof import agree, verifies

from rnncourse import bridge, gpu, gradcheck, reference
from rnncourse.params import map_arrays
from rnncourse.seq2seq_params import AdditiveParams, DotParams, NoAttention, init_attention

FLOORS = pytest.mark.parametrize("floor", [reference, gpu], ids=["reference", "gpu"])
KINDS = pytest.mark.parametrize("kind", ["dot", "additive"])
SHAPES = [(1, 1, 2, 1, 1), (1, 3, 4, 2, 3), (5, 1, 3, 3, 2), (4, 3, 6, 2, 5)]  # N, B, T, H, M


def draw(kind, N=4, B=3, T=6, H=2, M=5, A=4, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)

    def numbers(*shape):
        return rng.standard_normal(shape).astype(dtype)

    params = DotParams(numbers(M, H)) if kind == "dot" else AdditiveParams(numbers(A, H), numbers(A, M), numbers(A))
    return params, numbers(N, B, H), numbers(T, B, M), numbers(N, B, M)


def on(floor, tree):
    return tree if floor is reference else bridge.to_torch(tree)


def oracle(params, queries, keys, g, lengths):
    """Contexts, weights and gradients of sum(g * contexts): every query alone, over real keys alone."""
    keys = np.where(np.isnan(keys), 0, keys)
    params, d, h = leaves(params), leaves(queries), leaves(keys)
    contexts, weights, loss = np.zeros(g.shape), np.zeros((*g.shape[:2], len(keys))), 0.0
    for n, b in np.ndindex(*g.shape[:2]):
        c, a = oracles.average(params, d[n, b], [h[t, b] for t in range(lengths[b])])
        contexts[n, b], weights[n, b, : lengths[b]] = c.detach(), torch.stack(a).detach()
        loss = loss + (torch.tensor(g[n, b]) * c).sum()
    by_params = gradients(loss, params)
    return contexts, weights, (by_params, *(torch.autograd.grad(loss, x, retain_graph=True)[0] for x in (d, h)))


@verifies("eq-attention-score-gradient", oracle="autograd through a loop over single queries")
@verifies("eq-attention-key-gradient", oracle="autograd through a loop over single queries")
@verifies("eq-dot-gradients", oracle="autograd through a loop over single queries")
@verifies("eq-additive-gradients", oracle="autograd through a loop over single queries")
@FLOORS
@KINDS
@pytest.mark.parametrize(("N", "B", "T", "H", "M"), SHAPES)
def test_against_single_queries_and_autograd(floor, kind, N, B, T, H, M):
    params, d, h, g = draw(kind, N, B, T, H, M)
    lengths = np.maximum(1, T - np.arange(B) * 2)
    for b, length in enumerate(lengths):
        h[length:, b] = np.nan  # the padding may hold anything
    contexts, weights, right = oracle(params, d, h, g, lengths)
    ours, tape = floor.attention.forward(*on(floor, (params, d, h)), lengths)
    agree(ours, contexts, 1e-13)
    agree(tape.weights, weights, 1e-13)
    back = floor.attention.backward(tape, on(floor, g))
    agree(tuple(back), right, 1e-12)
    assert not np.asarray(back.keys)[h != h].any()


@KINDS
def test_against_the_complex_step(kind):
    params, d, h, g = draw(kind)
    h[4:, 1] = 0.3

    def loss(tree):
        return (g * reference.attention.forward(*tree, [6, 4, 1])[0]).sum()

    tape = reference.attention.forward(params, d, h, [6, 4, 1])[1]
    given = reference.attention.Gradients(params, d, h)  # a NamedTuple of the three
    agree(reference.attention.backward(tape, g), gradcheck.complex_step(loss, given), 1e-13)


def test_dot_product_attention_is_torchs():
    params, d, h, _ = draw("dot", M=5, H=5)
    params = DotParams(np.eye(5))
    ours = reference.attention.forward(params, d, h)[0]
    q, k = (torch.tensor(array).transpose(0, 1) for array in (d, h))
    theirs = torch.nn.functional.scaled_dot_product_attention(q, k, k).transpose(0, 1)
    agree(ours, theirs, 1e-13)


@FLOORS
@KINDS
def test_weights_are_shares_and_padding_has_none(floor, kind):
    params, d, h, _ = draw(kind)
    tape = floor.attention.forward(*on(floor, (params, d, h)), [6, 3, 1])[1]
    weights = np.asarray(tape.weights.detach() if floor is gpu else tape.weights)
    assert np.allclose(weights.sum(axis=2), 1, rtol=1e-15) and (weights >= 0).all()
    assert not weights[:, 1, 3:].any() and (weights[:, 2, 0] == 1).all()


@FLOORS
@KINDS
def test_huge_scores_do_not_overflow(floor, kind):
    params, d, h, g = draw(kind)
    params = map_arrays(lambda array: 1e3 * array, params)
    contexts, tape = floor.attention.forward(*on(floor, (params, d, h)))
    back = floor.attention.backward(tape, on(floor, g))
    assert all(np.isfinite(np.asarray(x)).all() for x in (contexts, back.queries, back.keys))


@FLOORS
def test_real_scores_far_below_those_of_padding(floor):
    """Padding's score is zero; the largest of the real ones, and no other, is taken off."""
    query, keys = np.array([[[-1e3]]]), np.array([[[1.0]], [[2.0]], [[0.0]]])
    contexts, _ = floor.attention.forward(*on(floor, (DotParams(np.ones((1, 1))), query, keys)), [2])
    assert np.isclose(float(contexts[0, 0, 0]), 1, rtol=1e-14)


@FLOORS
@KINDS
def test_float32_stays(floor, kind):
    params, d, h, g = draw(kind, dtype=np.float32)
    contexts, tape = floor.attention.forward(*on(floor, (params, d, h)), [6, 4, 1])
    back = floor.attention.backward(tape, on(floor, g))
    assert all("float32" in str(x.dtype) for x in (contexts, back.queries, back.keys, back.params[0]))


@FLOORS
def test_bad_input_is_named(floor):
    params, d, h, g = on(floor, draw("additive"))
    forward = floor.attention.forward
    with pytest.raises(ValueError, match="without a key"):
        forward(params, d, h, [6, 0, 2])
    with pytest.raises(ValueError, match=r"lengths: expected shape \(3,\)"):
        forward(params, d, h, [6, 2])
    with pytest.raises(ValueError, match=r"queries: expected shape \(N, 3, H\)"):
        forward(params, d[:, :2], h)
    with pytest.raises(ValueError, match=r"query_weights: expected shape"):
        forward(params, d[:, :, :1], h)
    with pytest.raises(ValueError, match="expected DotParams or AdditiveParams, got tuple"):
        forward((), d, h)
    with pytest.raises(ValueError, match="d_contexts: expected shape"):
        floor.attention.backward(forward(params, d, h)[1], g[:, :, :1])


def test_starts():
    rng = np.random.default_rng(0)
    assert init_attention(rng, 6, "none") == NoAttention()
    assert init_attention(rng, 6, "dot").query_weights.shape == (6, 6)
    assert [array.shape for array in init_attention(rng, 5, "additive")] == [(3, 5), (3, 5), (3,)]
    W_q, W_k, w = init_attention(rng, 400, "additive")
    for array, size in ((init_attention(rng, 400, "dot").query_weights, 400), (W_q, 400), (W_k, 400), (w, 200)):
        assert 0.8 < array.std() * size**0.5 < 1.2  # scores of states of size one begin at about one
    with pytest.raises(ValueError, match="expected one of 'none', 'dot', 'additive', got 'location'"):
        init_attention(rng, 5, "location")


@FLOORS
@KINDS
def test_one_key_is_the_average_whatever_its_score(floor, kind):
    params, d, h, g = draw(kind, T=1)
    contexts, tape = floor.attention.forward(*on(floor, (params, d, h)))
    agree(contexts, np.broadcast_to(h, contexts.shape), 0)
    back = floor.attention.backward(tape, on(floor, g))
    agree(back.keys, g.sum(axis=0, keepdims=True), 1e-14)
    assert abs(np.asarray(back.queries)).max() < 1e-14
