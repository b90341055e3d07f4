"""One latent for a whole sequence: an encoder reads it, a decoder that hears it at every step writes.

The latent is drawn once for each sequence, by moving noise that is an argument; so the loss is an
ordinary function of the parameters, and its gradient is exact for the noise given.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from rnncourse import doors, masks
from rnncourse.data import pairs
from rnncourse.gpu import bounds, embedding, graph, latent, readout, unroll
from rnncourse.gpu.cells import Cell
from rnncourse.latent_params import Diagonal
from rnncourse.sequence_vae_params import SequenceVAEParams, check, heard


class Terms(NamedTuple):
    """The two sides of the ELBO, sequence by sequence.

    Attributes:
        log_likelihood: log p(x | z) of the z that was drawn, shape (B,).
        kl: what each latent unit costs, in nats, shape (B, Z).
    """

    log_likelihood: torch.Tensor
    kl: torch.Tensor


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass: nodes of autograd's graph.

    Attributes:
        params: all parameters.
        terms: both sides of the ELBO.
    """

    params: SequenceVAEParams
    terms: Terms


class Result(NamedTuple):
    """A loss and its gradient.

    Attributes:
        loss: the value, a scalar.
        terms: what it was made of.
        gradients: in the form of the parameters.
    """

    loss: torch.Tensor
    terms: Terms
    gradients: SequenceVAEParams


def forward(cell: Cell, params: SequenceVAEParams, words, noise, hears=None) -> tuple[Terms, Tape]:
    """Read, draw and write, :eq:`def-sequence-vae`.

    Args:
        cell: the recurrence of both nets.
        params: all parameters.
        words: x, integers with an end in every column (see ``data.pairs``), shape (T, B).
        noise: epsilon, standard normal, shape (B, Z).
        hears: what the decoder hears, from ``sequence_vae_params.heard``; the symbols before unless given.

    Returns:
        ``(terms, tape)``: both sides of the ELBO, and what :func:`backward` needs.

    Raises:
        ValueError: if a shape does not fit, a class is out of range or a column has no end.
    """
    W = graph.tracked(params)
    q = encode(cell, W, words)
    doors.shape("noise", noise, tuple(q.mean.shape))
    values = _write(cell, W, words, latent.sample(q, noise), hears)
    terms = Terms(values, latent.kl_units(q, latent.standard(q)))
    return graph.returned(terms, params), Tape(W, terms)


def backward(tape: Tape, d_log_likelihood, d_kl) -> SequenceVAEParams:
    """Back-propagate through decoder, latent, draw and encoder, by autograd.

    Args:
        tape: from :func:`forward`.
        d_log_likelihood: dL/d log p(x | z), shape (B,).
        d_kl: dL/d of each unit's divergence, shape (B, Z).

    Returns:
        Gradients in the form of the parameters.

    Raises:
        ValueError: if a shape does not fit, or nothing was recorded.
    """
    doors.shape("d_log_likelihood", d_log_likelihood, tuple(tape.terms.log_likelihood.shape))
    doors.shape("d_kl", d_kl, tuple(tape.terms.kl.shape))
    return graph.pull(tape.terms, (d_log_likelihood, d_kl), tape.params)


def full(
    cell: Cell, params: SequenceVAEParams, words, noise, weight: float = 1.0, floor: float = 0.0, hears=None
) -> Result:
    """The loss of a batch, :eq:`def-sequence-loss`, and its exact gradient for the noise given.

    Args:
        cell: the recurrence of both nets.
        params: all parameters.
        words: x, shape (T, B).
        noise: epsilon, shape (B, Z).
        weight: beta, what a nat of divergence costs.
        floor: lambda, nats that each unit may use for nothing.
        hears: what the decoder hears, shape (T, B).

    Returns:
        The mean over the batch of -log p(x | z), plus beta times the floored divergence; its terms; gradients.

    Raises:
        ValueError: if anything does not fit, naming it.
    """
    _, (W, terms) = forward(cell, params, words, noise, hears)
    loss = -terms.log_likelihood.mean() + weight * bounds.free_bits(terms.kl, floor)
    return Result(loss.detach(), graph.cut(terms), graph.pull(loss, None, W))


