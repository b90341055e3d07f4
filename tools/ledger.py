"""The equation ledger: which test proved which equation, against which oracle, and is that still true?

Two hashes decide. One is of the code that proved it: the test, what its file shares among tests,
and the library behind it. The other is of the equation's TeX. If either differs, the row is stale.
"""

import ast
import json
from collections.abc import Iterator
from decimal import ROUND_UP, Decimal
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tools import equations
from tools.fingerprint import ROOT, digest, library_files

LEDGER = ROOT / "ledger.json"
TESTS = ROOT / "tests"


class Mark(NamedTuple):
    """That a test claims to prove an equation: the test as ``tests/file.py::name``."""

    label: str
    test: str
    oracle: str


def read(file: Path = LEDGER) -> dict[str, list[dict]]:
    """The committed rows of every label; nothing where there is no ledger yet."""
    return json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}


def marks() -> list[Mark]:
    """Every mark in the tests, found by reading them."""
    return [mark for file in sorted(TESTS.glob("**/test_*.py")) for mark in _marks(file)]


def _marks(file: Path) -> Iterator[Mark]:
    name = file.relative_to(ROOT).as_posix()
    for path, test in _tests(ast.parse(file.read_text(encoding="utf-8")).body):
        for call in (d for d in test.decorator_list if isinstance(d, ast.Call)):
            if ast.unparse(call.func).split(".")[-1] == "verifies":
                label, oracle = [*call.args, *(keyword.value for keyword in call.keywords)]
                yield Mark(ast.literal_eval(label), f"{name}::{path}", ast.literal_eval(oracle))


def _tests(body: list[ast.stmt], above: str = "") -> Iterator[tuple[str, ast.FunctionDef]]:
    """The test functions of a file or class, each with its name as pytest writes it."""
    for node in body:
        if isinstance(node, ast.ClassDef) and node.name.startswith("Test"):
            yield from _tests(node.body, f"{above}{node.name}::")
        elif isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
            yield above + node.name, node


def code_digest(test: str) -> str:
    """A hash of a test: its file without the other tests, and every file of ours that it imports."""
    name, _, path = test.partition("::")
    source = (ROOT / name).read_text(encoding="utf-8")
    lines: list[str | None] = list(source.splitlines())
    places = _places(source)
    for other, first, last in places:
        if other != path:
            lines[first - 1 : last] = [None] * (last - first + 1)
    if path not in {name for name, _, _ in places}:
        return "gone"
    return digest("\n".join(filter(None, lines)), *library_files(source, (ROOT, TESTS)))


@cache
def _places(source: str) -> tuple[tuple[str, int, int], ...]:
    """Each test of a file, with its first line, decorators counted, and its last."""
    return tuple(
        (path, min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)]), node.end_lineno)
        for path, node in _tests(ast.parse(source).body)
    )


def faults(row: dict, tex: str | None) -> list[str]:
    """Why a row does not count any more; empty if it does. ``tex`` is the equation as it stands now."""
    found = []
    if not (ROOT / row["test"].split("::")[0]).exists() or row["code"] != code_digest(row["test"]):
        found.append("the test, or the code it tests, has changed since")
    if tex is None:
        found.append("no equation of the book has this label")
    elif row["equation"] != equations.tex_digest(tex):
        found.append("the equation has changed since")
    return found


def write(proofs: list[dict], kept: set[str]) -> None:
    """Write the ledger from what a whole green run proved.

    Args:
        proofs: label, test, oracle, error and tolerance of every comparison.
        kept: tests that could not run on this machine; their rows stay as they are.

    Raises:
        ValueError: if a test proves an equation that the book does not have.
    """
    book = {equation.label: equation.tex for equation in equations.of_book()}
    unknown = sorted({proof["label"] for proof in proofs} - set(book))
    if unknown:
        raise ValueError(f"no equation of the book is labelled {', '.join(unknown)}")
    old = {(label, row["test"], row["oracle"]): row for label, rows in read().items() for row in rows}
    new = {key: row for key, row in old.items() if row["test"] in kept}
    for key, found in _grouped(proofs).items():
        row = _row(*key, found, book[key[0]])
        new[key] = _quieter(old.get(key), row)
    ledger: dict[str, list[dict]] = {}
    for (label, _, _), row in sorted(new.items(), key=lambda item: item[0]):
        ledger.setdefault(label, []).append(row)
    LEDGER.write_text(json.dumps(ledger, indent=1) + "\n", encoding="utf-8")


def _grouped(proofs: list[dict]) -> dict[tuple[str, str, str], list[dict]]:
    """The comparisons of each (label, test, oracle), whatever the test's parameters were."""
    groups: dict[tuple[str, str, str], list[dict]] = {}
    for proof in proofs:
        groups.setdefault((proof["label"], proof["test"], proof["oracle"]), []).append(proof)
    return groups


def _row(label: str, test: str, oracle: str, proofs: list[dict], tex: str) -> dict:
    return {
        "test": test,
        "oracle": oracle,
        "tolerance": max(proof["tolerance"] for proof in proofs),
        "error": rounded_up(max(proof["error"] for proof in proofs)),
        "code": code_digest(test),
        "equation": equations.tex_digest(tex),
    }


def _quieter(old: dict | None, new: dict) -> dict:
    """The new row, with the old error where only the machine's rounding differs."""
    if old is None or (old["code"], old["equation"]) != (new["code"], new["equation"]):
        return new
    if new["error"] > old["error"] or new["error"] <= old["error"] / 10:
        return new
    return {**new, "error": old["error"]}


def rounded_up(error: float) -> float:
    """An error to one significant digit, never smaller than it is, so that machines agree more often."""
    exact = Decimal(repr(float(error)))
    return float(exact.quantize(Decimal(1).scaleb(exact.adjusted()), ROUND_UP)) if exact else 0.0
