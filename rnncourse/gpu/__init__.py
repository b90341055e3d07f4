"""PyTorch, any device: the names of :mod:`rnncourse.reference`, with gradients by autograd."""

from rnncourse.gpu import (
    activations,
    bptt,
    cells,
    checkpoint,
    graph,
    jacobians,
    language,
    losses,
    modules,
    processes,
    readout,
    resume,
    rtrl,
    training,
    unroll,
    windows,
)

__all__ = [
    "activations",
    "bptt",
    "cells",
    "checkpoint",
    "graph",
    "jacobians",
    "language",
    "losses",
    "modules",
    "processes",
    "readout",
    "resume",
    "rtrl",
    "training",
    "unroll",
    "windows",
]
