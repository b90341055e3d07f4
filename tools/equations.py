"""The displayed equations of the book's texts, read as MyST reads them."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from markdown_it import MarkdownIt
from mdit_py_plugins.amsmath import amsmath_plugin
from mdit_py_plugins.colon_fence import colon_fence_plugin
from mdit_py_plugins.dollarmath import dollarmath_plugin
from mdit_py_plugins.front_matter import front_matter_plugin

from tools.fingerprint import ROOT, digest

# What these directives hold is no Markdown: a dollar there is a dollar.
VERBATIM = re.compile(r"\{(code|code-cell|code-block|literalinclude|raw|math|eval-rst|csv-table)\}")
STEP = re.compile(r"\s*%[ \t]*step\b[^\n]*\n")


class Equation(NamedTuple):
    """A displayed equation: its label ("" if it has none), its TeX, and where it stands."""

    label: str
    tex: str
    file: Path
    line: int


def kind(label: str, tex: str) -> str:
    """What an equation is: "proven" (must be), "definition", "step" of a derivation, or "unmarked"."""
    if label.startswith("eq-"):
        return "proven"
    if label.startswith("def-"):
        return "definition"
    return "step" if not label and STEP.match(tex) else "unmarked"


def tex_digest(tex: str) -> str:
    """A hash of an equation's TeX in which white space does not matter."""
    return digest(" ".join(tex.split()))


def texts(root: Path = ROOT) -> list[Path]:
    """The book's texts, in order."""
    return [*root.glob("intro.md"), *sorted(root.glob("chapters/*.md")), *sorted(root.glob("appendices/*.md"))]


def of_book() -> list[Equation]:
    """Every displayed equation of every text, in order."""
    return [equation for file in texts() for equation in of_text(file.read_text(encoding="utf-8"), file)]


def of_text(text: str, file: Path, above: int = 0) -> Iterator[Equation]:
    """The displayed equations of one text; ``above`` lines stand before it in the file."""
    for token in _parser().parse(text):
        line = above + (token.map[0] if token.map else 0) + 1
        if token.type in ("math_block", "math_block_label", "amsmath"):
            yield Equation(token.info if token.type == "math_block_label" else "", token.content, file, line)
        elif token.type in ("fence", "colon_fence") and token.info.startswith("{") and not VERBATIM.match(token.info):
            yield from of_text(token.content, file, line)


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark").enable("table").use(front_matter_plugin).use(colon_fence_plugin)
    return parser.use(dollarmath_plugin, allow_labels=True).use(amsmath_plugin)
