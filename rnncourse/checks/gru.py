"""Checks of the exercise notebook on the GRU, depth and both directions."""

from collections.abc import Callable
from typing import Any

import numpy as np

from rnncourse.checks.compare import Mistake, as_array, known, named_parts, require_arrays
from rnncourse.checks.core import Wrong, call, task
from rnncourse.checks.core import scoreboard as print_scoreboard
from rnncourse.gate_params import GRUParams, ResetAfterGRUParams, swap_update
from rnncourse.params import init_rnn, map_arrays
from rnncourse.reference import bidirectional, cells, gru, gru_before, unroll
from rnncourse.reference.activations import sigmoid
from rnncourse.stack_params import BothWays

GRU_FORMS = ((True, True), (True, False), (False, True), (False, False))  # keeps, after
# blocks, D, H, levels, directions
COUNTED = ((3, 7, 5, 1, 1), (4, 7, 5, 1, 1), (3, 7, 5, 3, 1), (3, 7, 5, 3, 2), (2, 3, 4, 4, 2), (1, 11, 3, 2, 1))
BACK_NAMES = ("delta_r", "delta_z", "delta_n", "d_h_previous")


@task("1", "one step in four forms", points=4)
def step(gru_step: Callable, **sizes: int) -> None:
    """Judge one step of each of the four GRUs.

    Args:
        gru_step: takes W_x, W_h, b (blocks r, z, n), x_t, h_{t-1}, whether the gate keeps, whether the
            reset is after; returns h_t.
        sizes: seed, inputs and hidden.

    Raises:
        Wrong: with a diagnosis.
    """
    weights, x, h = _problem(**sizes)
    for keeps, after in GRU_FORMS:
        answer = call(gru_step, *weights, x, h, keeps, after)
        right = {"h": _step(*weights, x, h, keeps, after)}
        try:
            require_arrays({"h": answer}, right, known("h", STEP_SLIPS, *weights, x, h, keeps, after))
        except Wrong as wrong:
            form = f"gate {'keeps' if keeps else 'writes'}, reset {'after' if after else 'before'}"
            raise Wrong(f"[{form}] {wrong}") from None


@task("2", "one step backward", points=5)
def back(step_back: Callable, **sizes: int) -> None:
    """Judge one step backward, the reset after and a gate that keeps.

    Args:
        step_back: takes W_h, r, z, n, q, h_{t-1} and s_t; returns delta_r, delta_z, delta_n and what goes
            back to h_{t-1}.
        sizes: seed, inputs and hidden.

    Raises:
        Wrong: with a diagnosis.
    """
    weights, x, h = _problem(**sizes)
    W_h = weights[1]
    r, z, n, q = _parts(*weights, x, h)
    s = np.random.default_rng(7).standard_normal(len(h))
    answer = named_parts(call(step_back, W_h, r, z, n, q, h, s), BACK_NAMES)
    right = _back(W_h, r, z, n, q, h, s)
    slips = [
        (hint, dict(zip(BACK_NAMES, wrong(W_h, r, z, n, q, h, s), strict=True))) for hint, wrong in BACK_SLIPS.items()
    ]
    require_arrays(answer, dict(zip(BACK_NAMES, right, strict=True)), [Mistake(*slip) for slip in slips])


@task("3", "from write to keep", points=2)
def convert(to_keep: Callable, **sizes: int) -> None:
    """Judge the converter.

    Args:
        to_keep: takes W_x, W_h and b of a gate that writes; returns those of one that keeps.
        sizes: seed, inputs and hidden.

    Raises:
        Wrong: with a diagnosis.
    """
    weights, _, _ = _problem(**sizes)
    names = ("W_x", "W_h", "b")
    answer = named_parts(call(to_keep, *weights), names)
    right = dict(zip(names, swap_update(GRUParams(*weights)), strict=True))
    H = weights[1].shape[1]
    slips = [
        Mistake("did you negate every block? Only the update gate moves.", _negated(weights, slice(0, 3 * H))),
        Mistake("did you negate the reset gate? The blocks are r, z, n.", _negated(weights, slice(0, H))),
        Mistake("did you negate the candidate? The blocks are r, z, n.", _negated(weights, slice(2 * H, 3 * H))),
        Mistake("is this the sign that takes away a gate? 1 - W is not the weight of 1 - z.", _one_minus(weights)),
    ]
    require_arrays(answer, right, slips)


