"""How this floor records and differentiates: nested tuples of tensors in, nested tuples out.

A caller's tensors need not require gradients. Where they do not, a function records on aliases of
them (the same memory, a leaf of its own) and hands back results cut from that private graph. Where
one does, results stay part of the caller's graph, so that training with ``loss.backward()`` works.
"""

from collections.abc import Iterator
from typing import Any

import torch

from rnncourse.params import map_arrays


def tracked(tree: Any) -> Any:
    """Make every tensor recordable: itself if it requires gradients, else an alias that does.

    Args:
        tree: a tensor, or tuples of tensors nested as deep as you like.

    Returns:
        The same form.
    """
    return map_arrays(lambda tensor: tensor if tensor.requires_grad else tensor.detach().requires_grad_(), tree)


def fresh(tree: Any) -> Any:
    """Aliases that require gradients and know nothing of any graph before them.

    Args:
        tree: a tensor, or tuples of tensors nested as deep as you like.

    Returns:
        The same form.
    """
    return map_arrays(lambda tensor: tensor.detach().requires_grad_(), tree)


def cut(tree: Any) -> Any:
    """The same values, outside every graph.

    Args:
        tree: a tensor, or tuples of tensors nested as deep as you like.

    Returns:
        The same form.
    """
    return map_arrays(torch.Tensor.detach, tree)


def returned(results: Any, *given: Any) -> Any:
    """What a function hands back: part of the caller's graph only if something it was given is.

    Args:
        results: a tensor or nested tuples of tensors.
        given: what the caller passed, likewise.

    Returns:
        The results, cut out of the graph unless a given tensor requires gradients.
    """
    attached = any(tensor.requires_grad for tensor in tensors(given))
    return results if attached else cut(results)


def pull(roots: Any, gradients: Any, tree: Any) -> Any:
    """Differentiate: send gradients at the roots back to every tensor of a tree, through autograd.

    Args:
        roots: a tensor or nested tuples of tensors.
        gradients: one for each root, in its shape; None for a scalar root.
        tree: the tensors to differentiate by, nested tuples. The graph is kept for another time.

    Returns:
        Total derivatives in the form of the tree; zeros where a root does not depend on a tensor.

    Raises:
        ValueError: if nothing was recorded, because the roots were computed under ``torch.no_grad()``.
    """
    roots = list(tensors(roots))
    if not any(root.requires_grad for root in roots):
        raise ValueError("tape: recorded under torch.no_grad(), so there is nothing to differentiate")
    gradients = None if gradients is None else list(tensors(gradients))
    parts = iter(torch.autograd.grad(roots, list(tensors(tree)), gradients, retain_graph=True, materialize_grads=True))
    return map_arrays(lambda _: next(parts), tree)


def tensors(tree: Any) -> Iterator[torch.Tensor]:
    """Walk through the tensors of nested tuples.

    Args:
        tree: a tensor, or tuples nested as deep as you like; what is neither is passed over.

    Yields:
        Each tensor.
    """
    if isinstance(tree, tuple):
        for part in tree:
            yield from tensors(part)
    elif isinstance(tree, torch.Tensor):
        yield tree
