"""The exercise notebooks, from source to grade: generated copies, mutants, rewrites, nbgrader itself."""

import os
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
POINTS = 20
GRADED = [
    "test-step",
    "test-bptt",
    "test-differences",
    "test-is-gradient",
    "test-sliding",
    "test-chunked",
    "test-pairs",
]

each_exercise = pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.stem)


def read(source: Path, version: str) -> nbformat.NotebookNode:
    return nbformat.read(exercises.target(source, version), as_version=4)


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


def test_the_points_of_the_cells_are_those_of_the_text_and_of_the_checks():
    cells = [cell for cell in read(BPTT, "student").cells if cell.metadata.get("nbgrader", {}).get("grade")]
    assert [cell.metadata.nbgrader.grade_id for cell in cells] == GRADED
    assert sum(cell.metadata.nbgrader.points for cell in cells) == POINTS
    assert printed(read(BPTT, "solution")).endswith(f"{POINTS} of {POINTS} points\n")
    for cell in cells:
        assert cell.source.startswith(f"# Graded: {cell.metadata.nbgrader.points} points.")
        assert "raises-exception" in cell.metadata.tags


def test_a_fresh_students_notebook_runs_from_top_to_bottom_and_says_what_is_to_do():
    notebook = read(BPTT, "student")
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    outputs = [(cell.id, one) for cell in notebook.cells for one in cell.get("outputs", [])]
    failed = {name: one.ename for name, one in outputs if one.output_type == "error"}
    assert failed == dict.fromkeys(GRADED, "NotImplementedError")
    assert {line for _, one in outputs for line in one.get("traceback", [])} == {"NotImplementedError: still to do."}
    said = printed(notebook)
    assert said.count("still to do.\n") == 7 and "This table waits for tasks 2, 4 and 5." in said
    assert said.endswith(f"0 of {POINTS} points\n")
    assert not any(one.get("name") == "stderr" for _, one in outputs)


# --- Mutants and rewrites ---------------------------------------------------------------------


def cells_by_id() -> dict[str, str]:
    """The code of the solution, without the cell that installs the library."""
    cells = [cell for cell in read(BPTT, "solution").cells if cell.cell_type == "code"]
    return {cell.id: cell.source for cell in cells if cell.id != "install"}


def grade(changed: dict[str, str], graded: str) -> None:
    """Run the solution with some cells replaced, checks and all, up to a graded cell, hidden tests included."""
    space: dict = {}
    for name, source in cells_by_id().items():
        if name == graded or name not in GRADED:
            exec(compile(changed.get(name, source), name, "exec"), space)
        if name == graded:
            return


