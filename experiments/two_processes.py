"""One process or two: does a training on half of the batch each take half of the time, and is it the same training?

An LSTM language model on random symbols, because its cost does not depend on what it reads. One process has the
whole batch; two, started by torchrun, have half of it each and average their gradients. Rounds take turns. The
record has for each round the seconds and the processor seconds of an update, how long the exchange of that many
gradients alone takes, and how far the parameters of both ways lie apart after some updates in float64. Seconds
depend on who else uses the machine, whose load is recorded; processor seconds much less.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from rnncourse.gpu import language, processes, training  # noqa: E402
from tools.records import circumstances, write  # noqa: E402

SYMBOLS = 50
SETTINGS = {"steps": 64, "features": 64, "updates": 6, "rounds": 5, "exchanges": 20}
SIZES = [{"hidden": 64, "batch": 32}, {"hidden": 256, "batch": 32}, {"hidden": 256, "batch": 4}]
TOY = {"steps": 4, "features": 4, "updates": 1, "rounds": 1, "exchanges": 2}
TOY_SIZES = [{"hidden": 4, "batch": 4}]
ALIKE = {"steps": 12, "features": 5, "hidden": 8, "batch": 6, "updates": 5}  # of the comparison in float64


def random_batches(steps: int, batch: int):
    """From the number of an update to symbols that nobody can predict."""

    def draw(update: int) -> training.Batch:
        tokens = np.random.default_rng([7, update]).integers(0, SYMBOLS, (steps + 1, batch))
        return training.Batch(torch.from_numpy(tokens[:-1]), torch.from_numpy(tokens[1:]))

    return draw


def fit(settings: dict, hidden: int, batch: int, double: bool = False) -> tuple[language.LanguageModel, dict]:
    """Train for some updates, after one that is not timed."""
    model = language.LanguageModel(SYMBOLS, "lstm", settings["features"], hidden)
    model = model.double() if double else model
    draw, updates = random_batches(settings["steps"], batch), settings["updates"]
    training.fit(model, draw, language.loss, training.Settings(1))
    begun, worked = time.perf_counter(), time.process_time()
    training.fit(model, draw, language.loss, training.Settings(updates, every=updates))
    seconds = {"seconds": time.perf_counter() - begun, "processor": time.process_time() - worked}
    return model, {name: value / updates for name, value in seconds.items()}


def exchange(model: torch.nn.Module, times: int) -> float | None:
    """Seconds for the sum of one gradient of this size over the processes, median; None where there is one."""
    if processes.count() == 1:
        return None
    gradient, taken = torch.zeros(sum(part.numel() for part in model.parameters())), []
    for _ in range(times):
        begun = time.perf_counter()
        torch.distributed.all_reduce(gradient)
        taken.append(time.perf_counter() - begun)
    return float(np.median(taken))


def worker(toy: bool, out: str) -> None:
    """One round: what this process, or these processes, found."""
    torch.set_num_threads(1)
    settings, sizes = (TOY, TOY_SIZES) if toy else (SETTINGS, SIZES)
    with processes.together() as device:
        found = []
        for size in sizes:
            model, seconds = fit(settings, **size)
            work = processes.mean(seconds["processor"], device) * processes.count()
            count = sum(part.numel() for part in model.parameters())
            found.append(
                seconds | {"processor": work, "parameters": count, "exchange": exchange(model, settings["exchanges"])}
            )
        model, _ = fit(ALIKE, ALIKE["hidden"], ALIKE["batch"], double=True)
        if processes.rank() == 0:
            parameters = torch.cat([part.detach().flatten() for part in model.parameters()])
            Path(out).write_text(json.dumps({"sizes": found, "parameters": parameters.tolist()}))


def launch(count: int, toy: bool) -> dict:
    """Start one process or several, and read what they found."""
    torchrun = [] if count == 1 else ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "found.json"
        command = [sys.executable, *torchrun, __file__, "--worker", str(out), *["--toy"] * toy]
        subprocess.run(command, check=True, env=os.environ | {"OMP_NUM_THREADS": "1"}, stderr=subprocess.DEVNULL)
        return json.loads(out.read_text())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--toy", action="store_true", help="a few seconds, to see that it runs")
    parser.add_argument("--out", help="where to write the record, if not among the committed ones")
    parser.add_argument("--worker", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.toy and not (given.out or given.worker):
        parser.error("--toy needs --out: a toy must not replace the record")
    return given


def main() -> None:
    given = arguments()
    if given.worker:
        worker(given.toy, given.worker)
        return
    record = circumstances(__file__)
    settings, sizes = (TOY, TOY_SIZES) if given.toy else (SETTINGS, SIZES)
    rounds, apart = [], 0.0
    for k in range(settings["rounds"]):
        load = os.getloadavg()[0]
        one, two = (launch(count, given.toy) for count in (1, 2))
        apart = max(apart, float(abs(np.subtract(one["parameters"], two["parameters"])).max()))
        rounds.append({"load": load, "one": one["sizes"], "two": two["sizes"]})
        print(f"round {k + 1} of {settings['rounds']}", flush=True)
    record |= {"settings": settings, "sizes": sizes, "alike": ALIKE, "cores": os.cpu_count()}
    record |= {"rounds": rounds, "parameters_apart": apart}
    print(f"wrote {write(record, __file__, given.out)}")


if __name__ == "__main__":
    main()
