"""Embeddings: a table with a row for each token, read by look-up; its gradient by autograd."""

from typing import NamedTuple

import torch

from rnncourse import doors
from rnncourse.gpu import graph
from rnncourse.gpu.classes import as_classes


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    Attributes:
        table: E, shape (V, D).
        vectors: the rows that were read, shape (..., D).
    """

    table: torch.Tensor
    vectors: torch.Tensor


def forward(table: torch.Tensor, tokens) -> tuple[torch.Tensor, Tape]:
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
    tokens = as_classes(tokens, len(table), table.device)
    tracked = graph.tracked(table)
    vectors = torch.nn.functional.embedding(tokens, tracked)
    return graph.returned(vectors, table), Tape(tracked, vectors)


def backward(tape: Tape, d_vectors) -> torch.Tensor:
    """What each place sends, added to the row that it read, by autograd.

    Args:
        tape: from :func:`forward`.
        d_vectors: dL/dx, shape (..., D).

    Returns:
        dL/dE, shape (V, D); zero for tokens that did not occur.

    Raises:
        ValueError: if the shape does not fit, or nothing was recorded.
    """
    doors.shape("d_vectors", d_vectors, tuple(tape.vectors.shape))
    return graph.pull(tape.vectors, d_vectors, tape.table)
