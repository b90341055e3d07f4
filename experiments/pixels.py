"""How many bits does a pixel of a handwritten digit cost?

Counting models, a tanh RNN and an LSTM that read in raster order, and a diagonal LSTM that reads from two corners,
on scikit-learn's digits: seventeen grey levels, and ink or paper. Smoothing was chosen on validation images, and so
is the moment to stop. Rates, steps, dropout and blur were chosen there, too, by hand, in a few trials on another
random start, which were not kept. The sizes give the LSTM and the diagonal LSTM about equally many weights. The test
images are read once, at the end of a run. The mean of three networks' probabilities is a model, too, and is judged
beside them. The LSTMs run once more on a split by whole forms, so that the test is written on forms of which nothing
was trained on; their settings are those of the first split, whose images include these forms.

One network is kept in `experiments/weights/pixels_digits.npz`, in half precision. A killed run goes on where it
stood. `--large` doubles the networks and trains them three times as long; `--device cuda` moves them.
"""

import argparse
import atexit
import hashlib
import json
import math
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from rnncourse import completion, pixel_counts  # noqa: E402
from rnncourse.data import digits  # noqa: E402
from rnncourse.gpu import pixels, training  # noqa: E402
from tools.records import circumstances, write  # noqa: E402

SEEDS = [0, 1, 2]
SMOOTHING = [0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100]
LEVELS = {"grey": 17, "ink or paper": 2}
NETS = {
    "grey": {
        "rnn": {"hidden": 128, "features": 32, "dropout": 0.3, "blur": 0.1, "rate": 3e-3, "steps": 500},
        "lstm": {"hidden": 128, "features": 32, "dropout": 0.5, "blur": 0.1, "rate": 6e-3, "steps": 800},
        "diagonal": {"hidden": 64, "features": 32, "dropout": 0.5, "blur": 0.0, "rate": 1e-2, "steps": 350},
    },
    "ink or paper": {
        "rnn": {"hidden": 128, "features": 16, "dropout": 0.3, "blur": 0.2, "rate": 3e-3, "steps": 400},
        "lstm": {"hidden": 128, "features": 16, "dropout": 0.4, "blur": 0.2, "rate": 6e-3, "steps": 400},
        "diagonal": {"hidden": 64, "features": 16, "dropout": 0.4, "blur": 0.1, "rate": 1e-2, "steps": 300},
    },
}
BATCH, LOOKS = 64, 20
KEPT = ("grey", "shuffled", "diagonal", SEEDS[0])
WEIGHTS = ROOT / "experiments" / "weights" / "pixels_digits.npz"


def images(of: str) -> np.ndarray:
    data = digits.load().images
    return data if of == "grey" else digits.binary(data)


def cost(log_p: np.ndarray, seen: np.ndarray) -> dict:
    """Bits per dimension, and the standard error that so few test images leave."""
    each = -np.take_along_axis(log_p, seen[..., None], axis=3)[..., 0].mean(axis=(1, 2)) / math.log(2)
    return {"test": float(each.mean()), "error": float(each.std(ddof=1) / len(each) ** 0.5)}


def counted(of: str, how: str) -> list[dict]:
    """Every counting model, its smoothing chosen on validation images."""
    x, parts, found = images(of), digits.split(how), []
    test = x[parts.test]
    uniform = np.full((*test.shape, LEVELS[of]), -math.log(LEVELS[of]))
    labels = {"images": of, "split": how}
    found.append(labels | {"model": "uniform", "valid": math.log2(LEVELS[of])} | cost(uniform, test))
    for kind in pixel_counts.KINDS:
        fits = [pixel_counts.fit(kind, x[parts.train], LEVELS[of], smoothing) for smoothing in SMOOTHING]
        valid = [completion.bits(fitted, x[parts.valid]) for fitted in fits]
        best = int(np.argmin(valid))
        result = {"model": kind, "smoothing": SMOOTHING[best], "valid": valid[best]}
        found.append(labels | result | cost(fits[best](test), test))
    return found


