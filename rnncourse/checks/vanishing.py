"""Checks of the exercise notebook on vanishing and exploding gradients.

Right answers come from ``rnncourse.reference`` or from the plainest formula; each well-known mistake
stands beside its hint as a function that makes it.
"""

from collections.abc import Callable

import numpy as np

from rnncourse.checks.compare import Mistake, as_array, known, named_parts, require_arrays
from rnncourse.checks.core import Task, Wrong, call, task
from rnncourse.checks.core import scoreboard as print_scoreboard
from rnncourse.params import orthogonal
from rnncourse.reference import spectra


def factors(seed: int, steps: int, hidden: int) -> np.ndarray:
    """Jacobians of a made-up network, no two alike, none of them symmetric.

    Args:
        seed: of the random numbers.
        steps: T.
        hidden: H.

    Returns:
        J_1..J_T, shape (T, H, H).
    """
    rng = np.random.default_rng(seed)
    return 0.7 * orthogonal(rng, hidden) + 0.4 * rng.standard_normal((steps, hidden, hidden)) / np.sqrt(hidden)


# Task 1


def _scalar(w, v, h_0, n, target, sign=1.0, factor=2.0, power=1, uses=True, out=True, start=True) -> dict:
    e = sign * factor * (v * w**n * h_0 - target)
    return {
        "d_h_0": np.array(e * v * w**n if out else e * w**n),
        "d_w": np.array(e * v * (n if uses else 1) * w ** (n - power) * h_0),
        "d_v": np.array(e * w**n * (h_0 if start else 1.0)),
    }


SCALAR_MISTAKES = {
    "is the sign wrong? The derivative of (y - target)^2 by y is 2 (y - target), in this order.": (
        lambda *a: _scalar(*a, sign=-1.0)
    ),
    "is a factor 2 missing? Here the loss is the square, not half of it.": lambda *a: _scalar(*a, factor=1.0),
    "is the factor n missing? The weight is used n times, and each use counts.": lambda *a: _scalar(*a, uses=False),
    "is the power of w one too high? Of the n factors w one has been differentiated.": lambda *a: _scalar(*a, power=0),
    "where is v in the gradient by h_0? The way from h_0 to the output ends with it.": lambda *a: _scalar(
        *a, out=False
    ),
    "where is h_0 in the gradient by v? v meets h_n = w^n h_0.": lambda *a: _scalar(*a, start=False),
}


@task("1", "one unit", points=3)
def scalar(student: Callable, w: float = 0.8, v: float = -1.5, h_0: float = 2.0, n: int = 6, target: float = 0.3):
    """Judge the three gradients of a chain of one unit.

    Args:
        student: takes w, v, h_0, n and the target; returns the gradients by h_0, w and v.
        w: recurrent weight.
        v: readout weight.
        h_0: the start.
        n: steps.
        target: of the squared error.

    Raises:
        Wrong: with a diagnosis.
    """
    given = w, v, h_0, n, target
    answer = call(student, *given)
    if isinstance(answer, np.ndarray) and answer.shape == (3,):  # three numbers are as good in one array
        answer = tuple(answer)
    answer = named_parts(answer, ("d_h_0", "d_w", "d_v"))
    require_arrays(answer, _scalar(*given), [Mistake(hint, wrong(*given)) for hint, wrong in SCALAR_MISTAKES.items()])


# Task 2


def _corner(rho, n, peak, power=1, roads=True, lower=False, only=False) -> np.ndarray:
    b = peak / ((n if roads else 1) * rho ** (n - power)) if not only else peak
    A = np.array([[rho, b], [0.0, rho]])
    return A.T if lower else A


def _parts(A) -> dict:
    """The corner is so large that beside it nobody would notice a wrong eigenvalue."""
    A = np.asarray(A)
    return {"A": A, "the diagonal": np.diag(A), "the lower left entry": A[1:, 0]}


