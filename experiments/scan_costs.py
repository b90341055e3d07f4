"""What steps cost on one core: a recurrent loop against T and H, and loops against scans.

Each figure is the processor time of the fastest of several runs, taken in turn within one process: what others do
on the machine makes a run slower, and none faster.
Timings age: they are for shapes and ratios, and the record names its machine.
"""

import argparse
import sys
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from rnncourse import lds_params, params  # noqa: E402
from rnncourse.reference import cells, kalman, kalman_scan, linear_recurrence, scan, unroll  # noqa: E402
from tools.records import circumstances, write  # noqa: E402

LENGTHS = {"steps": [100, 200, 400, 800, 1600, 3200], "hidden": 64, "inputs": 16, "batch": 8}
WIDTHS = {"hidden": [16, 32, 64, 128, 256, 512, 1024, 2048, 4096]}
SCANS = {"steps": [100, 300, 1000, 3000, 10000], "batch": 1, "diagonal": 32, "matrix": 8, "kalman": 4}
SIZES = {"steps": 1000, "batch": 1, "diagonal": [8, 32, 128, 512, 2048, 8192], "matrix": [2, 4, 8, 16, 32, 64]}
REPEATS = 15


def fastest(functions: dict, repeats: int) -> dict:
    """Processor seconds of each function, run in turn."""
    taken = {name: [] for name in functions}
    for _ in range(repeats + 1):
        for name, function in functions.items():
            begun = time.process_time()
            function()
            taken[name].append(time.process_time() - begun)
    return {name: min(times) for name, times in taken.items()}


def lengths(repeats: int) -> list[dict]:
    """A vanilla network forwards, and back."""
    rng, H, D, B = np.random.default_rng(0), *(LENGTHS[name] for name in ("hidden", "inputs", "batch"))
    model, rows = params.init_rnn(rng, D, H), []
    for T in LENGTHS["steps"]:
        x, g = rng.standard_normal((T, B, D)), np.ones((T, B, H))
        tape = unroll.forward(cells.rnn(), model, x)[2]
        runs = {
            "forward": lambda x=x: unroll.forward(cells.rnn(), model, x),
            "backward": lambda tape=tape, g=g: unroll.backward(tape, g),
        }
        rows.append({"steps": T} | fastest(runs, repeats))
    return rows


def widths(repeats: int) -> list[dict]:
    """Steps h <- tanh(W h) of one sequence; seconds of one step."""
    rng, rows = np.random.default_rng(1), []
    for H in WIDTHS["hidden"]:
        W, h = rng.standard_normal((H, H)) / H**0.5, rng.standard_normal(H)
        steps = int(min(2000, max(5, 5e7 / H**2)))

        def run(W=W, h=h, steps=steps):
            for _ in range(steps):
                h = np.tanh(W @ h)

        rows.append({"hidden": H, "seconds": fastest({"step": run}, repeats)["step"] / steps})
    return rows


def scans(repeats: int) -> list[dict]:
    """Linear recurrences and the Kalman filter, by a loop and by a scan."""
    rng, rows, B = np.random.default_rng(2), [], SCANS["batch"]
    for T in SCANS["steps"]:
        H, N = SCANS["diagonal"], SCANS["matrix"]
        a, b = rng.uniform(0, 1, (T, B, H)), rng.standard_normal((T, B, H))
        A, c = rng.standard_normal((T, B, N, N)) / (2 * N**0.5), rng.standard_normal((T, B, N))
        system = lds_params.init_lds(rng, SCANS["kalman"], 1)
        # a matrix for every step, so that the loop cannot copy covariances that have come to rest
        system = system._replace(transition=np.tile(system.transition, (T, 1, 1)) * rng.uniform(0.9, 1, (T, 1, 1)))
        y = rng.standard_normal((T, B, 1))
        runs = {
            "diagonal loop": lambda a=a, b=b: linear_recurrence.loop(a, b),
            "diagonal scan": lambda a=a, b=b: linear_recurrence.forward(a, b),
            "diagonal doubling": lambda a=a, b=b: scan.doubling(linear_recurrence.combine, (a, b)),
            "matrix loop": lambda A=A, c=c: linear_recurrence.loop(A, c),
            "matrix scan": lambda A=A, c=c: linear_recurrence.forward(A, c),
            "kalman loop": lambda system=system, y=y: kalman.forward(system, y),
            "kalman scan": lambda system=system, y=y: kalman_scan.forward(system, y),
        }
        rows.append({"steps": T} | fastest(runs, repeats))
    return rows


def sizes(repeats: int) -> list[dict]:
    """Loops and scans of as many steps and ever larger states."""
    rng, rows, (T, B) = np.random.default_rng(3), [], (SIZES["steps"], SIZES["batch"])
    for H in SIZES["diagonal"]:
        a, b = rng.uniform(0, 1, (T, B, H)), rng.standard_normal((T, B, H))
        runs = {"loop": lambda a=a, b=b: linear_recurrence.loop(a, b)}
        runs["scan"] = lambda a=a, b=b: linear_recurrence.forward(a, b)
        rows.append({"form": "diagonal", "hidden": H} | fastest(runs, repeats))
    for H in SIZES["matrix"]:
        A, b = rng.standard_normal((T, B, H, H)) / (2 * H**0.5), rng.standard_normal((T, B, H))
        runs = {"loop": lambda A=A, b=b: linear_recurrence.loop(A, b)}
        runs["scan"] = lambda A=A, b=b: linear_recurrence.forward(A, b)
        rows.append({"form": "matrix", "hidden": H} | fastest(runs, repeats))
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--toy", action="store_true", help="a second, to see that it runs")
    parser.add_argument("--out", help="where to write the record, if not among the committed ones")
    given = parser.parse_args()
    if given.toy and not given.out:
        parser.error("--toy needs --out: a toy must not replace the record")
    if given.toy:
        LENGTHS["steps"], WIDTHS["hidden"], SCANS["steps"] = [4, 8], [4, 8], [4, 9]
        SIZES.update(steps=9, diagonal=[4], matrix=[2])
    repeats, record = 1 if given.toy else REPEATS, circumstances(__file__)
    found = {"lengths": lengths(repeats), "widths": widths(repeats), "scans": scans(repeats), "sizes": sizes(repeats)}
    record |= {
        "settings": {"lengths": LENGTHS, "widths": WIDTHS, "scans": SCANS, "sizes": SIZES, "repeats": repeats}
    } | found
    for rows in found.values():
        for row in rows:
            print(
                "  ".join(
                    f"{name} {value if isinstance(value, str) else format(value, '.3g')}" for name, value in row.items()
                )
            )
    print(f"wrote {write(record, __file__, given.out)}")


if __name__ == "__main__":
    main()
