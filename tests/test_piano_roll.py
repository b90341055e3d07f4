"""A bar for every note, at its pitch and time."""

import numpy as np
import pytest
from test_figures import ids, labels

from rnncourse import figures, sound

ROLLS = [np.array([[1, 0, 1], [1, 0, 0], [0, 1, 0]]), np.array([[0, 0, 1], [0, 1, 1]])]


def bars(fig):
    found = fig.findobj(lambda artist: artist.get_gid() == "note")
    return {
        (round(bar.get_x() - 0.08, 6), round(bar.get_width() + 0.16, 6), round(bar.get_y() + 0.5, 6)) for bar in found
    }


def test_a_bar_for_every_note():
    fig = figures.piano_rolls(ROLLS, ["Bach", "a model"], 60)
    wanted = [(start, end - start, pitch) for roll in ROLLS for start, end, pitch in sound.notes(roll, 60)]
    assert bars(fig) == set(wanted) and ids(fig)["note"] == len(wanted) == 5
    assert {"Bach", "a model", "quarter notes"} <= set(labels(fig))
    low, high = fig.axes[0].get_ylim()
    assert low < 60 and high > 62 and fig.axes[1].get_xlim() == (0, 3)


def test_colours_tell_what_is_real():
    fig = figures.piano_rolls(ROLLS, ["Bach", "a model"], 60)
    found = [{bar.get_facecolor() for bar in ax.patches if bar.get_gid() == "note"} for ax in fig.axes]
    assert all(len(colours) == 1 for colours in found) and found[0] != found[1]


def test_one_roll_and_an_empty_one():
    assert len(figures.piano_rolls(ROLLS[:1], ["alone"], 60).axes) == 1
    assert not bars(figures.piano_rolls([np.zeros((4, 3))], ["silence"], 60))


def test_doors():
    with pytest.raises(ValueError, match=r"^titles: "):
        figures.piano_rolls(ROLLS, ["one"], 60)
    with pytest.raises(ValueError, match=r"^titles: "):
        figures.piano_rolls([], [], 60)
    with pytest.raises(ValueError, match=r"^roll: "):
        figures.piano_rolls([[[0.5]]], ["half"], 60)
