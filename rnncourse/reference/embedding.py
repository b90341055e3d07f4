"""Embeddings: a table with a row for each token, read by look-up, taught by scatter-add."""

from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.data.text import as_classes


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    Attributes:
        table: E, shape (V, D).
        tokens: the rows that were read, any shape.
    """

    table: np.ndarray
    tokens: np.ndarray


def forward(table: np.ndarray, tokens) -> tuple[np.ndarray, Tape]:
    """Look up the vector of each token, :eq:`eq-embedding-lookup`.

    Args:
        table: E, a row for each of V tokens, shape (V, D).
        tokens: integers in 0..V-1, any shape, for example (T, B).

    Returns:
        ``(vectors, tape)``: x, shape (..., D), and what :func:`backward` needs.

    Raises:
        ValueError: if the table has not two axes or a token is out of range.
    """
    doors.shape("table", table, ("V", "D"))
    tokens = as_classes(tokens, len(table))
    return table[tokens], Tape(table, tokens)


def backward(tape: Tape, d_vectors) -> np.ndarray:
    """Add what each place sends to the row that it read, :eq:`eq-embedding-gradient`.

    Args:
        tape: from :func:`forward`.
        d_vectors: dL/dx, shape (..., D).

    Returns:
        dL/dE, shape (V, D); zero for tokens that did not occur.

    Raises:
        ValueError: if the shape does not fit.
    """
    table, tokens = tape
    doors.shape("d_vectors", d_vectors, (*tokens.shape, table.shape[1]))
    gradient = np.zeros(table.shape, np.result_type(table, d_vectors))
    np.add.at(gradient, tokens, d_vectors)  # += would keep one of several visits
    return gradient