CORNER_MISTAKES = {
    "is that one power too many? Of n steps one crosses, and n - 1 wait.": lambda *a: _corner(*a, power=0),
    "did you count the roads? There are n moments at which to cross.": lambda *a: _corner(*a, roads=False),
    "is that the corner of A itself? It is A^n whose corner is asked for.": lambda *a: _corner(*a, only=True),
    "is your matrix lower triangular? The corner that counts is the upper right one.": lambda *a: _corner(
        *a, lower=True
    ),
}


@task("2", "growth on order", points=3)
def corner(student: Callable, rho: float = 0.5, n: int = 8, peak: float = 1000.0) -> None:
    """Judge a matrix with small eigenvalues one of whose powers is large.

    Args:
        student: takes rho, n and the peak; returns A, shape (2, 2).
        rho: both eigenvalues.
        n: which power.
        peak: the upper right entry of A^n.

    Raises:
        Wrong: with a diagnosis.
    """
    given = rho, n, peak
    right = _corner(*given)
    A = as_array("A", call(student, *given), right)
    mistakes = [Mistake(hint, _parts(wrong(*given))) for hint, wrong in CORNER_MISTAKES.items()]
    require_arrays(_parts(A), _parts(right), mistakes)


# Task 3


def _logs(W: np.ndarray, steps: int) -> np.ndarray:
    return spectra.growth(W, steps)


def _frobenius(W: np.ndarray, steps: int) -> np.ndarray:
    P, logs = np.eye(len(W)), [0.0]
    for _ in range(steps):
        P = W @ P
        size = np.linalg.norm(P)
        P = P / size
        logs.append(logs[-1] + np.log(size))
    return np.array(logs)


OVERFLOW = "right for few steps, but after some hundred steps the powers overflow or underflow."
LOG_MISTAKES = {
    "is that the spectral radius to the power k? It bounds the norm from below, and is not it.": (
        lambda W, steps: np.arange(steps + 1) * np.log(spectra.radius(W))
    ),
    "is that the largest singular value to the power k? It bounds the norm from above, and is not it.": (
        lambda W, steps: np.arange(steps + 1) * np.log(np.linalg.norm(W, 2))
    ),
    "is that Frobenius' norm? Without a second argument np.linalg.norm takes the root of all squares; ours has a 2.": (
        _frobenius
    ),
    "do you begin with W itself? The first entry belongs to W^0, the identity.": (
        lambda W, steps: _logs(W, steps + 1)[1:]
    ),
    "is the product scaled back, and the scale forgotten? Its logarithm must be added up.": (
        lambda W, steps: np.diff(_logs(W, steps), prepend=0.0)
    ),
    "did you leave out the logarithm?": lambda W, steps: np.exp(np.minimum(_logs(W, steps), 700)),
}


@task("3", "powers without overflow", points=3)
def growth(student: Callable, seed: int = 0, steps: int = 40, hidden: int = 4, gain: float = 1.2) -> None:
    """Judge the logarithms of the norms of powers.

    Args:
        student: takes W (H, H) and n; returns log |W^k| for k = 0..n, shape (n + 1,).
        seed: of the random numbers.
        steps: n.
        hidden: H.
        gain: of W.

    Raises:
        Wrong: with a diagnosis.
    """
    for scale, many in ((gain, steps), (4.0, 2000), (0.2, 2000)):
        W = scale * np.random.default_rng(seed).standard_normal((hidden, hidden)) / np.sqrt(hidden)
        try:
            answer = {"logs": call(student, W, many)}
        except Wrong:
            if many == 2000:  # NumPy's norm raises where there is an infinity
                raise Wrong(OVERFLOW) from None
            raise
        finite = np.isfinite(np.asarray(answer["logs"], float)).all() if np.ndim(answer["logs"]) == 1 else True
        if many == 2000 and not finite:
            raise Wrong(OVERFLOW)
        require_arrays(answer, {"logs": _logs(W, many)}, known("logs", LOG_MISTAKES, W, many))


# Task 4


