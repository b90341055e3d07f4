"""What a stranger meets first: the README's commands, the licences, the workflows, the set-up's messages."""

import os
import re
import subprocess
from pathlib import Path

import pytest
import yaml

import rnncourse
from tools.links import links

ROOT = Path(__file__).resolve().parent.parent
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = set(re.findall(r"^([a-z]+):", MAKEFILE, re.MULTILINE))
TRACKED = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
REGISTRIES = re.compile(r"files\.pythonhosted|pypi\.org|download\.pytorch|registry\.npmjs|deb\.debian")


def read(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def commands(text: str) -> set[str]:
    """The make targets that a text names."""
    return set(re.findall(r"(?:^|[`\n])make (?:\w+=\S+ )*([a-z]+)(?=[\s`]|$)", text))


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "appendices/troubleshooting.md"])
def test_commands_of_the_texts_exist(name):
    named = {
        command for code in re.findall(r"```.*?```|`[^`\n]+`", read(name), re.DOTALL) for command in commands(code)
    }
    assert named and named <= TARGETS, named - TARGETS


def test_the_readme_names_every_target():
    assert commands(read("README.md")) >= TARGETS - {"help"}


def test_workflows_run_make_targets_and_nothing_else():
    files = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
    assert {file.stem for file in files} == {"tests", "pages", "weekly"}
    for file in files:
        for job in yaml.safe_load(file.read_text())["jobs"].values():
            for step in (step for step in job["steps"] if "run" in step):
                assert re.fullmatch(r"make [a-z]+", step["run"]) and step["run"].split()[1] in TARGETS, step


def test_three_pythons_are_tested():
    matrix = yaml.safe_load(read(".github/workflows/tests.yml"))["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["python"] == ["3.11", "3.12", "3.13"]


def test_the_error_form_asks_the_four_questions():
    form = yaml.safe_load(read(".github/ISSUE_TEMPLATE/book-error.yml"))
    required = [field["id"] for field in form["body"] if field.get("validations", {}).get("required")]
    assert required == ["place", "printed", "right", "evidence"]


def test_ci_calls_the_two_commands():
    assert [line for line in read(".ci/run").splitlines() if line.startswith("make ")] == ["make test", "make book"]


def test_versions_agree():
    citation = yaml.safe_load(read("CITATION.cff"))
    released = re.search(r"^## \[(\d[^\]]*)\] - (\S+)", read("CHANGELOG.md"), re.MULTILINE)
    assert citation["cff-version"] == "1.2.0" and citation["authors"] and citation["message"]
    assert citation["version"] == rnncourse.__version__ == released[1]
    assert str(citation["date-released"]) == released[2]
    assert f'version = "{rnncourse.__version__}"' in read("pyproject.toml")
    assert f"Version {rnncourse.__version__}" in read("intro.md")


def test_every_requirement_is_an_exact_pin():
    lines = [line for line in read("requirements.txt").splitlines() if not line.startswith("#")]
    assert len(lines) > 100 and "torch==2.13.0" in lines
    assert [line for line in lines if not re.fullmatch(r"[\w.-]+(\[[\w,-]+\])?==[\w.]+( ; .+)?", line)] == []
    assert [line for line in lines if line.startswith(("nvidia-", "triton"))] == []


def test_no_registry_is_named():
    assert [name for name in TRACKED if name.endswith((".md", ".yml", ".toml", ".txt", ".py", ".sh", ".cff"))
            and name != "tests/test_repository.py" and REGISTRIES.search(read(name))] == []  # fmt: skip


def test_help_lists_every_documented_target():
    shown = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert {line.split()[0] for line in shown.splitlines()} == TARGETS


def make_book(folder: Path, python: Path | str) -> subprocess.CompletedProcess:
    command = ["make", "-s", f"PYTHON={python}", f"VENV={folder / 'venv'}", "book"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MAKE")}
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, env=environment, timeout=60)


def test_a_missing_python_gets_one_clear_sentence(tmp_path):
    result = make_book(tmp_path, "/nowhere/python3")
    assert result.returncode != 0
    assert result.stdout.strip().startswith("No '/nowhere/python3' here: install Python 3.11 or newer")
    assert len(result.stdout.strip().splitlines()) == 1 and "Traceback" not in result.stderr


def test_an_old_python_gets_one_clear_sentence(tmp_path):
    old = tmp_path / "python3.10"
    old.write_text('#!/bin/sh\n[ "$1" = -V ] && { echo "Python 3.10.4"; exit 0; }\nexit 1\n')
    old.chmod(0o755)
    result = make_book(tmp_path, old)
    assert result.returncode != 0
    assert result.stdout.strip().startswith(f"'{old}' is Python 3.10.4; the course needs Python 3.11 or newer")
    assert len(result.stdout.strip().splitlines()) == 1


def test_links_are_found_without_what_follows_them():
    text = "See <https://a.example/b>, [c](https://c.example/d) and https://e.example/f."
    assert links(text) == {"https://a.example/b", "https://c.example/d", "https://e.example/f"}


def test_the_package_lists_every_folder_of_code():
    import tomllib

    listed = set(tomllib.loads(read("pyproject.toml"))["tool"]["setuptools"]["packages"])
    folders = {file.parent.relative_to(ROOT).as_posix() for file in (ROOT / "rnncourse").glob("**/__init__.py")}
    assert listed == {folder.replace("/", ".") for folder in folders}


def test_nothing_is_large():
    big = {name: (ROOT / name).stat().st_size for name in TRACKED if (ROOT / name).exists()}
    assert {name: size for name, size in big.items() if size > 1_000_000} == {}
