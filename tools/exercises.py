"""Make the student and the solution notebook of every exercise from its one source.

    python tools/exercises.py                       make what is missing or stale
    python tools/exercises.py --check               make nothing; fail if something is stale
    python tools/exercises.py --submission FILE     refuse a submission that cannot be scored fairly

exercises/source/NN-name/NAME.ipynb holds solutions and hidden tests in nbgrader's cell syntax.
The student's copy comes out of nbgrader's own preprocessors, byte for byte as
`nbgrader generate_assignment` writes it. The solution is the source, executed; it carries a hash
of the source and of the library modules it uses.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbconvert.preprocessors import CoalesceStreamsPreprocessor
from nbgrader import preprocessors as nbgrader

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from tools.fingerprint import digest, library_files  # noqa: E402

EXERCISES = ROOT / "exercises"
METADATA = {
    "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
    "language_info": {"name": "python"},
}
# As in nbgrader's GenerateAssignment, without the step that writes to its database.
RELEASE = [
    nbgrader.LockCells,
    nbgrader.ClearSolutions,
    nbgrader.ClearOutput,
    nbgrader.CheckCellMetadata,
    nbgrader.ComputeChecksums,
    nbgrader.ClearHiddenTests,
    nbgrader.ClearMarkScheme,
    nbgrader.ComputeChecksums,  # again, since the hidden tests are gone
    nbgrader.CheckCellMetadata,
]


def sources() -> list[Path]:
    """The source notebooks, in order."""
    return sorted((EXERCISES / "source").glob("[0-9][0-9]-*/*.ipynb"))


def target(source: Path, version: str) -> Path:
    """Where the "student" or "solution" version of a source lies."""
    return EXERCISES / version / source.relative_to(EXERCISES / "source")


def clean(source: Path) -> nbformat.NotebookNode:
    """A source as it should be stored: no outputs, and no trace of the machine it was edited on."""
    notebook = nbformat.read(source, as_version=4)
    notebook, _ = nbgrader.ClearOutput().preprocess(notebook, {})
    notebook.metadata = nbformat.from_dict(METADATA)
    return notebook


def student(source: Path) -> nbformat.NotebookNode:
    """The student's version: stubs for solutions, no hidden tests, graded cells locked."""
    notebook, resources = clean(source), {}
    for step in RELEASE:
        notebook, resources = step().preprocess(notebook, resources)
    return notebook


def fingerprint(source: Path) -> str:
    """What the solution must carry to be current: a hash of the source and of the library it uses."""
    notebook = clean(source)
    code = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "code")
    return digest(nbformat.writes(notebook), *library_files(code))


def solution(source: Path, run: bool = True) -> nbformat.NotebookNode:
    """The solution: the source, executed unless told otherwise."""
    notebook = clean(source)
    if run:
        quiet = ["--log-level=ERROR"]
        client = NotebookClient(
            notebook, timeout=120, kernel_name="python3", record_timing=False, extra_arguments=quiet
        )
        client.execute()
        notebook, _ = CoalesceStreamsPreprocessor().preprocess(notebook, {})
        complaints = [one for cell in notebook.cells for one in cell.get("outputs", []) if _complains(one)]
        if complaints:  # a graded cell may raise, so the client does not stop there
            said = complaints[0].get("evalue") or complaints[0].get("text")
            raise RuntimeError(f"{source.name}: the solution fails its own tests: {said}")
    notebook.metadata = nbformat.from_dict({**METADATA, "rnncourse": {"hash": fingerprint(source)}})
    return notebook


def is_current(source: Path) -> bool:
    """Whether the stored solution belongs to this source and this library."""
    path = target(source, "solution")
    if not path.exists():
        return False
    return nbformat.read(path, as_version=4).metadata.get("rnncourse", {}).get("hash") == fingerprint(source)


def problems(submission: nbformat.NotebookNode, released: nbformat.NotebookNode) -> list[str]:
    """Why a submission cannot be scored fairly, if so.

    nbgrader finds its cells by their metadata. A notebook that has passed through a tool which
    drops it would be scored zero without a word.

    Args:
        submission: what was handed in.
        released: the student's version.

    Returns:
        A line for each grade id that is missing, doubled or changed.
    """
    found: dict[str, list] = {}
    for cell in submission.cells:
        found.setdefault(cell.metadata.get("nbgrader", {}).get("grade_id"), []).append(cell)
    lines = []
    for cell in released.cells:
        expected = cell.metadata.get("nbgrader")
        if not expected:
            continue
        name = expected["grade_id"]
        copies = found.get(name, [])
        if len(copies) != 1:
            lines.append(f"{name}: the cell is there {len(copies)} times" if copies else f"{name}: the cell is missing")
        elif copies[0].cell_type != cell.cell_type:
            lines.append(f"{name}: a {cell.cell_type} cell has become a {copies[0].cell_type} cell")
        else:
            kept = copies[0].metadata.nbgrader
            changed = [key for key in ("grade", "solution", "locked", "points") if kept.get(key) != expected.get(key)]
            lines += [f"{name}: its metadata has changed ({', '.join(changed)})"] * bool(changed)
    return lines


def check_submission(path: Path) -> list[str]:
    """Compare a submission with the student's version of the same name."""
    originals = {source.name: source for source in sources()}
    if path.name not in originals:
        return [f"no exercise is called {path.name}; there are {', '.join(sorted(originals))}"]
    released = nbformat.read(target(originals[path.name], "student"), as_version=4)
    return problems(nbformat.read(path, as_version=4), released)


def write(notebook: nbformat.NotebookNode, path: Path) -> bool:
    """Write a notebook if that changes anything; say whether it did."""
    text = nbformat.writes(notebook) + "\n"
    if path.exists() and path.read_text(encoding="utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return True


def make(source: Path, everything: bool = False) -> None:
    """Bring source, student's version and solution of one exercise up to date; say what was done."""
    os.environ["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    begun = time.perf_counter()
    done = ["source cleaned"] * write(clean(source), source)
    done += ["student's version written"] * write(student(source), target(source, "student"))
    if everything or not is_current(source):
        write(solution(source), target(source, "solution"))
        done += [f"solution executed in {time.perf_counter() - begun:.1f} s"]
    print(f"{source.parent.name}/{source.name}: {', '.join(done) or 'current'}", flush=True)


def is_stale(source: Path) -> bool:
    """Whether `make` would change anything."""
    path = target(source, "student")
    same = path.exists() and path.read_text(encoding="utf-8") == nbformat.writes(student(source)) + "\n"
    return not (same and is_current(source))


def _complains(output: nbformat.NotebookNode) -> bool:
    return output.output_type == "error" or output.get("name") == "stderr"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--all", action="store_true", help="execute the current solutions too")
    parser.add_argument("--check", action="store_true", help="make nothing; fail if something is stale")
    parser.add_argument("--submission", type=Path, nargs="+", metavar="FILE", help="check what was handed in")
    options = parser.parse_args()
    if options.submission:
        failed = False
        for path in options.submission:
            lines = check_submission(path)
            failed = failed or bool(lines)
            print(f"{path}: {'refused' if lines else 'fit to be scored'}", *(f"  {line}" for line in lines), sep="\n")
    elif options.check:
        stale = [source for source in sources() if is_stale(source)]
        failed = bool(stale)
        print(*(f"{source.parent.name}/{source.name}: stale" for source in stale), sep="\n")
    else:
        failed = False
        for source in sources():
            make(source, options.all)
    sys.exit(failed)


if __name__ == "__main__":
    main()
