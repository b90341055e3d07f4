"""Checks of the exercise notebook on applications."""

from collections.abc import Callable

import numpy as np

from rnncourse import masks, scores
from rnncourse.checks.compare import Mistake, known, named_parts, require_arrays
from rnncourse.checks.core import call, task
from rnncourse.checks.core import scoreboard as print_scoreboard
from rnncourse.reference import forecast, losses

LINE_NAMES = ("w", "b")
GRADE_NAMES = ("accuracy", "error", "precision", "recall", "f1")


@task("1", "naive Bayes is a line", points=4)
def line(bayes_line: Callable, **sizes: int) -> None:
    """Judge the log-odds of two classes as a linear function of the counts.

    Args:
        bayes_line: takes counts (2, G), documents (2,) and alpha; returns w (G,) and b, a number.
        sizes: seed, grams.

    Raises:
        Wrong: with a diagnosis.
    """
    given = _bags(**sizes)
    answer = named_parts(call(bayes_line, *given), LINE_NAMES)
    slips = [Mistake(hint, dict(zip(LINE_NAMES, wrong(*given), strict=True))) for hint, wrong in LINE_SLIPS.items()]
    require_arrays(answer, dict(zip(LINE_NAMES, _line(*given), strict=True)), slips)


@task("2", "one loss at the end", points=4)
def final(final_gradient: Callable, **sizes: int) -> None:
    """Judge the gradient of one judgement a sequence by all scores.

    Args:
        final_gradient: takes scores (T, B, K), labels (B,), lengths (B,); returns e (T, B, K), of the mean
            over the batch.
        sizes: seed, steps, sequences, classes.

    Raises:
        Wrong: with a diagnosis.
    """
    y, labels, lengths = _ragged(**sizes)
    target = np.broadcast_to(labels, y.shape[:2])
    right = losses.backward(losses.cross_entropy(y, target, masks.last_steps(lengths, len(y)), "mean")[1])
    answer = {"e": call(final_gradient, y, labels, lengths)}
    require_arrays(answer, {"e": right}, known("e", FINAL_SLIPS, y, labels, lengths))


@task("3", "how good, and how sure", points=4)
def grade(marks: Callable, **sizes: int) -> None:
    """Judge accuracy, its standard error, and precision, recall and F1 of each class.

    Args:
        marks: takes said (N,), true (N,) and K; returns accuracy, error, and precision, recall, f1, (K,) each.
        sizes: seed, answers, classes.

    Raises:
        Wrong: with a diagnosis.
    """
    given = _answers(**sizes)
    answer = named_parts(call(marks, *given), GRADE_NAMES)
    said, true, _ = given
    parts = (*scores.accuracy(said, true), *_parts(*given), scores.f1(scores.confusion(*given)))
    right = dict(zip(GRADE_NAMES, parts, strict=True))
    right = {name: np.asarray(value) for name, value in right.items()}
    slips = [Mistake(hint, {name: np.asarray(wrong(*given))}) for hint, (name, wrong) in GRADE_SLIPS.items()]
    exchanged = dict(zip(("recall", "precision"), _parts(*given), strict=True))
    slips.append(Mistake("are precision and recall exchanged? Precision is about what was said.", exchanged))
    require_arrays(answer, right, slips)


@task("4", "forecast by forecasts", points=4)
def iterate(ar_ahead: Callable, **sizes: int) -> None:
    """Judge the forecasts of an autoregression of one series.

    Args:
        ar_ahead: takes c, a (p,) with the weight of the latest value first, history (S,) and h; returns (h,).
        sizes: seed, order, steps, spare.

    Raises:
        Wrong: with a diagnosis.
    """
    c, a, history, h = _series(**sizes)
    model = forecast.AR(np.array([c]), a[:, None, None], np.eye(1))
    right = forecast.ahead(model, history[:, None, None], h)[:, 0, 0]
    answer = {"forecasts": call(ar_ahead, c, a, history, h)}
    require_arrays(answer, {"forecasts": right}, known("forecasts", AHEAD_SLIPS, c, a, history, h))


