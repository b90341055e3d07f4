"""The names are those that babel carries, and no thing is on both sides of a split."""

import numpy as np
import pytest

from rnncourse.data import names


@pytest.fixture(scope="module")
def found():
    return names.load()


def test_three_parts_that_share_nothing(found):
    parts = [set(part.words) for part in (found.train, found.valid, found.test)]
    assert len(parts[0]) == len(found.train.words) > 7000 and min(map(len, parts)) > 1000
    assert not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])
    assert len(found.languages) == 20
    for part in (found.train, found.valid, found.test):
        assert np.bincount(part.labels, minlength=20).min() > 30
    label = dict(zip((*found.train.words, *found.test.words), (*found.train.labels, *found.test.labels), strict=True))
    assert found.languages[label["frankreich"]] == "German"
    assert "namibia" not in parts[0] | parts[1] | parts[2], "a name of many languages"


def test_all_names_of_one_thing_fall_into_one_part():
    rows = names._rows()
    place = {}
    for _, key, _ in rows:
        assert place.setdefault(key, names._part(key)) in (0, 1, 2)
    shares = np.bincount(list(place.values())) / len(place)
    assert shares[0] > 0.75 and shares[1:].min() > 0.07


def test_other_names_under_a_known_version_are_noticed(monkeypatch):
    monkeypatch.setattr(names, "KINDS", ("territories",))
    monkeypatch.setattr(names, "version", lambda _: names.BABEL)
    with pytest.raises(ValueError, match=r"^names: "):
        names.load()


def test_encode():
    tokens = names.encode(["ab", "cxa"], "abc")
    assert tokens.T.tolist() == [[2, 3, 0], [4, 1, 2]]
    for bad in ([], ["a", ""]):
        with pytest.raises(ValueError, match=r"^words: "):
            names.encode(bad, "a")