def _linear(W_h, h, g, late=0, early=False, flip=False, turned=False, last=False, mean=False) -> dict:
    T = len(h) - 1
    W = W_h if flip else W_h.T
    s = np.array([np.linalg.matrix_power(W, T - t + late) @ g for t in range(1, T + 1)])
    read = h[1:] if early else h[:-1]
    terms = np.array([np.outer(a, b) for a, b in zip(s, read, strict=True)])
    d_W = terms[-1] if last else terms.mean(axis=0) if mean else terms.sum(axis=0)
    return {"s": s, "d_W_h": d_W.T if turned else d_W}


LINEAR_MISTAKES = {
    "is the transpose missing? Gradients run back through the transposed matrix.": lambda *a: _linear(*a, flip=True),
    "is every power one too high? The loss at step T meets s_T without any factor.": lambda *a: _linear(*a, late=1),
    "did you take h_t where h_{t-1} belongs? The weight reads the state before.": lambda *a: _linear(*a, early=True),
    "is the outer product the wrong way round? Row i belongs to the unit that receives.": (
        lambda *a: _linear(*a, turned=True)
    ),
    "did you keep the last step only? The weight is used at every step.": lambda *a: _linear(*a, last=True),
    "is that a mean over the steps? It is a sum.": lambda *a: _linear(*a, mean=True),
}


@task("4", "the linear network", points=4)
def linear(student: Callable, seed: int = 0, steps: int = 5, hidden: int = 3) -> None:
    """Judge the gradients of a linear network in closed form.

    Args:
        student: takes W_h (H, H), h_0..h_T (T + 1, H) and g_T (H,); returns s (T, H) and dL/dW_h (H, H).
        seed: of the random numbers.
        steps: T.
        hidden: H.

    Raises:
        Wrong: with a diagnosis.
    """
    rng = np.random.default_rng(seed)
    W_h = rng.standard_normal((hidden, hidden))
    given = W_h, rng.standard_normal((steps + 1, hidden)), rng.standard_normal(hidden)
    answer = named_parts(call(student, *given), ("s", "d_W_h"))
    require_arrays(answer, _linear(*given), [Mistake(hint, wrong(*given)) for hint, wrong in LINEAR_MISTAKES.items()])


# Task 5


def _exponents(
    slopes, W_h, Q, mean=True, order=True, reverse=False, kept=True, flip=False, before=False, last=False
) -> np.ndarray:
    total, W = np.zeros(Q.shape[1]), W_h.T if flip else W_h
    for slope in slopes[::-1] if reverse else slopes:
        new, R = np.linalg.qr(W @ (slope[:, None] * Q) if before else slope[:, None] * (W @ Q))
        Q = new if kept else Q
        total = np.log(abs(np.diag(R))) + (0 if last else total)
    total = total / len(slopes) if mean else total
    return np.sort(total)[::-1] if order else total


def _of_each(slopes, W_h, Q) -> np.ndarray:
    moduli = np.sort(abs(np.linalg.eigvals(slopes[:, :, None] * W_h)), axis=1)[:, ::-1]
    return np.log(moduli).mean(axis=0)[: Q.shape[1]]


def _stretches(slopes, W_h, Q) -> np.ndarray:
    values = np.linalg.svd(slopes[:, :, None] * W_h, compute_uv=False)
    return np.log(values).mean(axis=0)[: Q.shape[1]]


def _flat(slopes, W_h, Q) -> np.ndarray:
    return _exponents(np.ones_like(slopes), W_h, Q)


def _by_modulus(*given) -> np.ndarray:
    return np.array(sorted(_exponents(*given), key=abs))


