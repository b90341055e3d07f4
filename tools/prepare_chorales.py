"""Write ``rnncourse/data/chorales.txt``: Bach's four-part chorales, one pitch for each voice and quarter note.

The scores are those of the package music21, exactly version 10.5.1, which takes about a minute to read them::

    python -m venv prep && prep/bin/python -m pip install music21==10.5.1
    prep/bin/python tools/prepare_chorales.py

Kept are the scores with four parts named Soprano, Alto, Tenor and Bass, each once. (Three scores without names
are left out: they are encodings under a copyright of their own, of chorales that are there already.) Each voice is
looked at on every quarter note: what sounds there, held or struck, is written as one letter, a rest as a dot.
Quicker notes between the beats are lost, as is whether a note is struck again. Repeats are not written out.

Chorales on one tune stay together. Two sopranos are taken to be one tune where they share a run of twelve steps
up or down, in semitones, repeated notes taken as one, anywhere and in whatever key; and so is whatever is tied
to a tune by way of a third chorale. (By how they begin is not enough: verses and variants begin differently.)
Tunes are put in the order of the SHA-256 of the first chorale's name; the first 80 of a hundred chorales are for
training, the next ten for validation, the rest for the test.
"""

import argparse
import hashlib
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path

MUSIC21 = "10.5.1"
VOICES = ["Soprano", "Alto", "Tenor", "Bass"]
RUN = 12  # steps of the soprano that two chorales on one tune share
SHARES = {"train": 0.8, "valid": 0.9, "test": 1.0}  # where each part ends
LOWEST, FIRST_LETTER = 36, "A"  # the pitch C2, two octaves below middle C, is written as A
TARGET = Path(__file__).resolve().parent.parent / "rnncourse" / "data" / "chorales.txt"


def scores():
    """The name and the four voices of every score that is kept; a voice is (start, end, pitch) for each note."""
    from music21 import corpus

    for path in sorted(corpus.getComposer("bach"), key=lambda path: path.name):
        parts = list(corpus.parse(path).parts)
        if [part.partName for part in parts] == VOICES:
            yield path.name.split(".mxl")[0].split(".xml")[0], [notes(part) for part in parts]


def notes(part) -> list[tuple[float, float, int]]:
    """The notes of a part in quarters from the beginning; no chords, no ornaments without length."""
    found = [note for note in part.flatten().notes if note.quarterLength > 0]
    assert all(note.isNote for note in found), "a chord within one voice"
    return [(float(note.offset), float(note.offset + note.quarterLength), note.pitch.midi) for note in found]


def grid(voice, length: int) -> str:
    """What sounds at each quarter."""
    line = ["."] * length
    for start, end, pitch in voice:
        for beat in range(length):
            if start <= beat < end:
                line[beat] = chr(ord(FIRST_LETTER) + pitch - LOWEST)
    return "".join(line)


def runs(line: str) -> set[tuple[int, ...]]:
    """All runs of steps of a soprano as it is written in the file."""
    pitches = [ord(letter) for letter in line if letter != "."]
    steps = [b - a for a, b in pairwise(pitches) if a != b]
    return {tuple(steps[k : k + RUN]) for k in range(max(1, len(steps) - RUN + 1))}


def tunes(chorales: list[tuple]) -> list[list[tuple]]:
    """Chorales (name, soprano, ...) in groups of one tune."""
    groups: list[tuple[set, list]] = []
    for chorale in chorales:
        known, members = runs(chorale[1]), [chorale]
        for group in [group for group in groups if group[0] & known]:
            groups.remove(group)
            known, members = known | group[0], group[1] + members
        groups.append((known, members))
    return [members for _, members in groups]


def split(groups: list[list[tuple]]) -> list[tuple]:
    """Every chorale with its part in front."""
    groups = sorted(groups, key=lambda members: hashlib.sha256(min(members)[0].encode()).hexdigest())
    total, before, found = sum(map(len, groups)), 0, []
    for members in groups:
        part = next(part for part, end in SHARES.items() if before < end * total)
        found += [(part, *chorale) for chorale in members]
        before += len(members)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=TARGET, help="where to write")
    given = parser.parse_args()
    if version("music21") != MUSIC21:
        parser.error(f"music21 {MUSIC21} is wanted, {version('music21')} is here")
    chorales = {}  # by their voices, so that one that stands there twice is taken once
    for name, voices in scores():
        length = round(max(end for voice in voices for _, end, _ in voice))
        chorales.setdefault(tuple(grid(voice, length) for voice in voices), name)
    groups = tunes([(name, *lines) for lines, name in chorales.items()])
    chunks = split(groups)
    order = {part: k for k, part in enumerate(SHARES)}
    chunks.sort(key=lambda chunk: (order[chunk[0]], [int(n) if n.isdigit() else n for n in parted(chunk[1])]))
    content = "".join(f"{name} {part}\n" + "".join(f"{line}\n" for line in lines) for part, name, *lines in chunks)
    given.out.write_bytes(content.encode("ascii"))
    counts = {part: sum(chunk[0] == part for chunk in chunks) for part in SHARES}
    print(f"{len(chunks)} chorales on {len(groups)} tunes, at most {max(map(len, groups))} on one")
    print(f"{counts}, {len(content)} bytes")
    print(f"SHA-256 {hashlib.sha256(content.encode()).hexdigest()}")


def parted(name: str) -> list[str]:
    """A name in letters and numbers, so that 10 comes after 9."""
    return "".join(c if c.isdigit() else f" {c} " for c in name).split()


if __name__ == "__main__":
    main()
