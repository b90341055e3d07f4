"""Two floors, one plan: the same names, the same calls, the same words of refusal, and no stairs in between."""

import ast
import importlib
import inspect
import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from oracles import problem

from rnncourse import bridge, gpu, reference

ROOT = Path(__file__).resolve().parent.parent
FLOORS = json.loads((ROOT / "tests/floors.json").read_text())
SHARED = [(module, name) for module, names in FLOORS["shared"].items() for name in names]
ONLY = {floor: FLOORS[f"{floor} only"] for floor in ("reference", "gpu")}
FILES = {file.relative_to(ROOT).as_posix(): file for file in sorted((ROOT / "rnncourse").rglob("*.py"))}


def public(floor: str, module: str) -> dict:
    """What a module itself defines for others to use."""
    found = importlib.import_module(f"rnncourse.{floor}.{module}")
    own = {name: value for name, value in vars(found).items() if not name.startswith("_")}
    return {n: v for n, v in own.items() if n.isupper() or getattr(v, "__module__", None) == found.__name__}


def of(module: str, name: str) -> list:
    return [public(floor, module)[name] for floor in ("reference", "gpu")]


@pytest.mark.parametrize("floor", ["reference", "gpu"])
def test_every_name_is_shared_or_an_exception_with_a_reason(floor):
    modules = {file.stem for file in (ROOT / "rnncourse" / floor).glob("*.py")} - {"__init__"}
    found = {f"{module}.{name}" for module in modules - set(ONLY[floor]) for name in public(floor, module)}
    found |= modules & set(ONLY[floor])
    assert found == {f"{module}.{name}" for module, name in SHARED} | set(ONLY[floor])
    assert all(reason for kind in ("reference only", "gpu only", "other fields") for reason in FLOORS[kind].values())


def shape_of(function) -> list:
    """Names, kinds and defaults of a function's parameters; a default that is a function counts by its name."""
    parameters = inspect.signature(function).parameters.values()
    return [(p.name, p.kind, getattr(p.default, "__name__", p.default)) for p in parameters]


@pytest.mark.parametrize("module, name", SHARED)
def test_same_calls_and_same_fields(module, name):
    ours, theirs = of(module, name)
    if inspect.isfunction(ours):
        assert shape_of(ours) == shape_of(theirs)
        assert all(inspect.getdoc(function) for function in (ours, theirs))
    elif inspect.isclass(ours):
        assert (ours._fields != theirs._fields) == (f"{module}.{name}" in FLOORS["other fields"])
    else:
        assert list(ours) == list(theirs)


@pytest.mark.parametrize("floor", [reference, gpu], ids=["reference", "gpu"])
def test_a_floor_brings_its_modules(floor):
    assert set(FLOORS["shared"]) <= set(floor.__all__)
    assert all(inspect.ismodule(getattr(floor, module)) for module in floor.__all__)


def imported(file: Path) -> set[str]:
    """Every module that a file imports anywhere, inside functions too, and what it takes from them."""
    found = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{file}: relative imports hide where they lead"
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def reaches(file: Path, *packages: str) -> set[str]:
    return {name for name in imported(file) for package in packages if f"{name}.".startswith(f"{package}.")}


@pytest.mark.parametrize("name", FILES)
def test_imports_go_one_way(name):
    outside = ("chapters", "exercises", "tests", "benchmarks", "experiments", "tools", "proof", "oracles")
    assert not reaches(FILES[name], *outside)
    if "/reference/" in name:
        assert not reaches(FILES[name], "torch", "rnncourse.gpu", "rnncourse.bridge")
    if "/gpu/" in name:
        assert not reaches(FILES[name], "rnncourse.reference")


