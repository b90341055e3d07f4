"""The exercise notebooks, from source to grade: generated copies, mutants, rewrites, nbgrader itself."""

import importlib
import os
import re
import shutil
import sys
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient
from nbgrader.apps import NbGraderAPI
from traitlets.config import Config

from rnncourse.checks.core import Wrong
from tools import exercises

SOURCES = exercises.sources()
BPTT = next(source for source in SOURCES if source.stem == "bptt")
README = exercises.EXERCISES / "README.md"
EXAMS = {source.stem: importlib.import_module(f"mutants.{source.stem}") for source in SOURCES}

each_exercise = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)


def read(source: Path, version: str) -> nbformat.NotebookNode:
    return nbformat.read(exercises.target(source, version), as_version=4)


def text(source: Path) -> str:
    cells = nbformat.read(source, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "markdown")


def printed(notebook) -> str:
    streams = [one for cell in notebook.cells for one in cell.get("outputs", []) if one.output_type == "stream"]
    return "".join(one.text for one in streams)


# --- Generated copies -------------------------------------------------------------------------


@each_exercise
def test_the_source_is_stored_clean(source):
    assert source.read_text() == nbformat.writes(exercises.clean(source)) + "\n", "run `make exercises`"
    ids = [cell.id for cell in nbformat.read(source, as_version=4).cells]
    assert len(set(ids)) == len(ids)


@each_exercise
def test_regenerating_the_students_version_changes_no_byte(source):
    stored = exercises.target(source, "student").read_text()
    assert stored == nbformat.writes(exercises.student(source)) + "\n", "run `make exercises`"


@each_exercise
def test_regenerating_the_solution_changes_nothing_but_outputs(source):
    stored = read(source, "solution")
    for cell in stored.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    fresh = exercises.solution(source, run=False)
    assert nbformat.writes(stored) == nbformat.writes(fresh), "run `make exercises`"
    assert exercises.is_current(source) and not exercises.is_stale(source)


def test_a_change_of_the_source_or_of_the_library_makes_the_solution_stale(monkeypatch, tmp_path):
    read_student, read_solution = read(BPTT, "student"), read(BPTT, "solution")
    monkeypatch.setattr(exercises, "EXERCISES", tmp_path)
    source = tmp_path / "source" / "03-bptt" / "bptt.ipynb"
    copies = {"source": exercises.clean(BPTT), "student": read_student, "solution": read_solution}
    for version, notebook in copies.items():
        exercises.write(notebook, tmp_path / version / "03-bptt" / "bptt.ipynb")
    assert not exercises.is_stale(source)
    monkeypatch.setattr(exercises, "library_files", lambda code: [])
    assert exercises.is_stale(source)
    monkeypatch.undo()
    monkeypatch.setattr(exercises, "EXERCISES", tmp_path)
    source.write_text(source.read_text().replace("delta = (1 - h**2) * s", "delta = s * (1 - h**2)"))
    assert exercises.is_stale(source)


def test_the_fingerprint_covers_the_checks_and_the_reference_they_use():
    code = "\n".join(cell.source for cell in read(BPTT, "solution").cells if cell.cell_type == "code")
    names = {file.relative_to(exercises.ROOT).as_posix() for file in exercises.library_files(code)}
    assert {"rnncourse/checks/core.py", "rnncourse/checks/bptt_mistakes.py", "rnncourse/reference/unroll.py"} <= names


@each_exercise
def test_the_student_sees_no_solution_and_no_hidden_test(source):
    text = exercises.target(source, "student").read_text()
    assert "BEGIN SOLUTION" not in text and "HIDDEN TESTS" not in text and '"outputs": []' in text
    stubs = [cell for cell in read(source, "student").cells if cell.metadata.get("nbgrader", {}).get("solution")]
    assert stubs and all("raise NotImplementedError()" in cell.source for cell in stubs)
    assert "HIDDEN TESTS" in source.read_text()


@each_exercise
def test_the_notebook_needs_nothing_but_numpy_and_the_library(source):
    code = "\n".join(cell.source for cell in read(source, "solution").cells if cell.cell_type == "code")
    lines = [line.strip() for line in code.splitlines() if line.strip().startswith(("import ", "from "))]
    allowed = ("import importlib.util", "import numpy", "from rnncourse.")
    assert all(line.startswith(allowed) for line in lines), lines
    used = {file.relative_to(exercises.ROOT).as_posix() for file in exercises.library_files(code)}
    assert not any("/gpu/" in name for name in used)


@each_exercise
def test_no_output_of_the_solution_depends_on_time_or_machine(source):
    notebook = read(source, "solution")
    assert set(notebook.metadata) == {"kernelspec", "language_info", "rnncourse"}
    assert notebook.metadata.language_info == {"name": "python"}
    assert all("execution" not in cell.metadata for cell in notebook.cells)
    outputs = [one for cell in notebook.cells for one in cell.get("outputs", [])]
    assert outputs and {(one.output_type, one.name) for one in outputs} == {("stream", "stdout")}


