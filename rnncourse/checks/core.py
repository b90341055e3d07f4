"""What the checks of every exercise share: calling a student's function, verdicts, the scoreboard.

A task is used in two ways. Called, it prints a verdict and never raises, so that a fresh notebook
runs from top to bottom. ``require`` raises, as a graded cell must.
"""

import contextlib
import copy
import functools
import inspect
import io
import traceback
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rnncourse.params import named_arrays

PACKAGE = Path(__file__).resolve().parents[1]


class Wrong(AssertionError):
    """An answer that is not right; its text says what is wrong, and if possible why."""

    def _render_traceback_(self) -> list[str]:
        """What Jupyter shows: the verdict alone. How it was reached is noise to a student."""
        return [f"Not yet: {self}"]


class Task:
    """One task of an exercise notebook.

    Attributes:
        number: for example "3a".
        title: for example "central differences".
        points: what it is worth.
        judge: takes the student's answers and the details of the problem; raises Wrong.
        state: "to do", "not yet" or "right", as the latest call found.
    """

    def __init__(self, number: str, title: str, points: int, judge: Callable):
        functools.update_wrapper(self, judge)
        self.number, self.title, self.points, self.judge = number, title, points, judge
        self.state = "to do"

    def __call__(self, *answers: Any, **problem: Any) -> None:
        """Print a verdict on the answers; never raise.

        Args:
            answers: the student's functions.
            problem: sizes and seed, if not the usual ones.
        """
        try:
            self.require(*answers, **problem)
            self.state, message = "right", f"right ({_points(self.points)})."
        except NotImplementedError:
            self.state, message = "to do", "still to do."
        except Wrong as wrong:
            self.state, message = "not yet", f"not yet. {wrong}"
        print(f"Task {self.number}, {self.title}: {message}")

    def require(self, *answers: Any, **problem: Any) -> None:
        """Raise unless the answers are right: for graded cells.

        Args:
            answers: the student's functions.
            problem: sizes and seed, if not the usual ones.

        Raises:
            NotImplementedError: if the stub is still there.
            Wrong: if an answer is not right.
        """
        try:
            self.judge(*answers, **problem)
        except NotImplementedError as stub:
            stub._render_traceback_ = lambda: ["NotImplementedError: still to do."]  # all that Jupyter shows
            raise


def task(number: str, title: str, points: int) -> Callable[[Callable], Task]:
    """Make a task of its judge; a decorator.

    Args:
        number: for example "3a".
        title: what the student reads beside it.
        points: what it is worth.

    Returns:
        A function from judge to :class:`Task`.
    """
    return lambda judge: Task(number, title, points, judge)


def scoreboard(tasks: list[Task]) -> None:
    """Print what is done and what is still to do.

    Args:
        tasks: the tasks of a notebook, in order.
    """
    width = max(len(one.title) for one in tasks)
    for one in tasks:
        print(f"Task {one.number:2}  {one.title:{width}}  {_points(one.points):>8}  {one.state}")
    won = sum(one.points for one in tasks if one.state == "right")
    print(f"{won} of {_points(sum(one.points for one in tasks))}")


def call(function: Callable, *arguments: Any) -> Any:
    """Call a student's function on copies of the arguments, quietly.

    Args:
        function: what the student wrote.
        arguments: arrays, NamedTuples of arrays, numbers or functions.

    Returns:
        What the function returned.

    Raises:
        NotImplementedError: if the stub is still there.
        Wrong: if it raised anything else, changed an argument, or returned nothing.
    """
    given = copy.deepcopy(arguments)
    try:
        with _quiet():
            answer = function(*given)
    except NotImplementedError:
        raise
    except Exception as error:  # whatever went wrong in the student's code, say it in one line
        raise Wrong(_explain(function, error)) from None
    _refuse_changes(function, arguments, given)
    if answer is None:
        raise Wrong(f"{_name(function)} returned None: is its return missing?")
    return answer


@contextlib.contextmanager
def _quiet():
    """Keep warnings and stderr silent: nbgrader scores a graded cell that writes there as zero."""
    with np.errstate(all="ignore"), warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        yield


def _explain(function: Callable, error: Exception) -> str:
    """One line: what was raised, and which line of the student's raised it."""
    said = f"{_name(function)} raised {type(error).__name__}: {' '.join(str(error).split())}"
    own = [frame for frame in traceback.extract_tb(error.__traceback__) if _is_students(frame.filename)]
    if not own:
        return said
    return f"{said} (in {own[-1].name}, line {own[-1].lineno} of its cell: {own[-1].line})"


def _is_students(filename: str) -> bool:
    """Whether a frame is the student's own: not of this library, nor of an installed package."""
    return "-packages" not in filename and not Path(filename).is_relative_to(PACKAGE)


def _refuse_changes(function: Callable, before: tuple, after: tuple) -> None:
    """Raise if an argument is no longer what it was."""
    names = list(inspect.signature(function).parameters)
    for name, old, new in zip(names, before, after, strict=False):
        for part, array in named_arrays(old, name):
            changed = dict(named_arrays(new, name))[part]
            if isinstance(array, np.ndarray) and not _alike(array, changed):
                raise Wrong(f"{_name(function)} changed its argument {part}: work on a copy, or put it back.")


def _alike(old: np.ndarray, new: np.ndarray) -> bool:
    """Whether an array is what it was, up to the rounding of adding and taking away."""
    return old.shape == new.shape and np.allclose(old, new, rtol=1e-9, atol=1e-12, equal_nan=True)


def _name(function: Callable) -> str:
    return getattr(function, "__name__", "your function")


def _points(number: int) -> str:
    return f"{number} point" + "s" * (number != 1)
