"""Checks of the exercise notebook on scans, linear recurrences and Newton's method over time."""

from collections.abc import Callable

import numpy as np

from rnncourse.checks.compare import Mistake, known, named_parts, require_arrays
from rnncourse.checks.core import Wrong, call, task
from rnncourse.checks.core import scoreboard as print_scoreboard
from rnncourse.minimal_params import MinimalParams
from rnncourse.params import RNNParams
from rnncourse.reference import cells, linear_recurrence, minimal_gates, newton_rnn, scan

PAIR_NAMES = ("A", "b")
BACK_NAMES = ("dA", "db", "dh_0")


@task("1", "two maps as one", points=3)
def combine(combined: Callable, **sizes: int) -> None:
    """Judge the combination of two affine maps.

    Args:
        combined: takes A, b of the earlier map and A, b of the later; returns A and b of both.
        sizes: seed, hidden.

    Raises:
        Wrong: with a diagnosis.
    """
    A, b, _, _ = _recurrence(**sizes)
    given = (A[0], b[0], A[1], b[1])
    answer = named_parts(call(combined, *given), PAIR_NAMES)
    right = dict(zip(PAIR_NAMES, (A[1] @ A[0], A[1] @ b[0] + b[1]), strict=True))
    slips = [Mistake(hint, dict(zip(PAIR_NAMES, wrong(*given), strict=True))) for hint, wrong in PAIR_SLIPS.items()]
    require_arrays(answer, right, slips)


@task("2", "all prefixes by doubling", points=5)
def double(prefixes: Callable, **sizes: int) -> None:
    """Judge a scan by doubling: its results, its rounds, and sizes that are no power of two.

    Args:
        prefixes: takes an operation on stacks of matrices and a stack (T, H, H); returns all prefixes.
        sizes: seed, hidden, steps.

    Raises:
        Wrong: with a diagnosis.
    """
    matrices, _, _, _ = _recurrence(**sizes)
    for T in (1, 2, 8, len(matrices)):
        e, calls = matrices[:T], []

        def operation(early, late, calls=calls):
            early, late = np.asarray(early), np.asarray(late)
            if early.ndim != 3 or early.shape != late.shape:
                raise Wrong(f"the operation got stacks of shapes {early.shape} and {late.shape}: expected two alike.")
            if not len(early):
                raise Wrong("the operation was called on no pair at all: stop when every prefix is known.")
            calls.append(len(early))
            return late @ early

        answer = call(lambda e, operation=operation: prefixes(operation, e), e)
        name = f"prefixes of {T}"
        slips = known(name, SCAN_SLIPS, e)
        require_arrays({name: answer}, {name: scan.prefixes(lambda a, b: b @ a, e)}, slips)
        least = scan.count(T, "doubling").rounds
        if len(calls) < least:
            raise Wrong(
                f"the prefixes of {T} are right, but the operation was called {len(calls)} times: "
                "combine by the operation that is given, it need not be a product."
            )
        if len(calls) > least:
            raise Wrong(
                f"the prefixes of {T} are right, but took {len(calls)} rounds where {least} suffice: "
                "one call of the operation should combine all places of a round at once."
            )


@task("3", "back through a linear recurrence", points=5)
def back(backward: Callable, **sizes: int) -> None:
    """Judge the gradients of a diagonal linear recurrence.

    Args:
        backward: takes A (T, H), the states h_1..h_T (T, H), h_0 (H,) and g (T, H); returns dA, db, dh_0.
        sizes: seed, hidden, steps.

    Raises:
        Wrong: with a diagnosis.
    """
    _, b, h_0, g = _recurrence(**sizes)
    A = np.random.default_rng(5).uniform(-1, 1, b.shape)
    h, tape = linear_recurrence.forward(A[:, None], b[:, None], h_0[None])
    given = (A, h[:, 0], h_0, g)
    answer = named_parts(call(backward, *given), BACK_NAMES)
    d_A, d_b, d_start = linear_recurrence.backward(tape, g[:, None])
    right = dict(zip(BACK_NAMES, (d_A[:, 0], d_b[:, 0], d_start[0]), strict=True))
    slips = [Mistake(hint, dict(zip(BACK_NAMES, wrong(*given), strict=True))) for hint, wrong in BACK_SLIPS.items()]
    require_arrays(answer, right, slips)


