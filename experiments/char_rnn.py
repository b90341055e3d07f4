"""A tanh network reads Python's language reference, trained by the book's own gradients.

Three questions. How far does it get, by hand-derived gradients and by autograd, beside Kneser-Ney
models of the same text? What does it write? And what does cutting the gradient after k characters
cost, when everything else stays as it was: the characters read, the updates made, the state carried?
Settings were chosen on the validation text; the test text is looked at once, at the end of each run.
"""

import argparse
import sys
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from rnncourse.data import text  # noqa: E402
from rnncourse.ngrams import KneserNey  # noqa: E402
from rnncourse.params import map_arrays  # noqa: E402
from rnncourse.reference import bptt, characters  # noqa: E402
from tools.records import circumstances, write  # noqa: E402

RECIPE = {"rate": 8e-3, "streams": 32, "stretch": 64, "clip": 1.0, "shrink": 0.1}
ORDERS = (2, 3, 5, 8)
CHUNKS = (1, 4, 16, 64)
PROMPT, LENGTH, TEMPERATURE = "The ", 400, 0.7


def autograd_gradient(params, inputs, targets, state, chunk):
    """The same loss and gradient from PyTorch: :func:`characters.hand_gradient`'s twin."""
    import torch

    from rnncourse.gpu import bptt as gpu_bptt
    from rnncourse.gpu import cells, losses

    if chunk < len(inputs):
        raise ValueError(f"chunk: the twin cuts only between stretches of {len(inputs)}, got {chunk}")
    x = text.one_hot(inputs, len(params.readout.bias), params.initial_state.dtype)
    state = state or (np.zeros((inputs.shape[1], len(params.initial_state)), x.dtype),)
    model, (x, targets, *state) = map_arrays(torch.tensor, params), map(torch.tensor, (x, targets, *state))
    result = gpu_bptt.full(
        cells.rnn("tanh"), model, x, targets, losses.cross_entropy, state=tuple(state), reduction="mean"
    )
    gradients = map_arrays(lambda g: g.detach().numpy(), result.gradients)
    return bptt.Result(float(result.loss), gradients, tuple(part.detach().numpy() for part in result.final_state))


GRADIENTS = {"reference": characters.hand_gradient, "gpu": autograd_gradient}


def baselines(corpus: text.Corpus) -> list[dict]:
    """Bits per character of Kneser-Ney models that saw the training text."""
    models = [(order, KneserNey.fit(corpus.train, order, len(corpus.alphabet))) for order in ORDERS]
    return [{"order": n, "valid": model.bits(corpus.valid), "test": model.bits(corpus.test)} for n, model in models]


def run(corpus: text.Corpus, floor: str, seed: int, hidden: int, steps: int, chunk: int, looks: int = 20):
    """Train one model; return it and its history, with the test figure of its last state."""
    settings = RECIPE | {"chunk": chunk, "gradient": GRADIENTS[floor]}
    params, history = characters.train(corpus, hidden, steps, seed, looks, **settings)
    last = history[-1]
    result = {"floor": floor, "seed": seed, "hidden": hidden, "chunk": chunk}
    result |= {name: [getattr(look, name) for look in history] for name in characters.Look._fields}
    result |= {"steps_per_second": last.step / last.seconds}
    result |= {"test": characters.bits_per_character(params, corpus.test)}
    print(f"{floor} seed {seed}, H = {hidden}, cut after {chunk}: {last.valid:.3f} valid, {result['test']:.3f} test")
    return params, result


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, default=256, help="hidden units of the long runs")
    parser.add_argument("--steps", type=int, default=3500, help="updates of the long runs")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--floor", choices=["reference", "gpu", "both"], default="both")
    parser.add_argument("--reach-hidden", type=int, default=128, help="hidden units of the runs with cut gradients")
    parser.add_argument("--reach-steps", type=int, default=1500, help="updates of the runs with cut gradients")
    parser.add_argument("--toy", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--out", help="where to write the record, if not among the committed ones")
    given = parser.parse_args()
    if given.toy:
        given.hidden, given.steps, given.reach_hidden, given.reach_steps, given.seeds = 8, 4, 8, 4, [0]
        if not given.out:
            parser.error("--toy needs --out: a toy must not replace the record")
    return given


def main() -> None:
    given, record = arguments(), circumstances(__file__)
    corpus = text.language_reference()
    whole = RECIPE["stretch"]
    floors = [("reference", given.seeds), ("gpu", given.seeds[:1])]  # the twin once: it is the same model
    runs, models = [], []
    for floor, seeds in floors:
        for seed in seeds if given.floor in (floor, "both") else []:
            params, result = run(corpus, floor, seed, given.hidden, given.steps, whole, min(20, given.steps))
            runs.append(result)
            models.append(params)
    reach = [
        run(corpus, "reference", seed, given.reach_hidden, given.reach_steps, chunk, looks=1)[1]
        for chunk in CHUNKS
        for seed in given.seeds[:2]
    ]
    rng = np.random.default_rng(0)
    written = characters.sample(models[0], corpus.alphabet, rng, PROMPT, LENGTH, TEMPERATURE)
    record |= {
        "settings": RECIPE | {"hidden": given.hidden, "steps": given.steps, "seeds": given.seeds, "dtype": "float32"},
        "corpus": {
            "source": corpus.source,
            "licence": corpus.licence,
            "alphabet": len(corpus.alphabet),
            "characters": {name: len(getattr(corpus, name)) for name in ("train", "valid", "test")},
        },
        "kneser_ney": baselines(corpus),
        "runs": runs,
        "reach": reach,
        "sample": {"prompt": PROMPT, "temperature": TEMPERATURE, "text": written},
    }
    print(f"wrote {write(record, __file__, given.out)}")


if __name__ == "__main__":
    main()
