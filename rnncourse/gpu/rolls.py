"""Piano rolls for networks: stretches to train on, nats per frame, and rivals without a latent state."""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import nn

from rnncourse import doors
from rnncourse.gpu.training import Batch

KINDS = {"rnn": nn.RNN, "lstm": nn.LSTM, "gru": nn.GRU}


def log_probability(logits: torch.Tensor, rolls: torch.Tensor) -> torch.Tensor:
    """How probable frames are when every note is tossed on its own, :eq:`eq-bernoulli-frame`, in nats.

    Args:
        logits: a, the log odds of each note, shape (..., O).
        rolls: x, 0 or 1, shape (..., O).

    Returns:
        log p(x), summed over the notes, shape (...).
    """
    return (rolls * logits - nn.functional.softplus(logits)).sum(dim=-1)


def mask(lengths, steps: int, like: torch.Tensor) -> torch.Tensor:
    """1 at the real frames of a padded batch.

    Args:
        lengths: real frames of each, integers, shape (B,); None if all are.
        steps: T.
        like: gives the type and the device; shape (T, B, ...).

    Returns:
        0 or 1, shape (T, B).

    Raises:
        ValueError: if lengths does not fit.
    """
    if lengths is None:
        return torch.ones(like.shape[:2], dtype=like.dtype, device=like.device)
    lengths = torch.as_tensor(lengths, device=like.device)
    doors.shape("lengths", lengths, (like.shape[1],))
    if lengths.is_floating_point() or int(lengths.min()) < 1 or int(lengths.max()) > steps:
        raise ValueError(f"lengths: expected whole numbers in 1..{steps}, got {lengths.tolist()}")
    return (torch.arange(steps, device=like.device)[:, None] < lengths).to(like.dtype)


class RollModel(nn.Module):
    """A recurrent network that says each frame from those before: the rival without a latent state.

    Args:
        notes: O, rows of a roll.
        kind: "rnn" (tanh), "lstm" or "gru".
        hidden: H.
        dropout: share of the states' entries hidden in training.
        seed: of the initial weights.

    Raises:
        ValueError: if the kind is unknown or a size is less than 1.
    """

    def __init__(self, notes: int, kind: str = "lstm", hidden: int = 128, dropout: float = 0.0, seed: int = 0):
        super().__init__()
        doors.one_of("kind", kind, KINDS)
        for name, size in [("notes", notes), ("hidden", hidden)]:
            doors.at_least(name, size, 1)
        with torch.random.fork_rng():
            torch.manual_seed(seed)
            self.recurrence = KINDS[kind](notes, hidden)
            self.readout = nn.Linear(hidden, notes)
        self.dropout = nn.Dropout(dropout)

    def forward(self, rolls: torch.Tensor) -> torch.Tensor:
        """The log odds of every note, from the frames before; before the first there is silence.

        Args:
            rolls: x, shape (T, B, O).

        Returns:
            Logits, shape (T, B, O).
        """
        before = torch.cat([torch.zeros_like(rolls[:1]), rolls[:-1]])
        return self.readout(self.dropout(self.recurrence(before)[0]))

    @torch.no_grad()
    def dream(self, steps: int, size: int, generator: torch.Generator | None = None) -> torch.Tensor:
        """Let the model play: each frame is tossed note by note, and heard.

        Args:
            steps: T.
            size: B.
            generator: of the random numbers.

        Returns:
            What was played, 0 or 1, shape (T, B, O).
        """
        self.eval()
        frame, carry, played = torch.zeros(1, size, self.recurrence.input_size), None, []
        for _ in range(steps):
            states, carry = self.recurrence(frame, carry)
            frame = torch.bernoulli(torch.sigmoid(self.readout(states)), generator=generator)
            played.append(frame[0])
        return torch.stack(played)


def loss(model: nn.Module, rolls: torch.Tensor, real: torch.Tensor, carry=None):
    """Mean nats per frame of a :class:`RollModel`, in the form that ``training.fit`` takes.

    Args:
        model: a :class:`RollModel`.
        rolls: shape (T, B, O).
        real: 1 at the frames that count, shape (T, B).
        carry: not used; every stretch begins anew.

    Returns:
        ``(loss, None)``.
    """
    return -(log_probability(model(rolls), rolls) * real).sum() / real.sum(), None


@torch.no_grad()
def nats(model: nn.Module, rolls: torch.Tensor, lengths) -> float:
    """Nats per frame of whole rolls: all nats over all real frames.

    Args:
        model: a :class:`RollModel`, put into evaluation mode.
        rolls: shape (T, B, O).
        lengths: real frames, shape (B,).

    Returns:
        The mean.

    Raises:
        ValueError: if lengths does not fit.
    """
    model.eval()
    real = mask(lengths, len(rolls), rolls)
    return float(-(log_probability(model(rolls), rolls) * real).double().sum() / real.sum())


