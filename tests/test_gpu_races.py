"""The races for a GPU, at toy size on the CPU: every contender does its work and does it right."""

import json

import numpy as np
import pytest
import torch

from benchmarks import gpu as program
from benchmarks import gpu_peers, gpu_races, race

LARGEST = {"float64": 1e-8, "float32": 1e-5}  # dynamax's filter is off by 3e-10
CPU = torch.device("cpu")


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
    assert {cell for cell, contenders in cases.items() if "torch.nn" in contenders} == {"rnn-tanh", "lstm", "gru"}


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
    program.write(path, {"date": "2000-01-01", "rows": [{"race": "linear scan"}, {"race": "beam search"}]})
    program.write(path, {"date": "2000-01-02", "rows": rows})
    record = json.loads(path.read_text())
    assert [row["race"] for row in record["rows"]] == ["beam search", "linear scan"]
    assert record["rows"][0]["contenders"] and record["rows"][1]["run on"] == "2000-01-01"
    program.write(path, {"date": "2000-01-03", "rows": []})  # a row keeps the day on which it was run
    assert json.loads(path.read_text())["rows"][1]["run on"] == "2000-01-01"


def test_an_unknown_race_is_named(capsys):
    with pytest.raises(SystemExit):
        program.main(["rowing"])
    assert "no race called rowing; there is recurrences, scans" in capsys.readouterr().err
