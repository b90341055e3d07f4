"""Hidden Markov models on the torch floor: the numbers of the other floor, autograd's gradients, the prefix."""

import numpy as np
import pytest
import torch
from hmm_oracles import draw, enumerate_all, random_model
from proof import agree, verifies
from test_hmm import BAD, GOOD, even, lost_in_one_step

from rnncourse import bridge, gpu, hmm_params, reference
from rnncourse.gpu import hmm_scan
from rnncourse.hmm_params import Categorical, Gaussian, HMMParams
from rnncourse.params import RNNParams
from rnncourse.reference import baum_welch, emissions, hmm, hmm_gradient, hmm_log, viterbi

KINDS = ("categorical", "gaussian")
FORMS = pytest.mark.parametrize("name", ["hmm", "hmm_log"])
LENGTHS = pytest.mark.parametrize("lengths", [None, [7, 3, 0]])


def both(kind, T=7, B=3, seed=0, **sizes):
    model = random_model(seed, kind=kind, **sizes)
    x = draw(model, T, B, seed)
    return model, x, bridge.to_torch(model), bridge.to_torch(x)


@FORMS
@LENGTHS
@pytest.mark.parametrize("kind", KINDS)
def test_the_numbers_of_the_numpy_floor(name, kind, lengths):
    model, x, there, y = both(kind)
    value, tape = hmm.forward(model, x, lengths)
    counts = hmm.backward(tape)
    theirs = getattr(gpu, name)
    found, their_tape = theirs.forward(there, y, lengths)
    assert not found.requires_grad
    agree(found, value, 1e-12)
    agree(tuple(theirs.backward(their_tape)), tuple(counts), 1e-12)
    if name == "hmm":
        agree(their_tape.filtered, tape.filtered, 1e-12)
        agree(theirs.messages(their_tape), hmm.messages(tape), 1e-12)
        if lengths is None:
            agree(theirs.predicted(their_tape), hmm.predicted(tape), 1e-12)


@LENGTHS
@pytest.mark.parametrize("kind", KINDS)
def test_viterbi_and_baum_welch_on_both_floors(kind, lengths):
    model, x, there, y = both(kind)
    lengths = lengths and [7, 3, 1]
    states, value = viterbi.path(model, x, lengths)
    theirs, their_value = gpu.viterbi.path(there, y, lengths)
    assert np.array_equal(theirs, states)
    agree(their_value, value, 1e-12)
    new, total = baum_welch.step(model, x, lengths)
    their_new, their_total = gpu.baum_welch.step(there, y, lengths)
    agree(their_total, total, 1e-12)
    agree(their_new, new, 1e-11)
    fitted, history = gpu.baum_welch.fit(there, y, lengths, steps=3)
    agree(tuple(history), tuple(baum_welch.fit(model, x, lengths, steps=3)[1]), 1e-11)
    assert isinstance(fitted, HMMParams)


def test_a_state_that_is_never_visited_keeps_its_rows():
    model = HMMParams(
        np.array([1.0, 0]), np.array([[1.0, 0], [0.3, 0.7]]), Categorical(np.array([[0.5, 0.5], [0.2, 0.8]]))
    )
    new, _ = gpu.baum_welch.step(bridge.to_torch(model), torch.tensor([[0], [1], [1]]))
    agree(new.transition, np.array([[1.0, 0], [0.3, 0.7]]), 0)
    agree(new.emission.probabilities, np.array([[1 / 3, 2 / 3], [0.2, 0.8]]), 1e-15)


@LENGTHS
def test_both_gradients_on_both_floors(lengths):
    model, x, there, y = both("categorical")
    for name in ("free", "centred"):
        value, gradient = getattr(hmm_gradient, name)(model, x, lengths)
        theirs, their_gradient = getattr(gpu.hmm_gradient, name)(there, y, lengths)
        agree(theirs, value, 1e-12)
        agree(their_gradient, gradient, 1e-12)
    scores = gpu.hmm_gradient.scores(there)
    agree(gpu.hmm_gradient.model(scores), model, 1e-13)
    agree(scores.transition.exp().sum(dim=1), np.ones(3), 1e-14)
    with pytest.raises(ValueError, match="params: expected Categorical"):
        gpu.hmm_gradient.free(bridge.to_torch(random_model(kind="gaussian")), y)


