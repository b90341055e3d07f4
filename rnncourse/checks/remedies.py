"""Checks of the exercise notebook on remedies.

Right answers are computed here in the plainest way; each well-known mistake stands beside its hint
as a function that makes it.
"""

from collections.abc import Callable

import numpy as np

from rnncourse.checks.compare import Mistake, known, named_parts, require_arrays
from rnncourse.checks.core import Task, Wrong, call, task
from rnncourse.checks.core import scoreboard as print_scoreboard

# Task 1


def _clip(gradients, threshold: float) -> list:
    length = np.sqrt(sum((g * g).sum() for g in gradients))
    return [min(1.0, threshold / length) * g if length else g for g in gradients]


def _each(gradients, threshold: float) -> list:
    return [part for g in gradients for part in _clip([g], threshold)]


def _scaled(gradients, factor: Callable) -> list:
    return [factor(np.sqrt(sum((g * g).sum() for g in gradients))) * g for g in gradients]


CLIP_MISTAKES = {
    "is it left as it is? A gradient longer than the threshold, if only by a little, has to be shortened.": (
        lambda g, c: list(g)
    ),
    "does each array have a norm of its own? All of them together are one vector.": _each,
    "do you rescale a gradient that is short enough? It stays as it is.": lambda g, c: _scaled(g, lambda n: c / n),
    "is that clipping by value? It turns the gradient.": lambda g, c: [np.clip(part, -c, c) for part in g],
    "is the root missing? The length is the root of the sum of squares.": (
        lambda g, c: _scaled(g, lambda n: min(1.0, c / n**2))
    ),
    "did you add up lengths? The squares add up, not the lengths.": lambda g, c: [
        min(1.0, c / sum(np.sqrt((other * other).sum()) for other in g)) * part for part in g
    ],
    "is the fraction upside down?": lambda g, c: _scaled(g, lambda n: min(1.0, n / c)),
    "did you add 1e-6 to the length, as torch does? Here nothing is added.": (
        lambda g, c: _scaled(g, lambda n: min(1.0, c / (n + 1e-6)))
    ),
}


@task("1", "clipping by norm", points=3)
def clip(student: Callable, seed: int = 0, shapes: tuple = ((3, 2), (3, 3), (3,))) -> None:
    """Judge clipping of several arrays by their common norm.

    Args:
        student: takes a tuple of arrays and a threshold; returns as many arrays.
        seed: of the random numbers.
        shapes: of the arrays.

    Raises:
        Wrong: with a diagnosis.
    """
    rng = np.random.default_rng(seed)
    gradients = tuple(rng.standard_normal(shape) for shape in shapes)
    length = np.sqrt(sum((g * g).sum() for g in gradients))
    names = tuple(f"array {n}" for n in range(len(shapes)))
    for threshold in (1.7 * length, 0.3 * length, 0.99 * length, 1.01 * length):
        answer = named_parts(call(student, gradients, threshold), names)
        mistakes = [
            Mistake(hint, dict(zip(names, wrong(gradients, threshold), strict=True)))
            for hint, wrong in CLIP_MISTAKES.items()
        ]
        require_arrays(answer, dict(zip(names, _clip(gradients, threshold), strict=True)), mistakes)
    zeros = tuple(0 * g for g in gradients)
    answer = named_parts(call(student, zeros, 1.0), names)
    if not all(np.isfinite(np.asarray(part, float)).all() for part in answer.values()):
        raise Wrong("a gradient of zeros became NaN: do not divide by its length, which is 0.")
    require_arrays(answer, dict(zip(names, zeros, strict=True)))


# Task 2


def _two_means(g: np.ndarray, c: float) -> dict:
    return {
        "mean of clipped": np.mean([_clip([row], c)[0] for row in g], axis=0),
        "clipped mean": _clip([g.mean(axis=0)], c)[0],
    }


MEANS_MISTAKES = {
    "are the two exchanged?": lambda g, c: dict(
        zip(_two_means(g, c), reversed(list(_two_means(g, c).values())), strict=True)
    ),
    "is that a sum? Divide by the number of sequences.": lambda g, c: (
        _two_means(g, c) | {"mean of clipped": len(g) * _two_means(g, c)["mean of clipped"]}
    ),
    "is the mean not clipped at all?": lambda g, c: _two_means(g, c) | {"clipped mean": g.mean(axis=0)},
    "is the clipped mean too long? A mean that is short enough stays as it is; and clip the mean, not the sum.": (
        lambda g, c: _two_means(g, c) | {"clipped mean": c / np.linalg.norm(g.mean(axis=0)) * g.mean(axis=0)}
    ),
    "do all rows share one norm? Each sequence's gradient is clipped by itself.": lambda g, c: (
        _two_means(g, c) | {"mean of clipped": _clip([g], c)[0].mean(axis=0)}
    ),
    "did you clip the mean of the clipped once more?": lambda g, c: (
        _two_means(g, c) | {"clipped mean": _clip([_two_means(g, c)["mean of clipped"]], c)[0]}
    ),
}


