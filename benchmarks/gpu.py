"""`python -m benchmarks.gpu` (or `make gpu PYTHON=...`): the torch floor on a CUDA device, tested and raced.

It uses the interpreter it is given and installs nothing, because a machine with a GPU may have no network.
Without a CUDA device, the same checks and races run on the CPU at toy size, and no record is written.
"""

import argparse
import datetime
import importlib.util
import json
import platform
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from operator import attrgetter
from pathlib import Path

import numpy as np
import torch

from benchmarks import race, rnn
from rnncourse import bridge, gpu, reference
from rnncourse.params import RNNParams, init_model, map_arrays, named_arrays

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
TESTS = ("tests/test_gpu.py", "tests/test_bridge.py")
CHECKS = {"bptt.full": (), "bptt.sliding": (3,), "bptt.chunked": (4,), "checkpoint.full": (), "rtrl.full": ()}
TOLERANCES = {"float64": 1e-11, "float32": 1e-4}
SIZES = {"steps": 200, "batch": 64, "widths": (128, 512, 1024)}
TOY = {"steps": 5, "batch": 3, "widths": (8,)}


class Fetched:
    """A tensor that goes to NumPy only when asked, so that copying it home is no part of a race."""

    def __init__(self, tensor: torch.Tensor):
        self.tensor = tensor

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self.tensor.detach().cpu().numpy().astype(dtype)


def main(argv: list[str] | None = None) -> int:
    """Test, check and race; 0 if everything agreed."""
    asked = _parse(argv)
    cuda = torch.cuda.is_available() and not asked.cpu
    device = torch.device("cuda" if cuda else "cpu")
    if not cuda:
        print("No CUDA device is used: the checks and races run on the CPU, at toy size, and nothing is recorded.")
    tests = run_tests() if cuda else None
    checked = [*check(device)]
    for row in checked:
        print("{function:<16} {dtype}  error {error:.1e}  (at most {tolerance:.0e})".format(**row))
    rows = [
        race.run(case, asked.seconds if cuda else 0.0, clock=_clock(device))
        for case in cases(device, **(SIZES if cuda else TOY))
    ]
    print(f"time over ours: more than 1 means ours is faster\n{race.table(rows)}")
    if cuda:
        asked.results.mkdir(parents=True, exist_ok=True)
        path = asked.results / f"{slug(torch.cuda.get_device_name())}.json"
        record = {"race": "gpu", **conditions(), "tests": tests, "checks": checked, "rows": rows}
        path.write_text(json.dumps(record, indent=1) + "\n")
        print(f"Written to {path}")
    agreed = all(row["error"] <= row["tolerance"] for row in checked)
    return 0 if agreed and (tests is None or tests["status"] == 0) else 1


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.split("\n\n")[0])
    parser.add_argument("--cpu", action="store_true", help="the toy run on the CPU, even where there is a GPU")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each line-up races (default: 3)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the record goes")
    return parser.parse_args(argv)


def run_tests() -> dict | None:
    """The CUDA tests with this interpreter's pytest; None if it has none (:func:`check` runs either way)."""
    if importlib.util.find_spec("pytest") is None:
        print("This interpreter has no pytest: the checks below stand alone.")
        return None
    # The project's own settings ask for plugins that a GPU machine may lack.
    settings = ["--noconftest", "-o", "addopts=", "-p", "no:cacheprovider", "-q", "-m", "cuda"]
    command = [sys.executable, "-m", "pytest", *settings, *TESTS]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    print(done.stdout[-4000:] + done.stderr[-2000:])
    return {"status": done.returncode, "summary": done.stdout.strip().rpartition("\n")[2]}


def check(device: torch.device) -> Iterator[dict]:
    """Every whole-model gradient of the torch floor against the hand-derived one in float64."""
    rng = np.random.default_rng(0)
    x, y = rng.standard_normal((13, 4, 3)), rng.standard_normal((13, 4, 2))
    model = init_model(rng, 3, 8, 2)
    for dtype, tolerance in TOLERANCES.items():
        given = tuple(map_arrays(lambda array, to=dtype: array.astype(to), tree) for tree in (model, x, y))
        wide = tuple(map_arrays(lambda array: array.astype(np.float64), tree) for tree in given)
        there = bridge.to_torch(given, device)
        for name, args in CHECKS.items():
            right = attrgetter(name)(reference)(reference.cells.rnn(), *wide, *args)
            result = bridge.to_numpy(attrgetter(name)(gpu)(gpu.cells.rnn(), *there, *args))
            error = race.error(_arrays(result), _arrays(right))
            yield {"function": name, "dtype": dtype, "error": error, "tolerance": tolerance}


def _arrays(result) -> list[np.ndarray]:
    return [np.asarray(result.loss), *result.final_state, *(array for _, array in named_arrays(result.gradients))]


def cases(device: torch.device, steps: int, batch: int, widths: tuple) -> Iterator[race.Case]:
    """The vanilla RNN, forwards and backwards: our loop over steps against one call of ``torch.nn.RNN``."""
    cuda = device.type == "cuda"
    for dtype in TOLERANCES:
        for H in widths:
            params, x, g = rnn.problem(steps, batch, H, dtype)
            there = bridge.to_torch((params, x, g), device)
            facts = {"T": steps, "B": batch, "H": H, "dtype": dtype}
            contenders = {"rnncourse.gpu": ours(*there), "cuDNN" if cuda else "torch.nn.RNN": layer(*there)}
            if cuda and dtype == "float32":
                contenders["cuDNN in TF32"] = layer(*there, tf32=True)  # torch's default for cuDNN
            yield race.Case(facts, contenders, rnn.truth(params, x, g))


def ours(params: RNNParams, x: torch.Tensor, g: torch.Tensor) -> Callable:
    def work():
        outputs, _, tape = gpu.unroll.forward(gpu.cells.rnn(), params, x)
        back = gpu.unroll.backward(tape, g)
        return [*map(Fetched, (outputs, *back.params, back.inputs))]

    return work


def layer(params: RNNParams, x: torch.Tensor, g: torch.Tensor, tf32: bool = False) -> Callable:
    module, inputs = bridge.rnn_to_torch(params), x.clone().requires_grad_()

    def work():
        torch.backends.cudnn.allow_tf32 = tf32
        outputs, _ = module(inputs)
        d_W_x, d_W_h, d_b, _, d_x = torch.autograd.grad(outputs, [*module.parameters(), inputs], g)
        return [*map(Fetched, (outputs, d_W_x, d_W_h, d_b, d_x))]

    return work


def _clock(device: torch.device) -> Callable[[], float]:
    """A clock that first lets the device finish: a GPU returns from a call long before the work is done."""

    def clock() -> float:
        if device.type == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    return clock


def conditions() -> dict:
    """On what, and with what, this ran."""
    return {
        "command": "python -m benchmarks.gpu",
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "device": torch.cuda.get_device_name(),
        "capability": ".".join(map(str, torch.cuda.get_device_capability())),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "tf32_in_our_products": torch.backends.cuda.matmul.allow_tf32,
        "cpu": race.cpu_model(),
        "torch": torch.__version__,
        "numpy": np.__version__,
        "python": platform.python_version(),
    }


def slug(name: str) -> str:
    """A device's name as a file's: letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


if __name__ == "__main__":
    sys.exit(main())
