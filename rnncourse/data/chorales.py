"""Bach's four-part chorales as piano rolls: one frame for each quarter note, one row for each pitch.

The music is Johann Sebastian Bach's (1685-1750) and in the public domain. It is read from the scores that
the package music21 10.5.1 carries (Cuthbert and Ariza; the package is under the BSD 3-Clause licence, and
distributes its scores "with the permission of the encoders"; most name Margaret Greentree as theirs).
``tools/prepare_chorales.py`` made ``chorales.txt`` from them, byte for byte: for each chorale its number in the
Bach-Werke-Verzeichnis, its part of the split, and four lines, soprano, alto, tenor and bass, a letter for each
quarter. Nothing of an edition is kept: no engraving, no words, no marks. What is quicker than a quarter is lost.

Chorales on one tune are in the same part, or a network would be tested on a melody that it knows.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np

from rnncourse import doors

LICENCE = "music: public domain; read from scores of music21 10.5.1 (BSD 3-Clause)"
SHA256 = "e6baf280ccef6c0ebf6b1a1a2b570b21ad9c2e633152f5135810d13cdae76ba4"
FILE = Path(__file__).with_name("chorales.txt")
PARTS = ("train", "valid", "test")
VOICES = ("soprano", "alto", "tenor", "bass")
LOWEST, NOTES = 36, 46  # MIDI numbers 36 to 81, C2 to A5: all that is sung
REST = 0


class Chorale(NamedTuple):
    """One chorale.

    Attributes:
        title: its number in the Bach-Werke-Verzeichnis, such as "BWV 269".
        voices: MIDI numbers, 0 for a rest, integers, shape (T, 4): soprano, alto, tenor, bass.
    """

    title: str
    voices: np.ndarray


class Rolls(NamedTuple):
    """A batch of piano rolls.

    Attributes:
        rolls: 1 where a pitch sounds, 0 where not and in padding, float32, shape (T, B, 46).
        lengths: frames of each, shape (B,).
        titles: B strings.
    """

    rolls: np.ndarray
    lengths: np.ndarray
    titles: tuple[str, ...]


def load(part: str = "train") -> tuple[Chorale, ...]:
    """The chorales of a part.

    Args:
        part: "train", "valid" (to choose settings on) or "test" (to be looked at once).

    Returns:
        The chorales, in the order of their numbers.

    Raises:
        ValueError: if there is no such part, or the file is not the one that the script made.
    """
    doors.one_of("part", part, PARTS)
    content = FILE.read_bytes().replace(b"\r\n", b"\n")
    if hashlib.sha256(content).hexdigest() != SHA256:
        raise ValueError(f"load: {FILE.name} has been changed; tools/prepare_chorales.py makes it anew")
    lines = content.decode("ascii").splitlines()
    found = []
    for head, *voices in zip(*(lines[k::5] for k in range(5)), strict=True):
        name, where = head.split()
        if where == part:
            found.append(Chorale(name.replace("bwv", "BWV "), np.stack([_pitches(line) for line in voices], axis=1)))
    return tuple(found)


def _pitches(line: str) -> np.ndarray:
    letters = np.frombuffer(line.encode("ascii"), np.uint8).astype(int)
    return np.where(letters == ord("."), REST, letters - ord("A") + LOWEST)


def roll(voices, lowest: int = LOWEST, notes: int = NOTES) -> np.ndarray:
    """A chorale as a piano roll, in which voices on one pitch are one note, :eq:`def-piano-roll`.

    Args:
        voices: MIDI numbers, 0 for a rest, shape (T, V).
        lowest: the MIDI number of the first row.
        notes: O, how many pitches there are.

    Returns:
        1 where a pitch sounds, float32, shape (T, O).

    Raises:
        ValueError: if the shape does not fit or a pitch lies outside.
    """
    voices = np.asarray(voices)
    doors.shape("voices", voices, ("T", "V"))
    frames, parts = np.nonzero(voices != REST)
    rows = voices[frames, parts] - lowest
    if rows.size and (rows.min() < 0 or rows.max() >= notes):
        raise ValueError(f"voices: expected pitches in {lowest}..{lowest + notes - 1}, or 0 for a rest")
    found = np.zeros((len(voices), notes), np.float32)
    found[frames, rows] = 1
    return found


def rolls(part: str = "train") -> Rolls:
    """The piano rolls of a part, padded to its longest.

    Args:
        part: "train", "valid" or "test".

    Returns:
        The batch.

    Raises:
        ValueError: as :func:`load`.
    """
    chorales = load(part)
    lengths = np.array([len(chorale.voices) for chorale in chorales])
    padded = np.zeros((lengths.max(), len(chorales), NOTES), np.float32)
    for b, chorale in enumerate(chorales):
        padded[: lengths[b], b] = roll(chorale.voices)
    return Rolls(padded, lengths, tuple(chorale.title for chorale in chorales))
