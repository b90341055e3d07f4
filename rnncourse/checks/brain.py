"""Checks of the exercise notebook on models of the brain."""

from collections.abc import Callable

import numpy as np

from rnncourse.brain_params import Neuron
from rnncourse.checks import brain_mistakes as mistakes
from rnncourse.checks.compare import Mistake, known, named_parts, require_arrays
from rnncourse.checks.core import call, task
from rnncourse.checks.core import scoreboard as print_scoreboard
from rnncourse.params import RNNParams
from rnncourse.reference import dale, fixed_points, integrate_fire, rates, unroll

BACK_NAMES = ("delta", "d_h0")
LAW_NAMES = ("W", "d_M")
SLOW_NAMES = ("q", "gradient", "step")


@task("1", "back through the leak", points=4)
def back(leaky_backward: Callable, **sizes: int) -> None:
    """Judge the gradients of the currents and of the initial state of a leaky tanh network.

    Args:
        leaky_backward: takes alpha, W_x, W_h, b, x (T, D), h_0 (H,) and g (T, H); returns delta (T, H)
            and the gradient of h_0, (H,).
        sizes: seed, steps, inputs, hidden.

    Raises:
        Wrong: with a diagnosis.
    """
    given = _network(**sizes)
    alpha, *cell, x, h, g = given
    tape = unroll.forward(rates.leaky(alpha), RNNParams(*cell), x[:, None], h)[2]
    s = unroll.backward(tape, g[:, None])
    slope = np.array([1 - driven[0] ** 2 for driven in tape.saved])
    right = {"delta": alpha * slope * s.hidden[:, 0], "d_h0": s.initial_state[0]}
    answer = named_parts(call(leaky_backward, *given), BACK_NAMES)
    slips = [Mistake(hint, dict(zip(BACK_NAMES, wrong(*given), strict=True))) for hint, wrong in mistakes.BACK.items()]
    require_arrays(answer, right, slips)


@task("2", "spikes", points=4)
def fire(spikes: Callable, **sizes: int) -> None:
    """Judge when an integrate-and-fire neuron spikes.

    Args:
        spikes: takes u (T,), dt, tau and t_ref; returns T zeros and ones.
        sizes: seed, steps, pause, dt.

    Raises:
        Wrong: with a diagnosis.
    """
    u, dt, tau, pause = given = _drive(**sizes)
    right = integrate_fire.simulate(Neuron(tau, pause), u[:, None], dt)[1][:, 0]
    answer = {"spikes": np.asarray(call(spikes, *given), float)}
    require_arrays(answer, {"spikes": right.astype(float)}, known("spikes", mistakes.FIRE, *given))


@task("3", "Dale's law", points=3)
def law(lawful: Callable, **sizes: int) -> None:
    """Judge signed weights and the gradient of what lies behind them.

    Args:
        lawful: takes M (H, H), signs (H,) and dL/dW (H, H); returns W and dL/dM.
        sizes: seed, hidden.

    Raises:
        Wrong: with a diagnosis.
    """
    M, signs, d = given = _signed(**sizes)
    W, tape = dale.forward(M, signs)
    answer = named_parts(call(lawful, *given), LAW_NAMES)
    slips = [Mistake(hint, dict(zip(LAW_NAMES, wrong(*given), strict=True))) for hint, wrong in mistakes.LAW.items()]
    require_arrays(answer, {"W": W, "d_M": dale.backward(tape, d)}, slips)


@task("4", "where it stands still", points=4)
def slow(slow_step: Callable, **sizes: int) -> None:
    """Judge q, its gradient and one damped Gauss-Newton step towards a fixed or slow point.

    Args:
        slow_step: takes alpha, W_h, b (the current of the constant input in it), h (H,) and mu; returns
            q, a number, its gradient (H,) and the step (H,).
        sizes: seed, hidden.

    Raises:
        Wrong: with a diagnosis.
    """
    alpha, W_h, b, h, mu = given = _still(**sizes)
    cell, params = rates.leaky(alpha), RNNParams(np.zeros((len(h), 1)), W_h, b)
    q, gradient = fixed_points.speed(cell, params, h[None], np.zeros(1))
    _, J = fixed_points.move(cell, params, h[None], np.zeros(1))
    A = J[0] - np.eye(len(h))
    step = -np.linalg.solve(A.T @ A + mu * np.eye(len(h)), gradient[0])
    right = {"q": np.asarray(q[0]), "gradient": gradient[0], "step": step}
    answer = named_parts(call(slow_step, *given), SLOW_NAMES)
    slips = [Mistake(hint, dict(zip(SLOW_NAMES, wrong(*given), strict=True))) for hint, wrong in mistakes.SLOW.items()]
    require_arrays(answer, right, slips)


