"""Fingerprints: which files of this repository a piece of Python uses, and a short hash of contents.

The files are found by reading, never by importing: asking takes milliseconds and runs nothing.
"""

import ast
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
MAGIC = re.compile(r"^([ \t]*)[%!].*$", re.MULTILINE)  # IPython's commands, which are no Python


def library_files(code: str, roots: tuple[Path, ...] = (ROOT,)) -> list[Path]:
    """The files of this repository that a piece of Python uses, what those use, and so on, sorted.

    ``from package import module`` counts the module alone, not the package's ``__init__`` and whatever
    else that gathers: a new module beside it makes nothing stale. ``import package`` counts that too.
    Records count: ``records.load("name")``.
    """
    found: set[Path] = set()
    followed: set[Path] = set()
    pending = [(code, "")]
    while pending:
        source, package = pending.pop()
        for file in _uses(_tree(source), package, roots):
            found.add(file)
            if file.suffix == ".py" and file not in followed:
                followed.add(file)
                pending.append((file.read_text(encoding="utf-8"), _package(file, roots)))
    return sorted(found)


def digest(*parts: str | Path) -> str:
    """A short hash of texts and of files; a file counts with its name. Line ends do not matter."""
    total = hashlib.sha256()
    for part in parts:
        name = part.resolve().relative_to(ROOT).as_posix() if isinstance(part, Path) else ""
        content = part.read_bytes() if isinstance(part, Path) else part.encode()
        content = content.replace(b"\r\n", b"\n")
        total.update(f"{name}\0{len(content)}\0".encode() + content)
    return total.hexdigest()[:16]


def _tree(source: str) -> ast.AST:
    """Parse Python, or the Python of a notebook's cells."""
    try:
        return ast.parse(source)
    except SyntaxError:
        return ast.parse(MAGIC.sub(r"\1pass", source))


def _uses(tree: ast.AST, package: str, roots) -> Iterator[Path]:
    """Each file that a module uses."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield from _chain(alias.name, roots)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            inner = [f"{base}.{alias.name}" for alias in node.names]
            for name in inner:  # a name that is no module lives in the base itself
                file = _module(name, roots) or _module(base, roots)
                yield from [file] if file else []
        elif isinstance(node, ast.Call) and re.search(r"\brecords\.load$", ast.unparse(node.func)):
            for name in (arg.value for arg in node.args if isinstance(arg, ast.Constant)):
                yield ROOT / "experiments" / "records" / f"{name}.json"


def _chain(dotted: str, roots) -> Iterator[Path]:
    """The file of a module, and the ``__init__`` of each package around it: ``import a.b`` runs them all."""
    parts = dotted.split(".")
    for end in range(1, len(parts) + 1):
        file = _module(".".join(parts[:end]), roots)
        if file:
            yield file


def _module(dotted: str, roots) -> Path | None:
    """The file of a module of ours; None for anybody else's."""
    for root in roots:
        stem = root.joinpath(*dotted.split("."))
        for file in (stem.with_name(stem.name + ".py"), stem / "__init__.py"):
            if dotted and file.is_file():
                return file
    return None


def _package(file: Path, roots) -> str:
    """The dotted name of the package that a file lies in, which relative imports start from."""
    root = next(root for root in roots if file.is_relative_to(root))
    return ".".join(file.parent.relative_to(root).parts)
