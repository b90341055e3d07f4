"""How much does a network learn from each sample: by a Kalman filter over its weights, or by Adam?

A tanh network predicts the next value of a series from the present one: the yearly sunspots, and one
coordinate of the chaotic map of Henon. Its weights are trained by the extended Kalman filter, global and
decoupled by unit, and by Adam on truncated back-propagation, pass by pass over the same samples. Settings
are chosen on validation years and starts of their own, by the mean over starts and passes of the logarithm
of the error; then the network is trained on everything before the test years and judged once on those, on
other starts. Adam may choose among more settings than the filters, and some of them update at every sample.
Beside them: the last value, and linear autoregressions. A last arm hides three values in ten and either
leaves them out or repeats the last.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from rnncourse.data import sunspots  # noqa: E402
from rnncourse.params import ModelParams, init_readout, init_rnn  # noqa: E402
from rnncourse.reference import bptt, cells, ekf_training, optim, readout, unroll  # noqa: E402
from tools.records import circumstances, write  # noqa: E402

TANH = cells.rnn("tanh")
LOOKS = (1, 3, 5, 10)  # after how many passes the test years are looked at
FILTER = [{"spread": s, "first": a, "last": b} for s in (0.1, 1.0) for a, b in ((1.0, 0.1), (0.3, 0.3), (1.0, 1.0))]
DRIFT = {"first": 1e-4, "factor": 0.5}  # q of the filters: in the first pass, and from each pass to the next
ADAM = [  # the chunk is how many steps a gradient reaches back, the stride how many samples there are to an update
    {"rate": rate, "chunk": chunk, "stride": stride}
    for rate in (0.001, 0.003, 0.01, 0.03, 0.1)
    for chunk, stride in ((20, 20), (5, 5), (20, 1), (5, 1), (1, 1))
]
CUTS = {"sunspots": (171, 221), "henon": (250, 300)}  # fitted before, chosen before: 1870 and 1920
METHODS = {"global": FILTER, "unit": FILTER, "adam": ADAM}


def henon(steps: int) -> np.ndarray:
    """One coordinate of the map, mean 0 and variance 1 over its first 300 steps."""
    x = [0.1, 0.1]
    for _ in range(steps + 98):
        x.append(1 - 1.4 * x[-1] ** 2 + 0.3 * x[-2])
    x = np.array(x[100:])
    return (x - x[:300].mean()) / x[:300].std()


def model(seed: int, hidden: int) -> ModelParams:
    """A fresh network."""
    rng = np.random.default_rng([seed, hidden])
    return ModelParams(init_rnn(rng, 1, hidden, gain=0.5), init_readout(rng, hidden, 1), np.zeros(hidden))


def error(params: ModelParams, series: np.ndarray, part: slice) -> float:
    """Squared error of one-step predictions in a part of the series, over its variance."""
    hidden, _, _ = unroll.forward(TANH, params.cell, series[:-1, None, None], params.initial_state)
    guess = readout.forward(params.readout, hidden)[0][:, 0, 0]
    return float(((guess - series[1:])[part] ** 2).mean() / series[1:][part].var())


def by_filter(groups: str, seed: int, series, settings: dict, passes: int, hidden: int, seen=None):
    """One model after each pass; where a value is hidden, the network is given its own prediction of it."""
    learner = ekf_training.start(model(seed, hidden), settings["spread"], groups)
    for one in range(passes):
        noise = settings["first"] * (settings["last"] / settings["first"]) ** (one / max(1, passes - 1))
        learner, guess = ekf_training.rewound(learner), series[:1, None]
        for t in range(len(series) - 1):
            x = series[t : t + 1, None] if seen is None or seen[t] else guess
            there = None if seen is None else seen[t + 1 : t + 2, None]
            y = series[t + 1 : t + 2, None] if there is None else np.where(there, series[t + 1 : t + 2, None], 0)
            drift = DRIFT["first"] * DRIFT["factor"] ** one
            learner, guess = ekf_training.step(TANH, learner, x, y, np.array([[noise]]), drift, there)
        yield learner.params


def by_adam(seed: int, series, settings: dict, passes: int, hidden: int):
    """One model after each pass; the state is carried from chunk to chunk, and chunks overlap if the stride is less."""
    params, chunk, stride = model(seed, hidden), settings["chunk"], settings["stride"]
    memory = optim.adam_start(params)
    x, y = series[:-1, None, None], series[1:, None, None]
    for _ in range(passes):
        state = params.initial_state
        for start in range(0, len(x), stride):
            part = slice(start, start + chunk)
            moved, _, _ = unroll.forward(TANH, params.cell, x[start : start + stride], state)
            found = bptt.full(TANH, params._replace(initial_state=state), x[part], y[part], reduction="mean")
            gradients = found.gradients._replace(initial_state=np.zeros(hidden))
            params, memory = optim.adam(params, gradients, memory, settings["rate"])
            state = moved[-1]
        yield params


def trained(method: str, seed: int, series, settings: dict, passes: int, hidden: int):
    """The models of one method after each pass."""
    if method == "adam":
        return by_adam(seed, series, settings, passes, hidden)
    return by_filter(method, seed, series, settings, passes, hidden)


def linear(series, before: int, part: slice, order: int) -> float:
    """The error of a linear autoregression, fitted to the series before the test years."""
    columns = [series[order - 1 - lag : len(series) - 1 - lag] for lag in range(order)]
    rows = np.stack([*columns, np.ones(len(series) - order)], axis=1)
    target = series[order:]
    weights = np.linalg.lstsq(rows[: before - order], target[: before - order], rcond=None)[0]
    test = slice(part.start - order + 1, None)
    return float(((rows @ weights - target)[test] ** 2).mean() / series[1:][part].var())


def race(series, cut: tuple, given) -> dict:
    """Choose on the middle part, train on everything before the last part, look at that once."""
    fitted, before = cut
    middle, last = slice(fitted - 1, before - 1), slice(before - 1, None)
    found = {"persistence": float((np.diff(series)[last] ** 2).mean() / series[1:][last].var())}
    found["linear"] = {str(order): linear(series, before, last, order) for order in (2, 9)}
    for method, grid in METHODS.items():
        grid = grid[: given.settings]
        score = [
            float(np.mean([
                np.log(error(params, series[:before], middle))
                for seed in given.choosing
                for params in trained(method, seed, series[:fitted], settings, given.passes, given.hidden)
            ]))
            for settings in grid
        ]  # fmt: skip
        best = grid[int(np.argmin(score))]
        runs = []
        for seed in given.seeds:
            models = trained(method, seed, series[:before], best, given.passes, given.hidden)
            runs.append([error(params, series, last) for params in models])
        found[method] = {"grid": grid, "settings": best, "validation": score, "test": runs}
        print(method, best, np.round(np.median(runs, axis=0), 3), flush=True)
    found["adam"]["hindsight"] = []  # every setting on the test years, so that nobody need trust the choice
    for settings in found["adam"]["grid"]:
        runs = [
            [error(p, series, last) for p in by_adam(one, series[:before], settings, given.passes, given.hidden)]
            for one in given.seeds
        ]
        found["adam"]["hindsight"].append(np.median(runs, axis=0).tolist())
    return found


def hidden_values(series, before: int, settings: dict, given) -> dict:
    """Three values in ten hidden while the weights are learned: left out, or the last one put in their place."""
    last, found = slice(before - 1, None), {"left out": [], "last value": []}
    for seed in given.seeds:
        seen = np.random.default_rng([1, seed]).random(before) > 0.3
        seen[0] = True
        filled = series[:before][np.maximum.accumulate(np.where(seen, np.arange(before), 0))]
        arms = {"left out": (series[:before], seen), "last value": (filled, None)}
        for name, (values, mask) in arms.items():
            *_, params = by_filter("global", seed, values, settings, given.passes, given.hidden, mask)
            found[name].append(error(params, series, last))
    print({name: np.round(np.median(values), 3) for name, values in found.items()}, flush=True)
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, default=10)
    parser.add_argument("--passes", type=int, default=10)
    parser.add_argument("--settings", type=int, help="how many settings each method may try; all unless given")
    parser.add_argument(
        "--choosing", type=int, nargs="*", default=[100, 101, 102, 103], help="starts that choose the settings"
    )
    parser.add_argument("--seeds", type=int, nargs="*", default=list(range(10)), help="starts that are told")
    parser.add_argument("--toy", action="store_true", help="a second, to see that it runs")
    parser.add_argument("--out", help="where to write the record, if not among the committed ones")
    given = parser.parse_args()
    if given.toy:
        given.hidden, given.passes, given.settings, given.choosing, given.seeds = 2, 1, 1, [100], [0]
        if not given.out:
            parser.error("--toy needs --out: a toy must not replace the record")
    return given


def main() -> None:
    given, record = arguments(), circumstances(__file__)
    record["settings"] = {
        "hidden": given.hidden,
        "passes": given.passes,
        "looks": LOOKS,
        "seeds": given.seeds,
        "choosing": given.choosing,
        "drift": DRIFT,
        "cuts": CUTS,
    }
    spots = sunspots.scaled(CUTS["sunspots"][1])
    record["sunspots"] = race(spots, CUTS["sunspots"], given)
    record["henon"] = race(henon(600), CUTS["henon"], given)
    record["hidden"] = hidden_values(spots, CUTS["sunspots"][1], record["sunspots"]["global"]["settings"], given)
    print(f"wrote {write(record, __file__, given.out)}")


if __name__ == "__main__":
    main()
