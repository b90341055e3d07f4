"""Checks of the exercise notebook on the vanilla RNN.

Right answers come from ``rnncourse.reference`` or from the plainest formula; each well-known mistake
stands beside its hint as a function that makes it.
"""

from collections.abc import Callable

import numpy as np

from rnncourse.checks.compare import Mistake, described, known, require_arrays
from rnncourse.checks.core import Task, Wrong, call, task
from rnncourse.checks.core import scoreboard as print_scoreboard
from rnncourse.params import ModelParams, RNNParams, init_model, map_arrays
from rnncourse.reference import cells, readout, unroll
from rnncourse.reference.activations import sigmoid


def problem(seed: int, steps: int = 5, batch: int = 3, inputs: int = 2, hidden: int = 4, outputs: int = 3):
    """A small model with inputs; nothing in it is zero.

    Args:
        seed: of the random numbers.
        steps: T.
        batch: B.
        inputs: D.
        hidden: H.
        outputs: O.

    Returns:
        ``(params, x)``: ModelParams, and inputs of shape (T, B, D).
    """
    rng = np.random.default_rng(seed)
    model = init_model(rng, inputs, hidden, outputs)
    model = map_arrays(lambda array: array + 0.4 * rng.standard_normal(array.shape), model)
    return model, rng.standard_normal((steps, batch, inputs))


def parts(answer, names: tuple[str, ...]) -> dict:
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


# Task 1


def _states(params: ModelParams, x: np.ndarray, activation: str = "tanh", start=None) -> np.ndarray:
    """h_0, ..., h_T."""
    start = params.initial_state if start is None else start
    return unroll.forward(cells.rnn(activation), params.cell, x, start)[2].hidden


def _run(params: ModelParams, x: np.ndarray, **changes) -> dict:
    h = _states(params, x, **changes)[1:]
    return {"h": h, "y": readout.forward(params.readout, h)[0]}


def _without(field: str) -> Callable:
    def run(params, x):
        return _run(params._replace(cell=params.cell._replace(**{field: 0 * getattr(params.cell, field)})), x)

    return run


FORWARD_MISTAKES = {
    "do you start from zero? The state before the first input is h_0.": lambda p, x: _run(
        p, x, start=0 * p.initial_state
    ),
    "did you forget the bias b_h?": _without("bias"),
    "does the state ever come back in? The new state reads the old one through W_h.": _without("recurrent_weights"),
    "is tanh missing?": lambda p, x: _run(p, x, activation="identity"),
    "is that the sigmoid? Here phi is tanh.": lambda p, x: _run(p, x, activation="sigmoid"),
    "do your outputs read the state before? y_t is read off h_t.": lambda p, x: {
        "h": _run(p, x)["h"],
        "y": readout.forward(p.readout, np.array(_states(p, x)[:-1]))[0],
    },
    "did you squash the outputs? The readout is affine.": lambda p, x: {
        "h": _run(p, x)["h"],
        "y": np.tanh(_run(p, x)["y"]),
    },
    "did you forget the readout's bias b_y?": lambda p, x: {
        "h": _run(p, x)["h"],
        "y": _run(p, x)["y"] - p.readout.bias,
    },
}


@task("1", "forward", points=4)
def forward(student: Callable, **sizes: int) -> None:
    """Judge states and outputs of a vanilla RNN.

    Args:
        student: takes ModelParams and x (T, B, D); returns h (T, B, H) and y (T, B, O).
        sizes: for :func:`problem`.

    Raises:
        Wrong: with a diagnosis.
    """
    model, x = problem(**{"seed": 0, **sizes})
    answer = parts(call(student, model, x), ("h", "y"))
    if np.shape(answer["h"])[:1] == (len(x) + 1,):
        raise Wrong(f"h: expected the {len(x)} states after the inputs, got {len(x) + 1}: leave h_0 out.")
    mistakes = [Mistake(hint, wrong(model, x)) for hint, wrong in FORWARD_MISTAKES.items()]
    require_arrays(answer, _run(model, x), mistakes)


# Task 2


def _split(W, b_x, b_h, inputs, order="hx", bias=(1, 1)) -> dict:
    first = W[:, :-inputs], W[:, -inputs:]
    W_h, W_x = first if order == "hx" else (W[:, inputs:], W[:, :inputs])
    return {"W_x": W_x, "W_h": W_h, "b": bias[0] * b_x + bias[1] * b_h}


