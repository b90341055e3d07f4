"""Encoder and decoder on both floors against a loop over single pairs, autograd and the complex step."""

import numpy as np
import pytest
import seq2seq_oracles as oracles
import torch
from oracles import gradients, leaves
from proof import agree, verifies

from rnncourse import bridge, gpu, gradcheck, reference
from rnncourse.data import pairs
from rnncourse.gate_params import init_gru, init_reset_after_gru
from rnncourse.params import init_rnn, map_arrays, named_arrays
from rnncourse.seq2seq_params import NoAttention, init_seq2seq

FLOORS = pytest.mark.parametrize("floor", [reference, gpu], ids=["reference", "gpu"])
KINDS = pytest.mark.parametrize("kind", ["none", "dot", "additive"])
WAYS = pytest.mark.parametrize("both_ways", [False, True], ids=["one way", "both ways"])
SOURCES = [(3, 1, 4, 0), (2, 0), (0,), (4, 4, 1, 2, 3, 0)]
TARGETS = [(1, 2, 0), (0,), (3, 3, 1, 2, 0), (2, 1, 0)]


def draw(kind="additive", both_ways=False, seed=0):
    params = init_seq2seq(np.random.default_rng(seed), 5, 4, 3, 4, kind, both_ways)
    rng = np.random.default_rng(seed + 100)
    return map_arrays(lambda array: array + 0.3 * rng.standard_normal(array.shape), params)


def batch(rows=slice(None)):
    return [pairs.pad([one[:-1] for one in side[rows]]) for side in (SOURCES, TARGETS)]


def on(floor, tree):
    return tree if floor is reference else bridge.to_torch(tree)


def oracle(params):
    """The loss and its gradient, pair by pair."""
    params = leaves(params)
    loss = 0.0
    for x, y in zip(SOURCES, TARGETS, strict=True):
        loss = loss - sum(oracles.log_probabilities(params, list(x), y)[0])
    return float(loss.detach()), gradients(loss, params)


@verifies("eq-handover", oracle="autograd through a loop over single pairs")
@FLOORS
@KINDS
@WAYS
def test_loss_and_gradient_against_single_pairs(floor, kind, both_ways):
    params, (x, y) = draw(kind, both_ways), batch()
    ours = floor.seq2seq.full(floor.lstm.plain(), on(floor, params), x, y)
    loss, right = oracle(params)
    agree(ours.loss, loss, 1e-13)
    agree(ours.gradients, right, 1e-12)


@KINDS
@WAYS
def test_the_complex_step(kind, both_ways):
    params, (x, y) = draw(kind, both_ways), batch()
    cell = reference.lstm.plain()
    right = gradcheck.complex_step(lambda p: reference.seq2seq.full(cell, p, x, y).loss, params)
    agree(reference.seq2seq.full(cell, params, x, y).gradients, right, 1e-12)


@pytest.mark.parametrize(
    ("init", "make"),
    [
        (init_rnn, lambda floor: floor.cells.rnn()),
        (init_reset_after_gru, lambda floor: floor.gru.reset_after()),
    ],
    ids=["rnn", "gru"],
)
@WAYS
def test_other_cells(init, make, both_ways):
    params = init_seq2seq(np.random.default_rng(3), 5, 4, 3, 4, "dot", both_ways, init)
    x, y = batch()
    ours, theirs = (floor.seq2seq.full(make(floor), on(floor, params), x, y) for floor in (reference, gpu))
    agree(tuple(ours), bridge.to_numpy(tuple(theirs)), 1e-12)


@FLOORS
@KINDS
def test_a_batch_is_its_columns(floor, kind):
    params, cell = on(floor, draw(kind, True)), floor.lstm.plain()
    together = floor.seq2seq.full(cell, params, *batch())
    alone = [floor.seq2seq.full(cell, params, *batch(slice(b, b + 1))) for b in range(4)]
    agree(together.loss, sum(float(one.loss) for one in alone), 1e-13)
    summed = map_arrays(lambda *parts: sum(parts), *(one.gradients for one in alone))
    agree(together.gradients, summed, 1e-12)


