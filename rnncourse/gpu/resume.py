"""Files from which a training goes on: written whole or not at all, and read with suspicion."""

import os
from pathlib import Path

import torch


def write(state: dict, path: str | Path) -> None:
    """Write a file in one stroke: whoever looks finds the old one or the new one, never half of one.

    Args:
        state: numbers, strings, tensors, and lists, tuples and dictionaries of these.
        path: of the file; its folder is made if it is missing.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    try:
        with open(beside, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())  # on the disk before it takes the old one's name
        os.replace(beside, path)
    finally:
        beside.unlink(missing_ok=True)


def read(path: str | Path, expected: dict) -> dict | None:
    """Read a file that :func:`write` has left, if there is one.

    Args:
        path: of the file.
        expected: entries that must be there with these values: it must be this training's file.

    Returns:
        What was written, its tensors on the CPU; nothing if there is no such file.

    Raises:
        ValueError: if it is a file of another training, naming what differs, or no such file at all.
    """
    if not Path(path).exists():
        return None
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # torch raises half a dozen kinds, for one cause
        raise ValueError(f"checkpoint: {path} cannot be read; delete it to start again ({error})") from error
    differing = {
        name: (state.get(name) if isinstance(state, dict) else None, value)
        for name, value in expected.items()
        if not isinstance(state, dict) or state.get(name) != value
    }
    if differing:
        said = "; ".join(f"{name} was {there}, is now {here}" for name, (there, here) in differing.items())
        raise ValueError(f"checkpoint: {path} belongs to another training ({said})")
    return state
