"""LSTMs whose weights are set by hand: a memory cell can count, because nothing bounds it."""

from collections.abc import Sequence

import numpy as np

from rnncourse.gate_params import LSTMParams

OPEN, SHUT = 40.0, -40.0  # pre-activations at which a gate is 1 to the last bit of float64, or nearly 0


def a_then_b() -> LSTMParams:
    """An LSTM that recognises a^n b^n, n >= 1, for every n that float64 can count to.

    Inputs are one-hot, a or b. Unit 0 counts: plus one for an a, minus one for a b. Unit 1 counts the
    b's, so its output says whether there was one. Unit 2 counts the a's that come after a b. The word
    is right if units 0 and 2 end at zero. Every gate is open but one: unit 2 writes if it reads an a
    and unit 1 has seen a b.

    Returns:
        Parameters with H = 3 and D = 2, float64.
    """
    H, D = 3, 2
    W_x, W_h, b = np.zeros((4, H, D)), np.zeros((4, H, H)), np.full((4, H), OPEN)
    b[2] = 0
    W_x[2] = [[OPEN, SHUT], [0, OPEN], [OPEN, 0]]  # the candidates: +-1 to the last bit
    b[0, 2] = 5 * SHUT  # an a adds 80, a b that was seen adds 280 tanh(1) > 213 and 280 at most
    W_x[0, 2, 0], W_h[0, 2, 1] = 2 * OPEN, 7 * OPEN
    return LSTMParams(W_x.reshape(4 * H, D), W_h.reshape(4 * H, H), b.ravel())


def one_hot(words: Sequence[str]) -> np.ndarray:
    """Words of a's and b's, all of one length, as inputs.

    Args:
        words: B words of T letters.

    Returns:
        Shape (T, B, 2).

    Raises:
        ValueError: if there is no word, lengths differ, or there is another letter.
    """
    if not words or len({len(word) for word in words}) != 1:
        raise ValueError(f"words: expected words of one length, got lengths {sorted({len(word) for word in words})}")
    if others := set("".join(words)) - {"a", "b"}:
        raise ValueError(f"words: expected letters a and b, got {sorted(others)}")
    letters = np.array([["ab".index(letter) for letter in word] for word in words], int).reshape(len(words), -1)
    return np.eye(2)[letters.T]


def right(hidden: np.ndarray) -> np.ndarray:
    """Whether a word that ends in this state is of the form a^n b^n.

    Args:
        hidden: h_T of :func:`a_then_b`, shape (B, 3).

    Returns:
        Booleans, shape (B,).
    """
    return (np.abs(hidden[:, [0, 2]]) < 0.5).all(axis=1)