@FORMS
def test_training_goes_through_the_callers_graph(name):
    model, x, there, y = both("categorical")
    scores = hmm_params.HMMParams(
        *(t.log().requires_grad_() for t in there[:2]), Categorical(there[2][0].log().requires_grad_())
    )
    value, _ = getattr(gpu, name).forward(gpu.hmm_gradient.model(scores), y)
    value.sum().backward()
    agree(scores.transition.grad, hmm_gradient.centred(model, x)[1].transition, 1e-12)


def test_means_and_covariances_have_gradients_by_autograd():
    """The gradient of a Gaussian's mean, weighted by the posterior: sum of gamma Sigma^-1 (x - mu)."""
    model, x, there, y = both("gaussian")
    means = there.emission.means.clone().requires_grad_()
    value, _ = gpu.hmm.forward(there._replace(emission=Gaussian(means, there.emission.covariances)), y)
    value.sum().backward()
    gamma = hmm.backward(hmm.forward(model, x)[1]).posterior
    first = emissions.counts(model.emission, x, gamma).means - gamma.sum(axis=(0, 1))[:, None] * model.emission.means
    agree(means.grad, np.linalg.solve(model.emission.covariances, first[:, :, None])[:, :, 0], 1e-11)


def test_the_cell_on_both_floors():
    model, x, _, _ = both("categorical")
    network = hmm_params.as_rnn(model)
    inputs = np.eye(4)[x]
    start = np.broadcast_to(network.initial_state, (3, 4)).copy()
    run = {}
    for floor, convert in (("reference", lambda tree: tree), ("gpu", bridge.to_torch)):
        module = __import__(f"rnncourse.{floor}", fromlist=["unroll"])
        cell, arrays = module.hmm_cell.filtering(), convert((network.cell, inputs, (start, np.zeros((3, 4)))))
        out, final, tape = module.unroll.forward(cell, *arrays, [7, 3, 1])
        last = convert(np.eye(4)[[0, 0, 0]])
        back = module.unroll.backward(tape, 0 * out, (0 * last, last))
        run[floor] = bridge.to_numpy((out, final, back.params)) if floor == "gpu" else (out, final, back.params)
        with pytest.raises(ValueError, match="inputs: sequence 0 holds an observation of probability zero"):
            module.unroll.forward(cell, arrays[0]._replace(bias=arrays[0].bias + hmm_params.NEVER), *arrays[1:])
    agree(run["gpu"], run["reference"], 1e-12)


def test_a_state_that_cannot_be_reached_has_the_gradient_of_one_that_could():
    """Its likelihood is the larger: a transition into it, now zero, would raise log p by more than any other."""
    rng = np.random.default_rng(0)
    params = RNNParams(rng.standard_normal((2, 3)), np.array([[1.0, 1.0], [0.0, 0.0]]), np.array([0.0, 4.0]))
    x, start = rng.standard_normal((3, 1, 3)), (np.array([[0.6, 0.4]]), np.zeros((1, 2)))
    one = np.array([[1.0, 0.0]])
    ours = reference.unroll.forward(reference.hmm_cell.filtering(), params, x, start)
    there = gpu.unroll.forward(gpu.hmm_cell.filtering(), *bridge.to_torch((params, x, start)))
    back = reference.unroll.backward(ours[2], 0 * ours[0], (0 * one, one))
    theirs = gpu.unroll.backward(there[2], 0 * there[0], bridge.to_torch((0 * one, one)))
    agree(bridge.to_numpy(theirs.params), back.params, 1e-13)
    assert back.params.recurrent_weights[1].min() > 1
    for dtype in (torch.float64, torch.float32):  # so much larger that no number holds the quotient
        far = bridge.to_torch(params._replace(bias=np.array([0.0, 800.0])), dtype=dtype)
        out, _, tape = gpu.unroll.forward(gpu.hmm_cell.filtering(), far, *bridge.to_torch((x, start), dtype=dtype))
        slopes = gpu.unroll.backward(tape, 0 * out, bridge.to_torch((0 * one, one), dtype=dtype)).params
        assert all(torch.isfinite(part).all() for part in (out, *slopes))


@FORMS
@pytest.mark.parametrize("says", BAD)
def test_bad_models_are_refused_in_the_same_words(name, says):
    bad = BAD[says]
    there = bridge.to_torch(bad)
    with pytest.raises(ValueError, match=says):
        getattr(gpu, name).forward(there if isinstance(bad, HMMParams) else tuple(there), torch.zeros(3, 1, dtype=int))


