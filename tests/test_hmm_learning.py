"""Viterbi, Baum-Welch, the two gradients, L-BFGS, chunks: against enumeration, autograd, and known optima."""

import itertools

import numpy as np
import pytest
import torch
from hmm_oracles import draw, enumerate_all, random_model, torch_log_likelihood
from proof import agree, verifies

from benchmarks import hmm as hmm_race
from benchmarks import race
from rnncourse import bridge, gpu, hmm_params
from rnncourse.data import processes
from rnncourse.hmm_params import Categorical, Gaussian, HMMParams
from rnncourse.params import map_arrays
from rnncourse.reference import baum_welch, emissions, hmm, hmm_chunks, hmm_gradient, hmm_log, lbfgs, viterbi

KINDS = ("categorical", "gaussian")
TRUE = HMMParams(
    np.array([0.5, 0.5]),
    np.array([[0.85, 0.15], [0.25, 0.75]]),
    Categorical(np.array([[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]])),
)


def sample(model, T, B, seed=0):
    return processes.hmm(
        np.random.default_rng(seed), model.start, model.transition, model.emission.probabilities, T, B
    ).observations


# Viterbi


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("K", "T"), [(3, 6), (1, 3), (4, 1), (2, 9)])
@verifies("eq-hmm-viterbi", oracle="the best of all paths")
def test_viterbi_against_every_path(kind, K, T):
    for seed in range(4):
        model = random_model(seed, K, kind=kind)
        x = draw(model, T, 2, seed)
        states, value = viterbi.path(model, x)
        for b in range(2):
            truth = enumerate_all(model, x[:, b])
            agree(value[b], np.log(truth.best), 1e-12)
            assert tuple(states[:, b]) == truth.path


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("floor", ["reference", "gpu"])
def test_viterbi_in_a_batch_is_viterbi_alone(kind, floor):
    for seed in range(10):
        model, lengths = random_model(seed, kind=kind), [7, 4, 1, 0]
        x = draw(model, 7, 4, seed)
        if floor == "reference":
            states, value = viterbi.path(model, x, lengths)
        else:
            states, value = bridge.to_numpy(gpu.viterbi.path(bridge.to_torch(model), torch.tensor(x), lengths))
        for b, n in enumerate(lengths):
            assert (states[n:, b] == -1).all()
            if n:
                alone, best = viterbi.path(model, x[:n, [b]])
                agree(value[b], best[0], 1e-12)
                assert states[:n, b].tolist() == alone[:, 0].tolist()
        assert value[3] == 0  # a sequence without a step has one path, and it is certain


def test_viterbi_with_lengths_and_zeros():
    model = HMMParams(
        np.array([1.0, 0]), np.array([[0.9, 0.1], [0, 1]]), Categorical(np.array([[0.5, 0.5, 0], [0, 0.5, 0.5]]))
    )
    x = np.array([[0, 0], [2, 1], [1, 77]])
    states, value = viterbi.path(model, x, [3, 2])
    assert states.tolist() == [[0, 0], [1, 0], [1, -1]]
    agree(value, np.log([0.5 * 0.1 * 0.5 * 0.5, 0.5 * 0.9 * 0.5]), 1e-14)
    with pytest.raises(ValueError, match="step 2 of sequence 1 has probability zero on every path"):
        viterbi.path(model, np.array([[0, 0], [1, 2], [1, 0]]))


def test_the_best_path_is_not_the_path_of_the_best_states():
    """The most probable state of each step, one after the other, can be a path that cannot be."""
    model = HMMParams(
        np.array([0.4, 0.3, 0.3]),
        np.array([[1.0, 0, 0], [0, 0.5, 0.5], [0, 0.5, 0.5]]),
        Categorical(np.ones((3, 1))),
    )
    x = np.zeros((2, 1), int)
    assert viterbi.path(model, x)[0].ravel().tolist() == [0, 0]
    agree(hmm.backward(hmm.forward(model, x)[1]).posterior[1, 0], np.array([0.4, 0.3, 0.3]), 1e-15)


