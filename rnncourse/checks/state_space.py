"""Checks of the exercise notebook on state-space models and their bounds."""

from collections.abc import Callable

import numpy as np

from rnncourse.checks.compare import Mistake, known, named_parts, require_arrays
from rnncourse.checks.core import call, task
from rnncourse.checks.core import scoreboard as print_scoreboard
from rnncourse.latent_params import Diagonal
from rnncourse.lds_params import LDSParams
from rnncourse.reference import posterior_families, state_space, structured_posterior

BOUND_NAMES = ("r", "k")
SLOPE_NAMES = ("by_A", "by_mu")
BEST_NAMES = ("variances", "W")
CHAIN_NAMES = ("F", "b", "G")


@task("1", "the bound, step by step", points=5)
def bound(two_halves: Callable, **sizes: int) -> None:
    """Judge reconstruction and divergence of every step of one sequence.

    Args:
        two_halves: takes A, C, Q, R, m_0, mu (T, H), var (T, H), x (T, O); returns r (T,) and k (T,).
        sizes: seed, states, outputs, steps.

    Raises:
        Wrong: with a diagnosis.
    """
    given, _ = _problem(**sizes)
    answer = named_parts(call(two_halves, *given), BOUND_NAMES)
    right = dict(zip(BOUND_NAMES, _halves(*given), strict=True))
    require_arrays(answer, right, _slips(BOUND_NAMES, BOUND_SLIPS, given))


@task("2", "who teaches what", points=5)
def slopes(gradients: Callable, **sizes: int) -> None:
    """Judge the gradient of the bound by the dynamics and by the posterior's means.

    Args:
        gradients: takes what task 1 takes; returns dL/dA (H, H) and dL/dmu (T, H).
        sizes: seed, states, outputs, steps.

    Raises:
        Wrong: with a diagnosis.
    """
    given, _ = _problem(**sizes)
    answer = named_parts(call(gradients, *given), SLOPE_NAMES)
    _, tape = state_space.forward(*_library(*given))
    found = state_space.backward(tape)
    right = {"by_A": found.params.transition, "by_mu": found.posterior.mean[:, 0]}
    require_arrays(answer, right, _slips(SLOPE_NAMES, SLOPE_SLIPS, given))


@task("3", "one draw", points=3)
def draw(one_draw: Callable, **sizes: int) -> None:
    """Judge the estimate of the bound from one draw of all states.

    Args:
        one_draw: takes what task 1 takes, and noise (T, H); returns a number.
        sizes: seed, states, outputs, steps.

    Raises:
        Wrong: with a diagnosis.
    """
    given, noise = _problem(**sizes)
    right = state_space.one_draw(*_library(*given), noise[:, None])[0]
    answer = {"estimate": call(one_draw, *given, noise)}
    require_arrays(answer, {"estimate": np.asarray(right)}, known("estimate", DRAW_SLIPS, *given, noise))


@task("4", "the best that can be done", points=4)
def best(best_product: Callable, **sizes: int) -> None:
    """Judge the best product posterior for what it may see.

    Args:
        best_product: takes Lambda (N, N), W_star (N, M), S (M, M), seen (N, M) of booleans; returns
            variances (N,) and W (N, M).
        sizes: seed, states, outputs, steps.

    Raises:
        Wrong: with a diagnosis.
    """
    (A, C, Q, R, m_0, mu, _, _), _ = _problem(**sizes)
    exact = posterior_families.posterior(_system(A, C, Q, R, m_0), len(mu))
    for name in ("filter", "frame"):  # what may be seen need not begin with the first output
        window = posterior_families.visible(name, len(mu))
        seen = np.kron(window, np.ones((len(A), len(C)))).astype(bool)
        found = posterior_families.best(exact, window)
        given = (exact.precision, exact.weights, exact.output_covariance, seen)
        answer = named_parts(call(best_product, *given), BEST_NAMES)
        right = {"variances": found.variances.ravel(), "W": found.weights}
        known_slips = (*given, right["variances"], right["W"], len(A))
        require_arrays(answer, right, _slips(BEST_NAMES, BEST_SLIPS, known_slips))


@task("5", "read backwards", points=3)
def chain(exact_chain: Callable, **sizes: int) -> None:
    """Judge the exact posterior as a chain.

    Args:
        exact_chain: takes A, C, Q, R, m_0, x (T, O); returns F (T, H, H), b (T, H) and G (T, H, H).
        sizes: seed, states, outputs, steps.

    Raises:
        Wrong: with a diagnosis.
    """
    (A, C, Q, R, m_0, _, _, x), _ = _problem(**sizes)
    given = (A, C, Q, R, m_0, x)
    answer = named_parts(call(exact_chain, *given), CHAIN_NAMES)
    found = structured_posterior.forward(_system(A, C, Q, R, m_0), x[:, None])
    right = {"F": found.matrices, "b": found.offsets[:, 0], "G": found.covariances}
    require_arrays(answer, right, _slips(CHAIN_NAMES, CHAIN_SLIPS, given))


