"""English and Python text that every Python carries: the language reference, as characters.

Nothing is downloaded and nothing is copied into this project: the text is read from the standard
library's ``pydoc_data.topics``, the pages behind ``help("assert")``. It grows a little with every
version of Python, so figures that depend on it belong to one version.
"""

import hashlib
import re
import sys
import unicodedata
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from rnncourse import doors

ALPHABET = "\n" + "".join(map(chr, range(32, 127)))  # newline and printable ASCII: 96, whatever the text
LICENCE = "Python Software Foundation License Version 2, (c) Python Software Foundation"

# Python version: size in characters and start of the SHA-256 of the text as `language_text` returns it.
KNOWN = {
    (3, 11, 2): (374254, "0a804f6a23c608d8"),
    (3, 11, 7): (373264, "9945f958f6967edc"),
    (3, 12, 1): (397018, "90dfd85b181f0815"),
    (3, 13, 0): (414242, "04d64defe89bfda0"),
}
SANE = (300_000, 900_000)  # characters, for every other version

_MARKS = str.maketrans({"‘": "'", "’": "'", "“": '"', "”": '"', "–": "-", "—": "--"})


class Corpus(NamedTuple):
    """A text as numbers, split once.

    Attributes:
        train: classes of the characters, integers in 0..V-1, shape (N,).
        valid: the same for the stretch that follows, to choose settings on.
        test: the same for the end of the text, to be looked at once.
        alphabet: the V characters (or words, as a tuple), each at its class.
        source: where the text comes from, and which Python's it is.
        licence: under which terms.
    """

    train: np.ndarray
    valid: np.ndarray
    test: np.ndarray
    alphabet: str | tuple[str, ...]
    source: str
    licence: str


def language_reference(valid: float = 0.05, test: float = 0.1) -> Corpus:
    """Python's language reference, split by place: first training, then validation, the end for the test.

    Args:
        valid: share of the characters held out for choosing settings.
        test: share held out for the final figure.

    Returns:
        About 400,000 characters in three pieces. Cuts fall between paragraphs, and no paragraph
        occurs twice.

    Raises:
        ValueError: if the shares leave nothing for training or are not positive.
        RuntimeError: if this Python's text is not the one known for its version.
    """
    if not (valid > 0 and test > 0 and valid + test < 1):
        raise ValueError(f"valid, test: expected positive shares of less than 1 together, got {valid} and {test}")
    text = language_text()
    check(text, sys.version_info[:3])
    end = _between_paragraphs(text, 1 - test)
    middle = _between_paragraphs(text, 1 - test - valid)
    pieces = (text[:middle], text[middle:end], text[end:])
    source = f"pydoc_data.topics of Python {'.'.join(map(str, sys.version_info[:3]))}"
    return Corpus(*(encode(piece, ALPHABET) for piece in pieces), ALPHABET, source, LICENCE)


def language_text() -> str:
    """The language reference as one string of ASCII in which every paragraph is new.

    Topics quote one another at length: of the long lines in a tenth of the topics, a third
    (median over draws; nine in ten at worst) also stand in the other topics, where a model would
    have learned them by heart.

    Returns:
        The first copy of each paragraph, in the order of the topics' names, a blank line between.
    """
    from pydoc_data.topics import topics  # half a megabyte: only when asked for

    whole = "\n\n".join(topics[name] for name in sorted(topics))
    paragraphs = re.split(r"\n\s*\n", to_ascii(whole).strip("\n"))
    return "\n\n".join(dict.fromkeys(paragraphs))


def to_ascii(text: str) -> str:
    """Write typographic marks in ASCII, drop accents and what else has no ASCII form.

    Args:
        text: any string.

    Returns:
        A string of ASCII characters only.
    """
    plain = unicodedata.normalize("NFKD", text.translate(_MARKS))
    return plain.encode("ascii", "ignore").decode("ascii")


