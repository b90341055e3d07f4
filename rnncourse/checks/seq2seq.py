"""Checks of the exercise notebook on encoders, decoders, attention and search."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rnncourse.checks.compare import Mistake, known, named_parts, require_arrays
from rnncourse.checks.core import Wrong, call, task
from rnncourse.checks.core import scoreboard as print_scoreboard
from rnncourse.data import pairs
from rnncourse.reference.seq2seq import log_softmax


@task("1", "what the decoder hears, and what counts", points=3)
def batch(heard_and_counted: Callable, **sizes: int) -> None:
    """Judge the shift and the mask of a batch of targets.

    Args:
        heard_and_counted: takes targets (N, B); returns what is heard (N, B) and what counts (N, B).
        sizes: seed, sequences.

    Raises:
        Wrong: with a diagnosis.
    """
    y = _targets(**sizes)
    names = ("heard", "counted")
    heard, counted = named_parts(call(heard_and_counted, y), names).values()
    answer = {"heard": _cleaned(heard, y), "counted": np.asarray(counted).astype(float)}
    right = {"heard": _cleaned(pairs.shifted(y), y), "counted": _counted(y)}
    slips = []
    for hint, wrong in BATCH_SLIPS.items():
        heard, counted = wrong(y)
        slips.append(Mistake(hint, {"heard": _cleaned(heard, y), "counted": counted}))
    require_arrays(answer, right, slips)


@task("2", "the score of a batch", points=3)
def score(log_probability: Callable, **sizes: int) -> None:
    """Judge log p(y | x) of every column.

    Args:
        log_probability: takes logits (N, B, V) and targets (N, B); returns (B,).
        sizes: seed, sequences.

    Raises:
        Wrong: with a diagnosis.
    """
    y = _targets(**sizes)
    logits = 2 * np.random.default_rng(7).standard_normal((*y.shape, 5))
    answer = call(log_probability, logits, y)
    right = {"log_p": _scores(logits, y, _counted(y))}
    require_arrays({"log_p": answer}, right, known("log_p", SCORE_SLIPS, logits, y))


@task("3", "attention", points=4)
def attend(attention: Callable, **sizes: int) -> None:
    """Judge weights and context of one query.

    Args:
        attention: takes a query (M,), keys (T, M) and the number of real keys; returns weights (T,) and
            context (M,).
        sizes: seed, steps, features.

    Raises:
        Wrong: with a diagnosis.
    """
    q, h, real, _ = _attention_problem(**sizes)
    T, names = len(h), ("weights", "context")
    away = h - 1000 * len(q) ** 0.5 * q / (q @ q)  # real scores near -1000
    away[real:] = 50 * q  # and those of padding above zero
    problems = [(q, h, real), (400 * q, h, real), (q, h, 1), (q, h, T - 3), (q, h, T), (q, away, real)]
    for problem in problems:
        answer = named_parts(call(attention, *problem), names)
        right = dict(zip(names, _attention(*problem), strict=True))
        slips = [
            Mistake(hint, dict(zip(names, wrong(*problem), strict=True))) for hint, wrong in ATTENTION_SLIPS.items()
        ]
        require_arrays(answer, right, slips)


@task("4", "attention backwards", points=5)
def back(attention_back: Callable, **sizes: int) -> None:
    """Judge the gradients of one query and of all keys.

    Args:
        attention_back: takes query (M,), keys (T, M), weights (T,) and the gradient at the context (M,);
            returns gradients of the query (M,) and of the keys (T, M).
        sizes: seed, steps, features.

    Raises:
        Wrong: with a diagnosis.
    """
    q, h, real, g = _attention_problem(**sizes)
    alpha, _ = _attention(q, h, real)
    names = ("query", "keys")
    answer = named_parts(call(attention_back, q, h, alpha, g), names)
    right = dict(zip(names, _attention_back(q, h, alpha, g), strict=True))
    slips = [Mistake(hint, dict(zip(names, wrong(q, h, alpha, g), strict=True))) for hint, wrong in BACK_SLIPS.items()]
    require_arrays(answer, right, slips)


@task("5", "beam search", points=6)
def beam(beam_search: Callable, **sizes: int) -> None:
    """Judge a beam search for one source.

    Args:
        beam_search: takes ``next_log_p``, a width and a limit; returns the finished answers, best first, as a
            list of pairs (log p, tuple of symbols with its end).
        sizes: seed, symbols.

    Raises:
        Wrong: with a diagnosis.
    """
    for width, limit in ((3, 6), (1, 4), (2, 5), (64, 4)):
        next_log_p = _decoder(**sizes)
        answer = call(beam_search, next_log_p, width, limit)
        right = _every(next_log_p, limit)[:width] if width == 64 else _beam(next_log_p, width, limit)
        _require_list(answer, right, next_log_p, width, limit)


@task("6", "a fair score for long answers", points=2)
def rank(best_by_score: Callable, **sizes: int) -> None:
    """Judge the choice by mean log-probability.

    Args:
        best_by_score: takes a list of pairs (log p, tuple of symbols with its end) and a power; returns the
            best pair as it stands in the list.
        sizes: seed, symbols.

    Raises:
        Wrong: with a diagnosis.
    """
    table = [(-1.0, (1, 0)), (-2.1, (1, 2, 2, 0))]  # with the end counted the first, without it the second
    searched = _beam(_decoder(**sizes), 64, 5)
    near = [(-1.0, (1, 0)), (-1.3, (1, 2, 2, 0))]  # with the fourth root the first, with the length itself the second
    for found, power in ((searched, 0.0), (searched, 0.7), (table, 1.0), (searched, 1.0), (near, 0.25)):
        answer = call(best_by_score, list(found), power)
        right = max(found, key=lambda one: one[0] / len(one[1]) ** power)
        if not (isinstance(answer, tuple) and len(answer) == 2 and isinstance(answer[1], tuple)):
            raise Wrong("expected one of the pairs (log p, symbols), as it stands in the list.")
        if answer[1] != right[1]:
            for hint, wrong in RANK_SLIPS.items():
                if answer[1] == wrong(found, power)[1]:
                    raise Wrong(f"[power {power}] {hint}")
            raise Wrong(f"[power {power}] {answer[1]} is not the best: {right[0] / len(right[1]) ** power:.4f} is.")
        if abs(answer[0] - right[0]) > 1e-9:
            raise Wrong(f"[power {power}] return log p as it was: the score is for sorting alone.")


def _targets(seed: int = 0, sequences: int = 4) -> np.ndarray:
    """A ragged batch with something behind the end of one column: 0 3 1 0 is the empty sequence."""
    rng = np.random.default_rng(seed)
    y = pairs.pad([rng.integers(1, 5, n) for n in (3, 0, *rng.integers(1, 6, sequences - 2))])
    y[1:3, 1] = 3, 1
    return y


def _counted(y: np.ndarray) -> np.ndarray:
    return (np.arange(len(y))[:, None] < pairs.lengths(y)).astype(float)


def _cleaned(heard: Any, y: np.ndarray) -> Any:
    """What is heard behind the end is nobody's business."""
    heard = np.asarray(heard)
    return np.where(_counted(y) > 0, heard, 0).astype(float) if heard.shape == y.shape else heard


