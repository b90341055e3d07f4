"""NumPy, float64, every gradient derived by hand: the book's equations, line for line."""

from rnncourse.reference import (
    activations,
    autoregression,
    bptt,
    cells,
    checkpoint,
    jacobians,
    losses,
    optim,
    readout,
    rtrl,
    unroll,
    windows,
)

__all__ = [
    "activations",
    "autoregression",
    "bptt",
    "cells",
    "checkpoint",
    "jacobians",
    "losses",
    "optim",
    "readout",
    "rtrl",
    "unroll",
    "windows",
]
