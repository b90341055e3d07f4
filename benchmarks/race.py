"""Race several ways to compute one thing: interleaved, in one process, with the error beside the time.

A machine is never quiet, so no time means much alone. Contenders take turns, A B C A B C, and what is
reported is the median of each round's ratio: whatever slows a round slows all of them.
"""

import ctypes
import datetime
import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np


class Case(NamedTuple):
    """One line-up.

    Attributes:
        facts: what is computed, for the table and the record, for example ``{"H": 32}``.
        contenders: name -> a function without arguments that does the whole work and returns its
            results as a sequence of arrays; ours comes first.
        truth: the same results from an independent computation in float64.
    """

    facts: dict[str, Any]
    contenders: dict[str, Callable[[], Sequence]]
    truth: Sequence[np.ndarray]


def run(case: Case, seconds: float, least: int = 7, clock: Callable[[], float] = time.perf_counter) -> dict:
    """Let the contenders take turns.

    Args:
        case: the line-up.
        seconds: stop after the first round that ends later than this.
        least: rounds that are run however long they take.
        clock: seconds since some moment; tests pass their own.

    Returns:
        The case's facts, the number of rounds, and for each contender its median seconds, its largest
        error, and its time over ours: median and quartiles of the rounds.
    """
    errors = {name: error(work(), case.truth) for name, work in case.contenders.items()}  # also warms up
    rounds, begun = [], clock()
    while len(rounds) < least or clock() - begun < seconds:
        rounds.append([_time(work, clock) for work in case.contenders.values()])
    times = dict(zip(case.contenders, zip(*rounds, strict=True), strict=True))
    ours = next(iter(times.values()))
    return {
        **case.facts,
        "rounds": len(rounds),
        "contenders": {name: _summary(taken, ours, errors[name]) for name, taken in times.items()},
    }


def error(results: Sequence, truth: Sequence[np.ndarray]) -> float:
    """Largest deviation from the truth, each array measured by its largest entry; NaN if any of them is."""
    pairs = [(np.asarray(got, np.float64), right) for got, right in zip(results, truth, strict=True)]
    return float(np.max([abs(got - right).max() / abs(right).max() for got, right in pairs]))


def _time(work: Callable, clock: Callable[[], float]) -> float:
    begun = clock()
    work()
    return clock() - begun


def _summary(taken: Sequence[float], ours: Sequence[float], largest_error: float) -> dict:
    ratios = [theirs / our for theirs, our in zip(taken, ours, strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {
        "median_seconds": statistics.median(taken),
        "error_against_float64": largest_error,
        "time_over_ours": middle,
        "time_over_ours_quartiles": [low, high],
    }


def conditions() -> dict:
    """Under what conditions this process races."""
    blas = np.show_config(mode="dicts")["Build Dependencies"]["blas"]
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "cpu": cpu_model(),
        "cores": os.cpu_count(),
        "load_average": [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None,
        "threads": int(os.environ.get("OMP_NUM_THREADS", 0)) or None,
        "setting": "pinned" if os.environ.get("OPENBLAS_CORETYPE") else "native",
        "openblas_coretype": os.environ.get("OPENBLAS_CORETYPE"),
        "numpy_blas": f"{blas['name']} {blas['version']}",
        "numpy_blas_kernels": blas_kernels(),
        "system": platform.platform(),
        "python": platform.python_version(),
        "numpy": np.__version__,
    }


def cpu_model() -> str:
    """The processor's name as Linux tells it, or whatever the platform says."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def blas_kernels() -> str:
    """The kernels that NumPy's own OpenBLAS has chosen, such as "Haswell": shows that a pin took hold."""
    for library in _bundled_openblas():
        chosen = getattr(ctypes.CDLL(str(library)), "scipy_openblas_get_corename64_", None)
        if chosen:
            chosen.restype = ctypes.c_char_p
            return chosen().decode()
    return "unknown"


def _bundled_openblas() -> Iterator[Path]:
    home = Path(np.__file__).parent
    for folder in (home.parent / "numpy.libs", home / ".dylibs"):
        yield from folder.glob("*openblas*")


def table(rows: Sequence[dict]) -> str:
    """The races as text, one line a contender."""
    lines = []
    for row in rows:
        facts = "  ".join(f"{name}={value}" for name, value in row.items() if name not in ("rounds", "contenders"))
        lines.append(f"{facts}  ({row['rounds']} rounds)")
        for name, its in row["contenders"].items():
            low, high = its["time_over_ours_quartiles"]
            lines.append(
                f"  {name:<16}{1e3 * its['median_seconds']:9.2f} ms  x {its['time_over_ours']:5.2f}"
                f"  ({low:.2f}-{high:.2f})  error {its['error_against_float64']:.1e}"
            )
    return "\n".join(lines)
