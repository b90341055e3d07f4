"""PyTorch, any device: the names of :mod:`rnncourse.reference`, with gradients by autograd."""

from rnncourse.gpu import (
    activations,
    bptt,
    cells,
    checkpoint,
    classes,
    embedding,
    graph,
    jacobians,
    losses,
    modules,
    readout,
    rtrl,
    sampling,
    softmax_tree,
    unroll,
    word_vectors,
)

__all__ = [
    "activations",
    "bptt",
    "cells",
    "checkpoint",
    "classes",
    "embedding",
    "graph",
    "jacobians",
    "losses",
    "modules",
    "readout",
    "rtrl",
    "sampling",
    "softmax_tree",
    "unroll",
    "word_vectors",
]
