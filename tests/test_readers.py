"""A reader that answers at the last step or at each: what is judged, what padding does, what it learns."""

import numpy as np
import pytest
import torch
from oracles import problem
from proof import agree, verifies

from rnncourse import bridge, masks
from rnncourse.gpu import readers, training
from rnncourse.reference import cells, losses, readout, unroll

TOKENS = np.array([[1, 2, 3], [2, 0, 1], [3, 0, 1], [0, 0, 2]])
LABELS = np.array([2, 0, 1])


@verifies("eq-many-to-one", oracle="autograd")
@pytest.mark.parametrize("lengths", [[6, 3, 1], [2, 6, 6]])
def test_one_loss_at_the_end(lengths):
    p = problem(T=6, B=3, O=4)
    p.model, p.cell = p.params, cells.rnn()
    labels = np.array([3, 0, 1])
    h, _, tape = unroll.forward(p.cell, p.model.cell, p.inputs, p.model.initial_state, lengths=lengths)
    y, read = readout.forward(p.model.readout, h)
    target = np.broadcast_to(labels, (6, 3))
    loss, judged = losses.cross_entropy(y, target, mask=masks.last_steps(np.array(lengths), 6))
    e = losses.backward(judged)
    d_readout, g = readout.backward(read, e)
    back = unroll.backward(tape, g)
    printed = np.zeros_like(y)  # the formula, as the page has it
    for b, length in enumerate(lengths):
        q = np.exp(y[length - 1, b])
        printed[length - 1, b] = q / q.sum() - np.eye(4)[labels[b]]
    scores = torch.from_numpy(y).requires_grad_()
    judged_last = torch.stack([scores[length - 1, b] for b, length in enumerate(lengths)])
    (by_scores,) = torch.autograd.grad(
        torch.nn.functional.cross_entropy(judged_last, torch.tensor(labels), reduction="sum"), scores
    )
    agree(printed, by_scores, 1e-12)
    agree(e, by_scores, 1e-12)
    tokens = np.array([[1 if t < length else 0 for length in lengths] for t in range(6)])
    answers = readers.at_end(tokens, labels)  # the network's own door asks at the same steps, and takes the mean
    scores = torch.from_numpy(y).requires_grad_()
    mean, _ = readers.loss(lambda _: scores, torch.from_numpy(tokens), torch.from_numpy(answers))
    agree(torch.autograd.grad(mean, scores)[0], printed / 3, 1e-12)
    leaves = bridge.to_torch(p.model)
    (W_x, W_h, b_h), (W_y, b_y), h_0 = leaves
    arrays = [part.requires_grad_() for part in (W_x, W_h, b_h, W_y, b_y, h_0)]
    total, x = 0.0, torch.from_numpy(p.inputs)
    for b, length in enumerate(lengths):  # each sequence alone, without padding
        state = h_0 if h_0.ndim == 1 else h_0[b]
        for t in range(length):
            state = torch.tanh(W_x @ x[t, b] + W_h @ state + b_h)
        total = total - torch.log_softmax(W_y @ state + b_y, dim=0)[labels[b]]
    agree(loss, total, 1e-12)
    expected = torch.autograd.grad(total, arrays)
    agree((*back.params, *d_readout), tuple(expected[:5]), 1e-12)


@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("kind", readers.KINDS)
def test_padding_touches_nothing(kind, both):
    model = readers.Reader(5, 3, kind, both, features=4, hidden=6)
    with torch.no_grad():
        together = model(torch.from_numpy(TOKENS))
        for b, length in enumerate((TOKENS != 0).sum(axis=0)):
            alone = model(torch.from_numpy(TOKENS[:length, b : b + 1]))
            assert torch.allclose(together[:length, b], alone[:, 0], atol=1e-6)


def test_only_a_reader_of_both_sides_knows_what_comes():
    later = TOKENS.copy()
    later[2, 0] = 1
    for both in (False, True):
        model = readers.Reader(5, 3, "gru", both, features=4, hidden=6)
        with torch.no_grad():
            a, b = (model(torch.from_numpy(tokens))[0, 0] for tokens in (TOKENS, later))
        assert torch.equal(a, b) != both


