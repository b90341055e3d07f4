"""Checks at the door, and masks made from lengths."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rnncourse import doors, masks


@pytest.mark.parametrize("make", [np.zeros, torch.zeros])
def test_shape(make):
    doors.shape("x", make((2, 3)), (2, 3))
    doors.shape("x", make((2, 3)), ("T", 3))
    doors.shape("x", make(()), ())
    with pytest.raises(ValueError, match=r"^x: expected shape \(T, 4\), got \(2, 3\)$"):
        doors.shape("x", make((2, 3)), ("T", 4))
    with pytest.raises(ValueError, match=r"^x: expected shape \(B,\), got \(2, 3\)$"):
        doors.shape("x", make((2, 3)), ("B",))


def test_what_has_no_shape():
    with pytest.raises(ValueError, match=r"^x: expected shape \(B,\), got \(\)$"):
        doors.shape("x", [1, 2], ("B",))


@pytest.mark.parametrize("make", [np.zeros, torch.zeros])
def test_sequences(make):
    doors.sequences("x", make((1, 1, 2)), 2)
    doors.sequences("x", make((4, 3, 0)), "D")  # no features at all: a network that runs by itself
    for shape in [(0, 3, 2), (4, 0, 2), (0, 0, 2)]:
        with pytest.raises(ValueError, match=r"^x: expected at least one step and one sequence, got shape"):
            doors.sequences("x", make(shape), 2)
    with pytest.raises(ValueError, match=r"^x: expected shape \(T, B, 2\), got \(4, 3, 1\)$"):
        doors.sequences("x", make((4, 3, 1)), 2)


@pytest.mark.parametrize("make", [np.array, torch.tensor])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_finite(make, bad):
    doors.finite("x", make([1.0, 2.0]))
    with pytest.raises(ValueError, match=r"^x: 1 of 3 entries are NaN or infinite$"):
        doors.finite("x", make([1.0, bad, 2.0]))


def test_finite_is_about_entries_not_their_sum():
    with np.errstate(over="ignore"):
        doors.finite("x", np.full(10, 1e308))
    doors.finite("x", np.array([1 + 1j]))
    doors.finite("x", np.zeros((0, 3)))
    with pytest.raises(ValueError, match="2 of 2"), np.errstate(invalid="ignore"):
        doors.finite("x", np.array([np.inf, -np.inf]))
    with pytest.raises(ValueError, match="1 of 1"):
        doors.finite("x", np.array([complex(0, np.nan)]))


def test_one_of():
    doors.one_of("loss", "a", ("a", "b"))
    with pytest.raises(ValueError, match=r"^loss: expected one of 'a', 'b', got 'c'$"):
        doors.one_of("loss", "c", ("a", "b"))


def test_at_least():
    doors.at_least("k", 3, 3)
    doors.at_least("k", np.int64(4), 3)
    for bad in (2, np.int32(2), 3.0, True, "3", None, np.bool_(True)):
        with pytest.raises(ValueError, match=r"^k: expected a whole number >= 3, got"):
            doors.at_least("k", bad, 3)


@given(st.lists(st.integers(0, 6), min_size=1, max_size=5))
def test_masks_against_a_loop(lengths):
    valid, last = masks.valid_steps(lengths, 6), masks.last_steps(np.array(lengths), 6)
    for t in range(6):
        for b, length in enumerate(lengths):
            assert valid[t, b] == (t < length)
            assert last[t, b] == (t + 1 == length)
    assert valid.dtype == last.dtype == bool


@pytest.mark.parametrize("make", [masks.valid_steps, masks.last_steps])
@pytest.mark.parametrize(
    ("lengths", "message"),
    [
        ([1, 7], r"lengths: expected values in 0..6, got 1..7"),
        ([-1, 6], r"lengths: expected values in 0..6, got -1..6"),
        ([1.0], r"lengths: expected integers of shape \(B,\), got float64 of shape \(1,\)"),
        ([[1]], r"lengths: expected integers of shape \(B,\), got int64 of shape \(1, 1\)"),
        (3, r"lengths: expected integers of shape \(B,\), got int64 of shape \(\)"),
        ([True], r"lengths: expected integers of shape \(B,\), got bool of shape \(1,\)"),
    ],
)
def test_doors_of_masks(make, lengths, message):
    with pytest.raises(ValueError, match=message):
        make(lengths, 6)
