"""Checks of the exercise notebook on extended Kalman filters."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rnncourse.checks import ekf_mistakes as mistakes
from rnncourse.checks.compare import Mistake, known, named_parts, require_arrays
from rnncourse.checks.core import Wrong, call, task
from rnncourse.checks.core import scoreboard as print_scoreboard
from rnncourse.lds_params import LDSParams
from rnncourse.reference import ekf, gaussians, kalman, particles

LINE_NAMES = ("p", "A_tilde", "output", "C_tilde")
UPDATE_NAMES = ("m", "V", "log_density")
HONEST_NAMES = ("nu", "nu_y", "interval")
CROWD_NAMES = ("means", "log_likelihood")
JOINT_NAMES = ("means", "V")


@task("1", "another network, linearised", points=4)
def line(linearise: Callable, **sizes: int) -> None:
    """Judge the lines through a leaky network with squares in its output.

    Args:
        linearise: takes A, W_x, C, alpha, m and x; returns p, A_tilde, the predicted output and C_tilde.
        sizes: seed, states, outputs, inputs.

    Raises:
        Wrong: with a diagnosis.
    """
    given = _network(**sizes)
    A, W, C, alpha, m, x = given

    def follow(z):
        return (1 - alpha) * z + alpha * np.tanh(A @ z + W @ x)

    def look(z):
        return C @ (z * z)

    p = follow(m)
    right = dict(zip(LINE_NAMES, (p, _jacobian(follow, m), look(p), _jacobian(look, p)), strict=True))
    answer = named_parts(call(linearise, *given), LINE_NAMES)
    require_arrays(answer, right, [Mistake(hint, wrong(*given)) for hint, wrong in mistakes.LINE.items()])


@task("2", "an update that stands gaps and sharp looks", points=4)
def update(ekf_update: Callable, **sizes: int) -> None:
    """Judge an update: with entries missing, with nothing seen, and where rounding eats the short formula.

    Args:
        ekf_update: takes p, P, the predicted output, C_tilde, R and y, with NaN for what is missing; returns
            m, V and the log-density of what was seen.
        sizes: seed, states, outputs.

    Raises:
        Wrong: with a diagnosis.
    """
    given = _look(**sizes)
    p, P, output, C, R, y = given
    for name, there in (("one entry missing", y), ("nothing seen", np.full_like(y, np.nan))):
        case = (p, P, output, C, R, there)
        answer = named_parts(call(ekf_update, *case), UPDATE_NAMES)
        slips = [
            Mistake(hint, dict(zip(UPDATE_NAMES, wrong(*case), strict=True))) for hint, wrong in mistakes.UPDATE.items()
        ]
        _named(name, require_arrays, answer, _updated(*case), slips)
    case = _sharp(len(p))
    answer, right = named_parts(call(ekf_update, *case), UPDATE_NAMES), _updated(*case)
    _require_covariance(answer["V"], right["V"])
    _named("sharp looks", require_arrays, answer, right)


@task("3", "does it know how wrong it is?", points=3)
def honest(honesty: Callable, **sizes: int) -> None:
    """Judge two tests of a filter, one that knows the truth and one that does not.

    Args:
        honesty: takes z, y, m, V, p, P, C and R; returns nu (T,), nu_y (T,) and the interval (2,).
        sizes: seed, states, outputs.

    Raises:
        Wrong: with a diagnosis.
    """
    z, y, params, tape = _filtered(**sizes)
    (p, P), (m, V) = _alone(tape.predicted_means, tape.predicted_covariances), _alone(tape.means, tape.covariances, 1)
    C, R, (T, O) = params.emission, params.output_noise, y.shape
    given = (z, y, m, V, p, P, C, R)
    S, half = C @ P @ C.T + R, 1.96 * np.sqrt(2 * O / T)
    nu = ekf.nees(z[:, None], m[:, None], V[:, None])[:, 0]
    nu_y = ekf.nees(y[:, None], (p @ C.T)[:, None], S[:, None])[:, 0]
    right = dict(zip(HONEST_NAMES, (nu, nu_y, np.array([O - half, O + half])), strict=True))
    answer = named_parts(call(honesty, *given), HONEST_NAMES)
    require_arrays(answer, right, [Mistake(hint, wrong(*given)) for hint, wrong in mistakes.HONEST.items()])


@task("4a", "seats for every particle", points=2)
def seats(systematic: Callable, **sizes: int) -> None:
    """Judge systematic resampling from log-weights, to a crowd of another size.

    Args:
        systematic: takes log-weights (N,) up to a constant, n and u; returns the parents, integers (n,).
        sizes: seed, particles, children.

    Raises:
        Wrong: with a diagnosis.
    """
    logs, n = _weights(**sizes)
    for shift in (0.0, -1000.0):  # the constant does not matter, except to exp
        for u in (0.03, 0.37, 0.62, 0.98):
            answer = call(systematic, logs + shift, n, u)
            right = {"parents": mistakes.parents(logs, n, u)}
            name = f"u = {u}" if not shift else f"u = {u}, log-weights 1000 lower"
            _named(name, require_arrays, {"parents": answer}, right, known("parents", mistakes.SEATS, logs, n, u))


@task("4b", "a bootstrap filter", points=3)
def crowd(bootstrap: Callable, **sizes: int) -> None:
    """Judge a particle filter that resamples after every look, with gaps and a look from far away.

    Args:
        bootstrap: takes a, q, r, z (N,), moves (T, N), u (T,) and y (T,), with NaN for what is missing; returns
            the means (T,) and the logarithm of the estimated likelihood.
        sizes: seed, particles, steps.

    Raises:
        Wrong: with a diagnosis.
    """
    for name, far in (("a gap", None), ("a look from far away", 60.0)):
        given = _guesses(far=far, **sizes)
        answer = named_parts(call(bootstrap, *given), CROWD_NAMES)
        if not np.all(np.isfinite(np.asarray(answer["log_likelihood"], float))):
            raise Wrong(f"[{name}] log_likelihood is {answer['log_likelihood']}: every density is zero in floating "
                        "point. Stay with logarithms until the largest is taken off.")  # fmt: skip
        slips = [Mistake(h, dict(zip(CROWD_NAMES, wrong(*given), strict=True))) for h, wrong in mistakes.CROWD.items()]
        _named(name, require_arrays, answer, _crowd(*given), slips)


@task("5", "the state and the weight at once", points=4)
def both(joint_filter: Callable, **sizes: int) -> None:
    """Judge the extended filter of a state and of the weight that makes it.

    Args:
        joint_filter: takes m (2,), V (2, 2), x (T,), y (T,), q, drift and r; returns the means (T, 2) and the
            last covariance (2, 2).
        sizes: seed, steps.

    Raises:
        Wrong: with a diagnosis.
    """
    given = _unknown(**sizes)
    answer = named_parts(call(joint_filter, *given), JOINT_NAMES)
    slips = [Mistake(h, dict(zip(JOINT_NAMES, wrong(*given), strict=True))) for h, wrong in mistakes.JOINT.items()]
    require_arrays(answer, dict(zip(JOINT_NAMES, _both(*given), strict=True)), slips)


def _named(name: str, function: Callable, *arguments: Any) -> None:
    """Say which case a verdict is about."""
    try:
        function(*arguments)
    except Wrong as wrong:
        raise Wrong(f"[{name}] {wrong}") from None


def _covariance(rng: np.random.Generator, n: int) -> np.ndarray:
    root = rng.standard_normal((n, n))
    return root @ root.T / n + 0.3 * np.eye(n)


def _jacobian(function: Callable, at: np.ndarray) -> np.ndarray:
    """By the complex step, one column for each entry."""
    return np.stack([function(at + 1e-30j * one).imag / 1e-30 for one in np.eye(len(at))], axis=1)


def _network(seed: int = 0, states: int = 4, outputs: int = 2, inputs: int = 1) -> tuple:
    """A, W_x, C, alpha, m, x of one step."""
    rng = np.random.default_rng(seed)
    H, O, D = states, outputs, inputs
    A, W, C = rng.standard_normal((H, H)), rng.standard_normal((H, D)), rng.standard_normal((O, H))
    return A, W, C, 0.3, rng.standard_normal(H), rng.standard_normal(D)


def _look(seed: int = 0, states: int = 4, outputs: int = 3) -> tuple:
    """p, P, the predicted output, C_tilde, R and y, one entry of which is missing if there are two."""
    rng = np.random.default_rng(seed)
    p, P, R = rng.standard_normal(states), _covariance(rng, states), 1.5 * _covariance(rng, outputs)
    output, C, y = rng.standard_normal(outputs), rng.standard_normal((outputs, states)), rng.standard_normal(outputs)
    y[1:2] = np.nan
    return p, P, output, C, R, y


def _sharp(n: int) -> tuple:
    """Looks a million million million times sharper than what was known: the short formula is rounding alone."""
    rng = np.random.default_rng(7)
    n = max(n, 3)
    C = np.linalg.qr(rng.standard_normal((n, n)))[0] + 0.1 * rng.standard_normal((n, n))
    P, R = 1e12 * _covariance(rng, n), 1e-6 * np.eye(n)
    return 1e6 * rng.standard_normal(n), P, rng.standard_normal(n), C, R, rng.standard_normal(n)


def _updated(p, P, output, C, R, y) -> dict:
    seen = ~np.isnan(y)
    e, C, R = (y - output)[seen], C[seen], R[np.ix_(seen, seen)]
    if not len(e):
        return dict(zip(UPDATE_NAMES, (p, P, np.zeros(())), strict=True))
    V, K, S = kalman.weigh(P, C, R)
    return dict(zip(UPDATE_NAMES, (p + K @ e, V, gaussians.log_density(e, 0, S)), strict=True))


def _require_covariance(V: Any, right: np.ndarray) -> None:
    """Refuse what rounding has left of P - K C P."""
    V = np.asarray(V, float)
    if V.shape != right.shape or not np.isfinite(V).all():
        return  # said elsewhere
    size, told = np.abs(right).max(), "V is the difference of two nearly equal matrices; find a sum of squares."
    if np.abs(V - V.T).max() > 1e-6 * size:
        raise Wrong(f"[sharp looks] V is not symmetric, and no covariance any more. {told}")
    if np.abs(V - right).max() > 1e-6 * size:
        low = np.linalg.eigvalsh(V)[0]
        raise Wrong(f"[sharp looks] V is symmetric and made of rounding, its lowest eigenvalue {low:.1g}. {told}")


def _filtered(seed: int = 0, states: int = 3, outputs: int = 2, steps: int = 12) -> tuple:
    """States (T, H), outputs (T, O), the system, and what the filter's tape says of them."""
    rng = np.random.default_rng(seed)
    A, C = 0.8 * np.linalg.qr(rng.standard_normal((states, states)))[0], rng.standard_normal((outputs, states))
    Q, R = _covariance(rng, states), _covariance(rng, outputs)
    params = LDSParams(A, np.zeros((states, 0)), C, Q, R, np.zeros(states), np.eye(states))
    y = 2 * rng.standard_normal((steps, outputs))
    tape = kalman.forward(params, y[:, None])[1]
    z = tape.means[1:, 0] + rng.standard_normal((steps, states))
    return z, y, params, tape


