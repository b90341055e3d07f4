"""NumPy, float64, every gradient derived by hand: the book's equations, line for line."""

from rnncourse.reference import (
    activations,
    autoregression,
    bptt,
    cells,
    checkpoint,
    embedding,
    jacobians,
    losses,
    optim,
    readout,
    rtrl,
    sampling,
    softmax_tree,
    unroll,
    windows,
    word_vectors,
)

__all__ = [
    "activations",
    "autoregression",
    "bptt",
    "cells",
    "checkpoint",
    "embedding",
    "jacobians",
    "losses",
    "optim",
    "readout",
    "rtrl",
    "sampling",
    "softmax_tree",
    "unroll",
    "windows",
    "word_vectors",
]
