"""Which remedy carries two numbers over 150 steps?

The adding problem, three kinds of vanilla network with the same number of units and the same training:
a rectifier started at the identity (IRNN), a tanh network started orthogonal, and a tanh network started
with independent Gaussian weights; and the IRNN once more with larger steps. Five random starts each, a new
batch for every update. Where loss or gradient overflow, a run is lost, and the record says so.

Settings were chosen on other starts (seeds 100 to 102) and other sequences than those of the test, which are
looked at once, at the end of each run. A run that was killed goes on from its checkpoint.
"""

import argparse
import atexit
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
from rnncourse import bridge, params, starts  # noqa: E402
from rnncourse.data import long_tasks  # noqa: E402
from rnncourse.gpu import training  # noqa: E402
from tools.records import circumstances, write  # noqa: E402

TASK = {"steps": 150, "batch": 32, "valid": 500, "test": 2000}
TRAINING = {"steps": 3500, "clip": 1.0}
HIDDEN, SEEDS = 100, 5


def irnn(rng, hidden):
    """The identity, and small input weights."""
    return starts.identity(rng, 2, hidden, input_scale=0.05)


KINDS = {  # activation, start, rate
    "IRNN": ("relu", irnn, 3e-4),
    "tanh, orthogonal": ("tanh", lambda rng, hidden: params.init_rnn(rng, 2, hidden), 3e-4),
    "tanh, Gaussian": ("tanh", lambda rng, hidden: starts.gaussian(rng, 2, hidden), 3e-4),
    "IRNN, larger steps": ("relu", irnn, 2e-3),
}


class Adder(nn.Module):
    """A vanilla network whose last state is read off."""

    def __init__(self, kind: str, hidden: int, seed: int):
        super().__init__()
        rng = np.random.default_rng([seed, 1])
        activation, start, _ = KINDS[kind]
        self.recurrence = bridge.rnn_to_torch(params.map_arrays(np.float32, start(rng, hidden)), activation)
        self.readout = nn.Linear(hidden, 1)
        weights, bias = params.init_readout(rng, hidden, 1)
        with torch.no_grad():
            self.readout.weight.copy_(torch.from_numpy(weights))
            self.readout.bias.copy_(torch.from_numpy(bias))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """The answer after the last step, shape (B, 1)."""
        return self.readout(self.recurrence(inputs)[1][0])


def draw(seed, size: int, steps: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Sequences and their sums, (T, B, 2) and (1, B, 1)."""
    return tuple(map(torch.from_numpy, long_tasks.adding(np.random.default_rng(seed), size, steps)))


def loss(model, inputs, targets, carry=None):
    """Mean squared error (not half of it)."""
    return nn.functional.mse_loss(model(inputs), targets[0]), None


def train(kind: str, seed: int, hidden: int, task: dict, settings: dict, work: Path) -> dict:
    """One network, and what goes into the record."""
    model = Adder(kind, hidden, seed)
    valid = draw([9, 1], task["valid"], task["steps"])
    began, file = time.perf_counter(), work / f"{kind.replace(', ', '-')}-{seed}.pt"
    whole = not file.exists()
    result = {"kind": kind, "seed": seed, "rate": KINDS[kind][2], "lost": None}
    try:
        history = training.fit(
            model,
            lambda step: training.Batch(*draw([seed, 2, step], task["batch"], task["steps"])),
            loss,
            training.Settings(every=max(1, settings["steps"] // 35), seed=seed, rate=result["rate"], **settings),
            valid=lambda model: float(loss(model, *valid)[0].clamp(max=1e30)),  # larger is no better known
            checkpoint=file,
        )
    except FloatingPointError as error:
        print(f"{kind}, seed {seed}: lost at {error}", flush=True)
        return result | {"lost": str(error)}
    seconds = time.perf_counter() - began
    with torch.no_grad():
        test = float(loss(model, *draw([9, 2], task["test"], task["steps"]))[0])
    print(f"{kind}, seed {seed}: {test:.6f} in {seconds:.0f} s", flush=True)
    return result | {
        "test": test,
        "seconds": seconds if whole else None,  # of a run that went on: not known
        "step": [look.step for look in history],
        "train": [look.train for look in history],
        "valid": [look.valid for look in history],
    }


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--work", type=Path, default=ROOT / "_build" / "adding", help="where checkpoints lie")
    parser.add_argument("--toy", action="store_true", help="a second, to see that it runs")
    parser.add_argument("--out", help="where to write the record, if not among the committed ones")
    given = parser.parse_args()
    if given.toy and not given.out:
        parser.error("--toy needs --out: a toy must not replace the record")
    if given.toy:
        given.work = Path(tempfile.mkdtemp())
        atexit.register(shutil.rmtree, given.work)
    return given


def main() -> None:
    given, record = arguments(), circumstances(__file__)
    work = given.work / record["code"]  # what other code has trained is no part of this record
    task, settings, hidden = TASK, TRAINING, HIDDEN
    if given.toy:
        task, settings, hidden = {"steps": 6, "batch": 4, "valid": 5, "test": 5}, TRAINING | {"steps": 2}, 4
    torch.set_num_threads(1)
    runs = [
        train(kind, seed, hidden, task, settings, work) for seed in range(1 if given.toy else SEEDS) for kind in KINDS
    ]
    answers = draw([9, 2], task["test"], task["steps"])[1]
    record |= {"settings": {"task": task, "training": settings, "hidden": hidden}, "runs": runs}
    record |= {"always one": float(((answers - 1) ** 2).mean())}
    print(f"wrote {write(record, __file__, given.out)}")


if __name__ == "__main__":
    main()
