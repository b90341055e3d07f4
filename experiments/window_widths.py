"""How wide a window does the next character need, and what does a recurrent network do without one?

Window models of width 1 to 8 and a recurrent network, all with the same number of hidden units, the
same updates and the same snippets of Python's language reference; once with little training text and
once with all of it. Beside them Kneser-Ney models, which see as many characters back. Settings were
chosen on the validation text; the test text is looked at once, at the end of each run.
"""

import argparse
import math
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from rnncourse.data import text  # noqa: E402
from rnncourse.ngrams import KneserNey  # noqa: E402
from rnncourse.params import count, init_model, map_arrays  # noqa: E402
from rnncourse.reference import bptt, cells, losses, optim, readout, unroll, windows  # noqa: E402
from tools.records import circumstances, write  # noqa: E402

RECIPE = {"rate": 8e-3, "snippets": 32, "ahead": 8, "counted": 24, "clip": 1.0}
WIDTHS = range(1, 9)
LITTLE = 20_000  # characters


def snippets(rng, tokens, steps: int, size: int):
    """Random places of a text: characters and those that follow them, each (steps, size)."""
    at = rng.integers(0, len(tokens) - steps, size) + np.arange(steps + 1)[:, None]
    return tokens[at[:-1]], tokens[at[1:]]


def seen(tokens, width: int, alphabet: int) -> np.ndarray:
    """One-hot characters, W of them side by side."""
    return windows.features(text.one_hot(tokens, alphabet, np.float32), width)


def counted(shape) -> np.ndarray:
    """The first answers of a snippet do not count: by then every model has seen what it can see."""
    return np.broadcast_to(np.arange(shape[0])[:, None] >= RECIPE["ahead"], shape)


def bits(cell, model, width: int, tokens) -> float:
    """Bits per character, on the same places for every model."""
    inputs, targets = snippets(np.random.default_rng(9), tokens, 72, 256)
    hidden, _, _ = unroll.forward(cell, model.cell, seen(inputs, width, len(model.readout.bias)))
    outputs = readout.forward(model.readout, hidden)[0]
    return float(losses.cross_entropy(outputs, targets, counted(targets.shape), "mean")[0]) / math.log(2)


def train(cell, width: int, tokens, alphabet: int, hidden: int, steps: int, seed: int):
    """Adam on random snippets, its rate falling to zero as half a cosine."""
    rng = np.random.default_rng(seed)
    model = init_model(rng, alphabet * width, hidden, alphabet, input_scale=0.3)
    model = map_arrays(lambda array: array.astype(np.float32), model)
    memory = optim.adam_start(model)
    for step in range(steps):
        inputs, targets = snippets(rng, tokens, RECIPE["ahead"] + RECIPE["counted"], RECIPE["snippets"])
        x, mask = seen(inputs, width, alphabet), counted(targets.shape)
        result = bptt.full(cell, model, x, targets, losses.cross_entropy, mask=mask, reduction="mean")
        rate = 0.5 * RECIPE["rate"] * (1 + math.cos(math.pi * step / steps))
        model, memory = optim.adam(model, optim.clip_by_norm(result.gradients, RECIPE["clip"]), memory, rate)
    return model


def runs(corpus: text.Corpus, tokens, widths, hidden: int, steps: int, seeds) -> list[dict]:
    """One result for each model and seed; width 0 stands for the recurrent network."""
    found = []
    for width in [*widths, 0]:
        for seed in seeds:
            cell = windows.cell() if width else cells.rnn()
            model = train(cell, width or 1, tokens, len(corpus.alphabet), hidden, steps, seed)
            pieces = {"train": tokens, "valid": corpus.valid, "test": corpus.test}
            unread = hidden**2 + hidden if width else 0  # W_h and h_0, which no window model reads
            result = {"width": width, "seed": seed, "weights": count(model) - unread}
            result |= {name: bits(cell, model, width or 1, piece) for name, piece in pieces.items()}
            found.append(result)
            print(f"{len(tokens)} characters, width {width}, seed {seed}: {result['valid']:.3f} valid", flush=True)
    return found


def counts(corpus: text.Corpus, tokens) -> list[dict]:
    """Kneser-Ney models that see 1 to 8 characters back."""
    models = [(width, KneserNey.fit(tokens, width + 1, len(corpus.alphabet))) for width in WIDTHS]
    return [
        {"width": width, "valid": model.bits(corpus.valid), "test": model.bits(corpus.test)} for width, model in models
    ]


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--steps", type=int, default=1000, help="updates of each run")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--toy", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--out", help="where to write the record, if not among the committed ones")
    given = parser.parse_args()
    if given.toy:
        given.hidden, given.steps, given.seeds = 8, 3, [0]
        if not given.out:
            parser.error("--toy needs --out: a toy must not replace the record")
    return given


def main() -> None:
    given, record = arguments(), circumstances(__file__)
    corpus = text.language_reference()
    record |= {
        "settings": RECIPE | {"hidden": given.hidden, "steps": given.steps, "seeds": given.seeds, "dtype": "float32"},
        "corpus": {"source": corpus.source, "licence": corpus.licence},
        "texts": [],
    }
    for tokens in (corpus.train[:LITTLE], corpus.train):
        found = runs(corpus, tokens, WIDTHS, given.hidden, given.steps, given.seeds)
        record["texts"].append({"characters": len(tokens), "kneser_ney": counts(corpus, tokens), "runs": found})
    print(f"wrote {write(record, __file__, given.out)}")


if __name__ == "__main__":
    main()