# Gradients


def autograd(model, x, through_softmax):
    """The gradient of log p by logarithms, or by scores of a softmax, in torch."""
    leaves = [torch.tensor(np.log(table), requires_grad=True) for table in (*model[:2], model.emission.probabilities)]
    tables = [torch.softmax(leaf, -1) if through_softmax else leaf.exp() for leaf in leaves]
    value = sum(torch_log_likelihood(*tables, x[:, b].tolist()) for b in range(x.shape[1]))
    pi, P, C = torch.autograd.grad(value, leaves)
    return value, HMMParams(pi, P, Categorical(C))


@pytest.mark.parametrize("seed", range(3))
@verifies("eq-hmm-gradient-free", oracle="autograd")
def test_the_gradient_by_free_logarithms_is_expected_counts(seed):
    model = random_model(seed, K=3, V=4)
    x = draw(model, 7, 2, seed)
    value, oracle = autograd(model, x, through_softmax=False)
    ours = hmm_gradient.free(model, x)
    agree(ours[0], value, 1e-13)
    agree(ours[1], oracle, 1e-12)


@verifies("eq-hmm-gradient-free", oracle="autograd")
def test_free_weights_of_sequences_of_different_lengths():
    model = random_model()
    model = HMMParams(2 * model.start, 3 * model.transition**2, Categorical(0.5 * model.emission.probabilities**2))
    x = draw(model, 6, 2)
    parts = [autograd(model, x[:n, [b]], through_softmax=False) for b, n in enumerate((6, 3))]
    value, ours = hmm_gradient.free(model, x, [6, 3], normalised=False)
    agree(value, parts[0][0] + parts[1][0], 1e-13)
    agree(ours.transition, parts[0][1].transition + parts[1][1].transition, 1e-12)
    agree(ours.start, parts[0][1].start + parts[1][1].start, 1e-12)


@verifies("eq-hmm-gradient-free", oracle="autograd")
def test_free_weights_need_not_sum_to_one():
    model = random_model()
    model = HMMParams(2 * model.start, 3 * model.transition**2, Categorical(0.5 * model.emission.probabilities**2))
    x = draw(model, 6, 2)
    value, oracle = autograd(model, x, through_softmax=False)
    ours = hmm_gradient.free(model, x, normalised=False)
    agree(ours[0], value, 1e-13)
    agree(ours[1], oracle, 1e-12)
    with pytest.raises(ValueError, match="sum to 1"):
        hmm_gradient.free(model, x)


@pytest.mark.parametrize("through_softmax", [False, True])
def test_both_gradients_of_sequences_of_different_lengths(through_softmax):
    model = random_model()
    x = draw(model, 6, 2)
    (one, of_one), (two, of_two) = (autograd(model, x[:n, [b]], through_softmax) for b, n in enumerate((6, 3)))
    value, ours = (hmm_gradient.centred if through_softmax else hmm_gradient.free)(model, x, [6, 3])
    agree(value, one + two, 1e-13)
    agree(ours, map_arrays(torch.add, of_one, of_two), 1e-12)


@pytest.mark.parametrize("seed", range(3))
@verifies("eq-hmm-gradient-centred", oracle="autograd through torch's softmax")
def test_the_gradient_through_the_softmax_is_centred(seed):
    model = random_model(seed, K=4, V=3)
    x = draw(model, 7, 2, seed)
    _, oracle = autograd(model, x, through_softmax=True)
    _, ours = hmm_gradient.centred(model, x)
    agree(ours, oracle, 1e-12)
    agree(ours.transition.sum(axis=1), np.zeros(4), 1e-12)


