"""Checks of the exercise notebook on back-propagation through time.

The right answers come from ``rnncourse.reference``, the likely mistakes from
``rnncourse.checks.bptt_mistakes``.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from rnncourse.checks import bptt_answers as answers
from rnncourse.checks import bptt_mistakes as mistakes
from rnncourse.checks.compare import listing, require_arrays
from rnncourse.checks.core import Task, Wrong, call, task
from rnncourse.checks.core import scoreboard as print_scoreboard
from rnncourse.params import ModelParams, init_model, map_arrays
from rnncourse.reference import bptt

CELL = answers.CELL
STEP_NAMES = ("delta", "d_W_x", "d_W_h", "d_b_h", "d_h_previous")
CELL_NAMES = ("d_W_x", "d_W_h", "d_b_h")


def problem(
    seed: int = 0, steps: int = 7, batch: int = 3, inputs: int = 2, hidden: int = 5, outputs: int = 4
) -> tuple[ModelParams, np.ndarray, np.ndarray]:
    """A small model with data; no two sizes alike, so that a shape gives a slip away.

    Args:
        seed: of the random numbers.
        steps: T.
        batch: B.
        inputs: D.
        hidden: H.
        outputs: O.

    Returns:
        ``(params, x, targets)``: no bias is zero; x has shape (T, B, D), targets (T, B, O).
    """
    rng = np.random.default_rng(seed)
    model = init_model(rng, inputs, hidden, outputs)
    model = map_arrays(lambda array: array + 0.3 * rng.standard_normal(array.shape), model)
    return model, rng.standard_normal((steps, batch, inputs)), rng.standard_normal((steps, batch, outputs))


@task("1", "one step backward", points=3)
def step(step_backward: Callable, **sizes: int) -> None:
    """Judge one step backward of a single sequence.

    Args:
        step_backward: takes W_x, W_h, x_t, h_{t-1}, h_t and s_t (all vectors); returns delta_t,
            the step's share in the gradients of W_x, W_h and b_h, and what goes back to h_{t-1}.
        sizes: for :func:`problem`.

    Raises:
        Wrong: with a diagnosis.
    """
    params, x, targets = problem(**{**sizes, "steps": 2, "batch": 1})
    r = answers.run(params, x, targets)
    W_x, W_h, _ = params.cell
    x_t, h_previous, h, s = x[1, 0], r.h[1, 0], r.h[2, 0], r.g[1, 0]
    answer = _unpack(call(step_backward, W_x, W_h, x_t, h_previous, h, s), STEP_NAMES)
    right = answers.one_step(W_h, x_t, h_previous, s, 1 - h * h)
    require_arrays(answer, right, mistakes.of_one_step(W_h, x_t, h_previous, h, s))


@task("2", "full back-propagation through time", points=6)
def full(bptt_student: Callable, **sizes: int) -> None:
    """Judge full back-propagation with squared error.

    Args:
        bptt_student: takes parameters, inputs (T, B, D) and targets (T, B, O); returns the
            gradients in the form of the parameters.
        sizes: for :func:`problem`.

    Raises:
        Wrong: with a diagnosis.
    """
    params, x, targets = problem(**sizes)
    answer = _flat_model(call(bptt_student, params, x, targets))
    right = _flat_model(bptt.full(CELL, params, x, targets).gradients)
    require_arrays(answer, right, mistakes.of_full(answers.run(params, x, targets)))


@task("3a", "central differences", points=2)
def differences(central_differences: Callable, seed: int = 0, shape: tuple[int, ...] = (2, 3)) -> None:
    """Judge a function that differentiates by central differences.

    Args:
        central_differences: takes f, theta and step; returns an array in the shape of theta.
        seed: of the random numbers.
        shape: of theta.

    Raises:
        Wrong: with a diagnosis.
    """
    rng = np.random.default_rng(seed)
    theta, mix = rng.standard_normal((2, *shape))

    def f(theta: np.ndarray) -> float:
        return float(np.exp(theta).sum() + np.sin((mix * theta).sum()) ** 2)

    size = 0.01  # large, so that one-sided and central differ by much more than the tolerance
    answer = {"gradient": call(central_differences, f, theta, size)}
    pairs = zip(answers.moved(theta, size), answers.moved(theta, -size), strict=True)
    right = np.array([(f(ahead) - f(behind)) / (2 * size) for ahead, behind in pairs])
    require_arrays(answer, {"gradient": right.reshape(shape)}, mistakes.of_differences(f, theta, size))


@task("3b", "a gradient checker", points=2)
def checker(is_gradient: Callable, seed: int = 0) -> None:
    """Judge a gradient checker: it must accept what is right and find what is planted.

    Args:
        is_gradient: takes f, theta and a gradient to be judged; returns True or False.
        seed: of the random numbers.

    Raises:
        Wrong: saying what was refused or accepted.
    """
    params, x, targets = problem(seed)
    W_h = params.cell.recurrent_weights
    right = bptt.full(CELL, params, x, targets).gradients.cell.recurrent_weights
    planted = next(mistakes.of_full(answers.run(params, x, targets))).arrays["d_W_h"]

    def loss(W_h: np.ndarray) -> float:
        return bptt.full(CELL, params._replace(cell=params.cell._replace(recurrent_weights=W_h)), x, targets).loss

    def tiny(W_h: np.ndarray) -> float:
        return 1e-9 * loss(W_h)

    scales = np.logspace(0, -9, 10)
    theta = np.random.default_rng(seed).uniform(0.1, 1, 10)

    def uneven(theta: np.ndarray) -> float:
        return float(scales @ np.sin(theta))

    def falling(theta: np.ndarray) -> float:
        return -float(np.exp(theta).sum())

    _expect(is_gradient, loss, W_h, right, True, "the right gradient of an RNN's loss")
    _expect(is_gradient, loss, W_h, planted, False, "a gradient in which the recurrence lacks its transpose")
    _expect(
        *(is_gradient, falling, theta, -np.exp(theta), True, "a right gradient with no positive entry"),
        "Did you forget abs() in the size of the gradient?",
    )
    for sign, advice in [(1, "Look at the largest difference, not at the mean."), (-1, "Did you forget abs()?")]:
        spoilt = right.copy()
        spoilt[1, 2] += sign * 1e-4 * np.abs(right).max()
        _expect(
            is_gradient, loss, W_h, spoilt, False, "a gradient with one entry wrong by 0.01% of the largest", advice
        )
    _expect(
        *(is_gradient, loss, W_h, 1.000005 * right, False, "a gradient that is wrong by 0.0005% everywhere"),
        "The tolerance is 1e-6 of the largest entry.",
    )
    _expect(
        *(is_gradient, uneven, theta, scales * np.cos(theta), True, "a right gradient with some entries near zero"),
        "Divide by the largest entry of the gradient, not each difference by its own entry.",
    )
    advice = "Compare the difference with the largest entry of the gradient, not with a fixed number."
    _expect(is_gradient, tiny, W_h, 1e-9 * right, True, "the right gradient of a tiny loss", advice)
    _expect(is_gradient, tiny, W_h, 1e-9 * planted, False, "a wrong gradient of a tiny loss", advice)
    advice = "If you divide by its largest entry, you divide by zero: divide by the numerical gradient's."
    _expect(is_gradient, loss, W_h, 0 * right, False, "a gradient that is zero everywhere", advice)
    advice = "Every comparison with NaN is False, so `error > tolerance` lets it pass: ask for `error <= tolerance`."
    _expect(is_gradient, loss, W_h, np.full_like(right, np.nan), False, "a gradient full of NaN", advice)


@task("4", "sliding truncation", points=3)
def sliding(sliding_student: Callable, window: int = 2, **sizes: int) -> None:
    """Judge sliding truncation.

    Args:
        sliding_student: takes parameters, inputs, targets and window; returns the gradients of the cell.
        window: m.
        sizes: for :func:`problem`.

    Raises:
        Wrong: with a diagnosis.
    """
    params, x, targets = problem(**sizes)
    answer = _unpack(call(sliding_student, params, x, targets, window), CELL_NAMES)
    right = bptt.sliding(CELL, params, x, targets, window).gradients.cell
    require_arrays(answer, _unpack(right, CELL_NAMES), mistakes.of_sliding(answers.run(params, x, targets), window))


@task("5", "chunked truncation", points=2)
def chunked(chunked_student: Callable, chunk: int = 3, steps: int = 8, **sizes: int) -> None:
    """Judge chunked truncation with the state carried along.

    Args:
        chunked_student: takes parameters, inputs, targets and chunk; returns the gradients of the cell.
        chunk: k.
        steps: T.
        sizes: for :func:`problem`.

    Raises:
        Wrong: with a diagnosis.
    """
    params, x, targets = problem(steps=steps, **sizes)
    answer = _unpack(call(chunked_student, params, x, targets, chunk), CELL_NAMES)
    right = bptt.chunked(CELL, params, x, targets, chunk).gradients.cell
    require_arrays(answer, _unpack(right, CELL_NAMES), mistakes.of_chunked(answers.run(params, x, targets), chunk))


@task("6", "which pairs are kept", points=2)
def pairs(which_pairs: Callable, steps: int = 8, window: int = 2, chunk: int = 4) -> None:
    """Judge the counts of pairs (t, tau), and the set of those that only the window keeps.

    Args:
        which_pairs: takes nothing; returns three counts and a set of pairs (t, tau).
        steps: T.
        window: m.
        chunk: k.

    Raises:
        Wrong: naming the answer that is not right.
    """
    answer = _unpack(call(which_pairs), ("full", "sliding", "chunked", "only_sliding"))
    slid, cut = answers.window_pairs(steps, window), answers.chunk_pairs(steps, chunk)
    right = {"full": steps * (steps + 1) // 2, "sliding": int(slid.sum()), "chunked": int(cut.sum())}
    shorter = {"full": right["full"] - steps, "chunked": right["chunked"] - steps}
    shorter["sliding"] = int(answers.window_pairs(steps, window - 1).sum())
    for name, number in right.items():
        if answer[name] == number:
            continue
        hint = "is it one pair too few for every loss? tau = t counts too." if answer[name] == shorter[name] else ""
        raise Wrong(f"{name}: {answer[name]!r} is not the number of pairs{': ' + hint if hint else '.'}")
    _require_pairs(answer["only_sliding"], {(int(t) + 1, int(tau) + 1) for t, tau in np.argwhere(slid & ~cut)})


TASKS = [step, full, differences, checker, sliding, chunked, pairs]


def scoreboard() -> None:
    """Print what the visible checks have found so far."""
    print_scoreboard(TASKS)


def price(bptt_student: Callable, sliding_student: Callable, chunked_student: Callable) -> None:
    """Print how far both truncations are off for several reaches, from the student's own functions.

    Args:
        bptt_student: as in task 2.
        sliding_student: as in task 4.
        chunked_student: as in task 5.
    """
    arguments = problem(steps=32)
    try:
        for one, answer in zip((full, sliding, chunked), (bptt_student, sliding_student, chunked_student), strict=True):
            one.require(answer)
        exact = call(bptt_student, *arguments).cell.recurrent_weights
        print("reach   sliding (m = reach)   chunked (k = reach + 1)")
        for reach in (0, 1, 2, 4, 8, 16, 31):
            slid = call(sliding_student, *arguments, reach)[1]
            cut = call(chunked_student, *arguments, reach + 1)[1]
            print(f"{reach:5d} {_off(slid, exact):>21} {_off(cut, exact):>25}")
    except (NotImplementedError, Wrong):
        print("This table waits for tasks 2, 4 and 5.")


def _off(ours: np.ndarray, exact: np.ndarray) -> str:
    off = np.linalg.norm(ours - exact) / np.linalg.norm(exact)
    if off < 1e-12:
        return "exact"
    return f"off by {off:.0%}" if off >= 0.01 else "off by less than 1%"


def _unpack(answer: Any, names: tuple[str, ...]) -> dict[str, Any]:
    """Name the parts of a tuple."""
    if not isinstance(answer, (tuple, list)) or len(answer) != len(names):
        got = f"{len(answer)} of them" if isinstance(answer, (tuple, list)) else type(answer).__name__
        raise Wrong(f"expected {len(names)} results ({listing(list(names))}), got {got}.")
    return dict(zip(names, answer, strict=True))


def _flat_model(answer: Any) -> dict[str, Any]:
    """Name the six gradients of a model."""
    outer = _unpack(answer, ("cell", "readout", "d_h_0"))
    readout = _unpack(outer["readout"], ("d_W_y", "d_b_y"))
    return {**readout, **_unpack(outer["cell"], CELL_NAMES), "d_h_0": outer["d_h_0"]}


def _expect(is_gradient: Callable, f: Callable, theta, gradient, expected: bool, what: str, advice: str = "") -> None:
    """Ask the student's checker for a verdict and compare."""
    moves = []

    def watched(moved: np.ndarray) -> float:
        moves.append(np.abs(moved - theta).max())
        return f(moved)

    watched.__name__ = "f"
    verdict = call(is_gradient, watched, theta, gradient)
    if not isinstance(verdict, (bool, np.bool_)):
        raise Wrong(f"expected True or False, got {type(verdict).__name__}.")
    if verdict == expected:
        return
    step = max(moves, default=0.0)
    if step == 0:
        advice = "f was never called away from theta: nothing has been compared."
    elif expected and step < 1e-8:
        advice = f"Your step is {step:.0e}: rounding drowns the difference."
    elif expected and step > 1e-4:
        advice = f"Your step is {step:.0e}: the curve bends too much on the way."
    raise Wrong(f"it {'refused' if expected else 'accepted'} {what}.{' ' + advice if advice else ''}")


def _require_pairs(answer: Any, right: set) -> None:
    try:
        given = {(int(t), int(tau)) for t, tau in answer}
    except (TypeError, ValueError):
        raise Wrong("only_sliding: expected a set of pairs such as {(3, 1), (4, 4)}.") from None
    if given == right:
        return
    if given == {(tau, t) for t, tau in right}:
        raise Wrong("only_sliding: the right pairs the wrong way round: t, the loss, comes first.")
    if given == {(t - 1, tau - 1) for t, tau in right}:
        raise Wrong("only_sliding: the right pairs, counted from 0: the steps are numbered from 1.")
    missing, extra = len(right - given), len(given - right)
    raise Wrong(f"only_sliding: {missing} of the {len(right)} pairs are missing, and {extra} do not belong.")


__all__ = [
    "TASKS",
    "Task",
    "checker",
    "chunked",
    "differences",
    "full",
    "pairs",
    "price",
    "problem",
    "scoreboard",
    "sliding",
    "step",
]
