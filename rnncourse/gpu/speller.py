"""A network that spells words of a class that it is told: one input, many outputs.

It is a language model of letters with the class beside every letter, so that it need not remember it.
"""

from typing import Any

import numpy as np
import torch
from torch import nn

from rnncourse import doors
from rnncourse.gpu import sampling

NO_ANSWER = -100  # a step that is not judged, as torch's cross-entropy has it
END = 0  # the token after the last letter


class Speller(nn.Module):
    """Class and letter in, logits of the next letter out; letters are tokens 1, ..., V - 1, and 0 is the end.

    The recurrence is torch's own GRU. In a batch the first row of tokens holds V + class.

    Args:
        vocabulary: V, the end among it.
        classes: K.
        features: the length of an embedding, of a class and of a letter alike.
        hidden: H, the number of hidden units.
        dropout: share of states' entries hidden in training.
        seed: of the initial weights.

    Raises:
        ValueError: if a size is less than 1.
    """

    def __init__(self, vocabulary: int, classes: int, features=32, hidden=128, dropout=0.0, seed=0):
        super().__init__()
        sizes = {"vocabulary": vocabulary, "classes": classes, "features": features, "hidden": hidden}
        for name, size in sizes.items():
            doors.at_least(name, size, 1)
        self.vocabulary = vocabulary
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.letters = nn.Embedding(vocabulary + 1, features)  # the last: nothing written yet
            self.classes = nn.Embedding(classes, features)
            self.recurrence = nn.GRU(2 * features, hidden)
            self.readout = nn.Linear(hidden, vocabulary)
            self.dropout = nn.Dropout(dropout)

    def forward(self, tokens: torch.Tensor, carry=None) -> tuple[torch.Tensor, Any]:
        """Read a batch.

        Args:
            tokens: integers, shape (T, B); if there is no carry, V + class in the first row, then letters.
            carry: what an earlier call returned.

        Returns:
            ``(logits, carry)``: of the next letter at each step, shape (T, B, V); classes and state.
        """
        if carry is None:
            carry = (tokens[0] - self.vocabulary, None)
            tokens = torch.cat([torch.full_like(tokens[:1], self.vocabulary), tokens[1:]])
        classes, state = carry
        told = self.classes(classes).expand(len(tokens), -1, -1)
        h, state = self.recurrence(torch.cat([self.letters(tokens), told], dim=2), state)
        return self.readout(self.dropout(h)), (classes, state)


def loss(model: nn.Module, tokens: torch.Tensor, answers: torch.Tensor, carry=None):
    """Mean cross-entropy of the next letter, the end among them, in the form that ``training.fit`` takes.

    Args:
        model: a :class:`Speller`.
        tokens: as it reads them, shape (T, B).
        answers: what comes next, shape (T, B), ``NO_ANSWER`` where a step is not judged.
        carry: not used; every batch begins anew.

    Returns:
        ``(loss, None)``.
    """
    logits, _ = model(tokens)
    return nn.functional.cross_entropy(logits.flatten(0, 1), answers.flatten(), ignore_index=NO_ANSWER), None


def spelled(letters, labels, vocabulary: int) -> tuple[np.ndarray, np.ndarray]:
    """What a speller reads and what it should say: class and letters; letters and the end.

    Args:
        letters: tokens, integers, shape (T, N), 0 after each word's end.
        labels: classes, integers, shape (N,).
        vocabulary: V.

    Returns:
        ``(tokens, answers)``: integers, shape (T + 1, N) each.

    Raises:
        ValueError: if the shapes do not fit.
    """
    letters, labels = np.asarray(letters), np.asarray(labels)
    doors.shape("letters", letters, ("T", "N"))
    doors.shape("labels", labels, (letters.shape[1],))
    answers = np.concatenate([letters, np.full_like(letters[:1], END)])
    answers[np.arange(len(answers))[:, None] > (letters != 0).sum(axis=0)] = NO_ANSWER
    return np.concatenate([vocabulary + labels[None], letters]), answers


@torch.no_grad()
def write(model: Speller, labels, uniforms) -> np.ndarray:
    """Draw words, letter by letter.

    Args:
        model: the speller, put into evaluation mode.
        labels: classes, integers, shape (B,).
        uniforms: numbers in [0, 1), drawn evenly, shape (T, B); no word is longer than T.

    Returns:
        Tokens, shape (T, B), 0 from a word's end on.

    Raises:
        ValueError: if the shapes do not fit.
    """
    model.eval()
    labels = torch.as_tensor(np.asarray(labels))
    doors.shape("labels", labels, ("B",))

    def step(tokens, carry):
        logits, carry = model(tokens[None], carry)
        return sampling.softmax(logits[0]), carry

    drawn, _ = sampling.ancestral(step, model.vocabulary + labels, None, uniforms)
    ended = (drawn == END).cumsum(dim=0) > 0
    return torch.where(ended, END, drawn).numpy()