@verifies("eq-hmm-transition-counts", oracle="sum over every path")
def test_expected_transitions_from_what_both_passes_leave():
    """The sum as it is printed, from the filter, the message and the normalisers."""
    model = random_model()
    x = draw(model, 6, 1)[:, 0]
    tape = hmm.forward(model, x[:, None])[1]
    h, s, kappa = tape.filtered[:, 0], hmm.messages(tape)[:, 0], np.exp(tape.normalisers[:, 0])
    seen = model.emission.probabilities[:, x].T
    N = sum(np.outer(h[t - 1], seen[t] * s[t] / kappa[t]) * model.transition for t in range(1, 6))
    agree(N, enumerate_all(model, x).transition, 1e-12)


@verifies("eq-hmm-emission-counts", oracle="sum over every path")
def test_expected_emissions_against_every_path():
    model = random_model()
    x = draw(model, 5, 2)
    M = np.zeros((3, 4))
    for b in range(2):
        posterior = enumerate_all(model, x[:, b]).posterior
        for t in range(5):
            M[:, x[t, b]] += posterior[t]
    agree(hmm_gradient.free(model, x)[1].emission.probabilities, M, 1e-12)


@pytest.mark.parametrize("lengths", [None, [5, 2]])
def test_gaussian_moments_against_a_loop(lengths):
    model = random_model(kind="gaussian")
    x = draw(model, 5, 2)
    tape = hmm.forward(model, x, lengths)[1]
    posterior = hmm.backward(tape).posterior
    found = emissions.counts(model.emission, x, posterior, tape.mask)
    first, second = np.zeros((3, 2)), np.zeros((3, 2, 2))
    for t in range(5):
        for b in range(2):
            for k in range(3):
                first[k] += posterior[t, b, k] * x[t, b]
                second[k] += posterior[t, b, k] * np.outer(x[t, b], x[t, b])
    agree(tuple(found), (first, second), 1e-13)
    best = emissions.maximise(model.emission, x, posterior, tape.mask, floor=0)
    mass = posterior.sum(axis=(0, 1))
    mean = first / mass[:, None]
    agree(best.means, mean, 1e-12)
    oracle = second / mass[:, None, None] - mean[:, :, None] * mean[:, None, :]
    agree(best.covariances, oracle, 1e-11)


def test_scores_and_models_are_inverse():
    model = random_model()
    scores = hmm_gradient.scores(model)
    agree(hmm_gradient.model(scores), model, 1e-14)
    agree(np.exp(scores.transition).sum(axis=1), np.ones(3), 1e-14)
    agree(hmm_gradient.model(map_arrays(lambda s: s + 1000, scores)), model, 1e-12)


def test_only_symbols_have_counts_of_symbols():
    model = random_model(kind="gaussian")
    with pytest.raises(ValueError, match="params: expected Categorical"):
        hmm_gradient.free(model, draw(model, 3, 1))
    for floor in (hmm_gradient, gpu.hmm_gradient):
        with pytest.raises(ValueError, match="params: expected Categorical"):
            floor.scores(model)
        with pytest.raises(ValueError, match="scores: expected Categorical"):
            floor.model(model)


# Baum-Welch


