"""Gates that see the input alone: the recurrence is then linear in the state, and a scan runs it."""

from typing import NamedTuple

import torch

from rnncourse import doors, minimal_params
from rnncourse.gpu import activations, graph, linear_recurrence, scan
from rnncourse.gpu.unroll import as_floats
from rnncourse.minimal_params import MinimalParams


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass: nodes of autograd's graph.

    Attributes:
        given: parameters, inputs and initial state.
        outputs: h_1..h_T, shape (T, B, H).
    """

    given: tuple
    outputs: torch.Tensor


class Gradients(NamedTuple):
    """Total derivatives.

    Attributes:
        params: in the form of the parameters.
        inputs: dL/dx_t, shape (T, B, D).
        initial_state: dL/dh_0, in the shape of h_0.
    """

    params: MinimalParams
    inputs: torch.Tensor
    initial_state: torch.Tensor


def forward(kind: str, params: MinimalParams, inputs, initial_state=None):
    """Run a layer of minimal gates by a scan, :eq:`def-minimal-gru` and :eq:`def-minimal-lstm`.

    Args:
        kind: "gru" (a gate in (0, 1)), "signed" (the same in (-1, 1)) or "lstm" (two gates that sum to 1).
        params: W_x and b.
        inputs: x, shape (T, B, D).
        initial_state: h_0, shape (H,) or (B, H); zeros unless given.

    Returns:
        ``(hidden, tape)``: h_1..h_T, shape (T, B, H), and what :func:`backward` needs.

    Raises:
        ValueError: if a shape does not fit, there is no such kind, or an entry is not finite.
    """
    H = minimal_params.check(kind, params)
    W, b = params
    x = as_floats(inputs)
    doors.sequences("inputs", x, W.shape[1])
    for name, array in (("inputs", x), ("input_weights", W), ("bias", b)):
        doors.finite(name, array.detach())
    h_0 = x.new_zeros(x.shape[1], H) if initial_state is None else as_floats(initial_state)
    doors.shape("initial_state", h_0, (H,) if h_0.ndim == 1 else (x.shape[1], H))
    given = W, x, h_0 = graph.tracked((MinimalParams(W, b), x, h_0))
    hidden = run(kind, *given)
    return graph.returned(hidden, params, inputs, initial_state), Tape(given, hidden)


def run(kind: str, params: MinimalParams, inputs: torch.Tensor, initial_state: torch.Tensor) -> torch.Tensor:
    """The same without checks.

    Args:
        kind: as in :func:`forward`.
        params: W_x and b.
        inputs: x, shape (T, B, D).
        initial_state: h_0, shape (H,) or (B, H).

    Returns:
        h_1..h_T, shape (T, B, H).
    """
    W, b = params
    blocks = _squashed(kind, (inputs @ W.T + b).chunk(minimal_params.BLOCKS[kind], dim=-1))
    A, shift = affine(kind, *blocks)
    started = torch.cat([shift[:1] + A[:1] * initial_state, shift[1:]])
    return scan.prefixes(linear_recurrence.combine, (A, started))[1]


def affine(kind: str, *blocks) -> tuple:
    """What gates and candidate make of a state: h -> A h + b.

    Args:
        kind: "gru", "signed" or "lstm".
        blocks: z, n; for the LSTM i / (i + f), i, f, g.

    Returns:
        (A, b), each (T, B, H).
    """
    if kind == "lstm":
        share, _, _, g = blocks
        return 1 - share, share * g
    z, n = blocks
    return z, (1 - z) * n


def backward(tape: Tape, d_outputs) -> Gradients:
    """The gradients, which autograd finds, :eq:`eq-minimal-gradients`.

    Args:
        tape: from :func:`forward`.
        d_outputs: g_t, the gradient at h_t as an output, shape (T, B, H).

    Returns:
        The gradients.

    Raises:
        ValueError: if a shape does not fit.
    """
    g = as_floats(d_outputs)
    doors.shape("d_outputs", g, tuple(tape.outputs.shape))
    return Gradients(*graph.pull(tape.outputs, g, tape.given))


def _squashed(kind: str, blocks) -> tuple:
    if kind == "lstm":
        a_i, a_f, g = blocks  # i / (i + f) by logarithms: both gates may be too small for a number
        share = torch.sigmoid(activations.softplus(-a_f) - activations.softplus(-a_i))
        return share, torch.sigmoid(a_i), torch.sigmoid(a_f), g
    z, n = blocks
    return (torch.tanh(z) if kind == "signed" else torch.sigmoid(z)), n
