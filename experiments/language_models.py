"""How far do recurrent language models get on Python's language reference, beside counting?

Characters and words, a tanh network and an LSTM, several random starts each, and Kneser-Ney models of
the same text. For words also both together: p = w p_network + (1 - w) p_counts, w chosen on the
validation text. And the leak: the same figures when whole topics are held out instead of new
paragraphs, although topics quote one another. Settings were chosen on the validation text; the test
text is looked at once, at the end of each run. A run that was killed goes on from its checkpoint.
"""

import argparse
import atexit
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
from rnncourse.data import text, words  # noqa: E402
from rnncourse.gpu import language, processes, training  # noqa: E402
from rnncourse.ngrams import KneserNey  # noqa: E402
from tools.records import circumstances, write  # noqa: E402

# unit, name, seeds, model, streams, length of a stretch, training
RUNS = [
    ("characters", "rnn", 3, {"kind": "rnn"}, (32, 64), {"steps": 1500}),
    ("characters", "lstm", 3, {"kind": "lstm"}, (32, 64), {"steps": 1000}),
    ("characters", "lstm, longer", 2, {"kind": "lstm", "dropout": 0.1}, (32, 64), {"steps": 2400}),
    ("words", "rnn", 3, {"kind": "rnn", "features": 128, "hidden": 128, "dropout": 0.5}, (16, 32), {"steps": 1500}),
    (
        *("words", "lstm", 3, {"kind": "lstm", "features": 128, "hidden": 128, "dropout": 0.5}, (16, 32)),
        {"steps": 1500, "rate": 6e-3},
    ),
]
ORDERS = {"characters": (2, 3, 5, 8), "words": (1, 2, 3, 4)}
LEAK = {"orders": (3, 5, 8), "held_out": 0.1, "draws": 5}


def counting(corpus: text.Corpus, orders) -> list[dict]:
    """Bits per token of Kneser-Ney models that saw the training text."""
    models = [(order, KneserNey.fit(corpus.train, order, len(corpus.alphabet))) for order in orders]
    return [{"order": n, "valid": model.bits(corpus.valid), "test": model.bits(corpus.test)} for n, model in models]


def train(corpus: text.Corpus, device, work: Path, unit, name, sizes, batch, settings, seed):
    """One network; returns it and what goes into the record. Bits per token throughout."""
    model = language.LanguageModel(len(corpus.alphabet), seed=seed, **sizes)
    settings = training.Settings(every=max(1, settings["steps"] // 10), seed=seed, **settings)
    file = work / f"{unit}-{name.replace(', ', '-')}-{seed}.pt"
    began = time.perf_counter()
    history = training.fit(
        *(model, language.stretches(corpus.train, *batch), language.loss, settings),
        valid=lambda model: language.bits(model, corpus.valid),
        checkpoint=file,
        device=device,
    )
    result = {"unit": unit, "name": name, "seed": seed, "seconds": time.perf_counter() - began}
    result |= {"step": [look.step for look in history], "valid": [look.valid for look in history]}
    result |= {"train": [look.train / math.log(2) for look in history], "test": language.bits(model, corpus.test)}
    print(f"{unit}, {name}, seed {seed}: {min(result['valid']):.3f} valid, {result['test']:.3f} test", flush=True)
    return model, result


def together(model, corpus: text.Corpus, order: int) -> dict:
    """Network and counts mixed: the weight that is best on the validation text, and the test figure."""
    counts = KneserNey.fit(corpus.train, order, len(corpus.alphabet))
    pairs = {
        part: (np.exp(-language.surprises(model, tokens)[:, 0]), counts.probabilities(tokens)[1:])
        for part, tokens in [("valid", corpus.valid), ("test", corpus.test)]
    }

    def bits(part: str, weight: float) -> float:
        ours, theirs = pairs[part]
        return float(-np.log2(weight * ours + (1 - weight) * theirs).mean())

    weight = min(np.linspace(0, 1, 41), key=lambda w: bits("valid", w))
    return {"order": order, "weight": float(weight), "test": bits("test", weight)}


def leak(draw: int) -> dict:
    """Hold out whole topics, as one might: how much of them has been seen, and how good counting looks."""
    from pydoc_data.topics import topics

    names = sorted(topics)
    size = sum(map(len, topics.values()))
    held, total = [], 0
    for name in np.random.default_rng(draw).permutation(names):
        if total < LEAK["held_out"] * size:
            held.append(name)
            total += len(topics[name])
    parts = [[text.to_ascii(topics[name]) for name in names if (name in held) == out] for out in (False, True)]
    seen = {line for topic in parts[0] for line in topic.splitlines()}
    long = [line for topic in parts[1] for line in topic.splitlines() if len(line) >= 40]
    train, test = (text.encode("\n\n".join(part), text.ALPHABET) for part in parts)
    scores = {n: KneserNey.fit(train, n, len(text.ALPHABET)).bits(test) for n in LEAK["orders"]}
    shares = {"characters": len(test), "lines_seen": float(np.mean([line in seen for line in long]))}
    return shares | {"test": [{"order": n, "bits": score} for n, score in scores.items()]}


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--work", type=Path, default=ROOT / "_build" / "language_models", help="where checkpoints lie")
    parser.add_argument("--toy", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--out", help="where to write the record, if not among the committed ones")
    given = parser.parse_args()
    if given.toy and not given.out:
        parser.error("--toy needs --out: a toy must not replace the record")
    if given.toy:
        given.work = Path(tempfile.mkdtemp())
        atexit.register(shutil.rmtree, given.work)
    return given


def toy(run):
    """The same at a size that takes a second."""
    unit, name, _, sizes, batch, settings = run
    return unit, name, 1, sizes | {"features": 4, "hidden": 4}, batch, settings | {"steps": 2}


def main() -> None:
    given, record = arguments(), circumstances(__file__)
    work = given.work / record["code"]  # what other code has trained is no part of this record
    corpora = {"characters": text.language_reference(), "words": words.language_reference()}
    runs, results, mixed = [toy(run) if given.toy else run for run in RUNS], [], []
    torch.set_num_threads(1)
    with processes.together(given.device) as device:
        for unit, name, seeds, sizes, batch, settings in runs:
            for seed in range(seeds):
                model, result = train(corpora[unit], device, work, unit, name, sizes, batch, settings, seed)
                results.append(result)
                if unit == "words":
                    mix = together(model, corpora[unit], max(ORDERS[unit]))
                    mixed.append({"name": name, "seed": seed} | mix)
    corpus = {
        unit: {"tokens": {part: len(getattr(one, part)) for part in ("train", "valid", "test")}}
        | {"classes": len(one.alphabet), "source": one.source, "unknown": float(np.mean(one.test == 0))}
        for unit, one in corpora.items()
    }
    record |= {"settings": [run[:2] + run[3:] for run in runs], "corpus": corpus, "runs": results, "together": mixed}
    record |= {"kneser_ney": {unit: counting(one, ORDERS[unit]) for unit, one in corpora.items()}}
    record |= {"leak": [leak(draw) for draw in range(1 if given.toy else LEAK["draws"])]}
    print(f"wrote {write(record, __file__, given.out)}")


if __name__ == "__main__":
    main()