@task("4", "how many parameters", points=2)
def count(parameters: Callable, cases: tuple = COUNTED) -> None:
    """Judge the count of a stack.

    Args:
        parameters: takes blocks, D, H, levels, directions; returns the number, one bias for each block.
        cases: blocks, D, H, levels and directions, as often as you like.

    Raises:
        Wrong: with a diagnosis.
    """
    for G, D, H, K, M in cases:
        answer, right = call(parameters, G, D, H, K, M), _count(G, D, H, K, M)
        try:
            answer = as_array("parameters", answer, np.asarray(right)).item()
        except Wrong:
            raise Wrong(f"parameters: expected one whole number, got {type(answer).__name__}.") from None
        if answer == right:
            continue
        for hint, slip in COUNT_SLIPS.items():
            if answer == slip(G, D, H, K, M):
                raise Wrong(f"blocks {G}, D = {D}, H = {H}, levels {K}, directions {M}: got {answer}; {hint}")
        raise Wrong(f"blocks {G}, D = {D}, H = {H}, levels {K}, directions {M}: expected {right}, got {answer}.")


@task("5", "both directions, with lengths", points=4)
def both(both_ways: Callable, seed: int = 0, hidden: int = 3, lengths: tuple = (6, 2, 4)) -> None:
    """Judge a bidirectional pass over a ragged batch.

    Args:
        both_ways: takes two functions from x (T, B, D) to states (T, B, H), x and lengths; returns both
            states side by side, (T, B, 2 H), zero on padding.
        seed: of weights and data.
        hidden: units of each direction.
        lengths: real steps of each sequence; the longest is T.

    Raises:
        Wrong: with a diagnosis.
    """
    rng = np.random.default_rng(seed)
    nets = map_arrays(
        lambda w: w + 0.2 * rng.standard_normal(w.shape), BothWays(init_rnn(rng, 2, hidden), init_rnn(rng, 2, hidden))
    )
    T, lengths = max(lengths), np.array(lengths)
    x = rng.standard_normal((T, len(lengths), 2))
    for k, length in enumerate(lengths):
        x[length:, k] = 9.0  # padding that is not zero, so that reading it shows

    def ahead(inputs: np.ndarray) -> np.ndarray:
        return unroll.forward(cells.rnn(), nets.forwards, inputs)[0]

    def behind(inputs: np.ndarray) -> np.ndarray:
        return unroll.forward(cells.rnn(), nets.backwards, inputs)[0]

    answer = call(both_ways, ahead, behind, x.copy(), lengths.copy())
    right = bidirectional.forward(cells.rnn(), nets, x, lengths=lengths)[0]
    real = (np.arange(T)[:, None] < lengths)[:, :, None]
    turned = np.concatenate([ahead(x), behind(x[::-1])[::-1]], axis=2) * real
    late = np.concatenate([ahead(x), behind(bidirectional.reverse(x, lengths))], axis=2) * real
    half = np.concatenate([ahead(x), bidirectional.reverse(behind(x[::-1]), lengths)], axis=2) * real
    blind = np.concatenate([ahead(x), behind(x)], axis=2) * real
    swapped = np.concatenate([right[:, :, hidden:], right[:, :, :hidden]], axis=2)
    loose = np.concatenate([ahead(x), bidirectional.reverse(behind(bidirectional.reverse(x, lengths)), lengths)], 2)
    slips = {
        "did you turn the padded array around? The second net must begin at each sequence's own end.": turned,
        "did you turn the padded array around, and the states within their lengths?": half,
        "did you turn the inputs, but not the states back?": late,
        "does the second net read forwards too?": blind,
        "are the two directions in the other order?": swapped,
        "are the states on padding not zero?": loose,
    }
    require_arrays({"states": answer}, {"states": right}, known("states", {h: lambda a=a: a for h, a in slips.items()}))


