"""The table of what the sources teach: every row is there once, and what it names as evidence exists.

A row's evidence is read off its last cell: proven equations, tests, errata, and places on the pages of its
chapters. Words behind them are for people.
"""

import ast
import json
import os
import re
import shutil
from functools import cache
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parent.parent
PAGE = "appendices/systems.md"
ROWS = 109
TOLD = {86}  # named by the sources, told on a page, not run

ROW = re.compile(r"^\| (\d+) \|(.*)\|$", re.M)
CHAPTER = re.compile(r"\{ref\}`(\d\d) <([\w-]+)>`")
REFERENCE = re.compile(
    r"\{eq\}`(?P<equation>[^`]+)`"
    r"|\[`(?P<test>[^`]+)`\]\(\.\./(?P<file>[^)]+)\)"
    r"|\{ref\}`(?P<number>\w\d\d) <errata-(?P<erratum>[^>]+)>`"
    r"|\{(?:numref|prf:ref)\}`(?P<place>[^`]+)`"
    r"|section \*(?P<section>[^*]+)\*"
)
FENCED = re.compile(r"^(`{3,})\{code-cell\}.*?^\1$", re.S | re.M)


class Row(NamedTuple):
    """A line of the tables: its number, words, chapters as (number, label), references, and what was not read."""

    number: int
    system: str
    chapters: list[tuple[str, str]]
    shown: list[dict[str, str]]
    left: str


def rows(text: str) -> list[Row]:
    """Every row of the page; cells that are missing are empty."""
    found = []
    for number, line in ROW.findall(text):
        system, chapters, shown = ([cell.strip() for cell in line.split("|")] + ["", "", ""])[:3]
        references = [
            {kind: name for kind, name in one.groupdict().items() if name} for one in REFERENCE.finditer(shown)
        ]
        left = CHAPTER.sub("", chapters) + REFERENCE.sub("", shown)
        found.append(Row(int(number), system, CHAPTER.findall(chapters), references, left))
    return found


@cache
def labels(text: str) -> frozenset[str]:
    """What can be referred to on a page: targets, figures, theorems, equations, definitions."""
    prose = FENCED.sub("", text)
    return frozenset(
        re.findall(r"^\(([\w-]+)\)=$", prose, re.M)
        + re.findall(r"^:label: (\S+)$", prose, re.M)
        + re.findall(r"^ *\$\$ \(([\w-]+)\)$", prose, re.M)
        + re.findall(r"^    name: (fig-\S+)$", text, re.M)
    )


@cache
def sections(text: str) -> frozenset[str]:
    return frozenset(re.findall(r"^##+ (.+)$", FENCED.sub("", text), re.M))


@cache
def defined(source: str) -> frozenset[str]:
    return frozenset(node.name for node in ast.parse(source).body if isinstance(node, ast.FunctionDef))


@cache
def errata(text: str) -> dict[str, set[str]]:
    """The tests that each entry says it is shown by."""
    parts = re.split(r"^\(errata-(\w+)\)=\n", text, flags=re.M)[1:]
    pairs = zip(parts[::2], parts[1::2], strict=True)
    return {number: set(re.findall(r"`(test_\w+)`", entry.split("**Shown")[-1])) for number, entry in pairs}


@cache
def proven(ledger: str) -> frozenset[str]:
    return frozenset(label for label, proofs in json.loads(ledger).items() if proofs)


def read(file: Path) -> str:
    return file.read_text(encoding="utf8") if file.is_file() else ""


def fault(root: Path, pages: list[str], one: dict[str, str]) -> str | None:
    """Why a reference of a row with these pages does not resolve; None if it does."""
    match one:
        case {"equation": label}:
            if not any(label in labels(page) for page in pages):
                return f"no equation {label} in the row's chapters"
            if label.startswith("eq-") and label not in proven(read(root / "ledger.json")):
                return f"no proof of {label} on record"
        case {"test": name, "file": file}:
            if not file.startswith("tests/") or name not in defined(read(root / file)):
                return f"no test {file}::{name}"
        case {"number": number, "erratum": label}:
            shown = errata(read(root / "appendices" / "errata.md"))
            if number != label or label not in shown:
                return f"no erratum {label} under the name {number}"
            if not shown[label] <= defined(read(root / "tests" / "test_errata.py")):
                return f"no test of erratum {label}"
        case {"place": label}:
            if not any(label in labels(page) for page in pages):
                return f"no place {label} in the row's chapters"
        case {"section": title}:
            if not any(title in sections(page) for page in pages):
                return f"no section {title} in the row's chapters"
    return None


