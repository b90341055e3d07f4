"""The digits: that they are what was packed, how they are split, and that their order is that of forms."""

import difflib
import re
import tomllib

import numpy as np
import pytest

from rnncourse.data import digits
from tools import prepare_digits


@pytest.fixture(scope="module")
def data():
    return digits.load()


def test_they_are_the_digits_of_uci(data):
    assert data.images.shape == (1797, 8, 8) and data.images.min() == 0 and data.images.max() == 16
    assert np.bincount(data.labels).tolist() == [
        178,
        182,
        177,
        183,
        181,
        182,
        181,
        179,
        174,
        180,
    ]  # scikit-learn's page
    assert data.images[0].tolist()[:2] == [[0, 0, 5, 13, 9, 1, 0, 0], [0, 0, 13, 15, 10, 15, 5, 0]]


def test_packing_there_and_back(data, tmp_path):
    content = prepare_digits.packed(data.images, 17, 15) + prepare_digits.packed(data.labels, 10, 19)
    assert content == digits.FILE.read_bytes()
    spoiled = tmp_path / "digits.bin"
    spoiled.write_bytes(content[:-1] + b"\x01")
    with pytest.raises(ValueError, match=re.escape("digits.bin")):
        digits.load(spoiled)


def test_the_package_carries_them():
    settings = tomllib.loads((digits.FILE.parents[2] / "pyproject.toml").read_text())
    assert "digits.bin" in settings["tool"]["setuptools"]["package-data"]["rnncourse.data"]
    assert digits.FILE.stat().st_size < 65_000


@pytest.mark.parametrize("how", digits.SPLITS)
def test_splits_are_whole_and_do_not_overlap(data, how):
    parts = digits.split(how)
    assert sorted(np.concatenate(parts).tolist()) == list(range(1797))
    if how == "forms":
        stands = [set(data.forms[part].tolist()) for part in parts]
        assert not (stands[0] & stands[1] or stands[0] & stands[2] or stands[1] & stands[2])
    else:
        assert [len(part) for part in parts] == [1257, 180, 360]
        assert all(len(set(data.forms[part].tolist())) == 14 for part in parts)
    with pytest.raises(ValueError, match="how"):
        digits.split("writers")


def test_forms_are_the_printed_order_with_gaps(data):
    """Image 905 is an 8 that is the whole order's last, so a form begins at 906."""
    order, *_ = lists = ["".join(map(str, one)) for one in np.split(data.labels, digits.FORMS[1:])]
    for one in lists:
        steps = difflib.SequenceMatcher(None, order, one, autojunk=False).get_opcodes()
        assert all(what in ("equal", "delete") or (what == "replace" and b - a == 1 and a) for what, a, b, *_ in steps)
    assert sum(one == order for one in lists) == 8
    assert max(len(order) - len(one) for one in lists) == 8


def test_the_most_alike_image_is_often_on_the_same_form(data):
    """So the order tells of the hand: by chance it would be one in fourteen."""
    flat = data.images.reshape(len(data.images), -1).astype(float)
    square = (flat**2).sum(axis=1)
    apart = square[:, None] + square - 2 * flat @ flat.T
    apart[data.labels[:, None] != data.labels] = np.inf
    np.fill_diagonal(apart, np.inf)
    same = (data.forms[apart.argmin(axis=1)] == data.forms).mean()
    assert 0.5 < same < 0.6


def test_ink_or_paper_and_small(data):
    assert digits.binary(np.array([[0, 7, 8, 16]])).tolist() == [[0, 0, 1, 1]]
    small = digits.small(data.images)
    assert small.shape == (1797, 4, 4) and set(np.unique(small)) == {0, 1}
    block = data.images[3, 2:4, 4:6]
    assert small[3, 1, 2] == (block.sum() >= 32)
    with pytest.raises(ValueError, match="images"):
        digits.small(data.images[0])
