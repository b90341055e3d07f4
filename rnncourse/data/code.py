"""Python source that every Python carries, and which of its characters lie in a string or a comment.

The text is the standard library's own, read where it is installed: nothing is downloaded and nothing
is copied into this project. It differs a little between versions of Python, so no hash is kept, and
nothing that is printed in the book may depend on it.
"""

import importlib.util
import io
import tokenize
from pathlib import Path

import numpy as np

from rnncourse.automata import Automaton

LICENCE = "Python Software Foundation License Version 2, (c) Python Software Foundation"
REGIONS = ("code", "comment", "string")
KINDS = ("'", '"', "\\", "#", "\n")  # the characters that matter; every other one is kind 5
_OPENERS, _CLOSERS = ("FSTRING_START", "TSTRING_START"), ("FSTRING_END", "TSTRING_END")


def source(module: str) -> str:
    """The source text of a module of the standard library.

    Args:
        module: its name, such as "textwrap" or "json.decoder".

    Returns:
        The text, lines ended by a newline alone.

    Raises:
        ValueError: if there is no such module, or it is not written in Python.
    """
    found = importlib.util.find_spec(module)
    if found is None or not (found.origin or "").endswith(".py"):
        raise ValueError(f"module: expected a module written in Python, got {module!r}")
    data = Path(found.origin).read_bytes()
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    return data.decode(encoding).replace("\r\n", "\n")


def kinds(text: str) -> np.ndarray:
    """Tell apart the characters that matter to :func:`reader`.

    Args:
        text: a string, length N.

    Returns:
        Integers, shape (N,): 0 to 4 for the characters of ``KINDS``, 5 for every other.
    """
    place = {character: k for k, character in enumerate(KINDS)}
    return np.fromiter((place.get(character, len(KINDS)) for character in text), np.int64, len(text))


def reader() -> Automaton:
    """The automaton that follows strings and comments through Python source, one character at a time.

    For each of the two quotation marks it has eight states: one mark seen; two seen (an empty string,
    or the beginning of three); in a string, and after its backslash; in a long string, after its
    backslash, after one mark that may end it, and after two. With plain code and comment, 18.

    It knows nothing of nested f-strings, which need a stack, and nothing of errors: a short string
    that is not closed ends with its line.

    Returns:
        18 states, 6 symbols (:func:`kinds`), and as answers the places in ``REGIONS``. A string's
        marks belong to it, its prefix letters do not.
    """
    CODE, COMMENT = 0, 1
    other, newline, backslash = 5, 4, 2
    table = np.zeros((18, 6), np.int64)
    table[CODE] = [2, 10, CODE, COMMENT, CODE, CODE]
    table[COMMENT], table[COMMENT, newline] = COMMENT, CODE
    for mark, first in ((0, 2), (1, 10)):
        one, two, short, escaped, long, long_escaped, end_1, end_2 = range(first, first + 8)
        table[[one, short]] = short
        table[[one, short], newline] = CODE
        table[[one, short], backslash] = escaped
        table[one, mark], table[short, mark] = two, CODE
        table[two] = table[CODE]  # the string was empty, unless a third mark comes
        table[two, mark] = long
        table[escaped] = short
        table[[long, end_1, end_2, long_escaped]] = long
        table[[long, end_1, end_2], backslash] = long_escaped
        table[long, mark], table[end_1, mark], table[end_2, mark] = end_1, end_2, CODE
    region = np.where(np.arange(18) < 2, np.arange(18), 2)
    answers = np.repeat(region[:, None], other + 1, axis=1)
    answers[CODE, :2] = 2  # arriving in code by a mark: the mark closed a string
    return Automaton(table, answers)


def regions(text: str) -> np.ndarray:
    """What Python's own tokenizer says of each character.

    Args:
        text: Python source that has no error, length N.

    Returns:
        Places in ``REGIONS``, integers, shape (N,). A string begins at its first quotation mark.

    Raises:
        SyntaxError: if Python cannot read the text (``tokenize.TokenError`` in some cases).
    """
    found = np.zeros(len(text), np.int64)
    starts = np.cumsum([0, *map(len, io.StringIO(text))])  # where each line begins, lines as the tokenizer counts
    depth, opened = 0, 0
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        first, last = (int(starts[row - 1]) + column for row, column in (token.start, token.end))
        name = tokenize.tok_name[token.type]
        if name in ("STRING", *_OPENERS) and not depth:
            opened = first + min(token.string.find(mark) for mark in "'\"" if mark in token.string)
        depth += (name in _OPENERS) - (name in _CLOSERS)
        if name in ("STRING", *_CLOSERS) and not depth:
            found[opened:last] = 2
        elif name == "COMMENT" and not depth:
            found[first:last] = 1
    return found
