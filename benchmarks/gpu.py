"""`python -m benchmarks.gpu` (or `make gpu PYTHON=...`): the torch floor on a CUDA device, tested and raced.

It uses the interpreter it is given and installs nothing, because a machine with a GPU may have no network.
Without a CUDA device, the same checks and races run on the CPU at toy size, and no record is written. The races
are in ``benchmarks.gpu_races``; name some to run those alone.
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
import traceback
from collections.abc import Callable, Iterator
from importlib.metadata import PackageNotFoundError, version
from operator import attrgetter
from pathlib import Path

import numpy as np
import torch

from benchmarks import race
from benchmarks.gpu_races import RACES, wrong
from rnncourse import bridge, gpu, reference
from rnncourse.params import init_model, map_arrays, named_arrays

ROOT = Path(__file__).resolve().parent.parent
RESULTS = Path(__file__).resolve().parent / "results"
MARKED = "bridge cuda_graphs gauss_newton gpu gru layer_norm lstm orthogonal stack training"
# What runs of them: tests that are marked, and all of those that take whatever device there is.
TESTS = {
    "cuda": tuple(f"tests/test_{name}.py" for name in MARKED.split()),
    "": ("tests/test_kernels.py",),
}
STACK = ("torch", "cuda", "cudnn", "peers")  # what a row that is kept was run with
PEERS = ("triton", "accelerated-scan", "dynamax", "jax")
CHECKS = {"bptt.full": (), "bptt.sliding": (3,), "bptt.chunked": (4,), "checkpoint.full": (), "rtrl.full": ()}
TOLERANCES = {"float64": 1e-11, "float32": 1e-4}


def main(argv: list[str] | None = None) -> int:
    """Test, check and race; 0 if everything agreed."""
    asked = _parse(argv)
    cuda = torch.cuda.is_available() and not asked.cpu
    device, toy = torch.device("cuda" if cuda else "cpu"), asked.toy or not cuda
    if not cuda:
        print("No CUDA device is used: the checks and races run on the CPU, at toy size, and nothing is recorded.")
    tests = run_tests() if cuda and not asked.races else []
    checked = [*check(device)]
    for row in checked:
        print("{function:<16} {dtype}  error {error:.1e}  (at most {tolerance:.0e})".format(**row))
    print("time over ours (the first named): more than 1 means ours is faster")
    rows, broken = [], []
    for name in asked.races or RACES:
        try:
            rows += run_races([name], device, toy, asked.seconds)
        except Exception:  # while a line-up was put together; the next race may still be run
            traceback.print_exc()
            broken.append(name)
        if not toy:  # after each race, so that what ends the next one loses nothing
            path = asked.results / f"{slug(torch.cuda.get_device_name())}.json"
            write(path, {"race": "gpu", **conditions(), "tests": tests, "checks": checked, "rows": rows})
    return judged(tests, checked, rows) or int(bool(broken))


def judged(tests: list[dict], checked: list[dict], rows: list[dict]) -> int:
    """The status to end with: 1 if a test failed, or a check or a contender of ours is wrong, NaN included."""
    bad = [row["function"] for row in checked if not row["error"] <= row["tolerance"]]
    bad += [f"{who} ({row['race']})" for row in rows for who in wrong(row)]
    bad += [str(part["summary"]) for part in tests if part["status"]]
    for name in bad:
        print(f"WRONG: {name}")
    return 1 if bad else 0


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.gpu", description=__doc__.split("\n\n")[0])
    parser.add_argument("races", nargs="*", help=f"which of {', '.join(RACES)}; all, and the tests, unless given")
    parser.add_argument("--cpu", action="store_true", help="the toy run on the CPU, even where there is a GPU")
    parser.add_argument("--toy", action="store_true", help="tiny sizes, and no record")
    parser.add_argument("--seconds", type=float, default=3.0, help="how long each line-up races (default: 3)")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the record goes")
    asked = parser.parse_args(argv)
    if unknown := set(asked.races) - set(RACES):
        parser.error(f"no race called {', '.join(sorted(unknown))}; there is {', '.join(RACES)}")
    return asked


def run_races(names, device: torch.device, toy: bool, seconds: float) -> Iterator[dict]:
    """Each line-up in turn, printed as it ends; who cannot run is named in the row and left out of it."""
    for name in names:
        for case in RACES[name](device, toy):
            case, failed = able(case)
            row = {**case.facts, "rounds": 0, "contenders": {}}
            if case.contenders:
                row = race.run(case, 0.0 if toy else seconds, least=2 if toy else 7, clock=_clock(device))
            row |= {"failed": failed} if failed else {}
            print(race.table([row]), flush=True)
            yield row


def able(case: race.Case) -> tuple[race.Case, dict[str, str]]:
    """The line-up without those that raise when they are first called, and what they raised."""
    failed = {}
    for name, work in case.contenders.items():
        try:
            race.error(work(), case.truth)
        except Exception as reason:  # of a peer, or of the device: anything, and the others go on
            failed[name] = repr(reason)[:500]
    return case._replace(
        contenders={name: work for name, work in case.contenders.items() if name not in failed}
    ), failed


def write(path: Path, record: dict) -> None:
    """Write a record; of races and tests that were not run this time, those of the last record stay, dated."""
    path.parent.mkdir(parents=True, exist_ok=True)
    last = json.loads(path.read_text()) if path.exists() else {"rows": []}
    run = {row["race"] for row in record["rows"]}
    kept = [row for row in last["rows"] if row["race"] not in run]
    then = {"run on": last.get("date"), "run with": {name: last[name] for name in STACK if name in last}}
    tests = record.get("tests") or [then | part for part in last.get("tests", [])]
    record = record | {"tests": tests, "rows": record["rows"] + [then | row for row in kept]}
    path.write_text(json.dumps(record, indent=1) + "\n")
    print(f"Written to {path}")


def run_tests() -> list[dict]:
    """The CUDA tests with this interpreter's pytest; none if it has none (:func:`check` runs either way)."""
    if importlib.util.find_spec("pytest") is None:
        print("This interpreter has no pytest: the checks below stand alone.")
        return []
    # The project's own settings ask for plugins that a GPU machine may lack.
    settings = ["--noconftest", "-o", "addopts=", "-p", "no:cacheprovider", "-q"]
    done = []
    for mark, files in TESTS.items():
        command = [sys.executable, "-m", "pytest", *settings, *(["-m", mark] if mark else []), *files]
        ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
        print(ran.stdout[-4000:] + ran.stderr[-2000:])
        summary = ran.stdout.strip().rpartition("\n")[2]
        done.append({"files": files, "status": ran.returncode, "summary": summary})
    return done


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
        "peers": {name: _version(name) for name in PEERS},
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def slug(name: str) -> str:
    """A device's name as a file's: letters, digits and dashes."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")


if __name__ == "__main__":
    sys.exit(main())
