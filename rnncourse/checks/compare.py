"""Comparing an answer with the right one, and with the answers that well-known mistakes give."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np

from rnncourse.checks.core import Wrong

TOLERANCE = 1e-6


class Mistake(NamedTuple):
    """A well-known mistake.

    Attributes:
        hint: a question that points at it.
        arrays: the answer it leads to, by name; names that it leaves right may be missing.
    """

    hint: str
    arrays: Mapping[str, np.ndarray]


def known(name: str, mistakes: Mapping[str, Callable], *problem: Any) -> list[Mistake]:
    """What each mistake would answer to a problem.

    Args:
        name: what the answer is called.
        mistakes: a function for each hint.
        problem: the arguments of each function.

    Returns:
        The mistakes, in order.
    """
    return [Mistake(hint, {name: wrong(*problem)}) for hint, wrong in mistakes.items()]


def relative_error(ours: np.ndarray, right: np.ndarray) -> float:
    """The largest difference, measured by the largest entry of the right array.

    Entry by entry would condemn right answers: where an entry happens to be tiny, rounding is not.

    Args:
        ours: what is judged.
        right: the truth, in the same shape.

    Returns:
        The error; the largest entry of ``ours`` where the truth is zero everywhere.
    """
    scale = np.abs(right).max(initial=0.0)
    return float(np.abs(ours - right).max(initial=0.0) / (scale or 1.0))


def require_arrays(answer: Mapping[str, Any], right: Mapping[str, np.ndarray], mistakes: Iterable[Mistake] = ()):
    """Check named arrays one by one, and name the likely mistake.

    Args:
        answer: what the student returned, by name.
        right: the truth, by name.
        mistakes: what is known to go wrong, the most likely first.

    Raises:
        Wrong: if a shape, a type or a value is not right.
    """
    answer = {name: as_array(name, answer[name], right[name]) for name in right}
    errors = {name: relative_error(answer[name], right[name]) for name in right}
    off = [name for name in right if errors[name] > TOLERANCE]
    if off:
        said = f"{off[0]} is off by {percent(errors[off[0]])}"
        if len(off) > 1:
            said += f" ({listing(off[1:])} too)"
        hint = diagnose(answer, right, off, mistakes)
        fine = [name for name in right if name not in off]
        raise Wrong(said + (f": {hint}" if hint else ".") + (f" Right so far: {listing(fine)}." if fine else ""))


def named_parts(answer: Any, names: tuple[str, ...]) -> dict:
    """Name the parts of a tuple.

    Args:
        answer: what the student returned.
        names: what is expected, in order.

    Returns:
        The parts by name.

    Raises:
        Wrong: if it is no tuple or list of that length.
    """
    if not isinstance(answer, tuple | list) or len(answer) != len(names):
        raise Wrong(f"expected {len(names)} arrays ({', '.join(names)}), got {described(answer)}.")
    return dict(zip(names, answer, strict=True))


def as_array(name: str, value: Any, like: np.ndarray) -> np.ndarray:
    """Check type, shape and finiteness.

    Args:
        name: what the student calls it.
        value: what came.
        like: an array of the shape expected.

    Returns:
        The value as an array.

    Raises:
        Wrong: if it is no array of real numbers, has another shape, or holds a NaN or infinity.
    """
    try:
        array = np.asarray(value)
        numeric = np.issubdtype(array.dtype, np.number)
    except ValueError:  # a ragged list
        numeric = False
    if not numeric or np.iscomplexobj(array):
        raise Wrong(f"{name}: expected an array of real numbers, got {type(value).__name__}.")
    if array.shape != like.shape:
        flipped = array.ndim == 2 and array.T.shape == like.shape
        advice = " Is it the transpose?" if flipped else ""
        batch = array.shape[1:] == like.shape and array.shape[0] > 1
        advice = " Did you forget to sum over the batch?" if batch else advice
        raise Wrong(f"{name}: expected shape {like.shape}, got {array.shape}.{advice}")
    if not np.isfinite(array).all():
        raise Wrong(f"{name}: {int((~np.isfinite(array)).sum())} of {array.size} entries are NaN or infinite.")
    return array


def diagnose(answer: Mapping, right: Mapping, off: list[str], mistakes: Iterable[Mistake]) -> str:
    """Find the mistake that explains the most arrays that are off.

    Args:
        answer: the student's arrays, by name.
        right: the true arrays.
        off: the names of those that are not right.
        mistakes: what is known to go wrong; of equals, the first counts.

    Returns:
        Its hint, or what else can be said about the first array that is off, or nothing.
    """
    best, most = "", (0, 0)
    for mistake in mistakes:
        alike = [
            name for name in right if relative_error(answer[name], mistake.arrays.get(name, right[name])) < TOLERANCE
        ]
        explained = (len(set(alike) & set(off)), len(alike))  # of equals, the one that spares what is right
        if explained[0] and explained > most:
            best, most = mistake.hint, explained
    return best or _resemblance(answer[off[0]], right[off[0]])


def _resemblance(ours: np.ndarray, right: np.ndarray) -> str:
    """What any wrong array may be: zero, a multiple of the truth, its transpose."""
    if not ours.any():
        return "it is zero everywhere."
    if ours.ndim == 2 and ours.T.shape == right.shape and relative_error(ours.T, right) < TOLERANCE:
        return "it is the transpose of the right answer."
    factor = float((ours * right).sum() / (right * right).sum()) if right.any() else 0.0
    if factor and relative_error(ours, factor * right) < TOLERANCE:
        said = "" if f"{factor:.4g}" == "1" else f"it is {factor:.4g} times the right answer."
        return "its sign is wrong." if abs(factor + 1) < TOLERANCE else said
    return ""


def percent(error: float) -> str:
    """An error as a percentage in a few characters.

    Args:
        error: a fraction.

    Returns:
        For example "24%", "0.031%" or "more than 1000%".
    """
    if error > 10:
        return "more than 1000%"
    return f"{100 * error:.0f}%" if error >= 0.1 else f"{100 * error:.2g}%"


def listing(names: list[str]) -> str:
    """Names in a row: "a", "a and b", "a, b and c".

    Args:
        names: at least one.

    Returns:
        The row.
    """
    return " and ".join([", ".join(names[:-1])] * (len(names) > 1) + names[-1:])


def described(answer: Any) -> str:
    """What came, in a few words.

    Args:
        answer: anything.

    Returns:
        For example "int64 of shape (3, 2)", "list of 2" or "NoneType".
    """
    if isinstance(answer, np.ndarray):
        return f"{answer.dtype} of shape {answer.shape}"
    if isinstance(answer, list | tuple):
        return f"{type(answer).__name__} of {len(answer)}"
    return type(answer).__name__
