"""Checks of the exercise notebook on sequences.

Right answers are computed here in the plainest way; each well-known mistake stands beside its hint
as a function that makes it.
"""

from collections.abc import Callable
from itertools import product

import numpy as np

from rnncourse.checks.compare import Mistake, described, known, require_arrays
from rnncourse.checks.core import Task, Wrong, call, task
from rnncourse.checks.core import scoreboard as print_scoreboard
from rnncourse.params import RNNParams
from rnncourse.reference import cells, unroll

KINDS = ("every", "last", "after")


# Task 1


def _windows(x: np.ndarray, width: int, order: int = 1, shift: int = 0, fill: str = "zeros") -> np.ndarray:
    """Windows over time, right (as called) or wrong: newest first, shifted in time, or filled otherwise."""
    mode = {"zeros": "constant", "edge": "edge", "wrap": "wrap"}[fill]
    padded = np.pad(x, [(width - 1, max(shift, 0)), (0, 0), (0, 0)], mode=mode)
    parts = [padded[k + shift : k + shift + len(x)] for k in range(width)][::order]
    return np.concatenate(parts, axis=2)


WINDOW_MISTAKES = {
    "is the newest step first? The oldest comes first, so that a window reads like the sequence.": (
        lambda x, w: _windows(x, w, order=-1)
    ),
    "do your windows look one step ahead? Window t must end with x_t.": lambda x, w: _windows(x, w, shift=1),
    "what stands before the first step? Zeros, not the first step repeated.": lambda x, w: _windows(x, w, fill="edge"),
    "do your windows wrap around to the end of the sequence? Mind negative indices, and np.roll.": (
        lambda x, w: _windows(x, w, fill="wrap")
    ),
    "did you mix up features and steps? A window is whole steps, one after the other.": (
        lambda x, w: _windows(x, w).reshape(*x.shape[:2], w, -1).swapaxes(2, 3).reshape(*x.shape[:2], -1)
    ),
}


@task("1", "windows", points=3)
def windows(student: Callable, seed: int = 0, steps: int = 6, batch: int = 2, features: int = 3, width: int = 3):
    """Judge a function that cuts sequences into windows.

    Args:
        student: takes x (T, B, D) and a width W; returns (T, B, W D).
        seed: of the random numbers.
        steps: T.
        batch: B.
        features: D.
        width: W.

    Raises:
        Wrong: with a diagnosis.
    """
    x = np.random.default_rng(seed).standard_normal((steps, batch, features))
    mistakes = known("windows", WINDOW_MISTAKES, x, width)
    require_arrays({"windows": call(student, x, width)}, {"windows": _windows(x, width)}, mistakes)


# Task 2


def table(seed: int, values: int, steps: int) -> np.ndarray:
    """A joint distribution of a short sequence, no entry zero.

    Args:
        seed: of the random numbers.
        values: V, the values that each step may take.
        steps: T.

    Returns:
        p(x_1, ..., x_T), an array with T axes of size V.
    """
    p = np.random.default_rng(seed).gamma(1.0, size=(values,) * steps) + 0.01
    return p / p.sum()


def _conditionals(joint: np.ndarray) -> list[np.ndarray]:
    """p(x_1), p(x_2 | x_1), ...: the ratio of two marginals each."""
    T = joint.ndim
    marginals = [joint.sum(axis=tuple(range(t, T))) for t in range(T + 1)]
    return [marginals[t] / marginals[t - 1][..., None] for t in range(1, T + 1)]


def _own_marginals(joint: np.ndarray) -> list[np.ndarray]:
    T = joint.ndim
    single = [joint.sum(axis=tuple(k for k in range(T) if k != t)) for t in range(T)]
    return [np.broadcast_to(p, (len(p),) * (t + 1)) for t, p in enumerate(single)]


def _one_before(joint: np.ndarray) -> list[np.ndarray]:
    T = joint.ndim
    found = [joint.sum(axis=tuple(range(1, T)))]
    for t in range(1, T):
        pair = joint.sum(axis=tuple(k for k in range(T) if k not in (t - 1, t)))
        found.append(np.broadcast_to(pair / pair.sum(axis=1, keepdims=True), (len(pair),) * (t + 1)))
    return found


