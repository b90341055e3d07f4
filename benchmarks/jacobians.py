"""Every step's Jacobian of a vanilla RNN: the closed form against automatic differentiation.

All start from the same states and pre-activations and return J_1..J_T for the whole batch.
"""

from collections.abc import Callable, Iterator

import numpy as np
import torch

from benchmarks.race import Case
from rnncourse import bridge
from rnncourse.params import RNNParams, init_rnn
from rnncourse.reference import cells, jacobians, unroll

STEPS, BATCH = 100, 8
WIDTHS = (16, 64, 128)
DTYPES = ("float64", "float32")


def cases(steps: int = STEPS, batch: int = BATCH, widths=WIDTHS) -> Iterator[Case]:
    """One line-up for every width and precision.

    Args:
        steps: T, the length of the sequences.
        batch: B, how many run at once.
        widths: values of H, with D = H.

    Yields:
        Cases for :func:`benchmarks.race.run`.
    """
    for dtype in DTYPES:
        for H in widths:
            params, tape = problem(steps, batch, H, dtype)
            contenders = {
                "rnncourse": lambda tape=tape: [jacobians.steps(tape)],
                "torch jacrev": autodiff(params, tape, torch.func.jacrev),
                "torch jacfwd": autodiff(params, tape, torch.func.jacfwd),
                "torch closed form": closed_form(params, tape),
            }
            yield Case({"T": steps, "B": batch, "H": H, "dtype": dtype}, contenders, truth(params, tape))


def problem(steps: int, batch: int, width: int, dtype: str) -> tuple[RNNParams, unroll.Tape]:
    """Parameters and a tape, rounded to the precision that races."""
    rng = np.random.default_rng(0)
    params = RNNParams(*(array.astype(dtype) for array in init_rnn(rng, width, width)))
    x = rng.standard_normal((steps, batch, width)).astype(dtype)
    return params, unroll.forward(cells.rnn(), params, x)[2]


def _given(params: RNNParams, tape: unroll.Tape) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What every torch contender begins with: W_h, the states before, and W_x x_t + b."""
    W_x, W_h, b = bridge.to_torch(params)
    return W_h, bridge.to_torch(tape.hidden[:-1]), bridge.to_torch(tape.inputs) @ W_x.T + b


def autodiff(params: RNNParams, tape: unroll.Tape, transform: Callable) -> Callable:
    """The step differentiated by torch.func, mapped over time and batch."""
    W_h, h, ax = _given(params, tape)
    jacobian = torch.func.vmap(torch.func.vmap(transform(lambda h, ax: torch.tanh(ax + h @ W_h.T))))
    return lambda: [jacobian(h, ax)]


def closed_form(params: RNNParams, tape: unroll.Tape) -> Callable:
    """The same formula as ours, in torch."""
    W_h, _, _ = _given(params, tape)
    after = bridge.to_torch(tape.hidden[1:])
    return lambda: [(1 - after**2)[..., None] * W_h]


def truth(params: RNNParams, tape: unroll.Tape) -> list[np.ndarray]:
    """diag(1 / cosh^2 a_t) W_h in float64, from the pre-activations."""
    W_x, W_h, b = (array.astype(np.float64) for array in params)
    a = tape.inputs.astype(np.float64) @ W_x.T + tape.hidden[:-1].astype(np.float64) @ W_h.T + b
    return [np.cosh(a)[..., None] ** -2.0 * W_h]
