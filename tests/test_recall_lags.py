"""The measures of the experiment on delayed recall, on networks built by hand."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
import torch

from rnncourse.params import orthogonal

PATH = Path(__file__).resolve().parent.parent / "experiments" / "recall_lags.py"


@pytest.fixture(scope="module")
def lags():
    spec = importlib.util.spec_from_file_location("recall_lags", PATH)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def latches(lags, code, question=0.0):
    """Latches that the symbol sets, one row of ``code`` a symbol; noise they do not hear, the question they may."""
    code = torch.tensor(np.array(code, dtype=np.float32))
    model = lags.Model(code.shape[1], 0)
    with torch.no_grad():
        for part in model.parameters():
            part.zero_()
        model.rnn.weight_hh_l0.copy_(3 * torch.eye(code.shape[1]))
        model.rnn.weight_ih_l0[:, : len(code)] = 5 * code.T
        model.rnn.weight_ih_l0[:, -1] = question
    return model


def bits(numbers, width):
    return [[1 if number >> k & 1 else -1 for k in range(width)] for number in numbers]


@pytest.mark.parametrize("lag", [2, 9])
def test_groups_are_those_that_the_latches_hold(lags, lag):
    for code, expected in [
        (bits(range(8), 3), 8),
        (bits([k % 2 for k in range(8)], 1), 2),
        (bits([0, 1, 1, 2, 2, 2, 3, 3], 2), 4),
        (bits([0] * 8, 1), 1),
    ]:
        assert lags.groups(latches(lags, code), lag, 0) == expected


def test_groups_look_before_the_question(lags):
    """The question wipes the slate of this network; the step before it, all is still there."""
    assert lags.groups(latches(lags, bits(range(8), 3), question=100.0), 5, 0) == 8


def test_symbols_that_meet_by_way_of_a_third_are_one_group(lags):
    """States that are made to say so: 1 and 2 meet, then 2 and 0 in another pattern; the rest keep apart."""
    code = np.array(bits(range(16), 4), dtype=np.float32)
    may = {0: [1], 1: [0], 2: [0, 1]} | {k: [k] for k in range(3, 8)}

    class Told:
        def rnn(self, inputs):
            symbols, seen = inputs[0].argmax(dim=1).numpy(), np.arange(inputs.shape[1])
            states = np.stack([code[may[s][n % len(may[s])]] for s, n in zip(symbols, seen, strict=True)])
            return torch.tensor(np.stack([states] * len(inputs))), None

    assert lags.groups(Told(), 4, 0) == 6


def test_what_arrives_has_come_from_the_question_to_the_first_state(lags):
    """A linear regime: half of the gradient a step, over exactly ``lag`` steps."""
    for lag in (1, 5, 20):
        model = lags.Model(6, 0)
        with torch.no_grad():
            for part in model.parameters():
                part.mul_(1e-9)
            half = 0.5 * orthogonal(np.random.default_rng(0), 6)
            model.rnn.weight_hh_l0.copy_(torch.tensor(half, dtype=torch.float32))
        seen = lags.portrait(model, lag, 0)
        assert seen["log10_arriving"] == pytest.approx(lag * np.log10(0.5), abs=1e-5)
        assert seen["exponent"] == pytest.approx(np.log(0.5), abs=1e-5)
        assert seen["radius"] == pytest.approx(0.5, abs=1e-6)


def test_what_is_judged_was_never_trained_on(lags, monkeypatch):
    """No update of any seed draws its sequences from the stream that a measure uses."""
    streams, draw = [], np.random.default_rng

    def spy(seed):
        if isinstance(seed, list):
            streams.append(tuple(seed))
        return draw(seed)

    monkeypatch.setattr(np.random, "default_rng", spy)
    model = latches(lags, bits(range(8), 3))
    for seed in range(5):
        for measure in (lags.accuracy, lags.groups, lags.portrait):
            measure(model, 2, seed)
    measured = set(streams)
    assert len(measured) == 15
    streams.clear()
    lags.batches(2, 3)(17)
    assert streams == [(3, 17)]
    assert min(first for first, _ in measured) > 1000  # far from any seed
