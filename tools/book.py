"""Build the site from the stored outputs, every warning an error, and say where to open it."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
STRICT = ["-W", "-n", "--keep-going", "-q"]


def build(source: Path, output: Path) -> subprocess.CompletedProcess:
    """Build the book in `source` into `output`/_build/html, from nothing.

    A second build of Sphinx's only looks at what changed, and would not repeat the warnings of a page
    that did not: what failed once would then pass.
    """
    for old in ("html", ".doctrees"):
        shutil.rmtree(output / "_build" / old, ignore_errors=True)
    program = [sys.executable, "-c", "from jupyter_book.cli.main import main; main()"]
    command = [*program, "build", str(source), *STRICT, "--path-output", str(output)]
    # Where PYTHONPATH comes first, the reference is made from the library that lies beside the pages.
    environment = {**os.environ, "PYTHONPATH": str(source)}
    return subprocess.run(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def main() -> None:
    begun = time.perf_counter()
    result = build(ROOT, ROOT)
    if result.returncode:
        sys.exit(result.stdout + "The book was not built.")
    print(f"Built in {time.perf_counter() - begun:.0f} s. Open {ROOT / '_build' / 'html' / 'index.html'}")


if __name__ == "__main__":
    main()
