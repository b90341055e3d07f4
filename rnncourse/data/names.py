"""Names of countries, languages and scripts in twenty languages, and which language each name is from.

Source: the Unicode Common Locale Data Repository as the package ``babel`` 2.18.0 carries it; nothing is
downloaded, and nothing is copied into this project. A name that two of the languages share is left out,
for nobody could say whose it is. All names of one thing, such as those of Austria, fall into the same
part: a network is tested on things of which it has seen no name in any language.
"""

import hashlib
import re
from importlib.metadata import version
from typing import NamedTuple

import numpy as np

LICENCE = "Unicode License v3, (c) Unicode, Inc.; babel: BSD 3-Clause"
LANGUAGES = {
    "cs": "Czech", "da": "Danish", "de": "German", "en": "English", "es": "Spanish", "et": "Estonian",
    "eu": "Basque", "fi": "Finnish", "fr": "French", "hu": "Hungarian", "id": "Indonesian", "it": "Italian",
    "nl": "Dutch", "pl": "Polish", "pt": "Portuguese", "ro": "Romanian", "sk": "Slovak", "sv": "Swedish",
    "sw": "Swahili", "tr": "Turkish",
}  # fmt: skip
KINDS = ("territories", "languages", "scripts")
BABEL, SHA256 = "2.18.0", "8be1c813759ca5026184d0316cbc85da8d15b2c4077db3bc7d44fcb843cec02e"
PADDING, UNKNOWN = 0, 1
LONGEST = 24
_NAME = re.compile(r"[^\W\d_]+(?:[ '’-][^\W\d_]+)*")  # letters, with single spaces, hyphens and apostrophes


class Labelled(NamedTuple):
    """Names and their languages.

    Attributes:
        words: N strings, lower case.
        labels: places in ``Names.languages``, integers, shape (N,).
    """

    words: tuple[str, ...]
    labels: np.ndarray


class Names(NamedTuple):
    """All names in three parts; of one thing, all names are in the same.

    Attributes:
        languages: K names of languages, in alphabetical order of their codes.
        train: what may be learned from.
        valid: to choose settings on.
        test: to be looked at once.
        alphabet: the characters of the training part; character i is token i + 2.
        source: where they come from.
    """

    languages: tuple[str, ...]
    train: Labelled
    valid: Labelled
    test: Labelled
    alphabet: str
    source: str


def load() -> Names:
    """Read the names where babel keeps them.

    Returns:
        Twenty languages; about eight names in ten to learn from, one to choose by, one to test on.

    Raises:
        ValueError: if babel is of the version that we know, and the names are not.
    """
    rows = _rows()
    found = hashlib.sha256("\n".join("\t".join(row) for row in rows).encode()).hexdigest()
    if version("babel") == BABEL and found != SHA256:
        raise ValueError(f"names: babel {BABEL} is known with other names (sha256 {found})")
    parts = [[row for row in rows if _part(row[1]) == part] for part in range(3)]
    codes = list(LANGUAGES)
    train, valid, test = (
        Labelled(tuple(name for *_, name in part), np.array([codes.index(code) for code, *_ in part])) for part in parts
    )
    alphabet = "".join(sorted(set("".join(train.words))))
    return Names(tuple(LANGUAGES.values()), train, valid, test, alphabet, f"CLDR in babel {version('babel')}")


def encode(words, alphabet: str) -> np.ndarray:
    """Turn words into tokens: 0 is padding, 1 a character that the alphabet lacks.

    Args:
        words: N strings, none empty.
        alphabet: character i becomes i + 2.

    Returns:
        Tokens, integers, shape (T, N), where T is the longest word's length.

    Raises:
        ValueError: if there is no word, or one is empty.
    """
    if not len(words) or not all(words):
        raise ValueError("words: expected at least one, and none empty")
    place = {character: k for k, character in enumerate(alphabet, start=2)}
    tokens = np.full((max(map(len, words)), len(words)), PADDING, np.int64)
    for b, word in enumerate(words):
        tokens[: len(word), b] = [place.get(character, UNKNOWN) for character in word]
    return tokens


def _rows() -> list[tuple[str, str, str]]:
    """(code, key, name) of every name that one language alone has."""
    from babel import Locale  # thousands of small files: only when asked for

    rows, owners = set(), {}
    for code in LANGUAGES:
        locale = Locale(code)
        for kind in KINDS:
            for key, name in getattr(locale, kind).items():
                name = name.lower()
                if _NAME.fullmatch(name) and 3 <= len(name) <= LONGEST:
                    rows.add((code, f"{kind}/{key}", name))
                    owners.setdefault(name, set()).add(code)
    single = {}
    for row in sorted(rows):  # of things that share a name in one language, the first counts
        if len(owners[row[2]]) == 1:
            single.setdefault((row[0], row[2]), row)
    return sorted(single.values())


def _part(key: str) -> int:
    """0 to learn from, 1 to choose by, 2 to test on: by the hash of the thing, so for all its names alike."""
    tenth = hashlib.sha256(key.encode()).digest()[0] % 10
    return {0: 2, 1: 1}.get(tenth, 0)
