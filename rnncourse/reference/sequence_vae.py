"""One latent for a whole sequence: an encoder reads it, a decoder that hears it at every step writes.

The latent is drawn once for each sequence, by moving noise that is an argument; so the loss is an
ordinary function of the parameters, and its gradient is exact for the noise given.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from rnncourse import doors, masks
from rnncourse.data import pairs
from rnncourse.latent_params import Diagonal
from rnncourse.params import ReadoutParams
from rnncourse.reference import bounds, embedding, latent, losses, readout, unroll
from rnncourse.reference.cells import Cell
from rnncourse.sequence_vae_params import SequenceVAEParams, check, heard


class Terms(NamedTuple):
    """The two sides of the ELBO, sequence by sequence.

    Attributes:
        log_likelihood: log p(x | z) of the z that was drawn, shape (B,).
        kl: what each latent unit costs, in nats, shape (B, Z).
    """

    log_likelihood: np.ndarray
    kl: np.ndarray


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    Attributes:
        params: all parameters.
        encoder: of the look-up, the loop and the readout that make q.
        q: the distribution of the latent.
        noise: what z was made from, shape (B, Z).
        decoder: of the look-up, the loop and the readout that say x.
        loss: of the cross-entropy.
    """

    params: SequenceVAEParams
    encoder: tuple
    q: Diagonal
    noise: np.ndarray
    decoder: tuple
    loss: losses.Tape


class Result(NamedTuple):
    """A loss and its gradient.

    Attributes:
        loss: the value, a scalar.
        terms: what it was made of.
        gradients: in the form of the parameters.
    """

    loss: float
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
    q, encoder = _read(cell, params, words)
    doors.shape("noise", noise, tuple(q.mean.shape))
    z = latent.sample(q, noise)
    values, decoder, loss = _write(cell, params, words, z, hears)
    terms = Terms(values, latent.kl_units(q, latent.standard(q)))
    return terms, Tape(params, encoder, q, noise, decoder, loss)


def backward(tape: Tape, d_log_likelihood, d_kl) -> SequenceVAEParams:
    """Back-propagate: decoder, the latent :eq:`eq-latent-gradient`, the draw, encoder.

    Args:
        tape: from :func:`forward`.
        d_log_likelihood: dL/d log p(x | z), shape (B,).
        d_kl: dL/d of each unit's divergence, shape (B, Z).

    Returns:
        Gradients in the form of the parameters.

    Raises:
        ValueError: if a shape does not fit.
    """
    params, (looked, reader, judged), q, noise, (hears, writer, read), loss = tape
    doors.shape("d_log_likelihood", d_log_likelihood, (len(noise),))
    doors.shape("d_kl", d_kl, noise.shape)
    d_logits = -losses.backward(loss) * np.asarray(d_log_likelihood)[:, None]
    d_readout, g = readout.backward(read, d_logits)
    back = unroll.backward(writer, g)
    D = params.table.shape[1]
    d_z = back.inputs[:, :, D:].sum(axis=0)  # every step hears the same z
    path = latent.sample_backward(q, noise, d_z)
    cost = _kl_units_backward(q, d_kl)
    d_q = np.concatenate([path.mean + cost.mean, path.log_variance + cost.log_variance], axis=1)
    d_posterior, d_last = readout.backward(judged, d_q[None])
    state = (d_last[0], *(np.zeros_like(d_last[0]) for _ in range(reader.cell.states - 1)))
    ahead = unroll.backward(reader, np.zeros_like(reader.hidden[1:]), state)
    d_table = embedding.backward(looked, ahead.inputs) + embedding.backward(hears, back.inputs[:, :, :D])
    return SequenceVAEParams(d_table, ahead.params, d_posterior, back.params, d_readout)


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
    terms, tape = forward(cell, params, words, noise, hears)
    B = len(terms.kl)
    loss = -terms.log_likelihood.mean() + weight * bounds.free_bits(terms.kl, floor)
    to_kl = bounds.free_bits_backward(terms.kl, floor, weight)
    return Result(loss, terms, backward(tape, np.full(B, -1 / B), to_kl))


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
    return _read(cell, params, words)[0]


def log_likelihood(cell: Cell, params: SequenceVAEParams, words, z) -> np.ndarray:
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
    words = np.asarray(words)
    doors.shape("words", words, ("T", "B"))
    doors.shape("z", z, ("K", words.shape[1], len(params.posterior.bias) // 2))
    values, _, _ = _write(cell, params, np.tile(words, (1, len(z))), z.reshape(-1, z.shape[2]), None)
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
        ax = np.concatenate([params.table[tokens], told], axis=1) @ W_x.T + b
        states, _ = cell.step(own, ax, states[0] @ W_h.T, tuple(states))
        return log_softmax(states[0] @ W_y.T + b_y), (told, *states)

    return step, (z, *(np.zeros((len(z), W_h.shape[1])) for _ in range(cell.states)))


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Turn logits into log-probabilities.

    Args:
        logits: shape (..., V).

    Returns:
        The same shape; exp of it sums to 1.
    """
    logits = logits - logits.real.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def _read(cell: Cell, params: SequenceVAEParams, words) -> tuple[Diagonal, tuple]:
    check(params)
    words = pairs.checked(words, len(params.table) - 1)
    x, looked = embedding.forward(params.table, words)
    _, (last, *_), reader = unroll.forward(cell, params.encoder, x, lengths=pairs.lengths(words))
    both, judged = readout.forward(ReadoutParams(*params.posterior), last[None])
    return Diagonal(*np.split(both[0], 2, axis=1)), (looked, reader, judged)


def _write(cell: Cell, params: SequenceVAEParams, words, z, hears) -> tuple:
    """log p(x | z) of each sequence, and the tapes."""
    V = len(params.table) - 1
    words = pairs.checked(words, V)
    hears = heard(words, V) if hears is None else hears
    doors.shape("hears", hears, words.shape)
    x, looked = embedding.forward(params.table, hears)
    told = np.broadcast_to(z, (len(words), *z.shape))
    lengths = pairs.lengths(words)
    d, _, writer = unroll.forward(cell, params.decoder, np.concatenate([x, told], axis=2), lengths=lengths)
    logits, read = readout.forward(params.readout, d)
    real = masks.valid_steps(lengths, len(words))
    _, loss = losses.cross_entropy(logits, words, real)
    said = np.take_along_axis(log_softmax(logits), words[:, :, None], axis=2)[:, :, 0]
    return np.where(real, said, 0).sum(axis=0), (looked, writer, read), loss


def _kl_units_backward(q: Diagonal, d_kl) -> Diagonal:
    """Each unit as a distribution of its own: then what is summed over is one number."""
    units = Diagonal(q.mean[..., None], q.log_variance[..., None])
    found, _ = latent.kl_backward(units, latent.standard(units), np.asarray(d_kl))
    return Diagonal(found.mean[..., 0], found.log_variance[..., 0])