EXPONENT_MISTAKES = {
    "did you divide by the number of steps? An exponent is a rate.": lambda *a: _exponents(*a, mean=False),
    "are they in falling order?": lambda *a: _exponents(*a, order=False),
    "is that the rising order? The largest comes first.": lambda *a: _exponents(*a)[::-1],
    "do you go from the last step to the first? The frame is carried along with time.": (
        lambda *a: _exponents(*a, reverse=True)
    ),
    "does the frame stay where it was? Q_t, not Q_0, meets the next Jacobian.": lambda *a: _exponents(*a, kept=False),
    "did you transpose W_h? Forwards it stands as it is.": lambda *a: _exponents(*a, flip=True),
    "do the slopes come before W_h? Row i of W_h Q belongs to unit i, and so does its slope.": (
        lambda *a: _exponents(*a, before=True)
    ),
    "where are the slopes? Without them the Jacobian is that of a linear network.": _flat,
    "is that the last step alone? The logarithms are added up.": lambda *a: _exponents(*a, last=True),
    "are they ordered by their moduli? The largest exponent comes first, and some are negative.": _by_modulus,
    "are these means of eigenvalues of each factor? They say nothing about the product.": _of_each,
    "are these means of singular values of each factor? They bound the rate, and are not it.": _stretches,
}


@task("5", "Lyapunov exponents", points=4)
def exponents(student: Callable, seed: int = 0, steps: int = 30, hidden: int = 5, count: int = 3, gain: float = 2.5):
    """Judge the first few Lyapunov exponents along a network's states, by QR.

    Args:
        student: takes slopes (T, H), W_h (H, H) and Q_0 (H, k); returns exponents (k,), the largest first.
        seed: of the random numbers.
        steps: T.
        hidden: H.
        count: k.
        gain: of W_h; with a large one some exponents are positive.

    Raises:
        Wrong: with a diagnosis.
    """
    rng = np.random.default_rng(seed + 1)
    slopes, W_h = rng.uniform(0.1, 1.0, (steps, hidden)), gain * factors(seed, 1, hidden)[0]
    given = slopes, W_h, orthogonal(rng, hidden)[:, :count]
    answer = {"exponents": call(student, *given)}
    if np.shape(answer["exponents"]) == (count,) and np.isnan(np.asarray(answer["exponents"], float)).any():
        raise Wrong("exponents: there is a NaN: R may have negative numbers on its diagonal, so take their moduli.")
    require_arrays(answer, {"exponents": _exponents(*given)}, known("exponents", EXPONENT_MISTAKES, *given))


# Task 6


def _credit(J, g, first=1, flip=True, reverse=False, summed=False) -> np.ndarray:
    lengths, total = [], np.zeros(g.shape[1])
    for k in range(len(g)):
        sent = g[k]
        path = range(first, k + 1) if reverse else reversed(range(first, k + 1))
        for t in path:
            sent = (J[t].T if flip else J[t]) @ sent
        total = total + sent
        lengths.append(np.linalg.norm(total if summed else sent))
    return np.array(lengths)


CREDIT_MISTAKES = {
    "does your gradient go on to h_0? J_1 leads from h_0 to h_1, and h_1 is where we stop.": (
        lambda *a: _credit(*a, first=0)
    ),
    "is the transpose missing? Gradients run back through the transposed Jacobians.": lambda *a: _credit(
        *a, flip=False
    ),
    "are the Jacobians in the wrong order? Going back, the latest comes first.": lambda *a: _credit(*a, reverse=True),
    "did you add the losses up? Each is asked for by itself.": lambda *a: _credit(*a, summed=True),
    "is the list the wrong way round? The first entry belongs to the loss at step 1.": lambda *a: _credit(*a)[::-1],
}


@task("6", "whose credit", points=3)
def credit(student: Callable, seed: int = 0, steps: int = 6, hidden: int = 3) -> None:
    """Judge what each loss sends to the first state.

    Args:
        student: takes J (T, H, H) and g (T, H); returns the length of what loss k sends to h_1, shape (T,).
        seed: of the random numbers.
        steps: T.
        hidden: H.

    Raises:
        Wrong: with a diagnosis.
    """
    J = factors(seed, steps, hidden)
    g = np.random.default_rng(seed + 2).standard_normal((steps, hidden))
    answer = {"lengths": call(student, J, g)}
    require_arrays(answer, {"lengths": _credit(J, g)}, known("lengths", CREDIT_MISTAKES, J, g))


TASKS: list[Task] = [scalar, corner, growth, linear, exponents, credit]


def scoreboard() -> None:
    """Print what is done and what is still to do."""
    print_scoreboard(TASKS)