@FORMS
def test_an_observation_of_probability_zero_is_named(name):
    model = HMMParams(np.array([1.0, 0]), np.eye(2), Categorical(np.array([[0.5, 0.5, 0], [0, 0.5, 0.5]])))
    x = torch.tensor([[0, 0], [1, 1], [0, 2], [0, 2]])
    for form in (getattr(gpu, name), hmm_scan):
        with pytest.raises(ValueError, match="observations: step 2 of sequence 1 has probability zero"):
            form.forward(bridge.to_torch(model), x)
    with pytest.raises(ValueError, match="step 2 of sequence 1 has probability zero on every path"):
        gpu.viterbi.path(bridge.to_torch(model), x)


@FORMS
def test_zeros_in_the_model_give_no_nan(name):
    model = HMMParams(
        np.array([1.0, 0, 0]),
        np.array([[0.5, 0.5, 0], [0, 0.7, 0.3], [0, 0, 1.0]]),
        Categorical(np.array([[0.9, 0.1, 0], [0, 0.5, 0.5], [0.2, 0, 0.8]])),
    )
    x = np.array([[0], [1], [2], [2], [0]])
    truth = enumerate_all(model, x[:, 0])
    for form in (getattr(gpu, name), hmm_scan):
        value, tape = form.forward(bridge.to_torch(model), torch.tensor(x))
        counts = form.backward(tape)
        agree(value, np.log([truth.p]), 1e-13)
        agree(counts.transition, truth.transition, 1e-13)
        agree(counts.posterior[:, 0], truth.posterior, 1e-13)


def test_observations_at_the_door():
    there = bridge.to_torch(GOOD)
    for x, says in [
        (torch.zeros(3, 1), "observations: expected integers, got torch.float32"),
        (torch.full((3, 1), 4), "observations: expected symbols in 0..3, got 4..4"),
        (torch.zeros(3, dtype=int), "observations: expected"),
    ]:
        with pytest.raises(ValueError, match=says):
            gpu.hmm.forward(there, x)


@pytest.mark.parametrize("kind", KINDS)
def test_lists_of_observations_are_taken_as_on_the_other_floor(kind):
    model, x, there, _ = both(kind)
    for form in (gpu.hmm, gpu.hmm_log, hmm_scan):
        agree(form.forward(there, x.tolist(), [7, 3, 1])[0], hmm.forward(model, x.tolist(), [7, 3, 1])[0], 1e-12)
    for bad in (None, [0, 1], []):
        with pytest.raises(ValueError, match="observations: expected"):
            gpu.hmm.forward(there, bad)


def test_a_step_that_the_scaled_form_would_lose_is_found_again():
    model = HMMParams(np.array([1.0, 0]), np.eye(2), Gaussian(np.array([[0.0], [100.0]]), np.ones((2, 1, 1))))
    x = np.array([[[0.1]], [[100.0]], [[0.3]]])
    value, tape = gpu.hmm.forward(bridge.to_torch(model), torch.tensor(x))
    agree(value, hmm.forward(model, x)[0], 1e-13)
    agree(gpu.hmm.backward(tape).transition, np.array([[2.0, 0], [0, 0]]), 1e-13)


def test_a_share_that_comes_back_from_nothing_is_not_lost():
    model = HMMParams(np.full(2, 0.5), np.eye(2), Categorical(np.array([[0.9, 0.1], [0.1, 0.9]])))
    x = np.repeat([0, 1], [1000, 2000])[:, None]
    value, tape = gpu.hmm.forward(bridge.to_torch(model), torch.tensor(x))
    agree(value, hmm_log.forward(model, x)[0], 1e-12)
    agree(gpu.hmm.backward(tape).posterior[:, 0], np.tile([0.0, 1.0], (3000, 1)), 1e-12)
    against_serial(model, x)


@pytest.mark.parametrize("kind", ["gaussian", "symbols"])
def test_a_share_that_is_lost_in_one_step_is_noticed(kind):
    model, x = lost_in_one_step()[kind]
    value, tape = gpu.hmm.forward(bridge.to_torch(model), torch.tensor(x))
    agree(value, hmm_log.forward(model, x)[0], 1e-12)
    agree(tape.filtered, hmm.forward(model, x)[1].filtered, 1e-12)
    ragged, lengths = np.concatenate([x, x], axis=1), [len(x), 3]
    value, tape = gpu.hmm.forward(bridge.to_torch(model), torch.tensor(ragged), lengths)
    agree(value, hmm_log.forward(model, ragged, lengths)[0], 1e-12)
    against_serial(model, x)


