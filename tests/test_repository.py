"""What people expect of a public repository exists and agrees: commands, workflows, versions, pins, first errors."""

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml

import rnncourse
from rnncourse import figures
from tools import chromium

ROOT = Path(__file__).resolve().parent.parent
README = (ROOT / "README.md").read_text(encoding="utf8")
MAKEFILE = (ROOT / "Makefile").read_text(encoding="utf8")
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
PINS = (ROOT / "requirements.txt").read_text(encoding="utf8").splitlines()
TARGETS = set(re.findall(r"^([a-z]+):", MAKEFILE, re.M))
DOCUMENTED = dict(re.findall(r"^([a-z]+):[^#\n]*##\s*(.+)$", MAKEFILE, re.M))
GUIDES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "appendices").glob("*.md"))]
# The dots are escaped, so that this line is not what it looks for.
REGISTRIES = re.compile(
    r"pypi\.(?:org|python)|pythonhosted\.org|download\.pytorch\.org|download-r2\.pytorch|pypi\.nvidia"
    r"|anaconda\.(?:org|com)|npmjs\.(?:org|com)|unpkg\.com|jsdelivr\.net|crates\.io",
    re.I,
)


def make_commands(text: str) -> set[str]:
    """The targets that a text's code names: in fenced blocks and between backticks."""
    code = re.findall(r"^ *```.*?^ *```|`make [^`]*`", text, re.M | re.S)
    return {target for part in code for target in re.findall(r"(?:^\s*|`)make ([a-z]+)", part, re.M)}


def steps(workflow: Path) -> list[dict]:
    jobs = yaml.safe_load(workflow.read_text(encoding="utf8"))["jobs"].values()
    return [step for job in jobs for step in job["steps"]]


def commands(workflow: Path) -> list[str]:
    return [line for step in steps(workflow) if "run" in step for line in step["run"].splitlines()]


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess:
    """make as a reader starts it: what a `make` around the tests has set is not handed on."""
    if not shutil.which("make"):
        pytest.skip("no make here; the README gives the commands without it")
    kept = {key: value for key, value in os.environ.items() if key not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env={**kept, **environment}, capture_output=True, text=True, timeout=300
    )


# Commands


@pytest.mark.parametrize("guide", GUIDES, ids=lambda path: path.stem)
def test_the_make_commands_in_a_guide_exist(guide):
    assert make_commands(guide.read_text(encoding="utf8")) <= TARGETS


def test_the_readme_names_every_target():
    assert make_commands(README) == set(DOCUMENTED)


def test_a_command_that_does_not_exist_is_found():
    assert make_commands("`make tea`\n\n```\ncd x\nmake coffee  # now\n```\nmake no mistake") == {"tea", "coffee"}


def test_make_help_lists_every_target():
    listed = [line.split(None, 1) for line in make("help").stdout.splitlines()]
    assert dict(listed) == DOCUMENTED
    assert set(DOCUMENTED) == TARGETS


def test_every_target_is_declared_phony():
    declared = re.search(r"^\.PHONY: (.*)$", MAKEFILE, re.M)[1].split()
    assert set(declared) == TARGETS


@pytest.mark.parametrize("script", ["tools/book.py", "requirements.txt"])
def test_what_the_readme_runs_without_make_is_what_make_runs(script):
    assert script in MAKEFILE
    assert README.count(script) >= 2  # once for each shell


def test_the_editable_install_is_the_same_with_and_without_make():
    assert "--no-deps --no-build-isolation --editable ." in MAKEFILE
    assert README.count("pip install --no-deps --no-build-isolation -e .") == 2


# The first error that a newcomer meets


def fake_python(folder: Path, version: tuple) -> Path:
    """A Python that says it is of another version, and makes no environment."""
    shown = ".".join(map(str, version))
    program = folder / "python"
    program.write_text(
        "#!/bin/sh\n"
        f'case "$1" in\n'
        f'  -V) echo "Python {shown}" ;;\n'
        f'  -c) exec "{sys.executable}" -c "import sys; sys.version_info = {version}; $2" ;;\n'
        f'  *) echo "this Python was used: $*" >&2; exit 9 ;;\n'
        "esac\n"
    )
    program.chmod(0o755)
    return program


def said(result: subprocess.CompletedProcess) -> list[str]:
    """All that make printed, but for its own last line, `make: *** ... Error 1`."""
    return [line for line in (result.stdout + result.stderr).splitlines() if "***" not in line]


@pytest.mark.parametrize("target", ["book", "test"])
def test_a_missing_python_gets_one_clear_sentence(tmp_path, target):
    result = make("PYTHON=/nonexistent", f"VENV={tmp_path / 'v'}", target)
    assert result.returncode != 0
    (sentence,) = said(result)
    assert "/nonexistent" in sentence and "Python 3.11 or newer" in sentence and "make PYTHON=" in sentence
    assert not (tmp_path / "v").exists()


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 8, 10), (3, 10, 14)])
def test_a_python_too_old_gets_one_clear_sentence(tmp_path, version):
    result = make(f"PYTHON={fake_python(tmp_path, version)}", f"VENV={tmp_path / 'v'}", "book")
    assert result.returncode != 0
    (sentence,) = said(result)
    shown = "Python " + ".".join(map(str, version))
    assert shown in sentence and "needs Python 3.11 or newer" in sentence and "make PYTHON=" in sentence
    assert not (tmp_path / "v").exists()


