"""What a piece of Python uses is found by reading it, and a hash of contents notices every change."""

import ast
from pathlib import Path

import pytest

from tools.fingerprint import ROOT, digest, library_files

FILES = {
    "package/__init__.py": "from package import a, b\n",
    "package/a.py": "import numpy\n",
    "package/b.py": "from .deep.c import value\n",
    "package/deep/__init__.py": "",
    "package/deep/c.py": "from .. import a\nvalue = 1\n",
}


@pytest.fixture
def root(tmp_path) -> Path:
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return tmp_path


def used(code: str, root: Path) -> set[str]:
    return {file.relative_to(root / "package").as_posix() for file in library_files(code, (root,))}


@pytest.mark.parametrize(
    ("code", "expected"),
    [
        ("import numpy, os.path", set()),
        ("import package.a", {"__init__.py", "a.py", "b.py", "deep/c.py"}),
        ("from package import a", {"a.py"}),
        ("from package import a as other, b", {"a.py", "b.py", "deep/c.py"}),
        ("from package.deep.c import value", {"a.py", "deep/c.py"}),
        ("from package.deep import nothing", {"deep/__init__.py"}),
        ("def late():\n    from package import a", {"a.py"}),
        ("if True:\n    %pip install numpy\n!ls\nfrom package import a", {"a.py"}),
    ],
)
def test_imports_are_followed(root, code, expected):
    assert used(code, root) == expected


def test_code_that_is_no_python_is_an_error(root):
    with pytest.raises(SyntaxError):
        library_files("from package import", (root,))


def test_records_count():
    code = 'from rnncourse import records\nrecords.load("some-run")\nother.load("else")'
    assert ROOT / "experiments/records/some-run.json" in library_files(code)
    assert not any("else" in file.name for file in library_files(code))


def test_the_library_itself():
    """On real code: what `bptt` names in its own imports is there; the other floor is not."""
    names = {file.relative_to(ROOT).as_posix() for file in library_files("from rnncourse.reference import bptt")}
    tree = ast.parse((ROOT / "rnncourse/reference/bptt.py").read_text())
    imports = [node for node in tree.body if isinstance(node, ast.ImportFrom) and node.module == "rnncourse.reference"]
    near = [alias.name for node in imports for alias in node.names]
    assert near
    assert {f"rnncourse/reference/{name}.py" for name in near} <= names
    assert not any(name.startswith("rnncourse/gpu") for name in names)


def test_digest_notices_content_name_and_border(root, monkeypatch):
    monkeypatch.setattr("tools.fingerprint.ROOT", root.resolve())
    a, b = root / "package/a.py", root / "package/b.py"
    before = digest(a, b)
    assert before == digest(a, b) and len(before) == 16
    assert before != digest(b, a)
    assert digest("ab", "c") != digest("a", "bc")
    b.write_text(a.read_text())
    assert digest(a) != digest(b), "the same content under another name"
    a.write_text("import numpy as np\n")
    assert before != digest(a, b)


def test_line_ends_do_not_matter():
    assert digest("a\r\nb\r\n") == digest("a\nb\n")
