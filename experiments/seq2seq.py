"""Encoder and decoder with attention and without: dates of two dozen languages, and strings turned around.

Dates: exact match on days that were not trained on, and on forms that were not; with a symbol for the
locale before the text and without; the share of symbols that are right where the decoder is taught and
where it runs free. Reversal: the same by length, up to beyond what was trained. Settings and the number of
updates were chosen with another split of the days and the seed 1, which is not among the record's.
One network of the dates is kept in `experiments/weights/seq2seq_dates.npz`, in half precision.
Every finished run leaves a file, and a killed experiment goes on.
"""

import argparse
import atexit
import hashlib
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from rnncourse import bridge  # noqa: E402
from rnncourse.data import dates, pairs  # noqa: E402
from rnncourse.gpu import lstm, search, seq2seq, training, translator  # noqa: E402
from rnncourse.params import map_arrays, named_arrays  # noqa: E402
from tools.records import circumstances, write  # noqa: E402

WEIGHTS = ROOT / "experiments" / "weights" / "seq2seq_dates.npz"
SEEDS = (10, 11, 12)
DATES = {"train": 20_000, "valid": 1000, "test": 2000, "split": 20, "batch": 64, "steps": 2400, "rate": 8e-3}
REVERSAL = {"longest": 16, "beyond": 24, "each": 400, "batch": 64, "steps": 1200, "rate": 8e-3}
NET = {"features": 32, "hidden": 96, "both_ways": True}
SMALL = {"features": 16, "hidden": 64, "both_ways": True}
NETS = [("dot", True), ("none", True), ("dot", False), ("additive", True)]