@task("6", "a mass that is not one", points=3)
def mass(pseudo_mass: Callable, seed: int = 0) -> None:
    """Judge the total mass of a product of conditionals given the rest.

    Args:
        pseudo_mass: takes a joint table p(x_1, x_2, x_3) with positive entries; returns the sum over all
            x of the product of p(x_t | the others).
        seed: of the tables.

    Raises:
        Wrong: with a diagnosis.
    """
    rng = np.random.default_rng(seed)
    for shape in [(2, 2, 2), (2, 3, 4)]:
        p = rng.uniform(0.1, 1.0, shape)
        p = p / p.sum()
        answer = call(pseudo_mass, p)
        right = {"mass": _mass(p, range(p.ndim))}
        require_arrays({"mass": answer}, right, known("mass", MASS_SLIPS, p))


def _problem(seed: int = 0, inputs: int = 2, hidden: int = 4) -> tuple[tuple, np.ndarray, np.ndarray]:
    """Weights (blocks r, z, n), an input and a state."""
    rng = np.random.default_rng(seed)
    H, D = hidden, inputs
    weights = tuple(rng.standard_normal(shape) for shape in [(3 * H, D), (3 * H, H), (3 * H,)])
    return weights, rng.standard_normal(D), rng.uniform(-1, 1, H)


def _step(W_x, W_h, b, x, h, keeps: bool, after: bool) -> np.ndarray:
    """One step by the library."""
    update = "keep" if keeps else "write"
    if after:
        own = ResetAfterGRUParams(W_x, W_h, b, np.zeros(len(h)))
        return unroll.forward(gru.reset_after(update), own, x[None, None], (h,))[0][0, 0]
    return gru_before.forward(gru_before.reset_before(update), GRUParams(W_x, W_h, b), x[None, None], (h,))[0][0, 0]


def _parts(W_x, W_h, b, x, h) -> tuple:
    """r, z, n and q of one step, the reset after."""
    H = len(h)
    a_x, a_h = W_x @ x + b, W_h @ h
    r, z = np.split(sigmoid(a_x[: 2 * H] + a_h[: 2 * H]), 2)
    return r, z, np.tanh(a_x[2 * H :] + r * a_h[2 * H :]), a_h[2 * H :]


def _back(W_h, r, z, n, q, h, s, straight=True, gates=True, reset=True) -> tuple:
    """The step backward, or one of its slips."""
    W_r, W_z, W_n = np.split(W_h, 3)
    delta_n = (1 - n * n) * (1 - z) * s
    delta_z, delta_r = z * (1 - z) * (h - n) * s, r * (1 - r) * q * delta_n
    d_h = W_n.T @ ((r if reset else 1) * delta_n)
    return delta_r, delta_z, delta_n, d_h + straight * z * s + gates * (W_r.T @ delta_r + W_z.T @ delta_z)


def _wrong_sign(W_h, r, z, n, q, h, s) -> tuple:
    W_r, W_z, W_n = np.split(W_h, 3)
    delta_r, delta_z, delta_n, _ = _back(W_h, r, z, n, q, h, s)
    return delta_r, -delta_z, delta_n, z * s + W_r.T @ delta_r - W_z.T @ delta_z + W_n.T @ (r * delta_n)


def _of_before(W_h, r, z, n, q, h, s) -> tuple:
    W_r, W_z, W_n = np.split(W_h, 3)
    _, delta_z, delta_n, _ = _back(W_h, r, z, n, q, h, s)
    delta_r = r * (1 - r) * h * (W_n.T @ delta_n)
    return delta_r, delta_z, delta_n, z * s + W_r.T @ delta_r + W_z.T @ delta_z + W_n.T @ (r * delta_n)


def _without_slope(W_h, r, z, n, q, h, s) -> tuple:
    W_r, W_z, W_n = np.split(W_h, 3)
    delta_n, delta_z = (1 - z) * s, z * (1 - z) * (h - n) * s
    delta_r = r * (1 - r) * q * delta_n
    return delta_r, delta_z, delta_n, z * s + W_r.T @ delta_r + W_z.T @ delta_z + W_n.T @ (r * delta_n)


def _wrong_share(W_h, r, z, n, q, h, s) -> tuple:
    W_r, W_z, W_n = np.split(W_h, 3)
    delta_n, delta_z = (1 - n * n) * z * s, z * (1 - z) * (h - n) * s
    delta_r = r * (1 - r) * q * delta_n
    return delta_r, delta_z, delta_n, z * s + W_r.T @ delta_r + W_z.T @ delta_z + W_n.T @ (r * delta_n)


def _count(G: int, D: int, H: int, K: int, M: int) -> int:
    return M * G * H * (D + H + 1 + (K - 1) * (M * H + H + 1))


