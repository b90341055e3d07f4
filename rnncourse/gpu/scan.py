"""Running totals of any associative operation, in a few rounds in the place of T steps.

An operation takes two neighbours, the earlier first, and gives one in their place. Its arguments are
tuples of arrays whose first axis is time, so that one call combines any number of pairs at once: what
one call does is one round, however many pairs it holds.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from rnncourse import doors
from rnncourse.params import map_arrays, named_arrays


class Count(NamedTuple):
    """What a scan costs.

    Attributes:
        rounds: calls of the operation, each of which waits for the one before: the depth.
        pairs: pairs combined in all calls together: the work.
    """

    rounds: int
    pairs: int


def prefixes(combine: Callable, elements: Any) -> Any:
    """All prefixes by a tree, :eq:`eq-scan-tree`: pairs are combined, their prefixes taken, the gaps filled.

    Args:
        combine: takes two trees of arrays, the earlier first; associative, applied to each pair along the first axis.
        elements: e_1..e_T, a tuple or NamedTuple of arrays, each (T, ...), or one array.

    Returns:
        e_1, e_1 * e_2, and so on to the product of all, in the form of the elements.

    Raises:
        ValueError: if there is no element, or the arrays differ in length.
    """
    T = _length(elements)
    if T == 1:
        return elements
    whole = prefixes(combine, combine(_take(elements, 0, T - 1, 2), _take(elements, 1, T, 2)))  # after 2, 4, ...
    if T == 2:
        return map_arrays(lambda e, w: torch.cat([e[:1], w]), elements, whole)
    gaps = combine(_take(whole, 0, (T - 1) // 2, 1), _take(elements, 2, T, 2))
    return map_arrays(_laced, elements, whole, gaps)


def suffixes(combine: Callable, elements: Any) -> Any:
    """The products from each element to the last: the tree, turned round in time.

    Args:
        combine: as in :func:`prefixes`; the earlier of a pair is still its first argument.
        elements: e_1..e_T, as in :func:`prefixes`.

    Returns:
        The product of all, that of e_2..e_T, and so on to e_T, in the form of the elements.

    Raises:
        ValueError: as :func:`prefixes`.
    """
    turned = prefixes(lambda late, early: combine(early, late), _turned(elements))
    return _turned(turned)


def doubling(combine: Callable, elements: Any) -> Any:
    """All prefixes by doubling, :eq:`eq-scan-doubling`: fewer rounds than the tree, and more work.

    Args:
        combine: as in :func:`prefixes`.
        elements: e_1..e_T, as in :func:`prefixes`.

    Returns:
        As :func:`prefixes`.

    Raises:
        ValueError: as :func:`prefixes`.
    """
    T, reach = _length(elements), 1
    while reach < T:  # each now holds the product of the last `reach` elements
        longer = combine(_take(elements, 0, T - reach, 1), _take(elements, reach, T, 1))
        elements = map_arrays(lambda e, new, r=reach: torch.cat([e[:r], new]), elements, longer)
        reach *= 2
    return elements


def count(steps: int, method: str = "tree") -> Count:
    """Rounds and pairs of a scan, :eq:`eq-scan-cost`, without running it.

    Args:
        steps: T.
        method: "tree" (:func:`prefixes`) or "doubling".

    Returns:
        The counts.

    Raises:
        ValueError: if there is no step, or no such method.
    """
    doors.at_least("steps", steps, 1)
    doors.one_of("method", method, ("tree", "doubling"))
    if method == "doubling":
        rounds = (steps - 1).bit_length()
        return Count(rounds, rounds * steps - (2**rounds - 1))
    if steps == 1:
        return Count(0, 0)
    inner = count(steps // 2)
    return Count(inner.rounds + 1 + (steps > 2), inner.pairs + steps - 1)


def _length(elements: Any) -> int:
    lengths = {name: len(array) for name, array in named_arrays(elements)}
    if len(set(lengths.values())) != 1 or 0 in lengths.values():
        raise ValueError(f"elements: expected arrays of one length, at least 1, got lengths {[*lengths.values()]}")
    return next(iter(lengths.values()))


def _take(elements: Any, start: int, stop: int, stride: int) -> Any:
    return map_arrays(lambda array: array[start:stop:stride], elements)


def _turned(elements: Any) -> Any:
    return map_arrays(lambda array: array.flip(0), elements)


def _laced(first, whole, gaps):
    found = torch.empty((len(first), *whole.shape[1:])).to(whole)
    found[0], found[1::2], found[2::2] = first[0], whole, gaps
    return found