@task("5", "how far off they will be", points=4)
def spread(ar_variances: Callable, **sizes: int) -> None:
    """Judge the variances of the errors of those forecasts.

    Args:
        ar_variances: takes a (p,), the variance of the noise and h; returns (h,).
        sizes: seed, order, steps.

    Raises:
        Wrong: with a diagnosis.
    """
    _, a, _, h = _series(**sizes)
    given = (a, 0.5 + np.random.default_rng(sizes.get("seed", 0) + 1).random(), h)
    right = _variances(*given)
    answer = {"variances": call(ar_variances, *given)}
    require_arrays(answer, {"variances": right}, known("variances", SPREAD_SLIPS, *given))


def _bags(seed: int = 0, grams: int = 6) -> tuple:
    rng = np.random.default_rng(seed)
    counts, fewer = rng.poisson(3.0, (2, grams)), int(rng.integers(2, 6))
    return counts, np.array([fewer, fewer + int(rng.integers(3, 9))]), float(rng.uniform(0.3, 1.5))


def _line(n, documents, alpha, prior=True, norm=True) -> tuple:
    theta = np.log(n + alpha)
    if norm:
        theta = theta - np.log((n + alpha).sum(axis=1, keepdims=True))
    return theta[1] - theta[0], np.asarray(prior * np.log(documents[1] / documents[0]))


def _turned(n, documents, alpha) -> tuple:
    w, b = _line(n, documents, alpha)
    return -w, -b


def _once(n, documents, alpha) -> tuple:
    """alpha added once to the total, and not once for each gram."""
    theta = np.log(n + alpha) - np.log(n.sum(axis=1, keepdims=True) + alpha)
    return theta[1] - theta[0], np.log(documents[1] / documents[0])


def _ragged(seed: int = 0, steps: int = 5, sequences: int = 4, classes: int = 3) -> tuple:
    rng = np.random.default_rng(seed)
    lengths = rng.integers(1, steps + 1, sequences)
    lengths[0] = max(1, steps - 2)
    y = rng.standard_normal((steps, sequences, classes))
    y[~masks.valid_steps(lengths, steps)] += 1e3  # padding must not matter, whatever is there
    y[:, 0] += 1e3  # and a softmax does not mind a constant
    return y, rng.integers(0, classes, sequences), lengths


def _final(y, labels, lengths, at=None, mean=True, sign=1.0, known=True) -> np.ndarray:
    q = np.exp(y - y.max(axis=2, keepdims=True))
    q /= q.sum(axis=2, keepdims=True)
    e = sign * (q - known * np.eye(y.shape[2])[labels])
    keep = masks.last_steps(lengths, len(y)) if at is None else at
    return np.where(keep[:, :, None], e, 0) / (len(labels) if mean else 1)


def _at_row(y, shift) -> np.ndarray:
    def there(lengths):
        return np.arange(len(y))[:, None] == lengths - 1 + shift

    return there


def _answers(seed: int = 0, answers: int = 40, classes: int = 4) -> tuple:
    rng = np.random.default_rng(seed)
    true = rng.integers(0, classes, answers)
    true[:classes] = np.arange(classes)
    said = np.where(rng.random(answers) < 0.5, true, rng.integers(0, classes, answers))
    said[:classes] = np.arange(classes)
    return said, true, classes


def _parts(said, true, K) -> tuple:
    """Precision and recall."""
    M = scores.confusion(said, true, K)
    return np.diagonal(M) / M.sum(axis=0), np.diagonal(M) / M.sum(axis=1)


def _series(seed: int = 0, order: int = 3, steps: int = 5, spare: int = 4) -> tuple:
    rng = np.random.default_rng(seed)
    a = 0.8 * rng.standard_normal(order) / order**0.5
    return float(rng.uniform(0.2, 0.8)), a, rng.standard_normal(order + spare), steps


def _ahead(c, a, history, h, turned=False, fed=True, old=False) -> np.ndarray:
    values = list(history[: len(a)] if old else history)
    for _ in range(h):
        latest = (values if fed else list(history))[-len(a) :]
        values.append(c + float(np.dot(a, latest if turned else latest[::-1])))
    return np.array(values[-h:])


def _variances(a, noise, h) -> np.ndarray:
    model = forecast.AR(np.zeros(1), a[:, None, None], np.array([[noise]]))
    return forecast.spreads(model, h)[:, 0, 0]