def _mass(p: np.ndarray, axes) -> np.ndarray:
    """The sum of the product of conditionals p(x_t | the others), for t in axes."""
    return np.asarray(np.prod([p / p.sum(axis=axis, keepdims=True) for axis in axes], axis=0).sum())


def _negated(weights: tuple, rows: slice) -> dict:
    found = tuple(part.copy() for part in weights)
    for part in found:
        part[rows] *= -1
    return dict(zip(("W_x", "W_h", "b"), found, strict=True))


def _one_minus(weights: tuple) -> dict:
    found = tuple(part.copy() for part in weights)
    H = found[1].shape[1]
    for part in found:
        part[H : 2 * H] = 1 - part[H : 2 * H]
    return dict(zip(("W_x", "W_h", "b"), found, strict=True))


def _reordered(W_x, W_h, b, *rest) -> np.ndarray:
    """The step with its reset and update gate exchanged."""
    return _step(*(np.concatenate([np.split(part, 3)[k] for k in (1, 0, 2)]) for part in (W_x, W_h, b)), *rest)


def _wide_open(W_x, W_h, b, x, h, keeps: bool, after: bool) -> np.ndarray:
    """The step with r = 1."""
    shut = np.repeat([0.0, 1.0, 1.0], len(h))
    return _step(shut[:, None] * W_x, shut[:, None] * W_h, np.where(shut, b, 50.0), x, h, keeps, after)


STEP_SLIPS: dict[str, Callable] = {
    "does the gate keep where it should write, or the other way round?": lambda *p: _step(*p[:5], not p[5], p[6]),
    "is the reset at the other place?": lambda *p: _step(*p[:6], not p[6]),
    "are both choices the wrong way round?": lambda *p: _step(*p[:5], not p[5], not p[6]),
    "are reset and update gate exchanged? The blocks are r, z, n.": _reordered,
    "did you forget the bias?": lambda W_x, W_h, b, *rest: _step(W_x, W_h, 0 * b, *rest),
    "did you leave out the reset gate?": _wide_open,
}
BACK_SLIPS: dict[str, Callable] = {
    "did you forget the straight way, z * s?": lambda *p: _back(*p, straight=False),
    "did you forget what goes back through the gates?": lambda *p: _back(*p, gates=False),
    "did you forget the reset gate in front of W_n?": lambda *p: _back(*p, reset=False),
    "is the sign of h_previous - n wrong?": _wrong_sign,
    "is this delta_r of the reset before? After, the gate multiplies q.": _of_before,
    "did you drop the slope of tanh?": _without_slope,
    "whose share is z? The candidate's is 1 - z.": _wrong_share,
}
COUNT_SLIPS: dict[str, Callable] = {
    "did you forget the biases?": lambda G, D, H, K, M: M * G * H * (D + H + (K - 1) * (M * H + H)),
    "did you count two biases, as torch has them?": lambda G, D, H, K, M: (
        M * G * H * (D + H + 2 + (K - 1) * (M * H + H + 2))
    ),
    "do the higher levels read D features?": lambda G, D, H, K, M: K * M * G * H * (D + H + 1),
    "what do higher levels read when there are two directions?": lambda G, D, H, K, M: (
        M * G * H * (D + H + 1 + (K - 1) * (H + H + 1))
    ),
    "did you forget one of the directions?": lambda G, D, H, K, M: _count(G, D, H, K, M) // M,
}
MASS_SLIPS: dict[str, Any] = {
    "is this the sum of the joint, which is one? Each factor is given all others.": lambda p: np.asarray(p.sum()),
    "did you divide by the sum over the others? Given them, x_t is what sums to one.": lambda p: np.asarray(
        np.prod(
            [p / p.sum(axis=tuple(a for a in range(3) if a != axis), keepdims=True) for axis in range(3)], axis=0
        ).sum()
    ),
    "did you multiply by the sums, and not divide?": lambda p: np.asarray(
        np.prod([p * p.sum(axis=axis, keepdims=True) for axis in range(3)], axis=0).sum()
    ),
    "did you leave out one of the three conditionals?": lambda p: _mass(p, range(2)),
}


def scoreboard() -> None:
    """Print which tasks of the notebook are done."""
    print_scoreboard([step, back, convert, count, both, mass])
