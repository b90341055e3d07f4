"""What part each name plays in a line of Python: read, written, called, a keyword, and so on.

The text is the standard library's own, read where it is installed, as in :mod:`rnncourse.data.code`. Every
name has become the same token, and so has every number and every string: nothing is left to go by but the
tokens around it. The roles are those of Python's own parser. The text differs a little between versions of
Python, so no hash is kept, and nothing that is printed in the book may depend on it.
"""

import ast
import hashlib
import io
import keyword
import tokenize
from typing import NamedTuple

import numpy as np

from rnncourse.data.code import source

ROLES = ("read", "written", "called", "attribute", "method", "keyword", "parameter", "defined", "imported")
TRAIN = (
    *("argparse", "ast", "bdb", "calendar", "cmd", "colorsys", "configparser", "contextlib", "copy", "csv"),
    *("difflib", "doctest", "enum", "filecmp", "fractions", "ftplib", "functools", "getpass", "gzip", "heapq"),
    *("imaplib", "ipaddress", "locale", "mailbox", "mimetypes", "netrc", "optparse", "pdb", "pickle", "plistlib"),
    *("poplib", "pprint", "profile", "random", "sched", "selectors", "shelve", "shutil", "smtplib", "socket"),
)
VALID = ("inspect", "statistics", "tempfile", "zipapp")
TEST = ("dataclasses", "subprocess", "tarfile", "textwrap", "timeit", "trace", "uuid")
LONGEST = 40
_WRAPPED = ("FSTRING", "TSTRING")


class Line(NamedTuple):
    """A logical line of Python.

    Attributes:
        tokens: its tokens, "name" for every name.
        roles: places in ``ROLES``, or -1 where the token is no name.
        names: the names themselves, "" elsewhere; no model sees them.
    """

    tokens: tuple[str, ...]
    roles: tuple[int, ...]
    names: tuple[str, ...]


class Roles(NamedTuple):
    """Lines of other modules to learn from, to choose by, and to test on; no two have the same tokens.

    Attributes:
        train: lines.
        valid: lines whose tokens do not occur in ``train``.
        test: lines whose tokens occur in neither.
        vocabulary: the tokens of the training lines; token i is i + 2 for a network.
        digest: a hash of all lines, for this version of Python.
    """

    train: list[Line]
    valid: list[Line]
    test: list[Line]
    vocabulary: tuple[str, ...]
    digest: str


def load() -> Roles:
    """Read the modules of the standard library.

    Returns:
        Lines with a name in them, at most forty tokens long.
    """
    known: set[tuple[str, ...]] = set()
    parts = []
    for modules in (TRAIN, VALID, TEST):
        new: dict[tuple[str, ...], Line] = {}
        for module in modules:
            for line in lines(source(module)):
                if len(line.tokens) <= LONGEST and line.tokens not in known:
                    new.setdefault(line.tokens, line)
        known |= set(new)
        parts.append(list(new.values()))
    vocabulary = tuple(sorted({token for line in parts[0] for token in line.tokens}))
    return Roles(*parts, vocabulary, hashlib.sha256(repr(parts).encode()).hexdigest())


def lines(text: str) -> list[Line]:
    """Cut Python source into logical lines, and say what each name in them is.

    Args:
        text: source without an error.

    Returns:
        The lines that hold a name.

    Raises:
        SyntaxError: if Python cannot read the text.
    """
    places = roles(text)
    found, line, wrapped = [], [], 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        kind = tokenize.tok_name[token.type]
        if kind.startswith(_WRAPPED):  # a string that has names in it: one token, as before Python 3.12
            wrapped += kind.endswith("START") - kind.endswith("END")
            if kind.endswith("END") and not wrapped:
                line.append(("string", -1, ""))
        elif wrapped or kind in ("COMMENT", "NL", "INDENT", "DEDENT", "ENDMARKER", "ENCODING"):
            continue
        elif kind == "NEWLINE":
            if any(role >= 0 for _, role, _ in line):
                found.append(Line(*zip(*line, strict=True)))
            line = []
        elif kind == "NAME" and token.start in places:
            line.append(("name", places[token.start], token.string))
        else:
            line.append((_shown(kind, token.string), -1, ""))
    return found


def roles(text: str) -> dict[tuple[int, int], int]:
    """What Python's parser says of each name.

    Args:
        text: source without an error.

    Returns:
        For the place (row, column) of each name, counted as the tokenizer does, its place in ``ROLES``.

    Raises:
        SyntaxError: if Python cannot read the text.
    """
    rows = text.splitlines(keepends=True)
    found: dict[tuple[int, int], int] = {}
    tree = ast.parse(text)
    calls = {id(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}

    def put(row: int, column: int, role: str) -> None:
        if row <= len(rows):  # the parser counts bytes, the tokenizer characters
            column = len(rows[row - 1].encode()[:column].decode(errors="ignore"))
            found[row, column] = ROLES.index(role)

    def walk(node: ast.AST) -> None:
        if isinstance(node, ast.JoinedStr):
            return
        _place(node, calls, rows, put)
        for child in ast.iter_child_nodes(node):
            walk(child)

    walk(tree)
    return found


def _place(node: ast.AST, calls: set[int], rows: list[str], put) -> None:
    """The names that one node of the tree stands for."""
    if isinstance(node, ast.Name):
        role = "called" if id(node) in calls else "read" if isinstance(node.ctx, ast.Load) else "written"
        put(node.lineno, node.col_offset, role)
    elif isinstance(node, ast.Attribute):
        role = "method" if id(node) in calls else "attribute"
        put(node.end_lineno, node.end_col_offset - len(node.attr.encode()), role)
    elif isinstance(node, ast.keyword) and node.arg:
        put(node.lineno, node.col_offset, "keyword")
    elif isinstance(node, ast.arg):
        put(node.lineno, node.col_offset, "parameter")
    elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
        before = rows[node.lineno - 1].encode()[: node.col_offset].decode()
        rest = rows[node.lineno - 1][len(before) :]
        offset = rest.find(node.name, rest.find("class" if isinstance(node, ast.ClassDef) else "def") + 3)
        if offset >= 0:
            put(node.lineno, len((before + rest[:offset]).encode()), "defined")
    elif isinstance(node, ast.alias):
        if "." not in node.name and node.name != "*":  # the names of a path are parts of one name
            put(node.lineno, node.col_offset, "imported")
        if node.asname:
            put(node.end_lineno, node.end_col_offset - len(node.asname.encode()), "imported")


def encode(some: list[Line], vocabulary: tuple[str, ...]) -> tuple[np.ndarray, np.ndarray]:
    """Lay lines side by side.

    Args:
        some: B lines.
        vocabulary: token i becomes i + 2; 0 is padding, 1 a token that the vocabulary lacks.

    Returns:
        ``(tokens, roles)``: integers, shapes (T, B); roles are -1 where there is no name.
    """
    place = {token: k for k, token in enumerate(vocabulary, start=2)}
    T = max(len(line.tokens) for line in some)
    tokens, answers = np.zeros((T, len(some)), np.int64), np.full((T, len(some)), -1)
    for b, line in enumerate(some):
        tokens[: len(line.tokens), b] = [place.get(token, 1) for token in line.tokens]
        answers[: len(line.roles), b] = line.roles
    return tokens, answers


def _shown(kind: str, string: str) -> str:
    if kind == "NAME":  # a keyword, or a name that the parser does not place (global x, a.b in an import)
        return string if keyword.iskeyword(string) else "other name"
    return {"NUMBER": "number", "STRING": "string"}.get(kind, string)