# What is changed in the solution, into what, and what the student is told.
MUTANTS = {
    ("step-backward", "test-step"): [
        ("W_h.T @ delta", "W_h @ delta", "did you forget the transpose in the recurrence?"),
        ("(1 - h**2) * s", "s", "did you drop phi'?"),
        ("1 - h**2", "1 - np.tanh(h) ** 2", "did you apply tanh twice?"),
        ("1 - h**2", "1 - h_previous**2", "is that the slope of the step before?"),
        ("outer(delta, h_previous)", "outer(delta, h)", "are you off by one in time?"),
        ("d_b_h = delta", "d_b_h = s", "did you use s_t where delta_t belongs?"),
        ("outer(delta, x)", "outer(x, delta)", "d_W_x: expected shape (5, 2), got (2, 5). Is it the transpose?"),
    ],
    ("bptt", "test-bptt"): [
        ("delta[t] @ W_h", "delta[t] @ W_h.T", "did you forget the transpose in the recurrence? In rows"),
        ("slope[t] * (g[t] + arriving)", "g[t] + arriving", "did you drop phi'? Use delta_t"),
        ("= delta[t] @ W_h", "= (g[t] + arriving) @ W_h", "is phi' missing from the recursion?"),
        ("slope[t] * (g[t] + arriving)", "slope[t] * g[t]", "did you write the immediate gradient where"),
        ("g = e @ W_y", "g = e @ W_y\n    g[:-1] = 0", "did you forget the immediate gradient g_t?"),
        (
            "delta = np.empty",
            "for t in range(len(x) - 1, 0, -1):\n        g[t - 1] += (slope[t] * g[t]) @ W_h\n    delta = np.empty",
            "do you count paths more than once?",
        ),
        (
            "arriving = np.zeros_like(g[0])\n    for t in reversed(range(len(x))):",
            "delta[0] = arriving = np.zeros_like(g[0])\n    for t in range(len(x) - 1, 0, -1):",
            "does your loop stop one step too early?",
        ),
        ("rows(h[:-1])", "rows(h[1:])", "are you off by one in time?"),
        (
            "rows(delta).T @ rows(h[:-1])",
            "delta[0].T @ h[0]",
            "did you overwrite instead of accumulate? Only the first",
        ),
        ("rows(delta).T @ rows(x)", "delta.sum(1).T @ x.sum(1)", "did you sum over the batch too early?"),
        ("e = y - targets", "e = (y - targets) / x.shape[1]", "did you average over the sequences of the batch?"),
        ("e = y - targets", "e = (y - targets) / len(x)", "did you average over the steps?"),
        ("e = y - targets", "e = 2 * (y - targets)", "did you differentiate the square without its one half?"),
        ("e = y - targets", "e = targets - y", "is the sign of e_t wrong?"),
        ("e = y - targets", "targets -= y\n    e = -targets", "bptt changed its argument targets"),
        ("rows(e).T @ rows(h[1:])", "rows(e).T @ rows(h[:-1])", "does the readout read h_t or h_{t-1}?"),
        ("arriving.sum(axis=0)", "arriving", "expected shape (5,), got (3, 5). Did you forget to sum over the batch?"),
        ("arriving.sum(axis=0)", "delta[0].sum(axis=0)", "This is delta_1; h_0 lies behind W_h."),
        ("slope = 1 - h[1:] ** 2", "slope = 1 - h[:-1] ** 2", "is that the slope of the step before?"),
        ("g = e @ W_y", "g = e @ W_y.T", "bptt raised ValueError: matmul"),
    ],
    ("central-differences", "test-differences"): [
        ("f(theta - move)) / (2 * step)", "f(theta)) / step", "is this the one-sided difference, forwards?"),
        (" / (2 * step)", "", "did you forget the division?"),
        ("(2 * step)", "step", "did you divide by one step?"),
        ("move[i] = step", "move[:] = step", "did you move all entries at once?"),
        (
            "/ (2 * step)",
            "/ (2 * step)\n        theta = theta + move",
            "did you leave an entry where you moved it?",
        ),
        ("move[i] = step", "move[i] = step\n        theta += move", "central_differences changed its argument theta"),
    ],
    ("is-gradient", "test-is-gradient"): [
        ("1e-5)", "1e-13)", "Your step is 1e-13: rounding drowns the difference."),
        ("1e-5)", "0.01)", "Your step is 1e-02: the curve bends too much on the way."),
        ("return bool(", "return True or bool(", "it accepted a gradient in which the recurrence lacks its transpose"),
        ("np.abs(gradient - numerical).max()", "(gradient - numerical).max()", "Did you forget abs()?"),
        ("- numerical).max()", "- numerical).mean() / 10", "Look at the largest difference, not at the mean."),
        (
            "error <= 1e-6 * np.abs(numerical).max()",
            "(np.abs(gradient - numerical) <= 1e-6 * np.abs(numerical)).all()",
            "it refused a right gradient with some entries near zero.",
        ),
        ("1e-6 * np.abs(numerical).max()", "1e-6", "it accepted a wrong gradient of a tiny loss."),
        ("bool(error <= 1e-6 * np", "not (error > 1e-6 * np", "it accepted a gradient full of NaN."),
        (
            "bool(error <= 1e-6 * np.abs(numerical).max())",
            "not error / np.abs(gradient).max() > 1e-6 or not gradient.any()",
            "it accepted a gradient that is zero everywhere.",
        ),
    ],
    ("sliding", "test-sliding"): [
        ("t - window)", "t - window + 1)", "is the window one too short?"),
        ("t - window) - 1", "t - window)", "does your loop stop one step too early?"),
        ("t - window) - 1", "t - window - 1) - 1", "is the window one too long?"),
        ("max(0, t - window) - 1", "-1", "nothing has been cut off: this is the full gradient."),
        ("max(0, t - window) - 1", "t - window - 1", "do your indices run off the start of the sequence?"),
        ("max(0, t - window)", "t // (window + 1) * (window + 1)", "are these chunks?"),
        ("s = g[t]", "s = g[t] * (t == len(x) - 1)", "only the last loss has arrived"),
        ("s = delta @ W_h", "s = delta @ W_h.T", "did you forget the transpose in the recurrence?"),
    ],
    ("chunked", "test-chunked"): [
        ("state = None\n", "state, chunk = None, len(x)\n", "did you carry the gradient across the cut?"),
        ("state = h[-1]", "state = None", "did you forget to carry the state?"),
        ("arriving = 0.0", "arriving = d_W_h[:] = 0", "did you overwrite instead of accumulate? Only the last chunk"),
        ("range(0, len(x), chunk)", "range(0, len(x) - chunk + 1, chunk)", "did you drop the last chunk?"),
        ("reversed(range(len(g)))", "range(len(g) - 1, 0, -1)", "does your loop stop one step too early?"),
        ("state = None\n", "state, chunk = None, chunk + 1\n", "are your chunks one step too long?"),
        ("(g[t] + arriving)", "(g[t] * (t == len(g) - 1) + arriving)", "does only the last loss of each chunk count?"),
    ],
    ("which-pairs", "test-pairs"): [
        ("sliding = 21", "sliding = 15", "sliding: 15 is not the number of pairs: is it one pair too few"),
        ("{(5, 3), (5, 4), (6, 4)}", "{(3, 5), (4, 5), (4, 6)}", "the right pairs the wrong way round"),
    ],
}
CASES = [(*cells, *mutant) for cells, mutants in MUTANTS.items() for mutant in mutants]