@task("5", "feedback alignment", points=2)
def aligned(aligned_deltas: Callable, **sizes: int) -> None:
    """Judge what feedback alignment sends to every current.

    Args:
        aligned_deltas: takes alpha, W_x, W_h, b, x (T, D), h_0 (H,), e (T, O), B_h (H, H) and B_y (O, H);
            returns delta (T, H).
        sizes: seed, steps, inputs, hidden, outputs.

    Raises:
        Wrong: with a diagnosis.
    """
    given = _feedback(**sizes)
    answer = {"delta": call(aligned_deltas, *given)}
    require_arrays(answer, {"delta": mistakes.deltas(*given)}, known("delta", mistakes.ALIGNED, *given))


@task("6", "a local rule", points=3)
def local(local_direction: Callable, **sizes: int) -> None:
    """Judge what a local rule takes for the gradient of the recurrent weights.

    Args:
        local_direction: takes alpha, W_x, W_h, b, x (T, D), h_0 (H,), e (T, O) and B_y (O, H); returns
            G (H, H).
        sizes: seed, steps, inputs, hidden, outputs.

    Raises:
        Wrong: with a diagnosis.
    """
    *given, _, B_y = _feedback(**sizes)
    answer = {"G": call(local_direction, *given, B_y)}
    right = mistakes.traced(*given, B_y)
    require_arrays(answer, {"G": right}, known("G", mistakes.LOCAL, *given, B_y))


def _network(seed: int = 0, steps: int = 5, inputs: int = 2, hidden: int = 3) -> tuple:
    rng = np.random.default_rng(seed)
    cell = (rng.standard_normal((hidden, inputs)), rng.standard_normal((hidden, hidden)), rng.standard_normal(hidden))
    x, h, g = rng.standard_normal((steps, inputs)), rng.standard_normal(hidden), rng.standard_normal((steps, hidden))
    return float(rng.uniform(0.2, 0.6)), *cell, x, h, g


def _drive(seed: int = 0, steps: int = 300, pause: int = 4, dt: float = 0.5) -> tuple:
    rng = np.random.default_rng(seed)
    u = 1.2 + 1.5 * rng.standard_normal(steps) + 6 * (np.arange(steps) > steps // 2)
    u[:30] -= 3  # inhibited at first: the voltage goes below 0
    return u, dt, dt * float(rng.uniform(16, 24)), round(dt * pause, 9)  # 0.3 / 0.1 is not quite 3


def _signed(seed: int = 0, hidden: int = 5) -> tuple:
    rng = np.random.default_rng(seed)
    signs = np.where(np.arange(hidden) % 3 == 2, -1.0, 1.0)
    return 1.5 * rng.standard_normal((hidden, hidden)), signs, rng.standard_normal((hidden, hidden))


def _still(seed: int = 0, hidden: int = 4) -> tuple:
    rng = np.random.default_rng(seed)
    W_h, b, h = rng.standard_normal((hidden, hidden)), rng.standard_normal(hidden), rng.standard_normal(hidden)
    return float(rng.uniform(0.2, 0.6)), W_h, b, h, float(rng.uniform(0.05, 0.3))


def _feedback(seed: int = 0, steps: int = 5, inputs: int = 2, hidden: int = 3, outputs: int = 2) -> tuple:
    rng = np.random.default_rng(seed + 1)
    alpha, *cell, x, h, _ = _network(seed, steps, inputs, hidden)
    e, B_h = rng.standard_normal((steps, outputs)), rng.standard_normal((hidden, hidden))
    return alpha, *cell, x, h, e, B_h, rng.standard_normal((outputs, hidden))


def scoreboard() -> None:
    """Print which tasks of the notebook are done."""
    print_scoreboard([back, fire, law, slow, aligned, local])
