"""Run the fused kernels on every case and write what they found: ``python tests/kernel_worker.py OUT [DEVICE]``.

A process of its own, because Triton's interpreter is chosen by TRITON_INTERPRET=1 before Triton is imported. A
case is a cell, sizes, a type of number and whether sequences end early; its numbers are drawn here, rounded to
the type, and written beside the results, so that the judge sees the same problem.
"""

import sys
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from rnncourse import gate_params, params
from rnncourse.gpu import fused, linear_scan

INITS = {
    "rnn-tanh": params.init_rnn,
    "rnn-relu": params.init_rnn,
    "lstm": gate_params.init_lstm,
    "layer-norm-lstm": gate_params.init_layer_norm_lstm,
    "gru": gate_params.init_reset_after_gru,
    "gru-before": gate_params.init_gru,
}
DTYPES = {"float64": torch.float64, "float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
SIZES = [(1, 1, 1, 1), (3, 5, 2, 3), (5, 17, 3, 5), (4, 3, 5, 17), (17, 1, 1, 3)]  # T, B, D, H
SMALL = SIZES[1:4]  # a normalised row of one or two numbers says nothing in half precision
CASES = {
    f"{kind} {dtype} T{T} B{B} D{D} H{H}{' ragged' * ragged}": (kind, dtype, (T, B, D, H), ragged)
    for kind in INITS
    for dtype in DTYPES
    for T, B, D, H in (SIZES if dtype == "float64" or f"{kind} {dtype}" == "lstm bfloat16" else SMALL)
    for ragged in ((False, True) if dtype == "float64" and T == 5 else (False,))
}


SCANS = {f"scan {dtype} {shape}": (dtype, shape) for dtype in DTYPES for shape in [(1, 1, 1), (65, 3, 11), (130, 2)]}


def scan_problem(name: str) -> list[np.ndarray]:
    """Factors, what is added, the start and an arriving gradient, rounded to the type of the case."""
    dtype, shape = SCANS[name]
    rng = np.random.default_rng(sum(map(ord, name)))
    a, b, g = rng.uniform(-0.5, 1, shape), *rng.standard_normal((2, *shape))
    return [_rounded(array, DTYPES[dtype]) for array in (a, b, rng.standard_normal(shape[1:]), g)]


def solve_scan(name: str, device: str, forward=linear_scan.forward, dtype=None) -> list[np.ndarray]:
    """States, and the gradients of factors, of what is added and of the start."""
    dtype = dtype or DTYPES[SCANS[name][0]]
    a, b, start, g = (torch.tensor(array, dtype=dtype, device=device) for array in scan_problem(name))
    leaves = [tensor.requires_grad_() for tensor in (a, b, start)]
    states = forward(*leaves)
    found = states, *torch.autograd.grad(states, leaves, g)
    return [tensor.detach().double().cpu().numpy() for tensor in found]


def problem(name: str) -> dict:
    """Numbers of a case, rounded to its type: parameters, inputs, the initial state, lengths, gradients arriving."""
    kind, dtype, (T, B, D, H), ragged = CASES[name]
    rng = np.random.default_rng(sum(map(ord, name)))
    started = INITS[kind](rng, D, H)
    moved = [array + 0.2 * rng.standard_normal(array.shape) for array in started]
    S = fused.ops.KINDS[kind].states
    drawn = {
        "params": type(started)(*moved),
        "inputs": rng.standard_normal((T, B, D)),
        "start": tuple(rng.standard_normal((S, B, H))),
        "g": rng.standard_normal((T, B, H)),
        "d_final": tuple(rng.standard_normal((S, B, H))),
    }
    drawn = params.map_arrays(lambda array: _rounded(array, DTYPES[dtype]), tuple(drawn.values()))
    drawn = dict(zip(("params", "inputs", "start", "g", "d_final"), drawn, strict=True))
    lengths = rng.integers(0, T + 1, B) if ragged else np.full(B, T)
    if ragged:
        for b, length in enumerate(lengths):
            drawn["inputs"][length:, b] = np.nan
    return drawn | {"lengths": lengths}


def _rounded(array: np.ndarray, dtype: torch.dtype) -> np.ndarray:
    return torch.tensor(array).to(dtype).double().numpy()


def solve(name: str, device: str, forward=fused.forward) -> list[np.ndarray]:
    """Outputs, final state, and the gradients of parameters, inputs and initial state."""
    kind, dtype, _, ragged = CASES[name]
    p = problem(name)
    there = lambda array: torch.tensor(array, dtype=DTYPES[dtype], device=device)  # noqa: E731
    leaves = params.map_arrays(lambda array: there(array).requires_grad_(), (p["params"], p["inputs"], p["start"]))
    W, x, start = leaves
    outputs, final = forward(kind, W, x, start, p["lengths"] if ragged else None)
    arriving = [there(array) for array in (p["g"], *p["d_final"])]
    gradients = torch.autograd.grad([outputs, *final], [*W, x, *start], arriving)
    return [tensor.detach().double().cpu().numpy() for tensor in (outputs, *final, *gradients)]


def compiled(device: str) -> bool:
    """Whether torch.compile goes through a kernel without a break, with the same numbers."""
    kind, name = "lstm", "lstm float64 T5 B17 D3 H5"
    p = problem(name)
    W, x, start = params.map_arrays(
        lambda array: torch.tensor(array, device=device).requires_grad_(), (p["params"], p["inputs"], p["start"])
    )

    def loss(W, x):
        return fused.run(kind, W, x, start).square().sum()

    plain = torch.autograd.grad(loss(W, x), [*W, x])
    whole = torch.compile(loss, backend="aot_eager", fullgraph=True)
    return all(map(torch.equal, torch.autograd.grad(whole(W, x), [*W, x]), plain))


def checked(device: str) -> None:
    """torch's own examination of an operator: shapes promised, nothing changed, gradients as registered."""
    ones = lambda *shape: torch.ones(shape, dtype=torch.float64, device=device, requires_grad=True)  # noqa: E731
    lengths = torch.tensor([2, 1, 2], dtype=torch.int32, device=device)
    for kind, facts in fused.ops.KINDS.items():
        own = ones({"layer-norm-lstm": 24, "gru": 4}.get(kind, 0))
        given = (kind, ones(2, 3, facts.gates * 4), ones(facts.gates * 4, 4), own, ones(facts.states, 3, 4), lengths)
        torch.library.opcheck(fused.ops.fused_forward, given)
    torch.library.opcheck(linear_scan.linear_scan, (0.5 * ones(3, 2), ones(3, 2), ones(2)))


def main() -> None:
    out, device = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "cpu"
    torch.set_num_threads(1)
    found = {}
    for name, (kind, *_) in CASES.items():
        p = problem(name)
        W = params.map_arrays(lambda array: torch.tensor(array, device=device), p["params"])
        reason = fused.why_not(kind, W, p["inputs"])
        assert reason is None, reason  # or the loop would be judged in the place of the kernel
        for n, array in enumerate(solve(name, device)):
            found[f"{name}/{n}"] = array
    for name in SCANS:
        assert linear_scan.available(torch.ones(1, device=device))
        found |= {f"{name}/{n}": array for n, array in enumerate(solve_scan(name, device))}
    checked(device)
    np.savez(out, compiled=compiled(device), **found)


if __name__ == "__main__":
    main()
