"""Which recurrent networks can be taught to remember, and over how many steps?

Three tasks (recall one of eight symbols, add two marked numbers, copy a word of five symbols), three
or four lags each, and six networks of 64 units: a tanh network as torch starts it and with an orthogonal
recurrent matrix, and LSTMs that differ in their biases alone: forget bias 0, 1, 3, and the chrono start.
All have the same training: Adam, clipped gradients, at most so many updates; a run ends when its task
is solved. Rates were chosen for each task on a start that is not in the record (seed 100).
Every run that is finished is kept in a file of its own, so that a killed grid goes on where it stood.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from rnncourse import gate_params, params  # noqa: E402
from rnncourse.data import long_tasks, recall  # noqa: E402
from rnncourse.gpu import training  # noqa: E402
from tools.records import circumstances, write  # noqa: E402

RECIPE = {"batch": 32, "clip": 1.0, "every": 20, "tested": 256}
NETWORKS = ("tanh", "orthogonal tanh", "forget bias 0", "forget bias 1", "forget bias 3", "chrono")


def draw_recall(rng, size: int, lag: int):
    """One symbol, then noise, then the question."""
    task = recall.recall(rng, size, lag)
    return task.inputs, task.targets[None]


class Plan(NamedTuple):
    """A task and how it is trained; ``enough`` is the error at which it counts as solved."""

    draw: Callable
    features: int
    outputs: int
    enough: float
    rate: float
    steps: int
    lags: tuple


TASKS = {
    "recall": Plan(draw_recall, 11, 8, 0.02, 2e-3, 600, (20, 50, 100, 200)),  # the share of wrong answers
    "adding": Plan(long_tasks.adding, 2, 1, 0.01, 5e-3, 800, (20, 50, 100)),  # the mean squared error
    "copy": Plan(long_tasks.copy, 10, 8, 0.02, 5e-3, 400, (20, 50, 100)),  # the share of wrong symbols
}


class Solved(Exception):
    """Raised where a task is solved, to end the training there."""


class Model(nn.Module):
    """torch's own layer, another start, and a readout of the steps that are judged."""

    def __init__(self, network: str, features: int, hidden: int, outputs: int, lag: int, seed: int):
        super().__init__()
        torch.manual_seed(seed)
        kind = nn.RNN if "tanh" in network else nn.LSTM
        self.layer, self.readout = kind(features, hidden), nn.Linear(hidden, outputs)
        start(self.layer, network, lag, np.random.default_rng(seed))

    def forward(self, inputs: torch.Tensor, judged: int) -> torch.Tensor:
        return self.readout(self.layer(inputs)[0][-judged:])


def start(layer: nn.RNNBase, network: str, lag: int, rng: np.random.Generator) -> None:
    """Change torch's start into the one that is named: one matrix of the tanh network, biases of the LSTM."""
    hidden = layer.hidden_size
    with torch.no_grad():
        if network == "orthogonal tanh":
            layer.weight_hh_l0.copy_(torch.from_numpy(params.orthogonal(rng, hidden)))
        if isinstance(layer, nn.LSTM):
            bias = np.zeros((4, hidden))
            if network == "chrono":
                bias[1] = gate_params.chrono_bias(rng, hidden, lag)
                bias[0] = -bias[1]
            else:
                bias[1] = float(network.split()[-1])
            layer.bias_ih_l0.copy_(torch.from_numpy(bias.ravel()))
            layer.bias_hh_l0.zero_()


def loss(model: Model, inputs: torch.Tensor, targets: torch.Tensor, carry: None):
    """Cross-entropy of classes, squared error of numbers, over the steps that are judged."""
    outputs = model(inputs, len(targets))
    if targets.is_floating_point():
        return nn.functional.mse_loss(outputs, targets), carry
    return nn.functional.cross_entropy(outputs.flatten(0, 1), targets.flatten()), carry


def error(model: Model, inputs: torch.Tensor, targets: torch.Tensor) -> float:
    """Mean squared error of numbers, the share of wrong classes."""
    with torch.no_grad():
        outputs = model(inputs, len(targets))
    if targets.is_floating_point():
        return nn.functional.mse_loss(outputs, targets).item()
    return (outputs.argmax(dim=2) != targets).float().mean().item()


