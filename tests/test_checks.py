"""The checks of the exercises: verdicts, comparisons, and every diagnosis they claim to make."""

import sys
import warnings

import numpy as np
import pytest

from rnncourse.checks import bptt as check
from rnncourse.checks import bptt_answers as answers
from rnncourse.checks import bptt_mistakes as mistakes
from rnncourse.checks import compare, core
from rnncourse.checks.core import Wrong

RIGHT = {"a": np.array([[1.0, 2.0], [3.0, 4.0]]), "b": np.array([5.0, 0.0, 1.0])}


def message(*arguments, **options) -> str:
    with pytest.raises(Wrong) as caught:
        compare.require_arrays(*arguments, **options)
    return str(caught.value)


def test_right_arrays_pass_and_rounding_is_not_an_error():
    compare.require_arrays({name: array + 1e-9 for name, array in RIGHT.items()}, RIGHT)
    compare.require_arrays({"a": [[1, 2], [3, 4]], "b": [5, 0, 1]}, RIGHT)


def test_the_error_is_measured_by_the_largest_entry():
    right = {"a": np.array([1.0, 1e-9])}
    compare.require_arrays({"a": np.array([1.0, 2e-9])}, right)
    assert message({"a": np.array([1.0, 1e-5])}, right) == "a is off by 0.001%."


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("b", np.zeros(4), "b: expected shape (3,), got (4,)."),
        ("b", np.zeros((7, 3)), "b: expected shape (3,), got (7, 3). Did you forget to sum over the batch?"),
        ("b", np.zeros((1, 3)), "b: expected shape (3,), got (1, 3)."),
        ("b", None, "b: expected an array of real numbers, got NoneType."),
        ("b", "text", "b: expected an array of real numbers, got str."),
        ("b", [[1, 2], [3]], "b: expected an array of real numbers, got list."),
        ("b", np.ones(3) * 1j, "b: expected an array of real numbers, got ndarray."),
        ("b", np.array([1, np.nan, np.inf]), "b: 2 of 3 entries are NaN or infinite."),
        ("b", np.zeros(3), "b is off by 100%: it is zero everywhere. Right so far: a."),
        ("b", -RIGHT["b"], "b is off by 200%: its sign is wrong. Right so far: a."),
        ("b", 0.25 * RIGHT["b"], "b is off by 75%: it is 0.25 times the right answer. Right so far: a."),
        ("b", 1.002 * RIGHT["b"], "b is off by 0.2%: it is 1.002 times the right answer. Right so far: a."),
        ("b", 1.00002 * RIGHT["b"], "b is off by 0.002%. Right so far: a."),
        ("a", RIGHT["a"].T, "a is off by 25%: it is the transpose of the right answer. Right so far: b."),
        ("a", np.full((2, 2), 99.0), "a is off by more than 1000%. Right so far: b."),
    ],
)
def test_what_is_said_about_a_wrong_array(name, value, expected):
    assert message({**RIGHT, name: value}, RIGHT) == expected


def test_a_flipped_matrix_is_recognised_by_its_shape():
    said = message({"a": np.zeros((2, 3))}, {"a": np.zeros((3, 2))})
    assert said == "a: expected shape (3, 2), got (2, 3). Is it the transpose?"


def test_the_mistake_that_explains_most_is_named():
    wrong = {name: array + 1 for name, array in RIGHT.items()}
    known = [compare.Mistake("one", {"a": wrong["a"]}), compare.Mistake("both", wrong)]
    assert message(wrong, RIGHT, known) == "a is off by 25% (b too): both"
    assert message({**wrong, "b": RIGHT["b"]}, RIGHT, known) == "a is off by 25%: one Right so far: b."


def answer_of(value):
    return lambda *_: value


@core.task("1", "double it", points=2)
def double(function, number: int = 3) -> None:
    if core.call(function, np.array([number]))[0] != 2 * number:
        raise Wrong("it is not the double.")


def stub(x):
    raise NotImplementedError


def crash(x):
    return x @ np.zeros((5, 5))


def spoil(x):
    x *= 2
    return x


def chatty(x):
    np.log(np.zeros(1))
    warnings.warn("careful", stacklevel=1)
    print("half way", file=sys.stderr)
    return 2 * x


@pytest.mark.parametrize(
    ("function", "state", "printed"),
    [
        (lambda x: 2 * x, "right", "right (2 points)."),
        (chatty, "right", "right (2 points)."),
        (lambda x: 3 * x, "not yet", "not yet. it is not the double."),
        (stub, "to do", "still to do."),
        (spoil, "not yet", "not yet. spoil changed its argument x: work on a copy, or put it back."),
        (lambda x: None, "not yet", "not yet. <lambda> returned None: is its return missing?"),
    ],
)
def test_a_task_prints_a_verdict_and_never_raises(function, state, printed, capfd, recwarn):
    double(function)
    assert not recwarn  # a word on stderr would cost a student the points
    assert double.state == state
    assert capfd.readouterr() == (f"Task 1, double it: {printed}\n", "")


def test_an_error_in_the_students_code_is_told_in_one_line_with_its_place(capsys):
    double(crash)
    said = capsys.readouterr().out
    assert said.startswith("Task 1, double it: not yet. crash raised ValueError: matmul: ") and said.count("\n") == 1
    line = crash.__code__.co_firstlineno + 1
    assert said.endswith(f"(in crash, line {line} of its cell: return x @ np.zeros((5, 5)))\n")


