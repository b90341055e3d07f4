"""Hierarchical softmax: a word's probability is a product of yes-or-no decisions down a binary tree.

The readout has V - 1 outputs, one for each inner node, and each is a logit of its own: "go left".
"""

from typing import NamedTuple

import torch

from rnncourse import doors
from rnncourse.gpu import graph
from rnncourse.gpu.activations import softplus
from rnncourse.gpu.classes import as_classes
from rnncourse.params import ReadoutParams
from rnncourse.trees import Tree


class Tape(NamedTuple):
    """What the forward pass leaves for the backward pass.

    Attributes:
        params: of the inner nodes.
        hidden: h, shape (..., H).
        value: the loss, a scalar.
    """

    params: ReadoutParams
    hidden: torch.Tensor
    value: torch.Tensor


def forward(params: ReadoutParams, tree: Tree, hidden, targets) -> tuple[torch.Tensor, Tape]:
    """Minus the log-probability of the target words, summed, :eq:`def-hierarchical-softmax`.

    Only the nodes on the way to a target are computed.

    Args:
        params: of the inner nodes: weights (V - 1, H) and bias (V - 1,).
        tree: over V words.
        hidden: h, shape (..., H).
        targets: the words that came, integers in 0..V-1, shape (...).

    Returns:
        ``(value, tape)``: the loss in nats, a scalar tensor, and what :func:`backward` needs.

    Raises:
        ValueError: if a shape does not fit, or a target is out of range.
    """
    _fitting(params, tree, hidden)
    targets = as_classes(targets, len(tree.nodes), hidden.device)
    doors.shape("targets", targets, tuple(hidden.shape[:-1]))
    nodes, turns = (torch.as_tensor(part, device=hidden.device)[targets] for part in tree)
    (weights, bias), h = tracked = graph.tracked((params, hidden))
    logits = torch.einsum("...lh,...h->...l", weights[nodes], h) + bias[nodes]
    value = torch.where(turns == 0, 0, softplus(-turns * logits)).sum()
    return graph.returned(value, params, hidden), Tape(*tracked, value)


def backward(tape: Tape) -> tuple[ReadoutParams, torch.Tensor]:
    """Send the loss back to the nodes on the way and to the state, by autograd.

    Args:
        tape: from :func:`forward`.

    Returns:
        ``(gradients, d_hidden)``: of weights and bias, zero for nodes on nobody's way, and dL/dh, shape (..., H).

    Raises:
        ValueError: if nothing was recorded.
    """
    return graph.pull(tape.value, None, (tape.params, tape.hidden))


def log_probabilities(params: ReadoutParams, tree: Tree, hidden) -> torch.Tensor:
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
    nodes, turns = (torch.as_tensor(part, device=hidden.device) for part in tree)
    logits = (hidden @ weights.T + bias)[..., nodes]
    return -torch.where(turns == 0, 0, softplus(-turns * logits)).sum(dim=-1)


def _fitting(params: ReadoutParams, tree: Tree, hidden) -> ReadoutParams:
    """The parameters, checked against the tree and the states."""
    doors.shape("weights", params.weights, (len(tree.nodes) - 1, "H"))
    doors.shape("bias", params.bias, (len(tree.nodes) - 1,))
    doors.shape("hidden", hidden, (*hidden.shape[:-1], params.weights.shape[1]))
    doors.finite("hidden", hidden)
    return params