@task("2", "what clipping does to a mean", points=3)
def means(student: Callable, seed: int = 0, sequences: int = 6, size: int = 3) -> None:
    """Judge the mean of clipped gradients and the clipped mean.

    Args:
        student: takes g (N, P) and a threshold; returns two arrays (P,).
        seed: of the random numbers.
        sequences: N.
        size: P.

    Raises:
        Wrong: with a diagnosis.
    """
    rng = np.random.default_rng(seed)
    g = rng.standard_normal((sequences, size)) * np.exp(rng.standard_normal((sequences, 1))) + 1.0
    for factor in (0.6, 1.4):
        threshold = float(factor * np.linalg.norm(g.mean(axis=0)))
        answer = named_parts(call(student, g, threshold), ("mean of clipped", "clipped mean"))
        mistakes = [Mistake(hint, wrong(g, threshold)) for hint, wrong in MEANS_MISTAKES.items()]
        require_arrays(answer, _two_means(g, threshold), mistakes)


# Task 3


def _irnn(W_x: np.ndarray, x: np.ndarray, h_0: np.ndarray, seen=lambda h, u: h + u, all_states=True) -> np.ndarray:
    """dh_t/dh_0 of each step; ``seen`` is what the indicator asks about."""
    h, path, found = h_0, np.ones(len(h_0)), []
    for x_t in x:
        u = W_x @ x_t
        slope = (seen(h, u) > 0).astype(float)
        path = path * slope if all_states else slope
        found.append(np.diag(path))
        h = np.maximum(h + u, 0)
    return np.array(found)


IRNN_MISTAKES = {
    "does your indicator ask for the input alone? The pre-activation is h_{t-1} + W_x x_t.": lambda *a: _irnn(
        *a, seen=lambda h, u: u
    ),
    "does your indicator ask for the state before? It asks for h_{t-1} + W_x x_t.": lambda *a: _irnn(
        *a, seen=lambda h, u: h
    ),
    "does your indicator hold at zero? A pre-activation of exactly 0 gives slope 0 here: > and not >=.": lambda *a: (
        _irnn(*a, seen=lambda h, u: (h + u >= 0) * 1.0)
    ),
    "are these the step Jacobians? Multiply them up: dh_t/dh_0 is the product of all so far.": lambda *a: _irnn(
        *a, all_states=False
    ),
    "is that the state instead of its derivative? A path is open (1) or cut (0).": lambda W_x, x, h_0: np.array(
        [np.diag(h) for h in _relu_states(W_x, x, h_0)]
    ),
}


def _relu_states(W_x: np.ndarray, x: np.ndarray, h_0: np.ndarray) -> np.ndarray:
    h, found = h_0, []
    for x_t in x:
        h = np.maximum(h + W_x @ x_t, 0)
        found.append(h)
    return np.array(found)


@task("3", "the paths of an IRNN", points=3)
def irnn(student: Callable, seed: int = 0, steps: int = 8, inputs: int = 2, hidden: int = 9) -> None:
    """Judge the derivatives of an IRNN's states by the first.

    Args:
        student: takes W_x (H, D), x (T, D) and h_0 (H,); returns dh_t/dh_0, shape (T, H, H).
        seed: of the random numbers.
        steps: T.
        inputs: D.
        hidden: H.

    Raises:
        Wrong: with a diagnosis.
    """
    rng = np.random.default_rng(seed)
    given = rng.standard_normal((hidden, inputs)), rng.standard_normal((steps, inputs)), 2 * rng.random(hidden)
    given[1][0], given[2][0] = 0, 0  # unit 0 stands at zero, in silence
    answer = {"derivatives": call(student, *given)}
    require_arrays(answer, {"derivatives": _irnn(*given)}, known("derivatives", IRNN_MISTAKES, *given))


# Task 4


def _cayley(Z: np.ndarray, sign: float = 1.0, half: float = 1.0, skew: Callable = lambda Z: Z - Z.T) -> np.ndarray:
    S, eye = half * skew(Z), np.eye(len(Z))
    return np.linalg.solve(eye + sign * S, eye - sign * S)


CAYLEY_MISTAKES = {
    "are the two factors exchanged? (I + S) is inverted, (I - S) is not.": lambda Z: _cayley(Z, sign=-1.0),
    "is S = Z + Z^T? It must be skew-symmetric, Z - Z^T.": lambda Z: _cayley(Z, skew=lambda Z: Z + Z.T),
    "is S the whole of Z? Only Z - Z^T makes the result orthogonal.": lambda Z: _cayley(Z, skew=lambda Z: Z),
    "is S halved? Here S = Z - Z^T.": lambda Z: _cayley(Z, half=0.5),
    "is the inverse missing?": lambda Z: np.eye(len(Z)) - (Z - Z.T),
    "is that a division entry by entry? Use np.linalg.solve or np.linalg.inv.": lambda Z: (
        (np.eye(len(Z)) - Z + Z.T) / (np.eye(len(Z)) + Z - Z.T)
    ),
}


