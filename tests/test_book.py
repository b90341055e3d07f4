"""The book's sources hang together: contents, numbers, pins, one address, one way to write mathematics."""

import re
import shutil
from pathlib import Path

import nbformat
import pytest
import yaml

from tools.book import build

ROOT = Path(__file__).resolve().parent.parent
CONFIG = yaml.safe_load((ROOT / "_config.yml").read_text())
TOC = yaml.safe_load((ROOT / "_toc.yml").read_text())
CHAPTERS = sorted((ROOT / "chapters").glob("*.md"))
TEXTS = [ROOT / "intro.md", *CHAPTERS, *sorted((ROOT / "appendices").glob("*.md"))]
HOME = CONFIG["repository"]["url"]

# One way to write one thing, in plain LaTeX: a macro of ours would be a red word in Jupyter and Colab.
WRITTEN = {
    "no macros": r"\\(?:newcommand|renewcommand|def|let|DeclareMathOperator)\b",
    r"the transpose is ^\top": r"(?<!\})\^(?:\{T\}|T\b)|\\intercal|\^\{?\\(?:mathsf|mathrm|text)\{T\}",
    r"a total derivative has an upright d, \mathrm{d}": r"\\frac\{d(?:[ \\]|[A-Za-z]\b)|\\text\{d\}",
    r"operators are \operatorname{...}": r"\\(?:text|mathrm)\{(?:diag|softmax|relu|tr|sign)\}",
    r"norms are \lVert ... \rVert": r"\\\|",
    "fonts are commands with an argument": r"\\(?:rm|bf|it|cal)\b",
}
MATHEMATICS = re.compile(r"\$\$.*?\$\$|(?<![\\$])\$[^$\n]+\$", re.S)
FENCED = re.compile(r"^(`{3,})\{code-cell\}.*?^\1$", re.S | re.M)


def files_in_toc():
    return [TOC["root"], *(chapter["file"] for part in TOC["parts"] for chapter in part["chapters"])]


def files_that_exist():
    pages = [*(ROOT / "chapters").glob("*.ipynb"), *(ROOT / "appendices").glob("*.md")]
    return {"intro", "genindex", *(page.relative_to(ROOT).with_suffix("").as_posix() for page in pages)}


def prose(text):
    """A page's text without its code cells."""
    return FENCED.sub("", text)


def badly_written(text):
    """Formulas that are written against the list above, and displays that Jupyter would not show."""
    formulas = MATHEMATICS.findall(prose(text))
    found = [f"{rule}: {part}" for part in formulas for rule, bad in WRITTEN.items() if re.search(bad, part)]
    if "{math}" in text:
        found.append("displays are $$ ... $$, not a directive")
    lines, inside = prose(text).splitlines(), False
    for before, line in zip(["", *lines], lines, strict=False):
        if line.lstrip().startswith("$$") and line.count("$$") == 1:
            if not inside and before.strip():
                found.append(f"a display needs an empty line before it: {before}")
            inside = not inside
    return found


def test_the_contents_list_what_exists_once():
    listed = files_in_toc()
    assert len(listed) == len(set(listed))
    assert set(listed) == files_that_exist()


def test_every_chapter_has_its_text_and_its_executed_copy():
    copies = sorted((ROOT / "chapters").glob("*.ipynb"))
    assert [path.stem for path in CHAPTERS] == [path.stem for path in copies]


@pytest.mark.parametrize("chapter", CHAPTERS, ids=lambda path: path.stem)
def test_a_chapters_title_carries_its_fixed_number(chapter):
    title = re.search(r"^# (.*)$", prose(chapter.read_text()), re.M)[1]
    assert re.match(rf"{chapter.stem[:2]} \S", title)


def test_chapters_stand_in_the_order_of_their_numbers():
    chapters = [name for name in files_in_toc() if name.startswith("chapters/")]
    assert chapters == sorted(chapters)


def test_every_requirement_is_pinned_exactly():
    lines = (ROOT / "requirements.txt").read_text().splitlines()
    required = [line.partition(";")[0].strip() for line in lines if line and not line.startswith("#")]
    assert required
    assert [line for line in required if not re.fullmatch(r"[\w.-]+==[\w.!+]+", line)] == []