def trained(net: dict, sizes: tuple, attention: str, settings: dict, seed: int, batch, valid):
    """A network and how its training went."""
    model = translator.Translator(*sizes, **net, attention=attention, seed=seed)
    rest = training.Settings(settings["steps"], settings["rate"], every=max(1, settings["steps"] // 8), seed=seed)
    return model, training.fit(model, batch, translator.loss, rest, valid)


@torch.no_grad()
def answers(params, x: np.ndarray, y: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is said running free and what is chosen when taught, both in the shape of y."""
    cell = lstm.plain()
    step, state = seq2seq.stepper(cell, params, seq2seq.encode(cell, params, x))
    free = search.greedy(step, state, len(y)).tokens[:, 0].T.numpy()
    return free, seq2seq.forward(cell, params, x, y)[0].argmax(dim=2).numpy()


def shares(params, x: np.ndarray, y: np.ndarray) -> dict:
    """Of sequences that are right to the end, and of symbols, running free and taught."""
    free, taught = answers(params, x, y)
    real = np.arange(len(y))[:, None] < pairs.lengths(y)
    right = {"free": free == y, "taught": taught == y}
    found = {name: float(where[real].mean()) for name, where in right.items()}
    return found | {"exact": float((right["free"] | ~real).all(axis=0).mean())}


def validation(x, y):
    x, y = map(torch.from_numpy, (x, y))
    return lambda model: float(translator.loss(model, x, y)[0])


def read_dates(attention: str, locale: bool, seed: int, keep: Path | None) -> dict:
    """Train on dates; exact match on the test's days, and form by form on the held-out ones."""
    parts = dates.split(DATES["train"], DATES["valid"], DATES["test"], DATES["split"])
    x, y = dates.encode(parts.train, locale)
    sizes = (len(dates.symbols()), 1 + len(dates.DIGITS))
    batch = translator.sampled(x, y, DATES["batch"], seed)
    valid = validation(*dates.encode(parts.valid, locale))
    model, history = trained(NET, sizes, attention, DATES, seed, batch, valid)
    params = half(translator.exported(model)) if keep else translator.exported(model)
    if keep:
        save(params, keep)
    params = bridge.to_torch(params)
    found = {name: shares(params, *dates.encode(getattr(parts, name), locale)) for name in ("test", "unseen")}
    for one in dates.HELD_OUT:
        some = [item for item in parts.unseen if (item.locale, item.form) == one]
        found["unseen"]["-".join(one)] = shares(params, *dates.encode(some, locale))["exact"] if some else None
    return found | {"step": [one.step for one in history], "valid": [one.valid for one in history]}


def half(params):
    """The parameters as they are kept: rounded to half precision."""
    return map_arrays(lambda array: array.astype(np.float16).astype(np.float32), params)


def save(params, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(file, **{name: array.astype(np.float16) for name, array in named_arrays(params)})


def turn_around(attention: str, seed: int) -> dict:
    """Train on strings of 1..longest symbols drawn at random; shares by length, up to beyond."""

    def batch(step: int) -> training.Batch:
        rng = np.random.default_rng([seed, step])
        drawn = pairs.reversals(rng, REVERSAL["batch"], int(rng.integers(1, REVERSAL["longest"] + 1)))
        return training.Batch(*(torch.from_numpy(np.ascontiguousarray(part)) for part in drawn))

    valid = validation(*pairs.reversals(np.random.default_rng([seed, 1]), 300, (1, REVERSAL["longest"])))
    model, history = trained(SMALL, (11, 11), attention, REVERSAL, seed, batch, valid)
    params = bridge.to_torch(translator.exported(model))
    by_length = {}
    for length in range(1, REVERSAL["beyond"] + 1):
        drawn = pairs.reversals(np.random.default_rng([seed, 2, length]), REVERSAL["each"], length)
        by_length[str(length)] = shares(params, *drawn)
    return {"by_length": by_length, "step": [one.step for one in history], "valid": [one.valid for one in history]}


def jobs(weights: Path):
    """Everything to do: labels, and how. The first network of the dates is the one that is kept."""
    for seed in SEEDS:
        for attention in ("none", "dot", "additive"):
            labels = {"task": "reversal", "attention": attention, "seed": seed}
            yield labels, lambda a=attention, s=seed: turn_around(a, s)
    for attention, locale in NETS:
        for seed in SEEDS:
            labels = {"task": "dates", "attention": attention, "locale": locale, "seed": seed}
            keep = weights if (attention, locale, seed) == ("dot", True, SEEDS[0]) else None
            yield labels, lambda a=attention, loc=locale, s=seed, k=keep: read_dates(a, loc, s, k)


def kept(work: Path, labels: dict, make) -> dict:
    """The result of a run, read if it is there and written if not."""
    file = work / ("-".join(map(str, labels.values())) + ".json")
    if not file.exists():
        begun = time.process_time()
        result = labels | make() | {"seconds": time.process_time() - begun}
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps(result))
        draft.replace(file)
    result = json.loads(file.read_text())
    last = result.get("test", result.get("by_length", {}).get("8"))
    print(f"{file.stem}: {last} ({result['seconds']:.0f} s)", flush=True)
    return result


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=ROOT / "_build" / "seq2seq", help="where results lie")
    parser.add_argument("--toy", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--out", help="where to write the record, if not among the committed ones")
    given = parser.parse_args()
    if given.toy and not given.out:
        parser.error("--toy needs --out: a toy must not replace the record")
    given.weights = WEIGHTS
    if given.toy:
        given.work = Path(tempfile.mkdtemp())
        given.weights = given.work / "weights.npz"
        atexit.register(shutil.rmtree, given.work)
        DATES.update(train=200, valid=20, test=40, steps=2, batch=8)
        REVERSAL.update(longest=3, beyond=4, each=10, steps=2, batch=8)
    return given


def main() -> None:
    given, record = arguments(), circumstances(__file__)
    work = given.work / record["code"]  # what other code has made is no part of this record
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    seeds = SEEDS[:1] if given.toy else SEEDS
    runs = [kept(work, *job) for job in jobs(given.weights) if job[0]["seed"] in seeds]
    digest = hashlib.sha256(given.weights.read_bytes()).hexdigest()
    settings = {"dates": DATES, "reversal": REVERSAL, "net": NET, "small": SMALL, "seeds": list(seeds)}
    record |= {"settings": settings, "babel": dates.fingerprint(), "weights": digest, "runs": runs}
    print(f"wrote {write(record, __file__, given.out)}")


if __name__ == "__main__":
    main()