def _after_something(y: np.ndarray) -> np.ndarray:
    """The slip that counts a step where something was heard before it, and the first."""
    counted = (pairs.shifted(y) != 0).astype(float)
    counted[0] = 1.0
    return counted


def _early(y: np.ndarray) -> np.ndarray:
    return np.concatenate([y[1:], np.zeros_like(y[:1])])


def _scores(logits: np.ndarray, y: np.ndarray, counted: np.ndarray) -> np.ndarray:
    return (np.take_along_axis(log_softmax(logits), y[:, :, None], axis=2)[:, :, 0] * counted).sum(axis=0)


def _attention_problem(seed: int = 0, steps: int = 6, features: int = 3):
    rng = np.random.default_rng(seed)
    q, h, g = rng.standard_normal(features), rng.standard_normal((steps, features)), rng.standard_normal(features)
    return q, h, max(1, steps - 2), g


def _attention(q, h, real, scale=None, masked=True, divide=True):
    u = h @ q * (len(q) ** -0.5 if scale is None else scale)
    if masked is True:
        u = np.where(np.arange(len(h)) < real, u, -np.inf)
    elif masked == "zero":
        u = np.where(np.arange(len(h)) < real, u, 0)
    e = np.exp(u - u.max())
    alpha = e / e.sum() if divide else e
    return alpha, alpha @ h


def _attention_late(q, h, real):
    alpha, _ = _attention(q, h, real, masked=False)
    alpha = alpha * (np.arange(len(h)) < real)
    return alpha, alpha @ h


