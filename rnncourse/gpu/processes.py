"""Several processes, one training: each takes its share of the batch, and what they find is averaged.

Started by ``torchrun``, a script finds the others here. Without it, there is one process and every
function below does nothing.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import distributed

from rnncourse import doors
from rnncourse.params import map_arrays


@contextmanager
def together(device: str = "cpu") -> Iterator[torch.device]:
    """Join the processes that ``torchrun`` has started, and part from them at the end.

    Args:
        device: "cpu" or "cuda"; with several processes, each takes a GPU of its own.

    Yields:
        The device of this process.

    Raises:
        ValueError: if it is another device, or CUDA is asked for and not there.
    """
    doors.one_of("device", device, ("cpu", "cuda"))
    if device == "cuda" and not torch.cuda.is_available():
        raise ValueError("device: there is no CUDA device here; use 'cpu'")
    if "RANK" not in os.environ:
        yield torch.device(device)
        return
    distributed.init_process_group("nccl" if device == "cuda" else "gloo")
    try:
        yield torch.device(device, int(os.environ["LOCAL_RANK"])) if device == "cuda" else torch.device("cpu")
    finally:
        distributed.destroy_process_group()


def require_together() -> None:
    """Refuse to be one of several processes that do not know of each other.

    Raises:
        ValueError: if ``torchrun`` has started this process, and it is not within :func:`together`.
    """
    if "RANK" in os.environ and not distributed.is_initialized():
        raise ValueError("processes: torchrun has started several; train within `with processes.together(device):`")


def rank() -> int:
    """The number of this process, from 0."""
    return distributed.get_rank() if distributed.is_initialized() else 0


def count() -> int:
    """How many processes there are."""
    return distributed.get_world_size() if distributed.is_initialized() else 1


def share(tree: Any, axis: int) -> Any:
    """This process's part of a batch.

    Args:
        tree: a tensor, or tuples of tensors nested as deep as you like, the whole batch.
        axis: along which sequences lie.

    Returns:
        The same form, with one share of the sequences: all of them where there is one process.

    Raises:
        ValueError: if the sequences cannot be shared out evenly.
    """

    def part(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.shape[axis] % count():
            raise ValueError(f"batch: {tensor.shape[axis]} sequences cannot be shared out among {count()} processes")
        return tensor.chunk(count(), dim=axis)[rank()]

    return map_arrays(part, tree)


def whole(tree: Any, axis: int) -> Any:
    """Put the shares of all processes together again.

    Args:
        tree: a tensor, or tuples of tensors nested as deep as you like, one share.
        axis: along which sequences lie.

    Returns:
        The same form with all sequences, on every process.
    """
    if count() == 1:
        return tree

    def gathered(tensor: torch.Tensor) -> torch.Tensor:
        parts = [torch.empty_like(tensor) for _ in range(count())]
        distributed.all_gather(parts, tensor.contiguous())
        return torch.cat(parts, dim=axis)

    return map_arrays(gathered, tree)


def mean(value: float, device: torch.device) -> float:
    """The mean of a number over the processes; the same on all of them.

    Args:
        value: this process's.
        device: of this process.

    Returns:
        The mean.
    """
    if count() == 1:
        return value
    total = torch.tensor(value, dtype=torch.float64, device=device)
    distributed.all_reduce(total)
    return float(total) / count()
