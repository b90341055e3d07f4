"""Skip-gram with negative sampling: its gradient, what it tends to, and what vectors answer."""

from itertools import product

import numpy as np
import pytest
import torch
from proof import agree, verifies

from rnncourse import bridge, gpu, gradcheck, reference
from rnncourse.data import skip_grams
from rnncourse.params import WordVectors

V, C, D = 6, 5, 3
FLOORS = pytest.mark.parametrize("floor", [reference, gpu], ids=["reference", "gpu"])


def on(floor, tree):
    return tree if floor is reference else bridge.to_torch(tree)


def case(N=9, k=4, seed=0, dtype=np.float64):
    rng = np.random.default_rng(seed)
    params = WordVectors(rng.standard_normal((V, D)).astype(dtype), rng.standard_normal((C, D)).astype(dtype))
    return params, rng.integers(0, V, N), rng.integers(0, C, N), rng.integers(0, C, (N, k))


def ours(floor, params, *integers):
    return floor.word_vectors.forward(on(floor, params), *(on(floor, part) for part in integers))


def written_out(U, W, words, neighbours, drawn):
    """The loss of one pair after another, in torch."""
    total = 0
    for w, c, others in zip(words.tolist(), neighbours.tolist(), drawn.tolist(), strict=True):
        total = total - torch.log(torch.sigmoid(U[w] @ W[c]))
        for other in others:
            total = total - torch.log(1 - torch.sigmoid(U[w] @ W[other]))
    return total


@FLOORS
@pytest.mark.parametrize("N, k", [(9, 4), (1, 1), (40, 7)])
@verifies("eq-negative-sampling-gradient", oracle="autograd")
def test_gradient_against_autograd(floor, N, k):
    params, *integers = case(N, k)
    value, tape = ours(floor, params, *integers)
    U, W = (torch.tensor(part, requires_grad=True) for part in params)
    total = written_out(U, W, *integers)
    agree(value, total, 1e-13)
    agree(tuple(floor.word_vectors.backward(tape)), torch.autograd.grad(total, [U, W]), 1e-13)


@verifies("eq-negative-sampling-gradient", oracle="complex step")
def test_gradient_against_complex_step():
    params, *integers = case()
    found = reference.word_vectors.backward(reference.word_vectors.forward(params, *integers)[1])
    agree(found, gradcheck.complex_step(lambda q: reference.word_vectors.forward(q, *integers)[0], params), 1e-13)


def world(seed=0):
    """How often each pair occurs, and a noise that is not the neighbours' own distribution."""
    rng = np.random.default_rng(seed)
    joint = rng.dirichlet(np.ones(V * C)).reshape(V, C)
    return joint, skip_grams.noise(joint.sum(axis=0))


def objective(scores, joint, q, k):
    """What a pair costs on average, from the definition alone."""
    log_sigmoid = torch.nn.functional.logsigmoid
    joint, q = torch.tensor(joint), torch.tensor(q)
    return -(joint * log_sigmoid(scores) + k * joint.sum(1, keepdim=True) * q * log_sigmoid(-scores)).sum()


@FLOORS
@pytest.mark.parametrize("k", [1, 2])
@verifies("eq-negative-sampling-expected", oracle="enumeration")
def test_the_mean_over_all_that_may_be_drawn(floor, k):
    joint, q = world()
    params = case()[0]
    mean = 0.0
    for w, c in product(range(V), range(C)):
        for drawn in product(range(C), repeat=k):
            chance = joint[w, c] * np.prod(q[list(drawn)])
            mean += chance * float(ours(floor, params, *map(np.array, ([w], [c], [drawn])))[0])
    scores = torch.tensor(params.input_vectors @ params.output_vectors.T)
    agree(mean, objective(scores, joint, q, k), 1e-13)


def minimise(joint, q, k, start, read=lambda leaves: leaves[0]):
    """torch's own optimiser on the expected objective; the scores where it stops."""
    leaves = [torch.tensor(part, requires_grad=True) for part in start]
    optimiser = torch.optim.LBFGS(
        leaves, max_iter=4000, history_size=60, line_search_fn="strong_wolfe",
        tolerance_grad=1e-13, tolerance_change=1e-18,
    )  # fmt: skip

    def closure():
        optimiser.zero_grad()
        value = objective(read(leaves), joint, q, k)
        value.backward()
        return value

    optimiser.step(closure)
    return read(leaves).detach().numpy()


def minimise_freely(joint, q, k):
    """The same with every score free, and then Newton's method by autograd to the last digits."""
    scores = torch.tensor(minimise(joint, q, k, [np.zeros((V, C))]))
    for _ in range(4):
        flat = (lambda s: objective(s.reshape(V, C), joint, q, k), scores.flatten())
        slope = torch.autograd.functional.jacobian(*flat)
        scores = scores - torch.linalg.solve(torch.autograd.functional.hessian(*flat), slope).reshape(V, C)
    return scores.numpy()