def fresh(code: str) -> str:
    """What a new interpreter prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=120).stdout.strip()


@pytest.mark.parametrize(
    "name, unwanted",
    [
        ("rnncourse", ["numpy", "torch", "matplotlib", "scipy"]),
        ("rnncourse.bridge", ["torch", "matplotlib"]),
        ("rnncourse.reference", ["torch", "matplotlib", "rnncourse.gpu"]),
        ("rnncourse.gpu", ["rnncourse.reference", "matplotlib", "triton"]),
    ],
)
def test_importing_brings_nothing_unwanted(name, unwanted):
    assert fresh(f"import {name}, sys; print([name for name in {unwanted} if name in sys.modules])") == "[]"


def test_importing_costs_what_numpy_costs():
    timed = "import time; begun = time.perf_counter(); import {}; print(time.perf_counter() - begun)"
    numpy, ours = (min(float(fresh(timed.format(name))) for _ in range(4)) for name in ("numpy", "rnncourse"))
    assert ours < numpy + 0.05


def case(floor, array):
    """One floor's problem, everything a bad call needs."""
    p = problem(T=4, B=2, D=3, H=5, O=4)
    params = p.params if floor is reference else bridge.to_torch(p.params)
    x, y, cell = array(p.inputs), array(p.targets), floor.cells.rnn()
    run = floor.unroll.forward(cell, params.cell, x)
    read = floor.readout.forward(params.readout, run[0])
    return SimpleNamespace(
        floor=floor, array=array, params=params, x=x, y=y, cell=cell, tape=run[2], read=read[1], state=run[1][0],
        classes=array(np.zeros((4, 2), int)), mask=array(np.ones((4, 2), bool)),
        J=floor.jacobians.steps(run[2]),
    )  # fmt: skip


def bad(c, **fields):
    """Parameters of the cell with some fields replaced."""
    return c.params.cell._replace(**fields)


def spoiled(array, value):
    array = array + 0
    array[(0,) * array.ndim] = value
    return array


