"""GRU or LSTM? Delayed recall, adding and text, five random starts each; what an update costs; both directions.

Delayed recall and adding are run twice for each cell: with the weights that torch draws, and with gate
biases that give every unit a time scale of its own (chrono). On the text there are three nets: LSTM and
GRU of equal width, and a GRU as large as the LSTM. Starts and data of a pair share their seed, so that
differences can be taken seed by seed. Last, a gap in the text is filled from the left alone, and from both
sides.

For adding, one step size for both cells and the number of updates were chosen with the seeds 0 and 100, which are
not among those of the record (10 to 14). The other tasks were not tuned.
Every finished run leaves a file, and a killed experiment goes on.
"""

import argparse
import atexit
import json
import math
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from rnncourse.data import long_tasks, recall, text  # noqa: E402
from rnncourse.gpu import language, training  # noqa: E402
from tools.records import circumstances, write  # noqa: E402

LAYERS = {"lstm": nn.LSTM, "gru": nn.GRU}
FIRST_SEED, SEEDS, GAP_SEEDS = 10, 5, 5
RECALL = {"lag": 60, "hidden": 64, "batch": 32, "steps": 600, "rate": 5e-3}
ADDING = {"length": 80, "hidden": 64, "batch": 32, "steps": 1200, "rate": 1e-2}
TEXT = {"streams": 32, "length": 64, "steps": 400, "rate": 8e-3, "features": 64}
NETS = {"lstm": ("lstm", 128), "gru": ("gru", 128), "gru, as large": ("gru", 150)}
GAP = {"streams": 32, "length": 64, "steps": 300, "rate": 8e-3, "features": 32, "hidden": 96}
TIMING = {"repeats": 15, "shapes": [[128, 128, 32, 50], [512, 256, 32, 50]]}  # H, D, B, T


class Memory(nn.Module):
    """A gated layer and a readout of its last state."""

    def __init__(self, kind: str, inputs: int, hidden: int, outputs: int, longest: int | None, seed: int):
        super().__init__()
        torch.manual_seed(seed)
        self.recurrence = LAYERS[kind](inputs, hidden)
        self.readout = nn.Linear(hidden, outputs)
        if longest:
            self._chrono(kind, hidden, longest)

    @torch.no_grad()
    def _chrono(self, kind: str, H: int, longest: int) -> None:
        """b = log u: the forget gate's and minus the input gate's, or the update gate's, which keeps."""
        b = torch.log(1 + (longest - 2) * torch.rand(H))
        own, other = self.recurrence.bias_ih_l0, self.recurrence.bias_hh_l0
        own.zero_()
        other.zero_()
        own[H : 2 * H] = b
        if kind == "lstm":
            own[:H] = -b

    def forward(self, inputs):
        return self.readout(self.recurrence(inputs)[0][-1])


def memory_tasks() -> dict:
    """For each task: its settings, sizes, a batch from a generator, its loss, and its held-out figure."""
    a, r = ADDING, RECALL
    return {
        "recall": (
            *(r, r["lag"] + 1, 11, 8),
            lambda rng, size: recall.recall(rng, size, r["lag"]),
            nn.functional.cross_entropy,
            lambda said, true: float((said.argmax(dim=1) != true).double().mean()),
        ),
        "adding": (
            *(a, a["length"], 2, 1),
            lambda rng, size: long_tasks.adding(rng, size, a["length"]),
            lambda said, true: nn.functional.mse_loss(said, true[0]),
            lambda said, true: float(((said - true[0]) ** 2).double().mean()),
        ),
    }


def tensors(pair) -> tuple[torch.Tensor, torch.Tensor]:
    return tuple(torch.from_numpy(np.asarray(part)) for part in pair)


