"""A page's text and its executed copy agree, none is stale, and a corrupted output is caught."""

import copy
import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

from tools import notebooks

ROOT = Path(__file__).resolve().parent.parent
TEXTS = notebooks.texts()
CHAPTER = TEXTS[1]


def executed(text: Path) -> nbformat.NotebookNode:
    return nbformat.read(text.with_suffix(".ipynb"), as_version=4)


def outputs_as_text(cell) -> str:
    parts = [output.get("text") or output.get("data", {}).get("text/plain", "") for output in cell.get("outputs", [])]
    return "".join(parts)


def run_nbval(notebook: nbformat.NotebookNode, path: Path) -> subprocess.CompletedProcess:
    nbformat.write(notebook, path)
    command = [
        sys.executable,
        "-m",
        "pytest",
        "--nbval",
        "--nbval-current-env",
        "-q",
        "-p",
        "no:cacheprovider",
        str(path),
    ]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=path.parent, capture_output=True, text=True, env=environment, timeout=120)


def up_to_first_text_output(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """The beginning of a notebook, as far as the first cell that prints something."""
    short = copy.deepcopy(notebook)
    last = next(i for i, cell in enumerate(short.cells) if "0." in outputs_as_text(cell))
    short.cells = [cell for cell in short.cells[: last + 1] if cell.cell_type == "code"]
    return short


def test_there_are_chapters():
    assert len(TEXTS) > 1


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.stem)
def test_executed_copy_is_the_text(text):
    ours = [(cell.cell_type, cell.source, cell.id) for cell in notebooks.read(text).cells]
    theirs = [(cell.cell_type, cell.source, cell.id) for cell in executed(text).cells]
    assert theirs == ours, f"{text.name} and its executed copy differ: run `make notebooks`"


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.stem)
def test_executed_copy_is_not_stale(text):
    assert notebooks.is_current(text), f"{text.name}, or code it uses, has changed: run `make notebooks`"


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.stem)
def test_every_cell_ran_and_none_failed(text):
    cells = [cell for cell in executed(text).cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert not [output for cell in cells for output in cell.outputs if output.output_type == "error"]
    assert not [output for cell in cells for output in cell.outputs if output.get("name") == "stderr"]
    assert all(sum(output.output_type == "stream" for output in cell.outputs) <= 1 for cell in cells)  # one box a cell


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.stem)
def test_cells_that_print_or_show_have_outputs(text):
    """nbval passes a notebook without outputs, so their presence is tested here."""
    for cell in executed(text).cells:
        speaks = any(line.startswith(("print(", "figures.show(", "source(")) for line in cell.source.splitlines())
        if cell.cell_type == "code" and speaks:
            assert cell.outputs, f"{text.name}: no stored output for\n{cell.source}"


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.stem)
def test_every_picture_has_words(text):
    for cell in executed(text).cells:
        pictures = [data for output in cell.get("outputs", []) for data in output.get("data", {}) if "image/" in data]
        if pictures:
            assert len(cell.metadata["mystnb"]["image"]["alt"]) > 40, cell.source
            assert len(cell.metadata["mystnb"]["figure"]["caption"]) > 40, cell.source


def test_a_changed_text_is_stale(tmp_path):
    text = tmp_path / CHAPTER.name
    text.write_text(CHAPTER.read_text())
    text.with_suffix(".ipynb").write_text(CHAPTER.with_suffix(".ipynb").read_text())
    assert notebooks.is_current(text) == notebooks.is_current(CHAPTER)
    text.write_text(CHAPTER.read_text() + "\nOne more sentence.\n")
    assert not notebooks.is_current(text)


def test_a_corrupted_output_is_caught(tmp_path):
    right = up_to_first_text_output(executed(CHAPTER))
    wrong = copy.deepcopy(right)
    output = wrong.cells[-1].outputs[0]
    output.text = output.text.replace("0.", "1.", 1)
    assert run_nbval(right, tmp_path / "right.ipynb").returncode == 0
    caught = run_nbval(wrong, tmp_path / "wrong.ipynb")
    assert caught.returncode == 1 and "1 failed" in caught.stdout