def test_the_solution_itself_passes():
    for graded in GRADED:
        grade({}, graded)


@pytest.mark.parametrize(("cell", "graded", "old", "new", "said"), CASES)
def test_a_mutant_is_rejected_with_its_own_message(cell, graded, old, new, said):
    source = cells_by_id()[cell]
    assert old in source
    with pytest.raises(Wrong) as caught:
        grade({cell: source.replace(old, new, 1)}, graded)
    assert said in str(caught.value)


def test_no_two_mutants_of_a_task_are_told_the_same():
    for mutants in MUTANTS.values():
        assert len({said for *_, said in mutants}) == len(mutants)


REWRITES = {
    ("step-backward", "test-step"): """
def step_backward(W_x, W_h, x, h_previous, h, s):
    delta = [(1 - h[i] * h[i]) * s[i] for i in range(len(s))]
    d_W_x = [[delta[i] * x[j] for j in range(len(x))] for i in range(len(s))]
    d_W_h = np.einsum("i,j->ij", delta, h_previous)
    return delta, d_W_x, d_W_h, np.array(delta), np.array(delta) @ W_h
""",
    ("bptt", "test-bptt"): """
def bptt(params, x, targets):
    (W_x, W_h, b_h), (W_y, b_y), h_0 = params
    d_W_x, d_W_h, d_b_h = np.zeros_like(W_x), np.zeros_like(W_h), np.zeros_like(b_h)
    d_W_y, d_b_y, d_h_0 = np.zeros_like(W_y), np.zeros_like(b_y), np.zeros_like(h_0)
    T, B, _ = x.shape
    for b in range(B):
        h = [h_0]
        for t in range(T):
            h.append(np.tanh(W_x @ x[t, b] + W_h @ h[-1] + b_h))
        back = np.zeros_like(h_0)
        for t in range(T - 1, -1, -1):
            e = W_y @ h[t + 1] + b_y - targets[t, b]
            delta = (W_y.T @ e + back) * (1 - h[t + 1] ** 2)
            d_W_x += np.outer(delta, x[t, b])
            d_W_h += np.outer(delta, h[t])
            d_b_h += delta
            d_W_y += np.outer(e, h[t + 1])
            d_b_y += e
            back = W_h.T @ delta
        d_h_0 += back
    return (d_W_x, d_W_h, d_b_h), (d_W_y, d_b_y), d_h_0
""",
    ("central-differences", "test-differences"): """
def central_differences(f, theta, step):
    values = []
    flat = theta.reshape(-1)
    for i in range(flat.size):
        flat[i] += step
        ahead = f(theta)
        flat[i] -= 2 * step
        values.append((ahead - f(theta)) / (2 * step))
        flat[i] += step
    return np.reshape(values, theta.shape)
""",
    ("is-gradient", "test-is-gradient"): """
def is_gradient(f, theta, gradient):
    numerical = central_differences(f, theta, 6e-6)
    if not np.isfinite(gradient).all():
        return False
    return np.linalg.norm(gradient - numerical, np.inf) < 1e-6 * np.max(np.abs(numerical))
""",
    ("sliding", "test-sliding"): """
def sliding(params, x, targets, window):
    h, term = forward(params, x, targets)
    delta = np.zeros_like(term)
    for _ in range(min(window + 1, len(x))):
        pulled = term * (1 - h[1 : len(term) + 1] ** 2)
        delta[: len(term)] += pulled
        term = (pulled @ params.cell.recurrent_weights)[1:]
    return [np.tensordot(delta, x, ([0, 1], [0, 1])), np.einsum("tbi,tbj->ij", delta, h[:-1]), delta.sum((0, 1))]
""",
    ("chunked", "test-chunked"): """
def chunked(params, x, targets, chunk):
    W_h = params.cell.recurrent_weights
    h, g = forward(params, x, targets)  # the values need no cutting, so one pass serves all chunks
    delta = np.zeros_like(g)
    for t in range(len(x) - 1, -1, -1):
        inside = t + 1 < len(x) and (t + 1) % chunk
        delta[t] = (1 - h[t + 1] ** 2) * (g[t] + (delta[t + 1] @ W_h if inside else 0))
    return np.einsum("tbi,tbj->ij", delta, x), np.einsum("tbi,tbj->ij", delta, h[:-1]), delta.sum(axis=(0, 1))
""",
    ("which-pairs", "test-pairs"): """
def which_pairs():
    pairs = [(t, tau) for t in range(1, 9) for tau in range(1, t + 1)]
    slid = {(t, tau) for t, tau in pairs if t - tau <= 2}
    cut = {(t, tau) for t, tau in pairs if (t - 1) // 4 == (tau - 1) // 4}
    return np.int64(len(pairs)), len(slid), len(cut), sorted(slid - cut)
""",
}


