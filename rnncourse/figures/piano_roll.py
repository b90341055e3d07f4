"""Piano rolls side by side: time to the right, pitch upwards, a bar for each note that is held."""

from collections.abc import Sequence

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from rnncourse.figures.curves import axes
from rnncourse.figures.palette import STYLE, colour
from rnncourse.sound import notes

OCTAVES = {36: "C2", 48: "C3", 60: "C4", 72: "C5", 84: "C6"}


@matplotlib.rc_context(STYLE)
def piano_rolls(rolls: Sequence, titles: Sequence[str], lowest: int, kinds: Sequence[str] | None = None) -> Figure:
    """Draw rolls one above another.

    Args:
        rolls: R rolls, each 0 or 1, shape (T, O).
        titles: R of them, written above.
        lowest: the MIDI number of the first row.
        kinds: R words of ``COLOURS``; "truth" for the first and "hidden" for the others unless given.

    Returns:
        The figure.

    Raises:
        ValueError: if there is no roll, the numbers of rolls, titles and kinds differ, or a roll does not fit.
    """
    kinds = ["truth"] + ["hidden"] * (len(rolls) - 1) if kinds is None else kinds
    if not len(rolls) == len(titles) == len(kinds) or not len(rolls):
        raise ValueError(f"titles: expected one title and kind for each of {len(rolls)} rolls (at least one)")
    longest = max(len(roll) for roll in rolls)
    fig, panels = axes(
        rows=len(rolls), xlabel="quarter notes", sharex=True, sharey=True, size=(7.4, 0.7 + 1.7 * len(rolls))
    )
    for ax, roll, title, kind in zip(np.atleast_1d(panels), rolls, titles, kinds, strict=True):
        for start, end, pitch in notes(roll, lowest):
            bar = Rectangle((start + 0.08, pitch - 0.5), end - start - 0.16, 1, fc=colour(kind), ec="none", gid="note")
            ax.add_patch(bar)
        ax.set(title=title, ylabel="pitch", xlim=(0, longest), xticks=range(0, longest + 1, 4))
        ax.set_yticks(list(OCTAVES), list(OCTAVES.values()))
    heights = [pitch for roll in rolls for _, _, pitch in notes(roll, lowest)] or [60]
    np.atleast_1d(panels)[0].set_ylim(min(heights) - 1.5, max(heights) + 1.5)
    return fig