SPLIT_MISTAKES = {
    "is the order [x, h]? In this notation the state comes first.": lambda *a: _split(*a, order="xh"),
    "where is the second bias? Both are added to the same pre-activation, so only their sum matters.": (
        lambda *a: _split(*a, bias=(1, 0))
    ),
    "where is the first bias? Both are added to the same pre-activation, so only their sum matters.": (
        lambda *a: _split(*a, bias=(0, 1))
    ),
    "did you average the biases? They are added.": lambda *a: _split(*a, bias=(0.5, 0.5)),
}


@task("2", "another notation", points=3)
def split(student: Callable, seed: int = 0, inputs: int = 2, hidden: int = 4) -> None:
    """Judge the way from one concatenated matrix and two biases to three arrays.

    Args:
        student: takes W (H, H + D), b_x (H,), b_h (H,) and D; returns W_x, W_h and b.
        seed: of the random numbers.
        inputs: D.
        hidden: H.

    Raises:
        Wrong: with a diagnosis.
    """
    rng = np.random.default_rng(seed)
    given = rng.standard_normal((hidden, hidden + inputs)), *rng.standard_normal((2, hidden)), inputs
    answer = parts(call(student, *given), ("W_x", "W_h", "b"))
    require_arrays(answer, _split(*given), [Mistake(hint, wrong(*given)) for hint, wrong in SPLIT_MISTAKES.items()])


# Task 3


def _to_sigmoid(cell: RNNParams, h_0, inner=2.0, recur=4.0, offset=-2.0, start=lambda h: (1 + h) / 2) -> dict:
    W_x, W_h, b = cell
    b = inner * b + offset * W_h.sum(axis=1)
    return {"W_x": inner * W_x, "W_h": recur * W_h, "b": b, "s_0": start(h_0)}


SIGMOID_MISTAKES = {
    "is the factor 4 missing? W_h gets one 2 from the sigmoid's argument and one from h = 2 s - 1.": (
        lambda *a: _to_sigmoid(*a, recur=2.0)
    ),
    "where did the -1 of h = 2 s - 1 go? W_h meets it, so it moves the bias.": lambda *a: _to_sigmoid(*a, offset=0.0),
    "is the sign of the shift wrong? h = 2 s - 1 takes W_h's row sums off the bias.": (
        lambda *a: _to_sigmoid(*a, offset=2.0)
    ),
    "is the shift of the bias doubled? The sigmoid's argument is 2 a, and a holds -W_h 1 once.": (
        lambda *a: _to_sigmoid(*a, offset=-1.0)
    ),
    "did you forget that tanh(a) = 2 sigma(2a) - 1 doubles the argument?": (
        lambda *a: _to_sigmoid(*a, inner=1.0, recur=2.0, offset=-1.0)
    ),
    "did you add up columns of W_h? (W_h 1)_i is the sum of row i.": lambda cell, h_0: (
        _to_sigmoid(cell, h_0, offset=0.0) | {"b": 2 * cell.bias - 2 * cell.recurrent_weights.sum(axis=0)}
    ),
    "is the initial state still that of the tanh network? It must be converted, too.": (
        lambda *a: _to_sigmoid(*a, start=lambda h: h)
    ),
    "did you convert the initial state the wrong way round? s = (1 + h) / 2.": (
        lambda *a: _to_sigmoid(*a, start=lambda h: 2 * h - 1)
    ),
}


@task("3", "tanh by sigmoids", points=4)
def to_sigmoid(student: Callable, seed: int = 0, inputs: int = 2, hidden: int = 4) -> None:
    """Judge the weights of the sigmoid network that does what a tanh network does.

    Args:
        student: takes W_x, W_h, b_h and h_0; returns W_x, W_h, b and s_0 of the sigmoid network.
        seed: of the random numbers.
        inputs: D.
        hidden: H.

    Raises:
        Wrong: with a diagnosis.
    """
    model, _ = problem(seed, inputs=inputs, hidden=hidden)
    given = model.cell, np.tanh(model.initial_state)
    answer = parts(call(student, *model.cell, given[1]), ("W_x", "W_h", "b", "s_0"))
    mistakes = [Mistake(hint, wrong(*given)) for hint, wrong in SIGMOID_MISTAKES.items()]
    require_arrays(answer, _to_sigmoid(*given), mistakes)


# Task 4


def _linear(cell: RNNParams, x: np.ndarray, h_0: np.ndarray, late: int = 0, start: int = 0, flip=False) -> np.ndarray:
    W_x, W_h, b = cell
    power, T = np.linalg.matrix_power, len(x)
    W_h = W_h.T if flip else W_h
    drive = sum(power(W_h, T - t + late) @ (W_x @ x[t - 1] + b) for t in range(1, T + 1))
    return power(W_h, T + start) @ h_0 + drive


