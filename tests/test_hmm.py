"""Forward and backward through a hidden Markov model, against every path of states."""

import hmm_oracles as oracles
import numpy as np
import pytest
import torch
from hmm_oracles import draw, enumerate_all, random_model
from proof import agree, verifies

from rnncourse import gradcheck, hmm_params
from rnncourse.hmm_params import NEVER, Categorical, Gaussian, HMMParams
from rnncourse.params import map_arrays, named_arrays
from rnncourse.reference import baum_welch, emissions, hmm, hmm_cell, hmm_log, unroll

KINDS = ("categorical", "gaussian")
FORMS = pytest.mark.parametrize("form", [hmm, hmm_log], ids=["scaled", "log"])
SHAPES = pytest.mark.parametrize(("K", "T", "B"), [(3, 5, 2), (1, 4, 1), (2, 1, 3), (4, 4, 1)])


def each(model, x, lengths=None):
    """The enumeration of every sequence of a batch."""
    T, B = x.shape[:2]
    return [enumerate_all(model, x[: (lengths[b] if lengths else T), b]) for b in range(B)]


@FORMS
@SHAPES
@pytest.mark.parametrize("kind", KINDS)
@verifies("eq-hmm-evidence", oracle="sum over every path")
@verifies("eq-hmm-backward", oracle="sum over every path")
def test_both_forms_against_every_path(form, kind, K, T, B):
    model = random_model(K=K, kind=kind)
    x = draw(model, T, B)
    truth = each(model, x)
    value, tape = form.forward(model, x)
    counts = form.backward(tape)
    agree(value, np.log([one.p for one in truth]), 1e-13)
    agree(counts.posterior, np.stack([one.posterior for one in truth], axis=1), 1e-12)
    agree(counts.start, sum(one.start for one in truth), 1e-12)
    if T > 1:
        agree(counts.transition, sum(one.transition for one in truth), 1e-12)
    assert not counts.transition.any() or T > 1


@verifies("eq-hmm-log-forward", oracle="sum over every path")
def test_the_log_form_carries_the_logarithm_of_the_filter():
    model = random_model()
    x = draw(model, 4, 1)
    joint = np.zeros((4, 3))
    for t in range(4):
        for z, p in oracles.paths(model, x[: t + 1, 0]):
            joint[t, z[-1]] += p
    total = joint.sum(axis=1)
    tape = hmm_log.forward(model, x)[1]
    agree(tape.log_filtered[:, 0], np.log(joint / total[:, None]), 1e-13)
    agree(tape.log_normalisers[:, 0], np.diff(np.log(total), prepend=0), 1e-13)


@pytest.mark.parametrize("kind", KINDS)
@verifies("eq-hmm-forward", oracle="sum over every path up to t")
def test_the_filter_against_every_path_up_to_now(kind):
    model = random_model(kind=kind)
    x = draw(model, 5, 2)
    tape = hmm.forward(model, x)[1]
    for b in range(2):
        agree(tape.filtered[:, b], oracles.filtered(model, x[:, b]), 1e-13)
    agree(tape.filtered.sum(axis=2), np.ones((5, 2)), 1e-15)


@FORMS
@pytest.mark.parametrize("kind", KINDS)
def test_ragged_lengths_with_anything_in_the_padding(form, kind):
    model, lengths = random_model(kind=kind), [5, 2, 1]
    x = draw(model, 5, 3)
    truth = each(model, x, lengths)
    for b, length in enumerate(lengths):
        x[length:, b] = 99 if kind == "categorical" else np.nan
    value, tape = form.forward(model, x, lengths)
    counts = form.backward(tape)
    agree(value, np.log([one.p for one in truth]), 1e-13)
    agree(counts.transition, sum(one.transition for one in truth), 1e-12)
    agree(counts.start, sum(one.start for one in truth), 1e-12)
    for b, length in enumerate(lengths):
        agree(counts.posterior[:length, b], truth[b].posterior, 1e-12)
        assert not counts.posterior[length:, b].any()


@FORMS
def test_a_sequence_without_a_step_has_probability_one(form):
    model = random_model()
    value, tape = form.forward(model, draw(model, 3, 2), [3, 0])
    assert value[1] == pytest.approx(0, abs=1e-14)
    counts = form.backward(tape)
    agree(counts.start.sum(), 1.0, 1e-14)
    agree(counts.transition.sum(), 2.0, 1e-14)


