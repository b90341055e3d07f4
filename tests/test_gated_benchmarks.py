"""The races of the LSTM and the GRU, at toy size: the work is equal and right, the program runs them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import __main__ as program
from benchmarks import gated, gru, lstm, race

ROOT = Path(__file__).resolve().parent.parent
RACES = {"lstm": (lstm, "torch.nn.LSTM", 5), "gru": (gru, "torch.nn.GRU", 6)}  # results: outputs, parameters, inputs


@pytest.mark.parametrize("name", RACES)
def test_every_contender_does_the_same_work_and_does_it_right(name):
    module, peer, results = RACES[name]
    toys = list(module.cases(steps=5, batch=3, widths=(4, 7)))
    assert [(case.facts["dtype"], case.facts["H"]) for case in toys] == [
        (dtype, H) for dtype in gated.DTYPES for H in (4, 7)
    ]
    for case in toys:
        assert list(case.contenders) == ["rnncourse", peer, "textbook NumPy"]
        largest = {"float64": 1e-12, "float32": 1e-5}[case.facts["dtype"]]
        for work in case.contenders.values():
            found = work()
            assert len(found) == results
            assert all(str(array.dtype).endswith(case.facts["dtype"]) for array in found)
            assert race.error(found, case.truth) < largest


@pytest.mark.parametrize("name", RACES)
def test_the_program_runs_the_race(name, tmp_path):
    assert name in program.RACES
    command = [sys.executable, "-m", "benchmarks", name, "--toy", "--results", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    record = json.loads((tmp_path / f"{name}.json").read_text())
    assert record["race"] == name and all(len(part["rows"]) == 4 for part in record["settings"])


@pytest.mark.parametrize("name", RACES)
def test_a_committed_record_is_of_the_real_sizes(name):
    path = ROOT / "benchmarks" / "results" / f"{name}.json"
    for part in json.loads(path.read_text())["settings"]:
        assert [(row["dtype"], row["H"]) for row in part["rows"]] == [
            (dtype, H) for dtype in gated.DTYPES for H in gated.WIDTHS
        ]
        for row in part["rows"]:
            assert (row["T"], row["B"]) == (gated.STEPS, gated.BATCH)
            for its in row["contenders"].values():
                assert its["error_against_float64"] < {"float64": 1e-12, "float32": 1e-3}[row["dtype"]]