def _added_late(cell: RNNParams, x: np.ndarray, h_0: np.ndarray) -> np.ndarray:
    return _linear(cell._replace(bias=0 * cell.bias), x, h_0) + cell.bias


LINEAR_MISTAKES = {
    "is every power one too high? The input of step T is not multiplied by W_h at all.": lambda *a: _linear(*a, late=1),
    "is h_0 multiplied once too little? It passes through T steps.": lambda *a: _linear(*a, start=-1),
    "where is h_0?": lambda cell, x, h_0: _linear(cell, x, 0 * h_0),
    "is the bias added once only? Every step adds it, and W_h carries it on.": _added_late,
    "where is the bias? Every step adds it, and W_h carries it on.": (
        lambda cell, x, h_0: _linear(cell._replace(bias=0 * cell.bias), x, h_0)
    ),
    "did you run the powers the wrong way round? The oldest input has the highest power.": (
        lambda cell, x, h_0: _linear(cell, x[::-1], h_0)
    ),
    "is W_h transposed? Here states are columns.": lambda *a: _linear(*a, flip=True),
    "are these powers entry by entry? Use np.linalg.matrix_power.": lambda cell, x, h_0: (
        cell.recurrent_weights ** len(x) @ h_0
        + sum(
            cell.recurrent_weights ** (len(x) - t) @ (cell.input_weights @ x[t - 1] + cell.bias)
            for t in range(1, len(x) + 1)
        )
    ),
}


@task("4", "a linear network in closed form", points=3)
def linear(student: Callable, seed: int = 0, steps: int = 5, inputs: int = 2, hidden: int = 3) -> None:
    """Judge the last state of a linear network.

    Args:
        student: takes W_x, W_h, b_h, x (T, D) and h_0 (H,); returns h_T (H,).
        seed: of the random numbers.
        steps: T.
        inputs: D.
        hidden: H.

    Raises:
        Wrong: with a diagnosis.
    """
    model, x = problem(seed, steps=steps, batch=1, inputs=inputs, hidden=hidden)
    given = model.cell, x[:, 0], model.initial_state
    right = {"h_T": _states(model, x, activation="identity")[-1, 0]}
    answer = {"h_T": call(student, *model.cell, x[:, 0], model.initial_state)}
    require_arrays(answer, right, known("h_T", LINEAR_MISTAKES, *given))


# Task 5


def _bernoulli(y, targets, gradient=lambda y, c: sigmoid(y) - c, sign=1.0) -> dict:
    return {"losses": sign * (np.logaddexp(0, y) - targets * y), "gradients": gradient(y, targets)}


BERNOULLI_MISTAKES = {
    "is that the gradient by the probability? Go on through the sigmoid, to y.": lambda *a: _bernoulli(
        *a, gradient=lambda y, c: (sigmoid(y) - c) / (sigmoid(y) * (1 - sigmoid(y)))
    ),
    "is the sign of the gradient wrong? It is the mean minus the target.": lambda *a: _bernoulli(
        *a, gradient=lambda y, c: c - sigmoid(y)
    ),
    "is that the gradient of the squared error? Its slope of the sigmoid does not belong here: it cancels.": (
        lambda *a: _bernoulli(*a, gradient=lambda y, c: (sigmoid(y) - c) * sigmoid(y) * (1 - sigmoid(y)))
    ),
    "is the sign of the loss wrong? A loss is minus the log-probability.": lambda *a: _bernoulli(*a, sign=-1.0),
    "did you subtract the target from y itself? The mean is sigma(y).": lambda *a: _bernoulli(
        *a, gradient=lambda y, c: y - c
    ),
}


@task("5", "a coin as output", points=2)
def bernoulli(student: Callable, seed: int = 0, shape: tuple = (4, 3, 2)) -> None:
    """Judge the loss of binary targets, and its gradient.

    Args:
        student: takes y and targets of one shape; returns losses and gradients of that shape.
        seed: of the random numbers.
        shape: of the arrays.

    Raises:
        Wrong: with a diagnosis.
    """
    rng = np.random.default_rng(seed)
    y, targets = 2 * rng.standard_normal(shape), rng.integers(0, 2, shape).astype(float)
    names = ("losses", "gradients")
    mistakes = [Mistake(hint, wrong(y, targets)) for hint, wrong in BERNOULLI_MISTAKES.items()]
    require_arrays(parts(call(student, y, targets), names), _bernoulli(y, targets), mistakes)
    y = np.array([[1000.0, -1000.0, 1000.0, -1000.0]])
    targets = np.array([[1.0, 0.0, 0.0, 1.0]])
    answer = parts(call(student, y, targets), names)
    if not np.isfinite(np.asarray(answer["losses"], float)).all():
        raise Wrong("right for small y, but at y = 1000 the loss is not finite: log(1 + e^y) is np.logaddexp(0, y).")
    require_arrays(answer, _bernoulli(y, targets))


