"""The module that is trained computes what the library's functions compute, and dates are what they say."""

import datetime
import itertools
import re

import numpy as np
import pytest
import torch
from proof import agree

from rnncourse import bridge, gpu, reference
from rnncourse.data import dates, pairs
from rnncourse.gpu import training, translator

KINDS = pytest.mark.parametrize("kind", ["none", "dot", "additive"])


def batch(seed=0, length=(1, 6)):
    return pairs.reversals(np.random.default_rng(seed), 5, length, symbols=4)


@KINDS
@pytest.mark.parametrize("both_ways", [False, True])
@pytest.mark.parametrize("length", [(1, 6), 4], ids=["ragged", "alike"])
def test_the_module_is_the_function(kind, both_ways, length):
    model = translator.Translator(5, 5, 3, 6, kind, both_ways, seed=2).double()
    x, y = batch(length=length)
    theirs = model(torch.from_numpy(x), torch.from_numpy(y))
    real = np.arange(len(y))[:, None] < pairs.lengths(y)
    ours, _ = reference.seq2seq.forward(reference.lstm.plain(), translator.exported(model), x, y)
    agree(ours[real], theirs.detach().numpy()[real], 1e-12)
    loss, _ = translator.loss(model, torch.from_numpy(x), torch.from_numpy(y))
    right = reference.seq2seq.full(reference.lstm.plain(), translator.exported(model), x, y, "mean").loss
    agree(loss, right, 1e-12)


@KINDS
def test_a_seed_is_a_start(kind):
    one, same, other = (translator.exported(translator.Translator(5, 5, 3, 6, kind, True, seed=k)) for k in (1, 1, 2))
    agree(one, same, 0)
    assert abs(one.readout.weights - other.readout.weights).max() > 0.1
    H = one.encoder.forwards.recurrent_weights.shape[1]
    assert one.encoder.backwards.bias[H : 2 * H].tolist() == [1.0] * H
    for block in np.split(one.decoder.recurrent_weights, 4):
        agree(block @ block.T, np.eye(6), 1e-6)


def test_a_start_leaves_torchs_own_chance_alone():
    torch.manual_seed(5)
    right = torch.rand(3)
    torch.manual_seed(5)
    translator.Translator(5, 5, 3, 6, seed=1)
    assert torch.equal(torch.rand(3), right)


def test_lengths_are_drawn_as_often_as_they_occur():
    x = pairs.pad([(1, 2, 3, 4)] * 2 + [(1,)] * 38)
    draw = translator.sampled(x, x, 2)
    long = sum(len(draw(step).inputs) == 5 for step in range(200))
    assert 2 < long < 25  # one in twenty; each length alike would be a hundred


def test_batches_are_of_one_length_and_a_function_of_the_update():
    x, y = pairs.reversals(np.random.default_rng(0), 300, (1, 6))
    draw = translator.sampled(x, y, 16, seed=3)
    seen = set()
    for step in range(40):
        inputs, targets, fresh = draw(step)
        assert inputs.shape[1] == targets.shape[1] == 16 and fresh
        assert set(pairs.lengths(inputs).tolist()) == {len(inputs)} == {len(targets)}
        seen.add(len(inputs))
        assert torch.equal(draw(step).inputs, inputs)
    assert seen == {2, 3, 4, 5, 6, 7}


def test_it_learns():
    rng = np.random.default_rng(0)
    x, y = pairs.reversals(rng, 500, (1, 3), symbols=3)
    model = translator.Translator(4, 4, 8, 16, "dot", True)
    settings = training.Settings(120, 2e-2, every=60)
    history = training.fit(model, translator.sampled(x, y, 32), translator.loss, settings)
    assert history[-1].train < 0.5 * history[0].train
    cell, params = gpu.lstm.plain(), bridge.to_torch(translator.exported(model))
    step, state = gpu.seq2seq.stepper(cell, params, gpu.seq2seq.encode(cell, params, x))
    said = gpu.search.greedy(step, state, 4).tokens[:, 0].T.numpy()
    assert (said == y).all(axis=0).mean() > 0.9