@each_exercise
def test_the_points_of_the_cells_are_those_of_the_text_and_of_the_checks(source):
    exam = EXAMS[source.stem]
    cells = [cell for cell in read(source, "student").cells if cell.metadata.get("nbgrader", {}).get("grade")]
    assert [cell.metadata.nbgrader.grade_id for cell in cells] == exam.GRADED
    assert sum(cell.metadata.nbgrader.points for cell in cells) == exam.POINTS
    assert printed(read(source, "solution")).endswith(f"{exam.POINTS} of {exam.POINTS} points\n")
    for cell in cells:
        points = cell.metadata.nbgrader.points
        assert cell.source.startswith(f"# Graded: {points} point{'s' * (points > 1)}.\n")
        assert "raises-exception" in cell.metadata.tags


def test_the_readers_table_lists_every_notebook():
    rows = re.findall(r"^\| \[([\w-]+)\]\(([^)]+)\) .*?\| (\d+) \| (\d+) \|", README.read_text(encoding="utf8"), re.M)
    tasks = {source: re.findall(r"^## Task (\d+)", text(source), re.M) for source in SOURCES}
    assert rows == [
        (
            source.parent.name,
            f"student/{source.parent.name}/{source.name}",
            str(len(set(tasks[source]))),
            str(EXAMS[source.stem].POINTS),
        )
        for source in SOURCES
    ]


@each_exercise
def test_a_fresh_students_notebook_runs_from_top_to_bottom_and_says_what_is_to_do(source):
    notebook, exam = read(source, "student"), EXAMS[source.stem]
    NotebookClient(notebook, timeout=300, kernel_name="python3").execute()
    outputs = [(cell.id, one) for cell in notebook.cells for one in cell.get("outputs", [])]
    failed = {name: one.ename for name, one in outputs if one.output_type == "error"}
    assert failed == dict.fromkeys(exam.GRADED, "NotImplementedError")
    assert {line for _, one in outputs for line in one.get("traceback", [])} == {"NotImplementedError: still to do."}
    said = printed(notebook)
    assert said.count("still to do.\n") == len(exam.GRADED) and all(line in said for line in exam.WAITING)
    assert said.endswith(f"0 of {exam.POINTS} points\n")
    assert not any(one.get("name") == "stderr" for _, one in outputs)


# --- Mutants and rewrites ---------------------------------------------------------------------


def cells_by_id(source: Path) -> dict[str, str]:
    """The code of the solution, without the cell that installs the library."""
    cells = [cell for cell in read(source, "solution").cells if cell.cell_type == "code"]
    return {cell.id: cell.source for cell in cells if cell.id != "install"}


def grade(source: Path, changed: dict[str, str], graded: str) -> None:
    """Run the solution with some cells replaced, checks and all, up to a graded cell, hidden tests included."""
    space: dict = {}
    for name, code in cells_by_id(source).items():
        if name == graded or name not in EXAMS[source.stem].GRADED:
            exec(compile(changed.get(name, code), name, "exec"), space)
        if name == graded:
            return


def of_all(table: str) -> list:
    """Every row of a table of every exam, with its source and a name to find it by."""
    return [
        pytest.param(source, *cells, row, id=f"{source.stem}-{cells[0]}-{k}")
        for source in SOURCES
        for cells, rows in getattr(EXAMS[source.stem], table).items()
        for k, row in enumerate(rows if isinstance(rows, list) else [rows])
    ]


@each_exercise
def test_the_solution_itself_passes(source):
    for graded in EXAMS[source.stem].GRADED:
        grade(source, {}, graded)


@pytest.mark.parametrize(("source", "cell", "graded", "mutant"), of_all("MUTANTS"))
def test_a_mutant_is_rejected_with_its_own_message(source, cell, graded, mutant):
    (old, new, said), code = mutant, cells_by_id(source)[cell]
    assert old in code
    with pytest.raises(Wrong) as caught:
        grade(source, {cell: code.replace(old, new, 1)}, graded)
    assert said in str(caught.value)


@each_exercise
def test_there_are_mutants_enough_and_no_two_of_a_task_are_told_the_same(source):
    exam = EXAMS[source.stem]
    assert {graded for _, graded in exam.MUTANTS} == {graded for _, graded in exam.REWRITES} == set(exam.GRADED)
    assert sum(map(len, exam.MUTANTS.values())) >= 8
    for mutants in exam.MUTANTS.values():
        assert len({said for *_, said in mutants}) == len(mutants)


@pytest.mark.parametrize(("source", "cell", "graded", "rewrite"), of_all("REWRITES"))
def test_a_harmless_rewrite_is_accepted(source, cell, graded, rewrite):
    grade(source, {cell: rewrite}, graded)


@pytest.mark.parametrize(("source", "cell", "graded", "change"), of_all("NARROW"))
def test_hidden_tests_catch_what_only_fits_the_visible_sizes(source, cell, graded, change):
    code = cells_by_id(source)[cell]
    assert change[0] in code
    code = code.replace(*change)
    with pytest.raises(Wrong):
        grade(source, {cell: code}, graded)
    visible = next(one.source for one in read(source, "student").cells if one.id == graded)
    grade(source, {cell: code, graded: visible}, graded)


