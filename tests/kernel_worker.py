"""Run the fused kernels on every case and write what they found: ``python tests/kernel_worker.py OUT [DEVICE]``.

A process of its own, because Triton's interpreter is chosen by TRITON_INTERPRET=1 before Triton is imported. A
case is a cell, sizes, a type of number, whether sequences end early and how large the inputs are; its numbers are
drawn here, rounded to the type, and drawn again by the judge, who so sees the same problem.
"""

import json
import sys
from functools import partial
from pathlib import Path

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from rnncourse import gate_params, gpu, params
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
WIDE = ("float64", "float32")
SIZES = [(1, 1, 1, 1), (3, 5, 2, 3), (5, 17, 3, 5), (4, 3, 5, 17), (17, 1, 1, 3)]  # T, B, D, H
SMALL = SIZES[1:4]  # a normalised row of one or two numbers says nothing in half precision
CASES = {
    f"{kind} {dtype} T{T} B{B} D{D} H{H}{' ragged' * ragged}": (kind, dtype, (T, B, D, H), ragged, 1.0)
    for kind in INITS
    for dtype in DTYPES
    for T, B, D, H in (SIZES if dtype == "float64" or f"{kind} {dtype}" == "lstm bfloat16" else SMALL)
    for ragged in ((False, True) if dtype == "float64" and T == 5 else (False,))
}
CASES |= {f"{kind} {dtype} large": (kind, dtype, SIZES[1], False, 1e4) for kind in INITS for dtype in WIDE}

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
    kind, dtype, (T, B, D, H), ragged, scale = CASES[name]
    rng = np.random.default_rng(sum(map(ord, name)))
    started = INITS[kind](rng, D, H)
    moved = [array + 0.2 * rng.standard_normal(array.shape) for array in started]
    S = fused.ops.KINDS[kind].states
    drawn = {
        "params": type(started)(*moved),
        "inputs": scale * rng.standard_normal((T, B, D)),
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
    kind, dtype, _, ragged, _ = CASES[name]
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
        states, saved = (tensor.detach() for tensor in fused.ops.fused_forward(*given))
        back = (kind, *(tensor.detach() for tensor in given[2:4]), states, saved, torch.ones_like(states), lengths)
        if own.numel():  # two of them will do
            torch.library.opcheck(fused.ops.fused_backward, back)
    for turned in (lambda tensor: tensor, torch.t):  # what is not contiguous, too
        a, b = (turned(tensor).requires_grad_() for tensor in (0.5 * ones(3, 3).detach(), ones(3, 3).detach()))
        torch.library.opcheck(linear_scan.linear_scan, (a, b, ones(3)))
        torch.library.opcheck(linear_scan.linear_scan_back, (a.detach(), b.detach()))


def drawn(kind: str, device: str, T: int = 4, B: int = 3) -> list[torch.Tensor]:
    """Parameters, inputs and initial state as one list of leaves, D = 2 and H = 5."""
    rng = np.random.default_rng(0)
    W = [array + 0.2 * rng.standard_normal(array.shape) for array in INITS[kind](rng, 2, 5)]
    numbers = [*W, rng.standard_normal((T, B, 2)), *rng.standard_normal((fused.ops.KINDS[kind].states, B, 5))]
    return [torch.tensor(array, device=device, requires_grad=True) for array in numbers]


def gradients_of_every_state(kind: str, device: str) -> None:
    """Finite differences of :func:`fused.run`, all states from the first on arriving, c as well as h."""
    leaves, lengths = drawn(kind, device), torch.tensor([4, 2, 0], dtype=torch.int32, device=device)
    n = len(leaves) - 1 - fused.ops.KINDS[kind].states
    run = lambda *given: fused.run(kind, given[:n], given[n], given[n + 1 :], lengths)  # noqa: E731
    assert torch.autograd.gradcheck(run, leaves, eps=1e-6, atol=1e-6, rtol=1e-4, fast_mode=True)


def sums_are_wide(device: str) -> None:
    """In float16, by hand: what is kept from step to step, and the sum of a product, have more digits."""
    half = lambda *numbers: torch.tensor(numbers, dtype=torch.float16, device=device)  # noqa: E731
    # i = 1/2, f = 1, g = 1/2500: 200 steps add 0.04 to c = 1, whose neighbours in float16 are 0.001 away.
    W = gate_params.LSTMParams(half(0, 0, 0, 0)[:, None], half(0, 0, 0, 0)[:, None], half(0, 20, 4e-4, 0))
    states = fused.run("lstm", W, torch.zeros_like(half(0))[None].expand(200, 1, 1), (half(0), half(1)))
    assert abs(float(states[1, -1]) - 1.04) < 0.002
    # 1000 + 1/4 - 1000, where the neighbours of 1000 are 1/2 away.
    W = params.RNNParams(half(0, 0)[:, None], torch.stack([half(1000, 0.25), half(0, 0)]), half(-1000, 0))
    states = fused.run("rnn-relu", W, half(0)[None, None], (half(1, 1),))
    assert float(states[0, 1, 0, 0]) == 0.25


def what_is_not_a_number_stays(device: str) -> None:
    """In a ReLU network: a GPU's maximum of NaN and 0 is 0, torch's is NaN."""
    *W, x, start = drawn("rnn-relu", device)
    with torch.no_grad():
        x[1, 0] = torch.nan
    loop = torch.stack([start, *(h for (h,) in gpu.unroll.run(fused.CELLS["rnn-relu"], W, x, (start,)))])
    kernel = fused.run("rnn-relu", W, x, (start,))[0]
    torch.testing.assert_close(kernel, loop, equal_nan=True)
    assert kernel[2:, 0].isnan().all() and kernel[:, 1:].isfinite().all()
    for a, b in zip(*(torch.autograd.grad(states.sum(), [x, start]) for states in (kernel, loop)), strict=True):
        torch.testing.assert_close(a, b, equal_nan=True)


def limits(device: str) -> None:
    """What the pages say that a kernel cannot do, and that a final state is no view of the outputs."""
    a, b = torch.full((40, 1), 100.0, device=device), torch.zeros(40, 1, device=device)
    assert linear_scan.loop(a, b, b[0]).isfinite().all() and linear_scan.forward(a, b).isnan().any()
    *W, x, h, c = drawn("lstm", device)
    W = gate_params.LSTMParams(*W)
    outputs, final = fused.forward("lstm", W, x, (h, c))
    (once,) = torch.autograd.grad(outputs.square().sum(), [x], create_graph=True)
    try:
        torch.autograd.grad(once.sum(), [x])
    except RuntimeError as reason:
        assert "no autograd formula" in str(reason), reason
    else:
        raise AssertionError("a kernel was differentiated twice")
    kept = outputs.detach().clone()
    for part in final:
        part.detach().add_(1)
        assert part.untyped_storage().nbytes() == part.nbytes
    assert torch.equal(outputs, kept)


def main() -> None:
    out, device = sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else "cpu"
    torch.set_num_threads(1)
    found, left_out = {}, {}
    for name, (kind, dtype, *_) in CASES.items():
        p = problem(name)
        W = params.map_arrays(partial(torch.tensor, dtype=DTYPES[dtype], device=device), p["params"])
        if reason := fused.why_not(kind, W, p["inputs"]):  # or the loop would be judged in the place of the kernel
            assert "stay on this chip" in reason and device != "cpu", reason
            left_out[name] = reason
            continue
        for n, array in enumerate(solve(name, device)):
            found[f"{name}/{n}"] = array
    assert len(left_out) < len(CASES) / 4, left_out
    for name in SCANS:
        assert linear_scan.available(torch.ones(1, device=device))
        found |= {f"{name}/{n}": array for n, array in enumerate(solve_scan(name, device))}
    checked(device)
    for kind in INITS:
        gradients_of_every_state(kind, device)
    sums_are_wide(device)
    what_is_not_a_number_stays(device)
    limits(device)
    np.savez(out, compiled=compiled(device), left_out=json.dumps(left_out), **found)


if __name__ == "__main__":
    main()