def _attention_back(q, h, alpha, g, centred=True, scores=True, average=True, scaled=True):
    size = len(q) ** -0.5 if scaled else 1.0
    epsilon = alpha * (h @ g - (alpha @ h @ g if centred else 0)) * size
    return epsilon @ h, average * np.outer(alpha, g) + scores * np.outer(epsilon, q)


def _decoder(seed: int = 0, symbols: int = 4) -> Callable:
    """log p of the next symbol after a tuple of symbols, from a table of random numbers."""
    rng = np.random.default_rng([seed, 12])
    sure = rng.choice([1, 8], (997, 1))
    logs = log_softmax(sure * rng.random((997, symbols)) - np.where(np.arange(symbols) == 0, 1.0, 0.0))

    def next_log_p(said: tuple) -> np.ndarray:
        place = seed
        for symbol in said:
            place = (31 * place + 7 * int(symbol) + 1) % len(logs)
        return logs[place].copy()

    return next_log_p


def _beam(next_log_p, width, limit, drop=False, ends=True):
    """The list of a beam, or one of its slips: ``drop`` stops at the first end, ``ends`` counts them."""
    alive, finished = [(0.0, ())], []
    for _ in range(limit):
        longer = []
        for log_p, said in alive:
            logs = next_log_p(said)
            finished.append((log_p + ends * logs[0], (*said, 0)))
            longer += [(log_p + logs[v], (*said, v)) for v in range(1, len(logs))]
        alive = sorted(longer, key=lambda one: -one[0])[:width]
        if drop and finished:
            break
    return sorted(finished, key=lambda one: -one[0])[:width]


def _every(next_log_p, limit):
    """All finished answers, the best first."""
    answers, open_ = [], [(0.0, ())]
    for _ in range(limit):
        longer = [
            (log_p + value, (*said, v)) for log_p, said in open_ for v, value in enumerate(next_log_p(said).tolist())
        ]
        answers += [one for one in longer if one[1][-1] == 0]
        open_ = [one for one in longer if one[1][-1] != 0]
    return sorted(answers, key=lambda one: -one[0])


def _places(next_log_p, width, limit):
    """A beam in which what ends takes a place among the best, though it is kept."""
    alive, finished = [(0.0, ())], []
    for _ in range(limit):
        longer = [(log_p + value, (*said, v)) for log_p, said in alive for v, value in enumerate(next_log_p(said))]
        best = sorted(longer, key=lambda one: -one[0])[:width]
        finished += [one for one in best if one[1][-1] == 0]
        alive = [one for one in best if one[1][-1] != 0]
    return sorted(finished, key=lambda one: -one[0])[:width]


def _shared(next_log_p, width, limit):
    """A beam in which what has ended is thrown away at the next step, and only the last step's ends are left."""
    alive, finished = [(0.0, ())], []
    for _ in range(limit):
        longer = []
        for log_p, said in alive:
            logs = next_log_p(said)
            longer += [(log_p + logs[v], (*said, v)) for v in range(len(logs))]
        longer = sorted(longer, key=lambda one: -one[0])[:width]
        finished = [one for one in longer if one[1][-1] == 0]
        alive = [one for one in longer if one[1][-1] != 0]
    return sorted(finished, key=lambda one: -one[0])


def _require_list(answer: Any, right: list, next_log_p: Callable, width: int, limit: int) -> None:
    where = f"width {width}, limit {limit}"
    fits = isinstance(answer, list) and all(isinstance(one, tuple) and len(one) == 2 for one in answer)
    if not fits or not all(isinstance(said, tuple) for _, said in answer):
        raise Wrong(f"[{where}] expected a list of pairs (log p, tuple of symbols).")
    if _alike(answer, right):
        return
    for hint, wrong in BEAM_SLIPS.items():
        if _alike(answer, wrong(next_log_p, width, limit)):
            raise Wrong(f"[{where}] {hint}")
    said, wanted = [one[1] for one in answer], [one[1] for one in right]
    if any(not one or one[-1] != 0 for one in said):
        raise Wrong(f"[{where}] an answer without its end is not finished.")
    if said == wanted:
        raise Wrong(f"[{where}] the answers are right, their log-probabilities are not.")
    if sorted(said) == sorted(wanted):
        raise Wrong(f"[{where}] the answers are right, their order is not: the best comes first.")
    raise Wrong(f"[{where}] {len(set(wanted) - set(said))} of {len(wanted)} answers are missing.")


def _alike(answer: list, right: list) -> bool:
    same = [tuple(int(v) for v in one[1]) for one in answer] == [one[1] for one in right]
    return same and all(abs(a[0] - b[0]) < 1e-9 for a, b in zip(answer, right, strict=True))