def test_zeros_that_the_model_demands_are_no_reason_for_logarithms():
    model = HMMParams(
        np.array([1.0, 0, 0]),
        np.array([[0.5, 0.5, 0], [0, 0.7, 0.3], [0, 0, 1.0]]),
        Categorical(np.array([[0.9, 0.1, 0], [0, 0.5, 0.5], [0.2, 0, 0.8]])),
    )
    x = torch.tensor([[0, 0], [1, 1], [2, 2], [2, 0], [0, 0]])
    assert gpu.hmm.forward(bridge.to_torch(model), x, [5, 3])[1].logs is None


# The parallel prefix


def against_serial(model, x, lengths=None, tolerance=1e-10):
    value, tape = hmm.forward(model, x, lengths)
    counts = hmm.backward(tape)
    found, their_tape = hmm_scan.forward(bridge.to_torch(model), torch.tensor(x), lengths)
    theirs = hmm_scan.backward(their_tape)
    agree(found, value, tolerance)
    agree(their_tape.filtered, tape.filtered, tolerance)
    agree(tuple(theirs), tuple(counts), tolerance)


@pytest.mark.parametrize("T", [1, 2, 3, 4, 5, 8, 13, 64, 100])
@pytest.mark.parametrize("kind", KINDS)
@verifies("eq-hmm-scan", oracle="the serial recursion on the other floor")
@verifies("eq-hmm-combine", oracle="the serial recursion on the other floor")
def test_the_scan_is_the_serial_recursion(T, kind):
    model = random_model(T, K=4, kind=kind)
    against_serial(model, draw(model, T, 2), tolerance=1e-12)


@verifies("eq-hmm-combine", oracle="sum over every path")
def test_a_stretch_is_a_filter_from_each_state():
    model = random_model()
    x = draw(model, 4, 1)[:, 0]
    steps = hmm_scan.forward(bridge.to_torch(model), torch.tensor(x[:, None]))[1].steps
    level, r, N = hmm_scan.prefixes(steps)
    for i in range(3):
        truth = enumerate_all(model._replace(start=model.transition[i]), x[1:])
        agree(level[-1, 0] + r[-1, 0, i], np.log(truth.p), 1e-12)
        agree(N[-1, 0, i], truth.posterior[-1], 1e-12)


def test_the_scan_with_lengths():
    model = random_model(K=3)
    against_serial(model, draw(model, 9, 4), [9, 4, 1, 0], tolerance=1e-12)


@pytest.mark.parametrize("stay", [1 - 1e-3, 1 - 1e-9, 1 - 1e-15])
def test_the_scan_of_sticky_chains(stay):
    rng = np.random.default_rng(0)
    K, T = 3, 5000
    P = stay * np.eye(K) + (1 - stay) * rng.dirichlet(np.ones(K), K)
    against_serial(HMMParams(np.full(K, 1 / K), P, random_model(K=K, V=5).emission), rng.integers(0, 5, (T, 2)))


def test_the_scan_of_a_chain_that_only_moves_on():
    P = np.array([[0.999, 0.001, 0], [0, 0.999, 0.001], [0, 0, 1.0]])
    model = HMMParams(np.array([1.0, 0, 0]), P, random_model(K=3, V=5).emission)
    against_serial(model, np.random.default_rng(0).integers(0, 5, (3000, 1)))


def test_the_scan_of_a_hundred_thousand_steps():
    model, x, _ = even(100_000)
    against_serial(model, x)
    model = random_model(K=3)
    against_serial(model, draw(model, 100_000, 1))


def test_float32_on_the_torch_floor():
    model, x, there, y = both("categorical", T=50)
    there = bridge.to_torch(model, dtype=torch.float32)
    for form in (gpu.hmm, gpu.hmm_log, hmm_scan):
        value, tape = form.forward(there, y)
        assert value.dtype == torch.float32
        agree(value, hmm.forward(model, x)[0], 1e-5)
        agree(form.backward(tape).transition, hmm.backward(hmm.forward(model, x)[1]).transition, 1e-4)
    agree(hmm_log.forward(model, x)[0], hmm.forward(model, x)[0], 1e-13)