@FLOORS
def test_what_stands_behind_the_end_changes_nothing(floor):
    params, cell, (x, y) = on(floor, draw("additive", True)), floor.lstm.plain(), batch()
    ours = floor.seq2seq.full(cell, params, x, y)
    for noise in (3, 99, -100):
        noisy = [np.where(np.arange(len(z))[:, None] < pairs.lengths(z), z, noise) for z in (x, y)]
        agree(tuple(floor.seq2seq.full(cell, params, *noisy)), tuple(ours), 0 if floor is reference else 1e-15)


@FLOORS
def test_mean_counts_the_ends(floor):
    params, cell, (x, y) = on(floor, draw()), floor.lstm.plain(), batch()
    total, mean = (float(floor.seq2seq.full(cell, params, x, y, r).loss) for r in ("sum", "mean"))
    agree(mean, total / sum(map(len, TARGETS)), 1e-14)


@FLOORS
@KINDS
@WAYS
def test_free_running_on_the_true_symbols_is_the_taught_run(floor, kind, both_ways):
    params, cell, (x, y) = on(floor, draw(kind, both_ways)), floor.lstm.plain(), batch()
    logits, _ = floor.seq2seq.forward(cell, params, x, y)
    step, state = floor.seq2seq.stepper(cell, params, floor.seq2seq.encode(cell, params, x))
    real = np.arange(len(y))[:, None] < pairs.lengths(y)
    for n, heard in enumerate(pairs.shifted(y)):
        log_p, state = step(on(floor, heard), state)
        right = floor.seq2seq.log_softmax(logits[n])
        agree(log_p[real[n]], right[real[n]], 1e-13)


@FLOORS
def test_log_softmax(floor):
    logits = np.array([[1e3, 0.0, -1e3], [0.5, 0.25, -2.0]])
    ours = floor.seq2seq.log_softmax(on(floor, logits))
    agree(ours, torch.log_softmax(torch.tensor(logits), dim=1), 1e-15)


@FLOORS
def test_float32_stays(floor):
    params = map_arrays(lambda array: array.astype(np.float32), draw("additive", True))
    ours = floor.seq2seq.full(floor.lstm.plain(), on(floor, params), *batch())
    assert "float32" in str(ours.loss.dtype) and "float32" in str(ours.gradients.decoder.bias.dtype)


@FLOORS
def test_bad_input_is_named(floor):
    params, cell, (x, y) = on(floor, draw()), floor.lstm.plain(), batch()
    forward = floor.seq2seq.forward
    with pytest.raises(ValueError, match="expected an end"):
        forward(cell, params, x, np.ones_like(y))
    with pytest.raises(ValueError, match=r"targets: expected shape \(N, 4\)"):
        forward(cell, params, x, y[:, :2])
    with pytest.raises(ValueError, match=r"expected classes in 0..4, got 0..9"):
        forward(cell, params, np.where(x == 4, 9, x), y)
    with pytest.raises(ValueError, match=r"readout.weights: expected shape \(4, 4\)"):
        forward(cell, params._replace(attention=NoAttention()), x, y)
    with pytest.raises(ValueError, match=r"readout.bias: expected shape \(4,\)"):
        short = params.readout._replace(bias=params.readout.bias[:3])
        forward(cell, params._replace(readout=short), x, y)
    with pytest.raises(ValueError, match=r"encoder.input_weights: expected shape"):
        narrow = params.encoder._replace(input_weights=params.encoder.input_weights[:, :2])
        forward(cell, params._replace(encoder=narrow), x, y)
    with pytest.raises(ValueError, match=r"encoder: expected 4 units in all"):
        forward(cell, params._replace(encoder=on(floor, init_gru(np.random.default_rng(0), 3, 5))), x, y)


def test_starts():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="hidden: expected an even number"):
        init_seq2seq(rng, 5, 4, 3, 5, both_ways=True)
    with pytest.raises(ValueError, match="sources: expected a whole number >= 2"):
        init_seq2seq(rng, 1, 4, 3, 4)