@pytest.mark.parametrize("seed", range(3))
@verifies("eq-hmm-tail", oracle="complex step through a filter that starts at h_t")
@verifies("eq-hmm-posterior", oracle="sum over every path")
def test_the_message_is_the_total_gradient_of_the_state(seed):
    """The rest of the sequence is filtered from h_t as it stands, and log p of the rest differentiated by it."""
    model = random_model(seed, K=4)
    _, P, (C,) = model
    x = draw(model, 6, 1, seed)[:, 0]
    tape = hmm.forward(model, x[:, None])[1]
    s = hmm.messages(tape)[:, 0]

    def rest(h, t):
        total = 0.0
        for symbol in x[t + 1 :]:
            h = C[:, symbol] * (h @ P)
            kappa = h.sum()
            total, h = total + np.log(kappa), h / kappa
        return total + 0 * h.sum()

    found = [gradcheck.complex_step(lambda h, t=t: rest(h, t), tape.filtered[t, 0]) for t in range(5)]
    agree(s[:5], np.array(found), 1e-12)
    agree(tape.filtered[:, 0] * np.array([*found, np.ones(4)]), enumerate_all(model, x).posterior, 1e-12)


@verifies("eq-hmm-backward", oracle="sum over every path")
def test_the_recursion_as_it_is_printed():
    model = random_model(K=4)
    _, P, (C,) = model
    x = draw(model, 6, 1)[:, 0]
    past = [enumerate_all(model, x[:t]).p if t else 1.0 for t in range(7)]
    s = np.ones((6, 4))
    for t in range(5, 0, -1):
        s[t - 1] = P @ (C[:, x[t]] * s[t] / (past[t + 1] / past[t]))
    agree(oracles.filtered(model, x) * s, enumerate_all(model, x).posterior, 1e-12)


@verifies("eq-hmm-tail", oracle="sum over every path from t on")
def test_the_message_is_the_probability_of_the_rest_up_to_a_factor():
    model = random_model()
    x = draw(model, 5, 1)[:, 0]
    s, h = (hmm.messages(tape := hmm.forward(model, x[:, None])[1])[:, 0], tape.filtered[:, 0])
    for t in range(4):
        rest = np.array([enumerate_all(HMMParams(model.transition[k], *model[1:]), x[t + 1 :]).p for k in range(3)])
        agree(s[t], rest / (h[t] @ rest), 1e-13)


# The cell


def by_cell(model, x, lengths=None):
    """A categorical model through ``unroll``; the value and the gradients of its sum."""
    network = hmm_params.as_rnn(model)
    V = model.emission.probabilities.shape[1]
    inputs = np.eye(V)[np.where(x < V, x, 0)]
    if lengths is not None:
        inputs = np.where((np.arange(len(x))[:, None] < np.array(lengths))[:, :, None], inputs, np.nan)
    start = np.broadcast_to(network.initial_state, (x.shape[1], len(network.initial_state)))
    outputs, (_, evidence), tape = unroll.forward(
        hmm_cell.filtering(), network.cell, inputs, (start, np.zeros_like(start)), lengths
    )
    last = np.zeros_like(evidence)
    last[:, 0] = 1
    return outputs, evidence, unroll.backward(tape, np.zeros_like(outputs), (np.zeros_like(last), last)), network


@pytest.mark.parametrize("lengths", [None, [5, 2]])
@verifies("eq-hmm-as-rnn", oracle="sum over every path")
@verifies("eq-hmm-pull", oracle="sum over every path")
def test_unroll_runs_the_filter_and_its_backward_pass_counts(lengths):
    model = random_model(K=3)
    x = draw(model, 5, 2)
    truth = each(model, x, lengths)
    outputs, evidence, back, network = by_cell(model, x, lengths)
    agree(evidence[:, 0], np.log([one.p for one in truth]), 1e-13)
    agree(evidence, np.repeat(evidence[:, :1], 4, axis=1), 0)
    for b, one in enumerate(truth):
        n = len(one.posterior)
        agree(outputs[:n, b, :3], oracles.filtered(model, x[:n, b]), 1e-13)
        assert not outputs[:, b, 3].any()
        if n > 1:  # the state after the last step is read by nobody
            agree((outputs[:n, b] * back.hidden[:n, b])[:-1, :3], one.posterior[:-1], 1e-12)
        assert not back.hidden[n - 1, b].any()
    counts = network.cell.recurrent_weights * back.params.recurrent_weights  # P_ij dL/dP_ij, transposed
    agree(counts[:3, :3].T, sum(one.transition for one in truth), 1e-12)
    agree(counts[:3, 3], sum(one.start for one in truth), 1e-12)


