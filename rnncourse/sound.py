"""Piano rolls to listen to: as a Standard MIDI File, and as a short recording made of sine waves."""

import base64
import io
import wave
from typing import NamedTuple

import numpy as np

from rnncourse import doors

TICKS = 480  # of a quarter note, in a MIDI file
LONGEST = 300_000  # bytes that a page may carry for one recording, as base64


class Note(NamedTuple):
    """A note that is held.

    Attributes:
        start: the frame in which it begins.
        end: the first frame in which it sounds no more.
        pitch: its MIDI number.
    """

    start: int
    end: int
    pitch: int


def notes(roll, lowest: int) -> list[Note]:
    """The notes of a roll; frames of one pitch side by side are one long note, for a roll does not say more.

    Args:
        roll: 1 where a pitch sounds, shape (T, O).
        lowest: the MIDI number of the first row, O rows must end at 127 or below.

    Returns:
        The notes by their beginnings, and from low to high.

    Raises:
        ValueError: if the roll holds something else than 0 and 1, or a pitch is no MIDI number.
    """
    roll = np.asarray(roll)
    doors.shape("roll", roll, ("T", "O"))
    if not np.isin(roll, (0, 1)).all():
        raise ValueError("roll: expected zeros and ones")
    if not 0 <= lowest <= 128 - roll.shape[1]:
        raise ValueError(f"lowest: expected 0..{128 - roll.shape[1]} for {roll.shape[1]} rows, got {lowest}")
    edges = np.diff(np.pad(roll.astype(int), ((1, 1), (0, 0))), axis=0)
    found = []
    for row in range(roll.shape[1]):
        starts, ends = np.flatnonzero(edges[:, row] == 1), np.flatnonzero(edges[:, row] == -1)
        found += [Note(int(a), int(b), lowest + row) for a, b in zip(starts, ends, strict=True)]
    return sorted(found)


def midi(roll, lowest: int, tempo: int = 100, program: int = 19) -> bytes:
    """A roll as a Standard MIDI File of one track, a frame for a quarter note.

    Args:
        roll: 1 where a pitch sounds, shape (T, O).
        lowest: the MIDI number of the first row.
        tempo: quarters in a minute.
        program: the instrument, 0 to 127; 19 is a church organ.

    Returns:
        The file's contents.

    Raises:
        ValueError: if the roll does not fit, or a number is out of range.
    """
    doors.at_least("tempo", tempo, 4)  # slower, and a quarter has more microseconds than three bytes hold
    doors.at_least("program", program, 0)
    if program > 127:
        raise ValueError(f"program: expected 0..127, got {program}")
    events = []  # (tick, what ends before what begins, message)
    for start, end, pitch in notes(roll, lowest):
        events += [(TICKS * start, 1, bytes([0x90, pitch, 80])), (TICKS * end, 0, bytes([0x80, pitch, 0]))]
    track = b"\0\xff\x51\x03" + (60_000_000 // tempo).to_bytes(3, "big") + bytes([0, 0xC0, program])
    now = 0
    for tick, _, message in sorted(events):
        track += variable(tick - now) + message
        now = tick
    track += variable(TICKS * len(roll) - now) + b"\xff\x2f\0"
    head = b"MThd" + (6).to_bytes(4, "big") + b"".join(n.to_bytes(2, "big") for n in (0, 1, TICKS))
    return head + b"MTrk" + len(track).to_bytes(4, "big") + track


def variable(number: int) -> bytes:
    """A whole number as MIDI writes it: seven bits in a byte, the highest bit set in all but the last.

    Args:
        number: 0 to 2^28 - 1.

    Returns:
        One to four bytes.

    Raises:
        ValueError: if it is out of range.
    """
    if not 0 <= number < 1 << 28:
        raise ValueError(f"number: expected 0..{(1 << 28) - 1}, got {number}")
    found = [number & 0x7F]
    while number := number >> 7:
        found.append(0x80 | number & 0x7F)
    return bytes(reversed(found))


def wav(roll, lowest: int, tempo: int = 120, rate: int = 11025) -> bytes:
    """A roll as a recording, 16 bits, one channel: four harmonics to a note, soft at both ends.

    Args:
        roll: 1 where a pitch sounds, shape (T, O).
        lowest: the MIDI number of the first row.
        tempo: quarters in a minute.
        rate: samples in a second.

    Returns:
        The file's contents.

    Raises:
        ValueError: if the roll does not fit, or a number is out of range.
    """
    doors.at_least("tempo", tempo, 1)
    doors.at_least("rate", rate, 8000)
    frame = 60 * rate // tempo
    sound = np.zeros(frame * len(roll))
    for start, end, pitch in notes(roll, lowest):
        t = np.arange(frame * (end - start)) / rate
        turn = 2 * np.pi * 440 * 2 ** ((pitch - 69) / 12) * t
        tone = sum(np.sin(k * turn) / k**1.5 for k in range(1, 5))
        soft = np.minimum(1, np.minimum(t, t[-1] - t) / 0.03) * np.exp(-0.6 * t)
        sound[frame * start : frame * end] += soft * tone
    sound *= 0.8 / max(1e-9, np.abs(sound).max())
    with io.BytesIO() as file:
        with wave.open(file, "wb") as writer:
            writer.setparams((1, 2, rate, len(sound), "NONE", "not compressed"))
            writer.writeframes(np.round(32767 * sound).astype("<i2").tobytes())
        return file.getvalue()


def player(roll, lowest: int, name: str, tempo: int = 120) -> str:
    """HTML that plays a roll and offers it as a MIDI file; everything is in the page, nothing is fetched.

    Args:
        roll: 1 where a pitch sounds, shape (T, O).
        lowest: the MIDI number of the first row.
        name: what is heard, in words; it names the file too.
        tempo: quarters in a minute.

    Returns:
        A ``figure`` element.

    Raises:
        ValueError: if the roll does not fit, or the recording would be longer than a page should carry.
    """
    sound, score = (base64.b64encode(data).decode() for data in (wav(roll, lowest, tempo), midi(roll, lowest, tempo)))
    if len(sound) > LONGEST:
        raise ValueError(f"roll: {len(roll)} frames make {len(sound)} bytes of sound, more than {LONGEST}")
    file = "".join(c if c.isalnum() else "-" for c in name.lower()).strip("-")
    return (
        f'<figure><figcaption>{name} (<a download="{file}.mid" href="data:audio/midi;base64,{score}">MIDI</a>)'
        f'</figcaption><audio controls preload="none" aria-label="{name}" src="data:audio/wav;base64,{sound}">'
        "</audio></figure>"
    )


def play(roll, lowest: int, name: str, tempo: int = 120) -> None:
    """Put a :func:`player` under the cell; outside Jupyter, print its name.

    Args:
        roll: 1 where a pitch sounds, shape (T, O).
        lowest: the MIDI number of the first row.
        name: what is heard, in words.
        tempo: quarters in a minute.

    Raises:
        ValueError: as :func:`player`.
    """
    from IPython import get_ipython  # here, so that writing a file needs no Jupyter

    data = {"text/html": player(roll, lowest, name, tempo), "text/plain": f"Sound: {name}"}
    if shell := get_ipython():
        shell.display_pub.publish(data=data)
    else:
        print(data["text/plain"])
