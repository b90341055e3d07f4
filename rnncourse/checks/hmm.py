"""Checks of the exercise notebook on hidden Markov models."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rnncourse import hmm_params
from rnncourse.checks.compare import Mistake, known, named_parts, require_arrays
from rnncourse.checks.core import Wrong, call, task
from rnncourse.checks.core import scoreboard as print_scoreboard
from rnncourse.hmm_params import Categorical, HMMParams
from rnncourse.reference import hmm, hmm_gradient, viterbi

STEP_NAMES = ("h", "kappa")


@task("1", "predict, weigh, normalise", points=4)
def step(filter_step: Callable, **sizes: int) -> None:
    """Judge one step of the filter.

    Args:
        filter_step: takes P, the likelihoods of the step and h_{t-1}; returns h_t and kappa_t.
        sizes: seed, states, symbols, steps.

    Raises:
        Wrong: with a diagnosis.
    """
    model, x = _problem(**sizes)
    seen, before = model.emission.probabilities[:, x[1]], hmm.forward(model, x[:, None])[1].filtered[0, 0]
    answer = named_parts(call(filter_step, model.transition, seen, before), STEP_NAMES)
    right = dict(zip(STEP_NAMES, _step(model.transition, seen, before), strict=True))
    slips = [
        Mistake(hint, dict(zip(STEP_NAMES, wrong(model.transition, seen, before), strict=True)))
        for hint, wrong in STEP_SLIPS.items()
    ]
    require_arrays(answer, right, slips)


@task("2", "the likelihood of a long sequence", points=3)
def likelihood(log_likelihood: Callable, **sizes: int) -> None:
    """Judge log p of one sequence, also of one that is long.

    Args:
        log_likelihood: takes pi, P, C and symbols (T,); returns log p, a number.
        sizes: seed, states, symbols, steps.

    Raises:
        Wrong: with a diagnosis.
    """
    model, x = _problem(**sizes)
    long = np.tile(x, 400)
    for name, seen in (("log_p", x), ("log_p of a long sequence", long)):
        answer = call(log_likelihood, *model[:2], model.emission.probabilities, seen)
        if seen is long and not np.all(np.isfinite(np.asarray(answer, float))):
            raise Wrong(f"{len(long)} steps give {answer}: divide by kappa at every step, and add up its logarithm.")
        right = {name: np.asarray(hmm.forward(model, seen[:, None])[0][0])}
        require_arrays({name: answer}, right, known(name, LIKELIHOOD_SLIPS, model, seen))
        apart = abs(np.asarray(answer) - right[name])
        if apart > 1e-6:  # of thousands of nats that is next to nothing, and yet no rounding
            raise Wrong(f"{name} is off by {apart:.1g} nats, more than rounding: is something added to kappa?")


@task("3", "back through time", points=5)
def back(posterior: Callable, **sizes: int) -> None:
    """Judge the posterior of every state.

    Args:
        posterior: takes P, the likelihoods (T, K), the filter h (T, K) and kappa (T,); returns gamma (T, K).
        sizes: seed, states, symbols, steps.

    Raises:
        Wrong: with a diagnosis.
    """
    model, x = _problem(**sizes)
    tape = hmm.forward(model, x[:, None])[1]
    seen, h, kappa = model.emission.probabilities[:, x].T, tape.filtered[:, 0], np.exp(tape.normalisers[:, 0])
    answer = call(posterior, model.transition, seen, h, kappa)
    right = {"gamma": hmm.backward(tape).posterior[:, 0]}
    require_arrays({"gamma": answer}, right, known("gamma", BACK_SLIPS, model.transition, seen, h, kappa))


@task("4", "expected transitions", points=4)
def transitions(expected_transitions: Callable, **sizes: int) -> None:
    """Judge the expected transitions.

    Args:
        expected_transitions: takes P, the likelihoods (T, K), the filter h (T, K), the posterior gamma (T, K)
            and kappa (T,); returns N (K, K).
        sizes: seed, states, symbols, steps.

    Raises:
        Wrong: with a diagnosis.
    """
    model, x = _problem(**sizes)
    tape = hmm.forward(model, x[:, None])[1]
    counts = hmm.backward(tape)
    seen, h, kappa = model.emission.probabilities[:, x].T, tape.filtered[:, 0], np.exp(tape.normalisers[:, 0])
    given = (model.transition, seen, h, counts.posterior[:, 0], kappa)
    answer = call(expected_transitions, *given)
    require_arrays({"N": answer}, {"N": counts.transition}, known("N", TRANSITION_SLIPS, *given))


@task("5", "the centred gradient", points=3)
def gradient(centred: Callable, **sizes: int) -> None:
    """Judge the gradient by scores.

    Args:
        centred: takes the scores S (K, K) and expected counts N (K, K); returns dL/dS (K, K).
        sizes: seed, states, symbols, steps.

    Raises:
        Wrong: with a diagnosis.
    """
    model, x = _problem(**sizes)
    rng = np.random.default_rng(3)
    scores = np.log(model.transition) + rng.standard_normal((len(model.start), 1))  # their softmax is P all the same
    _, counts = hmm_gradient.free(model, x[:, None])
    _, right = hmm_gradient.centred(model, x[:, None])
    answer = call(centred, scores, counts.transition)
    slips = known("gradient", GRADIENT_SLIPS, scores, counts.transition)
    require_arrays({"gradient": answer}, {"gradient": right.transition}, slips)
    scores[0] += 1000
    answer = call(centred, scores, counts.transition)
    if not np.isfinite(answer).all():
        raise Wrong("with scores near 1000 there is a NaN: take the largest of each row off before exp.")
    require_arrays({"gradient with large scores": answer}, {"gradient with large scores": right.transition})


@task("6", "count and divide", points=2)
def divide(m_step: Callable, **sizes: int) -> None:
    """Judge the M-step.

    Args:
        m_step: takes expected transitions N (K, K) and emissions M (K, V); returns P and C.
        sizes: seed, states, symbols, steps.

    Raises:
        Wrong: with a diagnosis.
    """
    model, x = _problem(**sizes)
    _, counts = hmm_gradient.free(model, x[:, None])
    N, M = counts.transition, counts.emission.probabilities
    try:
        answer = named_parts(call(m_step, N, M), ("P", "C"))
    except Wrong as wrong:
        hint = " A row's sum must stay a column: keepdims=True." if "broadcast" in str(wrong) else ""
        raise Wrong(f"{wrong}{hint}") from None
    right = {"P": N / N.sum(axis=1, keepdims=True), "C": M / M.sum(axis=1, keepdims=True)}
    slips = [
        Mistake("did you divide by the sums of columns? Rows are what sums to one.", {
            "P": N / N.sum(axis=0), "C": M / np.where(M.sum(axis=0) == 0, 1, M.sum(axis=0))}),
        Mistake("did you divide by the sum of everything?", {"P": N / N.sum(), "C": M / M.sum()}),
        Mistake("are these the counts themselves?", {"P": N, "C": M}),
        Mistake("a row's sum must stay a column: keepdims=True.", {
            "P": N / N.sum(axis=1), "C": M / M.sum(axis=1, keepdims=True)}),
    ]  # fmt: skip
    require_arrays(answer, right, slips)


@task("7", "the best path", points=4)
def path(best_path: Callable, **sizes: int) -> None:
    """Judge Viterbi's algorithm.

    Args:
        best_path: takes log pi, log P and log likelihoods (T, K); returns the states, integers (T,).
        sizes: seed, states, symbols, steps.

    Raises:
        Wrong: with a diagnosis.
    """
    problems = [("a random model", _problem(**sizes)), ("a model with a trap", _trap())]
    problems += [("a small model", problem) for problem in _many(**sizes)] + [("a long sequence", _long(**sizes))]
    for name, (model, x) in problems:
        logs = np.log(model.emission.probabilities[:, x].T)
        answer = np.asarray(call(best_path, np.log(model.start), np.log(model.transition), logs))
        right = viterbi.path(model, x[:, None])[0][:, 0]
        if answer.shape != right.shape:
            raise Wrong(f"path: expected shape {right.shape}, got {answer.shape}.")
        if np.isin(answer, range(len(model.start))).all():
            best, found = (_along(model, z.astype(int), x) for z in (right, answer))
            if found > best - 1e-10 * abs(best):  # another path may be as good: it has the same factors
                continue
        for hint, slip in PATH_SLIPS.items():
            if np.array_equal(answer, slip(model, x)):
                raise Wrong(f"[{name}] {hint}")
        raise Wrong(f"[{name}] {int((answer != right).sum())} of {len(right)} states are not those of the best path.")


def _problem(seed: int = 0, states: int = 3, symbols: int = 4, steps: int = 9) -> tuple[HMMParams, np.ndarray]:
    """A model without a zero and symbols (T,), each of them seen."""
    rng = np.random.default_rng(seed)
    model = hmm_params.init_categorical(rng, states, symbols, evenness=2)
    return model, np.concatenate([rng.permutation(symbols), rng.integers(0, symbols, max(0, steps - symbols))])


def _many(states: int = 3, symbols: int = 4, **_: int):
    """Small problems: what one of them lets pass, another does not."""
    for seed in range(20):
        rng = np.random.default_rng([seed, states])
        yield hmm_params.init_categorical(rng, states, symbols), rng.integers(0, symbols, 4)


def _long(seed: int = 0, states: int = 3, symbols: int = 4, **_: int) -> tuple[HMMParams, np.ndarray]:
    """So many steps that products of probabilities are zero."""
    rng = np.random.default_rng([seed, 1])
    return hmm_params.init_categorical(rng, states, symbols), rng.integers(0, symbols, 3000)


def _trap() -> tuple[HMMParams, np.ndarray]:
    """The most probable state of each step is no part of the best path."""
    P = np.array([[0.98, 0.01, 0.01], [0.01, 0.495, 0.495], [0.01, 0.495, 0.495]])
    model = HMMParams(np.array([0.36, 0.32, 0.32]), P, Categorical(np.array([[0.6, 0.4], [0.64, 0.36], [0.56, 0.44]])))
    return model, np.array([0, 1, 0, 0, 1, 1, 0])


def _step(P, seen, before) -> tuple:
    weighed = seen * (P.T @ before)
    return weighed / weighed.sum(), np.asarray(weighed.sum())


def _weighed_first(P, seen, before) -> tuple:
    weighed = P.T @ (seen * before)
    return weighed / weighed.sum(), np.asarray(weighed.sum())


def _not_divided(P, seen, before) -> tuple:
    h, kappa = _step(P, seen, before)
    return h * kappa, kappa


def _logarithm(P, seen, before) -> tuple:
    h, kappa = _step(P, seen, before)
    return h, np.log(kappa)


def _kappas(model: HMMParams, x: np.ndarray) -> np.ndarray:
    return np.exp(hmm.forward(model, x[:, None])[1].normalisers[:, 0])


def _predicted_start(model: HMMParams, x: np.ndarray) -> np.ndarray:
    moved = model._replace(start=model.start @ model.transition)
    return np.asarray(hmm.forward(moved, x[:, None])[0][0])


def _backward(P, seen, h, kappa, divide: bool = True, turned: bool = False, late: bool = False):
    """gamma, or one of its slips."""
    s = np.ones_like(h)
    for t in range(len(h) - 1, 0, -1):
        weighed = seen[t - late] * s[t] / (kappa[t] if divide else 1)
        s[t - 1] = (P.T if turned else P) @ weighed
    return h * s


def _pairs(P, seen, h, s, kappa) -> np.ndarray:
    """The sum over t of h_{t-1,i} P_ij lambda_tj s_tj / kappa_t."""
    return P * (h[:-1].T @ (seen * s / kappa[:, None])[1:])


def _shares(P, seen, h, gamma, kappa) -> np.ndarray:
    N = _pairs(P, seen, h, gamma / h, kappa)
    return N / N.sum(axis=1, keepdims=True)


def _softmax(scores: np.ndarray) -> np.ndarray:
    e = np.exp(scores - scores.max(axis=1, keepdims=True))
    return e / e.sum(axis=1, keepdims=True)


def _greedy(model: HMMParams, x: np.ndarray) -> np.ndarray:
    """At each step the best state after the one chosen before."""
    logs, states = np.log(model.emission.probabilities[:, x].T), []
    for t, seen in enumerate(logs):
        come = np.log(model.transition[states[-1]]) if t else np.log(model.start)
        states.append(int((come + seen).argmax()))
    return np.array(states)


def _without_walk(model: HMMParams, x: np.ndarray) -> np.ndarray:
    """The best end of each step, not traced back."""
    logs, best, states = np.log(model.emission.probabilities[:, x].T), np.log(model.start), []
    for t, seen in enumerate(logs):
        best = ((best[:, None] + np.log(model.transition)).max(axis=0) if t else best) + seen
        states.append(int(best.argmax()))
    return np.array(states)


def _by_posterior(model: HMMParams, x: np.ndarray) -> np.ndarray:
    return hmm.backward(hmm.forward(model, x[:, None])[1]).posterior[:, 0].argmax(axis=1)


def _along(model: HMMParams, z: np.ndarray, x: np.ndarray) -> float:
    """log p(z, x)."""
    pi, P, C = (np.log(table) for table in (model.start, model.transition, model.emission.probabilities))
    return float(pi[z[0]] + P[z[:-1], z[1:]].sum() + C[z, x].sum())


def _viterbi(model: HMMParams, x: np.ndarray, start=True, first=True, summed=False, turned=False, products=False):
    """The best path, or one of its slips."""
    logs = np.log(model.emission.probabilities[:, x].T)
    P = model.transition.T if turned else model.transition
    if products:
        m = model.start * np.exp(logs[0])
    else:
        m = (np.log(model.start) if start else 0) + (logs[0] if first else np.zeros(len(P)))
    came = []
    for seen in logs[1:]:
        ways = m[:, None] * P if products else m[:, None] + np.log(P)
        came.append(ways.argmax(axis=0))
        if products:
            m = ways.max(axis=0) * np.exp(seen)
        else:
            m = (np.logaddexp.reduce(ways, axis=0) if summed else ways.max(axis=0)) + seen
    states = [int(m.argmax())]
    for where in reversed(came):
        states.append(int(where[states[-1]]))
    return np.array(states[::-1])


STEP_SLIPS: dict[str, Callable] = {
    "did you weigh before you predicted? The observation is that of the new state.": _weighed_first,
    "is P on the wrong side? P[i, j] goes from i to j.": lambda P, seen, before: _step(P.T, seen, before),
    "did you forget to predict?": lambda P, seen, before: _step(np.eye(len(P)), seen, before),
    "did you forget to divide by kappa?": _not_divided,
    "is this the logarithm of kappa?": _logarithm,
}
LIKELIHOOD_SLIPS: dict[str, Any] = {
    "pi is p(z_1): nothing is predicted before the first observation.": _predicted_start,
    "is this p, and not its logarithm?": lambda model, x: np.asarray(_kappas(model, x).prod()),
    "did you leave out the first observation?": lambda model, x: np.asarray(np.log(_kappas(model, x)[1:]).sum()),
    "is the sign that of a loss?": lambda model, x: np.asarray(-np.log(_kappas(model, x)).sum()),
}
BACK_SLIPS: dict[str, Callable] = {
    "is this the filter? It knows the past alone.": lambda P, seen, h, kappa: h,
    "is P on the wrong side? Backwards it is P, and not its transpose.": lambda *p: _backward(*p, turned=True),
    "did you forget to divide by kappa?": lambda *p: _backward(*p, divide=False),
    "is the likelihood that of the wrong step? s_{t-1} needs what was seen at t.": lambda *p: _backward(*p, late=True),
    "is this s? The posterior is h times s.": lambda P, seen, h, kappa: _backward(P, seen, h, kappa) / h,
}
TRANSITION_SLIPS: dict[str, Callable] = {
    "are these products of posteriors? Neighbouring states are not independent.": lambda P, seen, h, gamma, kappa: (
        gamma[:-1].T @ gamma[1:]
    ),
    "did you leave out P?": lambda P, seen, h, gamma, kappa: _pairs(P, seen, h, gamma / h, kappa) / P,
    "did you forget to divide by kappa?": lambda P, seen, h, gamma, kappa: _pairs(
        P, seen, h, gamma / h, np.ones_like(kappa)
    ),
    "did you leave out s, what the rest of the sequence says?": lambda P, seen, h, gamma, kappa: _pairs(
        P, seen, h, np.ones_like(h), kappa
    ),
    "is this gamma where s should be?": lambda P, seen, h, gamma, kappa: _pairs(P, seen, h, gamma, kappa),
    "is one transition missing? The entries of N sum to T - 1.": lambda P, seen, h, gamma, kappa: _pairs(
        P, seen[:-1], h[:-1], (gamma / h)[:-1], kappa[:-1]
    ),
    "which belief does the transition leave? It is that of step t - 1.": lambda P, seen, h, gamma, kappa: (
        P * (h[1:].T @ (seen * gamma / h / kappa[:, None])[1:])
    ),
    "are the axes exchanged? N[i, j] counts from i to j.": lambda P, seen, h, gamma, kappa: (
        _pairs(P, seen, h, gamma / h, kappa).T
    ),
    "are rows divided by their sums? That is the step of Baum and Welch; here we count.": lambda *given: _shares(
        *given
    ),
}
GRADIENT_SLIPS: dict[str, Callable] = {
    "these are the counts: the gradient of free weights, and no softmax has been here.": lambda S, N: N,
    "did you take off the mean of the row? Its share is P times the sum.": lambda S, N: (
        N - N.mean(axis=1, keepdims=True)
    ),
    "is the softmax along columns, or the sum? Rows are what sums to one.": lambda S, N: (
        N - _softmax(S) * N.sum(axis=0)
    ),
    "a row's sum must stay a column: keepdims=True.": lambda S, N: N - _softmax(S) * N.sum(axis=1),
    "is the sign that of a loss?": lambda S, N: _softmax(S) * N.sum(axis=1, keepdims=True) - N,
    "scores are no probabilities: take their softmax, which is not exp.": lambda S, N: (
        N - np.exp(S) * N.sum(axis=1, keepdims=True)
    ),
}
PATH_SLIPS: dict[str, Callable] = {
    "is this the best state after each state, chosen greedily? What is best now can be bad later.": _greedy,
    "did you take the best end of each step? Remember where each maximum came from, and walk back.": _without_walk,
    "are these the most probable states, one by one? The best path is another question.": _by_posterior,
    "where is log pi? It is part of the first message.": lambda model, x: _viterbi(model, x, start=False),
    "did you leave out the first observation?": lambda model, x: _viterbi(model, x, first=False),
    "pi is p(z_1): no transition comes before the first step.": lambda model, x: _viterbi(
        model._replace(start=model.start @ model.transition), x
    ),
    "is this a sum where a maximum belongs?": lambda model, x: _viterbi(model, x, summed=True),
    "is P on the wrong side? log_P[i, j] goes from i to j.": lambda model, x: _viterbi(model, x, turned=True),
    "are these products of probabilities? Thousands of them are zero: add logarithms.": lambda model, x: _viterbi(
        model, x, products=True
    ),
}


def scoreboard() -> None:
    """Print which tasks of the notebook are done."""
    print_scoreboard([step, likelihood, back, transitions, gradient, divide, path])
