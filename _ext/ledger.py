"""The equation ledger on the page.

Every displayed equation is proven (``eq-...``), a definition (``def-...``), or a marked step of a
derivation; anything else is a warning, and the build takes no warnings. A proven equation with a
current row in ledger.json carries a check mark that links to its row on the ledger page.
"""

import sys
from functools import cache
from pathlib import Path

from docutils import nodes
from sphinx.util import logging
from sphinx.util.docutils import SphinxDirective

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from tools import equations, ledger

logger = logging.getLogger(__name__)
PAGE = "appendices/ledger"


class LedgerTable(SphinxDirective):
    """``{ledger}``: every proof on record, under the pages its equations stand on."""

    def run(self):
        return [pending_table("")]


class pending_table(nodes.General, nodes.Element):
    """Where the table will stand once every page has been read."""


def read_page(app, doctree):
    """Sort the page's equations into proven, definitions and steps; complain about the others."""
    found = app.env.ledger_equations.setdefault(app.env.docname, {})
    for node in doctree.findall(lambda n: isinstance(n, nodes.math_block)):
        label, tex = node.get("label") or "", node.astext()
        kind = equations.kind(label, tex)
        if kind == "step":
            strip_mark(node)
        elif kind == "unmarked":
            logger.warning(
                "ledger: a displayed equation must be labelled eq- and proven, labelled def-, or begin with '%% step'",
                location=node,
            )
        elif kind == "definition":
            found[label] = kind
        else:
            found[label] = kind
            check(node, label)


def check(node, label):
    """Warn unless the equation has a row and every row is current."""
    rows = ledger.read().get(label, [])
    if not rows:
        logger.warning("ledger: no test proves %s: write one, then run `make ledger`", label, location=node)
    for row in rows:
        for fault in ledger.faults(row, book().get(label)):
            logger.warning("ledger: %s, %s: %s: run `make ledger`", label, row["test"], fault, location=node)


@cache
def book():
    """The TeX of every labelled equation, as the texts have it."""
    return {equation.label: equation.tex for equation in equations.of_book()}


def strip_mark(node):
    """Take the `% step` line out of what the reader's browser gets."""
    tex = equations.STEP.sub("", node.astext(), count=1)
    node.children.clear()
    node += nodes.Text(tex)


def check_book(app, env):
    """Warn about rows whose equation is nowhere in the book."""
    labels = {label for found in env.ledger_equations.values() for label in found}
    for label in sorted(set(ledger.read()) - labels):
        logger.warning("ledger: the record proves %s, which no page has: run `make ledger`", label)


def resolve_page(app, doctree, docname):
    """Set the check marks, and fill in the table."""
    for node in list(doctree.findall(nodes.math_block)):
        rows = ledger.read().get(node.get("label") or "")
        if rows:
            place = nodes.container("", classes=["proven"])
            node.replace_self(place)
            place += [node, mark(app, docname, node["label"], rows)]
    for node in list(doctree.findall(pending_table)):
        node.replace_self(table(app, docname))


def mark(app, docname, label, rows):
    """The link from an equation to its row, which says in words what it means."""
    worst, oracles = max(row["error"] for row in rows), ", ".join(sorted({row["oracle"] for row in rows}))
    words = f"Checked against {oracles}; worst error {worst:g}. To the ledger."
    address = app.builder.get_relative_uri(docname, PAGE) + f"#proof-{label}"
    link = nodes.reference("", "✓", internal=True, refuri=address, reftitle=words, classes=["proof-mark"])
    link += nodes.inline("", words, classes=["visually-hidden"])  # for those who hear the page
    return nodes.paragraph("", "", link, classes=["mark-place"])


def table(app, docname):
    """One section of the ledger page for every page with equations."""
    rows, found = ledger.read(), app.env.ledger_equations
    kinds = [kind for page in found.values() for kind in page.values()]
    proven, defined = kinds.count("proven"), kinds.count("definition")
    counts = f"{len(kinds)} labelled equations: {proven} proven, {defined} definitions."
    parts = [nodes.paragraph("", counts)]
    for page in sorted(page for page in found if any(label in rows for label in found[page])):
        body = nodes.tbody()
        for label in (label for label in found[page] if label in rows):
            body += lines(app, docname, page, label, rows[label])
        heads = ("Equation", "Oracle", "Worst error", "Tolerance", "Test")
        group = nodes.tgroup("", *(nodes.colspec(colwidth=1) for _ in heads), cols=len(heads))
        group += [nodes.thead("", line([nodes.Text(head) for head in heads])), body]
        title = nodes.Text(app.env.titles[page].astext())
        parts += [nodes.paragraph("", "", nodes.strong("", "", title)), nodes.table("", group, classes=["ledger"])]
    return parts


def lines(app, docname, page, label, rows):
    """The lines of one equation: its number and a way back in the first, a line for each proof."""
    number = ".".join(map(str, app.env.toc_fignumbers[page]["displaymath"][f"equation-{label}"]))
    address = app.builder.get_relative_uri(docname, page) + f"#equation-{label}"
    for k, row in enumerate(rows):
        link = nodes.reference("", f"({number}) {label[3:]}", internal=True, refuri=address)
        test = row["test"].removeprefix("tests/").replace("::", " :: ")
        cells = [nodes.Text(row["oracle"]), nodes.Text(f"{row['error']:g}"), nodes.Text(f"{row['tolerance']:g}")]
        yield line([link, *cells, nodes.literal("", test)], id=f"proof-{label}" if k == 0 else None)


def line(cells, id=None):
    """A table row; the cells are inline nodes."""
    row = nodes.row(ids=[id] if id else [])
    row += [nodes.entry("", nodes.paragraph("", "", cell)) for cell in cells]
    return row


def start(app):
    if not hasattr(app.env, "ledger_equations"):
        app.env.ledger_equations = {}


def purge(app, env, docname):
    getattr(env, "ledger_equations", {}).pop(docname, None)


def merge(app, env, docnames, other):
    env.ledger_equations.update({name: other.ledger_equations.get(name, {}) for name in docnames})


def setup(app):
    app.add_node(pending_table)
    app.add_directive("ledger", LedgerTable)
    app.connect("builder-inited", start)
    app.connect("env-purge-doc", purge)
    app.connect("env-merge-info", merge)
    app.connect("doctree-read", read_page)
    app.connect("env-check-consistency", check_book)
    app.connect("doctree-resolved", resolve_page)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
