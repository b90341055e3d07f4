"""How this floor records and differentiates: nested tuples of tensors in, nested tuples out.

A caller's tensors need not require gradients. Where they do not, a function records on aliases of
them (the same memory, a leaf of its own) and hands back results cut from that private graph. Where
one does, results stay part of the caller's graph, so that training with ``loss.backward()`` works.
"""

from collections.abc import Callable, Iterator
from typing import Any

import torch


def tracked(tree: Any) -> Any:
    """Make every tensor recordable: itself if it requires gradients, else an alias that does.

    Args:
        tree: a tensor, or tuples of tensors nested as deep as you like.

    Returns:
        The same form.
    """
    return apply(lambda tensor: tensor if tensor.requires_grad else tensor.detach().requires_grad_(), tree)


def fresh(tree: Any) -> Any:
    """Aliases that require gradients and know nothing of any graph before them.

    Args:
        tree: a tensor, or tuples of tensors nested as deep as you like.

    Returns:
        The same form.
    """
    return apply(lambda tensor: tensor.detach().requires_grad_(), tree)


def cut(tree: Any) -> Any:
    """The same values, outside every graph.

    Args:
        tree: a tensor, or tuples of tensors nested as deep as you like.

    Returns:
        The same form.
    """
    return apply(torch.Tensor.detach, tree)


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
    return apply(lambda _: next(parts), tree)


def apply(function: Callable, tree: Any) -> Any:
    """Apply a function to every tensor of nested tuples, named or not.

    Args:
        function: takes a tensor.
        tree: a tensor, or tuples nested as deep as you like.

    Returns:
        The results in the same form.
    """
    if not isinstance(tree, tuple):
        return function(tree)
    parts = [apply(function, part) for part in tree]
    return type(tree)(*parts) if hasattr(tree, "_fields") else tuple(parts)


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
