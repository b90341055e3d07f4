"""Checks of the exercise notebook on a latent for the whole sequence."""

from collections.abc import Callable

import numpy as np

from rnncourse.checks.compare import Mistake, as_array, named_parts, require_arrays
from rnncourse.checks.core import call, task
from rnncourse.checks.core import scoreboard as print_scoreboard
from rnncourse.data import pairs
from rnncourse.latent_params import Diagonal
from rnncourse.reference import bounds, latent

COST_NAMES = ("cost", "d_mu", "d_kappa")
BACK_NAMES = ("d_mu", "d_kappa")


@task("1", "what a note costs", points=4)
def cost(note_cost: Callable, **sizes: int) -> None:
    """Judge the divergence from the standard normal distribution, by log precision, and its slopes.

    Args:
        note_cost: takes mu (B, Z) and kappa (B, Z); returns the cost, d_mu and d_kappa, each (B, Z).
        sizes: seed, batch, units.

    Raises:
        Wrong: with a diagnosis.
    """
    mu, kappa, *_ = _problem(**sizes)
    answer = named_parts(call(note_cost, mu, kappa), COST_NAMES)
    slips = [Mistake(hint, dict(zip(COST_NAMES, wrong(mu, kappa), strict=True))) for hint, wrong in COST_SLIPS.items()]
    require_arrays(answer, dict(zip(COST_NAMES, _cost(mu, kappa), strict=True)), slips)


@task("2", "back through a draw", points=4)
def draw(draw_back: Callable, **sizes: int) -> None:
    """Judge the way back from z to mean and log precision.

    Args:
        draw_back: takes mu (B, Z), kappa (B, Z), epsilon (K, B, Z) and g (K, B, Z); returns d_mu and d_kappa, (B, Z).
        sizes: seed, batch, units, draws.

    Raises:
        Wrong: with a diagnosis.
    """
    mu, kappa, noise, g, _ = _problem(**sizes)
    given = (mu, kappa, noise, g)
    answer = named_parts(call(draw_back, *given), BACK_NAMES)
    found = latent.sample_backward(Diagonal(mu, -kappa), noise, g)
    right = {"d_mu": found.mean, "d_kappa": -found.log_variance}
    slips = [Mistake(hint, dict(zip(BACK_NAMES, wrong(*given), strict=True))) for hint, wrong in DRAW_SLIPS.items()]
    require_arrays(answer, right, slips)


@task("3", "many draws", points=4)
def many(climb: Callable, **sizes: int) -> None:
    """Judge the importance-weighted bound of the first k draws, for every k, and how many draws count at last.

    Args:
        climb: takes the three logarithms, each (K, B); returns the bounds (K, B) and the effective number (B,).
        sizes: seed, batch, draws.

    Raises:
        Wrong: with a diagnosis.
    """
    _, _, noise, g, _ = _problem(**sizes)
    far = 900.0 * np.arange(1, g.shape[1] + 1)  # sequences differ by more than any one number can hold
    given = [2 * g.sum(axis=2) - far, -0.5 * (noise**2).sum(axis=2), noise.sum(axis=2) - 1]
    given[0][0, 0] -= 800  # and so does a first draw from those that follow
    answer = named_parts(call(climb, *given), ("bounds", "effective"))
    answer["bounds"] = as_array("bounds", answer["bounds"], given[0]) + far
    right, *slips = (
        part | {"bounds": part["bounds"] + far}
        for part in (_many(given[0] + given[1] - given[2]), *(wrong(*given) for wrong in MANY_SLIPS.values()))
    )
    require_arrays(answer, right, [Mistake(*pair) for pair in zip(MANY_SLIPS, slips, strict=True)])


