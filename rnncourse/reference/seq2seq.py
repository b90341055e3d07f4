"""Encoder and decoder: one net reads, hands its last state over, and another writes.

The decoder's state does not depend on what attention finds: the average goes beside the state into the
readout. So a taught decoder runs as any net does, and all its steps look back at once, after it has run.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from rnncourse import doors, masks
from rnncourse.data import pairs
from rnncourse.reference import attention, bidirectional, embedding, losses, readout, unroll
from rnncourse.reference.cells import Cell
from rnncourse.seq2seq_params import NoAttention, Seq2SeqParams, check
from rnncourse.stack_params import BothWays


class Memory(NamedTuple):
    """What the encoder has made of the source.

    Attributes:
        keys: h_1..h_T, shape (T, B, H).
        lengths: real steps of each source, its end counted, shape (B,).
        start: the states that the decoder begins with, each (B, H).
    """

    keys: np.ndarray
    lengths: np.ndarray
    start: tuple


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    Attributes:
        params: all parameters.
        source: of the look-up of source symbols.
        encoder: of the encoder.
        heard: of the look-up of target symbols.
        decoder: of the decoder.
        attention: of the attention, or None.
        readout: of the readout.
    """

    params: Seq2SeqParams
    source: embedding.Tape
    encoder: Any
    heard: embedding.Tape
    decoder: unroll.Tape
    attention: attention.Tape | None
    readout: readout.Tape


class Result(NamedTuple):
    """A loss and its gradient.

    Attributes:
        loss: the value, a scalar.
        gradients: in the form of the parameters.
    """

    loss: float
    gradients: Seq2SeqParams


def forward(cell: Cell, params: Seq2SeqParams, source, targets) -> tuple[np.ndarray, Tape]:
    """Run encoder and decoder with teacher forcing, :eq:`def-seq2seq`: the decoder hears the true y_{n-1}.

    Args:
        cell: the recurrence of both.
        params: of encoder, decoder, attention and readout.
        source: x, classes with an end in every column (see ``data.pairs``), shape (T, B).
        targets: y, the same, shape (N, B).

    Returns:
        ``(logits, tape)``: shape (N, B, V_y), and what :func:`backward` needs. Logits of step n are
        those of y_n.

    Raises:
        ValueError: if a shape does not fit, a class is out of range or a column has no end.
    """
    memory, looked, encoder = _encode(cell, params, source)
    y = pairs.checked(targets, len(params.target_table))
    doors.shape("targets", y, ("N", len(memory.lengths)))
    x, heard = embedding.forward(params.target_table, pairs.shifted(y))
    d, _, decoder = unroll.forward(cell, params.decoder, x, memory.start, pairs.lengths(y))
    seen, look = d, None
    if params.attention:
        contexts, look = attention.forward(params.attention, d, memory.keys, memory.lengths)
        seen = np.concatenate([d, contexts], axis=2)
    logits, read = readout.forward(params.readout, seen)
    return logits, Tape(params, looked, encoder, heard, decoder, look, read)


def backward(tape: Tape, d_logits) -> Seq2SeqParams:
    """Back-propagate: readout, attention, decoder, the hand-over :eq:`eq-handover`, encoder.

    Args:
        tape: from :func:`forward`.
        d_logits: dL/d logits, shape (N, B, V_y).

    Returns:
        Gradients in the form of the parameters.

    Raises:
        ValueError: if the shape does not fit.
    """
    _, looked, encoder, heard, decoder, look, read = tape
    d_readout, g = readout.backward(read, d_logits)
    H = decoder.hidden.shape[2]
    d_attention, d_keys = NoAttention(), 0.0
    if look is not None:
        found = attention.backward(look, g[:, :, H:])
        d_attention, d_keys, g = found.params, found.keys, g[:, :, :H] + found.queries
    back = unroll.backward(decoder, g)
    d_encoder, d_inputs = _encoder_back(encoder, d_keys, back.initial_state)
    return Seq2SeqParams(
        source_table=embedding.backward(looked, d_inputs),
        encoder=d_encoder,
        target_table=embedding.backward(heard, back.inputs),
        decoder=back.params,
        attention=d_attention,
        readout=d_readout,
    )


