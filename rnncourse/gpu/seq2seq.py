"""Encoder and decoder: one net reads, hands its last state over, and another writes.

The decoder's state does not depend on what attention finds: the average goes beside the state into the
readout. So a taught decoder runs as any net does, and all its steps look back at once, after it has run.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch

from rnncourse import doors, masks
from rnncourse.data import pairs
from rnncourse.gpu import attention, bidirectional, embedding, graph, losses, readout, unroll
from rnncourse.gpu.cells import Cell
from rnncourse.seq2seq_params import Seq2SeqParams, check
from rnncourse.stack_params import BothWays


class Memory(NamedTuple):
    """What the encoder has made of the source.

    Attributes:
        keys: h_1..h_T, shape (T, B, H).
        lengths: real steps of each source, its end counted, shape (B,).
        start: the states that the decoder begins with, each (B, H).
    """

    keys: torch.Tensor
    lengths: torch.Tensor
    start: tuple


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass: nodes of autograd's graph.

    Attributes:
        params: all parameters.
        logits: shape (N, B, V_y).
        attention: of the attention, or None.
    """

    params: Seq2SeqParams
    logits: torch.Tensor
    attention: attention.Tape | None


class Result(NamedTuple):
    """A loss and its gradient.

    Attributes:
        loss: the value, a scalar.
        gradients: in the form of the parameters.
    """

    loss: torch.Tensor
    gradients: Seq2SeqParams


def forward(cell: Cell, params: Seq2SeqParams, source, targets) -> tuple[torch.Tensor, Tape]:
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
    W = graph.tracked(params)
    memory = encode(cell, W, source)
    y = pairs.checked(_array(targets), len(W.target_table))
    doors.shape("targets", y, ("N", len(memory.lengths)))
    x, _ = embedding.forward(W.target_table, pairs.shifted(y))
    d, _, _ = unroll.forward(cell, W.decoder, x, memory.start, pairs.lengths(y))
    seen, look = d, None
    if W.attention:
        contexts, look = attention.forward(W.attention, d, memory.keys, memory.lengths)
        seen = torch.cat([d, contexts], dim=2)
    logits, _ = readout.forward(W.readout, seen)
    return graph.returned(logits, params), Tape(W, logits, look)


def backward(tape: Tape, d_logits) -> Seq2SeqParams:
    """Back-propagate through readout, attention, decoder and encoder, by autograd.

    Args:
        tape: from :func:`forward`.
        d_logits: dL/d logits, shape (N, B, V_y).

    Returns:
        Gradients in the form of the parameters.

    Raises:
        ValueError: if the shape does not fit, or nothing was recorded.
    """
    doors.shape("d_outputs", d_logits, tuple(tape.logits.shape))
    return graph.pull(tape.logits, d_logits, tape.params)


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
    targets = _array(targets)
    real = torch.as_tensor(masks.valid_steps(pairs.lengths(targets), len(logits)), device=logits.device)
    value, judged = losses.cross_entropy(logits, torch.as_tensor(targets, device=logits.device), real, reduction)
    return Result(value.detach(), backward(tape, losses.backward(judged)))


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
    check(params)
    tokens = pairs.checked(_array(source), len(params.source_table))
    lengths = torch.as_tensor(pairs.lengths(tokens))
    x, _ = embedding.forward(params.source_table, tokens)
    if isinstance(params.encoder, BothWays):
        keys, (ahead, behind), _ = bidirectional.forward(cell, params.encoder, x, lengths=lengths)
        start = tuple(torch.cat(parts, dim=1) for parts in zip(ahead, behind, strict=True))
    else:
        keys, start, _ = unroll.forward(cell, params.encoder, x, lengths=lengths)
    return Memory(keys, lengths.to(keys.device), start)


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
        states = cell.step(own, ax, states[0] @ W_h.T, tuple(states))
        seen = states[0]
        if params.attention:
            keys, lengths = memory.keys[:, which], memory.lengths[which]
            found, _ = attention.forward(params.attention, seen[None], keys, lengths)
            seen = torch.cat([seen, found[0]], dim=1)
        return log_softmax(seen @ W_y.T + b_y), (which, *states)

    return step, (torch.arange(len(memory.lengths), device=memory.keys.device), *memory.start)


def log_softmax(logits: torch.Tensor) -> torch.Tensor:
    """Turn logits into log-probabilities.

    Args:
        logits: shape (..., V).

    Returns:
        The same shape; exp of it sums to 1.
    """
    return torch.log_softmax(logits, dim=-1)


def _array(tokens) -> np.ndarray:
    """Classes are checked where they are cheap to look at."""
    return tokens.cpu().numpy() if isinstance(tokens, torch.Tensor) else np.asarray(tokens)
