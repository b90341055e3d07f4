"""Checks of the exercise notebook on the LSTM.

Right answers come from ``rnncourse.reference`` or from the plainest formula; each well-known mistake
stands beside its hint as a function that makes it.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rnncourse.checks.compare import Mistake, as_array, known, named_parts, require_arrays
from rnncourse.checks.core import Task, Wrong, call, task
from rnncourse.checks.core import scoreboard as print_scoreboard
from rnncourse.gate_params import LSTMParams
from rnncourse.reference import lstm, unroll

BACK = ("d_W_x", "d_W_h", "d_b", "d_x", "d_h_0", "d_c_0")


class Problem(NamedTuple):
    """A small LSTM with all that goes in, forwards and backwards; nothing in it is zero."""

    params: LSTMParams
    x: np.ndarray
    start: tuple
    g: np.ndarray


def problem(seed: int, steps: int = 5, batch: int = 3, inputs: int = 2, hidden: int = 4) -> Problem:
    """Draw a problem.

    Args:
        seed: of the random numbers.
        steps: T.
        batch: B.
        inputs: D.
        hidden: H.

    Returns:
        Parameters, inputs (T, B, D), h_0 and c_0 (each (B, H)), and gradients at the outputs (T, B, H).
    """
    rng = np.random.default_rng(seed)
    draw = rng.standard_normal
    params = LSTMParams(draw((4 * hidden, inputs)), draw((4 * hidden, hidden)), draw(4 * hidden))
    return Problem(params, draw((steps, batch, inputs)), tuple(draw((2, batch, hidden))), draw((steps, batch, hidden)))


# Task 1


class Slip(NamedTuple):
    """How a forward pass may go wrong; the right one by default."""

    order: tuple = (0, 1, 2, 3)
    candidate: Callable = np.tanh
    seen: Callable = np.tanh
    old: bool = False
    fresh: bool = False
    stuck: bool = False
    bias: float = 1.0


RIGHT = Slip()


def _run(p: Problem, slip: Slip = RIGHT) -> dict:
    (W_x, W_h, b), x, (h, c), _ = p
    outputs, memories = [], []
    for x_t in x:
        blocks = np.split(x_t @ W_x.T + h @ W_h.T + slip.bias * b, 4, axis=1)
        i, f, g, o = (blocks[k] for k in slip.order)
        i, f, o = (1 / (1 + np.exp(-a)) for a in (i, f, o))
        before, i = c, 1 - f if slip.fresh else i
        c = f * c + i * slip.candidate(g)
        h_new = o * slip.seen(before if slip.old else c)
        h = h if slip.stuck else h_new
        outputs.append(h_new)
        memories.append(c)
    return {"h": np.array(outputs), "c": np.array(memories)}


def _sigmoid(a):
    return 1 / (1 + np.exp(-a))


FORWARD_SLIPS = {
    "is the order of the blocks i, f, c, o? Yours looks like f, i, c, o.": Slip(order=(1, 0, 2, 3)),
    "is the order of the blocks i, f, c, o? Yours looks like i, f, o, c.": Slip(order=(0, 1, 3, 2)),
    "is the candidate squashed by the sigmoid? It is a tanh, so that it can be negative.": Slip(candidate=_sigmoid),
    "is the candidate not squashed at all?": Slip(candidate=lambda a: a),
    "does the output show the old memory? h_t = o_t * tanh(c_t), the new one.": Slip(old=True),
    "is the tanh of the output missing?": Slip(seen=lambda c: c),
    "did you write 1 - f for the input gate? That is the GRU's way.": Slip(fresh=True),
    "does h ever come back in? The sums read the output before through W_h.": Slip(stuck=True),
    "did you forget the bias b?": Slip(bias=0.0),
}


@task("1", "forward", points=4)
def forward(student: Callable, **sizes: int) -> None:
    """Judge outputs and memories of an LSTM.

    Args:
        student: takes W_x, W_h, b, x, h_0 and c_0; returns h and c, each (T, B, H).
        sizes: for :func:`problem`.

    Raises:
        Wrong: with a diagnosis.
    """
    p = problem(**{"seed": 0, **sizes})
    answer = named_parts(call(student, *p.params, p.x, *p.start), ("h", "c"))
    right, _, _ = unroll.forward(lstm.plain(), p.params, p.x, p.start)
    mistakes = [Mistake(hint, _run(p, slip)) for hint, slip in FORWARD_SLIPS.items()]
    require_arrays(answer, {"h": right, "c": _run(p)["c"]}, mistakes)


# Task 2


HALF_LIFE_MISTAKES = {
    "is that the time constant, after which 1/e is left? A half is left after log(2) of it.": (
        lambda b: 1 / np.log1p(np.exp(-b))
    ),
    "is that base 10? The half-life is log(1/2) / log(f), in any one base.": (
        lambda b: np.log10(2) / np.log1p(np.exp(-b))
    ),
    "did you take the bias for the gate? The gate is sigma(b).": lambda b: np.log(0.5) / np.log(np.abs(b)),
    "is that only the approximation for large biases? For small ones it is off.": lambda b: np.exp(b) * np.log(2),
    "is the sign of the bias turned round? A larger bias must live longer.": lambda b: np.log(2) / np.log1p(np.exp(b)),
}


LOST = "for long half-lives the gate is rounded to nearly one, and what it lacks is lost."
ROUNDED = {f"{LOST} log1p(e^-b) keeps it.": lambda b: np.log(0.5) / np.log(_sigmoid(b))}


def _bias_of_gate(n):
    f = 0.5 ** (1 / n)
    return np.log(f) - np.log(1 - f)


@task("2", "half-lives", points=3)
def half_life(student: Callable, back: Callable, seed: int = 0, size: int = 6) -> None:
    """Judge the half-life of a forget bias, and the way back.

    Args:
        student: from biases to half-lives in steps, entry by entry.
        back: from half-lives to biases.
        seed: of the random numbers.
        size: how many.

    Raises:
        Wrong: with a diagnosis.
    """
    b = np.random.default_rng(seed).uniform(-1, 6, size)
    right = {"half-lives": np.log(2) / np.log1p(np.exp(-b))}
    require_arrays({"half-lives": call(student, b)}, right, known("half-lives", HALF_LIFE_MISTAKES, b))
    answer = {"biases": call(back, right["half-lives"])}
    rough = Mistake("is that the approximation log(n / log 2)? For short half-lives it is off.", {
        "biases": np.log(right["half-lives"] / np.log(2))
    })  # fmt: skip
    gate = Mistake("is that the gate? Its bias is asked for, log(f / (1 - f)).", {
        "biases": 0.5 ** (1 / right["half-lives"])
    })  # fmt: skip
    require_arrays(answer, {"biases": b}, [rough, gate])
    for end in np.array([[-5.0], [-2.0], [12.0], [34.0]]):  # one at a time: short ones count as much as long
        right = {"half-lives": np.log(2) / np.log1p(np.exp(-end))}
        require_arrays({"half-lives": call(student, end)}, right, known("half-lives", ROUNDED, end))
        answer = {"biases": call(back, right["half-lives"])}
        lost = Mistake(f"{LOST} 1 - f has few digits left; expm1 has all of them.", {
            "biases": _bias_of_gate(right["half-lives"])
        })  # fmt: skip
        require_arrays(answer, {"biases": end}, [lost])


# Tasks 3 and 4


class BackSlip(NamedTuple):
    """How a backward pass may go wrong; the right one by default."""

    new_content: bool = False
    no_output: bool = False
    no_carry: bool = False
    late_gate: bool = False
    tanh_slope: bool = True
    slopes: bool = True
    from_s: bool = False
    read_c: bool = False
    wrong_candidate: bool = False


RIGHT_BACK = BackSlip()


def _gates(p: Problem) -> tuple:
    tape = unroll.forward(lstm.plain(), p.params, p.x, p.start)[2]
    return tape, [(*np.split(gates, 4, axis=1), before, seen) for gates, before, seen in tape.saved]


def _step_back(saved: tuple, s, s_c, slip: BackSlip) -> tuple:
    """delta_t (B, 4 H), and what goes on to the memory before."""
    i, f, g, o, before, seen = saved
    c = np.arctanh(seen)
    here = 0.0 if slip.no_output else o * s * ((1 - seen**2) if slip.tanh_slope else 1)
    total = s_c + here
    d_o = s * (c if slip.read_c else seen)
    reach = s if slip.from_s else total
    content = c if slip.new_content else before
    deltas = [reach * g, reach * content, reach * i, d_o]
    if slip.slopes:
        slope = g * (1 - g) if slip.wrong_candidate else 1 - g**2
        deltas = [d * k for d, k in zip(deltas, (i * (1 - i), f * (1 - f), slope, o * (1 - o)), strict=True)]
    carry = total if slip.late_gate else f * (s_c if slip.no_carry else total)
    return np.concatenate(deltas, axis=1), carry


STEP_SLIPS = {
    "does the forget gate meet the new memory? It was multiplied by c_{t-1}.": BackSlip(new_content=True),
    "did you leave out what reaches the memory through h_t?": BackSlip(no_output=True),
    "does only what came from later go on to c_{t-1}? What came through h_t goes on, too.": BackSlip(no_carry=True),
    "did you forget f_t on the way to c_{t-1}?": BackSlip(late_gate=True),
    "is the slope of tanh(c_t) missing, 1 - tanh(c_t)^2?": BackSlip(tanh_slope=False),
    "are the slopes of the gates missing?": BackSlip(slopes=False),
    "do your gates read s_t? i, f and the candidate are read by c_t.": BackSlip(from_s=True),
    "did the output gate meet c_t? It was multiplied by tanh(c_t).": BackSlip(read_c=True),
    "is that the sigmoid's slope for the candidate? Its slope is 1 - candidate^2.": BackSlip(wrong_candidate=True),
}


@task("3", "one step back", points=4)
def step_back(student: Callable, scale: float = 1.0, **sizes: int) -> None:
    """Judge one step of the backward pass.

    Args:
        student: takes i, f, candidate, o, c_before, c (each (B, H)), s and s_c_later; returns delta (B, 4 H) and
            what goes on to c_{t-1}.
        scale: of what arrives, s and s_c_later.
        sizes: for :func:`problem`.

    Raises:
        Wrong: with a diagnosis.
    """
    p = problem(**{"seed": 2, "steps": 2, **sizes})
    saved = _gates(p)[1][-1]
    s, s_c = scale * p.g[0], scale * p.g[1]
    *given, seen = saved
    answer = named_parts(call(student, *given, np.arctanh(seen), s, s_c), ("delta", "to c_before"))
    names = ("delta", "to c_before")
    right = dict(zip(names, _step_back(saved, s, s_c, BackSlip()), strict=True))
    mistakes = [
        Mistake(hint, dict(zip(names, _step_back(saved, s, s_c, slip), strict=True)))
        for hint, slip in STEP_SLIPS.items()
    ]
    require_arrays(answer, right, mistakes)


def _back(p: Problem, slip: BackSlip = RIGHT_BACK, h_later=True, c_later=True, mean=False, new_state=False) -> dict:
    """Every gradient; states that belong to one sequence each keep the batch."""
    tape, saved = _gates(p)
    (W_x, W_h, _), T = p.params, len(p.x)
    d_h, d_c, deltas = np.zeros_like(p.g[0]), np.zeros_like(p.g[0]), [None] * T
    for t in reversed(range(T)):
        s = p.g[t] + (d_h if h_later else 0)
        deltas[t], d_c = _step_back(saved[t], s, d_c if c_later else 0 * d_c, slip)
        d_h = deltas[t] @ W_h
    D, k = np.array(deltas), len(p.x[0]) if mean else 1
    states = tape.hidden[1:] if new_state else tape.hidden[:-1]
    return {
        "d_W_x": np.einsum("tbk,tbd->kd", D, p.x) / k,
        "d_W_h": np.einsum("tbk,tbh->kh", D, states) / k,
        "d_b": D.sum(axis=(0, 1)) / k,
        "d_x": D @ W_x,
        "d_h_0": d_h,
        "d_c_0": d_c,
    }


WHOLE_MISTAKES = {
    "did the gradient from the next step's sums go missing, W_h^T delta_{t+1}?": lambda p: _back(p, h_later=False),
    "did the memory's own gradient go missing between the steps?": lambda p: _back(p, c_later=False),
    "did you average over the batch? Gradients of shared weights add up.": lambda p: _back(p, mean=True),
    "does W_h meet h_t? Step t read h_{t-1}.": lambda p: _back(p, new_state=True),
}


@task("4", "the whole way back", points=6)
def backward(student: Callable, **sizes: int) -> None:
    """Judge every gradient of an LSTM.

    Args:
        student: takes W_x, W_h, b, x, h_0, c_0 and g; returns the gradients of the first six.
        sizes: for :func:`problem`.

    Raises:
        Wrong: with a diagnosis.
    """
    p = problem(**{"seed": 3, **sizes})
    answer = named_parts(call(student, *p.params, p.x, *p.start, p.g), BACK)
    tape, _ = _gates(p)
    back = unroll.backward(tape, p.g)
    right = dict(zip(BACK, (*back.params, back.inputs, *back.initial_state), strict=True))
    mistakes = [Mistake(hint, wrong(p)) for hint, wrong in WHOLE_MISTAKES.items()]
    mistakes += [Mistake(hint, _back(p, slip)) for hint, slip in STEP_SLIPS.items()]
    require_arrays(answer, right, mistakes)


# Task 5


@task("5", "a counter", points=3)
def counter(student: Callable, seed: int = 0, letters: int = 400) -> None:
    """Judge the weights of an LSTM of one unit that counts.

    Args:
        student: returns W_x (4, 3), W_h (4, 1) and b (4,).
        seed: of the random letters.
        letters: how many.

    Raises:
        Wrong: with a diagnosis.
    """
    like = {"W_x": np.zeros((4, 3)), "W_h": np.zeros((4, 1)), "b": np.zeros(4)}
    answer = named_parts(call(student), tuple(like))
    given = {name: as_array(name, answer[name], part) for name, part in like.items()}
    params = LSTMParams(*(part.astype(float) for part in given.values()))
    heard = np.random.default_rng(seed).integers(0, 3, letters)
    tape = unroll.forward(lstm.plain(), params, np.eye(3)[heard][:, None], (np.zeros(1), np.zeros(1)))[2]
    gates, before, _ = (np.array(part)[:, 0] for part in zip(*tape.saved, strict=True))
    i, f, g, _ = gates.T
    ours = np.append(before[1:, 0], f[-1] * before[-1, 0] + i[-1] * g[-1])
    truth = np.cumsum(np.array([1, -1, 0])[heard])
    if np.abs(ours - truth).max() > 1e-14:
        raise Wrong(f"the count is off by {np.abs(ours - truth).max():.3g}: {_why(i, f, g, heard, ours, truth)}")


def _why(i, f, g, heard, ours, truth) -> str:
    """Which of the gates lets the count slip."""
    if f.min() < 1:
        return f"the forget gate is {_below_one(f.min())} somewhere, so the count leaks. Open it further."
    if np.abs(g[heard == 2] * i[heard == 2]).max(initial=0) > 1e-9:
        return "the third letter is counted, too. Shut the input gate for it, or make its candidate zero."
    if np.abs(ours + truth).max() < 1e-6:
        return "you count down where you should count up."
    if i[heard < 2].min() < 1:
        return f"the input gate is {_below_one(i[heard < 2].min())} at a letter that counts. Open it further."
    return "the candidate is not +1 for the first letter and -1 for the second, to the last bit."


def _below_one(gate: float) -> str:
    """A gate in words: its value, or what it lacks where three digits would say one."""
    return f"{gate:.3g}" if gate < 0.999 else f"1 - {1 - gate:.1g}"


TASKS: list[Task] = [forward, half_life, step_back, backward, counter]


def scoreboard() -> None:
    """Print what is done in this notebook and what is still to do."""
    print_scoreboard(TASKS)