def run(task: str, network: str, lag: int, seed: int, hidden: int, steps: int) -> dict:
    """One training: the error on fresh sequences at every look, and the update at which it was solved."""
    plan = TASKS[task]
    model = Model(network, plan.features, hidden, plan.outputs, lag, seed)
    settings = training.Settings(steps, plan.rate, True, RECIPE["clip"], every=min(RECIPE["every"], steps))
    looks, begun = [], time.perf_counter()

    def batch(update: int, size: int = RECIPE["batch"]) -> training.Batch:
        drawn = plan.draw(np.random.default_rng([seed, update, size]), size, lag)
        return training.Batch(*map(torch.from_numpy, drawn))

    def look(model: Model) -> float:
        inputs, targets, _ = batch(len(looks), RECIPE["tested"])
        looks.append(error(model, inputs, targets))
        if max(looks[-2:]) < plan.enough and len(looks) > 1:
            raise Solved
        return looks[-1]

    try:
        training.fit(model, batch, loss, settings, look)
        solved = None
    except Solved:
        solved = settings.every * len(looks)
    found = {"task": task, "network": network, "lag": lag, "seed": seed, "solved": solved, "errors": looks}
    return found | {"seconds": time.perf_counter() - begun}


def kept(folder: Path | None, hidden: int, steps: int, code: str, *which) -> dict:
    """A run from its file, or a new one, which is then put there."""
    name = "-".join(map(str, [*which, hidden, steps, code.split(":")[-1][:12]])).replace(" ", "_")
    file = folder and folder / f"{name}.json"
    if file and file.is_file():
        return json.loads(file.read_text())
    found = run(*which, hidden, steps)
    if file:
        folder.mkdir(parents=True, exist_ok=True)
        draft = file.with_suffix(".draft")
        draft.write_text(json.dumps(found))
        draft.replace(file)
    said = f"solved at {found['solved']}" if found["solved"] else f"error {found['errors'][-1]:.3f}"
    print(f"{which}: {said}, {found['seconds']:.1f} s", flush=True)
    return found


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--hidden", type=int, default=64)
    parser.add_argument("--steps", type=int, help="updates of each run, at most; each task's own unless given")
    parser.add_argument("--tasks", nargs="*", default=list(TASKS), choices=TASKS)
    parser.add_argument("--networks", nargs="*", default=list(NETWORKS), choices=NETWORKS)
    parser.add_argument("--lags", type=int, nargs="*", help="each task's own unless given")
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2, 3, 4])
    parser.add_argument("--drafts", type=Path, default=ROOT / "_build" / "memory", help="where finished runs lie")
    parser.add_argument("--toy", action="store_true", help="a second, to see that it runs")
    parser.add_argument("--out", help="where to write the record, if not among the committed ones")
    given = parser.parse_args()
    if given.toy:
        given.hidden, given.steps, given.lags, given.seeds, given.drafts = 8, 2, [5], [0], None
        if not given.out:
            parser.error("--toy needs --out: a toy must not replace the record")
    return given


def main() -> None:
    torch.set_num_threads(1)
    given, record = arguments(), circumstances(__file__)
    plans = {name: plan._replace(lags=given.lags or plan.lags) for name, plan in TASKS.items() if name in given.tasks}
    plans = {name: plan._replace(steps=given.steps or plan.steps) for name, plan in plans.items()}
    record["settings"] = RECIPE | {name: getattr(given, name) for name in ("hidden", "networks", "seeds")}
    record["tasks"] = {name: {k: v for k, v in plan._asdict().items() if k != "draw"} for name, plan in plans.items()}
    record["runs"] = [
        kept(given.drafts, given.hidden, plan.steps, record["code"], task, network, lag, seed)
        for seed in given.seeds
        for task, plan in plans.items()
        for lag in plan.lags
        for network in given.networks
    ]
    print(f"wrote {write(record, __file__, given.out)}")


if __name__ == "__main__":
    main()
