"""A speller reads its class and its letters, and says the next letter and when to end."""

import numpy as np
import pytest
import torch

from rnncourse.gpu import readers, speller, training

LETTERS = np.array([[1, 2], [3, 0], [1, 0]])
LABELS = np.array([1, 0])


def test_what_it_reads_and_says():
    tokens, answers = speller.spelled(LETTERS, LABELS, 4)
    assert tokens.T.tolist() == [[5, 1, 3, 1], [4, 2, 0, 0]]
    assert answers.T.tolist() == [[1, 3, 1, 0], [2, 0, -100, -100]]
    with pytest.raises(ValueError, match=r"^labels: "):
        speller.spelled(LETTERS, LABELS[:1], 4)


def test_the_state_is_carried():
    model = speller.Speller(4, 2, features=3, hidden=5)
    tokens, answers = (torch.from_numpy(part) for part in speller.spelled(LETTERS, LABELS, 4))
    with torch.no_grad():
        whole, _ = model(tokens)
        first, carry = model(tokens[:2])
        rest, _ = model(tokens[2:], carry)
        other = tokens.clone()
        other[0] = 9 - other[0]
        assert not torch.allclose(whole, model(other)[0]), "the class must matter"
    assert whole.shape == (4, 2, 4) and torch.allclose(whole, torch.cat([first, rest]), atol=1e-6)
    logs = whole.log_softmax(dim=2)
    expected = -np.mean([float(logs[t, b, answers[t, b]]) for t in range(4) for b in range(2) if answers[t, b] >= 0])
    assert float(speller.loss(model, tokens, answers)[0].detach()) == pytest.approx(expected, rel=1e-5)


def test_dropout_hides_in_training_and_not_in_writing():
    model = speller.Speller(4, 2, features=20, hidden=60, dropout=0.5)
    seen = []
    model.readout.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach().clone()))
    model.train()
    model(torch.from_numpy(speller.spelled(LETTERS, LABELS, 4)[0]))
    assert 0.3 < float((seen[0] == 0).float().mean()) < 0.7
    speller.write(model, [0, 1], np.full((3, 2), 0.5))
    assert len(seen) > 1 and all(float((states == 0).float().mean()) < 0.01 for states in seen[1:])


def test_starts_differ():
    one, same, other = (speller.Speller(4, 2, hidden=4, seed=seed) for seed in (1, 1, 2))
    assert torch.equal(one.letters.weight, same.letters.weight)
    assert not torch.equal(one.letters.weight, other.letters.weight)


def test_it_learns_to_spell_two_words():
    letters, labels = np.tile(LETTERS, 20), np.tile(LABELS, 20)
    model = speller.Speller(4, 2, features=6, hidden=16)
    batch = readers.shuffled(*speller.spelled(letters, labels, 4), 20)
    training.fit(model, batch, speller.loss, training.Settings(120, 2e-2))
    words = speller.write(model, [1, 0, 1], np.random.default_rng(0).random((6, 3)))
    assert words.T.tolist() == [[1, 3, 1, 0, 0, 0], [2, 0, 0, 0, 0, 0], [1, 3, 1, 0, 0, 0]]


def test_bad_input():
    with pytest.raises(ValueError, match=r"^hidden: "):
        speller.Speller(4, 2, hidden=0)
    with pytest.raises(ValueError, match=r"^uniforms: "):
        speller.write(speller.Speller(4, 2), [0, 1], np.zeros((3, 3)))