@task("4", "Newton's step over time", points=4)
def newton(newton_step: Callable, **sizes: int) -> None:
    """Judge one Newton step for all states of a tanh network.

    Args:
        newton_step: takes W_h (H, H), the input parts a_1..a_T (T, H), h_0 (H,) and a guess (T, H); returns the next.
        sizes: seed, hidden, steps.

    Raises:
        Wrong: with a diagnosis.
    """
    matrices, a, h_0, guess = _recurrence(**sizes)
    given = (matrices[0], a, h_0, guess)
    answer = call(newton_step, *given)
    require_arrays({"new guess": answer}, {"new guess": _newton(*given)}, known("new guess", NEWTON_SLIPS, *given))


@task("5", "a minimal LSTM", points=3)
def gates(minimal_lstm: Callable, **sizes: int) -> None:
    """Judge a minimal LSTM, also where both of its gates are closed.

    Args:
        minimal_lstm: takes pre-activations of i, f and g, each (T, H), and h_0 (H,); returns h_1..h_T (T, H).
        sizes: seed, hidden, steps.

    Raises:
        Wrong: with a diagnosis.
    """
    matrices, a_i, h_0, a_g = _recurrence(**sizes)
    a_f = matrices[:, 0]
    given = (a_i, a_f, a_g, h_0)
    answer = call(minimal_lstm, *given)
    require_arrays({"h": answer}, {"h": _minimal(*given)}, known("h", GATE_SLIPS, *given))
    closed = (a_i - 900, a_f - 900, a_g, h_0)
    answer = np.asarray(call(minimal_lstm, *closed))
    if not np.isfinite(answer).all():
        raise Wrong("with both gates near e^-900 there is a NaN: divide before you take exponentials, not after.")
    slip = [Mistake("is a small number added below? Where both gates are closed it decides.", {"h": _eased(*closed)})]
    require_arrays({"h of closed gates": answer}, {"h of closed gates": _minimal(*closed)}, slip)
    for up, down in ((900, 900), (900, -900), (-900, 900)):
        far = (a_i + up, a_f + down, a_g, h_0)
        answer = np.asarray(call(minimal_lstm, *far))
        if not np.isfinite(answer).all():
            raise Wrong(f"with pre-activations near {up} and {down} there is a NaN: log(1 + e^-a) without e^900?")
        require_arrays({"h of wide open gates": answer}, {"h of wide open gates": _minimal(*far)}, [])


def _recurrence(seed: int = 0, hidden: int = 3, steps: int = 11):
    rng = np.random.default_rng(seed)
    A = np.linalg.qr(rng.standard_normal((steps, hidden, hidden)))[0] * 0.9
    b, g = rng.standard_normal((steps, hidden)), rng.standard_normal((steps, hidden))
    return A, b, rng.standard_normal(hidden), g


def _backward(A, h, h_0, g, shift: int = 1, before: bool = True, start: bool = True, immediate: bool = False):
    """The gradients by a loop, with the mistakes that can be made."""
    T, s = len(A), np.array(g)
    for t in range(T - 2, -1, -1):
        s[t] = g[t] + (0 if immediate else A[t + shift] * s[t + 1])
    earlier = np.concatenate([h_0[None], h[:-1]]) if before else h
    return s * earlier, s, A[0] * s[0] if start else s[0]


def _newton(W_h, a, h_0, guess, kind: str = "right"):
    """One step, with the mistakes that can be made."""
    model = RNNParams(np.zeros((len(W_h), 1)), W_h, np.zeros(len(W_h)))
    images, J = newton_rnn.linearise(cells.rnn(), model, a[:, None], h_0[None], guess[:, None])
    images, J, before = images[:, 0], J[:, 0], np.concatenate([h_0[None], guess[:-1]])
    if kind == "columns":
        J = W_h * (1 - images**2)[:, None, :]
    if kind == "late":
        J = (1 - guess**2)[:, :, None] * W_h
    if kind == "transposed":
        J = np.swapaxes(J, 1, 2)
    if kind == "slopeless":
        J = np.broadcast_to(W_h, J.shape)
    h, new = h_0, []
    for t in range(len(a)):
        away = h if kind == "absolute" else h - before[t]
        h = images[t] + (0 if kind == "jacobi" else J[t] @ away)
        if kind == "loop":
            h = np.tanh(a[t] + W_h @ (new[-1] if new else h_0))
        new.append(h)
    return np.stack(new)


def _minimal(a_i, a_f, a_g, h_0):
    H = len(h_0)
    rows = np.concatenate([a_i, a_f, a_g], axis=1)
    model = MinimalParams(np.eye(3 * H), np.zeros(3 * H))
    return minimal_gates.forward("lstm", model, rows[:, None], h_0[None])[0][:, 0]


