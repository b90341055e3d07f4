"""Costs, against counters of torch: the operations that were really done, the numbers that were really kept."""

import numpy as np
import pytest
import torch
from proof import agree, verifies
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.flop_counter import FlopCounterMode

from rnncourse import bridge, costs, gate_params, gpu, params

T, B, D, H, O = 11, 3, 5, 7, 4


def counted(function) -> int:
    with FlopCounterMode(display=False) as counter:
        function()
    return counter.get_total_flops()


class Entrywise(TorchDispatchMode):
    """Counts multiplications and additions of entries, which torch's own counter leaves out."""

    operations = 0

    def __torch_dispatch__(self, operator, types, args=(), kwargs=None):
        found = operator(*args, **(kwargs or {}))
        one = {"aten::mul": 1, "aten::add": 1, "aten::sub": 1, "aten::addcmul": 2, "aten::div": 1}
        self.operations += one.get(operator.name().split(".")[0], 0) * (found.numel() if torch.is_tensor(found) else 0)
        return found


def model(gates):
    rng = np.random.default_rng(0)
    if gates == 1:
        return gpu.cells.rnn(), bridge.to_torch(params.init_rnn(rng, D, H))
    return gpu.lstm.plain(), bridge.to_torch(gate_params.init_lstm(rng, D, H))


@verifies("eq-cost-recurrent", oracle="torch's counter of operations, and hooks on what autograd saves")
@pytest.mark.parametrize("gates", [1, 4])
def test_operations_forwards_and_backwards(gates):
    cell, weights = model(gates)
    read = bridge.to_torch(params.init_readout(np.random.default_rng(1), H, O))
    x, start = torch.randn(T, B, D, dtype=torch.float64), torch.zeros(H, dtype=torch.float64)
    start = start if gates == 1 else (start, start)

    def forward():
        outputs, _, tape = gpu.unroll.forward(cell, weights, x, start)
        return outputs, tape, gpu.readout.forward(read, outputs)[1]

    there = costs.recurrent(T, B, D, H, O, gates)
    agree(there.flops, counted(forward), 0)
    assert there.rounds == T
    _, tape, read_tape = forward()

    def backward():
        _, g = gpu.readout.backward(read_tape, torch.ones(T, B, O, dtype=torch.float64))
        gpu.unroll.backward(tape, g)

    agree(2 * there.flops, counted(backward), 0)
    if gates == 1:
        agree(there.kept, kept(weights, x), 0)


def kept(weights, x) -> int:
    """The numbers that autograd holds on to when a vanilla network runs: each memory once, weights left out."""
    W_x, W_h, b = (part.clone().requires_grad_() for part in weights)
    memories = {}

    def pack(tensor):
        memories[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes() // 8
        return tensor

    x, h = x.clone(), torch.zeros(B, H, dtype=torch.float64)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        states = []
        for x_t in x:
            h = torch.tanh(torch.addmm(b, x_t, W_x.T) + h @ W_h.T)
            states.append(h)
        alive = torch.stack(states)
    own = {part.untyped_storage().data_ptr() for part in (W_x, W_h, b)}
    assert alive.requires_grad
    return sum(size for place, size in memories.items() if place not in own)


@verifies("eq-cost-scan", oracle="torch's counter of operations")
@pytest.mark.parametrize("steps", [1, 2, 13, 64])
def test_operations_of_a_scan_of_matrices(steps):
    A, b = (torch.randn(steps, B, *size, dtype=torch.float64) for size in ((H, H), (H,)))
    found = gpu.scan.count(steps)
    there = costs.linear(steps, B, H, found.pairs, found.rounds)
    first = 2 * B * H * H  # h_0 enters before the scan begins
    agree(there.flops + first, counted(lambda: gpu.linear_recurrence.forward(A, b)), 0)
    assert there.rounds == found.rounds and there.kept == B * (steps * (H + H * H) + H)
    few = costs.linear(steps, B, H, found.pairs, found.rounds, diagonal=True)
    diagonal = (torch.rand(steps, B, H, dtype=torch.float64) for _ in range(2))
    with Entrywise() as seen:
        gpu.scan.prefixes(gpu.linear_recurrence.combine, tuple(diagonal))
    agree(few.flops, seen.operations, 0)
    assert few.kept == B * (2 * steps * H + H)


def test_bad_input():
    for call in (lambda: costs.recurrent(0, 1, 1, 1), lambda: costs.linear(1, 1, 0, 1, 1)):
        with pytest.raises(ValueError, match="expected a whole number >= 1"):
            call()
    with pytest.raises(ValueError, match="outputs: expected a whole number >= 0"):
        costs.recurrent(1, 1, 1, 1, -1)
