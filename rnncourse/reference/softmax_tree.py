"""Hierarchical softmax: a word's probability is a product of yes-or-no decisions down a binary tree.

The readout has V - 1 outputs, one for each inner node, and each is a logit of its own: "go left".
"""

from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.data.text import as_classes
from rnncourse.params import ReadoutParams
from rnncourse.reference.activations import sigmoid, softplus
from rnncourse.trees import Tree


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    Attributes:
        params: of the inner nodes.
        hidden: h, shape (..., H).
        nodes: the nodes on the way to each target, shape (..., depth).
        errors: the loss's derivative by the logit of each of these, shape (..., depth).
    """

    params: ReadoutParams
    hidden: np.ndarray
    nodes: np.ndarray
    errors: np.ndarray


def forward(params: ReadoutParams, tree: Tree, hidden, targets) -> tuple[float, Tape]:
    """Minus the log-probability of the target words, summed, :eq:`def-hierarchical-softmax`.

    Only the nodes on the way to a target are computed.

    Args:
        params: of the inner nodes: weights (V - 1, H) and bias (V - 1,).
        tree: over V words.
        hidden: h, shape (..., H).
        targets: the words that came, integers in 0..V-1, shape (...).

    Returns:
        ``(value, tape)``: the loss in nats, a scalar, and what :func:`backward` needs.

    Raises:
        ValueError: if a shape does not fit, or a target is out of range.
    """
    weights, bias = _fitting(params, tree, hidden)
    targets = as_classes(targets, len(tree.nodes))
    doors.shape("targets", targets, tuple(hidden.shape[:-1]))
    nodes, turns = tree.nodes[targets], tree.turns[targets]
    logits = np.einsum("...lh,...h->...l", weights[nodes], hidden) + bias[nodes]
    value = np.where(turns == 0, 0, softplus(-turns * logits)).sum()
    return value, Tape(params, hidden, nodes, -turns * sigmoid(-turns * logits))


def backward(tape: Tape) -> tuple[ReadoutParams, np.ndarray]:
    """Send the loss back to the nodes on the way and to the state, :eq:`eq-hierarchical-gradient`.

    Args:
        tape: from :func:`forward`.

    Returns:
        ``(gradients, d_hidden)``: of weights and bias, zero for nodes on nobody's way, and dL/dh, shape (..., H).
    """
    (weights, bias), hidden, nodes, errors = tape
    d_weights, d_bias = np.zeros_like(weights), np.zeros_like(bias)
    np.add.at(d_bias, nodes, errors)
    np.add.at(d_weights, nodes, errors[..., None] * hidden[..., None, :])
    return ReadoutParams(d_weights, d_bias), np.einsum("...l,...lh->...h", errors, weights[nodes])


def log_probabilities(params: ReadoutParams, tree: Tree, hidden) -> np.ndarray:
    """The whole distribution: every node is computed once, and V ways are added up.

    Args:
        params: of the inner nodes: weights (V - 1, H) and bias (V - 1,).
        tree: over V words.
        hidden: h, shape (..., H).

    Returns:
        log p(v | h), shape (..., V).

    Raises:
        ValueError: if a shape does not fit.
    """
    weights, bias = _fitting(params, tree, hidden)
    logits = (hidden @ weights.T + bias)[..., tree.nodes]
    return -np.where(tree.turns == 0, 0, softplus(-tree.turns * logits)).sum(axis=-1)


def _fitting(params: ReadoutParams, tree: Tree, hidden) -> ReadoutParams:
    """The parameters, checked against the tree and the states."""
    doors.shape("weights", params.weights, (len(tree.nodes) - 1, "H"))
    doors.shape("bias", params.bias, (len(tree.nodes) - 1,))
    doors.shape("hidden", hidden, (*hidden.shape[:-1], params.weights.shape[1]))
    doors.finite("hidden", hidden)
    return params
