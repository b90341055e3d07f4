"""How far do recurrent language models get on Python's language reference, beside counting?

Characters and words, a tanh network and an LSTM, several random starts each, and Kneser-Ney models of
the same text. For words also both together: p = w p_network + (1 - w) p_counts, w chosen on the
validation text. And the leak: how good counting looks when whole topics are held out, although topics
quote one another, and how good it is on those paragraphs of them that are new.

Settings were chosen on the validation text; the test text is looked at once, at the end of each run. A
run that was killed goes on from its checkpoint.
"""

import argparse
import atexit
import math
import re
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
    ("characters", "lstm", 3, {"kind": "lstm"}, (32, 64), {"steps": 1000, "rate": 8e-3}),
    ("characters", "lstm, longer", 3, {"kind": "lstm", "dropout": 0.2}, (32, 64), {"steps": 2400, "rate": 8e-3}),
    ("words", "rnn", 3, {"kind": "rnn", "features": 128, "hidden": 128, "dropout": 0.5}, (16, 32), {"steps": 1500}),
    (
        *("words", "lstm", 3, {"kind": "lstm", "features": 128, "hidden": 128, "dropout": 0.5}, (16, 32)),
        {"steps": 1500, "rate": 8e-3},
    ),
]
ORDERS = {"characters": (2, 3, 5, 8), "words": (1, 2, 3, 4)}
LEAK = {"orders": (3, 5, 8), "held_out": 0.1, "draws": 5, "line": 40}


def counting(corpus: text.Corpus, orders) -> list[dict]:
    """Bits per token of Kneser-Ney models that saw the training text."""
    models = [(order, KneserNey.fit(corpus.train, order, len(corpus.alphabet))) for order in orders]
    return [{"order": n, "valid": model.bits(corpus.valid), "test": model.bits(corpus.test)} for n, model in models]


def train(corpus: text.Corpus, device, work: Path, unit, name, sizes, batch, settings, seed):
    """One network; returns it and what goes into the record. Bits per token throughout."""
    model = language.LanguageModel(len(corpus.alphabet), seed=seed, **sizes)
    settings = training.Settings(every=max(1, settings["steps"] // 10), seed=seed, **settings)
    file = work / f"{unit}-{name.replace(', ', '-')}-{seed}.pt"
    whole = not file.exists()
    began = time.perf_counter()
    history = training.fit(
        *(model, language.stretches(corpus.train, *batch), language.loss, settings),
        valid=lambda model: language.bits(model, corpus.valid),
        checkpoint=file,
        device=device,
    )
    result = {"unit": unit, "name": name, "seed": seed}
    result |= {"seconds": time.perf_counter() - began if whole else None}  # of a run that went on: not known
    result |= {"step": [look.step for look in history], "valid": [look.valid for look in history]}
    result |= {
        "train": [look.train / math.log(2) for look in history],
        "test": language.bits(model, corpus.test, streams=1),
    }
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
    """Hold out a tenth of the topics, drawn by lot, as one might: how good counting looks, and how good it is."""
    from pydoc_data.topics import topics

    pages = {name: text.to_ascii(topics[name]).strip("\n") for name in sorted(topics)}
    held, size = set(), sum(map(len, pages.values()))
    for name in np.random.default_rng(draw).permutation(list(pages)):
        if sum(len(pages[other]) for other in held) < LEAK["held_out"] * size:
            held.add(str(name))
    train, whole = ("\n\n".join(pages[name] for name in pages if (name in held) == out) for out in (False, True))
    known = set(paragraphs(train))
    new = "\n\n".join(part for part in dict.fromkeys(paragraphs(whole)) if part not in known)
    lines, seen = [line for line in whole.splitlines() if len(line) >= LEAK["line"]], set(train.splitlines())
    facts = {"whole": len(whole), "new": len(new), "lines_seen": float(np.mean([line in seen for line in lines]))}
    train, whole, new = (text.encode(part, text.ALPHABET) for part in (train, whole, new))
    models = [(n, KneserNey.fit(train, n, len(text.ALPHABET))) for n in LEAK["orders"]]
    return facts | {"bits": [{"order": n, "whole": m.bits(whole), "new": m.bits(new)} for n, m in models]}


def paragraphs(string: str) -> list[str]:
    """The paragraphs of a text, between blank lines."""
    return re.split(r"\n\s*\n", string)


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
        | {"classes": len(one.alphabet), "source": one.source}
        for unit, one in corpora.items()
    }
    unknown = corpora["words"].alphabet.index(words.UNKNOWN)
    corpus["words"]["unknown"] = float(np.mean(corpora["words"].test == unknown))  # share of the test text
    record |= {"settings": [run[:2] + run[3:] for run in runs], "corpus": corpus, "runs": results, "together": mixed}
    record |= {"kneser_ney": {unit: counting(one, ORDERS[unit]) for unit, one in corpora.items()}}
    record |= {"leak": [leak(draw) for draw in range(1 if given.toy else LEAK["draws"])]}
    print(f"wrote {write(record, __file__, given.out)}")


if __name__ == "__main__":
    main()
