"""The kernels compiled for an H100 or H200, on a machine without one: they fit, and do not spill.

Triton brings NVIDIA's assembler; only running needs a device. Shared memory is what a program may have there,
227 KiB. A kernel that spills keeps registers in memory, which is what these kernels are there to avoid.
"""

import importlib
import importlib.util
import json
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from kernel_worker import DTYPES

from rnncourse.gpu import fused
from rnncourse.gpu.kernels import ops

ROOT = Path(__file__).resolve().parent.parent
NAMES = {8: "float64", 4: "float32", 2: "bfloat16"}
# The way back holds the weights and four gradients; the way there takes less, and is compiled once a cell.
# (ReLU for tanh changes nothing that counts here.)
CELLS = [kind for kind in ops.KINDS if kind != "rnn-relu"]
CASES = [(kind, "backward", size) for kind in CELLS for size in NAMES] + [(kind, "forward", 2) for kind in CELLS]
POINTERS = {"float64": "*fp64", "float32": "*fp32", "bfloat16": "*bf16"}
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed: it has wheels for Linux alone"
)


def compiled(kind: str, way: str, size: int) -> dict:
    """Compile one kernel at its widest."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    facts, dtype = ops.KINDS[kind], NAMES[size]
    kernel = getattr(importlib.import_module(f"rnncourse.gpu.kernels.{facts.module}"), way)
    H = facts.widest[size]
    fixed = ops.settings(kind, DTYPES[dtype], H)
    types = {"lengths": "*i32", "T": "i32", "B": "i32", "H": "i32"} | dict.fromkeys(fixed, "constexpr")
    signature = {name: types.get(name, POINTERS[dtype]) for name in kernel.arg_names}
    place = {name: (n,) for n, name in enumerate(kernel.arg_names)}
    aligned = {place[name]: [["tt.divisibility", 16]] for name, kept in signature.items() if kept.startswith("*")}
    source = ASTSource(kernel, signature, {place[name]: value for name, value in fixed.items()}, aligned)
    options = {"num_warps": ops.warps(DTYPES[dtype], H)}
    result = triton.compile(source, target=GPUTarget("cuda", 90, 32), options=options)
    shared, stack = result.metadata.shared, stack_of(result.asm["cubin"])
    return {"shared": shared, "stack": stack, "tensor cores": "mma" in result.asm["ptx"]}


def compiled_scan() -> dict:
    """The scan in float32, the way back, which reads the factors one step late."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from rnncourse.gpu import linear_scan
    from rnncourse.gpu.kernels import language
    from rnncourse.gpu.kernels.linear_scan import scan

    fixed = {"REVERSED": True, "CHUNK": linear_scan.CHUNK, "BLOCK": linear_scan.BLOCK, "SUM": language.tl.float32}
    types = dict.fromkeys(("T", "N", "shift"), "i32") | dict.fromkeys(fixed, "constexpr")
    signature = {name: types.get(name, "*fp32") for name in scan.arg_names}
    source = ASTSource(scan, signature, {(scan.arg_names.index(name),): value for name, value in fixed.items()})
    result = triton.compile(source, target=GPUTarget("cuda", 90, 32))
    return {"shared": result.metadata.shared, "stack": stack_of(result.asm["cubin"])}


def stack_of(binary: bytes) -> int:
    """Bytes of memory that each thread keeps what has no register in."""
    from triton import knobs

    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary)
        file.flush()
        command = [knobs.nvidia.cuobjdump.path, "-res-usage", file.name]
        said = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(re.search(r"STACK:(\d+)", said.stdout + said.stderr).group(1))


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """All of them in a process without the interpreter."""
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path_factory.mktemp("cache"))
    done = subprocess.run([sys.executable, __file__], cwd=ROOT, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind, way, size", CASES)
def test_a_kernel_at_its_widest_fits(made, kind, way, size):
    it = made[f"{kind} {way} {size}"]
    assert 0 < it["shared"] <= fused.HOPPER
    assert it["stack"] <= 128  # bytes: a few numbers; a kernel that spills keeps thousands
    assert it["tensor cores"] == (size != 4)  # float32 is multiplied as float32, and not in TF32


def test_the_scan_fits(made):
    assert 0 < made["scan"]["shared"] <= fused.HOPPER and made["scan"]["stack"] == 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    every = {f"{kind} {way} {size}": compiled(kind, way, size) for kind, way, size in CASES}
    print(json.dumps(every | {"scan": compiled_scan()}))