def test_answers_at_the_end():
    answers = readers.at_end(TOKENS, LABELS)
    assert answers[2, 0] == 2 and answers[0, 1] == 0 and answers[3, 2] == 1
    assert (answers != readers.NO_ANSWER).sum() == 3
    model = readers.Reader(5, 3, features=4, hidden=6)
    said, true = readers.said(model, TOKENS, answers)
    assert (true == LABELS).all() and said.shape == (3,), "sequence by sequence"
    with torch.no_grad():
        scores = model(torch.from_numpy(TOKENS))
    assert said.tolist() == [int(scores[t, b].argmax()) for t, b in ((2, 0), (0, 1), (3, 2))]
    value, carry = readers.loss(model, torch.from_numpy(TOKENS), torch.from_numpy(answers))
    with torch.no_grad():
        scores = model(torch.from_numpy(TOKENS)).log_softmax(dim=2)
    expected = -(scores[2, 0, 2] + scores[0, 1, 0] + scores[3, 2, 1]) / 3
    assert carry is None and float(value.detach()) == pytest.approx(float(expected), rel=1e-5)
    with pytest.raises(ValueError, match=r"^tokens: sequence 1 is empty"):
        readers.at_end(TOKENS * [1, 0, 1], LABELS)
    with pytest.raises(ValueError, match=r"^labels: "):
        readers.at_end(TOKENS, LABELS[:2])


@pytest.mark.parametrize("place", ["embedding", "readout"])
def test_dropout_hides_in_training_and_not_in_answers(place):
    model = readers.Reader(5, 3, features=40, hidden=60, dropout=0.5)
    tokens, answers = torch.from_numpy(TOKENS), readers.at_end(TOKENS, LABELS)
    seen = []  # what the layer behind each dropout is given
    behind = {"embedding": model.recurrence, "readout": model.readout}[place]
    behind.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0][:2].detach().clone()))
    model.train()
    model(tokens)
    assert 0.3 < float((seen[0] == 0).float().mean()) < 0.7
    readers.said(model, tokens, answers)
    readers.said(model, tokens, answers)
    assert float((seen[1][:, 0] == 0).float().mean()) < 0.01 and torch.equal(seen[1], seen[2])


def test_starts_and_orders_differ():
    one, same, other = (readers.Reader(5, 3, features=4, hidden=4, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.embedding.weight, same.embedding.weight)
    assert not torch.equal(one.embedding.weight, other.embedding.weight)
    tokens = np.arange(1, 41)[None]
    orders = [readers.shuffled(tokens, tokens, 20, seed)(0).inputs[0].tolist() for seed in (1, 1, 2)]
    assert orders[0] == orders[1] != orders[2]


def test_batches_walk_through_everything():
    tokens = np.arange(1, 8)[None].repeat(3, axis=0)
    tokens[2] = 0
    batch = readers.shuffled(tokens, tokens, 3, seed=1)
    seen = torch.cat([batch(step).inputs[0] for step in (0, 1)])
    assert len(set(seen.tolist())) == 6 and batch(0).inputs.shape == (2, 3)
    assert torch.equal(batch(5).inputs, batch(5).inputs) and torch.equal(batch(3).inputs, batch(3).targets)
    assert batch(0).inputs[0].tolist() != batch(2).inputs[0].tolist()
    with pytest.raises(ValueError, match=r"^tokens: expected at least 9"):
        readers.shuffled(tokens, tokens, 9)


def test_it_learns():
    rng = np.random.default_rng(0)
    tokens = rng.integers(1, 4, (5, 200))
    answers = readers.at_end(tokens, (tokens[0] > 1).astype(int))  # the first token, asked at the last
    model = readers.Reader(4, 2, features=4, hidden=12)
    training.fit(model, readers.shuffled(tokens, answers, 32), readers.loss, training.Settings(80, 2e-2))
    said, true = readers.said(model, tokens, answers)
    assert (said == true).mean() > 0.95
    with pytest.raises(ValueError, match=r"^kind: "):
        readers.Reader(4, 2, "tree")
    with pytest.raises(ValueError, match=r"^hidden: "):
        readers.Reader(4, 2, hidden=0)