def proves(root: Path, one: dict[str, str]) -> bool:
    """Whether a reference is more than a place on a page."""
    if "erratum" in one:
        return bool(errata(read(root / "appendices" / "errata.md")).get(one["erratum"]))
    return "test" in one or one.get("equation", "").startswith("eq-")


def faults(root: Path) -> list[str]:
    """Everything that is wrong with the page of a repository."""
    table, found = rows(read(root / PAGE)), []
    numbers = [row.number for row in table]
    found += [f"row {n} is missing" for n in range(1, ROWS + 1) if n not in numbers]
    found += [f"row {n} is there twice" for n in sorted(set(numbers)) if numbers.count(n) > 1]
    found += [f"there is no row {n}" for n in sorted(set(numbers)) if not 1 <= n <= ROWS]
    found += ["rows are out of order"] * (numbers != sorted(numbers))
    for row in table:
        pages, wrong = [], []
        for number, label in row.chapters:
            page = "".join(map(read, root.glob(f"chapters/{number}-*.md")))
            pages.append(page)
            wrong += [f"no chapter {number} called {label}"] * (f"({label})=" not in page)
        wrong += ["no chapter is named"] * (not row.chapters) + ["it has no words"] * (not row.system)
        wrong += [f"not understood: {row.left.strip()}"] * bool(re.search(r"[`{\[]", row.left))
        wrong += filter(None, (fault(root, pages, one) for one in row.shown))
        wrong += ["it has no evidence"] * (not row.shown)
        wrong += ["it is told, not shown"] * (
            row.number not in TOLD and not any(proves(root, one) for one in row.shown)
        )
        found += [f"row {row.number}: {what}" for what in wrong]
    return found


def test_every_row_is_there_and_shown():
    assert faults(ROOT) == []


def test_what_is_only_told_is_not_shown_after_all():
    told = {row.number: row for row in rows(read(ROOT / PAGE)) if row.number in TOLD}
    assert set(told) == TOLD and not any(proves(ROOT, one) for row in told.values() for one in row.shown)


def test_the_page_says_how_many_rows_there_are():
    assert f"That gave {ROWS} rows" in read(ROOT / PAGE)


def test_the_page_leads_to_every_chapter():
    named = {number for row in rows(read(ROOT / PAGE)) for number, _ in row.chapters}
    assert named == {file.name[:2] for file in ROOT.glob("chapters/[0-9][0-9]-*.md")}


# The same, spoilt. Copies are links, so a spoiler puts a new file in the place of the old one.

EQUATION, TEST, PLACE = "{eq}`eq-half-life`", "test_a_thousand_exactly", "{numref}`fig-lstm-counts`"


def write(file: Path, text: str) -> None:
    file.unlink()
    file.write_text(text, encoding="utf8")


def row(text: str, number: int) -> str:
    return re.search(rf"^\| {number} \|.*$\n", text, re.M)[0]


def replaced(file: str, old: str, new: str):
    """A spoiler that puts other words in a file, and fails where there is nothing to replace."""

    def spoil(root: Path) -> None:
        text = read(root / file)
        assert old in text, f"{file} has no {old}"
        write(root / file, text.replace(old, new))

    return spoil


def rewritten(number: int, change):
    """A spoiler of one row of the page."""

    def spoil(root: Path) -> None:
        text = read(root / PAGE)
        old = row(text, number)
        assert change(old) != old
        write(root / PAGE, text.replace(old, change(old)))

    return spoil


def cells(line: str, *change: tuple[int, str]) -> str:
    parts = line.split("|")
    for place, cell in change:
        parts[place] = f" {cell} "
    return "|".join(parts)


def change_places(root: Path) -> None:
    text = read(root / PAGE)
    one, other = row(text, 56), row(text, 57)
    write(root / PAGE, text.replace(one + other, other + one))


def forget_proof(root: Path) -> None:
    proofs = json.loads(read(root / "ledger.json"))
    del proofs["eq-half-life"]
    write(root / "ledger.json", json.dumps(proofs))


