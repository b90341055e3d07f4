"""Networks that learn to decide, by back-propagation and by rules that a brain might use: errors, angles, fixed points.

Leaky tanh units hear noisy evidence and must hold how sure it made them through a pause. Rules that share a
seed share their start and their trials. Rates were chosen rule by rule with start 0, by the loss on trials of
its own, and start 0 is not among those of the record; the test trials are the same for all, and read once.
"""

import argparse
import hashlib
import io
import math
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from rnncourse import brain_params, params, weights  # noqa: E402
from rnncourse.data import decisions  # noqa: E402
from rnncourse.params import map_arrays, named_arrays  # noqa: E402
from rnncourse.reference import (  # noqa: E402
    bptt,
    dale,
    feedback_alignment,
    fixed_points,
    local_rule,
    losses,
    optim,
    rates,
    readout,
    unroll,
)
from tools.records import circumstances, write  # noqa: E402

RULES = ("bptt", "feedback alignment", "local", "local, true feedback", "readout alone", "bptt, Dale")
RATES = (2e-3, 5e-3, 1e-2)
SETTINGS = {
    "hidden": 32,
    "alpha": 0.2,
    "gain": 0.5,
    "steps": 20,
    "pause": 20,
    "size": 64,
    "updates": 1000,
    "clip": 1.0,
    "look": 20,
    "tested": 20_000,
    "excitatory": 0.75,
}


def start(seed: int, s: dict) -> tuple[params.ModelParams, brain_params.Feedback]:
    """Weights to start from, and fixed feedback."""
    rng = np.random.default_rng([seed, 1])
    H = s["hidden"]
    model = params.init_model(rng, 1, H, 1)
    W_h = s["gain"] * H**-0.5 * rng.standard_normal((H, H))
    return model._replace(cell=model.cell._replace(recurrent_weights=W_h)), brain_params.init_feedback(rng, H, 1)


def direction(rule: str, cell, model, feedback, trials, true) -> params.ModelParams:
    """What a rule takes for the gradient; ``true`` is the gradient, or None where it was not asked for."""
    given = trials.inputs, trials.targets
    options = {"loss": losses.bernoulli, "mask": trials.mask, "reduction": "mean"}
    if rule == "feedback alignment":
        found = feedback_alignment.full(cell, model, feedback, *given, **options)
    elif rule == "local":
        found = local_rule.full(cell, model, feedback.readout_weights, *given, **options)
    elif rule == "local, true feedback":
        found = local_rule.full(cell, model, model.readout.weights, *given, **options)
    else:
        found = true or bptt.full(cell, model, *given, **options)
    return found


def signed(model: params.ModelParams, signs) -> tuple[params.ModelParams, dale.Tape]:
    """The model that a free matrix in the place of W_h stands for."""
    W_h, tape = dale.forward(model.cell.recurrent_weights, signs)
    return model._replace(cell=model.cell._replace(recurrent_weights=W_h)), tape


def train(rule: str, seed: int, rate: float, s: dict) -> tuple[params.ModelParams, dict]:
    """One training; weights, and how it went."""
    cell, (free, feedback) = rates.leaky(s["alpha"]), start(seed, s)
    signs = brain_params.signs(s["hidden"], s["excitatory"])
    if rule == "bptt, Dale":
        sizes = brain_params.init_magnitudes(np.random.default_rng([seed, 3]), signs, s["gain"])
        free = free._replace(cell=free.cell._replace(recurrent_weights=dale.invert(sizes)))
    memory, story, window = optim.adam_start(free), {"loss": [], "cosine": [], "W_y": [], "W_h": []}, []
    for update in range(s["updates"]):
        trials = decisions.draw(np.random.default_rng([seed, 2, update]), s["size"], s["steps"], s["pause"])
        model, tape = signed(free, signs) if rule == "bptt, Dale" else (free, None)
        looking = update % s["look"] == 0
        true = direction("bptt", cell, model, feedback, trials, None) if looking else None
        found = direction(rule, cell, model, feedback, trials, true)
        g = found.gradients
        if rule == "readout alone":
            g = g._replace(cell=map_arrays(np.zeros_like, g.cell))
        if looking and rule != "readout alone":
            story["cosine"].append(brain_params.cosine(g.cell, true.gradients.cell))
            story["W_y"].append(brain_params.cosine(model.readout.weights, feedback.readout_weights))
            story["W_h"].append(brain_params.cosine(model.cell.recurrent_weights, feedback.recurrent_weights))
        if tape is not None:
            d_free = dale.backward(tape, g.cell.recurrent_weights)
            g = g._replace(cell=g.cell._replace(recurrent_weights=d_free))
        g = optim.clip_by_norm(g._replace(initial_state=0 * g.initial_state), s["clip"])  # h_0 stays 0
        size = rate * 0.5 * (1 + math.cos(math.pi * update / s["updates"]))
        free, memory = optim.adam(free, g, memory, size)
        window.append(float(found.loss))
        if len(window) == s["look"]:
            story["loss"].append(float(np.mean(window)))
            window = []
    return (signed(free, signs)[0] if rule == "bptt, Dale" else free), story


