"""Show the library's own code on a page, so that a page never carries a copy that grows old."""

import ast
import inspect
import textwrap


def source(*objects):
    """The source of functions or classes as highlighted Markdown, without their docstrings.

    The page explains and the code stands beside it; comments stay. nbval compares the output, so a
    page whose code has moved on is noticed.

    Args:
        objects: functions, classes or methods written in Python.

    Returns:
        ``IPython.display.Markdown``: one block of Python, which Jupyter and the book both highlight.

    Raises:
        ValueError: if nothing is given, or an object has no Python source.
    """
    from IPython.display import Markdown

    if not objects:
        raise ValueError("objects: expected at least one function or class, got none")
    code = "\n\n\n".join(without_docstrings(_read(thing)) for thing in objects)
    return Markdown(f"```python\n{code}\n```")


def without_docstrings(code: str) -> str:
    """Drop the docstrings from a piece of Python; everything else stays letter for letter.

    Args:
        code: whole statements.

    Returns:
        The code without them. A docstring that is all there is to a body stays, for the body needs one.
    """
    lines = code.splitlines()
    for tree in ast.walk(ast.parse(code)):
        if isinstance(tree, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and _has_spare_docstring(tree):
            first, last = tree.body[0].lineno - 1, tree.body[0].end_lineno
            last += last < len(lines) and not lines[last].strip()  # the blank line after it
            lines[first:last] = [None] * (last - first)
    return "\n".join(line for line in lines if line is not None).strip("\n")


def _has_spare_docstring(tree) -> bool:
    return ast.get_docstring(tree) is not None and len(tree.body) > 1 and tree.body[0].lineno > tree.lineno


def _read(thing) -> str:
    try:
        return textwrap.dedent(inspect.getsource(thing))
    except (TypeError, OSError) as error:
        raise ValueError(f"objects: expected functions or classes written in Python, got {thing!r}") from error