def test_pairs():
    x = pairs.pad([(3, 1), (), (2,)])
    assert x.tolist() == [[3, 0, 2], [1, 0, 0], [0, 0, 0]]
    assert pairs.lengths(x).tolist() == [3, 1, 2]
    assert pairs.shifted(x).tolist() == [[0, 0, 0], [3, 0, 2], [1, 0, 0]]
    assert pairs.unpad(x) == [(3, 1), (), (2,)]
    assert pairs.unpad(np.array([[1], [2]])) == [(1, 2)]
    for bad, said in (([], "at least one"), ([(1, 0)], "classes from 1 on")):
        with pytest.raises(ValueError, match=said):
            pairs.pad(bad)


def test_reversals():
    x, y = pairs.reversals(np.random.default_rng(0), 50, (2, 5), symbols=3)
    assert [one[::-1] for one in pairs.unpad(x)] == pairs.unpad(y)
    assert {len(one) for one in pairs.unpad(x)} == {2, 3, 4, 5} and set(x.ravel()) == {0, 1, 2, 3}
    with pytest.raises(ValueError, match="length: expected a whole number >= 3, got 2"):
        pairs.reversals(np.random.default_rng(0), 5, (3, 2))


@pytest.mark.parametrize("first", ["a start symbol", "the state handed over"])
def test_both_ways_to_the_first_output_have_the_same_shapes_and_learn(first):
    """Either the decoder hears y_0 and takes a step, as here, or y_1 is read off the state that was handed over."""
    rng = np.random.default_rng(0)
    params = map_arrays(
        lambda array: array.requires_grad_(), bridge.to_torch(init_seq2seq(rng, 5, 5, 8, 16, init=init_rnn))
    )
    cell, leaves_of = gpu.cells.rnn(), [array for _, array in named_arrays(params)]
    optimiser, losses, shapes = torch.optim.Adam(leaves_of, 0.02), [], set()
    for _ in range(150):
        x, y = pairs.reversals(rng, 16, 3, symbols=4)
        if first == "a start symbol":
            logits, _ = gpu.seq2seq.forward(cell, params, x, y)
        else:
            handed = gpu.seq2seq.encode(cell, params, x).start
            heard = params.target_table[torch.from_numpy(y[:-1])]
            later = gpu.unroll.forward(cell, params.decoder, heard, handed)[0]
            d = torch.cat([handed[0][None], later])
            logits = d @ params.readout.weights.T + params.readout.bias
        shapes.add(tuple(logits.shape))
        losses.append(torch.nn.functional.cross_entropy(logits.reshape(-1, 5), torch.from_numpy(y).reshape(-1)))
        optimiser.zero_grad()
        losses[-1].backward()
        optimiser.step()
        losses[-1] = losses[-1].item()
    assert shapes == {(4, 16, 5)}
    assert sum(losses[-10:]) < 0.5 * sum(losses[:10])


def test_an_encoder_of_both_ways_hands_over_a_state_near_the_first_symbol():
    """Symbol 1 begins every source and symbol 3 ends it: how much of the gradient reaches the one, beside the other?"""

    def first_beside_last(both_ways):
        params = init_seq2seq(np.random.default_rng(0), 5, 4, 6, 12, both_ways=both_ways, init=init_rnn)
        params = map_arrays(lambda array: 0.5 * array, params)
        x, y = pairs.pad([[1, *[2] * 40, 3]]), pairs.pad([[1, 2]])
        table = reference.seq2seq.full(reference.cells.rnn(), params, x, y).gradients.source_table
        return np.linalg.norm(table[1]) / np.linalg.norm(table[3])

    assert first_beside_last(False) < 1e-8 and first_beside_last(True) > 0.05


