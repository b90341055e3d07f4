"""The smallest character model reads Python's language reference: its recipe, followed to the letter.

One stream, chunks of 25 characters with the state carried, 100 tanh units, every entry of the gradient
cut off at 5, Adagrad. How does its smoothed loss fall, what does it write on the way, how often does
the cut act and how far does it turn the gradient? And is it the cut that matters: the same without
any clipping. Held-out text is read in one stream, as in training, and in eight that start from zeros.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from rnncourse.data import text  # noqa: E402
from rnncourse.params import named_arrays  # noqa: E402
from rnncourse.reference import characters, minimal_characters, optim, sampling  # noqa: E402
from tools.records import circumstances, write  # noqa: E402

RECIPE = {"hidden": 100, "chunk": 25, "rate": 0.1}
LIMIT, PROMPT, LENGTH = 5.0, "The ", 160
WAYS = {  # of drawing from the last model: temperature, and what to cut
    "temperature 0.3": (0.3, None),
    "temperature 0.7": (0.7, None),
    "temperature 1": (1.0, None),
    "temperature 1.5": (1.5, None),
    "the 5 likeliest": (1.0, lambda p: sampling.top_k(p, 5)),
    "nucleus of 0.9": (1.0, lambda p: sampling.nucleus(p, 0.9)),
}


def turned(gradients) -> float | None:
    """Cosine between a gradient and what the cut leaves of it; None where it leaves all."""
    g = np.concatenate([array.ravel() for _, array in named_arrays(gradients)])
    cut = optim.clip_by_value(g, LIMIT)
    return None if np.array_equal(cut, g) else float(g @ cut / (optim.norm(g) * optim.norm(cut)))


def write_text(params, corpus: text.Corpus, temperature: float = 1.0, cut=None) -> str:
    """What a model writes after the prompt, with the same chances every time."""
    rng = np.random.default_rng(0)
    return characters.sample(params, corpus.alphabet, rng, PROMPT, LENGTH, temperature, cut)


def run(corpus: text.Corpus, seed: int, limit: float, steps: int, stops: list[int], every: int) -> dict:
    """One training: the curve, samples on the way, and what the cut did."""
    result = {"seed": seed, "limit": limit, "step": [], "smoothed": [], "samples": []}
    cosines = []
    updates = minimal_characters.updates(corpus.train, len(corpus.alphabet), steps, seed, limit=limit, **RECIPE)
    for step, update in enumerate(updates, 1):
        cosines.append(turned(update.gradients))
        if step % every == 0:
            result["step"].append(step)
            result["smoothed"].append(update.smoothed)
        if step in stops:
            written = write_text(update.params, corpus)
            one, eight = (characters.bits_per_character(update.params, corpus.test, streams) for streams in (1, 8))
            result["samples"].append({"step": step, "text": written, "test": one, "test_in_eight": eight})
            print(f"seed {seed}, limit {limit}, update {step}: {update.smoothed:.1f} nats, {one:.3f}, {eight:.3f} bits")
    result["ways"] = {name: write_text(update.params, corpus, *way) for name, way in WAYS.items()}
    acted = [cosine for cosine in cosines if cosine is not None]
    result["cut"] = {
        "share": len(acted) / steps,
        "share_first_1000": sum(cosine is not None for cosine in cosines[:1000]) / min(steps, 1000),
        "median_cosine": float(np.median(acted)) if acted else None,
        "least_cosine": min(acted, default=None),
    }
    return result


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=50_000, help="updates of each run")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--toy", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--out", help="where to write the record, if not among the committed ones")
    given = parser.parse_args()
    if given.toy:
        given.steps, given.seeds = 20, [0]
        if not given.out:
            parser.error("--toy needs --out: a toy must not replace the record")
    return given


def main() -> None:
    given, record = arguments(), circumstances(__file__)
    corpus = text.language_reference()
    stops = [step for step in (100, 1000, 10_000) if step < given.steps] + [given.steps]
    every = max(1, given.steps // 100)
    runs = [run(corpus, seed, LIMIT, given.steps, stops, every) for seed in given.seeds]
    unclipped = [run(corpus, seed, 1e300, given.steps, stops, every) for seed in given.seeds]
    record |= {
        "settings": RECIPE | {"limit": LIMIT, "steps": given.steps, "seeds": given.seeds, "dtype": "float64"},
        "corpus": {"source": corpus.source, "licence": corpus.licence, "alphabet": len(corpus.alphabet)},
        "prompt": PROMPT,
        "runs": runs,
        "unclipped": unclipped,
    }
    print(f"wrote {write(record, __file__, given.out)}")


if __name__ == "__main__":
    main()
