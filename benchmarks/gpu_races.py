"""The races of ``python -m benchmarks.gpu``: recurrences, scans, filters and decoding on one device.

Ours is the first of each line-up. Peers that are not installed stay away; the record says who ran.
"""

import importlib.util
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks import gpu_peers
from benchmarks.race import Case
from rnncourse import bridge, bridge_gates, gate_params, gpu, hmm_params, lds_params, params, seq2seq_params
from rnncourse.data import linear_systems, pairs, processes
from rnncourse.gpu import fused, graph, linear_scan
from rnncourse.gpu.cuda_graphs import graphed


def init_irnn(rng: np.random.Generator, inputs: int, hidden: int) -> params.RNNParams:
    """A ReLU network whose recurrence starts at the identity."""
    return params.init_rnn(rng, inputs, hidden)._replace(recurrent_weights=np.eye(hidden))


INITS = {
    "rnn-tanh": params.init_rnn,
    "rnn-relu": init_irnn,
    "lstm": gate_params.init_lstm,
    "layer-norm-lstm": gate_params.init_layer_norm_lstm,
    "gru": gate_params.init_reset_after_gru,
    "gru-before": gate_params.init_gru,
}
LAYERS = {
    "rnn-tanh": bridge.rnn_to_torch,
    "rnn-relu": partial(bridge.rnn_to_torch, activation="relu"),
    "lstm": bridge_gates.lstm_to_torch,
    "gru": bridge_gates.gru_to_torch,
}
OURS = ("fused kernel", "step loop", "loop in a graph", "fused scan", "rnncourse tree", "rnncourse scan")
OURS += ("step by step", "steps in graphs")
TOLERANCES = {"float64": 1e-8, "float32": 1e-3, "bfloat16": 0.2}
# A ReLU whose argument is nearly 0 may fall on either side of its kink; a normalised row of nearly equal numbers
# magnifies rounding at every step, so that after 200 of them sixteen bits agree with nothing.
MAGNIFIED = {
    "rnn-relu": {"float32": 0.1, "bfloat16": 1.0},
    "layer-norm-lstm": {"float32": 0.1, "bfloat16": float("inf")},
}


def wrong(row: dict) -> list[str]:
    """Those of ours in a row that failed, or are further from float64 than they may be, NaN included."""
    at_most = (TOLERANCES | MAGNIFIED.get(row.get("cell"), {}))[row["dtype"]]
    far = [who for who, its in row["contenders"].items() if not its["error_against_float64"] <= at_most]
    return [who for who in [*row.get("failed", {}), *far] if who in OURS]


class Fetched:
    """A tensor that goes to NumPy only when asked, so that copying it home is no part of a race."""

    def __init__(self, tensor: torch.Tensor):
        self.tensor = tensor

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return self.tensor.detach().double().cpu().numpy().astype(dtype)


def fetched(tree: Any) -> list[Fetched]:
    """Every tensor of nested tuples, to be fetched later."""
    return [Fetched(tensor) for tensor in graph.tensors(tree)]


# Recurrences, forwards and backwards


def recurrences(device: torch.device, toy: bool) -> Iterator[Case]:
    """Every fused cell against the loop over steps, the loop in a CUDA graph, and cuDNN where it has the cell.

    Args:
        device: where they race.
        toy: tiny sizes.

    Yields:
        Cases for :func:`benchmarks.race.run`.
    """
    T, B = (5, 3) if toy else (200, 64)
    widths = [("float32", 8)] if toy else [("float32", 64), ("float32", 512), ("bfloat16", 128), ("bfloat16", 512)]
    for kind in fused.CELLS:
        for dtype, H in widths:
            W, x, g = recurrence(kind, T, B, H, getattr(torch, dtype), device)
            reason = fused.why_not(kind, W, x)
            contenders = {} if reason else {"fused kernel": fused_run(kind, W, x, g)}
            contenders |= {"step loop": stepwise(kind, W, x, g)}
            if device.type == "cuda":
                contenders["loop in a graph"] = stepwise(kind, W, x, g, recorded=True)
            if kind in LAYERS:
                contenders["cuDNN" if device.type == "cuda" else "torch.nn"] = layer(kind, W, x, g)
            facts = {"race": "recurrence", "cell": kind, "T": T, "B": B, "H": H, "dtype": dtype}
            facts |= {"no kernel": reason} if reason else {}
            truth = stepwise(kind, *graph.cut(params.map_arrays(torch.Tensor.double, (W, x, g))))()
            yield Case(facts, contenders, [np.asarray(array, np.float64) for array in truth])


def recurrence(kind: str, T: int, B: int, H: int, dtype: torch.dtype, device: torch.device) -> tuple:
    """Parameters, inputs and output gradients, rounded to the precision that races."""
    rng = np.random.default_rng(0)
    drawn = INITS[kind](rng, H, H), rng.standard_normal((T, B, H)), rng.standard_normal((T, B, H))
    return params.map_arrays(lambda array: torch.tensor(array, dtype=dtype, device=device), drawn)