BAD = {
    "activation": lambda c: c.floor.activations.get("gelu"),
    "cell": lambda c: c.floor.cells.rnn("gelu"),
    "x axes": lambda c: c.floor.unroll.forward(c.cell, c.params.cell, c.x[0]),
    "x features": lambda c: c.floor.unroll.forward(c.cell, c.params.cell, c.x[:, :, :2]),
    "x empty": lambda c: c.floor.unroll.forward(c.cell, c.params.cell, c.x[:0]),
    "x nan": lambda c: c.floor.unroll.forward(c.cell, c.params.cell, spoiled(c.x, float("nan"))),
    "W_h": lambda c: c.floor.unroll.forward(c.cell, bad(c, recurrent_weights=c.x[0]), c.x),
    "W_h axes": lambda c: c.floor.unroll.forward(c.cell, bad(c, recurrent_weights=c.x), c.x),
    "W_x": lambda c: c.floor.unroll.forward(c.cell, bad(c, input_weights=c.x[0]), c.x),
    "b_h": lambda c: c.floor.unroll.forward(c.cell, bad(c, bias=c.x[0]), c.x),
    "b_h inf": lambda c: c.floor.unroll.forward(c.cell, bad(c, bias=spoiled(c.params.cell.bias, float("inf"))), c.x),
    "lengths axes": lambda c: c.floor.unroll.forward(c.cell, c.params.cell, c.x, lengths=[[1, 2]]),
    "lengths count": lambda c: c.floor.unroll.forward(c.cell, c.params.cell, c.x, lengths=[1, 2, 3]),
    "lengths range": lambda c: c.floor.unroll.forward(c.cell, c.params.cell, c.x, lengths=[1, 5]),
    "lengths tensor": lambda c: c.floor.unroll.forward(
        c.cell, c.params.cell, c.x, lengths=c.array(np.array([1.0, 2.0]))
    ),
    "h_0": lambda c: c.floor.unroll.forward(c.cell, c.params.cell, c.x, c.x[0]),
    "h_0 nan": lambda c: c.floor.unroll.forward(c.cell, c.params.cell, c.x, spoiled(c.state, float("nan"))),
    "h_0 count": lambda c: c.floor.unroll.forward(c.cell, c.params.cell, c.x, (c.state, c.state)),
    "g": lambda c: c.floor.unroll.backward(c.tape, c.x),
    "final count": lambda c: c.floor.unroll.backward(c.tape, c.tape.hidden[1:], (c.state, c.state)),
    "final": lambda c: c.floor.unroll.backward(c.tape, c.tape.hidden[1:], (c.state[:1],)),
    "W_y": lambda c: c.floor.readout.forward(c.params.readout._replace(weights=c.x), c.y),
    "W_y nan": lambda c: c.floor.readout.forward(
        c.params.readout._replace(weights=spoiled(c.params.readout.weights, float("nan"))), c.tape.hidden
    ),
    "b_y": lambda c: c.floor.readout.forward(c.params.readout._replace(bias=c.state[0]), c.tape.hidden),
    "b_y nan": lambda c: c.floor.readout.forward(
        c.params.readout._replace(bias=spoiled(c.params.readout.bias, float("nan"))), c.tape.hidden
    ),
    "hidden": lambda c: c.floor.readout.forward(c.params.readout, c.x),
    "e": lambda c: c.floor.readout.backward(c.read, c.x),
    "outputs": lambda c: c.floor.losses.squared_error(c.y[0], c.y[0]),
    "targets": lambda c: c.floor.losses.squared_error(c.y, c.x),
    "targets nan": lambda c: c.floor.losses.squared_error(c.y, spoiled(c.y, float("nan"))),
    "mask": lambda c: c.floor.losses.squared_error(c.y, c.y, c.mask[:2]),
    "mask type": lambda c: c.floor.losses.squared_error(c.y, c.y, c.classes),
    "mask empty": lambda c: c.floor.losses.squared_error(c.y, c.y, ~c.mask, "mean"),
    "reduction": lambda c: c.floor.losses.squared_error(c.y, c.y, None, "max"),
    "classes axes": lambda c: c.floor.losses.cross_entropy(c.y, c.classes[0]),
    "classes type": lambda c: c.floor.losses.cross_entropy(c.y, c.y[:, :, 0]),
    "classes bool": lambda c: c.floor.losses.cross_entropy(c.y, c.mask),
    "classes large": lambda c: c.floor.losses.cross_entropy(c.y, c.classes + 4),
    "classes negative": lambda c: c.floor.losses.cross_entropy(c.y, c.classes - 1),
    "logits": lambda c: c.floor.losses.cross_entropy(spoiled(c.y, float("inf")), c.classes),
    "full mask": lambda c: c.floor.bptt.full(c.cell, c.params, c.x, c.y, lengths=[4, 3], mask=c.mask[:1]),
    "window": lambda c: c.floor.bptt.sliding(c.cell, c.params, c.x, c.y, -1),
    "window type": lambda c: c.floor.bptt.sliding(c.cell, c.params, c.x, c.y, 1.5),
    "chunk": lambda c: c.floor.bptt.chunked(c.cell, c.params, c.x, c.y, 0),
    "chunk x": lambda c: c.floor.bptt.chunked(c.cell, c.params, c.x[0], c.y, 2),
    "chunk y": lambda c: c.floor.bptt.chunked(c.cell, c.params, c.x, c.y[1:], 2),
    "chunk reduction": lambda c: c.floor.bptt.chunked(c.cell, c.params, c.x, c.y, 2, reduction="max"),
    "segment": lambda c: c.floor.checkpoint.full(c.cell, c.params, c.x, c.y, segment=0),
    "segment x": lambda c: c.floor.checkpoint.full(c.cell, c.params, c.x[:, :0], c.y),
    "segment y": lambda c: c.floor.checkpoint.full(c.cell, c.params, c.x, c.y[1:]),
    "segment reduction": lambda c: c.floor.checkpoint.full(c.cell, c.params, c.x, c.y, reduction="max"),
    "stored": lambda c: c.floor.checkpoint.stored_states(4, 0),
    "rtrl": lambda c: c.floor.rtrl.full(c.cell, c.params._replace(cell=c.params.readout), c.x, c.y),
    "table": lambda c: c.floor.embedding.forward(c.x, c.classes),
    "tokens": lambda c: c.floor.embedding.forward(c.x[0], c.classes + 2),
    "tokens type": lambda c: c.floor.embedding.forward(c.x[0], c.x[0]),
    "vectors": lambda c: c.floor.embedding.backward(c.floor.embedding.forward(c.x[0], c.classes)[1], c.y),
    "temperature": lambda c: c.floor.sampling.softmax(c.y, 0),
    "logits nan": lambda c: c.floor.sampling.softmax(spoiled(c.y, float("nan"))),
    "top k": lambda c: c.floor.sampling.top_k(c.y, 0),
    "mass": lambda c: c.floor.sampling.nucleus(c.y, 1.5),
    "uniforms": lambda c: c.floor.sampling.draw(c.y, c.y),
    "uniforms range": lambda c: c.floor.sampling.draw(c.y, c.classes + 1),
    "ancestral": lambda c: c.floor.sampling.ancestral(None, c.classes, None, c.classes),
    "ancestral uniforms": lambda c: c.floor.sampling.ancestral(None, c.classes[0], None, c.classes[0]),
    "J": lambda c: c.floor.jacobians.product(c.J[0], 0, 1),
    "start": lambda c: c.floor.jacobians.product(c.J, -1, 1),
    "stop": lambda c: c.floor.jacobians.product(c.J, 2, 1),
    "stop late": lambda c: c.floor.jacobians.product(c.J, 2, 5),
    "spectra W": lambda c: c.floor.spectra.radius(c.x[0]),
    "spectra axes": lambda c: c.floor.spectra.departure(c.x),
    "spectra nan": lambda c: c.floor.spectra.growth(spoiled(c.params.cell.recurrent_weights, float("nan")), 3),
    "spectra steps": lambda c: c.floor.spectra.growth(c.params.cell.recurrent_weights, -1),
    "log norms": lambda c: c.floor.spectra.log_norms(c.J[0]),
    "log norms inf": lambda c: c.floor.spectra.log_norms(spoiled(c.J, float("inf"))),
    "exponents J": lambda c: c.floor.lyapunov.exponents(c.J[0]),
    "exponents nan": lambda c: c.floor.lyapunov.exponents(spoiled(c.J, float("nan"))),
    "exponents count": lambda c: c.floor.lyapunov.exponents(c.J, 6),
    "exponents skip": lambda c: c.floor.lyapunov.exponents(c.J, skip=4),
    "along count": lambda c: c.floor.lyapunov.along(c.tape, 0),
    "along short": lambda c: c.floor.lyapunov.along(
        c.floor.unroll.forward(c.cell, c.params.cell, c.x, lengths=[4, 1])[2], skip=1
    ),
    "push v": lambda c: c.floor.products.push(c.tape, c.x[0]),
    "push start": lambda c: c.floor.products.push(c.tape, c.state, -1),
    "push stop": lambda c: c.floor.products.push(c.tape, c.state, 0, 5),
    "pull v": lambda c: c.floor.products.pull(c.tape, c.x),
    "pull stop": lambda c: c.floor.products.pull(c.tape, c.state, 3, 2),
    "by step": lambda c: c.floor.profiles.by_step(c.x[0]),
    "by lag g": lambda c: c.floor.profiles.by_lag(c.tape, c.x, 1),
    "by lag lags": lambda c: c.floor.profiles.by_lag(c.tape, c.tape.hidden[1:], 4),
    "by lag padding": lambda c: c.floor.profiles.by_lag(
        c.floor.unroll.forward(c.cell, c.params.cell, c.x, lengths=[4, 1])[2], c.tape.hidden[1:], 1
    ),
}


@pytest.fixture(scope="module")
def cases():
    return case(reference, np.asarray), case(gpu, torch.as_tensor)


@pytest.mark.parametrize("name", BAD)
def test_both_refuse_in_the_same_words(cases, name):
    said = []
    for c in cases:
        with pytest.raises(ValueError) as refusal:
            BAD[name](c)
        said.append(str(refusal.value).replace("torch.", ""))
    assert said[0] == said[1]