def _alone(means, covariances, skip: int = 0) -> tuple:
    """Of the one sequence, (T, H) and (T, H, H); a covariance that all share has no axis of its own."""
    m, V = means[skip:, 0], covariances[skip:]
    return m, V.reshape(len(m), m.shape[1], m.shape[1])


def _weights(seed: int = 0, particles: int = 6, children: int = 9) -> tuple:
    """Log-weights, up to a constant, and how many children."""
    return np.random.default_rng(seed).standard_normal(particles) + 2.0, children


def _guesses(seed: int = 0, particles: int = 30, steps: int = 8, far: float | None = None) -> tuple:
    """a, q, r, z, moves, u, y: one gap, and at the end, if told, an output far away."""
    rng = np.random.default_rng(seed)
    y = rng.standard_normal(steps)
    y[1:2] = np.nan
    y[-1:] = y[-1:] if far is None else far
    return 1.7, 0.2, 0.5, rng.standard_normal(particles), rng.standard_normal((steps, particles)), rng.random(steps), y


def _crowd(a, q, r, z, moves, u, y) -> dict:
    one = np.ones((1, 1))
    params = LDSParams(a * one, np.zeros((1, 0)), one, q * one, r * one, np.zeros(1), one)
    uniforms = np.broadcast_to(u[:, None, None], (len(y), 1, len(z)))
    draws = particles.Draws(z[None, :, None], moves[:, None, :, None], uniforms)
    seen = ~np.isnan(y)[:, None]
    found = particles.forward(params, y[:, None, None], draws, observed=seen, threshold=2.0)
    return dict(zip(CROWD_NAMES, (found.means[:, 0, 0], found.log_likelihood[0]), strict=True))


def _unknown(seed: int = 0, steps: int = 10) -> tuple:
    """m, V, x, y, q, drift, r."""
    rng = np.random.default_rng(seed)
    V = np.array([[0.6, 0.1], [0.1, 0.9]])
    return np.array([0.2, 0.7]), V, rng.standard_normal(steps), rng.standard_normal(steps), 0.05, 0.02, 0.3


def _both(m, V, x, y, q, drift, r) -> tuple:
    """The filter with the complex step's Jacobian."""
    means, C = [], np.array([[1.0, 0.0]])
    for drive, look in zip(x, y, strict=True):

        def follow(s, drive=drive):
            return np.stack([np.tanh(s[1] * s[0] + drive), s[1]])

        J = _jacobian(follow, m)
        P = J @ V @ J.T + np.diag([q, drift])
        V, K, _ = kalman.weigh(P, C, np.array([[r]]))
        p = follow(m)
        m = p + K @ (look - p[:1])
        means.append(m)
    return np.array(means), V


def scoreboard() -> None:
    """Print which tasks of the notebook are done."""
    print_scoreboard([line, update, honest, seats, crowd, both])