def remember(task: str, kind: str, start: str, seed: int) -> dict:
    """Train one net on recall or adding; what it does on held-out sequences as it learns."""
    settings, longest, inputs, outputs, draw, judge, figure = memory_tasks()[task]
    model = Memory(kind, inputs, settings["hidden"], outputs, longest if start == "chrono" else None, seed)
    look = tensors(draw(np.random.default_rng([seed, 1]), 1000))
    held_out = tensors(draw(np.random.default_rng([seed, 2]), 2000))

    def batch(step: int) -> training.Batch:
        x, y = tensors(draw(np.random.default_rng([seed, 0, step]), settings["batch"]))
        return training.Batch(x, y[None])

    @torch.no_grad()
    def valid(model) -> float:
        return figure(model(look[0]), look[1])

    history = training.fit(
        model,
        batch,
        lambda model, x, y, carry: (judge(model(x), y[0]), None),
        training.Settings(settings["steps"], settings["rate"], every=max(1, settings["steps"] // 20), seed=seed),
        valid=valid,
    )
    with torch.no_grad():
        test = figure(model(held_out[0]), held_out[1])
    return {"step": [one.step for one in history], "valid": [one.valid for one in history], "test": test}


def read(net: str, corpus: text.Corpus, seed: int) -> dict:
    """Train one character model; bits per character."""
    kind, hidden = NETS[net]
    model = language.LanguageModel(len(corpus.alphabet), kind, TEXT["features"], hidden, seed=seed)
    history = training.fit(
        *(model, language.stretches(corpus.train, TEXT["streams"], TEXT["length"]), language.loss),
        training.Settings(TEXT["steps"], TEXT["rate"], every=max(1, TEXT["steps"] // 10), seed=seed),
        valid=lambda model: language.bits(model, corpus.valid),
    )
    return {
        "step": [one.step for one in history],
        "valid": [one.valid for one in history],
        "test": language.bits(model, corpus.test),
        "parameters": sum(array.numel() for array in model.parameters()),
    }


class Gap(nn.Module):
    """Says each character from what is left of it, or from both sides; never from itself."""

    def __init__(self, vocabulary: int, both: bool, seed: int):
        super().__init__()
        torch.manual_seed(seed)
        H = GAP["hidden"]
        self.embedding = nn.Embedding(vocabulary, GAP["features"])
        self.ahead = nn.GRU(GAP["features"], H)
        self.behind = nn.GRU(GAP["features"], H) if both else None
        self.readout = nn.Linear(H * (1 + both), vocabulary)

    def forward(self, tokens):
        """Logits of the tokens 2..T-1, shape (T - 2, B, V)."""
        x = self.embedding(tokens)
        seen = [self.ahead(x)[0][:-2]]  # of x_t, the state at t - 1
        if self.behind is not None:
            seen.append(self.behind(x.flip(0))[0].flip(0)[2:])  # and the state at t + 1
        return self.readout(torch.cat(seen, dim=2))


def gap_loss(model, inputs, targets, carry=None):
    return nn.functional.cross_entropy(model(inputs).flatten(0, 1), inputs[1:-1].flatten()), None


def fill(name: str, corpus: text.Corpus, seed: int) -> dict:
    """Train one filler of gaps; bits per character, of characters whose neighbours on both sides are known."""
    model = Gap(len(corpus.alphabet), name == "both sides", seed)

    @torch.no_grad()
    def bits(model, tokens) -> float:
        batches = text.batches(tokens, streams=8, steps=256)
        losses = [float(gap_loss(model, torch.from_numpy(x.copy()), None)[0]) for x, _ in batches]
        return float(np.mean(losses)) / math.log(2)

    history = training.fit(
        *(model, language.stretches(corpus.train, GAP["streams"], GAP["length"]), gap_loss),
        training.Settings(GAP["steps"], GAP["rate"], every=max(1, GAP["steps"] // 8), seed=seed),
        valid=lambda model: bits(model, corpus.valid),
    )
    return {"valid": [one.valid for one in history], "test": bits(model, corpus.test)}


def timing(hidden: int, inputs: int, batch: int, steps: int, repeats: int) -> list[dict]:
    """Seconds of a forward and a backward pass, cells taken in turn, with and without oneDNN."""
    x, found = torch.randn(steps, batch, inputs), []
    layers = {kind: layer(inputs, hidden) for kind, layer in LAYERS.items()}
    for enabled in (True, False):
        taken = {kind: [] for kind in layers}
        with torch.backends.mkldnn.flags(enabled=enabled):
            for _ in range(repeats + 2):
                for kind, layer in layers.items():
                    begun = time.perf_counter()
                    layer(x)[0].sum().backward()
                    taken[kind].append(time.perf_counter() - begun)
        seconds = {kind: float(np.median(times[2:])) for kind, times in taken.items()}
        found.append({"hidden": hidden, "inputs": inputs, "onednn": enabled} | seconds)
    return found


def jobs(corpus: text.Corpus, seeds: int, gap_seeds: int):
    """Everything to do: (what, name, seed) and how."""
    for seed in range(FIRST_SEED, FIRST_SEED + seeds):
        for task in ("recall", "adding"):
            for start in ("torch", "chrono"):
                for kind in LAYERS:
                    labels = {"task": task, "net": kind, "start": start, "seed": seed}
                    yield labels, lambda t=task, k=kind, s=start, n=seed: remember(t, k, s, n)
        for net in NETS:
            yield {"task": "text", "net": net, "seed": seed}, lambda n=net, s=seed: read(n, corpus, s)
    for seed in range(FIRST_SEED, FIRST_SEED + gap_seeds):
        for net in ("left side", "both sides"):
            yield {"task": "gap", "net": net, "seed": seed}, lambda n=net, s=seed: fill(n, corpus, s)


def kept(work: Path, labels: dict, make) -> dict:
    """The result of a run, read if it is there and written if not."""
    file = work / ("-".join(str(part).replace(", ", "-").replace(" ", "-") for part in labels.values()) + ".json")
    if not file.exists():
        begun = time.perf_counter()
        result = labels | make() | {"seconds": time.perf_counter() - begun}
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps(result))
        draft.replace(file)
    result = json.loads(file.read_text())
    print(f"{file.stem}: {result['test']:.4f} ({result['seconds']:.0f} s)", flush=True)
    return result


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=SEEDS, help="random starts of each net")
    parser.add_argument("--work", type=Path, default=ROOT / "_build" / "gru_or_lstm", help="where results lie")
    parser.add_argument("--toy", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--out", help="where to write the record, if not among the committed ones")
    given = parser.parse_args()
    if given.toy and not given.out:
        parser.error("--toy needs --out: a toy must not replace the record")
    if given.toy:
        given.work, given.seeds = Path(tempfile.mkdtemp()), 1
        atexit.register(shutil.rmtree, given.work)
        for settings in (RECALL, ADDING, TEXT, GAP):
            settings |= {"steps": 2}
        TIMING.update(repeats=1, shapes=[[8, 8, 2, 5]])
    return given


def main() -> None:
    given, record = arguments(), circumstances(__file__)
    work = given.work / record["code"]  # what other code has made is no part of this record
    work.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    corpus = text.language_reference()
    timings = [row for shape in TIMING["shapes"] for row in timing(*shape, TIMING["repeats"])]
    runs = [kept(work, *job) for job in jobs(corpus, given.seeds, min(given.seeds, GAP_SEEDS))]
    settings = {"recall": RECALL, "adding": ADDING, "text": TEXT, "nets": NETS, "gap": GAP, "timing": TIMING}
    record |= {"settings": settings | {"seeds": given.seeds}, "source": corpus.source, "timing": timings, "runs": runs}
    print(f"wrote {write(record, __file__, given.out)}")


if __name__ == "__main__":
    main()
