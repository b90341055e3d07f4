"""The library's reference without the noise that Python adds to a NamedTuple."""

from collections import namedtuple

FIELD = type(namedtuple("_", "field").field)


def skip_fields(app, what, name, member, skip, options):
    """Leave a NamedTuple's fields to its docstring; "Alias for field number 0" helps nobody."""
    return True if isinstance(member, FIELD) else None


def setup(app):
    app.setup_extension("sphinx.ext.autodoc")
    app.connect("autodoc-skip-member", skip_fields)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