@pytest.mark.parametrize("kind", KINDS)
@verifies("eq-baum-welch", oracle="counts over every path, divided")
def test_one_step_divides_counts_over_every_path(kind):
    model = random_model(kind=kind)
    x = draw(model, 5, 2)
    new, value = baum_welch.step(model, x)
    truth = [enumerate_all(model, x[:, b]) for b in range(2)]
    agree(value, sum(np.log(one.p) for one in truth), 1e-13)
    N, start = sum(one.transition for one in truth), sum(one.start for one in truth)
    agree(new.transition, N / N.sum(axis=1, keepdims=True), 1e-12)
    agree(new.start, start / 2, 1e-12)
    gamma = np.stack([one.posterior for one in truth], axis=1)
    mass = gamma.sum(axis=(0, 1))
    if kind == "categorical":
        M = np.array([[gamma[x == v, k].sum() for v in range(4)] for k in range(3)])
        agree(new.emission.probabilities, M / M.sum(axis=1, keepdims=True), 1e-12)
    else:
        agree(new.emission.means, np.einsum("tbk,tbd->kd", gamma, x) / mass[:, None], 1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_the_likelihood_never_falls(kind):
    model = random_model(kind=kind)
    x = draw(model, 30, 3)
    _, history = baum_welch.fit(model, x, steps=60)
    assert (np.diff(history) > -1e-9).all() and history[-1] > history[0] + 1


@verifies("eq-baum-welch-fixed-point", oracle="autograd through torch's softmax")
def test_at_the_fixed_point_the_centred_gradient_is_zero():
    x = sample(TRUE, 100, 4)
    model, _ = baum_welch.fit(random_model(K=2, V=3), x, steps=3000)
    new, _ = baum_welch.step(model, x)
    _, gradient = autograd(model, x, through_softmax=True)
    at_start = autograd(random_model(K=2, V=3), x, through_softmax=True)[1]
    for now, then in ((gradient.transition, at_start.transition), (gradient.emission[0], at_start.emission[0])):
        assert abs(now).max() < 1e-7 * abs(then).max()
    # and where it is not zero, a step moves by it: new / old - 1 = gradient / expected uses
    model = random_model(K=2, V=3)
    new, _ = baum_welch.step(model, x)
    _, gradient = autograd(model, x, through_softmax=True)
    uses = hmm_gradient.free(model, x)[1].transition.sum(axis=1, keepdims=True)
    agree(uses * (new.transition - model.transition), gradient.transition, 1e-12)


def test_steps_are_a_whole_number():
    model, x = random_model(), draw(random_model(), 3, 1)
    for floor, given in ((baum_welch, model), (gpu.baum_welch, bridge.to_torch(model))):
        with pytest.raises(ValueError, match="steps: expected a whole number"):
            floor.fit(given, x, steps=1.5)
        assert floor.fit(given, x, steps=0) == (given, [])


def test_a_state_that_is_never_visited_keeps_its_rows():
    model = HMMParams(
        np.array([1.0, 0]), np.array([[1.0, 0], [0.3, 0.7]]), Categorical(np.array([[0.5, 0.5], [0.2, 0.8]]))
    )
    new, _ = baum_welch.step(model, np.array([[0], [1], [1]]))
    agree(new.transition, np.array([[1.0, 0], [0.3, 0.7]]), 0)
    agree(new.emission.probabilities, np.array([[1 / 3, 2 / 3], [0.2, 0.8]]), 1e-15)


def test_a_state_on_a_single_point_does_not_collapse():
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.standard_normal((20, 1, 1)), [[[50.0]]]])
    model = HMMParams(np.full(2, 0.5), np.full((2, 2), 0.5), Gaussian(np.array([[0.0], [50.0]]), np.ones((2, 1, 1))))
    model, history = baum_welch.fit(model, x, steps=20)
    assert model.emission.covariances.min() >= 1e-6 and np.isfinite(history).all()


