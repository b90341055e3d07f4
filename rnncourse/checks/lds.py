"""Checks of the exercise notebook on linear dynamical systems."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rnncourse.checks.compare import Mistake, known, named_parts, require_arrays
from rnncourse.checks.core import call, task
from rnncourse.checks.core import scoreboard as print_scoreboard
from rnncourse.lds_params import LDSParams
from rnncourse.reference import kalman, lds_em, smoother, steady

STEP_NAMES = ("m", "V", "K")
RUN_NAMES = ("means", "log_likelihood")
SMOOTH_NAMES = ("means", "covariances", "cross")
FIT_NAMES = ("A", "Q")


@task("1", "one round of the filter", points=4)
def step(kalman_step: Callable, **sizes: int) -> None:
    """Judge one prediction and one update of one sequence.

    Args:
        kalman_step: takes A, W_x, C, Q, R, m_{t-1}, V_{t-1}, x_t, y_t; returns m_t, V_t and K_t.
        sizes: seed, states, outputs, inputs.

    Raises:
        Wrong: with a diagnosis.
    """
    params, x, y = _problem(**sizes)
    given = (*params, x[0], y[0])
    answer = named_parts(call(kalman_step, *given), STEP_NAMES)
    slips = [Mistake(hint, dict(zip(STEP_NAMES, wrong(*given), strict=True))) for hint, wrong in STEP_SLIPS.items()]
    require_arrays(answer, dict(zip(STEP_NAMES, _step(*given), strict=True)), slips)


@task("2", "a filter that stands gaps", points=5)
def run(kalman_filter: Callable, **sizes: int) -> None:
    """Judge the filter of a sequence in which whole outputs are missing.

    Args:
        kalman_filter: takes A, W_x, C, Q, R, m_0, P_0, x (T, D), y (T, O), a row of y being NaN where it is
            missing; returns the means (T, H) and the log-likelihood of what was seen.
        sizes: seed, states, outputs, inputs.

    Raises:
        Wrong: with a diagnosis.
    """
    params, x, y = _problem(**sizes)
    y[[2, 3, 7]] = np.nan
    answer = named_parts(call(kalman_filter, *params, x, y), RUN_NAMES)
    found, _ = kalman.forward(params, y[:, None], x[:, None], observed=~np.isnan(y[:, :1]))
    right = {"means": found.means[:, 0], "log_likelihood": found.log_likelihood[0]}
    slips = [Mistake(hint, dict(zip(RUN_NAMES, wrong(params, x, y), strict=True))) for hint, wrong in RUN_SLIPS.items()]
    require_arrays(answer, right, slips)


@task("3", "what it settles at", points=2)
def settled(settled_gain: Callable, **sizes: int) -> None:
    """Judge the gain of a filter that has been running for long.

    Args:
        settled_gain: takes A, C, Q, R; returns K.
        sizes: seed, states, outputs.

    Raises:
        Wrong: with a diagnosis.
    """
    params, _, _ = _problem(**sizes)
    A, _, C, Q, R, *_ = params
    found = steady.settle(params, 5000)
    right, V = found.gains[-1], found.filtered[-1]
    slips = {
        "is this A K, the gain of the one-step form?": A @ right,
        "is this the gain before the last prediction? It is made of P, and not of V.": _gain(V, C, R),
        "is this the first gain, from P = Q? Go on until it moves no more.": _gain(Q, C, R),
    }
    answer = {"K": call(settled_gain, A, C, Q, R)}
    require_arrays(answer, {"K": right}, known("K", {hint: lambda wrong=wrong: wrong for hint, wrong in slips.items()}))


@task("4", "the smoother", points=5)
def smooth(rts: Callable, **sizes: int) -> None:
    """Judge the backward pass of one sequence.

    Args:
        rts: takes A, then m (T + 1, H), V (T + 1, H, H) of z_0..z_T after the updates and p (T, H),
            P (T, H, H) of z_1..z_T before them; returns means (T + 1, H), covariances (T + 1, H, H) and the
            covariances of z_{t+1} with z_t, (T, H, H).
        sizes: seed, states, outputs, inputs.

    Raises:
        Wrong: with a diagnosis.
    """
    params, x, y = _problem(**sizes)
    tape = kalman.forward(params, y[:, None], x[:, None])[1]
    given = (
        *(params.transition, tape.means[:, 0], tape.covariances),
        *(tape.predicted_means[:, 0], tape.predicted_covariances),
    )
    answer = named_parts(call(rts, *given), SMOOTH_NAMES)
    right = dict(zip(SMOOTH_NAMES, _smooth(*given), strict=True))
    slips = [Mistake(hint, dict(zip(SMOOTH_NAMES, wrong(*given), strict=True))) for hint, wrong in SMOOTH_SLIPS.items()]
    require_arrays(answer, right, slips)


@task("5", "one regression of EM", points=4)
def regress(em_step: Callable, **sizes: int) -> None:
    """Judge the new A and Q of one sequence without inputs.

    Args:
        em_step: takes the smoother's means (T + 1, H), covariances (T + 1, H, H) and cross-covariances
            (T, H, H); returns A and Q.
        sizes: seed, states, outputs.

    Raises:
        Wrong: with a diagnosis.
    """
    params, _, y = _problem(**sizes)
    params = params._replace(input_weights=np.zeros((len(params.transition), 0)))
    tape = kalman.forward(params, y[:, None])[1]
    moments = smoother.rts(tape)
    given = (moments.means[:, 0], moments.covariances[:, 0], moments.cross_covariances[:, 0])
    answer = named_parts(call(em_step, *given), FIT_NAMES)
    new = lds_em.iterate(tape, moments)
    slips = [Mistake(hint, dict(zip(FIT_NAMES, wrong(*given), strict=True))) for hint, wrong in FIT_SLIPS.items()]
    require_arrays(answer, {"A": new.transition, "Q": new.state_noise}, slips)


class Choices(NamedTuple):
    """What a filter may get wrong; as it stands, nothing."""

    move: bool = True
    drive: bool = True
    noise: bool = True
    grow: bool = True
    shrink: bool = True
    sign: float = 1.0


RIGHT = Choices()


def _problem(seed: int = 0, states: int = 3, outputs: int = 2, inputs: int = 1) -> tuple:
    """A system, inputs (12, D) and outputs (12, O)."""
    rng = np.random.default_rng(seed)
    H, O, D = states, outputs, inputs

    def covariance(n: int) -> np.ndarray:
        root = rng.standard_normal((n, n))
        return root @ root.T / n + 0.3 * np.eye(n)

    A = rng.standard_normal((H, H))
    A *= 0.9 / np.abs(np.linalg.eigvals(A)).max()
    W, C = rng.standard_normal((H, D)), rng.standard_normal((O, H))
    params = LDSParams(A, W, C, covariance(H), covariance(O), rng.standard_normal(H), covariance(H))
    return params, rng.standard_normal((12, D)), 2 * rng.standard_normal((12, O))


def _gain(P, C, R) -> np.ndarray:
    return P @ C.T @ np.linalg.pinv(C @ P @ C.T + R)  # without R it may be singular


def _step(A, W, C, Q, R, m, V, x, y, choices: Choices = RIGHT) -> tuple:
    """One round, or one of its slips."""
    p = (A @ m if choices.move else m) + choices.drive * (W @ x)
    P = (A @ V @ A.T if choices.move else V) + choices.grow * Q
    K = _gain(P, C, choices.noise * R)
    V = P - K @ C @ P if choices.shrink else P
    return p + choices.sign * K @ (y - C @ p), V, K


def _old_weight(A, W, C, Q, R, m, V, x, y) -> tuple:
    """The gain from the covariance before the prediction."""
    p, P, K = A @ m + W @ x, A @ V @ A.T + Q, _gain(V, C, R)
    return p + K @ (y - C @ p), P - K @ C @ P, K


def _turned(A, W, C, Q, R, m, V, x, y) -> tuple:
    """The covariance moved by the transpose of A."""
    p, P = A @ m + W @ x, A.T @ V @ A + Q
    K = _gain(P, C, R)
    return p + K @ (y - C @ p), P - K @ C @ P, K


def _run(params, x, y, gaps: str = "skip", det=True, constant=True, half=0.5) -> tuple:
    """The filter of a sequence with gaps, or one of its slips."""
    A, W, C, Q, R, m, V = params
    means, log = [], 0.0
    for x_t, y_t in zip(x, y, strict=True):
        gone = np.isnan(y_t).any()
        if gone and gaps == "stop":
            means.append(m)
            continue
        p, P = A @ m + W @ x_t, A @ V @ A.T + Q
        if gone and gaps == "skip":
            m, V = p, P
        else:
            e, S, K = np.where(np.isnan(y_t), 0, y_t) - C @ p, C @ P @ C.T + R, _gain(P, C, R)
            m, V = p + K @ e, P - K @ C @ P
            size = det * np.linalg.slogdet(S)[1] + constant * len(e) * np.log(2 * np.pi)
            log -= half * (e @ np.linalg.solve(S, e) + size)
        means.append(m)
    return np.array(means), np.array(log)


def _smooth(A, m, V, p, P, target: str = "smoothed", less: bool = True, weigh: str = "P", turned=False) -> tuple:
    """The backward pass, or one of its slips."""
    T = len(p)
    means, covariances, cross = m.copy(), V.copy(), np.empty_like(P)
    for t in reversed(range(T)):
        G = np.linalg.solve(P[t] if weigh == "P" else V[t + 1], A @ V[t]).T
        ahead = means[t + 1] if target == "smoothed" else m[t + 1]
        cross[t] = G @ covariances[t + 1] if turned else covariances[t + 1] @ G.T
        means[t] = m[t] + G @ (ahead - p[t])
        covariances[t] = V[t] + G @ (covariances[t + 1] - less * P[t]) @ G.T
    return means, covariances, cross


def _forgot_before(A, m, V, p, P) -> tuple:
    """The means without the prediction taken off."""
    means = m.copy()
    for t in reversed(range(len(p))):
        G = np.linalg.solve(P[t], A @ V[t]).T
        means[t] = m[t] + G @ (means[t + 1] - m[t])
    return (means, *_smooth(A, m, V, p, P)[1:])


def _fit(m, V, cross, spread=True, pairs=True, turned=False, late=False, count=None) -> tuple:
    """The regression, or one of its slips."""
    between = np.swapaxes(cross, 1, 2) if turned else cross
    S_10 = m[1:].T @ m[:-1] + spread * pairs * between.sum(axis=0)
    S_00 = m[:-1].T @ m[:-1] + spread * V[:-1].sum(axis=0)
    S_11 = m[1:].T @ m[1:] + spread * V[1:].sum(axis=0)
    A = np.linalg.solve(S_11 if late else S_00, S_10.T).T
    Q = (S_11 - A @ S_10.T - S_10 @ A.T + A @ S_00 @ A.T) / (count or len(cross))
    return A, Q


STEP_SLIPS: dict[str, Callable] = {
    "did you forget to move the state by A before looking?": lambda *p: _step(*p, RIGHT._replace(move=False)),
    "did you forget the input?": lambda *p: _step(*p, RIGHT._replace(drive=False)),
    "did you forget to add Q when predicting?": lambda *p: _step(*p, RIGHT._replace(grow=False)),
    "did you forget R in the covariance of the surprise?": lambda *p: _step(*p, RIGHT._replace(noise=False)),
    "is this the covariance before the look?": lambda *p: _step(*p, RIGHT._replace(shrink=False)),
    "is the sign of the surprise wrong? It is y - C p.": lambda *p: _step(*p, RIGHT._replace(sign=-1.0)),
    "is the gain made of the covariance before the prediction?": _old_weight,
    "on which side does the transpose stand? P is A V A^T + Q.": _turned,
}
RUN_SLIPS: dict[str, Callable] = {
    "did you put zero where nothing was seen? There is no update then.": lambda *p: _run(*p, gaps="zero"),
    "does time stand still at a gap? The state moves on, only nothing is seen.": lambda *p: _run(*p, gaps="stop"),
    "did you forget the log-determinant of S?": lambda *p: _run(*p, det=False),
    "did you forget O log 2 pi?": lambda *p: _run(*p, constant=False),
    "did you forget the factor one half?": lambda *p: _run(*p, half=1.0),
    "is the sign of the log-likelihood wrong?": lambda *p: _run(*p, half=-0.5),
}
SMOOTH_SLIPS: dict[str, Callable] = {
    "do you compare with the filter's next mean? It is the smoothed one.": lambda *p: _smooth(*p, target="filtered"),
    "did you forget to take off the predicted covariance?": lambda *p: _smooth(*p, less=False),
    "is the gain divided by the covariance after the update? It is P, before.": lambda *p: _smooth(*p, weigh="V"),
    "is cross transposed? Rows belong to the later state.": lambda *p: _smooth(*p, turned=True),
    "did you take off m_t where the prediction p_{t+1} belongs?": _forgot_before,
}
FIT_SLIPS: dict[str, Callable] = {
    "did you regress the means alone? The states are not known.": lambda *p: _fit(*p, spread=False),
    "did you leave out the cross-covariances?": lambda *p: _fit(*p, pairs=False),
    "are the cross-covariances transposed?": lambda *p: _fit(*p, turned=True),
    "did you divide by the moments of the later states?": lambda *p: _fit(*p, late=True),
    "did you divide Q by the number of states? There is one step less.": lambda *p: _fit(*p, count=len(p[0])),
}


def scoreboard() -> None:
    """Print which tasks of the notebook are done."""
    print_scoreboard([step, run, settled, smooth, regress])