SPOILT = {
    "a row is lost": (rewritten(57, lambda line: ""), "row 57 is missing"),
    "the last row is lost": (rewritten(ROWS, lambda line: ""), f"row {ROWS} is missing"),
    "a row is there twice": (rewritten(57, lambda line: line + line), "row 57 is there twice"),
    "a row too many": (rewritten(ROWS, lambda line: line + line.replace("109", "110", 1)), "there is no row 110"),
    "a row with another's number": (rewritten(57, lambda line: line.replace("57", "58", 1)), "row 58 is there twice"),
    "rows that change places": (change_places, "rows are out of order"),
    "no words": (rewritten(57, lambda line: cells(line, (2, ""))), "row 57: it has no words"),
    "no chapter": (rewritten(57, lambda line: cells(line, (3, ""))), "row 57: no chapter is named"),
    "a chapter of another name": (
        rewritten(57, lambda line: line.replace("chapter-lstm", "chapter-gru")),
        "row 57: no chapter 07 called chapter-gru",
    ),
    "a chapter that is gone": (
        lambda root: (root / "chapters" / "07-lstm.md").unlink(),
        "row 57: no chapter 07 called chapter-lstm",
    ),
    "no evidence": (rewritten(57, lambda line: cells(line, (4, "in the text"))), "row 57: it has no evidence"),
    "a place alone": (rewritten(57, lambda line: cells(line, (4, PLACE))), "row 57: it is told, not shown"),
    "an erratum by reading alone": (
        rewritten(57, lambda line: cells(line, (4, "{ref}`T04 <errata-T04>`"))),
        "row 57: it is told, not shown",
    ),
    "a reference of another kind": (
        rewritten(57, lambda line: cells(line, (4, "{doc}`ledger`"))),
        "row 57: not understood: {doc}`ledger`",
    ),
    "an equation that lost its proof": (forget_proof, "row 55: no proof of eq-half-life on record"),
    "an equation that is renamed": (
        replaced("chapters/07-lstm.md", "(eq-half-life)", "(eq-clock)"),
        "row 55: no equation eq-half-life in the row's chapters",
    ),
    "an equation of another chapter": (
        rewritten(57, lambda line: cells(line, (4, "{eq}`eq-window-count`"))),
        "row 57: no equation eq-window-count in the row's chapters",
    ),
    "a test that is renamed": (
        replaced("tests/test_counters.py", TEST, "test_two_thousand"),
        f"row 57: no test tests/test_counters.py::{TEST}",
    ),
    "a test of another file": (
        rewritten(57, lambda line: line.replace("test_counters.py", "test_lstm.py")),
        f"row 57: no test tests/test_lstm.py::{TEST}",
    ),
    "a file that is no test": (
        rewritten(57, lambda line: line.replace("tests/test_counters.py", "rnncourse/counters.py")),
        f"row 57: no test rnncourse/counters.py::{TEST}",
    ),
    "a figure that is gone": (
        replaced("chapters/07-lstm.md", "    name: fig-lstm-counts", "    name: fig-other"),
        "row 57: no place fig-lstm-counts in the row's chapters",
    ),
    "a theorem that is gone": (
        replaced("chapters/08-gru.md", ":label: thm-gru-bound", ":label: thm-other"),
        "row 61: no place thm-gru-bound in the row's chapters",
    ),
    "a section of another title": (
        replaced("chapters/06-remedies.md", "## Truncation as a remedy", "## Truncation"),
        "row 50: no section Truncation as a remedy in the row's chapters",
    ),
    "an erratum that is gone": (
        replaced("appendices/errata.md", "(errata-E09)=", "(errata-E99)="),
        "row 53: no erratum E09 under the name E09",
    ),
    "an erratum under another name": (
        rewritten(53, lambda line: line.replace("E09 <", "E08 <")),
        "row 53: no erratum E09 under the name E08",
    ),
    "an erratum whose test is gone": (
        replaced("tests/test_errata.py", "def test_E09_", "def test_E98_"),
        "row 53: no test of erratum E09",
    ),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """What the page refers to, copied."""
    root = tmp_path_factory.mktemp("repository")
    for pattern in ("chapters/*.md", "appendices/*.md", "tests/test_*.py", "ledger.json"):
        for file in ROOT.glob(pattern):
            (root / file.relative_to(ROOT)).parent.mkdir(exist_ok=True)
            shutil.copy(file, root / file.relative_to(ROOT))
    return root


def test_a_copy_has_no_fault(whole):
    assert faults(whole) == []


@pytest.mark.parametrize("what", SPOILT)
def test_a_gap_is_reported(whole, tmp_path, what):
    spoil, complaint = SPOILT[what]
    root = shutil.copytree(whole, tmp_path / "spoilt", copy_function=os.link)
    spoil(root)
    assert complaint in faults(root)
