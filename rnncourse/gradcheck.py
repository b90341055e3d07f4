"""Gradients without calculus, to check those with it: central differences and the complex step."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.params import map_arrays

# The largest error, as relative_error measures it, that a right gradient may show. The complex
# step leaves only the rounding of the gradient under test; a central difference adds its own,
# about eps**(2/3). Room is left for a few hundred steps of rounding.
TOLERANCES = {
    ("float64", "complex"): 1e-11,
    ("float64", "central"): 1e-7,
    ("float32", "complex"): 1e-4,
    ("float32", "central"): 5e-2,
}
METHODS = ("complex", "central")


class Report(NamedTuple):
    """What a check found.

    Attributes:
        error: the worst error over all arrays, as :func:`relative_error` measures it.
        array: the dotted name of the array it is in, for example "cell.bias".
        tolerance: the largest error allowed, from ``TOLERANCES``.
        passed: whether the error is within it.
    """

    error: float
    array: str
    tolerance: float
    passed: bool


def central_difference(function: Callable, params: Any, step: float | None = None) -> Any:
    """Gradient by central differences, (f(p + h) - f(p - h)) / 2h, one entry at a time.

    Its error is h^2 from the curvature and eps/h from rounding, least near h = eps**(1/3); so it
    checks a float64 gradient to about ten digits and a float32 one to about two.

    Args:
        function: takes parameters, returns a real scalar.
        params: nested NamedTuples of real floating arrays, or one array.
        step: h in units of max(1, abs(entry)); the cube root of the array's machine epsilon
            unless given.

    Returns:
        The gradient in the form of the parameters, float64.

    Raises:
        ValueError: if an array is not of real, finite numbers, the step is not positive, or the
            function does not return a finite real scalar.
    """
    params = _real(params)
    if step is not None:
        _positive("step", step)
    return _entry_by_entry(params, lambda array, write: _difference(function, params, array, write, step))


def complex_step(function: Callable, params: Any, step: float = 1e-30) -> Any:
    """Gradient by the complex step, Im f(p + ih) / h, one entry at a time.

    Nothing is subtracted, so h may be tiny and the gradient is right to the last digits. It asks
    that the function be analytic in its parameters: no ``abs``, no ``float()``, no comparison but
    of real parts. Parameters are taken to complex128 first, float32 ones too.

    Args:
        function: takes complex parameters, returns a complex scalar.
        params: nested NamedTuples of real floating arrays, or one array.
        step: h.

    Returns:
        The gradient in the form of the parameters, float64.

    Raises:
        ValueError: if an array is not of real, finite numbers, the step is not positive, or the
            function does not return a finite complex scalar.
    """
    _positive("step", step)
    params = map_arrays(lambda array: array.astype(complex), _real(params))

    def slope(array, write):
        write(array + 1j * step)
        return _scalar(function(params), complex).imag / step

    return _entry_by_entry(params, slope)


def relative_error(ours: Any, oracle: Any) -> float:
    """The worst error of a gradient, each array's normalised by its largest entry.

    That is the size of what rounding does: an entry is a sum of terms of either sign, and each term
    carries an error in proportion to itself. Where the terms nearly cancel, the entry is small
    and its own digits are noise, so an error relative to each entry would reject right answers.

    Args:
        ours: nested NamedTuples of arrays, or one array.
        oracle: of the same form; an array of zeros alone is compared as it is, without a norm.

    Returns:
        The error; infinite if anything in ``ours`` or ``oracle`` is not finite.

    Raises:
        ValueError: if the forms do not match.
    """
    return max(_errors("ours", ours, oracle).values())


def check(function: Callable, gradients: Any, params: Any, method: str = "complex") -> Report:
    """Check a gradient against a numerical one.

    Args:
        function: takes parameters, returns a scalar, for example
            ``lambda p: bptt.full(cell, p, inputs, targets).loss``.
        gradients: what is checked, in the form of the parameters.
        params: where: nested NamedTuples of arrays, or one array.
        method: "complex" (:func:`complex_step`) or "central" (:func:`central_difference`).

    Returns:
        The worst error, the array it is in, the tolerance for the coarsest dtype, the verdict.

    Raises:
        ValueError: if the forms do not match, or the method is unknown.
    """
    doors.one_of("method", method, METHODS)
    _match("gradients", dict(_arrays("gradients", gradients)), dict(_arrays("params", params)))
    oracle = (complex_step if method == "complex" else central_difference)(function, params)
    errors = _errors("gradients", gradients, oracle)
    worst = max(errors, key=errors.get)
    tolerance = TOLERANCES[_coarsest(gradients, params), method]
    return Report(errors[worst], worst, tolerance, errors[worst] <= tolerance)


def _entry_by_entry(params: Any, slope: Callable) -> Any:
    """Fill a gradient with ``slope(entry, write)``; write() sets the entry, which is then restored."""

    def of_array(array):
        gradient = np.empty(array.shape)
        for index in np.ndindex(array.shape):
            kept = array[index]

            def write(value, index=index):
                array[index] = value

            gradient[index] = slope(kept, write)
            write(kept)
        return gradient

    return map_arrays(of_array, params)


def _difference(function: Callable, params: Any, entry, write: Callable, step: float | None) -> float:
    """The central difference in one entry, over the distance that rounding left of 2h."""
    h = np.finfo(entry.dtype).eps ** (1 / 3) if step is None else step
    h = entry.dtype.type(h * max(1.0, abs(entry)))
    above, below = entry + h, entry - h
    write(above)
    high = _scalar(function(params), float)
    write(below)
    low = _scalar(function(params), float)
    return (high - low) / (float(above) - float(below))


def _arrays(name: str, tree: Any) -> Iterator[tuple[str, np.ndarray]]:
    """The arrays of a tree with their dotted names; a plain tuple or list is no such tree."""
    if isinstance(tree, list | dict) or (isinstance(tree, tuple) and not hasattr(tree, "_fields")):
        raise ValueError(f"{name}: expected NamedTuples of arrays, got a {type(tree).__name__}")
    if not isinstance(tree, tuple):
        yield "", np.asarray(tree)
        return
    for field, part in zip(tree._fields, tree, strict=True):
        for rest, array in _arrays(f"{name}.{field}", part):
            yield f"{field}.{rest}" if rest else field, array


def _real(params: Any) -> Any:
    """A copy of the parameters that may be written to."""
    for name, array in _arrays("params", params):
        name = f"params.{name}" if name else "params"
        if not np.issubdtype(array.dtype, np.floating):
            raise ValueError(f"{name}: expected real numbers with a fraction, got {array.dtype}")
        doors.finite(name, array)
    return map_arrays(np.array, params)


def _scalar(value: Any, kind: type) -> complex:
    """What the function returned, as a number of the kind wanted."""
    array = np.asarray(value)
    if array.ndim or not np.issubdtype(array.dtype, np.number):
        raise ValueError(f"function: expected a scalar, got {array.dtype} of shape {array.shape}")
    if np.iscomplexobj(array) != (kind is complex):
        lost = "; did abs(), float() or .real drop the imaginary part?" if kind is complex else ""
        raise ValueError(f"function: expected a {kind.__name__} scalar, got {array.dtype}{lost}")
    if not np.isfinite(array):
        raise ValueError(f"function: returned {value}, not a finite number")
    return kind(array)


def _positive(name: str, value: float) -> None:
    if not 0 < value < np.inf:
        raise ValueError(f"{name}: expected a positive number, got {value!r}")


def _match(name: str, ours: dict, oracle: dict) -> None:
    """Hold two trees to the same names and shapes."""
    if list(ours) != list(oracle):
        raise ValueError(f"{name}: expected arrays {', '.join(oracle)}, got {', '.join(ours)}")
    for part, array in ours.items():
        doors.shape(f"{name}.{part}" if part else name, array, oracle[part].shape)


def _errors(name: str, ours: Any, oracle: Any) -> dict[str, float]:
    """The error of each array by its dotted name."""
    ours, oracle = dict(_arrays(name, ours)), dict(_arrays("oracle", oracle))
    _match(name, ours, oracle)
    return {part: _error(array, oracle[part]) for part, array in ours.items()}


def _error(ours: np.ndarray, oracle: np.ndarray) -> float:
    if not (np.isfinite(ours).all() and np.isfinite(oracle).all()):
        return float("inf")
    scale = np.abs(oracle).max(initial=0)
    return float(np.abs(ours - oracle).max(initial=0) / (scale or 1.0))


def _coarsest(*trees: Any) -> str:
    """The dtype with the fewest digits among all arrays."""
    arrays = [array for tree in trees for _, array in _arrays("tree", tree)]
    eps = max(np.finfo(np.result_type(array, np.float16)).eps for array in arrays)  # float16: integers have no eps
    return "float32" if eps > np.finfo(float).eps else "float64"
