"""Checks at the door: bad input raises a ValueError that names the argument and says what was expected.

They look only at shapes and values, so both floors use them, on arrays and on tensors.
"""

import math
from numbers import Integral
from typing import Any

import numpy as np


def shape(name: str, array: Any, expected: tuple) -> None:
    """Check an array's shape.

    Args:
        name: the argument's name, for the message.
        array: anything with a ``shape``.
        expected: a size per axis; a string stands for a free size and appears in the message.

    Raises:
        ValueError: if the number of axes or a given size differs.
    """
    got = tuple(getattr(array, "shape", ()))
    fits = len(got) == len(expected) and all(
        isinstance(want, str) or size == want for size, want in zip(got, expected, strict=True)
    )
    if not fits:
        wanted = ", ".join(str(size) for size in expected) + ("," if len(expected) == 1 else "")
        raise ValueError(f"{name}: expected shape ({wanted}), got {got}")


def cell_params(cell: Any, params: Any) -> None:
    """Check that parameters fit a cell.

    Args:
        cell: its name, how many pre-activation blocks it has, and the shapes of what is its own.
        params: a NamedTuple: W_x (G H, D), W_h (G H, H), b (G H,), then what belongs to the cell.

    Raises:
        ValueError: if it is no NamedTuple, has too few or too many arrays, or a shape does not fit.
    """
    names = getattr(params, "_fields", ())[3:]
    if not hasattr(params, "_fields") or len(params) < 3 or len(names) != len(cell.own):
        expected = f"W_x, W_h, b and {len(cell.own)} more for the {cell.name} cell"
        raise ValueError(f"params: expected a NamedTuple of {expected}, got {type(params).__name__} of {len(params)}")
    W_x, W_h, b, *own = params
    shape("recurrent_weights", W_h, ("G*H", "H"))
    H = W_h.shape[1]
    shape("recurrent_weights", W_h, (cell.gates * H, H))
    shape("input_weights", W_x, (cell.gates * H, "D"))
    shape("bias", b, (cell.gates * H,))
    for name, array, blocks in zip(names, own, cell.own, strict=True):
        shape(name, array, tuple(size * H for size in blocks))


def sequences(name: str, array: Any, features: int | str) -> None:
    """Check a batch of sequences: three axes, and neither time nor batch empty.

    Args:
        name: the argument's name, for the message.
        array: anything with a ``shape``.
        features: the size of the last axis; a string stands for a free size.

    Raises:
        ValueError: if the shape is not (T, B, features), or T or B is 0.
    """
    shape(name, array, ("T", "B", features))
    if 0 in array.shape[:2]:
        raise ValueError(f"{name}: expected at least one step and one sequence, got shape {tuple(array.shape)}")


def finite(name: str, array: Any) -> None:
    """Check that an array holds no NaN and no infinity.

    Args:
        name: the argument's name, for the message.
        array: an array or tensor of real or complex numbers.

    Raises:
        ValueError: if an entry is NaN or infinite, saying how many.
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if math.isfinite(abs(array.sum())):  # one pass; only a suspect sum is looked at more closely
            return
    bad = int((~(abs(array) < math.inf)).sum())
    if bad:
        raise ValueError(f"{name}: {bad} of {math.prod(array.shape)} entries are NaN or infinite")


def one_of(name: str, value: Any, allowed) -> None:
    """Check that a value is one of those allowed.

    Args:
        name: the argument's name, for the message.
        value: what was given.
        allowed: what may be given.

    Raises:
        ValueError: if it is none of them, listing them.
    """
    if value not in allowed:
        raise ValueError(f"{name}: expected one of {', '.join(map(repr, allowed))}, got {value!r}")


def at_least(name: str, value: Any, smallest: int) -> None:
    """Check a whole number against its lower bound.

    Args:
        name: the argument's name, for the message.
        value: what was given.
        smallest: the least value allowed.

    Raises:
        ValueError: if it is no whole number, or too small.
    """
    if not isinstance(value, Integral) or isinstance(value, bool) or value < smallest:
        raise ValueError(f"{name}: expected a whole number >= {smallest}, got {value!r}")