def encode(cell: Cell, params: SequenceVAEParams, words) -> Diagonal:
    """Read sequences, and say where the latent of each lies.

    Args:
        cell: the recurrence.
        params: all parameters.
        words: x, shape (T, B).

    Returns:
        q(z | x), shapes (B, Z).

    Raises:
        ValueError: if a shape does not fit, a class is out of range or a column has no end.
    """
    check(params)
    words = pairs.checked(_array(words), len(params.table) - 1)
    x, _ = embedding.forward(params.table, words)
    _, (last, *_), _ = unroll.forward(cell, params.encoder, x, lengths=pairs.lengths(words))
    both, _ = readout.forward(params.posterior, last[None])
    return Diagonal(*both[0].chunk(2, dim=1))


def log_likelihood(cell: Cell, params: SequenceVAEParams, words, z) -> torch.Tensor:
    """log p(x | z) of several latents for each sequence.

    Args:
        cell: the recurrence.
        params: all parameters.
        words: x, shape (T, B).
        z: shape (K, B, Z).

    Returns:
        In nats, ends counted, shape (K, B).

    Raises:
        ValueError: if a shape does not fit, a class is out of range or a column has no end.
    """
    words = _array(words)
    doors.shape("words", words, ("T", "B"))
    doors.shape("z", z, ("K", words.shape[1], len(params.posterior.bias) // 2))
    values = _write(cell, params, np.tile(words, (1, len(z))), z.reshape(-1, z.shape[2]), None)
    return values.reshape(z.shape[:2])


def stepper(cell: Cell, params: SequenceVAEParams, z) -> tuple[Callable, tuple]:
    """Make a free-running decoder for ``search``.

    Args:
        cell: the recurrence.
        params: all parameters.
        z: a latent for each sequence, shape (B, Z).

    Returns:
        ``(step, state)``: a function from the last symbols (R,) and a state to the log-probabilities of
        the next (R, V) and the new state; and the state to begin with.

    Raises:
        ValueError: if a shape does not fit.
    """
    check(params)
    W_x, W_h, b, *own = params.decoder
    W_y, b_y = params.readout
    doors.shape("z", z, ("B", len(params.posterior.bias) // 2))

    def step(tokens, state):
        told, *states = state
        ax = torch.cat([params.table[tokens], told], dim=1) @ W_x.T + b
        states = cell.step(own, ax, states[0] @ W_h.T, tuple(states))
        return log_softmax(states[0] @ W_y.T + b_y), (told, *states)

    return step, (z, *(z.new_zeros(len(z), W_h.shape[1]) for _ in range(cell.states)))


def log_softmax(logits: torch.Tensor) -> torch.Tensor:
    """Turn logits into log-probabilities.

    Args:
        logits: shape (..., V).

    Returns:
        The same shape; exp of it sums to 1.
    """
    return torch.log_softmax(logits, dim=-1)


def _write(cell: Cell, params: SequenceVAEParams, words, z, hears) -> torch.Tensor:
    """log p(x | z) of each sequence."""
    V = len(params.table) - 1
    words = pairs.checked(_array(words), V)
    hears = heard(words, V) if hears is None else _array(hears)
    doors.shape("hears", hears, words.shape)
    x, _ = embedding.forward(params.table, hears)
    told = z.expand(len(words), *z.shape)
    lengths = pairs.lengths(words)
    d, _, _ = unroll.forward(cell, params.decoder, torch.cat([x, told], dim=2), lengths=lengths)
    logits, _ = readout.forward(params.readout, d)
    said = log_softmax(logits).gather(2, torch.as_tensor(words, device=z.device)[:, :, None])[:, :, 0]
    real = torch.as_tensor(masks.valid_steps(lengths, len(words)), device=z.device)
    return torch.where(real, said, 0).sum(dim=0)


def _array(tokens) -> np.ndarray:
    """Classes are checked where they are cheap to look at."""
    return tokens.cpu().numpy() if isinstance(tokens, torch.Tensor) else np.asarray(tokens)
