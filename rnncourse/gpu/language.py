"""A language model to train: embedding, recurrence, readout."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from rnncourse import doors
from rnncourse.data.text import batches
from rnncourse.gpu.training import Batch

KINDS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


class LanguageModel(nn.Module):
    """Tokens in, logits of the next token out.

    The recurrence is torch's own layer, which chapter 02 shows to be ours for the vanilla cell.
    Recurrent matrices start orthogonal; an LSTM's forget gates start mostly open (bias 1).

    Args:
        vocabulary: V, the number of tokens.
        kind: "rnn" (tanh), "lstm" or "gru".
        features: K, the length of an embedding.
        hidden: H, the number of hidden units.
        dropout: share of embeddings' entries and of states' entries hidden in training.
        seed: of the initial weights.

    Raises:
        ValueError: if the kind is unknown or a size is less than 1.
    """

    def __init__(self, vocabulary: int, kind: str = "rnn", features: int = 64, hidden: int = 256, dropout=0.0, seed=0):
        super().__init__()
        doors.one_of("kind", kind, KINDS)
        for name, size in [("vocabulary", vocabulary), ("features", features), ("hidden", hidden)]:
            doors.at_least(name, size, 1)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.embedding = nn.Embedding(vocabulary, features)
            self.recurrence = KINDS[kind](features, hidden)
            self.readout = nn.Linear(hidden, vocabulary)
            self.dropout = nn.Dropout(dropout)
            self._start(hidden)

    def _start(self, hidden: int) -> None:
        for block in self.recurrence.weight_hh_l0.split(hidden):
            nn.init.orthogonal_(block)
        nn.init.zeros_(self.recurrence.bias_ih_l0)
        nn.init.zeros_(self.recurrence.bias_hh_l0)
        if isinstance(self.recurrence, nn.LSTM):
            nn.init.ones_(self.recurrence.bias_ih_l0[hidden : 2 * hidden])  # gates in the order i, f, g, o

    def forward(self, tokens: torch.Tensor, carry=None) -> tuple[torch.Tensor, Any]:
        """Read stretches of text.

        Args:
            tokens: integers in 0..V-1, shape (T, B).
            carry: what an earlier stretch returned; None at the beginning of a text.

        Returns:
            ``(logits, carry)``: shape (T, B, V), and the state to go on from.
        """
        states, carry = self.recurrence(self.dropout(self.embedding(tokens)), carry)
        return self.readout(self.dropout(states)), carry


def loss(model: nn.Module, inputs: torch.Tensor, targets: torch.Tensor, carry=None):
    """Mean cross-entropy of the next token, in nats, in the form that ``training.fit`` takes.

    Args:
        model: a :class:`LanguageModel`.
        inputs: tokens, shape (T, B).
        targets: the tokens that come next, shape (T, B).
        carry: the state to start from, or None.

    Returns:
        ``(loss, carry)``.
    """
    logits, carry = model(inputs, carry)
    return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten()), carry


def stretches(tokens, streams: int, length: int) -> Callable[[int], Batch]:
    """Read a text in parallel streams, over and over, by the number of the update.

    Args:
        tokens: the text, integers, shape (N,).
        streams: B, places of the text read at once.
        length: T, tokens of each stream at a time.

    Returns:
        From the number of an update to its batch. Where the streams begin again, ``fresh`` is True.

    Raises:
        ValueError: if the text is too short for a single batch.
    """
    pairs = [
        (torch.from_numpy(inputs.copy()), torch.from_numpy(targets.copy()))
        for inputs, targets in batches(tokens, streams, length)
    ]
    return lambda step: Batch(*pairs[step % len(pairs)], fresh=step % len(pairs) == 0)


@torch.no_grad()
def surprises(model: LanguageModel, tokens, streams: int = 1, length: int = 256) -> np.ndarray:
    """What each token of a text cost, -log p, the state carried all the way.

    Args:
        model: the model, put into evaluation mode.
        tokens: the text, integers, shape (N,).
        streams: B, pieces the text is cut into to go faster, each beginning without a state; what
            does not fill the last is left out.
        length: tokens read at a time; it changes nothing but the memory needed.

    Returns:
        Nats, shape (T, B) with T = (N - 1) // B: the first token of a piece is not predicted.

    Raises:
        ValueError: if the text is shorter than one token for each stream.
    """
    model.eval()
    device = next(model.parameters()).device
    (inputs, targets), *_ = batches(tokens, streams, (len(tokens) - 1) // streams)
    found, carry = [], None
    for a in range(0, len(inputs), length):
        x, y = (torch.from_numpy(part[a : a + length].copy()).to(device) for part in (inputs, targets))
        logits, carry = model(x, carry)
        found.append(nn.functional.cross_entropy(logits.transpose(1, 2), y, reduction="none").cpu())
    return torch.cat(found).numpy()


def nats(model: LanguageModel, tokens, streams: int = 8) -> float:
    """Mean cross-entropy of a text; its exponential is the perplexity, :eq:`def-perplexity`.

    Args:
        model: the model.
        tokens: the text, integers, shape (N,).
        streams: as in :func:`surprises`.

    Returns:
        Nats per token.

    Raises:
        ValueError: if the text is shorter than one token for each stream.
    """
    return float(surprises(model, tokens, streams).mean(dtype=np.float64))


def bits(model: LanguageModel, tokens, streams: int = 8) -> float:
    """Bits per token of a text, :eq:`def-bits-per-character` where tokens are characters.

    Args:
        model: the model.
        tokens: the text, integers, shape (N,).
        streams: as in :func:`surprises`.

    Returns:
        The mean cross-entropy in bits.

    Raises:
        ValueError: if the text is shorter than one token for each stream.
    """
    return nats(model, tokens, streams) / math.log(2)
