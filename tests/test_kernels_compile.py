"""The kernels compiled for chips that are not here: they fit, and hardly spill.

Triton brings NVIDIA's assembler; only running needs a device. Shared memory is what a program may have: 227 KiB on
an H100 or H200, 99 KiB on the smallest chips that get half the width. A kernel that spills keeps registers in
memory, which is what these kernels are there to avoid.

Triton compiles a launch for what it knows of the arguments: pointers and sizes that sixteen divides are read in
longer pieces and ahead of time, which takes more shared memory; a size of one is a constant.
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
from typing import NamedTuple

import pytest
from kernel_worker import DTYPES

from rnncourse.gpu import fused
from rnncourse.gpu.kernels import ops

ROOT = Path(__file__).resolve().parent.parent
NAMES = {8: "float64", 4: "float32", 2: "bfloat16"}
POINTERS = {"float64": "*fp64", "float32": "*fp32", "bfloat16": "*bf16", "float16": "*fp16"}
HALF = 86  # a capability whose programs have 99 KiB
CELLS = [kind for kind in ops.KINDS if kind != "rnn-relu"]  # which differs by one comparison


class Launch(NamedTuple):
    """What a kernel is compiled for: at its widest on capability 9.0, at half of that below."""

    kind: str
    way: str
    dtype: str
    sizes: str = "sixteens"  # T, B and H are divided by 16; "any": they are not; or which of them are 1
    capability: int = 90


# The way back holds the weights and four gradients; the way there takes less, and is compiled once a cell.
CASES = [Launch(kind, "backward", dtype) for kind in CELLS for dtype in NAMES.values()]
CASES += [Launch(kind, "forward", "bfloat16") for kind in ops.KINDS]
CASES += [Launch("gru", "forward", "float64"), Launch("lstm", "forward", "float32")]
CASES += [Launch("lstm", "backward", "float16"), Launch("rnn-relu", "backward", "bfloat16")]
CASES += [Launch("lstm", "backward", "bfloat16", sizes) for sizes in ("any", "B", "TB")]
CASES += [Launch(kind, "backward", "bfloat16", capability=HALF) for kind in CELLS]
CASES += [Launch("lstm", "backward", dtype, capability=HALF) for dtype in ("float64", "float32")]
pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("triton") is None, reason="Triton is not installed: it has wheels for Linux alone"
)


def compiled(kind: str, way: str, dtype: str, sizes: str, capability: int) -> dict:
    """Compile one kernel at its widest."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    facts = ops.KINDS[kind]
    kernel = getattr(importlib.import_module(f"rnncourse.gpu.kernels.{facts.module}"), way)
    H = facts.widest[DTYPES[dtype].itemsize] // (1 if capability == 90 else 2)
    fixed = ops.settings(kind, DTYPES[dtype], H)
    constants = fixed | {name: 1 for name in ("T", "B") if name in sizes}
    types = {"lengths": "*i32", "T": "i32", "B": "i32", "H": "i32"} | dict.fromkeys(constants, "constexpr")
    signature = {name: types.get(name, POINTERS[dtype]) for name in kernel.arg_names}
    place = {name: (n,) for n, name in enumerate(kernel.arg_names)}
    even = [name for name, kept in signature.items() if kept.startswith("*") or (kept == "i32" and sizes != "any")]
    aligned = {place[name]: [["tt.divisibility", 16]] for name in even}
    source = ASTSource(kernel, signature, {place[name]: value for name, value in constants.items()}, aligned)
    options = {"num_warps": ops.warps(DTYPES[dtype], H)}
    result = triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)
    shared, stack = result.metadata.shared, stack_of(result.asm["cubin"])
    ptx = result.asm["ptx"]
    return {"shared": shared, "stack": stack, "tensor cores": "mma" in ptx, "maxima": "max.f" in ptx}


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


@pytest.mark.parametrize("launch", CASES, ids=lambda launch: " ".join(map(str, launch)))
def test_a_kernel_at_its_widest_fits(made, launch):
    it = made[" ".join(map(str, launch))]
    assert 0 < it["shared"] <= (fused.HOPPER if launch.capability == 90 else fused.SMALL)
    # Bytes: a few numbers; a kernel that spills keeps thousands. (One of a single step does, and has but one to wait.)
    assert it["stack"] <= 128 or launch.sizes == "TB"
    # Float32 is multiplied as float32, and not in TF32; float64 has tensor cores on the large chips alone.
    assert it["tensor cores"] == (launch.dtype != "float32" and (launch.dtype, launch.capability) != ("float64", HALF))
    assert not it["maxima"]  # a GPU's maximum of NaN and 0 is 0, the interpreter's is NaN


def test_the_scan_fits(made):
    assert 0 < made["scan"]["shared"] <= fused.HOPPER and made["scan"]["stack"] == 0


if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    every = {" ".join(map(str, launch)): compiled(*launch) for launch in CASES}
    print(json.dumps(every | {"scan": compiled_scan()}))
