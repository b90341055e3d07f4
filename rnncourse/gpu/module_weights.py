"""Trained modules kept small: their parameters in half precision, in one file that is known by its hash."""

import hashlib
import io
from pathlib import Path

import numpy as np
import torch
from torch import nn

from rnncourse.weights import FOLDER


def keep(model: nn.Module, name: str, folder: Path = FOLDER) -> str:
    """Write a module's parameters, rounded to 16 bits: the same bytes for the same parameters.

    Args:
        model: a trained module.
        name: of the file, without ``.npz``.
        folder: where to.

    Returns:
        The SHA-256 of the file, for the record.

    Raises:
        ValueError: if a parameter is too large for 16 bits.
    """
    arrays = {key: array.detach().cpu().numpy().astype(np.float16) for key, array in model.named_parameters()}
    for key, array in arrays.items():
        if not np.isfinite(array).all():
            raise ValueError(f"model: {key} has entries that 16 bits cannot hold")
    with io.BytesIO() as file:
        np.savez(file, **arrays)
        content = file.getvalue()
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{name}.npz").write_bytes(content)
    return hashlib.sha256(content).hexdigest()


@torch.no_grad()
def restore(model: nn.Module, name: str, digest: str, folder: Path = FOLDER) -> nn.Module:
    """Read parameters that :func:`keep` wrote.

    Args:
        model: a module of the same form, which is overwritten.
        name: of the file, without ``.npz``.
        digest: its SHA-256, which the record tells.
        folder: where it lies.

    Returns:
        The module.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not the file of the record, or holds parameters of another form.
    """
    file = folder / f"{name}.npz"
    if not file.is_file():
        raise FileNotFoundError(f"no weights {name!r} in {folder}; they are part of the course's repository")
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError(f"name: {name}.npz is not the file that the record tells of: run the experiment again")
    wanted = dict(model.named_parameters())
    with np.load(io.BytesIO(content)) as arrays:
        found = {key: torch.from_numpy(arrays[key].astype(np.float32)) for key in arrays.files}
    if {key: array.shape for key, array in found.items()} != {key: array.shape for key, array in wanted.items()}:
        raise ValueError(f"model: {name}.npz holds parameters of another form")
    for key, array in wanted.items():
        array.copy_(found[key])
    return model
