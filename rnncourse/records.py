"""Results of runs too long for a page: written by the scripts in ``experiments/``, read by chapters and tests."""

import json
import re
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parent.parent / "experiments" / "records"


def path(name: str, folder: Path = FOLDER) -> Path:
    """Where a record lies.

    Args:
        name: of the experiment, as in ``experiments/NAME.py``.
        folder: which folder of records.

    Returns:
        The path of its JSON file, whether there is one or not.

    Raises:
        ValueError: if the name is not made of letters, digits and underscores.
    """
    if not re.fullmatch(r"\w+", name):
        raise ValueError(f"name: expected letters, digits and underscores, got {name!r}")
    return folder / f"{name}.json"


def load(name: str, folder: Path = FOLDER) -> dict[str, Any]:
    """Read a record.

    Args:
        name: of the experiment, as in ``experiments/NAME.py``.
        folder: which folder of records.

    Returns:
        What the experiment wrote: its results, and its command, versions, date and the hash of
        the code that it ran.

    Raises:
        ValueError: if the name is not made of letters, digits and underscores.
        FileNotFoundError: if there is no such record, naming those that there are.
    """
    file = path(name, folder)
    if not file.is_file():
        there = ", ".join(sorted(other.stem for other in folder.glob("*.json"))) or "none"
        raise FileNotFoundError(
            f"no record {name!r} in {folder} (there: {there}). Records are part of the course's repository, "
            f"not of an installed package; `python experiments/{name}.py` writes this one"
        )
    return json.loads(file.read_text(encoding="utf-8"))
