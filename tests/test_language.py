"""The language model that is trained by the loop: its start, its losses, and how a text is read."""

import math

import numpy as np
import pytest
import torch
from torch import nn

from rnncourse import bridge
from rnncourse.gpu import language
from rnncourse.reference import cells, losses, readout, unroll

TEXT = np.random.default_rng(0).integers(0, 5, 203)


def model(kind="rnn", **sizes):
    return language.LanguageModel(5, kind, **({"features": 3, "hidden": 4} | sizes)).double()


def test_its_loss_is_that_of_the_reference_floor():
    net, tokens = model(), TEXT[:21]
    x = net.embedding.weight.detach().numpy()[tokens[:-1, None]]
    hidden, _, _ = unroll.forward(cells.rnn(), bridge.rnn_from_torch(net.recurrence), x)
    read = bridge.to_numpy((net.readout.weight, net.readout.bias))
    outputs, _ = readout.forward(type("P", (tuple,), {})(read), hidden)
    expected, _ = losses.cross_entropy(outputs, tokens[1:, None], reduction="mean")
    found, _ = language.loss(net, torch.tensor(tokens[:-1, None]), torch.tensor(tokens[1:, None]))
    assert float(found.detach()) == pytest.approx(expected, rel=1e-12)
    assert language.nats(net, tokens, streams=1) == pytest.approx(expected, rel=1e-12)
    assert language.bits(net, tokens, streams=1) == pytest.approx(expected / math.log(2), rel=1e-12)


@pytest.mark.parametrize("kind", ["rnn", "lstm", "gru"])
def test_reading_in_pieces_changes_nothing(kind):
    net = model(kind)
    whole = language.surprises(net, TEXT, streams=2, length=1000)
    assert whole.shape == (101, 2)
    np.testing.assert_allclose(language.surprises(net, TEXT, streams=2, length=7), whole, rtol=1e-13)
    assert language.nats(net, TEXT, streams=1) != pytest.approx(whole.mean(), rel=1e-6), "streams begin anew"


@pytest.mark.parametrize(("kind", "gates"), [("rnn", 1), ("lstm", 4), ("gru", 3)])
def test_recurrences_start_orthogonal_and_forget_gates_half_open(kind, gates):
    net = model(kind)
    for block in net.recurrence.weight_hh_l0.detach().split(4):
        torch.testing.assert_close(block @ block.T, torch.eye(4, dtype=torch.float64), atol=1e-6, rtol=0)
    bias = net.recurrence.bias_ih_l0.detach() + net.recurrence.bias_hh_l0.detach()
    expected = torch.zeros(4 * gates, dtype=torch.float64)
    expected[4:8] = 1.0 if kind == "lstm" else 0.0
    assert torch.equal(bias, expected)


def test_the_start_depends_on_the_seed_alone():
    torch.manual_seed(3)
    one, before = model(seed=1), torch.random.get_rng_state()
    torch.manual_seed(4)
    assert torch.equal(one.readout.weight, model(seed=1).readout.weight)
    assert not torch.equal(one.readout.weight, model(seed=2).readout.weight)
    torch.manual_seed(3)
    assert torch.equal(torch.random.get_rng_state(), before), "the caller's random numbers were touched"


def test_dropout_is_for_training_only():
    net, tokens = model(dropout=0.5), torch.tensor(TEXT[:20, None])
    net.train()
    assert not torch.equal(net(tokens)[0], net(tokens)[0])
    first = language.nats(net, TEXT)
    assert not net.training and language.nats(net, TEXT) == first


def test_stretches_follow_one_another_and_begin_again():
    batch = language.stretches(np.arange(21), streams=2, length=3)  # two streams of ten: three stretches each
    columns = [batch(step).inputs[:, 1].tolist() for step in range(4)]
    assert columns == [[10, 11, 12], [13, 14, 15], [16, 17, 18], [10, 11, 12]]
    assert [batch(step).fresh for step in range(4)] == [True, False, False, True]
    assert torch.equal(batch(1).targets, batch(1).inputs + 1)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((5, "transformer"), "kind: expected one of 'rnn', 'lstm', 'gru', got 'transformer'"),
        ((0,), "vocabulary: expected a whole number >= 1, got 0"),
        ((5, "rnn", 3, 0), "hidden: expected a whole number >= 1, got 0"),
    ],
)
def test_bad_models(arguments, message):
    with pytest.raises(ValueError, match=message):
        language.LanguageModel(*arguments)


def test_a_text_that_is_too_short():
    with pytest.raises(ValueError, match="tokens"):
        language.stretches(TEXT[:5], streams=4, length=9)


def test_dropout_hides_embeddings_and_states():
    model = language.LanguageModel(7, features=3, hidden=4, dropout=1.0)
    for part in model.parameters():
        nn.init.normal_(part)
    one, other = torch.randint(7, (2, 5, 2), generator=torch.Generator().manual_seed(0))
    model.train()
    (logits, h), (_, same) = model(one), model(other)
    assert torch.equal(h, same), "an embedding got through"
    assert torch.equal(logits, model.readout.bias.expand_as(logits)), "a state got through"
    model.eval()
    assert not torch.equal(model(one)[1], model(other)[1])