def _answered(a, h) -> np.ndarray:
    """psi_0, ..., psi_{h-1}."""
    psi = [1.0]
    for j in range(1, h):
        psi.append(sum(a[k] * psi[j - 1 - k] for k in range(min(len(a), j))))
    return np.array(psi)


def _wrapped(a, noise, h) -> np.ndarray:
    """With psi of a negative number taken from the far end of the array."""
    psi = np.zeros(h)
    psi[0] = 1
    for j in range(1, h):
        psi[j] = sum(weight * psi[(j - 1 - k) % h] for k, weight in enumerate(a))
    return noise * np.cumsum(psi**2)


LINE_SLIPS: dict[str, Callable] = {
    "did you forget the prior? Class 1 has more documents.": lambda *p: _line(*p, prior=False),
    "did you forget to divide by the totals of the classes?": lambda *p: _line(*p, norm=False),
    "did you forget alpha?": lambda n, d, alpha: _line(np.maximum(n, 1e-300), d, 0.0),
    "is the sign wrong? Positive log-odds speak for class 1.": _turned,
    "did you add alpha to the total once? It is added for every gram.": _once,
}
FINAL_SLIPS: dict[str, Callable] = {
    "is this the last row of the array? A shorter sequence ends earlier.": lambda y, c, n: _final(
        y, c, n, np.arange(len(y))[:, None] == np.full(len(n), len(y) - 1)
    ),
    "did you judge every real step?": lambda y, c, n: _final(y, c, n, masks.valid_steps(n, len(y))),
    "are you a step late? Step t lies at index t - 1.": lambda y, c, n: _final(y, c, n, _at_row(y, 1)(n)),
    "did you sum over the batch? The loss is a mean.": lambda *p: _final(*p, mean=False),
    "is its sign wrong? It is the softmax minus the one-hot label.": lambda *p: _final(*p, sign=-1.0),
    "did you forget to take off the one-hot label?": lambda *p: _final(*p, known=False),
}
GRADE_SLIPS: dict[str, tuple[str, Callable]] = {
    "is this the variance? The error is its root.": ("error", lambda *p: scores.accuracy(*p[:2])[1] ** 2),
    "did you forget to divide by N?": ("error", lambda *p: scores.accuracy(*p[:2])[1] * len(p[0]) ** 0.5),
    "is this the precision?": ("f1", lambda *p: _parts(*p)[0]),
    "is this the recall?": ("f1", lambda *p: _parts(*p)[1]),
    "is this the plain mean of precision and recall? It is the harmonic one.": (
        "f1",
        lambda *p: sum(_parts(*p)) / 2,
    ),
    "is this the macro F1? One number for each class is asked.": ("f1", lambda *p: _macro(*p)),
}
AHEAD_SLIPS: dict[str, Callable] = {
    "do the weights meet the lags in the other order? a[0] belongs to the latest value.": lambda *p: _ahead(
        *p, turned=True
    ),
    "did you feed the forecasts back?": lambda *p: _ahead(*p, fed=False),
    "did you forget the constant?": lambda c, *p: _ahead(0.0, *p),
    "did you take the first values of the history for the last?": lambda *p: _ahead(*p, old=True),
}
SPREAD_SLIPS: dict[str, Callable] = {
    "did you forget to square psi?": lambda a, v, h: v * np.cumsum(_answered(a, h)),
    "did you forget to add up? An error gathers the shocks of all steps.": lambda a, v, h: v * _answered(a, h) ** 2,
    "is this h times the variance? That is a random walk.": lambda a, v, h: v * np.arange(1, h + 1),
    "are these standard deviations?": lambda a, v, h: np.sqrt(_variances(a, v, h)),
    "are you a step late? One step ahead, the variance is that of the noise.": lambda a, v, h: _variances(a, v, h + 1)[
        1:
    ],
    "does an index below zero wrap around? There psi is zero.": _wrapped,
    "did you use the first weight alone?": lambda a, v, h: v * np.cumsum(a[0] ** (2.0 * np.arange(h))),
}


def _macro(*given) -> np.ndarray:
    value = scores.f1(scores.confusion(*given)).mean()
    return np.full(given[2], value)


def scoreboard() -> None:
    """Print which tasks of the notebook are done."""
    print_scoreboard([line, final, grade, iterate, spread])
