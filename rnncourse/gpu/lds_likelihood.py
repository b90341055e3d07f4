"""The gradient of the log-likelihood of a linear system, by autograd through the filter."""

from typing import NamedTuple

import torch

from rnncourse import doors
from rnncourse.gpu import graph, kalman
from rnncourse.gpu.unroll import as_floats
from rnncourse.lds_params import LDSParams


class Gradients(NamedTuple):
    """Total derivatives of the weighted sum of the log-likelihoods.

    Attributes:
        params: in the form of the parameters. Of a covariance, the gradient is symmetric.
        inputs: by x, shape (T, B, D).
        outputs: by y, zero where not seen, shape (T, B, O).
    """

    params: LDSParams
    inputs: torch.Tensor
    outputs: torch.Tensor


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    Attributes:
        given: parameters, inputs and outputs, as they were recorded.
        log_likelihood: of each sequence, shape (B,).
    """

    given: tuple
    log_likelihood: torch.Tensor


def forward(params: LDSParams, outputs, inputs=None, observed=None, lengths=None):
    """The log-likelihood of a batch of sequences, by the Kalman filter.

    Args:
        params: the system; its matrices may change with time, and from sequence to sequence.
        outputs: y, shape (T, B, O). Where not observed, and in padding, it may hold anything, NaN included.
        inputs: x, shape (T, B, D); may be left out where D is 0.
        observed: booleans, shape (T, B) or (T, B, O): what was seen; all unless given.
        lengths: real steps of each sequence, shape (B,); all T unless given.

    Returns:
        ``(log_likelihood, tape)``: one number for each sequence, shape (B,), and what :func:`backward` needs.

    Raises:
        ValueError: as ``kalman.forward``.
    """
    y = as_floats(outputs)
    x = torch.zeros(*y.shape[:2], 0).to(y) if inputs is None else as_floats(inputs)
    given = graph.tracked((params, x, y))
    filtered, _ = kalman.forward(given[0], given[2], given[1], observed, lengths)
    tape = Tape(given, filtered.log_likelihood)
    return graph.returned(filtered.log_likelihood, params, x, y), tape


def backward(tape: Tape, d_log_likelihood=None) -> Gradients:
    """The gradient by every parameter, by autograd; :eq:`eq-lds-gradients` on the other floor.

    Args:
        tape: from :func:`forward`.
        d_log_likelihood: the weight of each sequence, shape (B,); 1 unless given.

    Returns:
        The gradients.

    Raises:
        ValueError: if the weights do not fit, or nothing was recorded.
    """
    value = tape.log_likelihood
    w = torch.ones_like(value) if d_log_likelihood is None else torch.as_tensor(d_log_likelihood).to(value)
    doors.shape("d_log_likelihood", w, tuple(value.shape))
    return Gradients(*graph.pull(value, w, tape.given))