def full(cell: Cell, params: Seq2SeqParams, source, targets, reduction: str = "sum") -> Result:
    """The taught loss, -log p(y | x), ends counted and padding not, and its exact gradient.

    Args:
        cell: the recurrence of both nets.
        params: all parameters.
        source: x, shape (T, B).
        targets: y, shape (N, B).
        reduction: "sum" over symbols and sequences, or "mean" over the symbols, ends among them.

    Returns:
        Loss and gradients.

    Raises:
        ValueError: if anything does not fit, naming it.
    """
    logits, tape = forward(cell, params, source, targets)
    real = masks.valid_steps(pairs.lengths(targets), len(logits))
    value, judged = losses.cross_entropy(logits, np.asarray(targets), real, reduction)
    return Result(value, backward(tape, losses.backward(judged)))


def encode(cell: Cell, params: Seq2SeqParams, source) -> Memory:
    """Read the source.

    Args:
        cell: the recurrence.
        params: all parameters.
        source: x, shape (T, B).

    Returns:
        What the decoder may know of it.

    Raises:
        ValueError: if a shape does not fit, a class is out of range or a column has no end.
    """
    return _encode(cell, params, source)[0]


def stepper(cell: Cell, params: Seq2SeqParams, memory: Memory) -> tuple[Callable, tuple]:
    """Make a free-running decoder for ``search``.

    Args:
        cell: the recurrence.
        params: all parameters.
        memory: from :func:`encode`.

    Returns:
        ``(step, state)``: a function from the last symbols (R,) and a state to the log-probabilities of
        the next (R, V_y) and the new state; and the state to begin with. Arrays of the state have a row
        for each of R sequences being written; the first says which source a row belongs to.
    """
    W_x, W_h, b, *own = params.decoder
    W_y, b_y = params.readout

    def step(tokens, state):
        which, *states = state
        ax = params.target_table[tokens] @ W_x.T + b
        states, _ = cell.step(own, ax, states[0] @ W_h.T, tuple(states))
        seen = states[0]
        if params.attention:
            keys, lengths = memory.keys[:, which], memory.lengths[which]
            found, _ = attention.forward(params.attention, seen[None], keys, lengths)
            seen = np.concatenate([seen, found[0]], axis=1)
        return log_softmax(seen @ W_y.T + b_y), (which, *states)

    return step, (np.arange(len(memory.lengths)), *memory.start)


def log_softmax(logits: np.ndarray) -> np.ndarray:
    """Turn logits into log-probabilities.

    Args:
        logits: shape (..., V).

    Returns:
        The same shape; exp of it sums to 1.
    """
    logits = logits - logits.max(axis=-1, keepdims=True)
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def _encode(cell: Cell, params: Seq2SeqParams, source):
    """The memory, and the tapes of look-up and encoder."""
    check(params)
    tokens = pairs.checked(source, len(params.source_table))
    lengths = pairs.lengths(tokens)
    x, looked = embedding.forward(params.source_table, tokens)
    if isinstance(params.encoder, BothWays):
        keys, (ahead, behind), tape = bidirectional.forward(cell, params.encoder, x, lengths=lengths)
        start = tuple(np.concatenate(parts, axis=1) for parts in zip(ahead, behind, strict=True))
    else:
        keys, start, tape = unroll.forward(cell, params.encoder, x, lengths=lengths)
    return Memory(keys, lengths, start), looked, tape


def _encoder_back(tape, d_keys, d_start: tuple):
    """Gradients of the encoder's parameters and inputs, from those of its states and of its last."""
    if isinstance(tape, unroll.Tape):
        g = np.broadcast_to(d_keys, tape.hidden[1:].shape)
        back = unroll.backward(tape, g, d_start)
        return back.params, back.inputs
    T, B, H = tape.tapes.forwards.hidden[1:].shape
    arriving = BothWays(*zip(*((part[:, :H], part[:, H:]) for part in d_start), strict=True))
    back = bidirectional.backward(tape, np.broadcast_to(d_keys, (T, B, 2 * H)), arriving)
    return back.params, back.inputs