def _problem(seed: int = 0, states: int = 3, outputs: int = 2, steps: int = 5) -> tuple:
    """A system that starts at a known z_0, a posterior and observations; and noise."""
    rng = np.random.default_rng(seed)
    H, O, T = states, outputs, steps

    def covariance(n: int) -> np.ndarray:
        root = rng.standard_normal((n, n))
        return root @ root.T / n + 0.3 * np.eye(n)

    A = rng.standard_normal((H, H))
    A *= 0.9 / np.abs(np.linalg.eigvals(A)).max()
    parts = (A, rng.standard_normal((O, H)), covariance(H), covariance(O), rng.standard_normal(H))
    mu, var = rng.standard_normal((T, H)), 0.2 + rng.random((T, H))
    return (*parts, mu, var, 2 * rng.standard_normal((T, O))), rng.standard_normal((T, H))


def _system(A, C, Q, R, m_0) -> LDSParams:
    return LDSParams(A, np.zeros((len(A), 0)), C, Q, R, m_0, np.zeros_like(A))


def _library(A, C, Q, R, m_0, mu, var, x) -> tuple:
    return _system(A, C, Q, R, m_0), Diagonal(mu[:, None], np.log(var)[:, None]), x[:, None]


def _slips(names: tuple, slips: dict, given: tuple) -> list[Mistake]:
    return [Mistake(hint, dict(zip(names, wrong(*given), strict=True))) for hint, wrong in slips.items()]


def _halves(A, C, Q, R, m_0, mu, var, x, blur=1.0, before=1.0, start=True, shift=True, turned=False, sign=1.0) -> tuple:
    """The two halves, or one of their slips."""
    P, R_inv = np.linalg.inv(Q), np.linalg.inv(R)
    e = x - mu @ C.T
    r = -0.5 * (np.einsum("ti,ij,tj->t", e, R_inv, e) + np.linalg.slogdet(2 * np.pi * R)[1])
    r = r - 0.5 * blur * var @ np.diagonal(C.T @ R_inv @ C)
    expected = np.concatenate([(A @ m_0)[None], mu[:-1] @ A.T])
    d = mu - expected if shift else mu
    if turned:  # the posterior's divergence from the prior, means for draws
        size = np.sum(d**2 / var, axis=1) + (1 / var) @ np.diagonal(Q) + np.log(var).sum(axis=1)
        return r, 0.5 * (size - np.linalg.slogdet(Q)[1] - len(A))
    size = np.einsum("ti,ij,tj->t", d, P, d) + var @ np.diagonal(P) - np.log(var).sum(axis=1)
    size = size + np.linalg.slogdet(Q)[1] - len(A)
    size[1:] += before * var[:-1] @ np.diagonal(A.T @ P @ A)
    if not start:
        size[0] = 0
    return r, 0.5 * sign * size


def _slopes(A, C, Q, R, m_0, mu, var, x, prior=1.0, blur=1.0, ahead=1.0, start=True) -> tuple:
    """The gradients, or one of their slips."""
    P, past = np.linalg.inv(Q), np.concatenate([m_0[None], mu[:-1]])
    d, spread = mu - past @ A.T, np.concatenate([np.zeros((1, len(A))), var[:-1]])
    first = 0 if start else 1
    by_A = P @ (d[first:].T @ past[first:] - blur * A @ np.diag(spread.sum(axis=0)))
    by_mu = (x - mu @ C.T) @ np.linalg.inv(R) @ C - d @ P
    by_mu[:-1] += ahead * d[1:] @ P @ A
    return prior * by_A, by_mu


def _draw(A, C, Q, R, m_0, mu, var, x, noise, previous="draw", spread="deviation", start=True, sign=1.0):
    """The estimate, or one of its slips."""
    z = mu + (np.sqrt(var) if spread == "deviation" else var) * noise
    P, total = np.linalg.inv(Q), 0.0
    for t in range(len(x)):
        e = x[t] - C @ z[t]
        total -= 0.5 * (e @ np.linalg.solve(R, e) + np.linalg.slogdet(2 * np.pi * R)[1])
        d = mu[t] - A @ ((z if previous == "draw" else mu)[t - 1] if t else m_0)
        size = d @ P @ d + np.diagonal(P) @ var[t] - np.log(var[t]).sum() + np.linalg.slogdet(Q)[1] - len(A)
        total -= 0.5 * sign * size * (start or t > 0)
    return np.asarray(total)


def _solved(Lambda, W_star, S, seen) -> np.ndarray:
    W, (i, j) = np.zeros(W_star.shape), np.nonzero(seen)
    if len(i):
        W[i, j] = np.linalg.solve(Lambda[np.ix_(i, i)] * S[np.ix_(j, j)], (Lambda @ W_star @ S)[i, j])
    return W


def _hidden(Lambda, W_star, S, seen, variances, W, H) -> tuple:
    """The present frame hidden: each state sees what the one before it may."""
    return variances, _solved(Lambda, W_star, S, np.concatenate([0 * seen[:H], seen[:-H]]))