CONDITIONAL_MISTAKES = {
    "are these marginals? Divide by the probability of what has come before.": (
        lambda p: [p.sum(axis=tuple(range(t, p.ndim))) for t in range(1, p.ndim + 1)]
    ),
    "do you normalise over the past? For each past, the probabilities of the next value sum to one: divide by the "
    "sum over the last axis.": lambda p: [
        (m := p.sum(axis=tuple(range(t, p.ndim)))) / m.sum(axis=0, keepdims=True) for t in range(1, p.ndim + 1)
    ],
    "did you forget to condition? Each step's own marginal treats the steps as independent.": _own_marginals,
    "do you condition on the step before only? That is a Markov chain; condition on all that came before.": _one_before,
    "did you sum out the past instead of the future? p(x_1, ..., x_t) is what is left when the later steps are "
    "summed out.": lambda p: _conditionals(p.transpose()),
}


def _named(parts: list) -> dict:
    return {f"p(x_{t} | ...)" if t > 1 else "p(x_1)": part for t, part in enumerate(parts, 1)}


@task("2a", "conditionals from a joint table", points=2)
def conditionals(student: Callable, seed: int = 0, values: int = 2, steps: int = 3) -> None:
    """Judge a function that factorises a joint table.

    Args:
        student: takes a table with T axes of size V; returns T arrays, with 1, 2, ..., T axes.
        seed: of the table.
        values: V.
        steps: T.

    Raises:
        Wrong: with a diagnosis.
    """
    joint = table(seed, values, steps)
    answer = call(student, joint)
    if not isinstance(answer, list | tuple) or len(answer) != steps:
        raise Wrong(f"expected a list of {steps} arrays, one for each step, got {described(answer)}.")
    mistakes = [Mistake(hint, _named(wrong(joint))) for hint, wrong in CONDITIONAL_MISTAKES.items()]
    require_arrays(_named(answer), _named(_conditionals(joint)), mistakes)


PROBABILITY_MISTAKES = {
    "did you return the logarithm's argument? Return the logarithm of the product.": (
        lambda parts, x: np.exp(_log_probability(parts, x))
    ),
    "did you add probabilities? Add their logarithms.": lambda parts, x: np.array(
        sum(part[x[: t + 1]] for t, part in enumerate(parts))
    ),
    "is the sign wrong? The logarithm of a probability is negative.": lambda parts, x: -_log_probability(parts, x),
    "did you leave out the first step? Its probability, p(x_1), has no condition, and counts.": (
        lambda parts, x: _log_probability(parts, x) - np.log(parts[0][x[0]])
    ),
    "did you stop before the last step?": lambda parts, x: _log_probability(parts, x) - np.log(parts[-1][x]),
    "did you average over the steps? The chain rule is a sum.": lambda parts, x: _log_probability(parts, x) / len(x),
    "did you take the logarithm to base 2? Use nats: np.log.": lambda parts, x: _log_probability(parts, x) / np.log(2),
}


def _log_probability(parts: list[np.ndarray], x: tuple) -> np.ndarray:
    return np.array(sum(np.log(part[x[: t + 1]]) for t, part in enumerate(parts)))


@task("2b", "the probability of a sequence", points=2)
def log_probability(student: Callable, seed: int = 0, values: int = 3, steps: int = 3) -> None:
    """Judge the log-probability of a sequence under given conditionals.

    Args:
        student: takes the conditionals and a tuple of values x_1, ..., x_T; returns a number.
        seed: of the table.
        values: V.
        steps: T.

    Raises:
        Wrong: with a diagnosis.
    """
    parts = _conditionals(table(seed, values, steps))
    for x in product(range(values), repeat=steps):
        name = f"log p{x}"
        right = {name: _log_probability(parts, x)}
        require_arrays({name: call(student, parts, x)}, right, known(name, PROBABILITY_MISTAKES, parts, x))


# Task 3