@pytest.mark.parametrize("floor", ["reference", "gpu"])
def test_units_do_not_matter(floor):
    """Clusters in metres or in tenths of a millimetre: the same fit, and the same covariances up to the scale."""
    x = np.random.default_rng(0).standard_normal((60, 2, 1)) + 3 * (np.arange(60) // 10 % 2)[:, None, None]
    P = np.array([[0.9, 0.1], [0.1, 0.9]])
    found = []
    for scale in (1.0, 1e-4):
        start = HMMParams(
            np.full(2, 0.5), P, Gaussian(scale * np.array([[-1.0], [2.0]]), scale**2 * np.full((2, 1, 1), 4.0))
        )
        if floor == "reference":
            model, history = baum_welch.fit(start, scale * x, [60, 50], steps=20)
        else:
            model, history = gpu.baum_welch.fit(bridge.to_torch(start), torch.tensor(scale * x), [60, 50], steps=20)
            model = bridge.to_numpy(model)
        assert (np.diff(history) > -1e-3).all()
        found.append((model.transition, model.emission.means / scale, model.emission.covariances / scale**2))
    agree(found[1], found[0], 1e-9)


def test_the_floor_may_be_left_out():
    model, x = random_model(kind="gaussian"), draw(random_model(kind="gaussian"), 40, 2)
    bare, _ = baum_welch.step(model, x, floor=0.0)
    raised, _ = baum_welch.step(model, x)
    more = raised.emission.covariances - bare.emission.covariances
    agree(more, np.tile(1e-6 * np.diag(x.reshape(-1, 2).var(axis=0)), (3, 1, 1)), 1e-8)


def test_fit_stops_when_nothing_is_gained():
    _, history = baum_welch.fit(random_model(K=2, V=3), sample(TRUE, 50, 2), steps=5000, tolerance=1e-6)
    assert len(history) < 5000 and history[-1] - history[-2] < 1e-6


# L-BFGS


def test_lbfgs_finds_the_minimum_of_a_quadratic_form_and_of_rosenbrock():
    rng = np.random.default_rng(0)
    A = rng.standard_normal((8, 8))
    A, b = A @ A.T + 0.1 * np.eye(8), rng.standard_normal(8)
    found = lbfgs.minimise(lambda x: (0.5 * x @ A @ x - b @ x, A @ x - b), np.zeros(8), 200, tolerance=1e-11)
    agree(found.point, np.linalg.solve(A, b), 1e-8)

    def valley(x):
        a, c = x[1] - x[0] ** 2, 1 - x[0]
        return 100 * a * a + c * c, np.array([-400 * a * x[0] - 2 * c, 200 * a])

    found = lbfgs.minimise(valley, [-1.2, 1.0], 200, tolerance=1e-10)
    agree(found.point, np.ones(2), 1e-8)
    assert len(found.values) < 100


def test_lbfgs_accepts_no_rise_and_needs_no_more_than_it_did():
    def valley(x):
        a, c = x[1] - x[0] ** 2, 1 - x[0]
        return 100 * a * a + c * c, np.array([-400 * a * x[0] - 2 * c, 200 * a])

    found = lbfgs.minimise(valley, [-1.2, 1.0], 200, tolerance=1e-10)
    assert len(found.values) < 60
    for seed in range(20):  # waves have hills: negative curvature on the way
        rng = np.random.default_rng(seed)
        start, A = 3 * rng.standard_normal(4), rng.standard_normal((4, 4))

        def waves(x, A=A):
            return np.cos(A @ x).sum() + 0.01 * (x @ x), 0.02 * x - A.T @ np.sin(A @ x)

        ends = [lbfgs.minimise(waves, start, budget, tolerance=1e-9) for budget in (*range(1, 30), 200)]
        assert (np.diff([waves(end.point)[0] for end in ends]) <= 0).all()
        assert abs(waves(ends[-1].point)[1]).max() < 1e-6


@pytest.mark.parametrize("aside", [-1e-5, 1e-5])
def test_lbfgs_accepts_neither_a_rise_nor_next_to_no_fall(aside):
    """From the square root of 0.24 the first step leads to the same height on the other side."""

    def bowl(x):
        root = np.sqrt(x[0] ** 2 + 0.01)
        return root, x / root

    start = np.sqrt([0.24]) + aside
    found = lbfgs.minimise(bowl, start, evaluations=2)
    before, after = found.values
    assert 0 < abs(after - before) < 5e-5 and (after > before) == (aside < 0)
    agree(found.point, start, 0)
    agree(lbfgs.minimise(bowl, start, 50, tolerance=1e-9).point, np.zeros(1), 1e-8)


def test_lbfgs_learns_no_curvature_where_there_is_none():
    def bent(x):
        bend = np.maximum(x - 3, 0)
        return (0.5 * bend**2 - x).sum(), bend - 1

    with np.errstate(all="raise"):  # a straight line has no quotient of steps and slopes
        agree(lbfgs.minimise(bent, np.zeros(1), 20, tolerance=1e-12).point, np.full(1, 4.0), 1e-12)


def test_lbfgs_turns_back_where_its_memory_leads_up(monkeypatch):
    monkeypatch.setattr(lbfgs, "_times_inverse", lambda pairs, g: -g)
    found = lbfgs.minimise(lambda x: (0.35 * (x @ x), 0.7 * x), np.array([3.0, -2.0]), 200, tolerance=1e-10)
    agree(found.point, np.zeros(2), 1e-9)


def test_lbfgs_counts_every_call():
    calls = []

    def function(x):
        calls.append(x)
        return float((x**4).sum()), 4 * x**3

    found = lbfgs.minimise(function, np.array([3.0, -2.0]), evaluations=9)
    assert len(calls) == len(found.values) == 9
    with pytest.raises(ValueError, match="evaluations"):
        lbfgs.minimise(function, np.ones(2), 0)


# Chunks


def test_chunks_agree_with_the_whole():
    model = random_model(K=5, V=6)
    x = draw(model, 3001, 1)
    found = hmm_chunks.posterior(model, x, chunk=200, warm=60)
    value, tape = hmm.forward(model, x)
    counts = hmm.backward(tape)
    assert not found.exact and found.mismatch < 1e-11
    agree(found.log_likelihood, value, 1e-12)
    agree(found.counts, counts, 1e-9)


@pytest.mark.parametrize("T", [1, 7, 259, 260, 261, 400, 401, 1000])
def test_chunks_of_any_length(T):
    model = random_model(K=3)
    x = draw(model, T, 1)
    found = hmm_chunks.posterior(model, x, chunk=200, warm=60)
    value, tape = hmm.forward(model, x)
    assert found.exact == (T <= 260)
    agree(found.log_likelihood, value, 1e-12)
    agree(found.counts.posterior, hmm.backward(tape).posterior, 1e-9)


@pytest.mark.parametrize("warm", [0, 5, 50])
def test_a_chain_that_does_not_forget_is_run_step_by_step(warm):
    sticky = TRUE._replace(
        transition=np.array([[1 - 1e-6, 1e-6], [1e-6, 1 - 1e-6]]),
        emission=Categorical(np.array([[0.51, 0.49], [0.5, 0.5]])),
    )
    x = np.random.default_rng(0).integers(0, 2, (1000, 1))
    found = hmm_chunks.posterior(sticky, x, chunk=100, warm=warm)
    assert found.exact and found.mismatch > 1e-6
    agree(found.counts, hmm.backward(hmm.forward(sticky, x)[1]), 0)


def test_both_directions_must_agree():
    """A sticky chain whose state is told only where the forward chunks warm up: those backwards learn nothing."""
    sticky = HMMParams(
        np.full(2, 0.5), np.array([[1 - 1e-4, 1e-4], [1e-4, 1 - 1e-4]]),
        Categorical(np.array([[0.49, 0.5, 0.01], [0.01, 0.5, 0.49]])),
    )  # fmt: skip
    x = np.ones((450, 1), int)
    for begin in range(0, 450, 100):
        x[begin : begin + 20] = 0
    assert not hmm_chunks.posterior(sticky, x[:420], chunk=100, warm=20).exact  # here both warm up on what tells
    found = hmm_chunks.posterior(sticky, x, chunk=100, warm=20)
    assert found.exact
    agree(found.counts, hmm.backward(hmm.forward(sticky, x)[1]), 0)


def test_chunks_pass_on_what_cannot_be():
    model = HMMParams(np.array([1.0, 0]), np.eye(2), Categorical(np.array([[0.5, 0.5, 0], [0, 0.5, 0.5]])))
    x = np.zeros((500, 1), int)
    x[300] = 2
    with pytest.raises(ValueError, match="step 300 of sequence 0 has probability zero"):
        hmm_chunks.posterior(model, x)
    with pytest.raises(ValueError, match="observations"):
        hmm_chunks.posterior(model, np.zeros((500, 2), int))
    for chunk, warm in ((5, 3), (7, 7)):  # so short that every sum is fine, and the distance is NaN
        x = np.zeros((100, 1), int)
        x[-1] = 2
        with pytest.raises(ValueError, match="step 99 of sequence 0 has probability zero"):
            hmm_chunks.posterior(model, x, chunk=chunk, warm=warm)


def test_chunks_notice_an_underflow_that_is_forgotten_before_they_meet():
    """Two groups of states, hardly ever left; but at eight steps in the middle of a chunk the symbols say: left."""
    rng = np.random.default_rng(0)
    blocks = rng.dirichlet(np.full(2, 5.0), (4, 2))
    P = np.block([[blocks[0], 1e-40 * blocks[1]], [1e-40 * blocks[2], blocks[3]]])
    C = np.kron(np.eye(2), rng.dirichlet(np.full(2, 5.0), 2))
    model = HMMParams(np.array([0.5, 0.5, 0, 0]), P, Categorical(C))
    x = rng.integers(0, 2, (400, 1))
    assert not hmm_chunks.posterior(model, x, chunk=100, warm=32).exact
    x[156:164:2] += 2
    found = hmm_chunks.posterior(model, x, chunk=100, warm=32)
    assert found.exact
    agree(found.counts, hmm_log.backward(hmm_log.forward(model, x)[1]), 1e-10)


def test_hilberts_distance_of_vectors_with_zeros():
    d = hmm_chunks.hilbert
    agree(d(np.array([1.0, 0, 2]), np.array([1.0, 0, 8])), np.array(np.log(4)), 1e-15)
    assert d(np.array([1.0, 0]), np.ones(2)) == d(np.array([1.0, 0]), np.array([0, 1.0])) == np.inf
    assert np.isnan(d(np.zeros(2), np.ones(2))) and np.isnan(d(np.zeros(2), np.zeros(2)))


@verifies("eq-hmm-contraction", oracle="distances of vectors drawn at random")
def test_no_step_stretches_hilberts_distance():
    rng = np.random.default_rng(0)
    for _ in range(50):
        P = rng.dirichlet(np.full(4, 0.3), 4)
        lam, one, other = rng.random(4) ** 3, *rng.dirichlet(np.ones(4), 2)
        ahead = [lam * (v @ P) for v in (one, other)]
        ratio = np.log(ahead[0] / ahead[1])
        before = np.log(one / other)
        after = hmm_chunks.hilbert(*ahead)
        agree(after, ratio.max() - ratio.min(), 1e-12)
        assert after <= before.max() - before.min() + 1e-12
    agree(hmm_chunks.hilbert(one, 7 * other), hmm_chunks.hilbert(one, other), 1e-12)


@verifies("eq-hmm-birkhoff", oracle="complex step through one step, along the worst lines")
def test_a_step_shrinks_hilberts_distance_by_birkhoffs_factor():
    """Never less, and on the way between two states it is reached: so no smaller factor would be true."""
    rng = np.random.default_rng(0)
    for K in (2, 3, 4):
        P = rng.dirichlet(np.ones(K), K)
        quotients = [P[i, k] * P[j, m] / (P[j, k] * P[i, m]) for i, j, k, m in itertools.product(range(K), repeat=4)]
        factor = np.tanh(np.log(max(quotients)) / 4)
        for _ in range(300):
            one, other, lam = np.exp(4 * rng.standard_normal((2, K))), np.exp(4 * rng.standard_normal(K)), rng.random(K)
            ahead, before = np.log(lam * (one @ P)), np.log(one)
            assert np.ptp(ahead[0] - ahead[1]) <= factor * np.ptp(before[0] - before[1]) * (1 + 1e-12)
            assert hmm_chunks.hilbert(lam * (other @ P), lam * (one[0] @ P)) <= factor * hmm_chunks.hilbert(
                other, one[0]
            )
        x = np.linspace(-12, 12, 20001)
        slopes = []
        for i, j in itertools.permutations(range(K), 2):  # beliefs in two states alone, their odds exp(x)
            odds = np.exp(x + 1e-30j)[:, None]
            slopes.append(np.ptp(np.log(odds * P[i] + P[j]).imag / 1e-30, axis=1).max())
        agree(factor, max(slopes), 1e-6)


def test_beliefs_that_are_near_in_hilberts_distance_have_near_probabilities():
    """No probability differs by more than tanh(d / 4), and in the posterior, a product, distances add."""
    rng = np.random.default_rng(0)
    for K in (2, 3, 5):
        for _ in range(200):
            one, other, s, r = np.exp(2 * rng.standard_normal((4, K)))
            apart = abs(one / one.sum() - other / other.sum())
            assert max(apart) <= np.tanh(hmm_chunks.hilbert(one, other) / 4) + 1e-12
            d = hmm_chunks.hilbert
            assert d(one * s, other * r) <= d(one, other) + d(s, r) + 1e-12
    one, other = np.array([np.exp(0.05), 1.0]), np.array([1.0, np.exp(0.05)])  # d = 0.1: here it is equal
    agree(one[0] / one.sum() - other[0] / other.sum(), np.tanh(0.1 / 4), 1e-12)


# How models start


def test_starts_are_models():
    rng = np.random.default_rng(0)
    model = hmm_params.init_categorical(rng, 4, 6, stay=0.9)
    assert hmm_params.check(model) == 4 and (np.diag(model.transition) > 0.9).all()
    x = rng.standard_normal((20, 2, 3)) + 5
    model = hmm_params.init_gaussian(rng, x, 3)
    assert hmm_params.check(model) == 3
    agree(model.emission.covariances[1], np.cov(x.reshape(-1, 3).T, bias=True), 2e-6)
    exact = hmm_params.init_gaussian(rng, x, 3, floor=0.0)
    agree(exact.emission.covariances[1], np.cov(x.reshape(-1, 3).T, bias=True), 1e-14)
    few = x[:2, :1]  # as many as states: no observation is drawn twice
    assert all(len(np.unique(hmm_params.init_gaussian(rng, few, 2).emission.means, axis=0)) == 2 for _ in range(20))
    flat = np.concatenate([x[..., :1], 2 * x[..., :1]], axis=2)  # one feature twice: no inverse without the floor
    assert np.isfinite(hmm.forward(hmm_params.init_gaussian(rng, flat, 2), flat)[0]).all()
    padded = np.where((np.arange(20)[:, None] < [20, 5])[:, :, None], x, np.nan)
    real = np.concatenate([x[:, 0], x[:5, 1]])
    ragged = hmm_params.init_gaussian(rng, padded, 3, lengths=[20, 5], floor=0.0)
    agree(ragged.emission.covariances[0], np.cov(real.T, bias=True), 1e-14)
    assert all((mean == x.reshape(-1, 3)).all(axis=1).any() for mean in model.emission.means)
    for call, says in [
        (lambda: hmm_params.init_categorical(rng, 0, 3), "states"),
        (lambda: hmm_params.init_categorical(rng, 2, 0), "symbols"),
        (lambda: hmm_params.init_categorical(rng, 2, 3, stay=1.5), "stay"),
        (lambda: hmm_params.init_categorical(rng, 2, 3, evenness=0), "evenness"),
        (lambda: hmm_params.init_gaussian(rng, x[:1, :1], 3), "observations"),
        (lambda: hmm_params.as_rnn(hmm_params.init_gaussian(rng, x, 3)), "Categorical"),
    ]:
        with pytest.raises(ValueError, match=says):
            call()


# The race


def test_every_contender_does_the_same_work_and_does_it_right():
    for case in hmm_race.cases(steps=7, batch=40, widths=(3,)):
        for name, contender in case.contenders.items():
            assert race.error(contender(), case.truth) < 1e-10, name