def zeros(kind: str, x: torch.Tensor, H: int) -> tuple:
    return tuple(x.new_zeros(x.shape[1], H) for _ in range(fused.CELLS[kind].states))


def fused_run(kind: str, W, x: torch.Tensor, g: torch.Tensor) -> Callable:
    W, x = graph.fresh((W, x))

    def work():
        outputs = fused.run(kind, W, x, zeros(kind, x, W[1].shape[1]))[0, 1:]
        return fetched((outputs, *torch.autograd.grad(outputs, [*W, x], g)))

    return work


def stepwise(kind: str, W, x: torch.Tensor, g: torch.Tensor, recorded: bool = False) -> Callable:
    floor = gpu.gru_before if kind == "gru-before" else gpu.unroll

    def whole(W, x, g):
        W, x = graph.fresh((W, x))
        states = floor.run(fused.CELLS[kind], W, x, zeros(kind, x, W[1].shape[1]))
        outputs = torch.stack([state[0] for state in states])
        return outputs.detach(), *torch.autograd.grad(outputs, [*W, x], g)

    runs = graphed(whole, enabled=recorded)
    return lambda: fetched(runs(W, x, g))


def layer(kind: str, W, x: torch.Tensor, g: torch.Tensor) -> Callable:
    """torch's own layer: cuDNN on a CUDA device. Its second bias has our first one's gradient, but for b_hn."""
    wide = params.map_arrays(lambda tensor: tensor.detach().float().cpu(), W)
    module = LAYERS[kind](wide).to(x.device, x.dtype)
    inputs, H = x.clone().requires_grad_(), W[1].shape[1]

    def work():
        torch.backends.cudnn.allow_tf32 = False
        outputs, _ = module(inputs)
        d_W_x, d_W_h, d_b, d_b_h, d_x = torch.autograd.grad(outputs, [*module.parameters(), inputs], g)
        own = (d_b_h[2 * H :],) if kind == "gru" else ()
        return fetched((outputs, d_W_x, d_W_h, d_b, *own, d_x))

    return work


# Scans and filters, forwards


def scans(device: torch.device, toy: bool) -> Iterator[Case]:
    """h_t = a_t h_{t-1} + b_t, unit by unit: our kernel, the tree of ``gpu.scan``, torch's scan, and the loop.

    Args:
        device: where they race.
        toy: tiny sizes.

    Yields:
        Cases for :func:`benchmarks.race.run`.
    """
    B, H = (2, 3) if toy else (8, 256)
    for T in (8,) if toy else (1024, 16_384, 131_072):
        rng = np.random.default_rng(0)
        a, b = rng.uniform(0.5, 1, (T, B, H)), rng.standard_normal((T, B, H))
        a, b = (torch.tensor(array, dtype=torch.float32, device=device) for array in (a, b))
        contenders = {"fused scan": scanned(a, b)} if linear_scan.available(a) else {}
        contenders |= {**tree(a, b), "associative_scan": associative(a, b), **gpu_peers.accelerated_scan(a, b, Fetched)}
        if T <= 16_384:
            contenders["step loop"] = lambda a=a, b=b: [Fetched(linear(a, b))]
        truth = [linear(a.double(), b.double()).cpu().numpy()]
        yield Case({"race": "linear scan", "T": T, "B": B, "H": H, "dtype": "float32"}, contenders, truth)


