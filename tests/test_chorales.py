"""The chorales are those that the script made, no tune lies in two parts, and rolls show what is sung."""

from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from rnncourse.data import chorales
from tools import prepare_chorales as script

EVERY = [(part, chorale) for part in chorales.PARTS for chorale in chorales.load(part)]


def test_what_there_is():
    assert [sum(part == one for part, _ in EVERY) for one in chorales.PARTS] == [294, 35, 34]
    assert len({chorale.title for _, chorale in EVERY}) == len(EVERY)
    sung = np.concatenate([chorale.voices for _, chorale in EVERY])
    assert sung[sung > 0].min() == chorales.LOWEST == 36
    assert sung.max() == chorales.LOWEST + chorales.NOTES - 1 == 81
    means = [sung[sung[:, k] > 0, k].mean() for k in range(4)]
    assert sorted(means, reverse=True) == means, "soprano, alto, tenor, bass"
    assert chorales.FILE.stat().st_size < 100_000


def test_a_chorale_by_hand():
    """The first beats of BWV 269, in G major and three-four time: an upbeat, a half note, and up to D."""
    [one] = [chorale for _, chorale in EVERY if chorale.title == "BWV 269"]
    assert one.voices[:5, 0].tolist() == [67, 67, 67, 74, 71]
    assert one.voices[0].tolist() == [67, 62, 59, 43]


def test_a_changed_file_is_refused(tmp_path, monkeypatch):
    content = chorales.FILE.read_bytes()
    (tmp_path / "other.txt").write_bytes(content.replace(b"\n", b"\r\n"))
    monkeypatch.setattr(chorales, "FILE", tmp_path / "other.txt")
    assert len(chorales.load("valid")) == 35, "line ends of another system do not matter"
    (tmp_path / "other.txt").write_bytes(content.replace(b"bwv2.6 ", b"bwv2.7 "))
    with pytest.raises(ValueError, match="prepare_chorales"):
        chorales.load()


def steps(voices) -> str:
    """The soprano's steps as a string, repeated notes left out; written out, not taken from the script."""
    line, found = [pitch for pitch in voices[:, 0] if pitch], []
    for before, now in pairwise(line):
        if now != before:
            found.append(chr(64 + now - before))
    return "".join(found)


def test_no_tune_in_two_parts():
    known = [steps(chorale.voices) for part, chorale in EVERY if part == "train"]
    for part, chorale in EVERY:
        line = steps(chorale.voices)
        pieces = {line[k : k + 12] for k in range(max(1, len(line) - 11))}
        shared = any(piece in tune for piece in pieces for tune in known)
        assert shared == (part == "train"), chorale.title


def test_the_split_is_the_scripts():
    lines = chorales.FILE.read_text().splitlines()
    heads = [line.split() for line in lines[::5]]
    given = [(name, *lines[5 * k + 1 : 5 * k + 5]) for k, (name, _) in enumerate(heads)]
    for order in (given, given[::-1]):
        again = {name: part for part, name, *_ in script.split(script.tunes(order))}
        assert again == dict(heads)


def test_grid_and_runs_of_the_script():
    voice = [(0, 0.5, 60), (0.5, 1, 62), (1, 3, 64), (3.5, 5, 59)]
    assert script.grid(voice, 6) == "Y]].X."  # the held note twice, nothing of the quick ones, rests as dots
    assert script.runs("YY[]") == script.runs("ZZZ\\.^") == {(2, 2)}, "keys, rests and repeats do not count"
    assert len(script.runs("YZ" * 10)) == 2 and all(len(run) == 12 for run in script.runs("YZ" * 10))


def test_tunes_are_tied_by_a_third():
    a, b = "ABDGKPVABDGKPV", "YXVRMGYXVRMGYX"
    groups = script.tunes([("a", a), ("b", b), ("both", a + b)])
    assert [sorted(name for name, _ in group) for group in groups] == [["a", "b", "both"]]
    assert len(script.tunes([("a", a), ("b", b)])) == 2


@pytest.mark.parametrize("part", chorales.PARTS)
def test_rolls(part):
    batch = chorales.rolls(part)
    found = chorales.load(part)
    assert batch.titles == tuple(chorale.title for chorale in found)
    for b, chorale in enumerate(found):
        assert batch.lengths[b] == len(chorale.voices)
        for t, pitches in enumerate(chorale.voices):
            assert set(np.flatnonzero(batch.rolls[t, b]) + 36) == {p for p in pitches if p}
        assert not batch.rolls[batch.lengths[b] :, b].any()


def test_doors():
    with pytest.raises(ValueError, match=r"^part: "):
        chorales.load("tests")
    with pytest.raises(ValueError, match=r"^voices: expected shape"):
        chorales.roll([60, 64])
    for pitch in (35, 82):
        with pytest.raises(ValueError, match=r"^voices: expected pitches"):
            chorales.roll([[60, pitch]])
    assert chorales.roll([[60, 60, 0, 36]]).sum() == 2, "two voices on one pitch are one note"


def test_the_course_needs_no_music21():
    source = Path(script.__file__).read_text(encoding="utf-8")
    assert f"music21=={script.MUSIC21}" in source and script.MUSIC21 in chorales.__doc__
