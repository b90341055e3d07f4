"""A hidden Markov model whose states were seen: where tags are given, learning is counting."""

import numpy as np

from rnncourse import doors, masks
from rnncourse.hmm_params import Categorical, HMMParams


def fit(tags, tokens, states: int, symbols: int, lengths=None, smoothing: float = 0.1) -> HMMParams:
    """The shares of starts, of moves and of what each tag shows, :eq:`eq-tagger-counts`.

    Args:
        tags: the states, integers in 0..K-1, shape (T, B); padding may hold anything.
        tokens: what was seen, integers in 0..V-1, shape (T, B); padding may hold anything.
        states: K.
        symbols: V.
        lengths: real steps of each sequence, shape (B,); all T unless given.
        smoothing: what is added to every count, positive.

    Returns:
        The model; find the tags of other sequences by ``viterbi.path``.

    Raises:
        ValueError: if a shape does not fit, a number is out of range, or the smoothing is not positive.
    """
    for name, size in (("states", states), ("symbols", symbols)):
        doors.at_least(name, size, 1)
    if not smoothing > 0:
        raise ValueError(f"smoothing: expected a positive number, got {smoothing!r}")
    tags, tokens = np.asarray(tags), np.asarray(tokens)
    doors.shape("tags", tags, ("T", "B"))
    doors.shape("tokens", tokens, tags.shape)
    T, B = tags.shape
    real = masks.valid_steps(np.full(B, T) if lengths is None else lengths, T)
    doors.shape("lengths", real[0], (B,))
    for name, array, size in (("tags", tags, states), ("tokens", tokens, symbols)):
        if (real & ((array < 0) | (array >= size))).any():
            raise ValueError(f"{name}: expected integers in 0..{size - 1} at every real step")
    start, moves, shown = (np.full(size, float(smoothing)) for size in (states, (states, states), (states, symbols)))
    np.add.at(start, tags[0][real[0]], 1)
    np.add.at(moves, (tags[:-1][real[1:]], tags[1:][real[1:]]), 1)
    np.add.at(shown, (tags[real], tokens[real]), 1)
    return HMMParams(start / start.sum(), _shares(moves), Categorical(_shares(shown)))


def _shares(counts: np.ndarray) -> np.ndarray:
    return counts / counts.sum(axis=1, keepdims=True)