def _final(params: RNNParams, x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    _, (state,), _ = unroll.forward(cells.rnn("tanh"), params, x, lengths=lengths)
    return state


def _all_steps(params: RNNParams, x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return _final(params, np.nan_to_num(x), np.full(len(lengths), len(x)))


def _shifted(by: int) -> Callable:
    def run(params, x, lengths):
        return _final(params, np.nan_to_num(x), np.clip(lengths + by, 0, len(x)))

    return run


def _zeroed(params: RNNParams, x: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    return np.where((lengths == len(x))[:, None], _final(params, x, lengths), 0.0)


PADDING_MISTAKES = {
    "does the padding move the state? Where a sequence has ended, keep the state; zeros are an input like any other.": (
        _all_steps
    ),
    "is the state of a sequence that has ended set to zero? Keep it as it was at its last real step.": _zeroed,
    "do you stop one step too early? A sequence of length n has n real steps, t = 0, ..., n - 1 in Python.": (
        _shifted(-1)
    ),
    "do you run one step too far? A sequence of length n ends with x[n - 1].": _shifted(1),
    "do you cut all sequences to the shortest?": lambda p, x, n: _final(p, x, np.full(len(n), n.min())),
}


@task("3", "padding", points=4)
def padded(student: Callable, seed: int = 0, steps: int = 6, inputs: int = 2, hidden: int = 4, lengths=(6, 3, 1)):
    """Judge a recurrence over sequences of different lengths.

    Args:
        student: takes W_x, W_h, b_h, x (T, B, D) with padding and lengths (B,); returns the states
            after the last real steps, (B, H).
        seed: of the random numbers.
        steps: T.
        inputs: D.
        hidden: H.
        lengths: of the sequences.

    Raises:
        Wrong: with a diagnosis.
    """
    rng, lengths = np.random.default_rng(seed), np.array(lengths)
    shapes = (hidden, inputs), (hidden, hidden), (hidden,)
    params = RNNParams(*(0.7 * rng.standard_normal(shape) for shape in shapes))
    x = rng.standard_normal((steps, len(lengths), inputs))
    real = np.arange(steps)[:, None] < lengths
    for padding, said in [(0.0, "with zeros as padding"), (np.nan, "with NaN as padding")]:
        filled = np.where(real[:, :, None], x, padding)
        answer = call(student, *params, filled, lengths)
        if np.isnan(padding) and np.isnan(np.asarray(answer, float)).any():
            raise Wrong(
                "with NaN as padding, the final states hold NaN: 0 * NaN is NaN. Choose with np.where, do not multiply."
            )
        name = f"the final states, {said},"
        right = {name: _final(params, x, lengths)}
        require_arrays({name: answer}, right, known(name, PADDING_MISTAKES, params, filled, lengths))


# Task 4


def _mask(kind: str, lengths: np.ndarray, steps: int, lag: int, late: int = 0) -> np.ndarray:
    t = np.arange(steps)[:, None]
    real = t < lengths
    return {"every": real, "last": t == lengths - 1 + late, "after": real & (t >= lag + late)}[kind]


MASK_MISTAKES = {
    "is the last real step the last row? Each sequence ends where its own length says.": (
        lambda kind, n, T, lag: (
            _mask(kind, n, T, lag) if kind != "last" else np.tile(np.arange(T)[:, None] == T - 1, len(n))
        )
    ),
    "do you count padding? Only steps before the end of each sequence are real.": (
        lambda kind, n, T, lag: _mask(kind, np.full(len(n), T), T, lag)
    ),
    "are you one step late? Counting from 0, a sequence of length n ends at step n - 1, and a lag of k answers "
    "from step k on.": lambda kind, n, T, lag: _mask(kind, n, T, lag, late=1),
    "are you one step early? The first answer is due at step `lag`, counting from 0.": (
        lambda kind, n, T, lag: _mask(kind, n, T, lag, late=-1)
    ),
    "did you mark the steps that do not count? True means: counts.": lambda *a: ~_mask(*a),
    "is `lag` ignored, or the wrong way round? The answers come after the first `lag` steps.": (
        lambda kind, n, T, lag: _mask("every" if kind == "after" else kind, n, T, lag)
    ),
}


@task("4", "where the loss is placed", points=3)
def loss_mask(student: Callable, lengths=(6, 4, 1), steps: int = 6, lag: int = 2) -> None:
    """Judge the masks of three kinds of task.

    Args:
        student: takes a kind, lengths (B,), steps T and a lag; returns booleans (T, B).
        lengths: of the sequences.
        steps: T.
        lag: steps before the first answer.

    Raises:
        Wrong: with a diagnosis.
    """
    lengths = np.array(lengths)
    for kind in KINDS:
        name = f'the mask of "{kind}"'
        answer = np.asarray(call(student, kind, lengths, steps, lag))
        if answer.dtype != bool:
            raise Wrong(f"{name}: expected an array of booleans, got {described(answer)}.")
        mistakes = [
            Mistake(hint, {name: wrong(kind, lengths, steps, lag).astype(float)})
            for hint, wrong in MASK_MISTAKES.items()
        ]
        right = {name: _mask(kind, lengths, steps, lag).astype(float)}
        require_arrays({name: answer.astype(float)}, right, mistakes)


# Task 5


def _table_model(joint: np.ndarray) -> Callable[[tuple], np.ndarray]:
    parts = _conditionals(joint)
    return lambda past: parts[len(past)][tuple(past)]


def _sampled(model: Callable, u: np.ndarray, pick: Callable | None = None, read: Callable = tuple) -> np.ndarray:
    pick = pick or (lambda p, u: int(np.searchsorted(np.cumsum(p), u, side="right")))
    x: list[int] = []
    for value in u:
        x.append(min(pick(model(read(x)), value), len(model(())) - 1))
    return np.array(x)


def _earlier(read: Callable) -> Callable:
    """Condition on something else than what was drawn, padded to the right length."""
    return lambda model, u: _sampled(model, u, read=read)


SAMPLING_MISTAKES = {
    "do you always take the most probable value? That is decoding, not sampling.": (
        lambda model, u: _sampled(model, u, pick=lambda p, _: int(np.argmax(p)))
    ),
    "do you draw every value in the same way? What was drawn must be passed on to `model`.": (
        lambda model, u: _sampled(model, u, read=lambda x: (0,) * len(x))
    ),
    "is the past in reverse? model((x_1, x_2)): the oldest value comes first.": (
        lambda model, u: _sampled(model, u, read=lambda x: tuple(x[::-1]))
    ),
    "are you off by one? Return the first k whose cumulative probability exceeds u, counting from 0.": (
        lambda model, u: _sampled(model, u, pick=lambda p, v: int(np.searchsorted(np.cumsum(p), v, side="right")) + 1)
    ),
    "do you compare u with the probabilities? Compare it with their cumulative sums.": (
        lambda model, u: _sampled(model, u, pick=lambda p, v: int(np.argmax(p > v)))
    ),
    "is the same random number used for every step?": lambda model, u: _sampled(model, np.full(len(u), u[0])),
}


@task("5", "ancestral sampling", points=4)
def sample(student: Callable, seed: int = 0, values: int = 3, steps: int = 4, draws: int = 40) -> None:
    """Judge ancestral sampling, with the random numbers given so that the answer is one.

    Args:
        student: takes a function from the past (a tuple) to p(x_t | past), shape (V,), and numbers
            u_1, ..., u_T in [0, 1); returns x_1, ..., x_T.
        seed: of the table and of the numbers.
        values: V.
        steps: T.
        draws: how many sequences are drawn.

    Raises:
        Wrong: with a diagnosis.
    """
    model = _table_model(table(seed, values, steps))
    uniforms = np.random.default_rng(seed).random((draws, steps))
    answer = np.array([_sequence(call(student, model, u), steps) for u in uniforms], float)
    right = np.array([_sampled(model, u) for u in uniforms], float)
    mistakes = [
        Mistake(hint, {"the sequences": np.array([wrong(model, u) for u in uniforms], float)})
        for hint, wrong in SAMPLING_MISTAKES.items()
    ]
    require_arrays({"the sequences": answer}, {"the sequences": right}, mistakes)


def _sequence(answer, steps: int) -> np.ndarray:
    try:
        array = np.asarray(answer, float)
    except (TypeError, ValueError):
        array = np.empty(0)
    if array.shape != (steps,):
        raise Wrong(f"expected {steps} whole numbers, one for each step, got {described(answer)}.")
    return array


# Task 6

COUNTS = {"windows": 46, "tied": 1568, "untied": 31360, "free": 1023, "markov": 3}
COUNT_SLIPS = {
    "windows": {
        50: "one for each step needs padding; here no window is padded.",
        45: "the last window counts, too.",
        10: "that is how many fit side by side; windows overlap.",
    },
    "tied": {1536: "there is a bias as well.", 31360: "one set of weights serves all steps."},
    "untied": {1568: "every step has weights of its own here.", 30720: "there is a bias as well."},
    "free": {1024: "they sum to one.", 10: "that is for independent steps.", 20: "that is for independent steps."},
    "markov": {
        19: "one transition table serves all steps.",
        6: "the probabilities of a first value, and those of each row, sum to one.",
        2: "the first value has a distribution, too.",
        4: "each row of the table sums to one.",
    },
}


@task("6", "counting", points=2)
def counts(student: Callable) -> None:
    """Judge five numbers.

    Args:
        student: takes nothing; returns windows, tied, untied, free, markov.

    Raises:
        Wrong: naming the number that is wrong, and if possible why.
    """
    answer = call(student)
    if not isinstance(answer, tuple) or len(answer) != len(COUNTS):
        raise Wrong(f"expected {len(COUNTS)} numbers, got {described(answer)}.")
    for (name, right), given in zip(COUNTS.items(), answer, strict=True):
        if given != right:
            hint = COUNT_SLIPS[name].get(given, "")
            raise Wrong(f"{name}: {given} is not the number{': ' + hint if hint else '.'}")


TASKS: list[Task] = [windows, conditionals, log_probability, padded, loss_mask, sample, counts]


def scoreboard() -> None:
    """Print what is done in this notebook and what is still to do."""
    print_scoreboard(TASKS)
