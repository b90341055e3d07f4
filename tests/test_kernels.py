"""The fused kernels against the hand-derived gradients of the reference floor, through Triton's interpreter.

Where there is a CUDA device the kernels are compiled and run there, and the same judge looks at the result.
"""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import kernel_worker
import numpy as np
import pytest
import torch
from kernel_worker import CASES, SCANS, problem, scan_problem, solve, solve_scan
from proof import agree

from rnncourse import gpu, reference
from rnncourse.gpu import fused, linear_scan

ROOT = Path(__file__).resolve().parent.parent
TOLERANCE = {"float64": 1e-12, "float32": 1e-5, "float16": 5e-3, "bfloat16": 0.15}
# A normalised row of nearly equal numbers is a small difference of them, divided by itself: rounding is
# magnified, by up to 1/sqrt(epsilon) = 316.
MAGNIFIED = {"float64": 1e-9, "float32": 1e-4, "float16": 0.1, "bfloat16": 0.3}
CELLS = {
    "rnn-tanh": reference.cells.rnn("tanh"),
    "rnn-relu": reference.cells.rnn("relu"),
    "lstm": reference.lstm.plain(),
    "layer-norm-lstm": reference.lstm.normed(),
    "gru": reference.gru.reset_after(),
    "gru-before": reference.gru_before.reset_before(),
}
needs_triton = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed: it has wheels for Linux alone"
)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the kernels found, all cases: compiled where there is a CUDA device, interpreted elsewhere."""
    out = tmp_path_factory.mktemp("kernels") / "found.npz"
    cuda = torch.cuda.is_available()
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment |= {} if cuda else {"TRITON_INTERPRET": "1"}
    command = [sys.executable, kernel_worker.__file__, str(out), "cuda" if cuda else "cpu"]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    with np.load(out) as results:
        return dict(results)


def by_hand(name: str) -> list[np.ndarray]:
    """The same by the reference floor, in float64."""
    kind, *_ = CASES[name]
    p, cell = problem(name), CELLS[kind]
    floor = reference.gru_before if kind == "gru-before" else reference.unroll
    outputs, final, tape = floor.forward(cell, p["params"], p["inputs"], p["start"], p["lengths"])
    g = np.where((np.arange(len(p["g"]))[:, None] < p["lengths"])[:, :, None], p["g"], 0)
    back = floor.backward(tape, g, p["d_final"])
    return [outputs, *final, *back.params, back.inputs, *back.initial_state]


def results_of(found: dict, name: str) -> list[np.ndarray]:
    if reason := json.loads(str(found["left_out"])).get(name):
        pytest.skip(reason)
    return [found[f"{name}/{n}"] for n in range(sum(key.rpartition("/")[0] == name for key in found))]


def tolerance(name: str) -> float:
    kind, dtype, *_ = CASES[name]
    return (MAGNIFIED if kind == "layer-norm-lstm" else TOLERANCE)[dtype]


@needs_triton
@pytest.mark.parametrize("name", CASES)
def test_a_kernel_against_gradients_by_hand(found, name):
    ours, right = results_of(found, name), by_hand(name)
    assert len(ours) == len(right)
    agree(tuple(ours), tuple(right), tolerance(name))


def worst(results: list, right: list) -> float:
    scale = [max(abs(array).max(), 1e-30) for array in right]
    return max(abs(a - b).max() / size for a, b, size in zip(results, right, scale, strict=True))


def plain_loop(kind, *given):
    floor = gpu.gru_before if kind == "gru-before" else gpu.unroll
    return floor.forward(fused.CELLS[kind], *given)[:2]


@needs_triton
@pytest.mark.parametrize("name", [name for name in CASES if " float16 " in name])
def test_a_kernel_rounds_no_worse_than_the_loop(found, name):
    """Both in float16: the kernel keeps its sums, and c, in float32. (Of bfloat16 the interpreter cuts digits off.)"""
    right = by_hand(name)
    assert worst(results_of(found, name), right) < 2 * worst(solve(name, "cpu", plain_loop), right)


@needs_triton
@pytest.mark.parametrize("name", SCANS)
def test_a_linear_scan_against_the_loop_and_autograd(found, name):
    right = solve_scan(name, "cpu", linear_scan.loop, torch.float64)
    agree(tuple(results_of(found, name)), tuple(right), TOLERANCE[SCANS[name][0]])


@pytest.mark.parametrize("name", [name for name in SCANS if "float64" in name])
def test_the_loop_of_a_linear_scan_is_its_matrix(name):
    """h = L b + (a product of all factors) h_0, with L_tj the product of the factors between."""
    a, b, start, _ = scan_problem(name)
    T = len(a)
    L = [[np.prod(a[j + 1 : t + 1], axis=0) * (j <= t) for j in range(T)] for t in range(T)]
    dense = np.einsum("tj...,j...->t...", np.array(L), b) + np.cumprod(a, axis=0) * start
    agree(linear_scan.forward(*map(torch.tensor, (a, b, start))).numpy(), dense, 1e-12)


def test_doors_of_a_linear_scan():
    a = torch.ones(3, 2)
    for name, given in {"added": (a, a[:2]), "start": (a, a, a), "factors": (a[:0], a[:0])}.items():
        with pytest.raises(ValueError, match=f"^{name}: "):
            linear_scan.forward(*given)
    with pytest.raises(ValueError, match=r"^added: expected torch.float32 on cpu"):
        linear_scan.forward(a, a.double())


@needs_triton
def test_torch_compile_goes_through_in_one_piece(found):
    assert found["compiled"]


# The door: on a CPU without the interpreter, everything falls back to the loop


@pytest.mark.parametrize("name", [name for name in CASES if "float64 T5" in name])
def test_the_fall_back_is_the_loop(name):
    assert worst(solve(name, "cpu"), by_hand(name)) < 1e-12


def weights(kind: str, H: int, dtype=torch.float64):
    started = kernel_worker.INITS[kind](np.random.default_rng(0), 2, H)
    return type(started)(*(torch.tensor(array, dtype=dtype) for array in started))


def test_the_reason_is_said(monkeypatch):
    x = torch.zeros(3, 2, 2)
    if importlib.util.find_spec("triton") is not None:
        assert "not on a CUDA device" in fused.why_not("lstm", weights("lstm", 3), x)
    assert "no kernels for torch.complex" in fused.why_not("lstm", weights("lstm", 3, torch.complex128), x)
    monkeypatch.setattr(fused, "_interpreted", lambda: True)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: name)
    assert fused.why_not("lstm", weights("lstm", 32), x) is None
    assert "up to 32 in torch.float64" in fused.why_not("lstm", weights("lstm", 33), x)
    assert "up to 128 in torch.bfloat16" in fused.why_not("lstm", weights("lstm", 129, torch.bfloat16), x)
    long = torch.zeros(1, 1, 1).expand(2**20, 2**10, 1)
    assert "entries" in fused.why_not("lstm", weights("lstm", 3), long)
    one = torch.zeros(1, 1, 1).expand(1, 2**27, 1)  # one step has two states
    assert "entries" in fused.why_not("rnn-tanh", weights("rnn-tanh", 8), one)
    assert fused.why_not("rnn-tanh", weights("rnn-tanh", 8), one[:, 1:]) is None
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert fused.why_not("lstm", weights("lstm", 3), x) == "Triton is not installed"


@pytest.mark.parametrize("kibibytes, widest", [(227, 128), (226, 64), (163, 64), (99, 64), (98, 0), (64, 0)])
def test_a_chip_with_less_room_gets_half_or_the_loop(monkeypatch, kibibytes, widest):
    room = SimpleNamespace(shared_memory_per_block_optin=kibibytes * 1024)
    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda device: room)
    there = SimpleNamespace(is_cuda=True, device="cuda", element_size=lambda: 2)
    assert fused.widest_here("lstm", there) == widest


def test_doors():
    x = torch.zeros(3, 2, 2, dtype=torch.float64)
    with pytest.raises(ValueError, match=r"^kind: "):
        fused.forward("gelu", weights("lstm", 3), x)
    for bad in (x[0], x[0, 0], x[0, 0, 0], x[:, :0]):
        with pytest.raises(ValueError, match=r"^inputs: "):
            fused.forward("lstm", weights("lstm", 3), bad)
    with pytest.raises(ValueError, match=r"^params: "):
        fused.forward("lstm", weights("lstm", 3)[:1], x)
    assert fused.forward("lstm", weights("lstm", 3, torch.float32), x.tolist())[0].shape == (3, 2, 3)


def test_the_table_of_kinds_is_that_of_cells():
    assert list(fused.CELLS) == list(fused.ops.KINDS) == list(CELLS)
    for kind, cell in fused.CELLS.items():
        assert fused.ops.KINDS[kind].gates == (3 if kind == "gru-before" else cell.gates)