@FLOORS
@pytest.mark.parametrize("k", [1, 5])
@pytest.mark.parametrize("noise", ["unigram", "flattened"])
@verifies("eq-negative-sampling-optimum", oracle="L-BFGS and Newton on the expected objective")
def test_the_optimum_is_shifted_pmi(floor, noise, k):
    joint, q = world()
    q = joint.sum(axis=0) if noise == "unigram" else q
    found = minimise_freely(joint, q, k)
    agree(floor.word_vectors.optimum(on(floor, joint), on(floor, q), k), found, 1e-12)
    if noise == "unigram":
        pmi = np.log(joint / np.outer(joint.sum(axis=1), joint.sum(axis=0)))
        assert np.abs(pmi - np.log(k) - found).max() < 1e-11


@verifies("eq-negative-sampling-optimum", oracle="L-BFGS on vectors long enough")
def test_vectors_long_enough_reach_it():
    joint, q = world(1)
    rng = np.random.default_rng(0)
    start = [rng.standard_normal((V, C)), rng.standard_normal((C, C))]
    found = minimise(joint, q, 3, start, lambda leaves: leaves[0] @ leaves[1].T)
    agree(reference.word_vectors.optimum(joint, q, 3), found, 1e-5)


@pytest.mark.parametrize("k", [1, 5])
@verifies("eq-negative-sampling-normalised", oracle="L-BFGS and Newton on the expected objective")
def test_what_is_normalised_and_what_is_not(k):
    joint, q = world()
    found = torch.tensor(minimise_freely(joint, q, k))
    conditional = joint / joint.sum(axis=1, keepdims=True)
    agree(conditional, torch.softmax(found + torch.tensor(q).log(), dim=1), 1e-12)
    agree(conditional, k * torch.tensor(q) * found.exp(), 1e-12)
    assert np.abs(torch.softmax(found, dim=1).numpy() - conditional).max() > 0.05
    assert np.abs(found.exp().sum(dim=1).numpy() - 1).max() > 0.05


@FLOORS
def test_words_that_do_not_occur_do_not_move(floor):
    params, words, neighbours, drawn = case()
    _, tape = ours(floor, params, np.full_like(words, 2), np.full_like(neighbours, 1), np.full_like(drawn, 3))
    d_in, d_out = map(np.asarray, floor.word_vectors.backward(tape))
    assert np.flatnonzero(d_in.any(axis=1)).tolist() == [2]
    assert np.flatnonzero(d_out.any(axis=1)).tolist() == [1, 3]


@FLOORS
def test_scores_far_from_zero(floor):
    params = WordVectors(np.array([[1e4]]), np.array([[1.0], [-1.0]]))
    with np.errstate(over="raise", invalid="raise"):
        value, tape = ours(floor, params, np.array([0]), np.array([1]), np.array([[0, 1]]))
        d_in, _ = floor.word_vectors.backward(tape)
    assert float(value) == 2e4
    assert np.asarray(d_in).tolist() == [[2.0]]


@FLOORS
def test_float32_stays_float32(floor):
    params, *integers = case(dtype=np.float32)
    value, tape = ours(floor, params, *integers)
    found = (value, *floor.word_vectors.backward(tape))
    assert {str(part.dtype).removeprefix("torch.") for part in found} == {"float32"}


TEXT = np.random.default_rng(5).integers(0, 12, 400)


def test_both_floors_learn_the_same_vectors():
    settings = {"size": 12, "dimensions": 4, "passes": 3, "batch": 64, "seed": 7}
    by_hand, by_autograd = (floor.word_vectors.train(TEXT, **settings) for floor in (reference, gpu))
    assert not any(table.requires_grad for table in by_autograd)
    for mine, theirs in zip(by_hand, by_autograd, strict=True):
        assert np.abs(mine - theirs.numpy()).max() < 1e-9 * np.abs(mine).max()


