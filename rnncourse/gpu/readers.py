"""A network that reads tokens and answers, at each step or at the last; what it trains on and how it is asked."""

from collections.abc import Callable

import numpy as np
import torch
from torch import nn

from rnncourse import doors
from rnncourse.gpu.training import Batch

KINDS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}
NO_ANSWER = -100  # a step that is not judged, as torch's cross-entropy has it


class Reader(nn.Module):
    """Tokens in, scores of the classes out, one row for each step. Token 0 is padding.

    The recurrence is torch's own layer.

    Args:
        vocabulary: V, the number of tokens, padding among them.
        classes: K.
        kind: "rnn" (tanh), "lstm" or "gru".
        both: read backwards too; each step then knows the whole sequence.
        features: the length of an embedding.
        hidden: H, the number of hidden units of each direction.
        dropout: share of embeddings' entries and of states' entries hidden in training.
        seed: of the initial weights.

    Raises:
        ValueError: if the kind is unknown or a size is less than 1.
    """

    def __init__(
        self, vocabulary: int, classes: int, kind="gru", both=False, features=32, hidden=64, dropout=0.0, seed=0
    ):
        super().__init__()
        doors.one_of("kind", kind, KINDS)
        for name, size in [
            ("vocabulary", vocabulary),
            ("classes", classes),
            ("features", features),
            ("hidden", hidden),
        ]:
            doors.at_least(name, size, 1)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.embedding = nn.Embedding(vocabulary, features, padding_idx=0)
            self.recurrence = KINDS[kind](features, hidden, bidirectional=both)
            self.readout = nn.Linear(hidden * (1 + both), classes)
            self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        """Read a batch.

        Args:
            tokens: integers, shape (T, B), 0 after each sequence's end.

        Returns:
            Scores, shape (T, B, K); those of padding mean nothing.
        """
        x = self.dropout(self.embedding(tokens))
        if self.recurrence.bidirectional:  # the way back must begin at each sequence's own end
            lengths = (tokens != 0).sum(dim=0).cpu()
            packed = nn.utils.rnn.pack_padded_sequence(x, lengths, enforce_sorted=False)
            states, _ = nn.utils.rnn.pad_packed_sequence(self.recurrence(packed)[0], total_length=len(tokens))
        else:
            states = self.recurrence(x)[0]
        return self.readout(self.dropout(states))


def loss(model: nn.Module, tokens: torch.Tensor, answers: torch.Tensor, carry=None):
    """Mean cross-entropy of the steps that are judged, in the form that ``training.fit`` takes.

    Args:
        model: a :class:`Reader`.
        tokens: shape (T, B).
        answers: classes, shape (T, B), ``NO_ANSWER`` where a step is not judged.
        carry: not used; every batch begins anew.

    Returns:
        ``(loss, None)``.
    """
    scores = model(tokens)
    return nn.functional.cross_entropy(scores.flatten(0, 1), answers.flatten(), ignore_index=NO_ANSWER), None


def at_end(tokens, labels) -> np.ndarray:
    """One answer for a sequence, asked at its last step, :eq:`eq-many-to-one`.

    Args:
        tokens: integers, shape (T, B), 0 after each sequence's end.
        labels: classes, shape (B,).

    Returns:
        Answers, shape (T, B): the label at the last step, ``NO_ANSWER`` elsewhere.

    Raises:
        ValueError: if a sequence is empty, or the shapes do not fit.
    """
    tokens, labels = np.asarray(tokens), np.asarray(labels)
    doors.shape("tokens", tokens, ("T", "B"))
    doors.shape("labels", labels, (tokens.shape[1],))
    lengths = (tokens != 0).sum(axis=0)
    if not lengths.all():
        raise ValueError(f"tokens: sequence {int(np.argmin(lengths))} is empty")
    answers = np.full(tokens.shape, NO_ANSWER)
    answers[lengths - 1, np.arange(len(labels))] = labels
    return answers


def shuffled(tokens, answers, size: int, seed: int = 0) -> Callable[[int], Batch]:
    """Batches of sequences, in an order of its own for every pass, by the number of the update.

    Args:
        tokens: shape (T, N).
        answers: shape (T, N).
        size: B, how many at a time; what is left over at the end of a pass is not used in it.
        seed: of the orders.

    Returns:
        From the number of an update to its batch, cut off where its longest sequence ends.

    Raises:
        ValueError: if there are fewer sequences than ``size``, or the shapes do not fit.
    """
    doors.at_least("size", size, 1)
    tokens, answers = torch.as_tensor(tokens), torch.as_tensor(answers)
    doors.shape("answers", answers, tuple(tokens.shape))
    N = tokens.shape[1]
    if size > N:
        raise ValueError(f"tokens: expected at least {size} sequences, got {N}")

    def batch(step: int) -> Batch:
        turn, place = divmod(step, N // size)
        order = np.random.default_rng([seed, turn]).permutation(N)[place * size : (place + 1) * size]
        some = tokens[:, order]
        T = int((some != 0).sum(dim=0).max())
        return Batch(some[:T], answers[:T, order])

    return batch


@torch.no_grad()
def said(model: nn.Module, tokens, answers) -> tuple[np.ndarray, np.ndarray]:
    """What a model answers where it is asked, beside what is right.

    Args:
        model: a :class:`Reader`, put into evaluation mode.
        tokens: shape (T, N).
        answers: shape (T, N), ``NO_ANSWER`` where it is not asked.

    Returns:
        ``(said, true)``: classes, integers, shape (number asked,); sequence by sequence, and in each step by step.
    """
    model.eval()
    tokens, answers = torch.as_tensor(tokens), torch.as_tensor(answers).T
    asked = answers != NO_ANSWER
    return model(tokens).transpose(0, 1)[asked].argmax(dim=1).numpy(), answers[asked].numpy()