# --- nbgrader ---------------------------------------------------------------------------------


quiet = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # nbgrader's own way with its database


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course of nbgrader's with every exercise released from its source."""
    root = tmp_path_factory.mktemp("course")
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for source in SOURCES:
        (root / "source" / source.parent.name).mkdir(parents=True)
        shutil.copy(source, root / "source" / source.parent.name)
    config = Config()
    config.CourseDirectory.root = str(root)
    config.CourseDirectory.db_url = f"sqlite:///{root / 'gradebook.db'}"
    config.Application.log_level = "ERROR"
    api = NbGraderAPI(config=config)
    for source in SOURCES:
        result = api.generate_assignment(source.parent.name)
        assert result["success"], result["log"]
    return root, api


def scores(course, source: Path, student: str, notebook: nbformat.NotebookNode) -> dict[str, float]:
    """Hand a notebook in, let nbgrader score it, and return the points of each graded cell."""
    (root, api), name = course, source.parent.name
    path = root / "submitted" / student / name / source.name
    path.parent.mkdir(parents=True)
    nbformat.write(notebook, path)
    result = api.autograde(name, student)
    assert result["success"], result["log"]
    with api.gradebook as book:
        submission = book.find_submission_notebook(source.stem, name, student)
        assert submission.max_score == EXAMS[source.stem].POINTS and not submission.needs_manual_grade
        return {grade.name: grade.score for grade in submission.grades}


def submission_with(source: Path, solved: set[str]) -> nbformat.NotebookNode:
    """The student's version with some stubs filled in from the solution."""
    notebook, answers = read(source, "student"), cells_by_id(source)
    for cell in notebook.cells:
        if cell.id in solved:
            cell.source = answers[cell.id]
    return notebook


@each_exercise
def test_what_we_commit_is_what_nbgrader_releases(course, source):
    released = (course[0] / "release" / source.parent.name / source.name).read_bytes()
    assert released == exercises.target(source, "student").read_bytes()


@quiet
@each_exercise
def test_nbgrader_gives_full_marks_to_the_solution(course, source):
    exam = EXAMS[source.stem]
    solved = {cell for cell, _ in exam.MUTANTS}
    assert sum(scores(course, source, "ada", submission_with(source, solved)).values()) == exam.POINTS


@quiet
@each_exercise
def test_nbgrader_gives_nothing_for_the_stubs(course, source):
    assert set(scores(course, source, "blank", read(source, "student")).values()) == {0}


@quiet
def test_nbgrader_scores_task_by_task_and_restores_tampered_tests(course):
    notebook = submission_with(BPTT, {"step-backward", "which-pairs"})
    for cell in notebook.cells:
        if cell.id == "test-bptt":
            cell.source = "pass"
    given = scores(course, BPTT, "carl", notebook)
    assert {name for name, points in given.items() if points} == {"test-step", "test-pairs"}


# --- Submissions that cannot be scored --------------------------------------------------------


def damaged(change) -> nbformat.NotebookNode:
    notebook = read(BPTT, "student")
    change(notebook)
    return notebook


def strip(notebook):
    for cell in notebook.cells:
        cell.metadata = {}


def find(notebook, name):
    return next(cell for cell in notebook.cells if cell.id == name)


def double(notebook):
    copy = nbformat.from_dict(find(notebook, "bptt"))
    copy.id = "copy"
    notebook.cells.append(copy)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (strip, ["test-pairs: the cell is missing", "bptt: the cell is missing"]),
        (lambda nb: nb.cells.remove(find(nb, "test-bptt")), ["test-bptt: the cell is missing"]),
        (double, ["bptt: the cell is there 2 times"]),
        (
            lambda nb: find(nb, "test-step").metadata.nbgrader.update(grade=False),
            ["test-step: its metadata has changed (grade)"],
        ),
        (
            lambda nb: find(nb, "sliding").update(cell_type="markdown"),
            ["sliding: a code cell has become a markdown cell"],
        ),
    ],
)
def test_a_submission_that_would_be_scored_unfairly_is_refused(change, expected):
    lines = exercises.problems(damaged(change), read(BPTT, "student"))
    assert set(expected) <= set(lines)


def test_a_submission_is_checked_from_the_command_line(tmp_path, monkeypatch, capsys):
    good, bad = tmp_path / "good" / "bptt.ipynb", tmp_path / "bad" / "bptt.ipynb"
    for path, notebook in [(good, submission_with(BPTT, {"bptt"})), (bad, damaged(strip))]:
        path.parent.mkdir()
        nbformat.write(notebook, path)
    for path, status, said in [(good, 0, "fit to be scored"), (bad, 1, "refused")]:
        monkeypatch.setattr(sys, "argv", ["exercises.py", "--submission", str(path)])
        with pytest.raises(SystemExit) as ended:
            exercises.main()
        assert ended.value.code == status and f"{path}: {said}" in capsys.readouterr().out
    assert exercises.check_submission(tmp_path / "other.ipynb") == [
        f"no exercise is called other.ipynb; there are {', '.join(sorted(source.name for source in SOURCES))}"
    ]