@verifies("eq-hmm-pull", oracle="complex step")
def test_the_pull_of_the_cell_against_the_complex_step():
    rng = np.random.default_rng(0)
    cell, (ax, ah, s, e) = hmm_cell.filtering(), rng.random((4, 2, 3))
    zeros = np.zeros((2, 3))

    def value(ax, ah):
        (h, evidence), _ = cell.step((), ax, ah, (None, zeros))
        return (h * s + evidence * e).sum()

    d_ax, d_ah, direct, _ = cell.pull((), cell.step((), ax, ah, (None, zeros))[1], (s, e))
    agree(d_ax, gradcheck.complex_step(lambda a: value(a, ah), ax), 1e-13)
    agree(d_ah, gradcheck.complex_step(lambda a: value(ax, a), ah), 1e-13)
    agree(direct[1], e.copy(), 0)


@verifies("eq-hmm-next-symbol", oracle="quotient of sums over every path")
def test_the_readout_is_the_probability_of_the_next_symbol():
    model = random_model()
    x = draw(model, 4, 1)
    outputs, _, _, network = by_cell(model, x)
    W_y, b_y = network.readout
    for t in range(3):
        past = enumerate_all(model, x[: t + 1, 0]).p
        told = [enumerate_all(model, np.append(x[: t + 1, 0], v)).p / past for v in range(4)]
        agree(W_y @ outputs[t, 0] + b_y, np.array(told), 1e-13)
    agree(W_y @ network.initial_state, [enumerate_all(model, np.array([v])).p for v in range(4)], 1e-14)


@verifies("eq-hmm-gaussian-features", oracle="the density, from its definition")
def test_gaussian_likelihoods_are_affine_in_their_features():
    """So the same cell runs them, with a bias."""
    model = random_model(kind="gaussian", D=2)
    x = draw(model, 6, 2)
    features = np.concatenate([x, (x[..., :, None] * x[..., None, :]).reshape(6, 2, 4)], axis=2)
    W, b = hmm_params.gaussian_features(model.emission)
    truth = [[[oracles.likelihood(model.emission, k, point) for k in range(3)] for point in row] for row in x]
    agree(features @ W.T + b, np.log(truth), 1e-12)
    agree(emissions.log_likelihoods(model.emission, x), np.log(truth), 1e-12)
    start = np.linalg.solve(model.transition.T, model.start)  # h_0 with P^T h_0 = pi
    params = hmm_params.RNNParams(W, model.transition.T, b)
    outputs, _, _ = unroll.forward(hmm_cell.filtering(), params, features, (start, np.zeros(3)))
    agree(outputs, hmm.forward(model, x)[1].filtered, 1e-11)


# Impossible observations, and lengths at which plain products are lost


@FORMS
def test_an_observation_of_probability_zero_is_named(form):
    model = HMMParams(np.array([1.0, 0]), np.eye(2), Categorical(np.array([[0.5, 0.5, 0], [0, 0.5, 0.5]])))
    x = np.array([[0, 0], [1, 1], [0, 2], [0, 2]])
    with pytest.raises(ValueError, match="observations: step 2 of sequence 1 has probability zero"):
        form.forward(model, x)
    assert np.isfinite(form.forward(model, x, [4, 2])[0]).all()


def test_the_cell_names_it_too():
    model = HMMParams(np.array([1.0, 0]), np.eye(2), Categorical(np.array([[0.5, 0.5, 0], [0, 0.5, 0.5]])))
    with pytest.raises(ValueError, match="inputs: sequence 1 holds an observation of probability zero"):
        by_cell(model, np.array([[0, 0], [0, 2]]))


