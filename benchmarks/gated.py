"""What the races of gated cells share: the problem, our contender, and the truth.

Equal work for all: outputs, and the gradients of all parameters and of the inputs.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np
import torch

from benchmarks.race import Case
from rnncourse.reference import unroll
from rnncourse.reference.cells import Cell

STEPS, BATCH = 100, 32
WIDTHS = (32, 128, 512)
DTYPES = ("float64", "float32")


class Entry(NamedTuple):
    """What one race is about.

    Attributes:
        cell: ours.
        init: starts its parameters: (rng, inputs, hidden) -> parameters.
        peers: name -> (params, x, g) -> a contender.
        step: the equations in torch: (params, x_t, state) -> state, rows in a batch.
    """

    cell: Cell
    init: Callable
    peers: dict[str, Callable]
    step: Callable


def cases(entry: Entry, steps: int, batch: int, widths) -> Iterator[Case]:
    """One line-up for every width and precision.

    Args:
        entry: what races.
        steps: T, the length of the sequences.
        batch: B, how many run at once.
        widths: values of H, with D = H.

    Yields:
        Cases for :func:`benchmarks.race.run`.
    """
    for dtype in DTYPES:
        for H in widths:
            rng = np.random.default_rng(0)
            started = entry.init(rng, H, H)
            params = type(started)(*(array.astype(dtype) for array in started))
            x, g = rng.standard_normal((2, steps, batch, H)).astype(dtype)
            contenders = {"rnncourse": ours(entry.cell, params, x, g)}
            contenders |= {name: make(params, x, g) for name, make in entry.peers.items()}
            facts = {"T": steps, "B": batch, "H": H, "dtype": dtype}
            yield Case(facts, contenders, truth(entry, params, x, g))


def ours(cell: Cell, params: NamedTuple, x: np.ndarray, g: np.ndarray) -> Callable:
    def work():
        outputs, _, tape = unroll.forward(cell, params, x)
        back = unroll.backward(tape, g)
        return outputs, *back.params, back.inputs

    return work


def torch_layer(net: torch.nn.RNNBase, x: np.ndarray, g: np.ndarray, pick: Callable) -> Callable:
    """A contender of torch's own layer; ``pick`` sorts its gradients as ours are."""
    inputs = torch.from_numpy(x).clone().requires_grad_()
    wanted, arriving = [*net.parameters(), inputs], torch.from_numpy(g)

    def work():
        outputs, _ = net(inputs)
        *d_params, d_x = torch.autograd.grad(outputs, wanted, arriving)
        return outputs.detach(), *pick(*d_params), d_x

    return work


def truth(entry: Entry, params: NamedTuple, x: np.ndarray, g: np.ndarray) -> list[np.ndarray]:
    """The same problem by autograd through a loop written out in float64."""
    leaves = [torch.tensor(array, dtype=torch.float64, requires_grad=True) for array in (*params, x)]
    state = tuple(torch.zeros(g.shape[1:], dtype=torch.float64) for _ in range(entry.cell.states))
    outputs = []
    for x_t in leaves[-1]:
        state = entry.step(leaves[:-1], x_t, state)
        outputs.append(state[0])
    outputs = torch.stack(outputs)
    gradients = torch.autograd.grad(outputs, leaves, torch.tensor(g, dtype=torch.float64))
    return [array.detach().numpy() for array in (outputs, *gradients)]
