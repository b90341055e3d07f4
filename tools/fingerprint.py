"""Fingerprints: which files of this repository a piece of Python uses, and a short hash of contents.

The files are found by reading, never by importing: asking takes milliseconds and runs nothing.
"""

import ast
import hashlib
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parent.parent
MAGIC = re.compile(r"^([ \t]*)[%!].*$", re.MULTILINE)  # IPython's commands, which are no Python


class Asked(NamedTuple):
    """One import, or one call that loads records: ``from base import names`` with its leading dots."""

    kind: str  # "import", "from" or "records"
    names: tuple[str, ...]
    base: str = ""
    level: int = 0


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
        for file in _uses(_asked(source), package, roots):
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


@cache  # a hundred proofs import the same fifty files: each text is parsed once
def _asked(source: str) -> tuple[Asked, ...]:
    """What a piece of Python, or the Python of a notebook's cells, asks for."""
    try:
        tree = ast.parse(source)
    except SyntaxError:
        tree = ast.parse(MAGIC.sub(r"\1pass", source))
    return tuple(_requests(tree))


def _requests(tree: ast.AST) -> Iterator[Asked]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield Asked("import", tuple(alias.name for alias in node.names))
        elif isinstance(node, ast.ImportFrom):
            yield Asked("from", tuple(alias.name for alias in node.names), node.module or "", node.level)
        elif isinstance(node, ast.Call) and re.search(r"\brecords\.load$", ast.unparse(node.func)):
            yield Asked("records", tuple(arg.value for arg in node.args if isinstance(arg, ast.Constant)))


def _uses(asked: tuple[Asked, ...], package: str, roots) -> Iterator[Path]:
    """Each file that a module uses."""
    for kind, names, base, level in asked:
        if kind == "import":
            for name in names:
                yield from _chain(name, roots)
        elif kind == "from":
            yield from _members(names, base, level, package, roots)
        else:
            yield from (ROOT / "experiments" / "records" / f"{name}.json" for name in names)


def _members(names, base, level, package, roots) -> Iterator[Path]:
    """The file of each module that is imported from a package, or of the module that holds the name."""
    above = package.split(".")[: len(package.split(".")) - level + 1] if level else []
    whole = ".".join([*above, *([base] if base else [])])
    for name in names:  # a name that is no module lives in the base itself
        file = _module(f"{whole}.{name}", roots) or _module(whole, roots)
        yield from [file] if file else []


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