def test_require_raises_what_nbgrader_needs():
    double.require(lambda x: 2 * x, number=8)
    with pytest.raises(NotImplementedError):
        double.require(stub)
    with pytest.raises(AssertionError, match="not the double"):
        double.require(lambda x: x + 3, number=4)


def test_jupyter_shows_a_wrong_answer_without_the_way_there():
    assert Wrong("it is not the double.")._render_traceback_() == ["Not yet: it is not the double."]


def test_the_scoreboard_says_what_is_still_to_do(capsys):
    other = core.Task("2", "nothing", 1, lambda: None)
    double(lambda x: 2 * x)
    other.state = "to do"
    capsys.readouterr()
    core.scoreboard([double, other])
    assert capsys.readouterr().out == (
        "Task 1   double it  2 points  right\nTask 2   nothing     1 point  to do\n2 of 3 points\n"
    )


# --- Every mistake leads to its own hint ------------------------------------------------------

PARAMS, X, TARGETS = check.problem()
RUN = answers.run(PARAMS, X, TARGETS)
RUN_8 = answers.run(*check.problem(steps=8))  # two whole chunks of three, and a shorter one


def one_step_arguments():
    params, x, targets = check.problem(steps=2, batch=1)
    r = answers.run(params, x, targets)
    return params.cell.recurrent_weights, x[1, 0], r.h[1, 0], r.h[2, 0], r.g[1, 0]


def one_step_right():
    W_h, x, h_previous, h, s = one_step_arguments()
    return answers.one_step(W_h, x, h_previous, s, 1 - h * h)


def curve(theta):
    return float(np.exp(theta).sum() + np.sin(theta.sum()) ** 2)


THETA = np.array([[0.3, -0.7], [1.1, 0.2]])


def differences_right():
    moves = zip(answers.moved(THETA, 0.01), answers.moved(THETA, -0.01), strict=True)
    return {"gradient": np.array([(curve(a) - curve(b)) / 0.02 for a, b in moves]).reshape(THETA.shape)}


FAMILIES = {
    "one step": (one_step_right(), list(mistakes.of_one_step(*one_step_arguments()))),
    "full": (answers.all_gradients(RUN), list(mistakes.of_full(RUN))),
    "sliding": (answers.truncated(RUN, answers.window_pairs(7, 2)), list(mistakes.of_sliding(RUN, 2))),
    "chunked": (answers.truncated(RUN_8, answers.chunk_pairs(8, 3)), list(mistakes.of_chunked(RUN_8, 3))),
    "differences": (differences_right(), list(mistakes.of_differences(curve, THETA, 0.01))),
}
CASES = [(family, i) for family, (_, known) in FAMILIES.items() for i in range(len(known))]


@pytest.mark.parametrize(("family", "i"), CASES)
def test_every_mistake_is_wrong_and_leads_to_its_own_hint(family, i):
    right, known = FAMILIES[family]
    said = message({**right, **known[i].arrays}, right, known)
    assert known[i].hint in said


def test_the_ingredients_of_the_mistakes_give_the_library_s_gradients_when_they_are_right():
    """What shows mistakes must itself be right where nothing is changed."""
    check.full.require(answer_of(_tree(FAMILIES["full"][0])))
    check.sliding.require(answer_of(list(FAMILIES["sliding"][0].values())))
    check.chunked.require(answer_of(list(FAMILIES["chunked"][0].values())))


def _tree(named):
    cell, readout = (named["d_W_x"], named["d_W_h"], named["d_b_h"]), (named["d_W_y"], named["d_b_y"])
    return cell, readout, named["d_h_0"]


# --- Answers of the wrong form ----------------------------------------------------------------


@pytest.mark.parametrize(
    ("task", "answer", "expected"),
    [
        (check.step, 3, "expected 5 results (delta, d_W_x, d_W_h, d_b_h and d_h_previous), got int"),
        (check.full, (1, 2), "expected 3 results (cell, readout and d_h_0), got 2 of them"),
        (check.sliding, {}, "expected 3 results (d_W_x, d_W_h and d_b_h), got dict"),
        (check.chunked, None, "<lambda> returned None"),
        (check.checker, 1.0, "expected True or False, got float"),
        (check.pairs, (36, 21, 20, 3), "only_sliding: expected a set of pairs"),
    ],
)
def test_an_answer_of_the_wrong_form_is_told_what_was_expected(task, answer, expected):
    with pytest.raises(Wrong) as caught:
        task.require(answer_of(answer))
    assert expected in str(caught.value)


PAIRS = {(5, 3), (5, 4), (6, 4)}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ((28, 21, 20, PAIRS), "full: 28 is not the number of pairs: is it one pair too few for every loss?"),
        ((36, 15, 20, PAIRS), "sliding: 15 is not the number of pairs: is it one pair too few for every loss?"),
        ((36, 21, 12, PAIRS), "chunked: 12 is not the number of pairs: is it one pair too few for every loss?"),
        ((36, 26, 20, PAIRS), "sliding: 26 is not the number of pairs."),
        ((36, 21, 20, {(3, 5), (4, 5), (4, 6)}), "only_sliding: the right pairs the wrong way round"),
        ((36, 21, 20, {(4, 2), (4, 3), (5, 3)}), "only_sliding: the right pairs, counted from 0"),
        ((36, 21, 20, {(5, 3), (5, 4), (8, 8)}), "only_sliding: 1 of the 3 pairs are missing, and 1 do not belong."),
    ],
)
def test_counting_mistakes_are_recognised(answer, expected):
    with pytest.raises(Wrong) as caught:
        check.pairs.require(answer_of(answer))
    assert str(caught.value).startswith(expected)
