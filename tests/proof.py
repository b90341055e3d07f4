"""How a test proves an equation of the book.

A test says which equation it proves, and by which oracle; it compares through :func:`agree` alone::

    @verifies("eq-bptt-recursion", oracle="autograd")
    def test_gradient_against_autograd():
        agree(ours, oracle, 1e-12)

An oracle shares no code with what it judges, so nothing here imports the library.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

_comparisons: list[tuple[float, float]] | None = None  # those of the running test


def verifies(label: str, oracle: str):
    """Mark a test as the proof of a labelled equation. Marks stack: one test may prove several.

    Args:
        label: the equation's label, ``eq-...``, written out so that it can be found without running.
        oracle: what judges, for example "autograd" or "complex step".
    """
    if not label.startswith("eq-"):
        raise ValueError(f"label: only equations eq-... are proven (definitions are not), got {label!r}")
    if not oracle:
        raise ValueError(f"oracle: say what judges {label}, for example 'autograd'")
    return pytest.mark.verifies(label, oracle)


def agree(ours: Any, oracle: Any, tolerance: float) -> float:
    """Compare what the library computes with what an oracle says; the only comparison that counts.

    The error of an array is its largest deviation over the oracle's largest entry (the deviation
    itself where the oracle is zero everywhere).

    Args:
        ours: an array, tensor or number, or NamedTuples and tuples of these, nested.
        oracle: the same form.
        tolerance: the largest error allowed, at least 0 and below 1.

    Returns:
        The worst error.
    """
    __tracebackhide__ = True
    if not 0 <= tolerance < 1:
        raise ValueError(f"tolerance: expected a number in [0, 1), got {tolerance!r}")
    pairs = list(_pairs(ours, oracle, ""))
    if not pairs:
        pytest.fail("agree: no array to compare")
    errors = {name: _error(name, a, b) for name, a, b in pairs}
    worst = max(errors, key=errors.get)
    if not errors[worst] <= tolerance:
        pytest.fail(f"agree: {worst or 'ours'} is off by {errors[worst]:.2g} (tolerance {tolerance:g})")
    # Zero equal to zero is no evidence: it passes, but earns no mark.
    if _comparisons is not None and any(np.any(_array("oracle", b)) for _, _, b in pairs):
        _comparisons.append((errors[worst], float(tolerance)))
    return errors[worst]


def _pairs(ours: Any, oracle: Any, name: str) -> Iterator[tuple[str, Any, Any]]:
    """Walk through both trees side by side; every pair of arrays with its dotted name."""
    if not isinstance(ours, tuple) and not isinstance(oracle, tuple):
        yield name, ours, oracle
        return
    sizes = [len(tree) if isinstance(tree, tuple) else None for tree in (ours, oracle)]
    fields = [tree._fields for tree in (ours, oracle) if hasattr(tree, "_fields")]
    if sizes[0] != sizes[1] or len(set(fields)) > 1:
        forms = [f"{type(tree).__name__} of {size}" for tree, size in zip((ours, oracle), sizes, strict=True)]
        pytest.fail(f"agree: {name or 'ours'} is a {forms[0]}, the oracle's a {forms[1]}")
    for part, a, b in zip(fields[0] if fields else map(str, range(sizes[0])), ours, oracle, strict=True):
        yield from _pairs(a, b, f"{name}.{part}" if name else part)


def _error(name: str, ours: Any, oracle: Any) -> float:
    """The error of one array; NaN where one of the two is not finite."""
    if ours is oracle and hasattr(ours, "shape"):
        pytest.fail(f"agree: {name or 'ours'} is compared with itself")
    a, b = _array(name or "ours", ours), _array(f"the oracle's {name}".rstrip(), oracle)
    if a.shape != b.shape:
        pytest.fail(f"agree: {name or 'ours'} has shape {a.shape}, the oracle's has {b.shape}")
    if a.size == 0:
        pytest.fail(f"agree: {name or 'ours'} is empty: nothing to compare")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        pytest.fail(f"agree: {name or 'ours'} or the oracle's is not finite")
    scale = np.abs(b).max()
    return float(np.abs(a - b).max() / (max(1e-300, scale) if scale else 1.0))


def _array(name: str, value: Any) -> np.ndarray:
    """A NumPy array of numbers, from whatever holds them."""
    if hasattr(value, "detach"):  # a torch tensor, on any device
        value = value.detach().cpu().numpy()
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        pytest.fail(f"agree: {name} holds {array.dtype}, no numbers")
    return array.astype(np.result_type(array.dtype, np.float64))


@contextmanager
def recording() -> Iterator[list[tuple[float, float]]]:
    """Collect the (error, tolerance) of every comparison made meanwhile."""
    global _comparisons
    before, _comparisons = _comparisons, []
    try:
        yield _comparisons
    finally:
        _comparisons = before