def test_a_python_new_enough_is_used(tmp_path):
    result = make(f"PYTHON={fake_python(tmp_path, (3, 11, 0))}", f"VENV={tmp_path / 'v'}", "book")
    assert f"this Python was used: -m venv {tmp_path / 'v'}" in result.stderr


def test_the_floor_is_said_the_same_everywhere():
    assert 'requires-python = ">=3.11"' in (ROOT / "pyproject.toml").read_text()
    assert "--python-version 3.11" in (ROOT / "tools" / "lock.py").read_text()
    assert "Python 3.11 or newer" in README


# Workflows


@pytest.mark.parametrize("workflow", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_calls_only_make_targets_that_exist(workflow):
    for command in commands(workflow):
        assert re.fullmatch(r"make ([a-z]+)", command) and command.split()[1] in TARGETS, command


def test_the_workflows_do_what_they_are_for():
    called = {workflow.stem: commands(workflow) for workflow in WORKFLOWS}
    assert sorted(called) == ["pages", "tests", "weekly"]
    assert {"make test", "make book"} <= set(called["tests"])
    assert called["pages"] == ["make book"]
    assert called["weekly"].index("make newest") < called["weekly"].index("make test")
    assert "make links" in called["weekly"]


def test_the_tests_run_on_three_pythons_and_on_macos():
    matrix = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())["jobs"]["test"]["strategy"]["matrix"]
    assert matrix["os"] == ["ubuntu-latest"]
    assert matrix["python"] == ["3.11", "3.12", "3.13"]
    assert [(more["os"], more["python"]) for more in matrix["include"]] == [("macos-latest", "3.12")]


def test_what_is_published_is_what_make_book_builds():
    (upload,) = [step for step in steps(ROOT / ".github/workflows/pages.yml") if "upload" in step.get("uses", "")]
    assert upload["with"]["path"] == "_build/html"
    assert "ROOT / '_build' / 'html'" in (ROOT / "tools" / "book.py").read_text()


def test_the_ci_script_calls_the_two_commands():
    script = ROOT / ".ci" / "run"
    lines = script.read_text().splitlines()
    assert [line for line in lines if line.startswith("make ")] == ["make test", "make book"]
    assert "set -euo pipefail" in lines
    assert os.access(script, os.X_OK)


def test_continuous_integration_looks_for_the_browsers_that_the_tests_use():
    script = (ROOT / ".ci" / "run").read_text()
    assert set(re.findall(r"command -v ([a-z-]*chrom[a-z-]*)", script)) == set(chromium.PROGRAMS)
    assert "${CHROMIUM:-}" in script


def test_the_issue_form_asks_the_four_things():
    form = yaml.safe_load((ROOT / ".github/ISSUE_TEMPLATE/book-error.yml").read_text(encoding="utf8"))
    assert {"name", "description", "body"} <= set(form)
    asked = [part for part in form["body"] if part["type"] != "markdown"]
    assert [part["attributes"]["label"] for part in asked] == [
        "Where",
        "What is printed",
        "What you think is right",
        "How you know",
    ]
    assert all(part["validations"]["required"] for part in asked)
    assert f'"{form["name"]}"' in README


# Pins


def pins() -> list[str]:
    return [line.partition(";")[0].strip() for line in PINS if line and not line.startswith("#")]


def test_torch_is_pinned_without_a_build_so_that_either_build_fits():
    (pin,) = [pin for pin in pins() if pin.startswith("torch==")]
    assert re.fullmatch(r"torch==\d+\.\d+\.\d+", pin)
    assert "`torch==X.Y.Z`" in README


def test_no_gigabytes_are_named_that_only_one_build_of_torch_needs():
    assert [pin for pin in pins() if re.match(r"nvidia|cuda", pin)] == []
    assert next(line for line in PINS if line.startswith("triton==")).endswith("sys_platform == 'linux'")


def test_pre_commit_runs_the_pinned_ruff_of_the_environment():
    (repo,) = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"]
    assert repo["repo"] == "local" and {hook["language"] for hook in repo["hooks"]} == {"system"}
    assert [hook["entry"] for hook in repo["hooks"]] == [".venv/bin/ruff check --fix", ".venv/bin/ruff format"]
    assert any(pin.startswith("ruff==") for pin in pins())


# Versions, citation, licences


def citation() -> dict:
    return yaml.safe_load((ROOT / "CITATION.cff").read_text(encoding="utf8"))


def test_the_citation_has_what_its_format_asks_for():
    it = citation()
    assert it["cff-version"] == "1.2.0"
    assert it["type"] in ("software", "dataset")
    assert isinstance(it["message"], str) and it["authors"] == [{"name": "The rnncourse authors"}]
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", it["date-released"])