def test_the_pins_that_matter_agree():
    chosen = re.findall(r'"([\w-]+==[\w.]+)"', (ROOT / "pyproject.toml").read_text())
    assert "jupyter-book==1.0.4.post1" in chosen
    locked = (ROOT / "requirements.txt").read_text().splitlines()
    assert [pin for pin in chosen if pin not in locked] == []


def test_the_repository_has_one_address():
    places = [path for path in ROOT.iterdir() if path.suffix in {".md", ".cff", ".toml", ".yml"}]
    for folder, kind in (
        ("chapters", "*.*"),
        ("appendices", "*.md"),
        ("exercises", "**/*.ipynb"),
        (".github", "**/*.*"),
    ):
        places += (ROOT / folder).glob(kind)
    owner_and_name = HOME.removeprefix("https://github.com/")
    for place in places:
        named = re.findall(r"github(?:\.com)?/([\w-]+/rnncourse)\b", place.read_text(encoding="utf8"))
        assert set(named) <= {owner_and_name}, place


@pytest.mark.parametrize("name", ["README.md", "CITATION.cff", "intro.md"])
def test_the_address_stands_where_readers_look(name):
    assert HOME in (ROOT / name).read_text(encoding="utf8")


@pytest.mark.parametrize("text", TEXTS, ids=lambda path: path.stem)
def test_mathematics_is_written_one_way(text):
    assert badly_written(text.read_text(encoding="utf8")) == []


@pytest.mark.parametrize(
    "text",
    [
        r"$W_h^T$",
        r"$(W_h x)^{T}$",
        r"$\frac{dL}{dW}$",
        r"$\text{diag}(a)$",
        r"$\|a\|$",
        r"$\newcommand{\R}{\mathbb{R}}$",
        r"${\rm d}$",
        "so\n$$\na\n$$\n",
        "```{math}\na\n```",
    ],
)
def test_mathematics_written_another_way_is_found(text):
    assert badly_written(text)


@pytest.mark.parametrize("text", [r"$\sum_{t=1}^{T} x_t$", r"$W_h^\top$", r"$\frac{\mathrm{d} L}{\mathrm{d} h}$"])
def test_mathematics_written_our_way_passes(text):
    assert badly_written(text) == []


def public_modules():
    """Every module, but for those that speak through their package, and the answers to the exercises."""
    for path in (ROOT / "rnncourse").rglob("[a-z]*.py"):
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        if not name.startswith("rnncourse.figures.") and not name.endswith(("_answers", "_mistakes")):
            yield name


def test_the_reference_lists_every_module():
    listed = re.findall(r"automodule:: (\S+)\n   :members:", (ROOT / "appendices" / "api.md").read_text())
    assert sorted(listed) == sorted([*public_modules(), "rnncourse.figures"])


def small_book(folder, sentence):
    """The book's frame around a single page, which says one sentence."""
    for name in ("_config.yml", "_ext", "_static", "references.bib", "rnncourse", "tools"):
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, ignore=shutil.ignore_patterns("__pycache__"))
        elif source.exists():
            shutil.copy(source, folder)
    (folder / "_toc.yml").write_text("format: jb-book\nroot: intro\n")
    cells = [nbformat.v4.new_markdown_cell(f"# Title\n\n{sentence}")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), folder / "intro.ipynb")
    return build(folder, folder)


def test_a_clean_page_builds(tmp_path):
    result = small_book(tmp_path, "All is well.")
    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize(
    ("sentence", "complaint"),
    [("See {eq}`eq-nowhere`.", "eq-nowhere"), ("See {doc}`nowhere`.", "nowhere"), ("{cite}`nobody1900`", "nobody1900")],
)
def test_a_reference_that_leads_nowhere_stops_the_build(tmp_path, sentence, complaint):
    result = small_book(tmp_path, sentence)
    assert result.returncode != 0
    assert complaint in result.stdout
