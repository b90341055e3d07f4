"""PyTorch, any device: the names of :mod:`rnncourse.reference`, with gradients by autograd."""

from rnncourse.gpu import (
    activations,
    bptt,
    cells,
    checkpoint,
    embedding,
    graph,
    jacobians,
    losses,
    modules,
    readout,
    rtrl,
    sampling,
    unroll,
)

__all__ = [
    "activations",
    "bptt",
    "cells",
    "checkpoint",
    "embedding",
    "graph",
    "jacobians",
    "losses",
    "modules",
    "readout",
    "rtrl",
    "sampling",
    "unroll",
]