def test_the_title_is_the_same_everywhere():
    title = citation()["title"]
    assert README.startswith(f"# {title}\n") and f"*{title}.*" in README
    assert f"# {title}\n" in (ROOT / "intro.md").read_text(encoding="utf8")


def test_there_is_one_version():
    changelog = (ROOT / "CHANGELOG.md").read_text(encoding="utf8")
    number, date = re.findall(r"^## \[(\d+\.\d+\.\d+)\] - (\S+)$", changelog, re.M)[0]
    assert citation()["version"] == number == rnncourse.__version__
    assert citation()["date-released"] == date
    assert f'version = "{number}"' in (ROOT / "pyproject.toml").read_text()
    for text in (README, (ROOT / "intro.md").read_text(encoding="utf8")):
        assert f"Version {number}, {date[:4]}." in text


def test_the_licences_are_those_that_are_named():
    code, text = ((ROOT / name).read_text(encoding="utf8") for name in ("LICENSE", "LICENSE-text"))
    assert code.startswith("MIT License") and "The rnncourse authors" in code
    assert "CC BY 4.0" in text and "licenses/by/4.0/\n" in text and "licenses/by/4.0/legalcode" in text
    assert citation()["license"] == "MIT"
    assert 'license = "MIT"' in (ROOT / "pyproject.toml").read_text()
    assert "(LICENSE)" in README and "(LICENSE-text)" in README


# Links, addresses, the picture


@pytest.mark.parametrize("guide", [*GUIDES[:2], ROOT / "exercises" / "README.md"], ids=["README", "CONTRIBUTING", "ex"])
def test_links_to_files_lead_somewhere(guide):
    linked = re.findall(r"\]\((?!https?:|#)([^)#\s]+)", guide.read_text(encoding="utf8"))
    assert [name for name in linked if not (guide.parent / name).exists()] == []


def test_the_readme_links_what_readers_look_for():
    for name in ("CONTRIBUTING.md", "CHANGELOG.md", "CITATION.cff", "appendices/instructors.md", "exercises/README.md"):
        assert f"]({name})" in README


def test_the_readmes_tree_names_what_exists():
    tree = README.split("## Where things are")[1].split("```")[1]
    names = re.findall(r"[\w./]+(?=,|\s{2,})", "\n".join(line[:24] for line in tree.splitlines()) + "  ")
    assert len(names) > 10
    assert [name for name in names if not (ROOT / name).exists()] == []


def tracked() -> list[Path]:
    """The files that git knows; in an archive without git, all that are not made by the targets."""
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if listed.returncode == 0:
        return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]
    made = {".venv", ".git", "_build", "__pycache__"}
    return [path for path in ROOT.rglob("*") if path.is_file() and not made & set(path.relative_to(ROOT).parts)]


def test_no_file_names_a_package_registry():
    named = []
    for path in tracked():
        found = REGISTRIES.findall(path.read_bytes().decode("utf8", errors="ignore"))
        named += [f"{path.relative_to(ROOT)}: {host}" for host in found]
    assert named == []


@pytest.mark.parametrize("host", ["download.pytorch" + ".org", "PyPI" + ".org", "files.pythonhosted" + ".org"])
def test_a_registrys_name_would_be_found(host):
    assert REGISTRIES.search(f"pip install --index-url https://{host}/simple")


def words(picture: Path) -> list[str]:
    return re.findall(r"<!-- (.+?) -->", picture.read_text(encoding="utf8"))


def shapes(picture: Path) -> list[str]:
    """Colours and widths of all that is drawn: a written chapter has others than a planned one."""
    return re.findall(r'style="([^"]*)"', picture.read_text(encoding="utf8"))


def test_the_readmes_map_is_the_book(tmp_path):
    name, written = re.search(r"course_map\((written=\[[\d, ]*\])\), '(\S+)'\)", README).group(2, 1)
    assert f"figures.course_map({written})" in (ROOT / "intro.md").read_text(encoding="utf8")
    numbers = [int(path.name[:2]) for path in sorted((ROOT / "chapters").glob("[0-9][0-9]-*.md"))]
    assert written == f"written={numbers}"
    figures.save(figures.course_map(written=numbers), tmp_path / "map.svg")
    assert words(ROOT / name) == words(tmp_path / "map.svg")
    assert shapes(ROOT / name) == shapes(tmp_path / "map.svg")
    assert (ROOT / name).stat().st_size < 150_000
    assert len(re.search(rf"!\[([^\]]+)\]\({name}\)", README)[1]) > 50


# What is packed


def test_the_package_lists_every_folder_of_code():
    listed = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {file.parent.relative_to(ROOT) for file in (ROOT / "rnncourse").rglob("__init__.py")}
    assert sorted(listed) == sorted(".".join(folder.parts) for folder in folders)


def test_no_file_is_larger_than_a_megabyte():
    assert [path for path in tracked() if path.stat().st_size > 1_000_000] == []