def check(text: str, version: tuple[int, int, int]) -> None:
    """Hold a text to the size and hash known for a Python version, or to sanity bounds for others.

    Args:
        text: from :func:`language_text`.
        version: major, minor and micro version.

    Raises:
        RuntimeError: if it is another text, saying how it differs.
    """
    got = (len(text), hashlib.sha256(text.encode()).hexdigest()[:16])
    name = ".".join(map(str, version))
    if version in KNOWN and got != KNOWN[version]:
        raise RuntimeError(
            f"the language reference of Python {name} should have {KNOWN[version]} "
            f"(characters, SHA-256), this one has {got}: was the standard library changed?"
        )
    if not SANE[0] <= len(text) <= SANE[1]:
        raise RuntimeError(f"the language reference of Python {name} has {len(text)} characters, not {SANE}")


def encode(text: str, alphabet: str) -> np.ndarray:
    """Turn characters into classes.

    Args:
        text: a string, length N.
        alphabet: the V characters, none twice.

    Returns:
        Integers in 0..V-1, shape (N,).

    Raises:
        ValueError: if the text holds a character that the alphabet lacks, or the alphabet
            holds one twice.
    """
    classes = {character: k for k, character in enumerate(alphabet)}
    if len(classes) < len(alphabet):
        raise ValueError(f"alphabet: expected every character once, got {alphabet!r}")
    unknown = sorted(set(text) - set(classes))
    if unknown:
        raise ValueError(f"text: {unknown!r} not in the alphabet of {len(alphabet)} characters")
    return np.fromiter((classes[character] for character in text), np.int64, len(text))


def decode(tokens, alphabet: str) -> str:
    """Turn classes back into characters.

    Args:
        tokens: integers in 0..V-1, shape (N,).
        alphabet: the V characters.

    Returns:
        A string of length N.

    Raises:
        ValueError: if a class is out of range.
    """
    tokens = as_classes(tokens, len(alphabet))
    doors.shape("tokens", tokens, ("N",))
    return "".join(alphabet[k] for k in tokens)


def one_hot(tokens, size: int, dtype=np.float64) -> np.ndarray:
    """Give each class its own input: x is 1 at the class and 0 elsewhere.

    Args:
        tokens: integers in 0..V-1, any shape, for example (T, B).
        size: V, the number of classes.
        dtype: of the result.

    Returns:
        Zeros and ones, shape (..., V).

    Raises:
        ValueError: if a class is no integer or out of range.
    """
    return np.eye(size, dtype=dtype)[as_classes(tokens, size)]


def batches(tokens: np.ndarray, streams: int, steps: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Cut a text into parallel streams, and the streams into chunks that follow one another.

    Column b of one batch continues column b of the batch before it: carry the state over. The
    target of every step is the character that comes next in the text. What does not fill a last
    chunk, at the end of each stream, is left out.

    Args:
        tokens: the text, integers, shape (N,).
        streams: B, how many places of the text are read at once.
        steps: T, steps in a chunk.

    Returns:
        An iterator over ``(inputs, targets)``, integers, each of shape (T, B).

    Raises:
        ValueError: if the text is too short for a single batch.
    """
    doors.at_least("streams", streams, 1)
    doors.at_least("steps", steps, 1)
    tokens = np.asarray(tokens)
    doors.shape("tokens", tokens, ("N",))
    length = (len(tokens) - 1) // streams
    if length < steps:
        raise ValueError(f"tokens: {streams} streams of {steps} steps need {streams * steps + 1}, got {len(tokens)}")
    inputs = tokens[: length * streams].reshape(streams, length).T
    targets = tokens[1 : length * streams + 1].reshape(streams, length).T
    return ((inputs[a : a + steps], targets[a : a + steps]) for a in range(0, length - steps + 1, steps))


def as_classes(tokens, size: int) -> np.ndarray:
    """Check that something is made of classes.

    Args:
        tokens: integers in 0..V-1, any shape.
        size: V, the number of classes.

    Returns:
        The same as an array.

    Raises:
        ValueError: if an entry is no integer or out of range.
    """
    tokens = np.asarray(tokens)
    if not np.issubdtype(tokens.dtype, np.integer):
        raise ValueError(f"tokens: expected integer classes, got {tokens.dtype}")
    if tokens.size and (tokens.min() < 0 or tokens.max() >= size):
        raise ValueError(f"tokens: expected classes in 0..{size - 1}, got {tokens.min()}..{tokens.max()}")
    return tokens


def _between_paragraphs(text: str, share: float) -> int:
    """Where the first paragraph begins after this share of the text."""
    return text.index("\n\n", int(share * len(text))) + 2
