"""What gates that see the input alone cannot follow: parity, and the places of three cups that are exchanged.

Two symbols a step. In parity a one turns the answer over; with three cups one symbol exchanges the first two
and the other moves all three on by one place, and the answer is which of the six orders they are in. Every
step is judged. Five recurrences of equal width, one layer each, and the same readout with a hidden layer;
trained on sequences of one length, tested on longer ones. The settings were chosen with the starts 100 and 101,
which are not in the record; all networks have the same.
"""

import argparse
import itertools
import sys
import time
from pathlib import Path

import numpy as np
import torch
from torch import nn

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from rnncourse import minimal_params  # noqa: E402
from rnncourse.gpu import minimal_gates, training  # noqa: E402
from tools.records import circumstances, write  # noqa: E402

SETTINGS = {"hidden": 16, "readout": 32, "length": 16, "batch": 64, "rate": 1e-2, "tested": 256, "sequences": 256}
STEPS = {"parity": 400, "cups": 800}
NETS = {"minimal gru": "gru", "minimal lstm": "lstm", "signed": "signed", "tanh": nn.RNN, "gru": nn.GRU}
FIRST_SEED, SEEDS = 0, 5
ORDERS = list(itertools.permutations(range(3)))
MOVES = ((1, 0, 2), (1, 2, 0))


def tables() -> dict:
    """For each task: the state that follows state q when symbol v is read."""
    cups = [[ORDERS.index(tuple(order[i] for i in move)) for move in MOVES] for order in ORDERS]
    return {"parity": np.array([[0, 1], [1, 0]]), "cups": np.array(cups)}


def draw(table: np.ndarray, steps: int, size: int, rng) -> tuple[torch.Tensor, torch.Tensor]:
    """Symbols, one-hot, and the state after each."""
    symbols = rng.integers(0, 2, (steps, size))
    states, q = np.empty_like(symbols), np.zeros(size, int)
    for t, v in enumerate(symbols):
        states[t] = q = table[q, v]
    return torch.from_numpy(np.eye(2, dtype=np.float32)[symbols]), torch.from_numpy(states)


class Network(nn.Module):
    """One recurrent layer, and a readout with one hidden layer."""

    def __init__(self, kind, answers: int, seed: int):
        super().__init__()
        torch.manual_seed(seed)
        H, self.kind = SETTINGS["hidden"], kind
        if isinstance(kind, str):
            start = minimal_params.init_minimal(np.random.default_rng(seed), kind, 2, H)
            self.weights, self.bias = (nn.Parameter(torch.tensor(part).float()) for part in start)
        else:
            self.layer = kind(2, H)
        inner = SETTINGS["readout"]
        self.readout = nn.Sequential(nn.Linear(H, inner), nn.Tanh(), nn.Linear(inner, answers))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if not isinstance(self.kind, str):
            return self.readout(self.layer(x)[0])
        model = minimal_params.MinimalParams(self.weights, self.bias)
        return self.readout(minimal_gates.run(self.kind, model, x, x.new_zeros(SETTINGS["hidden"])))


def judged(model, inputs, targets, carry=None):
    return nn.functional.cross_entropy(model(inputs).flatten(0, 1), targets.flatten()), None


@torch.no_grad()
def right(model, table: np.ndarray, seed: int) -> list[float]:
    """The share of right answers at each step of long sequences."""
    x, y = draw(table, SETTINGS["tested"], SETTINGS["sequences"], np.random.default_rng([seed, 2]))
    return (model(x).argmax(dim=2) == y).double().mean(dim=1).tolist()


def train(task: str, net: str, seed: int, steps: int) -> dict:
    """Train one network; what it does at every step of longer sequences."""
    begun, table = time.perf_counter(), tables()[task]
    model = Network(NETS[net], len(table), seed)

    def batch(step: int) -> training.Batch:
        return training.Batch(
            *draw(table, SETTINGS["length"], SETTINGS["batch"], np.random.default_rng([seed, 0, step]))
        )

    settings = training.Settings(steps, SETTINGS["rate"], every=max(1, steps // 4), seed=seed)
    history = training.fit(model, batch, judged, settings)
    shares, T = right(model, table, seed), SETTINGS["length"]
    print(f"{task}, {net}, start {seed}: {np.mean(shares[:T]):.3f}, {np.mean(shares[-T:]):.3f}", flush=True)
    loss = history[-1].train
    return {
        "task": task,
        "net": net,
        "seed": seed,
        "loss": loss,
        "right": shares,
        "seconds": time.perf_counter() - begun,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--first", type=int, default=FIRST_SEED, help="the first random start")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="random starts of each network")
    parser.add_argument("--toy", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--out", help="where to write the record, if not among the committed ones")
    given = parser.parse_args()
    if (given.toy or given.first != FIRST_SEED) and not given.out:
        parser.error("this needs --out: it must not replace the record")
    if given.toy:
        given.seeds, STEPS["parity"], STEPS["cups"] = 1, 2, 2
    torch.set_num_threads(1)
    record, starts = circumstances(__file__), range(given.first, given.first + given.seeds)
    runs = [train(task, net, seed, STEPS[task]) for task in STEPS for seed in starts for net in NETS]
    record |= {"settings": SETTINGS | {"steps": STEPS, "starts": [*starts]}, "runs": runs}
    print(f"wrote {write(record, __file__, given.out)}")


if __name__ == "__main__":
    main()
