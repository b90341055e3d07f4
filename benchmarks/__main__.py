"""`python -m benchmarks` (or `make bench`): run the races, print the table, write the record.

Every race runs in a process of its own for each setting of NumPy's BLAS, because OpenBLAS chooses its
kernels when it is loaded: *native*, as a reader's machine does, and *pinned* to AVX2 kernels, which is
what many older machines have. The pin does not touch torch.
"""

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
from pathlib import Path

RACES = ("rnn", "jacobians", "lstm", "gru", "kalman", "ekf", "hmm", "beam", "scans")
RESULTS = Path(__file__).resolve().parent / "results"
TOY = {"steps": 5, "batch": 3, "widths": (4, 7)}
THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def main(argv: list[str] | None = None) -> None:
    asked = _parse(argv)
    if asked.worker:
        print(json.dumps(race_here(asked.races[0], asked.threads, asked.toy)))
        return
    asked.results.mkdir(parents=True, exist_ok=True)
    for name in asked.races or RACES:
        command = f"python -m benchmarks {name} --threads {asked.threads}"
        record = {"race": name, "command": command, "settings": []}
        for setting in settings():
            part = race_apart(name, setting, asked)
            record["settings"].append(part)
            print(report(name, part), flush=True)
        path = asked.results / (f"{name}.json" if asked.threads == 1 else f"{name}-{asked.threads}-threads.json")
        path.write_text(json.dumps(record, indent=1) + "\n")
        print(f"Written to {path}")


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description="Race the library against its peers.")
    parser.add_argument("races", nargs="*", help=f"which of {', '.join(RACES)}; all unless given")
    parser.add_argument("--threads", type=int, default=1, help="threads of every contender (default: 1)")
    parser.add_argument("--toy", action="store_true", help="tiny sizes, to see that everything runs")
    parser.add_argument("--results", type=Path, default=RESULTS, help="where the records go")
    parser.add_argument("--worker", action="store_true", help=argparse.SUPPRESS)
    asked = parser.parse_args(argv)
    if unknown := set(asked.races) - set(RACES):
        parser.error(f"no race called {', '.join(sorted(unknown))}; there is {', '.join(RACES)}")
    if asked.toy and asked.results == RESULTS and not asked.worker:
        parser.error("--toy would overwrite the record of the real race: say where with --results")
    return asked


def settings() -> list[dict]:
    """The environment variables of each BLAS setting that this kind of processor has."""
    return [{}, {"OPENBLAS_CORETYPE": "Haswell"}] if platform.machine() in ("x86_64", "AMD64") else [{}]


def race_apart(name: str, setting: dict, asked: argparse.Namespace) -> dict:
    """Run one race in a fresh process under one BLAS setting."""
    kept = {key: value for key, value in os.environ.items() if key != "OPENBLAS_CORETYPE"}
    environment = {**kept, **dict.fromkeys(THREADS, str(asked.threads)), **setting}
    command = [sys.executable, "-m", "benchmarks", name, "--worker", "--threads", str(asked.threads)]
    done = subprocess.run(
        [*command, *["--toy"] * asked.toy],
        cwd=RESULTS.parent.parent,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout)


def race_here(name: str, threads: int, toy: bool) -> dict:
    """Run one race in this process."""
    import torch

    from benchmarks import race

    torch.set_num_threads(threads)
    begun = race.conditions()
    sizes = TOY if toy else {}
    seconds = 0.0 if toy else 3.0
    rows = [race.run(case, seconds) for case in importlib.import_module(f"benchmarks.{name}").cases(**sizes)]
    return {
        **begun,
        "load_average_after": race.conditions()["load_average"],
        "torch": torch.__version__,
        "torch_blas": "MKL" if torch.backends.mkl.is_available() else "OpenBLAS or other",
        "torch_threads": torch.get_num_threads(),
        "rows": rows,
    }


def report(name: str, part: dict) -> str:
    from benchmarks import race

    head = f"{name}: {part['setting']} BLAS ({part['numpy_blas']}, {part['numpy_blas_kernels']} kernels)"
    where = f"{part['threads']} thread(s), {part['cpu']}, load {part['load_average']}"
    return f"{head}, {where}\ntime over ours: more than 1 means ours is faster\n{race.table(part['rows'])}\n"


if __name__ == "__main__":
    main()
