"""The races, at toy size: the runner is fair, the work is equal and right, the record is whole."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import __main__ as program
from benchmarks import jacobians, race, rnn

ROOT = Path(__file__).resolve().parent.parent
TOY = list(rnn.cases(steps=5, batch=3, widths=(4, 7)))


def fake(durations: dict[str, float]):
    """Contenders that take exactly as long as told, by a clock of their own, and write down their turns."""
    now, turns = [0.0], []

    def contender(name):
        def work():
            now[0] += durations[name]
            turns.append(name)
            return [np.array([2.0, 1.0])]

        return work

    case = race.Case({"H": 1}, {name: contender(name) for name in durations}, [np.array([2.0, 1.5])])
    return case, (lambda: now[0]), turns


def test_contenders_take_turns_and_ratios_are_theirs_over_ours():
    case, clock, turns = fake({"ours": 1.0, "peer": 3.0})
    row = race.run(case, seconds=0.0, least=4, clock=clock)
    assert turns == ["ours", "peer"] * 5  # once to warm up, four rounds
    assert row["rounds"] == 4
    assert row["contenders"]["peer"]["time_over_ours"] == pytest.approx(3.0)
    assert row["contenders"]["ours"]["time_over_ours"] == pytest.approx(1.0)
    assert row["contenders"]["peer"]["median_seconds"] == pytest.approx(3.0)
    assert row["contenders"]["peer"]["error_against_float64"] == pytest.approx(0.25)


def test_rounds_go_on_until_the_time_is_up():
    case, clock, _ = fake({"ours": 1.0, "peer": 3.0})
    assert race.run(case, seconds=41.0, least=4, clock=clock)["rounds"] == 11


def test_a_contender_that_leaves_out_a_result_cannot_race():
    with pytest.raises(ValueError, match="longer than"):
        race.error([np.zeros(2)], [np.ones(2), np.ones(2)])


@pytest.mark.parametrize("case", TOY, ids=lambda case: f"{case.facts['dtype']}-{case.facts['H']}")
def test_every_contender_does_the_same_work_and_does_it_right(case):
    assert list(case.contenders) == ["rnncourse", "torch.nn.RNN", "textbook NumPy"]
    largest = {"float64": 1e-12, "float32": 1e-5}[case.facts["dtype"]]
    for work in case.contenders.values():
        results = work()
        assert len(results) == 5  # outputs, two weights, bias, inputs
        assert all(str(array.dtype).endswith(case.facts["dtype"]) for array in results)
        assert race.error(results, case.truth) < largest


@pytest.mark.parametrize(
    "case", jacobians.cases(5, 3, (4, 7)), ids=lambda case: f"{case.facts['dtype']}-{case.facts['H']}"
)
def test_every_jacobian_that_races_is_right(case):
    assert next(iter(case.contenders)) == "rnncourse" and "torch jacrev" in case.contenders
    largest = {"float64": 1e-12, "float32": 1e-5}[case.facts["dtype"]]
    for work in case.contenders.values():
        (J,) = work()
        assert J.shape == (5, 3, case.facts["H"], case.facts["H"]) and str(J.dtype).endswith(case.facts["dtype"])
        assert race.error([J], case.truth) < largest


def test_the_error_column_would_show_a_wrong_contender():
    case = TOY[0]
    wrong = [array + 1e-6 for array in case.truth]
    assert race.error(wrong, case.truth) > 1e-7


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The whole program once, at toy size, as `make bench` starts it."""
    where = tmp_path_factory.mktemp("results")
    command = [sys.executable, "-m", "benchmarks", "rnn", "--toy", "--results", str(where)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout, json.loads((where / "rnn.json").read_text())


CONDITIONS = {
    *("date", "cpu", "cores", "load_average", "load_average_after", "threads", "setting", "openblas_coretype"),
    *("numpy_blas", "numpy_blas_kernels", "system", "python", "numpy", "torch", "torch_blas", "torch_threads", "rows"),
}


def assert_whole(record: dict, rows: int):
    assert record["race"] == "rnn" and record["command"].startswith("python -m benchmarks rnn")
    assert record["settings"][0]["setting"] == "native"
    for part in record["settings"]:
        assert set(part) == CONDITIONS
        assert part["threads"] == part["torch_threads"] == 1
        assert part["cpu"] and part["numpy_blas"]
        assert len(part["rows"]) == rows
        for row in part["rows"]:
            assert row["rounds"] >= 7
            for its in row["contenders"].values():
                low, high = its["time_over_ours_quartiles"]
                assert its["median_seconds"] > 0 and low <= its["time_over_ours"] <= high
                assert its["error_against_float64"] < {"float64": 1e-12, "float32": 1e-4}[row["dtype"]]


def test_the_program_writes_a_whole_record_and_prints_it(run):
    printed, record = run
    assert_whole(record, rows=len(TOY))
    for name in TOY[0].contenders:
        assert printed.count(name) >= len(TOY) * len(record["settings"])
    assert printed.count("error") == len(TOY) * len(record["settings"]) * len(TOY[0].contenders)


def test_each_setting_runs_in_a_process_that_has_it(run):
    _, record = run
    coretypes = [part["openblas_coretype"] for part in record["settings"]]
    assert coretypes == [setting.get("OPENBLAS_CORETYPE") for setting in program.settings()]
    for part in record["settings"]:
        if part["setting"] == "pinned":
            assert part["numpy_blas_kernels"] in ("Haswell", "unknown")


def test_the_committed_record_is_whole_and_of_the_real_sizes():
    record = json.loads((ROOT / "benchmarks" / "results" / "rnn.json").read_text())
    assert_whole(record, rows=len(rnn.WIDTHS) * len(rnn.DTYPES))
    for row in record["settings"][0]["rows"]:
        assert (row["T"], row["B"]) == (rnn.STEPS, rnn.BATCH) and row["H"] in rnn.WIDTHS


def test_a_toy_run_does_not_overwrite_the_record(capsys):
    with pytest.raises(SystemExit):
        program.main(["--toy"])
    assert "overwrite" in capsys.readouterr().err


def test_an_unknown_race_is_named(capsys):
    with pytest.raises(SystemExit):
        program.main(["rowing"])
    assert "no race called rowing; there is rnn, jacobians" in capsys.readouterr().err
