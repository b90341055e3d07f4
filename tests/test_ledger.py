"""The ledger: current, complete, and not to be had without a comparison."""

import json
import os
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from proof import agree, verifies

from tools import equations, ledger

ROOT = Path(__file__).resolve().parent.parent
ROWS = [(label, row) for label, rows in ledger.read().items() for row in rows]
BOOK = equations.of_book()


class Pair(NamedTuple):
    first: np.ndarray
    second: np.ndarray


# The committed record


def test_every_displayed_equation_is_proven_a_definition_or_a_step():
    unmarked = [f"{e.file.name}:{e.line}" for e in BOOK if equations.kind(e.label, e.tex) == "unmarked"]
    assert not unmarked, "label these eq- or def-, or begin them with `% step`"


def test_labels_are_unique():
    assert [label for label, count in Counter(e.label for e in BOOK if e.label).items() if count > 1] == []


def test_every_proven_equation_has_a_proof():
    labels = {e.label for e in BOOK if e.label.startswith("eq-")}
    assert labels, "the book has no equation to prove"
    assert labels == set(ledger.read()), "write the missing tests and run `make ledger`"


def test_rows_and_marks_are_the_same():
    rows = {(label, row["test"], row["oracle"]) for label, row in ROWS}
    assert rows == set(map(tuple, ledger.marks())), "run `make ledger`"


@pytest.mark.parametrize(("label", "row"), ROWS, ids=[f"{label}-{k}" for k, (label, _) in enumerate(ROWS)])
def test_row_is_current(label, row):
    tex = {e.label: e.tex for e in BOOK}.get(label)
    assert ledger.faults(row, tex) == [], "run `make ledger`"
    assert 0 <= row["error"] <= row["tolerance"] < 1e-4


def test_a_changed_test_or_equation_makes_a_row_stale():
    label, row = ROWS[0]
    tex = {e.label: e.tex for e in BOOK}[label]
    assert ledger.faults({**row, "code": "0" * 16}, tex) == ["the test, or the code it tests, has changed since"]
    assert ledger.faults({**row, "test": "tests/test_gone.py::test"}, tex)
    assert ledger.faults(row, tex + "+ 1") == ["the equation has changed since"]
    assert ledger.faults(row, "\n  ".join(tex.split())) == [], "white space is no change"
    assert ledger.faults(row, None) == ["no equation of the book has this label"]


def test_errors_are_rounded_up():
    assert [ledger.rounded_up(e) for e in (0.0, 3e-16, 3.01e-16, 9.9e-16)] == [0.0, 3e-16, 4e-16, 1e-15]


# The comparison


def test_agree_takes_what_is_right():
    assert agree(np.array([1.0, 2.0 + 1e-15]), np.array([1.0, 2.0]), 1e-14) < 1e-15
    assert agree(Pair(np.ones(2), np.zeros(2)), Pair(np.ones(2), np.zeros(2)), 0.0) == 0.0


@pytest.mark.parametrize(
    ("ours", "oracle", "message"),
    [
        (np.array([1.0, 2.001]), np.array([1.0, 2.0]), "off by 0.0005"),
        (np.array([1.0, np.nan]), np.array([1.0, 2.0]), "not finite"),
        (np.array([1.0]), np.array([np.inf]), "not finite"),
        (np.ones((2, 1)), np.ones(2), r"shape \(2, 1\)"),
        (np.ones(0), np.ones(0), "empty"),
        (Pair(np.ones(2), np.ones(2)), (np.ones(2),), "Pair of 2"),
        (Pair(np.ones(2), np.ones(2)), Pair(np.ones(2), 2 * np.ones(2)), "second is off by 0.5"),
    ],
)
def test_agree_refuses(ours, oracle, message):
    with pytest.raises(pytest.fail.Exception, match=message):
        agree(ours, oracle, 1e-6)


def test_agree_refuses_an_array_compared_with_itself():
    same = np.ones(3)
    with pytest.raises(pytest.fail.Exception, match="with itself"):
        agree(same, same, 1e-6)


def test_only_proven_labels_can_be_verified():
    with pytest.raises(ValueError, match="only equations eq-"):
        verifies("def-rnn-state", oracle="autograd")


# The mark is earned by comparing

PROOF = """
import numpy as np
from proof import agree, verifies

@verifies("eq-step-jacobian", oracle="itself, for a test")
def test_it():
    {body}
"""