def _marginal(Lambda, W_star, S, seen, variances, W, H) -> tuple:
    return np.diagonal(np.linalg.inv(Lambda)), W


def _masked(Lambda, W_star, S, seen, variances, W, H) -> tuple:
    return variances, W_star * seen


def _open(Lambda, W_star, S, seen, variances, W, H) -> tuple:
    return variances, W_star


def _first(Lambda, W_star, S, seen, variances, W, H) -> tuple:
    """As many of the first outputs as there are outputs to see."""
    return variances, _solved(Lambda, W_star, S, np.arange(seen.shape[1]) < seen.sum(axis=1)[:, None])


def _alone(Lambda, W_star, S, seen, variances, W, H) -> tuple:
    """Each state's mean given what it sees, as if the others had no factors: the filter's means."""
    alone = np.zeros_like(W)
    for i, row in enumerate(seen):
        (j,) = np.nonzero(row)
        alone[i, j] = np.linalg.solve(S[np.ix_(j, j)], (W_star @ S)[i, j])
    return variances, alone


def _chain(A, C, Q, R, m_0, x, order="backwards", emission=True, start=True, now=True, link=False) -> tuple:
    """The chain, or one of its slips."""
    P, look = np.linalg.inv(Q), np.linalg.solve(R, C).T
    Omega, eta, parts = 0 * A, 0 * m_0, []
    rows = x if order == "backwards" else x[::-1]
    for t in reversed(range(len(x))):
        if now or t < len(x) - 1:
            Omega, eta = Omega + emission * look @ C, eta + look @ rows[t]
        G = np.linalg.inv(P + Omega)
        first = t == 0 and start
        parts.append((0 * A if t == 0 and not link else G @ P @ A, G @ (eta + (P @ A @ m_0 if first else 0)), G))
        Omega, eta = A.T @ (P - P @ G @ P) @ A, A.T @ P @ G @ eta
    return tuple(map(np.stack, zip(*parts[::-1], strict=True)))


BOUND_SLIPS: dict[str, Callable] = {
    "did you put the previous mean where the previous state belongs? Its variance counts too.": lambda *p: _halves(
        *p, before=0.0
    ),
    "did you forget the prior of the first step?": lambda *p: _halves(*p, start=False),
    "is the divergence the other way round? The mean is over q.": lambda *p: _halves(*p, turned=True),
    "is the sign of the divergence wrong?": lambda *p: _halves(*p, sign=-1.0),
    "did you forget the trace in the reconstruction? z_t is not exactly mu_t.": lambda *p: _halves(*p, blur=0.0),
    "do you compare with a prior of mean zero? It is A times the state before.": lambda *p: _halves(*p, shift=False),
}
SLOPE_SLIPS: dict[str, Callable] = {
    "did you stop the gradient at the prior? The divergence is its only teacher.": lambda *p: _slopes(*p, prior=0.0),
    "did you take the state before as exactly known? Its variance shrinks A.": lambda *p: _slopes(*p, blur=0.0),
    "did you forget that mu_t is also what the next step is compared with?": lambda *p: _slopes(*p, ahead=0.0),
    "did you forget the first step, which comes from m_0?": lambda *p: _slopes(*p, start=False),
    "is the sign wrong? The bound is raised.": lambda *p: tuple(-part for part in _slopes(*p)),
}
DRAW_SLIPS: dict[str, Callable] = {
    "did you use the previous mean instead of the previous draw?": lambda *p: _draw(*p, previous="mean"),
    "did you multiply the noise by the variance? Take its root.": lambda *p: _draw(*p, spread="variance"),
    "did you forget the prior of the first step?": lambda *p: _draw(*p, start=False),
    "is the sign of the divergence wrong?": lambda *p: _draw(*p, sign=-1.0),
}
BEST_SLIPS: dict[str, Callable] = {
    "are these the variances of what is known of each state? The best ones are narrower.": _marginal,
    "did you only put zeros into W*? What is left must be found anew.": _masked,
    "did you hide the present frame?": _hidden,
    "did you leave the zeros out of account? Only what may be seen may have a weight.": _open,
    "did you count what may be seen instead of looking where it stands?": _first,
    "is this what is known of each state by itself? The factors are scored together.": _alone,
}
CHAIN_SLIPS: dict[str, Callable] = {
    "did you read the observations from the first to the last?": lambda *p: _chain(*p, order="forwards"),
    "let F_1 be zero and put what m_0 says into b_1: the first state has none before it.": lambda *p: _chain(
        *p, start=False, link=True
    ),
    "did you forget where the walk starts, at m_0?": lambda *p: _chain(*p, start=False),
    "did you forget what the present frame adds to Omega?": lambda *p: _chain(*p, emission=False),
    "did you leave out the last frame?": lambda *p: _chain(*p, now=False),
}


def scoreboard() -> None:
    """Print which tasks of the notebook are done."""
    print_scoreboard([bound, slopes, draw, best, chain])