class Chances(NamedTuple):
    """Notes that follow only their own past: what counting makes of the training rolls.

    Attributes:
        first: the chance of each note in a first frame, shape (O,).
        after: the chance of each note after its own silence and after its own sounding, shape (2, O).
    """

    first: torch.Tensor
    after: torch.Tensor


def count(rolls: torch.Tensor, lengths, memory: bool = True) -> Chances:
    """Count how often each note sounds, each note for itself; half a count is added everywhere.

    Args:
        rolls: shape (T, B, O).
        lengths: real frames, shape (B,).
        memory: by what the note did a frame before; if not, all frames are one heap.

    Returns:
        The chances.

    Raises:
        ValueError: if lengths does not fit.
    """
    real = mask(lengths, len(rolls), rolls)[..., None]
    whole = _share(rolls * real, real.expand_as(rolls))
    if not memory:
        return Chances(whole, torch.stack([whole, whole]))
    now, before, weight = rolls[1:], rolls[:-1], real[1:]
    after = [_share(now * was * weight, was * weight) for was in (1 - before, before)]
    return Chances(_share(rolls[:1], torch.ones_like(rolls[:1])), torch.stack(after))


def _share(hits: torch.Tensor, chances: torch.Tensor) -> torch.Tensor:
    return (hits.sum(dim=(0, 1)) + 0.5) / (chances.sum(dim=(0, 1)) + 1)


def counted_nats(chances: Chances, rolls: torch.Tensor, lengths) -> float:
    """Nats per frame under counted chances.

    Args:
        chances: of :func:`count`.
        rolls: shape (T, B, O).
        lengths: real frames, shape (B,).

    Returns:
        All nats over all real frames.

    Raises:
        ValueError: if lengths does not fit.
    """
    real, quiet, sounding = mask(lengths, len(rolls), rolls), *chances.after
    later = rolls[:-1] * sounding + (1 - rolls[:-1]) * quiet
    said = torch.cat([chances.first.expand_as(rolls[:1]), later])
    return float(-(log_probability(torch.logit(said), rolls) * real).double().sum() / real.sum())


def stretches(rolls, lengths, length: int, size: int, shift: int = 0, seed: int = 0) -> Callable[[int], Batch]:
    """Stretches of rolls drawn at random, by the number of the update, for ``training.fit``.

    A stretch may begin anywhere; a roll is drawn with a chance in proportion to its frames. With ``shift``, each
    stretch is moved up or down by a random number of semitones, as far as no note falls off.

    Args:
        rolls: all rolls, 0 or 1, shape (T, B, O).
        lengths: real frames, shape (B,).
        length: frames of a stretch; of a shorter roll all.
        size: stretches in a batch.
        shift: semitones up or down at most.
        seed: of the draws.

    Returns:
        From the number of an update to its batch: rolls (length, size, O), and 1 where a frame is real.

    Raises:
        ValueError: if a number is too small, or the shapes do not fit.
    """
    for name, value, least in [("length", length, 1), ("size", size, 1), ("shift", shift, 0)]:
        doors.at_least(name, value, least)
    rolls, lengths = np.asarray(rolls, np.float32), np.asarray(lengths)
    doors.shape("rolls", rolls, ("T", "B", "O"))
    doors.shape("lengths", lengths, (rolls.shape[1],))

    def batch(step: int) -> Batch:
        rng = np.random.default_rng([seed, step])
        found, real = np.zeros((length, size, rolls.shape[2]), np.float32), np.zeros((length, size), np.float32)
        for k, b in enumerate(rng.choice(len(lengths), size, p=lengths / lengths.sum())):
            start = rng.integers(max(0, lengths[b] - length) + 1)
            piece = rolls[start : min(start + length, lengths[b]), b]
            found[: len(piece), k] = moved(piece, _drawn_shift(rng, piece, shift))
            real[: len(piece), k] = 1
        return Batch(torch.from_numpy(found), torch.from_numpy(real))

    return batch


def _drawn_shift(rng, piece, shift: int) -> int:
    """A number of semitones with which nothing falls off."""
    sounding = np.flatnonzero(piece.any(axis=0))
    if not shift or not len(sounding):
        return 0
    return int(rng.integers(-min(shift, sounding[0]), min(shift, piece.shape[1] - 1 - sounding[-1]) + 1))


def moved(roll, semitones: int) -> np.ndarray:
    """A roll in another key.

    Args:
        roll: shape (T, O).
        semitones: how far up; below 0, down.

    Returns:
        The same notes that many rows higher, shape (T, O).

    Raises:
        ValueError: if a note would fall off.
    """
    found = np.roll(roll, semitones, axis=1)
    lost = found[:, :semitones] if semitones > 0 else found[:, found.shape[1] + semitones :]
    if semitones and lost.any():
        raise ValueError(f"semitones: {semitones} moves a note off the roll")
    return found
