"""Over how many steps can a vanilla RNN learn to remember one symbol?

A tanh network as PyTorch starts it, trained on delayed recall at lags from 5 to 100 steps, five random
starts each. Beside the share of right answers the record has, before and after training, what this
chapter measures: the spectral radius of the recurrent weights, the largest Lyapunov exponent along the
states of fresh sequences, and how much of the gradient at the question arrives at the symbol; and into
how many groups the signs of the state, just before the question, sort the symbols.
Every run is evaluated once, at its end, on sequences of its own.
"""

import argparse
import sys
from pathlib import Path

import numpy as np
import torch
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from rnncourse import bridge  # noqa: E402
from rnncourse.data.recall import recall  # noqa: E402
from rnncourse.gpu import training  # noqa: E402
from rnncourse.params import map_arrays  # noqa: E402
from rnncourse.reference import cells, lyapunov, products, spectra, unroll  # noqa: E402
from tools.records import circumstances, write  # noqa: E402

SYMBOLS, NOISE = 8, 2
LAGS = (5, 10, 15, 20, 30, 40, 50, 60, 80, 100)
LONGER = (60,)  # lags that are trained once more, with four times the updates
RECIPE = {"rate": 2e-3, "batch": 32, "clip": 1.0, "tested": 1000}


class Model(nn.Module):
    """torch's own layer and start, and a readout of the last state."""

    def __init__(self, hidden: int, seed: int):
        super().__init__()
        torch.manual_seed(seed)
        self.rnn = nn.RNN(SYMBOLS + NOISE + 1, hidden)
        self.readout = nn.Linear(hidden, SYMBOLS)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        return self.readout(self.rnn(inputs)[0][-1])


def loss(model: Model, inputs: torch.Tensor, targets: torch.Tensor, carry: None):
    """Cross-entropy at the question, the only step that is judged."""
    return nn.functional.cross_entropy(model(inputs), targets[0]), carry


def batches(lag: int, seed: int):
    """From the number of an update to fresh sequences."""

    def batch(update: int) -> training.Batch:
        task = recall(np.random.default_rng([seed, update]), RECIPE["batch"], lag, SYMBOLS, NOISE)
        return training.Batch(torch.from_numpy(task.inputs), torch.from_numpy(task.targets)[None])

    return batch


def accuracy(model: Model, lag: int, seed: int) -> float:
    """The share of right answers on sequences that no update has seen."""
    task = recall(np.random.default_rng([7_000, seed]), RECIPE["tested"], lag, SYMBOLS, NOISE)
    with torch.no_grad():
        answers = model(torch.from_numpy(task.inputs)).argmax(dim=1).numpy()
    return float((answers == task.targets).mean())


def groups(model: Model, lag: int, seed: int) -> int:
    """How many groups of symbols never share a pattern of signs in the state before the question."""
    task = recall(np.random.default_rng([9_000, seed]), RECIPE["tested"], lag, SYMBOLS, NOISE)
    with torch.no_grad():
        signs = torch.sign(model.rnn(torch.from_numpy(task.inputs))[0][-2]).numpy()
    pattern = np.unique(signs, axis=0, return_inverse=True)[1].ravel()
    group = np.arange(SYMBOLS)
    for one in range(pattern.max() + 1):  # symbols that meet in a pattern become one group
        met = np.unique(group[task.targets[pattern == one]])
        group[np.isin(group, met)] = met[0]
    return len(np.unique(group))


def portrait(model: Model, lag: int, seed: int) -> dict:
    """What the Jacobians of a network do along fresh sequences, in float64."""
    params = map_arrays(lambda array: array.astype(float), bridge.rnn_from_torch(model.rnn))
    rng = np.random.default_rng([8_000, seed])
    task = recall(rng, 16, lag, SYMBOLS, NOISE)
    tape = unroll.forward(cells.rnn(), params, task.inputs.astype(float))[2]
    g = rng.standard_normal(tape.hidden[-1].shape)
    g /= np.linalg.norm(g, axis=1, keepdims=True)
    arriving = np.linalg.norm(products.pull(tape, g, 1), axis=1)  # at h_1, which holds the symbol
    return {
        "radius": spectra.radius(params.recurrent_weights),
        "exponent": float(lyapunov.along(tape, count=1).mean()),
        "log10_arriving": float(np.log10(np.maximum(arriving, 1e-300)).mean()),
    }


def run(lag: int, seed: int, hidden: int, steps: int, drafts: Path | None) -> dict:
    """One training, which goes on from its checkpoint if it was killed."""
    model = Model(hidden, seed)
    before = portrait(model, lag, seed)
    settings = training.Settings(steps, RECIPE["rate"], clip=RECIPE["clip"], every=max(1, steps // 10), seed=seed)
    checkpoint = drafts and drafts / f"{lag}-{seed}-{hidden}-{steps}.pt"
    history = training.fit(model, batches(lag, seed), loss, settings, checkpoint=checkpoint)
    return {
        "lag": lag,
        "seed": seed,
        "steps": steps,
        "accuracy": accuracy(model, lag, seed),
        "groups": groups(model, lag, seed),
        "train": [look.train for look in history],
        "before": before,
        "after": portrait(model, lag, seed),
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--steps", type=int, default=1500, help="updates of each run")
    parser.add_argument("--lags", type=int, nargs="*", default=LAGS)
    parser.add_argument("--longer", type=int, nargs="*", default=LONGER, help="lags trained four times as long, too")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2, 3, 4])
    parser.add_argument("--drafts", type=Path, default=ROOT / "_build" / "recall_lags", help="where checkpoints lie")
    parser.add_argument("--toy", action="store_true", help="a second, to see that it runs")
    parser.add_argument("--out", help="where to write the record, if not among the committed ones")
    given = parser.parse_args()
    if given.toy:
        given.hidden, given.steps, given.lags, given.longer, given.seeds = 8, 3, [5, 10], [5], [0]
        given.drafts = None
        if not given.out:
            parser.error("--toy needs --out: a toy must not replace the record")
    return given


def main() -> None:
    torch.set_num_threads(1)
    given, record = arguments(), circumstances(__file__)
    record |= {
        "settings": RECIPE | {"hidden": given.hidden, "steps": given.steps, "symbols": SYMBOLS, "noise": NOISE},
        "runs": [],
        "longer": [],
    }
    plans = [("runs", given.lags, given.steps), ("longer", given.longer, 4 * given.steps)]
    for table, lags, steps in plans:
        for lag in lags:
            for seed in given.seeds:
                found = run(lag, seed, given.hidden, steps, given.drafts)
                record[table].append(found)
                print(f"lag {lag}, seed {seed}, {steps} updates: {found['accuracy']:.3f} right", flush=True)
    print(f"wrote {write(record, __file__, given.out)}")


if __name__ == "__main__":
    main()