@task("4", "a writer hard of hearing", points=4)
def hear(hears: Callable, **sizes: int) -> None:
    """Judge what the decoder hears and what it must say, with some symbols hidden.

    Args:
        hears: takes words (T, B), uniforms (T, B), the share to hide and V; returns what is heard and what is
            said, (T, B) each, and where it counts, (T, B).
        sizes: seed, batch.

    Raises:
        Wrong: with a diagnosis.
    """
    *_, words = _problem(**sizes)
    seed = sizes.get("seed", 0)
    rng, V, share = np.random.default_rng(1 + seed), 6 + seed % 4, 0.3 + 0.1 * (seed % 4)
    uniforms = rng.random(words.shape)
    uniforms[1, -1] = share  # just not hidden
    if words.shape[1] > 1:
        words[0, 0] = 0  # an empty word
    behind = np.arange(len(words))[:, None] >= pairs.lengths(words)
    words = np.where(behind, rng.integers(0, V, words.shape), words)  # padding may be anything
    given = (words, uniforms, share, V)
    answer = named_parts(call(hears, *given), ("heard", "said", "counts"))
    answer["counts"] = _as_numbers(answer["counts"])
    slips = [Mistake(hint, wrong(*given)) for hint, wrong in HEAR_SLIPS.items()]
    require_arrays(answer, _hears(*given), slips)


@task("5", "nats for nothing", points=4)
def floors(free_bits: Callable, **sizes: int) -> None:
    """Judge the floored cost of a batch and its gradient by every entry.

    Args:
        free_bits: takes costs (B, Z) and a floor; returns a number and the gradient (B, Z).
        sizes: seed, batch, units.

    Raises:
        Wrong: with a diagnosis.
    """
    mu, kappa, *_ = _problem(**sizes)
    costs = _cost(mu, kappa)[0] * np.linspace(0.05, 1.5, mu.shape[1])
    floor = float(costs.mean())
    answer = named_parts(call(free_bits, costs, floor), ("total", "gradient"))
    right = {
        "total": np.asarray(bounds.free_bits(costs, floor)),
        "gradient": bounds.free_bits_backward(costs, floor, 1.0),
    }
    slips = [Mistake(hint, wrong(costs, floor)) for hint, wrong in FLOOR_SLIPS.items()]
    require_arrays(answer, right, slips)


def _as_numbers(counts):
    """True and false as 1 and 0; the rest as it came, for the comparison to refuse."""
    try:
        array = np.asarray(counts)
    except ValueError:  # a ragged list
        return counts
    return array.astype(int) if array.dtype == bool else counts


def scoreboard() -> None:
    """Print how far the notebook is."""
    print_scoreboard([cost, draw, many, hear, floors])


def _problem(seed: int = 0, batch: int = 5, units: int = 4, draws: int = 3) -> tuple:
    """Means, log precisions, noise, gradients at z, and words closed by an end."""
    rng = np.random.default_rng(seed)
    mu, kappa = rng.standard_normal((batch, units)), rng.uniform(-1, 2, (batch, units))
    noise, g = rng.standard_normal((2, draws, batch, units))
    words = pairs.pad([rng.integers(1, 6, n) for n in rng.integers(1, 7, batch)])
    return mu, kappa, noise, g, words


def _cost(mu, kappa) -> tuple:
    variance = np.exp(-kappa)
    return 0.5 * (variance + mu**2 - 1 + kappa), mu, 0.5 * (1 - variance)