@FORMS
def test_zeros_in_the_model_are_no_harm(form):
    model = HMMParams(
        np.array([1.0, 0, 0]),
        np.array([[0.5, 0.5, 0], [0, 0.7, 0.3], [0, 0, 1.0]]),
        Categorical(np.array([[0.9, 0.1, 0], [0, 0.5, 0.5], [0.2, 0, 0.8]])),
    )
    x = np.array([[0], [1], [2], [2], [0]])
    (truth,) = each(model, x)
    value, tape = form.forward(model, x)
    counts = form.backward(tape)
    agree(value[0], np.log(truth.p), 1e-13)
    agree(counts.transition, truth.transition, 1e-13)
    agree(counts.posterior[:, 0], truth.posterior, 1e-13)


def test_a_step_that_the_scaled_form_would_lose_is_found_again():
    """The only state that can be is 5000 nats worse than one that cannot: its share underflows."""
    model = HMMParams(np.array([1.0, 0]), np.eye(2), Gaussian(np.array([[0.0], [100.0]]), np.ones((2, 1, 1))))
    x = np.array([[[0.1]], [[100.0]], [[0.3]]])
    ours, tape = hmm.forward(model, x)
    agree(ours, -0.5 * (np.array([0.1, 100, 0.3]) ** 2).sum(keepdims=True) - 1.5 * np.log(2 * np.pi), 1e-13)
    agree(hmm.backward(tape).transition, np.array([[2.0, 0], [0, 0]]), 1e-13)
    agree(hmm_log.forward(model, x)[0], ours, 1e-13)


@pytest.mark.parametrize("change", [0.0, 1e-250])
def test_a_share_that_comes_back_from_nothing_is_not_lost(change):
    """Coins that are (almost) never changed: a thousand heads, then two thousand tails. The first coin is fairly
    sure after the heads, beyond every floating-point number, and it is the second that was in hand all the time."""
    P = np.array([[1 - change, change], [change, 1 - change]])
    model = HMMParams(np.full(2, 0.5), P, Categorical(np.array([[0.9, 0.1], [0.1, 0.9]])))
    x = np.repeat([0, 1], [1000, 2000])[:, None]
    truth, log_tape = hmm_log.forward(model, x)
    value, tape = hmm.forward(model, x)
    agree(value, truth, 1e-12)
    agree(tuple(hmm.backward(tape)), tuple(hmm_log.backward(log_tape)), 1e-10)
    if not change:
        agree(value, np.log([0.5]) + 1000 * np.log(0.1) + 2000 * np.log(0.9), 1e-12)


def lost_in_one_step():
    """Models that cannot go back, and a share that goes to zero from far above the smallest numbers; it comes back."""
    clusters = HMMParams(np.full(2, 0.5), np.eye(2), Gaussian(np.array([[0.0], [1.0]]), np.ones((2, 1, 1))))
    e = 1e-70
    coins = HMMParams(np.full(2, 0.5), np.eye(2), Categorical(np.array([[0.7, e, 0.3], [e, 0.7, 0.3]])))
    return {
        "gaussian": (clusters, np.repeat([200.0, -3.0], [4, 300])[:, None, None]),
        "symbols": (coins, np.array([1] * 5 + ([2] * 15 + [0]) * 10)[:, None]),
    }


@pytest.mark.parametrize("kind", ["gaussian", "symbols"])
def test_a_share_that_is_lost_in_one_step_is_noticed(kind):
    model, x = lost_in_one_step()[kind]
    truth, log_tape = hmm_log.forward(model, x)
    value, tape = hmm.forward(model, x)
    agree(value, truth, 1e-12)
    agree(tape.filtered, np.exp(log_tape.log_filtered), 1e-12)
    agree(hmm.backward(tape).posterior, hmm_log.backward(log_tape).posterior, 1e-10)
    ragged, lengths = np.concatenate([x, x], axis=1), [len(x), 3]
    value, tape = hmm.forward(model, ragged, lengths)
    agree(value, hmm_log.forward(model, ragged, lengths)[0], 1e-12)
    assert tape.logs is not None and not tape.filtered[3:, 1].any()