# Task 6


def table(seed: int, states: int, symbols: int) -> np.ndarray:
    """A transition table in which every state can be reached from some state.

    Args:
        seed: of the random numbers.
        states: Q.
        symbols: S.

    Returns:
        The next state for each state and symbol, integers (Q, S).
    """
    rng = np.random.default_rng(seed)
    flat = np.concatenate([np.arange(states), rng.integers(0, states, states * (symbols - 1))])
    return rng.permutation(flat).reshape(states, symbols)


def _units(delta: np.ndarray, start: int, x: np.ndarray) -> np.ndarray:
    """The unit (state before, symbol) that is on at each step, as one-hot rows, by running the automaton."""
    state, rows = np.full(x.shape[1], start), []
    for symbols in x:
        rows.append(np.eye(delta.size)[state * delta.shape[1] + symbols])
        state = delta[state, symbols]
    return np.array(rows)


def _weights(delta: np.ndarray, start: int) -> dict:
    Q, S = delta.shape
    leads = np.repeat(delta.reshape(-1)[None, :] == np.arange(Q)[:, None], S, axis=0).astype(float)
    return {
        "W_x": np.tile(np.eye(S), (Q, 1)),
        "W_h": leads,
        "b": -np.ones(Q * S),
        "h_0": np.eye(Q * S)[np.flatnonzero(delta.reshape(-1) == start)[0]],
    }


AUTOMATON_MISTAKES = {
    "is W_h transposed? Row (q, s) collects from the units that lead to q.": lambda w, d: w | {"W_h": w["W_h"].T},
    "is the bias missing? A unit must be off if only one of its two conditions holds.": lambda w, d: (
        w | {"b": 0 * w["b"]}
    ),
    "is the bias too low? Both conditions together give 2, and the unit should then be 1.": lambda w, d: (
        w | {"b": 2 * w["b"]}
    ),
    "does the input choose the wrong units? Unit (q, s) is number q * S + s, and listens to symbol s.": lambda w, d: (
        w | {"W_x": np.repeat(np.eye(d.shape[1]), len(d), axis=0)}
    ),
    "do your units listen to the state they lead to? Unit (q, s) needs the state *before*, q.": lambda w, d: (
        w | {"W_h": (d.reshape(-1)[:, None] == d.reshape(-1)[None, :]).astype(float)}
    ),
}


@task("6", "an automaton", points=4)
def automaton(student: Callable, seed: int = 0, states: int = 3, symbols: int = 2, start: int = 1, steps: int = 12):
    """Judge weights that make a ReLU network run a finite automaton.

    Args:
        student: takes delta (Q, S) and the start; returns W_x (QS, S), W_h (QS, QS), b (QS,), h_0 (QS,).
        seed: of the table and the symbols.
        states: Q.
        symbols: S.
        start: the state before the first symbol.
        steps: T.

    Raises:
        Wrong: with a diagnosis.
    """
    delta = table(seed, states, symbols)
    answer = parts(call(student, delta, start), ("W_x", "W_h", "b", "h_0"))
    right = _weights(delta, start)
    given = {name: _shaped(name, answer[name], right[name]) for name in right}
    if not given["h_0"].any():
        raise Wrong("is h_0 zero? Then no unit sees a state at the first step. Switch on one that leads to the start.")
    symbols_read = np.random.default_rng(seed).integers(0, symbols, (steps, 5))

    def run(w: dict) -> np.ndarray:
        x, params = np.eye(symbols)[symbols_read], RNNParams(w["W_x"], w["W_h"], w["b"])
        return unroll.forward(cells.rnn("relu"), params, x, w["h_0"])[0]

    mistakes = [Mistake(hint, {"the states": run(wrong(right, delta))}) for hint, wrong in AUTOMATON_MISTAKES.items()]
    require_arrays({"the states": run(given)}, {"the states": _units(delta, start, symbols_read)}, mistakes)


def _shaped(name: str, value, like: np.ndarray) -> np.ndarray:
    array = np.asarray(value, float)
    if array.shape != like.shape:
        raise Wrong(f"{name}: expected shape {like.shape}, got {array.shape}.")
    return array


TASKS: list[Task] = [forward, split, to_sigmoid, linear, bernoulli, automaton]


def scoreboard() -> None:
    """Print what is done in this notebook and what is still to do."""
    print_scoreboard(TASKS)