def judged(model, trials, s: dict) -> dict:
    """Nats, and right answers by coherence, at the first and the last step of the pause, beside the best judge."""
    h, _, _ = unroll.forward(rates.leaky(s["alpha"]), model.cell, trials.inputs, model.initial_state)
    said = readout.forward(model.readout, h)[0][:, :, 0]
    ideal = decisions.log_odds(trials.inputs.sum(axis=0)[:, 0], s["steps"])
    truth = trials.targets[-1, :, 0]
    first, last = said[s["steps"]], said[-1]

    def nats(logits) -> float:
        return float((np.logaddexp(0, logits) - truth * logits).mean())

    def right(logits) -> list:
        hit = (logits > 0) == (truth > 0.5)
        return [float(hit[np.isclose(abs(trials.coherence), c)].mean()) for c in decisions.COHERENCES]

    return {
        "first": nats(first),
        "last": nats(last),
        "ideal": nats(ideal),
        "right": right(last),
        "right, ideal": right(ideal),
        "slope": float(np.polyfit(ideal, last, 1)[0]),
    }


def portrait(model, trials, s: dict) -> dict:
    """Fixed points without input, from the states of the pause; how straight and how slow the line of states is."""
    cell, silence = rates.leaky(s["alpha"]), np.zeros(1)
    h, _, _ = unroll.forward(cell, model.cell, trials.inputs, model.initial_state)
    last = h[-1]
    found = fixed_points.find(cell, model.cell, last[:300], silence, iterations=100)
    order = np.argsort(found.speeds)
    order = order[found.speeds[order] < 1e-24]
    kept = order[fixed_points.distinct(found.points[order], 1e-3)] if len(order) else order
    points = []
    for n in kept:
        _, J = fixed_points.move(cell, model.cell, found.points[n : n + 1], silence)
        sizes = sorted(abs(np.linalg.eigvals(J[0])), reverse=True)
        points.append({"said": float(readout.forward(model.readout, found.points[None, n : n + 1])[0][0, 0, 0])})
        points[-1] |= {"eigenvalues": [float(size) for size in sizes[:3]]}
    _, J = fixed_points.move(cell, model.cell, last[:300], silence)
    along = np.array([sorted(abs(np.linalg.eigvals(one)), reverse=True)[:2] for one in J])
    variances = np.linalg.svd(last - last.mean(axis=0), compute_uv=False) ** 2
    return {
        "points": sorted(points, key=lambda point: point["said"]),
        "searches that ended": len(order),
        "line": float(variances[0] / variances.sum()),
        "first eigenvalue": np.quantile(along[:, 0], [0.05, 0.5, 0.95]).tolist(),
        "second eigenvalue": np.quantile(along[:, 1], [0.05, 0.5, 0.95]).tolist(),
        "one sign": int(dale.obeys(model.cell.recurrent_weights).sum()),
    }


def keep(model, folder: Path | None) -> str:
    """Write weights, if there is a place for them; return their hash."""
    buffer = io.BytesIO()
    np.savez(buffer, **dict(named_arrays(model)))
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "decisions.npz").write_bytes(buffer.getvalue())
    return hashlib.sha256(buffer.getvalue()).hexdigest()


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, nargs="*", default=[1, 2, 3, 4, 5])
    parser.add_argument("--toy", action="store_true", help="a second, to see that it runs")
    parser.add_argument("--out", help="where to write the record, if not among the committed ones")
    given = parser.parse_args()
    if given.toy and not given.out:
        parser.error("--toy needs --out: a toy must not replace the record")
    return given


def main() -> None:
    given, record, s = arguments(), circumstances(__file__), dict(SETTINGS)
    seeds, candidates = given.seeds, RATES
    if given.toy:
        s |= {"hidden": 6, "updates": 4, "look": 2, "size": 8, "tested": 200, "steps": 5, "pause": 4}
        seeds, candidates = [1], RATES[:2]
    choose = decisions.draw(np.random.default_rng([0, 7]), s["tested"], s["steps"], s["pause"])
    test = decisions.draw(np.random.default_rng([0, 8]), s["tested"], s["steps"], s["pause"])
    record |= {"settings": s | {"rates": list(candidates), "seeds": seeds}, "choice": {}, "runs": []}
    for rule in RULES:
        tried = {rate: judged(train(rule, 0, rate, s)[0], choose, s)["last"] for rate in candidates}
        record["choice"][rule] = {f"{rate:g}": nats for rate, nats in tried.items()}
        print(rule, tried, flush=True)
        for seed in seeds:
            rate = min(tried, key=tried.get)
            model, story = train(rule, seed, rate, s)
            run = {"rule": rule, "seed": seed, "rate": rate} | judged(model, test, s) | portrait(model, test, s) | story
            record["runs"].append(run)
            print(f"{rule}, seed {seed}: {run['last'] - run['ideal']:.4f} nats above the best", flush=True)
            if (rule, seed) == ("bptt", seeds[0]):
                record["weights"] = keep(model, None if given.out else weights.FOLDER)
    print(f"wrote {write(record, __file__, given.out)}")


if __name__ == "__main__":
    main()
