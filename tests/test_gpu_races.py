"""The races for a GPU, at toy size on the CPU: every contender does its work and does it right."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks import gpu as program
from benchmarks import gpu_peers, gpu_races, race

LARGEST = {"float64": 1e-8, "float32": 1e-5}  # dynamax's filter is off by 3e-10
CPU = torch.device("cpu")
MARK = "@pytest.mark." + "cuda"


@pytest.mark.parametrize("name", gpu_races.RACES)
def test_every_contender_is_right(name):
    seen = 0
    for case in gpu_races.RACES[name](CPU, toy=True):
        for work in case.contenders.values():
            assert race.error(work(), case.truth) < LARGEST[case.facts["dtype"]]
            seen += 1
    assert seen >= 2 or name == "filters"  # whose scan is not on every branch


def test_every_fused_cell_races_and_cudnn_where_it_can():
    cases = {case.facts["cell"]: case.contenders for case in gpu_races.recurrences(CPU, toy=True)}
    assert list(cases) == list(gpu_races.fused.CELLS)
    has = {"rnn-tanh", "rnn-relu", "lstm", "gru"}
    assert {cell for cell, contenders in cases.items() if "torch.nn" in contenders} == has


def test_an_irnn_races():
    W, *_ = gpu_races.recurrence("rnn-relu", 2, 1, 3, torch.float64, CPU)
    assert torch.equal(W.recurrent_weights, torch.eye(3, dtype=torch.float64))


def test_what_is_not_a_number_is_an_error():
    right = [np.ones(2), np.ones(2)]
    assert np.isnan(race.error([np.array([1.0, 1.1]), np.array([1.0, np.nan])], right))


@pytest.mark.parametrize("error, status", [(1e-9, 0), (1e-7, 1), (float("nan"), 1)])
def test_ours_must_be_right(error, status):
    def row(who):
        return {"race": "linear scan", "dtype": "float64", "contenders": {who: {"error_against_float64": error}}}

    assert program.judged([], [], [row("fused kernel")]) == status
    assert program.judged([], [], [row("dynamax on cpu")]) == 0
    assert program.judged([], [{"function": "rtrl.full", "error": error, "tolerance": 1e-8}], []) == status
    assert program.judged([{"status": 1, "summary": "1 failed"}], [], []) == 1


def fails():
    raise RuntimeError("no room")


def test_who_fails_is_recorded_and_the_others_race(monkeypatch, tmp_path):
    work = lambda: [np.ones(2)]  # noqa: E731
    cases = [
        race.Case({"race": "linear scan", "dtype": "float64"}, line_up, [np.ones(2)])
        for line_up in (
            {"fused scan": fails, "step loop": work},
            {"step loop": work, "dynamax on cpu": fails},
            {"x": fails},
        )
    ]
    monkeypatch.setitem(program.RACES, "scans", lambda device, toy: iter(cases))
    rows = [*program.run_races(["scans"], CPU, True, 0.0)]
    assert [[*row["contenders"]] for row in rows] == [["step loop"], ["step loop"], []]
    assert rows[0]["failed"] == {"fused scan": "RuntimeError('no room')"}
    assert [gpu_races.wrong(row) for row in rows] == [["fused scan"], [], []]


def test_a_race_that_cannot_be_put_together_ends_no_other(monkeypatch, capsys):
    monkeypatch.setitem(program.RACES, "scans", lambda device, toy: fails())
    assert program.main(["--cpu", "scans", "decoding"]) == 1
    said = capsys.readouterr()
    assert "race=beam search" in said.out and "no room" in said.err


def test_every_contender_of_ours_is_known_to_be_ours():
    for make in gpu_races.RACES.values():
        for case in make(CPU, toy=True):
            assert next(iter(case.contenders)) in gpu_races.OURS


def test_all_tests_that_want_a_gpu_are_run_on_one():
    marked = {f"tests/{file.name}" for file in Path(__file__).parent.glob("test_*.py") if MARK in file.read_text()}
    assert marked == set(program.TESTS["cuda"])


def test_lengths_of_accelerated_scan():
    assert [T for T in (16, 32, 1000, 65_536, 131_072) if gpu_peers.scannable(T)] == [32, 65_536]


def test_half_precision_comes_home():
    number = torch.tensor([1.5], dtype=torch.bfloat16)
    assert np.array_equal(np.asarray(gpu_races.Fetched(number), np.float64), [1.5])


def test_absent_peers_stay_away(monkeypatch):
    monkeypatch.setattr(gpu_peers.importlib.util, "find_spec", lambda name: None)
    assert gpu_peers.dynamax_hmm(None, None, None, None) == gpu_peers.dynamax_kalman(None, None) == {}
    assert gpu_peers.accelerated_scan(torch.ones(1), torch.ones(1), None) == {}


def test_rows_can_be_written_and_earlier_ones_are_kept(tmp_path):
    path = tmp_path / "results" / "device.json"
    rows = [*program.run_races(["decoding"], CPU, True, 0.0)]
    early = {"torch": "1.0", "tests": [{"status": 0}], "rows": [{"race": "linear scan"}, {"race": "beam search"}]}
    program.write(path, {"date": "2000-01-01"} | early)
    program.write(path, {"date": "2000-01-02", "rows": rows})
    record = json.loads(path.read_text())
    assert [row["race"] for row in record["rows"]] == ["beam search", "linear scan"]
    assert record["rows"][0]["contenders"] and record["rows"][1]["run on"] == "2000-01-01"
    assert record["rows"][1]["run with"] == {"torch": "1.0"} and "run on" not in record["rows"][0]
    assert record["tests"] == [{"status": 0, "run on": "2000-01-01", "run with": {"torch": "1.0"}}]
    program.write(path, {"date": "2000-01-03", "rows": []})  # a row keeps the day on which it was run
    assert json.loads(path.read_text())["rows"][1]["run on"] == "2000-01-01"


def test_an_unknown_race_is_named(capsys):
    with pytest.raises(SystemExit):
        program.main(["rowing"])
    assert "no race called rowing; there is recurrences, scans" in capsys.readouterr().err
