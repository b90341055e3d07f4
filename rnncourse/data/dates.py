"""Dates as people write them, in two dozen languages, and the same dates in ISO form.

The patterns are those of Unicode's CLDR as the package ``babel`` carries them (Unicode License); nothing
is downloaded. Another version of babel may write some dates differently, so figures belong to a version.
"""

import datetime
import hashlib
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from rnncourse import doors
from rnncourse.data import pairs

LOCALES = (
    *("en_US", "en_GB", "de", "fr", "es", "it", "pt", "nl", "sv", "da", "nb", "fi", "pl"),
    *("cs", "hu", "ro", "tr", "el", "ru", "uk", "id", "vi", "ja", "zh", "ko"),
)
FORMS = ("short", "medium", "long", "full")
# Forms that are never seen in training. Of the first six, every word also stands in a form that is;
# the last four have abbreviations of months that this locale shows nowhere else.
REWORDED = (("de", "long"), ("pt", "long"), ("da", "long"), ("hu", "long"), ("ru", "long"), ("ko", "long"))
ABBREVIATED = (("en_US", "medium"), ("it", "medium"), ("tr", "medium"), ("el", "medium"))
HELD_OUT = REWORDED + ABBREVIATED
FIRST, DAYS = datetime.date(1950, 1, 1), 36525  # to the end of 2049: two digits name a year of these
DIGITS = "0123456789-"

# babel's version: the start of the SHA-256 of what `fingerprint` looks at.
KNOWN = {"2.18.0": "589ed352621129d9"}


class Item(NamedTuple):
    """One date, written.

    Attributes:
        text: as people write it, in lower case.
        locale: whose way of writing it is.
        form: "short", "medium", "long" or "full".
        iso: year-month-day.
    """

    text: str
    locale: str
    form: str
    iso: str


class Split(NamedTuple):
    """Items that share no day between training, validation and test.

    Attributes:
        train: forms that are not held out.
        valid: the same forms on other days, to choose settings on.
        test: the same forms on days of the test.
        unseen: held-out forms, on days of the test.
    """

    train: list[Item]
    valid: list[Item]
    test: list[Item]
    unseen: list[Item]


def written(day: datetime.date, locale: str, form: str) -> Item:
    """Write a date.

    Args:
        day: which.
        locale: one of ``LOCALES``, or another that babel knows.
        form: one of ``FORMS``.

    Returns:
        The item; every kind of space is a plain one.

    Raises:
        ValueError: if there is no such form.
        ImportError: if babel is not installed.
    """
    doors.one_of("form", form, FORMS)
    try:
        from babel.dates import format_date
    except ImportError as error:
        raise ImportError("dates are written by the package babel: pip install babel") from error
    text = " ".join(format_date(day, form, locale=locale).lower().split())
    return Item(text, locale, form, day.isoformat())


def split(train: int = 20_000, valid: int = 1000, test: int = 2000, seed: int = 0) -> Split:
    """Draw items: every day belongs to training, validation or test, and some forms to the test alone.

    Args:
        train: how many items to learn from.
        valid: how many to choose settings on.
        test: how many of each test.
        seed: of the draw.

    Returns:
        The four lists.

    Raises:
        ValueError: if a size is no whole number, or less than 1.
        RuntimeError: if this version of babel is known and writes other dates.
    """
    for name, size in (("train", train), ("valid", valid), ("test", test)):
        doors.at_least(name, size, 1)
    check()
    rng = np.random.default_rng(seed)
    days = rng.permutation(DAYS)
    parts = np.split(days, [DAYS * 8 // 10, DAYS * 9 // 10])
    seen = [pair for pair in every() if pair not in HELD_OUT]
    sizes = ((train, parts[0], seen), (valid, parts[1], seen), (test, parts[2], seen), (test, parts[2], HELD_OUT))
    return Split(*(_draw(rng, *one) for one in sizes))


def every() -> list[tuple[str, str]]:
    """All pairs of a locale and a form."""
    return [(locale, form) for locale in LOCALES for form in FORMS]


def encode(items: list[Item], locale: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Turn items into classes: the symbols of the text, and the ISO form.

    Args:
        items: what to encode.
        locale: whether a symbol for the locale comes first.

    Returns:
        ``(source, target)``: padded batches (T, B) and (11, B), see ``data.pairs``.

    Raises:
        ValueError: if a text holds a character that no date of ``LOCALES`` has.
    """
    classes = {symbol: k for k, symbol in enumerate(symbols())}
    unknown = sorted({c for item in items for c in item.text} - set(classes))
    if unknown:
        raise ValueError(f"items: {unknown!r} occur in no date of these locales")
    sources = [[classes[f"<{item.locale}>"]] * locale + [classes[c] for c in item.text] for item in items]
    return pairs.pad(sources), pairs.pad([[1 + DIGITS.index(c) for c in item.iso] for item in items])


def decode(tokens) -> str:
    """Turn classes of a target back into a string.

    Args:
        tokens: integers up to an end or without one, shape (N,).

    Returns:
        For example "1987-03-09".
    """
    (said,) = pairs.unpad(np.asarray(tokens)[:, None])
    return "".join(DIGITS[k - 1] for k in said)


@lru_cache
def symbols() -> tuple[str, ...]:
    """Every symbol of a source, at its class: the end, characters, locales."""
    characters = sorted({c for item in _samples() for c in item.text})
    return ("", *characters, *(f"<{locale}>" for locale in LOCALES))


@lru_cache
def fingerprint() -> str:
    """The start of a hash of one date for each month and day of the week, in every locale and form."""
    return hashlib.sha256("\n".join(item.text for item in _samples()).encode()).hexdigest()[:16]


def check() -> None:
    """Hold this babel's dates to the hash known for its version.

    Raises:
        RuntimeError: if the version is known and the dates are others.
    """
    import babel

    right = KNOWN.get(babel.__version__)
    if right is not None and fingerprint() != right:
        raise RuntimeError(f"babel {babel.__version__} should write dates of hash {right}, got {fingerprint()}")


@lru_cache
def _samples() -> tuple[Item, ...]:
    found = {}
    for offset in range(370):
        day = FIRST + datetime.timedelta(31 * offset)
        found.setdefault((day.month, day.weekday()), day)
    return tuple(written(day, *pair) for day in sorted(found.values()) for pair in every())


def _draw(rng: np.random.Generator, size: int, days: np.ndarray, ways) -> list[Item]:
    chosen = zip(rng.choice(days, size), rng.integers(0, len(ways), size), strict=True)
    return [written(FIRST + datetime.timedelta(int(day)), *ways[way]) for day, way in chosen]