def test_zeros_that_the_model_demands_are_no_reason_for_logarithms():
    model = HMMParams(
        np.array([1.0, 0, 0]),
        np.array([[0.5, 0.5, 0], [0, 0.7, 0.3], [0, 0, 1.0]]),
        Categorical(np.array([[0.9, 0.1, 0], [0, 0.5, 0.5], [0.2, 0, 0.8]])),
    )
    x = np.array([[0, 0], [1, 1], [2, 2], [2, 0], [0, 0]])
    assert hmm.forward(model, x, [5, 3])[1].logs is None
    rng = np.random.default_rng(0)
    usual = hmm_params.init_categorical(rng, 2, 27)
    assert hmm.forward(usual, rng.integers(0, 27, (1000, 2)))[1].logs is None
    sticky = HMMParams(np.full(2, 0.5), 0.998 * np.eye(2) + 0.001, Categorical(0.98 * np.eye(2) + 0.01))
    restless = np.arange(1000)[:, None] % 2  # every step loses two digits, eight of them are few enough
    assert hmm.forward(sticky, restless)[1].logs is None


def test_tables_of_integers():
    model = HMMParams(np.array([1, 0]), np.eye(2, dtype=int), Categorical(np.eye(2, dtype=int)))
    value, tape = hmm.forward(model, np.zeros((3, 1), int))
    agree(hmm.backward(tape).transition, np.array([[2.0, 0], [0, 0]]), 1e-15)
    assert value[0] == 0


def test_the_backward_pass_notices_its_own_underflow(monkeypatch):
    monkeypatch.setattr(hmm, "forgets", lambda *_: False)
    model = HMMParams(np.full(2, 0.5), np.eye(2), Categorical(np.array([[0.9, 0.1], [0.1, 0.9]])))
    x = np.repeat([0, 1], [1000, 2000])[:, None]
    tape = hmm.forward(model, x)[1]
    agree(hmm.backward(tape).posterior[:, 0], np.tile([0.0, 1.0], (3000, 1)), 1e-12)


@pytest.mark.parametrize("lengths", [None, [40, 25, 8, 1]])
def test_counting_in_stretches_changes_nothing(lengths, monkeypatch):
    model = random_model()
    x = draw(model, 40, 4)
    tape = hmm.forward(model, x, lengths)[1]
    whole = hmm.backward(tape)
    monkeypatch.setattr(hmm, "TOGETHER", 1)
    monkeypatch.setattr(hmm, "_again", None)  # and does not take the slow way
    agree(tuple(hmm.backward(tape)), tuple(whole), 1e-13)
    weights = model._replace(transition=3 * model.transition**2)  # rows that do not sum to 1
    tape = hmm.forward(weights, x, lengths, normalised=False)[1]
    truth = hmm_log.backward(hmm_log.forward(weights, x, lengths, normalised=False)[1])
    agree(tuple(hmm.backward(tape)), tuple(truth), 1e-12)


def even(T):
    """Two states that emit alike: log p is a sum over symbols, and the posterior is the chain's own law."""
    row = np.array([0.7, 0.2, 0.1])
    model = HMMParams(np.array([0.75, 0.25]), np.array([[0.9, 0.1], [0.3, 0.7]]), Categorical(np.tile(row, (2, 1))))
    x = np.random.default_rng(0).integers(0, 3, (T, 1))
    return model, x, np.log(row[x]).sum(keepdims=True)[0]


@pytest.mark.parametrize(("form", "back"), [(hmm, 1_000_000), (hmm_log, 100_000)], ids=["scaled", "log"])
def test_a_million_steps(form, back):
    model, x, truth = even(1_000_000)
    value, tape = form.forward(model, x)
    agree(value, truth, 1e-10)
    if back < len(x):
        tape = form.forward(model, x[:back])[1]
    counts = form.backward(tape)
    agree(counts.posterior, np.tile([0.75, 0.25], (back, 1, 1)), 1e-9)
    agree(counts.transition, (back - 1) * np.array([[0.675, 0.075], [0.075, 0.175]]), 1e-9)