COST_SLIPS = {
    "is this KL(N(0, 1) || q), the wrong direction?": lambda mu, kappa: (
        0.5 * (np.exp(kappa) * (1 + mu**2) - 1 - kappa),
        mu * np.exp(kappa),
        0.5 * (np.exp(kappa) * (1 + mu**2) - 1),
    ),
    "is the sign of kappa that of a log variance?": lambda mu, kappa: (
        0.5 * (np.exp(kappa) + mu**2 - 1 - kappa),
        mu,
        0.5 * (np.exp(kappa) - 1),
    ),
    "did you take the standard deviation for the variance?": lambda mu, kappa: (
        0.5 * (np.exp(-kappa / 2) + mu**2 - 1 + kappa),
        mu,
        0.5 * (1 - np.exp(-kappa / 2) / 2),
    ),
    "did you forget the logarithm's part, kappa?": lambda mu, kappa: (
        0.5 * (np.exp(-kappa) + mu**2 - 1),
        mu,
        -0.5 * np.exp(-kappa),
    ),
    "is this the slope by the log variance? kappa is minus that.": lambda mu, kappa: (
        *_cost(mu, kappa)[:2],
        0.5 * (np.exp(-kappa) - 1),
    ),
    "is the sign of the whole wrong? A divergence is never negative.": lambda mu, kappa: tuple(
        -part for part in _cost(mu, kappa)
    ),
}

DRAW_SLIPS = {
    "is this the slope by the log variance? kappa is minus that.": lambda mu, kappa, e, g: (
        g.sum(axis=0),
        (0.5 * np.exp(-kappa / 2) * e * g).sum(axis=0),
    ),
    "did you forget the path to the precision? The draw moves with it.": lambda mu, kappa, e, g: (
        g.sum(axis=0),
        0 * kappa,
    ),
    "did you take the variance for the standard deviation?": lambda mu, kappa, e, g: (
        g.sum(axis=0),
        (-np.exp(-kappa) * e * g).sum(axis=0),
    ),
    "did you forget the noise that was drawn?": lambda mu, kappa, e, g: (
        g.sum(axis=0),
        (-0.5 * np.exp(-kappa / 2) * g).sum(axis=0),
    ),
    "did you forget the factor one half of the root?": lambda mu, kappa, e, g: (
        g.sum(axis=0),
        (-np.exp(-kappa / 2) * e * g).sum(axis=0),
    ),
    "did you take the mean over the draws? They are summed.": lambda mu, kappa, e, g: (
        g.mean(axis=0),
        (-0.5 * np.exp(-kappa / 2) * e * g).mean(axis=0),
    ),
}


def _many(logs) -> dict:
    shares = bounds.importance_backward(logs, np.ones(logs.shape[1:]))
    climbs = np.array([bounds.importance(logs[: k + 1]) for k in range(len(logs))])
    return {"bounds": climbs, "effective": 1 / (shares**2).sum(axis=0)}


def _counted(logs) -> np.ndarray:
    return np.arange(1, len(logs) + 1)[:, None]


MANY_SLIPS = {
    "is this the mean of the logarithms? That estimates the ELBO, whatever K is.": lambda s, p, q: {
        "bounds": (s + p - q).cumsum(axis=0) / _counted(s),
        "effective": _many(s + p - q)["effective"],
    },
    "did you forget to divide by the number of draws?": lambda s, p, q: {
        "bounds": _many(s + p - q)["bounds"] + np.log(_counted(s)),
        "effective": _many(s + p - q)["effective"],
    },
    "did you divide by K from the first draw on? So far there are k.": lambda s, p, q: {
        "bounds": _many(s + p - q)["bounds"] + np.log(_counted(s)) - np.log(len(s)),
        "effective": _many(s + p - q)["effective"],
    },
    "did you forget log q?": lambda s, p, q: _many(s + p),
    "did you forget the prior?": lambda s, p, q: _many(s - q),
    "is log q added where it is taken off?": lambda s, p, q: _many(s + p + q),
    "did you forget to square the shares?": lambda s, p, q: _many(s + p - q) | {"effective": np.ones(s.shape[1])},
}


def _hears(words, uniforms, share, V) -> dict:
    hidden = uniforms < share
    hidden[0] = False
    heard = np.where(hidden, V, pairs.shifted(words))  # padding too, where the library's own would read zeros
    return {"heard": heard, "said": words, "counts": _before(words, pairs.lengths(words))}


def _before(words, ends) -> np.ndarray:
    return (np.arange(len(words))[:, None] < ends) * 1