def test_bad_sizes_are_named():
    with pytest.raises(ValueError, match="hidden: expected an even number"):
        translator.Translator(5, 5, 3, 5, both_ways=True)
    with pytest.raises(ValueError, match="expected one of 'none', 'dot', 'additive'"):
        translator.Translator(5, 5, attention="location")


def test_dates_are_written_as_people_write_them():
    day = datetime.date(1987, 3, 9)
    for locale, form, text in [
        ("en_US", "short", "3/9/87"),
        ("de", "full", "montag, 9. märz 1987"),
        ("ja", "long", "1987年3月9日"),
        ("sv", "short", "1987-03-09"),
        ("fr", "full", "lundi 9 mars 1987"),
    ]:
        assert dates.written(day, locale, form) == (text, locale, form, "1987-03-09")
    assert len({locale.split("_")[0] for locale in dates.LOCALES}) >= 20


def test_no_day_is_shared_and_no_held_out_form_is_seen():
    parts = dates.split(train=3000, valid=400, test=400, seed=5)
    assert list(map(len, parts)) == [3000, 400, 400, 400]
    days = [{item.iso for item in part} for part in (parts.train, parts.valid, parts.test + parts.unseen)]
    assert not (days[0] & days[1] or days[0] & days[2] or days[1] & days[2])
    for part in parts[:3]:
        assert not {(item.locale, item.form) for item in part} & set(dates.HELD_OUT)
    assert {(item.locale, item.form) for item in parts.unseen} == set(dates.HELD_OUT)
    assert parts == dates.split(train=3000, valid=400, test=400, seed=5)
    assert dates.FIRST + datetime.timedelta(dates.DAYS - 1) == datetime.date(2049, 12, 31)
    many = dates.split(train=20_000, valid=1, test=1)
    assert len({item.iso for item in many.train}) > dates.DAYS // 3  # eight tenths of the days, of which some are drawn


def test_two_digits_name_one_year():
    """Day, month and year from the same three numbers, in every order: no text of one year is one of another."""
    years = {}
    for three in ((3, 4, 5), (10, 11, 12), (1, 2, 12)):
        for y, m, d in itertools.permutations(three):
            for pair in set(dates.every()) - set(dates.HELD_OUT):
                text = dates.written(datetime.date(2000 + y, m, d), *pair).text
                assert years.setdefault(text, y) == y


def words(pairs_of_locale_and_form):
    found = set()
    for item in dates._samples():
        if (item.locale, item.form) in pairs_of_locale_and_form:
            found |= set(re.findall(r"[^\W\d]+", item.text))
    return found


@pytest.mark.parametrize("locale, form", dates.HELD_OUT)
def test_what_is_held_out_is_what_it_is_said_to_be(locale, form):
    others = {(locale, other) for other in dates.FORMS} - {(locale, form)}
    new = words({(locale, form)}) - words(others)
    assert bool(new) == ((locale, form) in dates.ABBREVIATED)


def test_encoding_and_back():
    items = dates.split(train=50, valid=1, test=1).train
    with_locale, y = dates.encode(items)
    without, _ = dates.encode(items, locale=False)
    names = dates.symbols()
    for b, item in enumerate(items):
        (x,), (bare,) = pairs.unpad(with_locale[:, b : b + 1]), pairs.unpad(without[:, b : b + 1])
        assert [names[k] for k in x] == [f"<{item.locale}>", *item.text]
        assert "".join(names[k] for k in bare) == item.text
        assert dates.decode(y[:, b]) == item.iso
    assert y.shape == (11, 50) and names[0] == "" and len(set(names)) == len(names)
    with pytest.raises(ValueError, match=r"items: .*occur in no date"):
        dates.encode([items[0]._replace(text="9 märz@")])


def test_a_known_version_of_babel_writes_known_dates(monkeypatch):
    import babel

    dates.check()
    monkeypatch.setitem(dates.KNOWN, babel.__version__, "something else")
    with pytest.raises(RuntimeError, match="should write dates of hash something else"):
        dates.check()