def test_training_finds_who_stands_with_whom():
    """Two topics of four words each, never mixed: scores within a topic are high, across low."""
    rng = np.random.default_rng(0)
    topics = np.repeat(rng.integers(0, 2, 300), 8)
    tokens = 4 * topics + rng.integers(0, 4, len(topics))
    found = reference.word_vectors.train(tokens, 8, dimensions=4, batch=256)
    scores = found.input_vectors @ found.output_vectors.T
    within = np.kron(np.eye(2, dtype=bool), np.ones((4, 4), bool))
    assert scores[within].min() > scores[~within].max() + 1
    assert all(set(reference.word_vectors.nearest(found.input_vectors, w, 3) // 4) == {w // 4} for w in range(8))


# a corner of a parallelogram at 3; 4 is nearer to 2 than 3 is
CORNERS = np.array([[1.0, 0, 0, 0], [1, 0, 1, 0], [0, 1, 0, 0], [0, 1, 1, 0], [0, 1, 0.3, 0], [0, 0, 0, 1]])


@FLOORS
def test_similarity_is_the_cosine(floor):
    found = np.asarray(floor.word_vectors.similarity(on(floor, CORNERS), on(floor, 3 * CORNERS[:2])))
    expected = torch.nn.functional.cosine_similarity(
        torch.tensor(CORNERS[:2])[:, None], torch.tensor(CORNERS)[None], dim=2
    )
    assert np.abs(found - expected.numpy()).max() < 1e-15
    assert not np.asarray(floor.word_vectors.similarity(on(floor, np.zeros((2, 3))), on(floor, np.ones((1, 3))))).any()


@FLOORS
def test_nearest_leaves_the_word_itself_out(floor):
    assert np.asarray(floor.word_vectors.nearest(on(floor, CORNERS), 2, 3)).tolist() == [4, 3, 0]
    assert 2 not in np.asarray(floor.word_vectors.nearest(on(floor, CORNERS), 2, 5)).tolist()


@FLOORS
def test_an_analogy_with_and_without_exclusion(floor):
    vectors = on(floor, CORNERS)
    a, b, c = (on(floor, np.array([word])) for word in (0, 1, 2))
    assert floor.word_vectors.analogy(vectors, a, b, c).tolist() == [3]
    # Once the vectors have length 1, b - a is shorter than the way from c to its partner.
    near = on(floor, np.array([[1.0, 0, 0], [1, 0, 0.1], [0, 1, 0], [0, 1, 0.9]]))
    assert floor.word_vectors.analogy(near, a, b, c, exclude=False).tolist() == [2]
    assert floor.word_vectors.analogy(near, a, b, c).tolist() == [3]


@FLOORS
def test_without_arithmetic_the_nearest_to_c_is_left(floor):
    vectors = on(floor, np.array([[1.0, 0.0, 0.0], [0.9, 0.1, 1.0], [0.0, 1.0, 0.1], [0.0, 1.0, 0.9], [0.2, 1.0, 0.0]]))
    a, b, c, d = (on(floor, np.array([word])) for word in (0, 1, 2, 4))
    assert floor.word_vectors.analogy(vectors, a, b, c).tolist() == [3]
    assert floor.word_vectors.analogy(vectors, a, b, c, arithmetic=False).tolist() == [4]
    assert floor.word_vectors.analogy(vectors, a, b, c, exclude=False, arithmetic=False).tolist() == [2]
    assert floor.word_vectors.analogy(vectors, a, d, c, arithmetic=False).tolist() == [3], "b is struck too"


def test_several_analogies_at_once_are_several_analogies():
    rng = np.random.default_rng(3)
    vectors, (a, b, c) = rng.standard_normal((30, 5)), rng.integers(0, 30, (3, 40))
    for exclude in (True, False):
        together = reference.word_vectors.analogy(vectors, a, b, c, exclude)
        alone = [int(reference.word_vectors.analogy(vectors, *q[:, None], exclude)[0]) for q in np.stack([a, b, c], 1)]
        assert together.tolist() == alone
        assert gpu.word_vectors.analogy(*bridge.to_torch((vectors, a, b, c)), exclude).tolist() == alone


BAD = [
    (lambda f, c: c(drawn=np.zeros((8, 2), int)), r"drawn: expected shape \(9, k\), got \(8, 2\)"),
    (lambda f, c: c(neighbours=np.zeros(8, int)), r"neighbours: expected shape \(9,\), got \(8,\)"),
    (lambda f, c: c(words=np.full(9, V)), "tokens: expected classes in 0..5, got 6..6"),
    (lambda f, c: c(words=np.zeros(9)), "tokens: expected integer classes, got float64"),
    (
        lambda f, c: c(params=WordVectors(np.ones((V, D)), np.ones((C, D + 1)))),
        r"output_vectors: expected shape \(C, 3\), got \(5, 4\)",
    ),
    (lambda f, c: f.word_vectors.train([1], 5), "tokens: expected at least two, which make a pair, got 1"),
    (
        lambda f, c: f.word_vectors.optimum(on(f, np.zeros((2, 2))), on(f, np.ones(2)), 1),
        "joint: expected positive probabilities; where one is 0 the optimum is not finite",
    ),
    (
        lambda f, c: f.word_vectors.optimum(on(f, np.ones((2, 2))), on(f, np.ones(3)), 1),
        r"noise: expected shape \(2,\), got \(3,\)",
    ),
    (
        lambda f, c: f.word_vectors.analogy(on(f, np.eye(3)), [0], [1, 2], [2]),
        r"b: expected shape \(1,\), got \(2,\)",
    ),
    (lambda f, c: f.word_vectors.nearest(on(f, np.eye(3)), 3), "tokens: expected classes in 0..2, got 3..3"),
]


@FLOORS
@pytest.mark.parametrize(("call", "message"), BAD)
def test_doors(floor, call, message):
    params, words, neighbours, drawn = case()

    def changed(**changes):
        given = {"params": params, "words": words, "neighbours": neighbours, "drawn": drawn, **changes}
        return ours(floor, *given.values())

    with pytest.raises(ValueError, match=message):
        call(floor, changed)