BATCH_SLIPS: dict[str, Callable] = {
    "is the shift the wrong way round? At step n the decoder hears y_{n-1}.": lambda y: (_early(y), _counted(y)),
    "did you forget to shift? The decoder would hear what it must say.": lambda y: (y, _counted(y)),
    "did you leave out the end? It must be learned like any other symbol.": lambda y: (
        pairs.shifted(y),
        (np.cumsum(y == 0, axis=0) == 0).astype(float),
    ),
    "does padding count? After its first 0 a column is over.": lambda y: (pairs.shifted(y), np.ones(y.shape)),
    "a column is over for good after its first 0, whatever stands behind it.": lambda y: (
        pairs.shifted(y),
        _after_something(y),
    ),
    "the non-zeros do not give the length: padding need not be 0.": lambda y: (
        pairs.shifted(y),
        (np.arange(len(y))[:, None] <= (y != 0).sum(axis=0)).astype(float),
    ),
}
SCORE_SLIPS: dict[str, Callable] = {
    "did you leave out the end? Without it this is the probability of all answers that begin so.": lambda s, y: _scores(
        s, y, (np.cumsum(y == 0, axis=0) == 0).astype(float)
    ),
    "does padding count? After its first 0 a column is over.": lambda s, y: _scores(s, y, np.ones(y.shape)),
    "is the sign that of a loss?": lambda s, y: -_scores(s, y, _counted(y)),
    "is this a mean? Log-probabilities of steps are added.": lambda s, y: _scores(s, y, _counted(y)) / pairs.lengths(y),
    "are these logits? Take their log-softmax first.": lambda s, y: (
        np.take_along_axis(s, y[:, :, None], axis=2)[:, :, 0] * _counted(y)
    ).sum(axis=0),
}
ATTENTION_SLIPS: dict[str, Callable] = {
    "did you forget the mask? Padding is looked at.": lambda q, h, real: _attention(q, h, real, masked=False),
    "did you set the scores of padding to 0? Then its weight is e^0.": lambda q, h, real: _attention(
        q, h, real, masked="zero"
    ),
    "did you mask after the softmax? Then the weights no longer sum to one.": _attention_late,
    "did you forget to divide by the root of M?": lambda q, h, real: _attention(q, h, real, scale=1.0),
    "is `real` used? It is another number in another problem.": lambda q, h, real: _attention(q, h, len(h) - 2),
    "did you forget to normalise? Weights are shares.": lambda q, h, real: _attention(q, h, real, divide=False),
}
BACK_SLIPS: dict[str, Callable] = {
    "did you forget to take off the context? The softmax's derivative is centred.": lambda q, h, alpha, g: (
        _attention_back(q, h, alpha, g, centred=False)
    ),
    "the keys have two readers: what of the scores?": lambda q, h, alpha, g: _attention_back(
        q, h, alpha, g, scores=False
    ),
    "the keys have two readers: what of the average?": lambda q, h, alpha, g: _attention_back(
        q, h, alpha, g, average=False
    ),
    "did you forget to divide by the root of M?": lambda q, h, alpha, g: _attention_back(q, h, alpha, g, scaled=False),
}
BEAM_SLIPS: dict[str, Callable] = {
    "did you stop at the first end? Answers that end later may be more probable.": lambda f, k, n: _beam(
        f, k, n, drop=True
    ),
    "is log p of the end missing? An answer's log-probability has its end in it.": lambda f, k, n: _beam(
        f, k, n, ends=False
    ),
    "do ended answers take places in the beam, or get lost? They belong in a list of their own.": _places,
    "what has ended was thrown away: keep finished answers in a list of their own.": _shared,
}
RANK_SLIPS: dict[str, Callable] = {
    "this is the best by its mean: divide by the length to the power.": lambda found, a: max(
        found, key=lambda one: one[0] / len(one[1])
    ),
    "the end counts in the length.": lambda found, a: max(found, key=lambda one: one[0] / max(1, len(one[1]) - 1) ** a),
    "this is the most probable one: divide by the length first.": lambda found, a: max(found, key=lambda one: one[0]),
    "this is the worst one.": lambda found, a: min(found, key=lambda one: one[0] / len(one[1]) ** a),
}


def scoreboard() -> None:
    """Print which tasks of the notebook are done."""
    print_scoreboard([batch, score, attend, back, beam, rank])
