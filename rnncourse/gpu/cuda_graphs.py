"""A loop of many small steps, recorded once and replayed as a whole: a CUDA graph.

A step of a small recurrence takes a GPU a few microseconds, and Python some more to ask for it. A graph holds
the launches of a whole loop, so that they cost one. The work is the same, and so are the numbers, as long as the
function draws none at random.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from rnncourse.gpu import graph
from rnncourse.params import map_arrays

WARM = 3  # calls before the recording: libraries choose their kernels and take their memory in the first ones


class Recording(NamedTuple):
    """Launches in the order in which they were made, and the memory they read and write.

    Attributes:
        launches: ``torch.cuda.CUDAGraph``: all that can be done with it is to replay it.
        arguments: where the launches read.
        results: where they write.
    """

    launches: Any
    arguments: tuple
    results: Any


def graphed(function: Callable, enabled: bool = True) -> Callable:
    """Let a function of tensors be recorded at its first call, and replayed at every later one.

    Args:
        function: of tensors and nested tuples of tensors, returning the like. It must do the same whatever the
            numbers are: no branch on a value, no ``.item()``, no tensor made on the CPU. It must change nothing in
            place and draw no random numbers, since the first call runs it ``WARM`` times more than it is
            asked for: loss and gradients can be recorded, an optimiser's update belongs outside. What it uses
            beside its arguments, such as weights, is read where it lies: change it in place between two
            calls, and the replay sees it.
        enabled: the switch. Off, or where an argument is not on a CUDA device, the function itself is called.

    Returns:
        A function of the same arguments. For each set of shapes, types and devices there is one recording,
        which keeps its memory as long as this function lives: give it few shapes. Results are copies,
        outside of every graph of autograd's: to have gradients recorded, take them inside, by
        ``torch.autograd.grad``.
    """
    recordings: dict[Any, Recording] = {}

    def replay(*arguments: Any) -> Any:
        if not enabled or not _on_cuda(arguments):
            return function(*arguments)
        form = map_arrays(_facts, arguments)
        if form not in recordings:
            recordings[form] = record(function, arguments)
        made = recordings[form]
        for place, tensor in zip(graph.tensors(made.arguments), graph.tensors(arguments), strict=True):
            place.copy_(tensor.detach())
        made.launches.replay()
        return map_arrays(torch.clone, made.results)

    return replay


def record(function: Callable, arguments: tuple) -> Recording:
    """Call a function a few times aside, as a recording needs it, then once more and record.

    Args:
        function: as of :func:`graphed`.
        arguments: tensors on a CUDA device, or nested tuples of them; they are copied.

    Returns:
        The recording.
    """
    held = map_arrays(lambda tensor: tensor.detach().clone(), arguments)
    with torch.cuda.device_of(next(graph.tensors(held))):
        aside = torch.cuda.Stream()
        aside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(aside):
            for _ in range(WARM):
                function(*held)
        torch.cuda.current_stream().wait_stream(aside)
        launches = torch.cuda.CUDAGraph()
        with torch.cuda.graph(launches):
            results = function(*held)
    return Recording(launches, held, map_arrays(torch.Tensor.detach, results))


def _on_cuda(arguments: tuple) -> bool:
    given = list(graph.tensors(arguments))
    return bool(given) and all(tensor.is_cuda for tensor in given)


def _facts(tensor: torch.Tensor) -> tuple:
    return tuple(tensor.shape), tensor.dtype, tensor.device
