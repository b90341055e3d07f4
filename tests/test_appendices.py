"""What the appendices name exists, and says what the appendices say.

Tables are read as GitHub and MyST read them. A name in code is looked up in the library, on both
floors where both have it.
"""

import ast
import importlib
import inspect
import re
from pathlib import Path

import nbformat
import pytest

from rnncourse import (
    brain_params,
    diagonal_params,
    gate_params,
    hmm_params,
    latent_params,
    lds_params,
    params,
    seq2seq_params,
    sequence_vae_params,
)
from rnncourse.figures import CHAPTERS

ROOT = Path(__file__).resolve().parent.parent
NOTATION, ERRATA, SYSTEMS, GUIDE = (
    (ROOT / "appendices" / f"{name}.md").read_text(encoding="utf8")
    for name in ("notation", "errata", "systems", "instructors")
)
FLOORS = ("rnncourse.reference", "rnncourse.gpu")
MODEL = ("RNNParams", "ReadoutParams", "ModelParams", "WordVectors")
# The entries that the chapters treat; one lost in an edit is found here.
TREATED = [
    *["E16", "O19", "H05", "H16"],  # 01
    *["E15", "O18", "H09", "C06", "C12", "C13", "T06", "T09", "T10", "T11"],  # 02
    *["E05", "E06", "H01", "H02", "O13", "T02", "T03", "C01", "C07", "C11"],  # 03
    *["H07", "O15", "O16", "O17", "C10"],  # 04
    *["E01", "E02", "E03", "E04", "E12", "E13", "E14", "O11", "O12", "H03", "H04", "T12"],  # 05
    *["E10", "E11", "O09", "O10"],  # 06
    *["E07", "E08", "E09", "O01", "O02", "O03", "O04", "C04", "C05", "T04", "T08", "A01"],  # 07
    *["O06", "O07", "O08", "C02", "C03", "C14", "A02", "A03"],  # 08
    *["H11", "O14", "C08"],  # 09
    *["E19", "H08", "H10"],  # 10
    *["E17", "O05", "C09", "T07"],  # 11
    *["E18", "H06", "H17", "T05"],  # 12
    *["H13"],  # 13
    *["H12", "T01"],  # 14
    *["H14"],  # 15
    *["H15"],  # 17
    *["O20"],  # 18
]


def tables(text: str) -> list[list[list[str]]]:
    """Every table of a text: rows of cells, the heading first."""
    blocks = re.findall(r"(?:^\|.*\|$\n?)+", text, re.M)
    return [[[cell.strip() for cell in row.strip("|").split("|")] for row in block.splitlines()] for block in blocks]


def column(text: str, heading: str) -> list[str]:
    """The cells below a heading, in all tables that have it."""
    return [row[table[0].index(heading)] for table in tables(text) if heading in table[0] for row in table[2:]]


def resolve(name: str, floor: str):
    """The object that a name in the notation table means, on one floor.

    ``Class.field`` is a field of the parameters, ``module.thing`` lies on the floor, and
    ``module.function(argument)`` is an argument of a function.
    """
    path, argument = re.fullmatch(r"([\w.]+?)(?:\((\w+)\))?", name).groups()
    first, *rest = path.split(".")
    try:
        thing = importlib.import_module(f"{floor}.{first}")
    except ModuleNotFoundError:
        homes = (
            params,
            gate_params,
            lds_params,
            hmm_params,
            seq2seq_params,
            latent_params,
            sequence_vae_params,
            diagonal_params,
            brain_params,
        )
        thing = getattr(next((home for home in homes if hasattr(home, first)), params), first)
    for part in rest:
        thing = getattr(thing, part)
    if argument is not None and argument not in inspect.signature(thing).parameters:
        raise AttributeError(f"{path} has no argument {argument}")
    return thing


def names_in_code() -> list[str]:
    return [name for cell in column(NOTATION, "name in code") for name in re.findall(r"`([^`]+)`", cell)]


def defined(file: Path) -> set[str]:
    return {node.name for node in ast.parse(file.read_text(encoding="utf8")).body if isinstance(node, ast.FunctionDef)}


def entries() -> dict[str, str]:
    """Each entry of the errata: its number and its text."""
    parts = re.split(r"^\(errata-(\w\d\d)\)=\n", ERRATA, flags=re.M)[1:]
    return dict(zip(parts[::2], parts[1::2], strict=True))


@pytest.mark.parametrize("name", names_in_code())
def test_a_name_in_the_notation_table_exists(name):
    short = name.removeprefix("reference.")
    resolve(short, FLOORS[0])
    if short == name:
        resolve(name, FLOORS[1])
    else:  # said to be on the NumPy floor alone
        with pytest.raises(AttributeError):
            resolve(short, FLOORS[1])


def test_the_notation_table_names_every_field_of_the_parameters():
    fields = {f"{kind}.{field}" for kind in MODEL for field in getattr(params, kind)._fields}
    assert fields - set(names_in_code()) == {"ModelParams.cell", "ModelParams.readout"}  # they hold the others


@pytest.mark.parametrize("name", ["RNNParams.weights", "bptt.sliding(reach)", "unroll.Tape.states", "bptt.half"])
def test_a_name_that_does_not_exist_is_found(name):
    with pytest.raises(AttributeError):
        resolve(name, FLOORS[0])


def test_torch_has_the_names_that_the_table_gives():
    import torch

    named = re.findall(r"\w+_l0", "".join(column(NOTATION, "in torch")))
    assert sorted(named) == sorted(name for name, _ in torch.nn.RNN(2, 3).named_parameters())