def states_one_by_one(params, x, y):
    """States of both nets, contexts, scores, logits and -log p(y | x) of one pair, with tanh nets and a dot product."""
    E, encoder, F, decoder, kind, (W_y, b_y) = params

    def step(cell, vector, h):
        W_x, W_h, b = cell
        return torch.tanh(W_x @ vector + W_h @ h + b)

    h, d, loss, last = [torch.zeros(4, dtype=E.dtype)], [], 0.0, 0
    for symbol in x:
        h.append(step(encoder, E[symbol], h[-1]))
    contexts, scores, logits = [], [], []
    for symbol in y:
        d.append(step(decoder, F[last], d[-1] if d else h[-1]))
        scores.append(torch.stack([(kind.query_weights @ d[-1]) @ one / 2 for one in h[1:]]))
        for kept in (d[-1], scores[-1]):
            kept.retain_grad()
        alpha = torch.exp(scores[-1]) / torch.exp(scores[-1]).sum()
        contexts.append(sum(a * one for a, one in zip(alpha, h[1:], strict=True)))
        logits.append(W_y @ torch.cat([d[-1], contexts[-1]]) + b_y)
        for kept in (contexts[-1], logits[-1]):
            kept.retain_grad()
        loss = loss - torch.log_softmax(logits[-1], dim=0)[symbol]
        last = symbol
    for one in h[1:]:
        one.retain_grad()
    return h[1:], d, contexts, scores, logits, loss


@verifies("eq-handover-attention", oracle="autograd's total gradients at every state")
@verifies("eq-handover", oracle="autograd's total gradients at every state")
@pytest.mark.parametrize("looks", [True, False], ids=["open", "closed"])
def test_the_recursions_as_they_are_printed(looks):
    """s^d and s^h from the two printed lines, for one pair and a tanh net: J is diag(1 - h h) W_h."""
    params = init_seq2seq(np.random.default_rng(8), 5, 4, 3, 4, "dot", init=init_rnn)
    if not looks:  # a readout that does not see the contexts
        seen = params.readout.weights * (np.arange(8) < 4)
        params = params._replace(readout=params.readout._replace(weights=seen))
    x, y = [3, 1, 4, 0], [1, 2, 3, 3, 0]
    h, d, contexts, scores, logits, loss = states_one_by_one(leaves(params), x, y)
    loss.backward()
    as_numbers = lambda parts: [part.grad.numpy() for part in parts]  # noqa: E731
    right_h, right_d, e, right_c, right_e = map(as_numbers, (h, d, logits, contexts, scores))
    h, d = ([part.detach().numpy() for part in parts] for parts in (h, d))
    J_h, J_d = (
        [np.diag(1 - one * one) @ cell.recurrent_weights for one in states]
        for states, cell in ((h, params.encoder), (d, params.decoder))
    )
    W_d, W_c = np.split(params.readout.weights, 2, axis=1)
    W_q = params.attention.query_weights
    g_c = [W_c.T @ one for one in e]
    agree(np.array(g_c), np.array(right_c), 1e-12)
    u = np.array([[(W_q @ q) @ key / 2 for key in h] for q in d])
    alpha = np.exp(u) / np.exp(u).sum(axis=1, keepdims=True)
    mean = alpha @ np.array(h)
    eps = np.array([[alpha[n, t] * g_c[n] @ (h[t] - mean[n]) for t in range(4)] for n in range(5)])
    agree(eps, np.array(right_e) if looks else 0 * eps, 1e-11)
    g_n = [W_d.T @ e[n] + sum(eps[n, t] * h[t] @ W_q / 2 for t in range(4)) for n in range(5)]
    g_t = [sum(alpha[n, t] * g_c[n] + eps[n, t] * W_q @ d[n] / 2 for n in range(5)) for t in range(4)]
    s_d = [g_n[4]]
    for n in range(3, -1, -1):
        s_d.insert(0, J_d[n + 1].T @ s_d[0] + g_n[n])
    s_h = [J_d[0].T @ s_d[0] + g_t[3]]
    for t in range(2, -1, -1):
        s_h.insert(0, J_h[t + 1].T @ s_h[0] + g_t[t])
    agree(np.array(s_d), np.array(right_d), 1e-11)
    agree(np.array(s_h), np.array(right_h), 1e-11)