def linear(a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    """The loop."""
    return linear_scan.loop(a, b, torch.zeros_like(b[0]))


def scanned(a: torch.Tensor, b: torch.Tensor) -> Callable:
    start = torch.zeros_like(b[0])
    return lambda: [Fetched(linear_scan.forward(a, b, start))]


def join(early: tuple, late: tuple) -> tuple:
    """Two stretches of a linear recurrence as one."""
    return early[0] * late[0], late[0] * early[1] + late[1]


def tree(a: torch.Tensor, b: torch.Tensor) -> dict[str, Callable]:
    if importlib.util.find_spec("rnncourse.gpu.scan") is None:
        return {}
    prefixes = importlib.import_module("rnncourse.gpu.scan").prefixes
    return {"rnncourse tree": lambda: [Fetched(prefixes(join, (a, b))[1])]}


def associative(a: torch.Tensor, b: torch.Tensor) -> Callable:
    """torch's scan, compiled: into one kernel on a CUDA device, traced alone elsewhere."""
    from torch._higher_order_ops.associative_scan import associative_scan

    mode, back_end = ("pointwise", "inductor") if a.is_cuda else ("generic", "eager")
    torch._dynamo.reset()  # or the second length is compiled for lengths of every size
    whole = lambda a, b: associative_scan(join, (a, b), 0, combine_mode=mode)[1]  # noqa: E731
    run = torch.compile(whole, backend=back_end, dynamic=False)
    return lambda: [Fetched(run(a, b))]


def chains(device: torch.device, toy: bool) -> Iterator[Case]:
    """A hidden Markov model's posterior over one long sequence: the scan, the loop, and dynamax's parallel form.

    Args:
        device: where they race.
        toy: tiny sizes.

    Yields:
        Cases for :func:`benchmarks.race.run`.
    """
    T = 7 if toy else 10_000
    for K in (3,) if toy else (5, 50):
        rng = np.random.default_rng(0)
        pi, P = rng.dirichlet(np.ones(K)), rng.dirichlet(np.ones(K), K)
        shown = rng.dirichlet(np.ones(2 * K), K)
        x = processes.hmm(rng, pi, P, shown, T, 1).observations
        model = bridge.to_torch(hmm_params.HMMParams(pi, P, hmm_params.Categorical(shown)), device)
        x = torch.as_tensor(x, device=device)
        contenders = {"rnncourse scan": posterior(gpu.hmm_scan, model, x), "step loop": posterior(gpu.hmm, model, x)}
        contenders |= gpu_peers.dynamax_hmm(pi, P, shown, x.cpu().numpy())
        value, tape = gpu.hmm_log.forward(model, x)
        truth = [value.cpu().numpy(), gpu.hmm_log.backward(tape).posterior.cpu().numpy()]
        yield Case({"race": "hidden Markov", "T": T, "B": 1, "K": K, "dtype": "float64"}, contenders, truth)


def posterior(floor, model, x: torch.Tensor) -> Callable:
    def work():
        value, tape = floor.forward(model, x)
        return fetched((value, floor.backward(tape).posterior))

    return work


def filters(device: torch.device, toy: bool) -> Iterator[Case]:
    """A Kalman filter over one long series: the scan where it is there, the loop, and dynamax's parallel form.

    Args:
        device: where they race.
        toy: tiny sizes.

    Yields:
        Cases for :func:`benchmarks.race.run`.
    """
    T, H = (7, 2) if toy else (10_000, 4)
    rng = np.random.default_rng(0)
    system = lds_params.init_lds(rng, H, max(H // 2, 1), radius=0.95)
    y = linear_systems.sample(rng, system, T, 1).observations
    there, seen = bridge.to_torch((system, y), device)
    contenders = {}
    if importlib.util.find_spec("rnncourse.gpu.kalman_scan") is not None:
        contenders["rnncourse scan"] = filtered(importlib.import_module("rnncourse.gpu.kalman_scan"), there, seen)
    contenders |= {"step loop": filtered(gpu.kalman, there, seen), **gpu_peers.dynamax_kalman(system, y)}
    truth = [gpu.square_root.forward(*bridge.to_torch((system, y), torch.device("cpu"))).means.numpy()]
    yield Case({"race": "Kalman", "T": T, "B": 1, "H": H, "dtype": "float64"}, contenders, truth)


def filtered(floor, system, y: torch.Tensor) -> Callable:
    return lambda: [Fetched(floor.forward(system, y)[0].means)]


# Decoding


def decoding(device: torch.device, toy: bool) -> Iterator[Case]:
    """Beam search by a GRU decoder: each step launched one by one, and each step in a CUDA graph.

    Args:
        device: where they race.
        toy: tiny sizes.

    Yields:
        Cases for :func:`benchmarks.race.run`.
    """
    H, V, K, steps = (4, 6, 2, 5) if toy else (128, 1000, 8, 50)
    drawn = seq2seq_params.init_seq2seq(np.random.default_rng(0), V, V, H, H, init=gate_params.init_reset_after_gru)
    source = pairs.reversals(np.random.default_rng(1), 1, min(10, V - 1), V - 1)[0]
    found = {}
    for where in (device, torch.device("cpu")):
        model, cell = bridge.to_torch(drawn, where), gpu.gru.reset_after()
        step, state = gpu.seq2seq.stepper(cell, model, gpu.seq2seq.encode(cell, model, source))
        found[where] = beam(step, state, K, steps), beam(graphed(step), state, K, steps)
    contenders = dict(zip(("step by step", "steps in graphs"), found[device], strict=True))
    contenders = dict(reversed(contenders.items())) if device.type == "cuda" else contenders
    truth = [np.asarray(array, np.float64) for array in found[torch.device("cpu")][0]()]
    facts = {"race": "beam search", "H": H, "V": V, "K": K, "steps": steps, "dtype": "float64"}
    yield Case(facts, contenders, truth)


def beam(step: Callable, state, K: int, steps: int) -> Callable:
    return lambda: [Fetched(gpu.search.beam(step, state, K, steps).log_probabilities)]


RACES = {"recurrences": recurrences, "scans": scans, "chains": chains, "filters": filters, "decoding": decoding}