def test_the_gradient_at_the_door_of_torchs_layer_is_the_immediate_one():
    import torch

    output, _ = torch.nn.RNN(2, 3)(torch.ones(5, 1, 2))
    output.retain_grad()
    output.square().sum().backward()
    assert torch.equal(output.grad, 2 * output)  # g_t: nothing of later steps is in it


@pytest.mark.parametrize(
    "text", [NOTATION, ERRATA, SYSTEMS, GUIDE], ids=["notation", "errata", "systems", "instructors"]
)
def test_tables_are_whole(text):
    for table in tables(text):
        assert {len(row) for row in table} == {len(table[0])}, table[0]


def test_the_notation_tells_what_each_source_calls_it():
    assert [row[0] for row in tables(NOTATION.split("(sources)=")[1])[0][2:]] == [
        "Vidal",
        "the notes",
        "CS229",
        "Linderman",
        "Inouye",
    ]
    assert all(len(column(NOTATION, name)) > 5 for name in ("Vidal", "the notes", "CS229", "Linderman", "Inouye"))


def test_the_errata_are_those_that_the_chapter_treats():
    assert sorted(entries()) == sorted(TREATED)


@pytest.mark.parametrize("number", TREATED)
def test_an_erratum_says_what_is_said_what_is_right_and_what_shows_it(number):
    entry = entries()[number]
    assert entry.startswith(f"### {number}: ")
    assert entry.index("**Said.**") < entry.index("**Right.**") < entry.index("**Shown")
    named = re.findall(r"`(test_\w+)`", entry.split("**Shown")[1])
    assert named or "*by reading*" in entry
    assert all(name.startswith(f"test_{number}_") for name in named)
    assert sorted(named) == sorted(n for n in defined(ROOT / "tests" / "test_errata.py") if f"_{number}_" in n)


def test_every_test_of_an_erratum_has_its_entry():
    named = set(re.findall(r"`(test_[A-Z]\d\d_\w+)`", ERRATA))
    assert named == {name for name in defined(ROOT / "tests" / "test_errata.py") if name.startswith("test_")}


def schedules() -> dict[int, list[list[tuple[int, str]]]]:
    """The chapters of every week of the schedules, by the number of weeks."""
    found = {}
    for table in tables(GUIDE):
        if table[0] == ["week", "chapters"]:
            assert [row[0] for row in table[2:]] == [str(week) for week in range(1, len(table) - 1)]
            found[len(table) - 2] = [[(int(part[:2]), part[3:]) for part in row[1].split("; ")] for row in table[2:]]
    return found


def test_there_are_schedules_for_six_ten_and_fourteen_weeks():
    assert sorted(schedules()) == [6, 10, 14]


@pytest.mark.parametrize("weeks", [6, 10, 14])
def test_a_schedule_names_chapters_by_their_titles(weeks):
    titles = {(chapter.number, chapter.title) for chapter in CHAPTERS}
    assert {one for week in schedules()[weeks] for one in week} <= titles


@pytest.mark.parametrize("weeks", [6, 10, 14])
def test_no_chapter_is_taught_before_those_it_needs(weeks):
    order = [number for week in schedules()[weeks] for number, _ in week]
    for chapter in CHAPTERS:
        taught = [need for need in chapter.needs if need in order]
        if chapter.number in order:
            assert all(order.index(need) < order.index(chapter.number) for need in taught), chapter


def test_every_chapter_is_taught_or_said_to_be_left_out():
    everything = {chapter.number for chapter in CHAPTERS}
    taught = {weeks: {number for week in found for number, _ in week} for weeks, found in schedules().items()}
    said = [{int(n) for n in re.findall(r"\d\d", line)} for line in re.findall(r"^Left out: ([^.]*)", GUIDE, re.M)]
    assert taught[14] == everything
    assert [everything - taught[10], everything - taught[6]] == said


def test_the_points_are_those_of_the_notebook():
    notebook = nbformat.read(ROOT / "exercises" / "student" / "03-bptt" / "bptt.ipynb", as_version=4)
    marks = [cell.metadata.nbgrader for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade")]
    expected = [(f"`{mark.grade_id}`", str(mark.points)) for mark in marks]
    *cells, total = zip(column(GUIDE, "graded cell"), column(GUIDE, "points"), strict=True)
    assert cells == expected
    assert total == ("", str(sum(mark.points for mark in marks)))


def test_every_notebook_is_listed_with_what_it_is_worth():
    (table,) = (table for table in tables(GUIDE) if table[0] == ["notebook", "tasks", "graded", "worth"])
    expected = []
    for path in sorted((ROOT / "exercises" / "source").glob("*/*.ipynb")):
        cells = nbformat.read(path, as_version=4).cells
        heads = "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")
        tasks = {int(number) for number in re.findall(r"^## (?:Task )?(\d+)[a-z]?[:.]? ", heads, re.M)}
        marks = [cell.metadata.nbgrader for cell in cells if cell.metadata.get("nbgrader", {}).get("grade")]
        worth = sum(mark.points for mark in marks)
        expected.append([f"`{path.parent.name}`", str(len(tasks)), str(len(marks)), str(worth)])
    assert table[2:] == expected


def test_the_chapters_that_exist_are_said_to_exist():
    written = [path.name[:2] for path in sorted((ROOT / "chapters").glob("[0-9][0-9]-*.md"))]
    said = re.search(r"\*\*Chapters? ([\d, and]+?) exists?,", GUIDE)[1]
    assert re.findall(r"\d\d", said) == written
