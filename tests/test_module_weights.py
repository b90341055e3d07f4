"""Trained modules come back as they were kept, rounded to 16 bits, or not at all."""

import pytest
import torch

from rnncourse.gpu import module_weights
from rnncourse.gpu.deep_markov import DeepMarkov
from rnncourse.gpu.rolls import RollModel


def test_what_was_kept_comes_back(tmp_path):
    model, other = RollModel(5, "lstm", 7, seed=1), RollModel(5, "lstm", 7, seed=2)
    digest = module_weights.keep(model, "some", tmp_path)
    assert digest == module_weights.keep(model, "again", tmp_path), "the same bytes"
    assert module_weights.restore(other, "some", digest, tmp_path) is other
    for (name, a), (_, b) in zip(model.named_parameters(), other.named_parameters(), strict=True):
        assert torch.equal(a.half().float(), b), name
        assert b.requires_grad and (a - b).abs().max() < 1e-3


def test_buffers_are_no_part_of_it(tmp_path):
    model = DeepMarkov(5, 2, 7)
    model.updates += 9
    other = DeepMarkov(5, 2, 7, seed=1)
    module_weights.restore(other, "some", module_weights.keep(model, "some", tmp_path), tmp_path)
    assert int(other.updates) == 0 and torch.equal(other.start, model.start.half().float())


def test_another_file_or_another_form_is_refused(tmp_path):
    model = RollModel(5, "rnn", 7)
    digest = module_weights.keep(model, "some", tmp_path)
    with pytest.raises(ValueError, match="not the file that the record tells of"):
        module_weights.restore(model, "some", "0" * 64, tmp_path)
    with pytest.raises(ValueError, match="another form"):
        module_weights.restore(RollModel(5, "rnn", 8), "some", digest, tmp_path)
    with pytest.raises(FileNotFoundError, match="part of the course's repository"):
        module_weights.restore(model, "none", digest, tmp_path)
    with torch.no_grad():
        model.readout.bias[0] = 1e6
    with pytest.raises(ValueError, match=r"readout\.bias has entries"):
        module_weights.keep(model, "huge", tmp_path)
