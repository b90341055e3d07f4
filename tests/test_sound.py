"""What is heard: notes of a roll, a MIDI file byte by byte, a recording with the right pitches."""

import base64
import io
import re
import wave

import numpy as np
import pytest

from rnncourse import sound

ROLL = np.array([[1, 0, 1], [1, 0, 0], [0, 1, 0], [1, 1, 0]])


def test_notes():
    assert sound.notes(ROLL, 60) == [(0, 1, 62), (0, 2, 60), (2, 4, 61), (3, 4, 60)]
    assert sound.notes(np.zeros((3, 2)), 60) == [] and sound.notes(np.ones((3, 1)), 5) == [(0, 3, 5)]


def test_every_frame_can_be_told_from_the_notes():
    rng = np.random.default_rng(0)
    roll, again = (rng.random((30, 12)) < 0.4).astype(int), np.zeros((30, 12), int)
    for start, end, pitch in sound.notes(roll, 40):
        again[start:end, pitch - 40] += 1
    assert np.array_equal(again, roll)


@pytest.mark.parametrize(
    "number, bytes_",
    [(0, "00"), (0x40, "40"), (0x7F, "7f"), (0x80, "8100"), (0x2000, "c000"), (0x3FFF, "ff7f"), (0x4000, "818000"),
     (0x1FFFFF, "ffff7f"), (0x200000, "81808000"), (0xFFFFFFF, "ffffff7f")],
)  # fmt: skip
def test_numbers_as_the_midi_standard_prints_them(number, bytes_):
    assert sound.variable(number).hex() == bytes_


def test_midi_byte_by_byte():
    track = (
        "00 ff 51 03 09 27 c0"  # 600000 microseconds a quarter: 100 in a minute
        "00 c0 13"  # an organ
        "00 90 3c 50  00 90 3e 50"  # C and D at once
        "83 60 80 3e 00"  # after 480 ticks D ends
        "83 60 80 3c 00  00 90 3d 50"  # after 480 more C ends, and C sharp begins
        "83 60 90 3c 50"  # and C again
        "83 60 80 3c 00  00 80 3d 00"
        "00 ff 2f 00"
    )
    track = bytes.fromhex(track.replace(" ", ""))
    head = b"MThd\0\0\0\6\0\0\0\1\x01\xe0"
    assert sound.midi(ROLL, 60) == head + b"MTrk" + len(track).to_bytes(4, "big") + track


def test_midi_keeps_the_silence_at_the_end():
    assert sound.midi(np.zeros((2, 3)), 60)[-5:] == bytes.fromhex("8740ff2f00")


def recorded(data: bytes):
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getnchannels(), file.getsampwidth()) == (1, 2)
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 32767, file.getframerate()


def test_recording_has_the_pitch_and_the_length():
    samples, rate = recorded(sound.wav(np.ones((4, 1)), 69, tempo=60))
    assert len(samples) == 4 * rate and 0.75 < abs(samples).max() <= 0.81
    power = abs(np.fft.rfft(samples))
    assert np.argmax(power) * rate / len(samples) == pytest.approx(440, abs=0.5)
    samples, rate = recorded(sound.wav(np.array([[0, 0], [0, 1]]), 57, tempo=60))
    assert not samples[:rate].any() and samples[rate:].any(), "a rest is silent"
    peak = np.argmax(abs(np.fft.rfft(samples[rate:])))
    assert peak * rate / rate == pytest.approx(440 * 2 ** (-11 / 12), abs=1)


def test_recording_is_soft_at_its_ends_and_never_clipped():
    samples, _ = recorded(sound.wav(np.ones((2, 12)), 60))
    assert abs(samples[[0, -1]]).max() < 1e-3 and abs(samples).max() < 0.81
    assert abs(np.diff(samples)).max() < 0.8
    assert not recorded(sound.wav(np.zeros((2, 3)), 60))[0].any()


def test_the_same_bytes_each_time():
    assert sound.wav(ROLL, 60) == sound.wav(ROLL, 60) and sound.midi(ROLL, 60) == sound.midi(ROLL, 60)


def test_player_carries_everything():
    html = sound.player(ROLL, 60, "Four frames", 100)
    held = {kind: base64.b64decode(data) for kind, data in re.findall(r'data:audio/(\w+);base64,([^"]+)"', html)}
    assert held == {"wav": sound.wav(ROLL, 60, 100), "midi": sound.midi(ROLL, 60, 100)}
    assert "http" not in html and 'download="four-frames.mid"' in html and 'aria-label="Four frames"' in html
    with pytest.raises(ValueError, match=r"^roll: 60 frames make"):
        sound.player(np.ones((60, 2)), 60, "too long")


def test_play_prints_outside_jupyter(capsys):
    sound.play(ROLL, 60, "Four frames")
    assert capsys.readouterr().out == "Sound: Four frames\n"


def test_doors():
    for name, call in {
        "roll": lambda: sound.notes(0.5 * ROLL, 60),
        "lowest": lambda: sound.notes(ROLL, 126),
        "tempo": lambda: sound.midi(ROLL, 60, tempo=3),
        "program": lambda: sound.midi(ROLL, 60, program=128),
        "rate": lambda: sound.wav(ROLL, 60, rate=100),
        "number": lambda: sound.variable(1 << 28),
    }.items():
        with pytest.raises(ValueError, match=rf"^{name}: "):
            call()