@pytest.mark.parametrize(("cell", "graded"), REWRITES)
def test_a_harmless_rewrite_is_accepted(cell, graded):
    grade({cell: REWRITES[cell, graded]}, graded)


def test_hidden_tests_catch_what_only_fits_the_visible_sizes():
    source = cells_by_id()["sliding"].replace("t - window)", "t - 2)")
    with pytest.raises(Wrong):
        grade({"sliding": source}, "test-sliding")
    visible = read(BPTT, "student").cells
    check = next(cell.source for cell in visible if cell.id == "test-sliding")
    grade({"sliding": source, "test-sliding": check}, "test-sliding")


# --- nbgrader ---------------------------------------------------------------------------------


quiet = pytest.mark.filterwarnings("ignore::sqlalchemy.exc.SAWarning")  # nbgrader's own way with its database


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """A course of nbgrader's with the exercise released from its source."""
    root = tmp_path_factory.mktemp("course")
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    (root / "source" / "03-bptt").mkdir(parents=True)
    shutil.copy(BPTT, root / "source" / "03-bptt" / "bptt.ipynb")
    config = Config()
    config.CourseDirectory.root = str(root)
    config.CourseDirectory.db_url = f"sqlite:///{root / 'gradebook.db'}"
    config.Application.log_level = "ERROR"
    api = NbGraderAPI(config=config)
    result = api.generate_assignment("03-bptt")
    assert result["success"], result["log"]
    return root, api


def scores(course, student: str, notebook: nbformat.NotebookNode) -> dict[str, float]:
    """Hand a notebook in, let nbgrader score it, and return the points of each graded cell."""
    root, api = course
    path = root / "submitted" / student / "03-bptt" / "bptt.ipynb"
    path.parent.mkdir(parents=True)
    nbformat.write(notebook, path)
    result = api.autograde("03-bptt", student)
    assert result["success"], result["log"]
    with api.gradebook as book:
        submission = book.find_submission_notebook("bptt", "03-bptt", student)
        assert submission.max_score == POINTS and not submission.needs_manual_grade
        return {grade.name: grade.score for grade in submission.grades}


def submission_with(solved: set[str]) -> nbformat.NotebookNode:
    """The student's version with some stubs filled in from the solution."""
    notebook = read(BPTT, "student")
    answers = cells_by_id()
    for cell in notebook.cells:
        if cell.id in solved:
            cell.source = answers[cell.id]
    return notebook


def test_what_we_commit_is_what_nbgrader_releases(course):
    released = (course[0] / "release" / "03-bptt" / "bptt.ipynb").read_bytes()
    assert released == exercises.target(BPTT, "student").read_bytes()


@quiet
def test_nbgrader_gives_full_marks_to_the_solution(course):
    solved = {cell for cell, _ in MUTANTS}
    assert sum(scores(course, "ada", submission_with(solved)).values()) == POINTS


@quiet
def test_nbgrader_gives_nothing_for_the_stubs(course):
    assert set(scores(course, "blank", read(BPTT, "student")).values()) == {0}


@quiet
def test_nbgrader_scores_task_by_task_and_restores_tampered_tests(course):
    notebook = submission_with({"step-backward", "which-pairs"})
    for cell in notebook.cells:
        if cell.id == "test-bptt":
            cell.source = "pass"
    given = scores(course, "carl", notebook)
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
    for path, notebook in [(good, submission_with({"bptt"})), (bad, damaged(strip))]:
        path.parent.mkdir()
        nbformat.write(notebook, path)
    for path, status, said in [(good, 0, "fit to be scored"), (bad, 1, "refused")]:
        monkeypatch.setattr(sys, "argv", ["exercises.py", "--submission", str(path)])
        with pytest.raises(SystemExit) as ended:
            exercises.main()
        assert ended.value.code == status and f"{path}: {said}" in capsys.readouterr().out
    assert exercises.check_submission(tmp_path / "other.ipynb") == [
        "no exercise is called other.ipynb; there are bptt.ipynb"
    ]
