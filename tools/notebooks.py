"""Execute the pages whose text, or whose library code, has changed since they last ran.

A page with code is a text, chapters/NN-name.md, and the same notebook executed, chapters/NN-name.ipynb.
The executed copy carries two hashes: of its text, and of the library files and records it uses.
"""

import argparse
import hashlib
import os
import sys
import time
from pathlib import Path

import jupytext
import nbformat
from nbclient import NotebookClient

# One thread a kernel, as everywhere: set before any kernel starts.
os.environ.update(dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"))

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
from tools.fingerprint import digest, library_files  # noqa: E402

KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}
# What differs between two runs, or between two machines, and means nothing to a reader.
PASSING = ("execution", "collapsed")


def texts() -> list[Path]:
    """The pages that have code: the landing page and the chapters that there are, in order."""
    return [ROOT / "intro.md", *sorted((ROOT / "chapters").glob("[0-9][0-9]-*.md"))]


def read(text: Path) -> nbformat.NotebookNode:
    """The notebook that a text describes, with cell ids that depend on the cells alone."""
    notebook = jupytext.read(text)
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        key = hashlib.sha256(cell.source.encode()).hexdigest()[:8]
        seen[key] = seen.get(key, 0) + 1
        cell.id = key if seen[key] == 1 else f"{key}-{seen[key]}"
    notebook.metadata = nbformat.from_dict({"kernelspec": KERNEL, "language_info": {"name": "python"}})
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    return notebook


def hashes(text: Path) -> dict[str, str]:
    """What the executed copy must carry to be current."""
    code = "\n".join(cell.source for cell in read(text).cells if cell.cell_type == "code")
    return {"text": digest(text.read_text(encoding="utf-8")), "library": digest(*library_files(code))}


def is_current(text: Path) -> bool:
    """Whether the executed copy belongs to this text and this library."""
    copy = text.with_suffix(".ipynb")
    if not copy.exists():
        return False
    return nbformat.read(copy, as_version=4).metadata.get("rnncourse") == hashes(text)


def execute(text: Path) -> float:
    """Run a text from top to bottom and store the executed copy beside it; return the seconds."""
    notebook = read(text)
    begun = time.perf_counter()
    client = NotebookClient(
        notebook,
        timeout=300,
        kernel_name="python3",
        resources={"metadata": {"path": text.parent}},
        record_timing=False,
        coalesce_streams=True,  # what one cell prints is one box, however busy the machine was
    )
    client.execute()
    seconds = time.perf_counter() - begun
    for cell in notebook.cells:
        tidy(cell)
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": KERNEL, "language_info": {"name": "python"}, "rnncourse": hashes(text)}
    )
    nbformat.validate(notebook)
    nbformat.write(notebook, text.with_suffix(".ipynb"))
    return seconds


def tidy(cell: nbformat.NotebookNode) -> None:
    """Drop what passes; give the page the alternative text that `figures.show` put beside a picture."""
    for key in PASSING:
        cell.metadata.pop(key, None)
    for output in cell.get("outputs", []):
        for shown in output.get("metadata", {}).values():
            if isinstance(shown, dict) and "alt" in shown:
                cell.metadata.setdefault("mystnb", {}).setdefault("image", {})["alt"] = shown["alt"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("pages", nargs="*", help="how their names begin, for example 03; all unless given")
    parser.add_argument("--all", action="store_true", help="execute the current ones too")
    parser.add_argument("--check", action="store_true", help="execute nothing; fail if one is stale")
    options = parser.parse_args()
    asked = [text for text in texts() if text.name.startswith(tuple(options.pages or [""]))]
    if not asked:
        parser.error(f"no page begins with {' or '.join(options.pages)}")
    stale = [text for text in asked if options.all or not is_current(text)]
    for text in stale:
        if options.check:
            print(f"{text.name}: stale")
        else:
            print(f"{text.name}: {execute(text):.1f} s", flush=True)
    if not stale:
        print("Every page is current.")
    sys.exit(bool(options.check and stale))


if __name__ == "__main__":
    main()