def learned(of: str, how: str, kind: str, seed: int, work: Path, given) -> dict:
    """Train one network, stop at its best look, read the test images."""
    settings = dict(NETS[of][kind])
    rate, steps = settings.pop("rate"), settings.pop("steps")
    x, parts = images(of), digits.split(how)
    model = pixels.PixelRNN(kind, x.shape[1:], LEVELS[of], seed=seed, **settings)
    history = training.fit(
        *(model, pixels.shuffled(x[parts.train], BATCH, seed), pixels.loss),
        training.Settings(steps, rate, every=max(1, steps // LOOKS), seed=seed),
        valid=lambda model: pixels.bits(model, x[parts.valid]),
        checkpoint=work / f"{name(of, how, kind, seed)}.pt",
        device=given.device,
    )
    log_p = pixels.log_conditionals(model, x[parts.test])
    np.save(work / f"{name(of, how, kind, seed)}.npy", log_p.astype(np.float32))
    if (of, how, kind, seed) == KEPT:
        arrays = [part.detach().cpu().numpy().astype(np.float16) for part in model.parameters()]
        np.savez_compressed(given.weights, **{str(place): array for place, array in enumerate(arrays)})
    learning = {"step": [one.step for one in history], "train": [one.train / math.log(2) for one in history]}
    learning["looks"] = [one.valid for one in history]
    size = sum(part.numel() for part in model.parameters())
    return {"valid": min(learning["looks"]), **cost(log_p, x[parts.test]), "parameters": size, **learning}


def averaged(of: str, how: str, kind: str, seeds: list, work: Path) -> dict:
    """The mean of several networks' probabilities, pixel by pixel."""
    log_p = np.array([np.load(work / f"{name(of, how, kind, seed)}.npy").astype(float) for seed in seeds])
    mixed = np.logaddexp.reduce(log_p, axis=0) - math.log(len(seeds))
    test = images(of)[digits.split(how).test]
    return {"images": of, "split": how, "model": kind, "averaged": len(seeds)} | cost(mixed, test)


def name(of: str, how: str, kind: str, seed: int) -> str:
    return f"{of.replace(' ', '-')}-{how}-{kind}-{seed}"


def kept(job: tuple, work: Path, given) -> dict:
    """The result of a run, read if it is there and written if not."""
    of, how, kind, seed = job
    file = work / f"{name(*job)}.json"
    if not file.exists():
        begun = time.perf_counter()
        result = {"images": of, "split": how, "model": kind, "seed": seed} | learned(*job, work, given)
        result["seconds"] = time.perf_counter() - begun
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps(result))
        draft.replace(file)
    result = json.loads(file.read_text())
    print(f"{file.stem}: {result['test']:.4f} bits ({result['seconds']:.0f} s)", flush=True)
    return result


def jobs(seeds: list) -> list[tuple]:
    """Everything to train: images, split, network, seed."""
    first = [(of, "shuffled", kind, seed) for seed in seeds for of in NETS for kind in NETS[of]]
    return first + [("grey", "forms", kind, seed) for seed in seeds for kind in ("lstm", "diagonal")]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=ROOT / "_build" / "pixels", help="where results lie")
    parser.add_argument("--device", default="cpu", help="where to train, such as cuda")
    parser.add_argument("--large", action="store_true", help="larger networks, trained longer; needs --out")
    parser.add_argument("--toy", action="store_true", help="a few seconds, to see that it runs; needs --out")
    parser.add_argument("--out", help="where to write the record, if not among the committed ones")
    given = parser.parse_args()
    if (given.toy or given.large) and not given.out:
        parser.error("--toy and --large need --out: they must not replace the record")
    given.weights, given.seeds = WEIGHTS, SEEDS
    if given.large:
        given.weights = Path(given.out).with_suffix(".npz")
    for settings in (settings for nets in NETS.values() for settings in nets.values()):
        if given.large:
            settings.update(hidden=2 * settings["hidden"], steps=3 * settings["steps"])
        if given.toy:
            settings.update(hidden=4, features=2, steps=2)
    if given.toy:
        given.seeds = SEEDS[:1]
        given.work = Path(tempfile.mkdtemp())
        given.weights = given.work / "weights.npz"
        atexit.register(shutil.rmtree, given.work)
    return given


def main() -> None:
    given, record = arguments(), circumstances(__file__)
    mark = hashlib.sha256(json.dumps([NETS, BATCH, LOOKS, given.device]).encode()).hexdigest()[:8]
    work = given.work / f"{record['code']}-{mark}"  # what other code or settings have made is no part of this record
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    counts = [row for of, how in [(of, how) for of in LEVELS for how in digits.SPLITS] for row in counted(of, how)]
    runs = [kept(job, work, given) for job in jobs(given.seeds)]
    groups = dict.fromkeys(job[:3] for job in jobs(given.seeds))
    means = [averaged(*group, given.seeds, work) for group in groups]
    digest = hashlib.sha256(given.weights.read_bytes()).hexdigest()
    settings = {"nets": NETS, "batch": BATCH, "looks": LOOKS, "seeds": given.seeds, "device": given.device}
    record |= {"settings": settings, "digits": digits.SHA256, "weights": digest}
    record |= {"counts": counts, "runs": runs, "averaged": means}
    print(f"wrote {write(record, __file__, given.out)}")


if __name__ == "__main__":
    main()