def _first_hidden(words, uniforms, share, V) -> dict:
    found = _hears(words, uniforms, share, V)
    return found | {"heard": np.where(uniforms < share, V, pairs.shifted(words))}


def _said_hidden(words, uniforms, share, V) -> dict:
    found = _hears(words, uniforms, share, V)
    hidden = uniforms < share
    hidden[0] = False
    return found | {"heard": pairs.shifted(words), "said": np.where(hidden, V, words)}


def _both_hidden(words, uniforms, share, V) -> dict:
    return _hears(words, uniforms, share, V) | {"said": _said_hidden(words, uniforms, share, V)["said"]}


def _unshifted(words, uniforms, share, V) -> dict:
    hidden = uniforms < share
    hidden[0] = False
    return _hears(words, uniforms, share, V) | {"heard": np.where(hidden, V, words)}


HEAR_SLIPS = {
    "did you hide the symbols to be said in place of those heard?": _said_hidden,
    "did you hide the symbols to be said as well?": _both_hidden,
    "did you hide the first step, too? There is nothing to hide.": _first_hidden,
    "did you forget the shift? At step t the decoder hears the symbol of step t - 1.": _unshifted,
    "did you keep the share that was to be hidden?": lambda words, uniforms, share, V: _hears(
        words, 1 - uniforms, 1 - share, V
    ),
    "did you leave out the end? It counts like any symbol.": lambda words, uniforms, share, V: (
        _hears(words, uniforms, share, V) | {"counts": _before(words, pairs.lengths(words) - 1)}
    ),
    "did you count symbols behind the first 0? That is padding, whatever stands there.": (
        lambda words, uniforms, share, V: (
            _hears(words, uniforms, share, V) | {"counts": _before(words, 1 + np.count_nonzero(words, axis=0))}
        )
    ),
    "does a step count because the symbol before is not 0? Behind the first 0 none does.": (
        lambda words, uniforms, share, V: (
            _hears(words, uniforms, share, V)
            | {"counts": np.concatenate([np.ones_like(words[:1]), (words[:-1] != 0) * 1])}
        )
    ),
    "is a symbol hidden where its uniform is just the share? Only below it.": lambda words, uniforms, share, V: _hears(
        words, uniforms, np.nextafter(share, 1), V
    ),
}


def _floored(costs, kept) -> np.ndarray:
    return kept / len(costs)


FLOOR_SLIPS = {
    "did you put one floor under the sum? Every unit has its own.": lambda costs, floor: {
        "total": np.asarray(max(costs.sum(axis=1).mean(), floor)),
        "gradient": _floored(costs, np.full(costs.shape, costs.sum(axis=1).mean() > floor)),
    },
    "did you floor every sequence? The floor stands under the mean over the batch.": lambda costs, floor: {
        "total": np.asarray(np.maximum(costs, floor).sum(axis=1).mean()),
        "gradient": _floored(costs, costs > floor),
    },
    "did you sum over the batch where a mean is asked for?": lambda costs, floor: {
        "total": np.asarray(np.maximum(costs.sum(axis=0), floor).sum()),
        "gradient": np.where(costs.sum(axis=0) > floor, np.ones(costs.shape), 0),
    },
    "do units under the floor still pull?": lambda costs, floor: {
        "total": np.asarray(bounds.free_bits(costs, floor)),
        "gradient": _floored(costs, np.ones(costs.shape)),
    },
    "did you take the smaller of the two?": lambda costs, floor: {
        "total": np.asarray(np.minimum(costs.mean(axis=0), floor).sum()),
        "gradient": _floored(costs, np.broadcast_to(costs.mean(axis=0) < floor, costs.shape)),
    },
    "did you forget that a mean over B divides the gradient by B?": lambda costs, floor: {
        "total": np.asarray(bounds.free_bits(costs, floor)),
        "gradient": len(costs) * bounds.free_bits_backward(costs, floor, 1.0),
    },
}
