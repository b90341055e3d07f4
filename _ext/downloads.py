"""A link to a notebook that is no page, such as an exercise, downloads it.

The same plain Markdown link then works on this site, in Jupyter and on GitHub.
"""

from pathlib import Path

from sphinx.addnodes import download_reference, pending_xref
from sphinx.transforms import SphinxTransform


class LinkedNotebooks(SphinxTransform):
    default_priority = 10  # before Sphinx collects the files to be copied

    def apply(self):
        for link in list(self.document.findall(pending_xref)):
            target = f"{link.get('reftarget')}.ipynb"
            to_page = link.get("reftype") == "myst" and link.get("refdomain") == "doc"
            if to_page and link["reftarget"] not in self.env.found_docs and Path(self.env.srcdir, target).exists():
                here = {"refdoc": self.env.docname, "reftarget": f"/{target}", "refexplicit": True}
                link.replace_self(download_reference("", "", *link.children, **here))


def setup(app):
    app.add_transform(LinkedNotebooks)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