def _plain(a_i, a_f, a_g, h_0, form: str):
    """The recurrence by a loop, with the mistakes that can be made."""
    i, f, g = 1 / (1 + np.exp(-a_i)), 1 / (1 + np.exp(-a_f)), a_g
    if form == "swapped":
        i, f = f, i
    if form == "tanh":
        g = np.tanh(g)
    if form == "softmax":
        i, f = np.exp(a_i), np.exp(a_f)
    keep, write = (f, i) if form == "bare" else (f / (i + f), i / (i + f))
    h, states = h_0, []
    for t in range(len(g)):
        h = keep[t] * h + write[t] * g[t]
        states.append(h)
    return np.stack(states)


def _eased(a_i, a_f, a_g, h_0, floor: float = 1e-8):
    with np.errstate(over="ignore"):
        i, f = 1 / (1 + np.exp(-a_i)), 1 / (1 + np.exp(-a_f))
    h, states = h_0, []
    for t in range(len(a_g)):
        h = (f[t] * h + i[t] * a_g[t]) / (i[t] + f[t] + floor)
        states.append(h)
    return np.stack(states)


def _stopped(e):
    """Doubling that stops when half of the largest power of two is reached."""
    reach, T = 1, len(e)
    while 2 * reach <= T:
        e = np.concatenate([e[:reach], e[reach:] @ e[:-reach]])
        reach *= 2
    return e


PAIR_SLIPS: dict[str, Callable] = {
    "is the order the wrong way round? The later matrix stands left.": lambda A, b, C, d: (A @ C, A @ d + b),
    "in A, is the order the wrong way round?": lambda A, b, C, d: (A @ C, C @ b + d),
    "did you forget to send b of the earlier through the later?": lambda A, b, C, d: (C @ A, b + d),
    "did you forget b of the later?": lambda A, b, C, d: (C @ A, C @ b),
    "are matrices multiplied entry by entry?": lambda A, b, C, d: (C * A, C @ b + d),
}
SCAN_SLIPS: dict[str, Callable] = {
    "is the order the wrong way round? The earlier is the first argument.": lambda e: scan.prefixes(
        lambda a, b: a @ b, e
    ),
    "are these the products from each element to the last?": lambda e: scan.suffixes(lambda a, b: b @ a, e),
    "is one round missing? T need be no power of two.": _stopped,
    "was there one round only?": lambda e: np.concatenate([e[:1], e[1:] @ e[:-1]]),
}
BACK_SLIPS: dict[str, Callable] = {
    "which matrix makes h_{t+1} of h_t? It is A of the next step.": lambda *p: _backward(*p, shift=0),
    "in dA: with which state does A_t meet? With the one before.": lambda *p: _backward(*p, before=False),
    "in dh_0: did you forget to go back through the first step?": lambda *p: _backward(*p, start=False),
    "is this g alone? A state is read by the next one, too.": lambda *p: _backward(*p, immediate=True),
}
NEWTON_SLIPS: dict[str, Callable] = {
    "these are the images of the last guess: where is the tangent?": lambda *p: _newton(*p, kind="jacobi"),
    "does the slope multiply columns of W_h? Rows make the new units.": lambda *p: _newton(*p, kind="columns"),
    "is the slope that of the guess h_t? The tangent touches f at the state before.": lambda *p: _newton(
        *p, kind="late"
    ),
    "is the Jacobian transposed?": lambda *p: _newton(*p, kind="transposed"),
    "did you forget the slope of tanh?": lambda *p: _newton(*p, kind="slopeless"),
    "J times what? Times how far the new state is from the old guess.": lambda *p: _newton(*p, kind="absolute"),
    "this is the loop itself: correct, and not one step of Newton's.": lambda *p: _newton(*p, kind="loop"),
}
GATE_SLIPS: dict[str, Callable] = {
    "did you forget to divide by i + f?": lambda *p: _plain(*p, form="bare"),
    "are i and f exchanged? f keeps.": lambda *p: _plain(*p, form="swapped"),
    "is the candidate squashed? Here it is not.": lambda *p: _plain(*p, form="tanh"),
    "are the gates exponentials? They are sigmoids.": lambda *p: _plain(*p, form="softmax"),
}


def scoreboard() -> None:
    """Print which tasks of the notebook are done."""
    print_scoreboard([combine, double, back, newton, gates])