@task("4", "the Cayley transform", points=3)
def cayley(student: Callable, seed: int = 0, size: int = 4) -> None:
    """Judge an orthogonal matrix made from free parameters.

    Args:
        student: takes Z (H, H); returns Q (H, H).
        seed: of the random numbers.
        size: H.

    Raises:
        Wrong: with a diagnosis.
    """
    Z = np.random.default_rng(seed).standard_normal((size, size))
    with np.errstate(all="ignore"):
        mistakes = known("Q", CAYLEY_MISTAKES, Z)
    require_arrays({"Q": call(student, Z)}, {"Q": _cayley(Z)}, mistakes)


# Task 5


def _pulled(Z: np.ndarray, G: np.ndarray, sign=-1.0, solve=-1.0, plus=1.0, flip=False, both=True) -> np.ndarray:
    S, eye, Q = Z - Z.T, np.eye(len(Z)), _cayley(Z)
    right = (eye + plus * Q) if flip else (eye + plus * Q).T
    M = sign * np.linalg.solve(eye + solve * S, G @ right)
    return M - M.T if both else M


PULL_MISTAKES = {
    "is the sign wrong? Q falls when S grows: dQ = -(I + S)^{-1} dS (I + Q).": lambda *a: _pulled(*a, sign=1.0),
    "did you invert I + S instead of its transpose, I - S?": lambda *a: _pulled(*a, solve=1.0),
    "is I + Q not transposed?": lambda *a: _pulled(*a, flip=True),
    "is I missing beside Q? S stands on both sides of (I + S) Q = I - S.": lambda Z, G: (
        -_antisymmetric(np.linalg.solve(np.eye(len(Z)) - Z + Z.T, G @ _cayley(Z).T))
    ),
    "where is the second term? Z_ij stands in S_ij and, with a minus, in S_ji: M - M^T.": lambda *a: _pulled(
        *a, both=False
    ),
    "is it M + M^T? Z_ij stands in S_ji with a minus.": lambda Z, G: (
        _pulled(Z, G, both=False) + _pulled(Z, G, both=False).T
    ),
}


def _antisymmetric(M: np.ndarray) -> np.ndarray:
    return M - M.T


@task("5", "its gradient", points=5)
def cayley_gradient(student: Callable, seed: int = 0, size: int = 4) -> None:
    """Judge the gradient of the free parameters.

    Args:
        student: takes Z (H, H) and G = dL/dQ (H, H); returns dL/dZ (H, H).
        seed: of the random numbers.
        size: H.

    Raises:
        Wrong: with a diagnosis.
    """
    rng = np.random.default_rng(seed)
    given = rng.standard_normal((size, size)), rng.standard_normal((size, size))
    answer = {"dL/dZ": call(student, *given)}
    require_arrays(answer, {"dL/dZ": _pulled(*given)}, known("dL/dZ", PULL_MISTAKES, *given))


# Task 6


def _step(r: np.ndarray, R: np.ndarray, damping: float, sign: float = -1.0) -> np.ndarray:
    return sign * np.linalg.solve(R.T @ R + damping * np.eye(R.shape[1]), R.T @ r)


STEP_MISTAKES = {
    "is the sign wrong? The step goes downhill.": lambda *a: _step(*a, sign=1.0),
    "is the damping missing?": lambda r, R, c: _step(r, R, 0.0),
    "did you add the damping to every entry? It stands on the diagonal.": lambda r, R, c: (
        -np.linalg.solve(R.T @ R + c, R.T @ r)
    ),
    "is that a step of gradient descent? The curvature R^T R is missing.": lambda r, R, c: -R.T @ r / c,
    "is the damping squared?": lambda r, R, c: _step(r, R, c * c),
    "is the gradient doubled? L is half the sum of squares.": lambda r, R, c: 2 * _step(r, R, c),
}


@task("6", "a damped step", points=3)
def damped_step(student: Callable, seed: int = 0, residuals: int = 7, size: int = 4, damping: float = 0.3) -> None:
    """Judge a step of damped Gauss-Newton.

    Args:
        student: takes r (N,), R (N, P) and the damping; returns the change, shape (P,).
        seed: of the random numbers.
        residuals: N.
        size: P.
        damping: lambda.

    Raises:
        Wrong: with a diagnosis.
    """
    rng = np.random.default_rng(seed)
    given = rng.standard_normal(residuals), rng.standard_normal((residuals, size)), damping
    mistakes = []
    for hint, wrong in STEP_MISTAKES.items():
        try:
            mistakes.append(Mistake(hint, {"change": wrong(*given)}))
        except np.linalg.LinAlgError:  # without damping there may be no step at all
            continue
    require_arrays({"change": call(student, *given)}, {"change": _step(*given)}, mistakes)


TASKS: list[Task] = [clip, means, irnn, cayley, cayley_gradient, damped_step]


def scoreboard() -> None:
    """Print what is done in this notebook and what is still to do."""
    print_scoreboard(TASKS)