@FORMS
@pytest.mark.parametrize("kind", KINDS)
def test_float32_keeps_its_place(form, kind):
    model = random_model(kind=kind)
    x = draw(model, 50, 3)
    x = x if kind == "categorical" else x.astype(np.float32)
    small = map_arrays(lambda table: table.astype(np.float32), model)
    new, _ = baum_welch.step(small, x)
    assert {array.dtype for _, array in named_arrays(new)} == {np.dtype("float32")}
    value, tape = form.forward(small, x)
    assert value.dtype == np.float32
    agree(value, form.forward(model, x)[0], 1e-5)
    agree(form.backward(tape).transition, form.backward(form.forward(model, x)[1]).transition, 1e-4)


@verifies("eq-hmm-logsumexp", oracle="torch's own")
def test_logsumexp():
    values = np.random.default_rng(0).standard_normal((3, 4)) * np.array([1, 10, 1000, 0])
    agree(hmm_log.logsumexp(values, 1), torch.logsumexp(torch.tensor(values), 1), 1e-15)
    agree(hmm_log.logsumexp(np.full((1, 2), NEVER), 1), np.array([NEVER]), 1e-15)


def test_the_predicted_message_has_not_seen_its_step():
    model = random_model()
    x = draw(model, 4, 1)
    ahead = hmm.predicted(hmm.forward(model, x)[1])
    x[-1] = (x[-1] + 1) % 4
    other = hmm.predicted(hmm.forward(model, x)[1])
    assert np.array_equal(other[-1], ahead[-1])
    agree(ahead[0, 0], model.start, 1e-15)
    agree(ahead[2, 0], oracles.filtered(model, x[:, 0])[1] @ model.transition, 1e-14)


GOOD = random_model()
BAD = {
    "start: expected shape": GOOD._replace(start=np.ones((1, 3))),
    "transition: expected shape": GOOD._replace(transition=np.ones((3, 2))),
    "start: expected rows that sum to 1": GOOD._replace(start=np.array([0.5, 0.5, 0.1])),
    "transition: expected numbers >= 0": GOOD._replace(transition=np.array([[2.0, -1, 0], [0, 1, 0], [0, 0, 1]])),
    "emission.probabilities: expected shape": GOOD._replace(emission=Categorical(np.ones((2, 3)))),
    "emission.means: expected shape": GOOD._replace(emission=Gaussian(np.ones(3), np.ones((3, 1, 1)))),
    "symmetric": GOOD._replace(emission=Gaussian(np.ones((3, 2)), np.tile([[1.0, 0.5], [0, 1]], (3, 1, 1)))),
    "params: expected HMMParams": (GOOD.start, GOOD.transition, GOOD.emission),
}


@FORMS
@pytest.mark.parametrize("says", BAD)
def test_bad_models_are_refused(form, says):
    with pytest.raises(ValueError, match=says):
        form.forward(BAD[says], draw(GOOD, 3, 1))


@FORMS
@pytest.mark.parametrize(
    ("x", "lengths", "says"),
    [
        (np.zeros(3, int), None, "observations: expected"),
        (np.zeros((0, 1), int), None, "observations: expected"),
        (np.zeros((3, 1)), None, "observations: expected integers"),
        (np.full((3, 1), 4), None, "observations: expected symbols in 0..3"),
        (np.zeros((3, 1), int), [4], "lengths: expected values in 0..3"),
        (np.zeros((3, 1), int), [1, 2], "lengths: expected shape"),
    ],
)
def test_bad_observations_are_refused(form, x, lengths, says):
    with pytest.raises(ValueError, match=says):
        form.forward(GOOD, x, lengths)


def test_covariances_are_held_to_symmetry_state_by_state():
    def model(lower, first=1.0):
        covariances = np.array([first * np.eye(2), [[1, 0], [lower, 1]], np.eye(2)])
        return GOOD._replace(emission=Gaussian(np.ones((3, 2)), covariances))

    assert hmm_params.check(model(1e-7)) == 3
    for asymmetric in (model(1e-5), model(1e-5, first=1000.0)):
        with pytest.raises(ValueError, match="symmetric"):
            hmm_params.check(asymmetric)


def test_a_covariance_that_is_none_is_refused():
    model = GOOD._replace(emission=Gaussian(np.ones((3, 2)), np.tile(-np.eye(2), (3, 1, 1))))
    with pytest.raises(ValueError, match=r"emission\.covariances: expected positive definite"):
        hmm.forward(model, np.zeros((3, 1, 2)))
