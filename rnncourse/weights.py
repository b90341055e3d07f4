"""Trained weights that a page needs: small files in ``experiments/weights``, checked against their record's hash."""

import hashlib
import io
from pathlib import Path
from typing import Any

import numpy as np

from rnncourse.params import map_arrays, named_arrays

FOLDER = Path(__file__).resolve().parent.parent / "experiments" / "weights"


def load(name: str, like: Any, digest: str, folder: Path = FOLDER) -> Any:
    """Read trained weights.

    Args:
        name: of the file, without ``.npz``.
        like: parameters of the same form and shapes.
        digest: the SHA-256 of the file, which the experiment's record tells.
        folder: where it lies.

    Returns:
        The weights in the form of ``like``, float64.

    Raises:
        FileNotFoundError: if there is no such file.
        ValueError: if it is not the file of the record, or holds other arrays.
    """
    file = folder / f"{name}.npz"
    if not file.is_file():
        raise FileNotFoundError(
            f"no weights {name!r} in {folder}. Weights are part of the course's repository, not of an installed package"
        )
    content = file.read_bytes()
    if hashlib.sha256(content).hexdigest() != digest:
        raise ValueError(f"name: {name}.npz is not the file that the record tells of: run the experiment again")
    with np.load(io.BytesIO(content)) as arrays:
        found = {key: arrays[key].astype(float) for key in arrays.files}
    wanted = {key: array.shape for key, array in named_arrays(like)}
    if {key: array.shape for key, array in found.items()} != wanted:
        raise ValueError(f"like: expected { ({k: a.shape for k, a in found.items()}) }, got {wanted}")
    parts = iter([found[key] for key in wanted])
    return map_arrays(lambda _: next(parts), like)
