"""Mends in the finished pages what other people's templates write against WCAG, and lines that break badly."""

import re

REPLACED = {
    'role="doc-biblioentry"': 'role="listitem"',  # ARIA has withdrawn it; a bibliography is a list of items
    ' id="proof-content"': "",  # the same on every theorem
    ' id="proof"': "",  # and on every proof
    "<p>Proof. ": "<p><em>Proof.</em> ",
}
# A browser may break a line between a formula and the full stop after it.
FORMULA_AND_STOP = re.compile(r'(<span class="math notranslate nohighlight">[^<]*</span>[.,;:!?)\u201d\u2019]+)')

# The name of a test that leads to its file breaks behind an underscore, not in a word.
LINKED_TEST = re.compile(
    r'(?<=<span class="xref download myst"><code class="docutils literal notranslate"><span class="pre">)test_\w+'
)


def mend(app, page, template, context, doctree):
    """Replace what is known to be wrong in a page's body."""
    body = context.get("body", "")
    for wrong, right in REPLACED.items():
        body = body.replace(wrong, right)
    body = LINKED_TEST.sub(lambda name: name[0].replace("_", "_<wbr>"), body)
    context["body"] = FORMULA_AND_STOP.sub(r'<span class="glued">\1</span>', body)


def setup(app):
    app.connect("html-page-context", mend)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