def run_proof(folder: Path, body: str, *options: str) -> subprocess.CompletedProcess:
    for name in ("conftest.py", "proof.py"):
        shutil.copy(ROOT / "tests" / name, folder)
    (folder / "test_proof.py").write_text(PROOF.format(body=body))
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:nbval", "--rootdir", folder]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run([*command, *options, folder], capture_output=True, text=True, env=environment, timeout=300)


def test_a_proof_that_compares_passes(tmp_path):
    assert run_proof(tmp_path, "agree(np.ones(2), np.ones(2) + 1e-16, 1e-12)").returncode == 0


@pytest.mark.parametrize("body", ["assert True", "pass", "agree(np.zeros(2), np.zeros(2), 1e-12)"])
def test_a_proof_that_compares_nothing_fails(tmp_path, body):
    result = run_proof(tmp_path, body)
    assert result.returncode == 1
    assert "verifies eq-step-jacobian, but compared nothing" in result.stdout


def test_a_part_of_the_proofs_is_not_written_down(tmp_path):
    before = ledger.LEDGER.read_bytes()
    result = run_proof(tmp_path, "agree(np.ones(2), np.ones(2) + 1e-16, 1e-12)", "--write-ledger")
    assert result.returncode != 0 and "needs every proof to run" in result.stderr + result.stdout
    assert ledger.LEDGER.read_bytes() == before


# The build

CONF = """
extensions = ["myst_parser", "ledger"]
myst_enable_extensions = ["dollarmath"]
html_theme = "basic"
math_numfig = True
numfig = True
"""


def build(folder: Path, text: str, root: Path = ROOT) -> subprocess.CompletedProcess:
    """A site of one page and the ledger page, strict, with the real extension and the real record."""
    (folder / "conf.py").write_text(CONF)
    (folder / "appendices").mkdir()
    (folder / "appendices" / "ledger.md").write_text("# Ledger\n\n```{ledger}\n```\n")
    (folder / "index.md").write_text(f"# Title\n\n```{{toctree}}\nappendices/ledger\n```\n\n{text}\n")
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "--keep-going", "-q", folder, folder / "out"]
    environment = {**os.environ, "PYTHONPATH": f"{root}{os.pathsep}{root / '_ext'}"}
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)


def proven_text() -> str:
    """Every proven equation of the book, as a page would have it: the build wants all that are on record."""
    return "\n\n".join(f"$${e.tex}$$ ({e.label})" for e in BOOK if e.label.startswith("eq-"))


def test_a_page_of_proven_equations_definitions_and_steps_builds(tmp_path):
    text = proven_text() + "\n\n$$\na = b\n$$ (def-a)\n\n$$\n% step\nc = d\n$$\n"
    result = build(tmp_path, text)
    assert result.returncode == 0, result.stderr
    page = (tmp_path / "out" / "index.html").read_text()
    assert "% step" not in page
    assert page.count('class="proof-mark') == len({e.label for e in BOOK if e.label.startswith("eq-")})
    record = (tmp_path / "out" / "appendices" / "ledger.html").read_text()
    assert all(f'id="proof-{label}"' in record for label in ledger.read())


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("$$\nc = d\n$$", "a displayed equation must be labelled"),
        ("$$\nc = d\n$$ (speed)", "a displayed equation must be labelled"),
        ("$$\nc = d\n$$ (eq-unheard-of)", "no test proves eq-unheard-of"),
    ],
)
def test_an_equation_without_a_proof_fails_the_build(tmp_path, text, complaint):
    result = build(tmp_path, proven_text() + "\n\n" + text)
    assert result.returncode != 0
    assert complaint in result.stderr


def test_a_record_without_its_equation_fails_the_build(tmp_path):
    result = build(tmp_path, "No equation at all.")
    assert result.returncode != 0
    assert "the record proves eq-step-jacobian, which no page has" in result.stderr


def test_a_stale_record_fails_the_build(tmp_path):
    root, site = tmp_path / "root", tmp_path / "site"
    site.mkdir()
    for name in ("_ext", "appendices", "chapters", "experiments", "rnncourse", "tests", "tools"):
        shutil.copytree(ROOT / name, root / name, ignore=shutil.ignore_patterns("__pycache__"))
    rows = ledger.read()
    rows["eq-step-jacobian"][0]["equation"] = "0" * 16
    (root / "ledger.json").write_text(json.dumps(rows))
    result = build(site, proven_text(), root)
    assert result.returncode != 0
    assert "eq-step-jacobian" in result.stderr and "the equation has changed since" in result.stderr
