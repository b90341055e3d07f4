"""The map of the course: eighteen chapters in five parts, and what each builds on."""

import textwrap
from collections.abc import Collection
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path

from rnncourse.figures.palette import STYLE, colour
from rnncourse.figures.primitives import canvas, head_at


class Chapter(NamedTuple):
    """A chapter of the course.

    Attributes:
        number: 1 to 18.
        title: as on its page.
        part: 1 to 5.
        needs: the chapters it builds on first of all.
    """

    number: int
    title: str
    part: int
    needs: tuple[int, ...]


PARTS = {
    1: "Recurrence",
    2: "Gradients over long times",
    3: "Recurrence under uncertainty",
    4: "Generating sequences",
    5: "Use and horizon",
}

CHAPTERS = (
    Chapter(1, "Sequences", 1, ()),
    Chapter(2, "The vanilla RNN", 1, (1,)),
    Chapter(3, "Back-propagation through time", 1, (2,)),
    Chapter(4, "Language models", 1, (3,)),
    Chapter(5, "Vanishing and exploding gradients", 2, (3,)),
    Chapter(6, "Remedies", 2, (5,)),
    Chapter(7, "LSTM", 2, (6,)),
    Chapter(8, "GRU, depth, both directions", 2, (7,)),
    Chapter(9, "Linear dynamical systems", 3, (2,)),
    Chapter(10, "Extended Kalman filters for RNNs", 3, (9,)),
    Chapter(11, "HMMs are RNNs", 3, (3,)),
    Chapter(12, "Sequence to sequence", 4, (4, 7)),
    Chapter(13, "Sequence VAE with a global latent", 4, (12,)),
    Chapter(14, "State-space VAE", 4, (9, 13)),
    Chapter(15, "Pixel RNN", 4, (4,)),
    Chapter(16, "Applications", 5, (8,)),
    Chapter(17, "Recurrent networks as models of the brain", 5, (5,)),
    Chapter(18, "Fast recurrent networks", 5, (7, 9)),
)

# All in inches. Parts II and III stand side by side, for neither needs the other.
WIDTH, CARD, MARGIN = 7.0, (2.66, 0.58), 0.56
HEADING, BELOW, BETWEEN, APART = 0.42, 0.18, 0.27, 0.12
# For each part, row by row from the left, the chapters that stand there.
PLACES = {
    1: ((1, 2), (3, 4)),
    2: ((5,), (6,), (7,), (8,)),
    3: ((9,), (10,), (11,)),
    4: ((12, 13), (15, 14)),  # 14 under 13, which it builds on
    5: ((16, 18), (17,)),
}
COLUMN = {2: 0, 3: 1}  # the parts that fill one column only
BANDS = ((1,), (2, 3), (4,), (5,))  # the parts from top to bottom
ROMAN = ("I", "II", "III", "IV", "V")
LANE = 0.1  # between two arrows that run in parallel
WIRE = "#6B6B6B"
PLANNED = {"fc": "white", "ec": "#8A8A8A", "lw": 1.2, "ls": (0, (4, 2))}
WRITTEN = {"fc": colour("hidden"), "ec": colour("hidden"), "lw": 1.2}
QUIET = "#595959"  # 7 to 1 on white


class Card(NamedTuple):
    """Where a chapter stands: its part and column, and the centre of its card in inches."""

    part: int
    column: int
    x: float
    y: float


@matplotlib.rc_context(STYLE)
def course_map(written: Collection[int] = ()) -> Figure:
    """Draw the eighteen chapters in their five parts, with an arrow from each to what builds on it.

    Args:
        written: numbers of the chapters that can be read already; the others are drawn as planned.

    Returns:
        The figure, tall, for a column of text.

    Raises:
        ValueError: if a number is no chapter's.
    """
    numbers = [chapter.number for chapter in CHAPTERS]
    if not set(written) <= set(numbers):
        raise ValueError(f"written: expected chapters in 1..{len(CHAPTERS)}, got {sorted(set(written) - set(numbers))}")
    fig, ax = canvas(WIDTH, APART + sum(_height(band) + APART for band in BANDS))
    cards = _parts(ax)
    for points in _wires(cards):
        _wire(ax, points)
    for chapter in CHAPTERS:
        _card(ax, cards[chapter.number], chapter, chapter.number in written)
    if len(set(written)) < len(CHAPTERS):  # where all can be read, there is nothing to tell apart
        _key(ax, _centre(1) - CARD[0] / 2, cards[17].y)
    return fig


def _height(band) -> float:
    rows = max(len(PLACES[part]) for part in band)
    return HEADING + rows * CARD[1] + (rows - 1) * BETWEEN + BELOW


def _parts(ax: Axes) -> dict[int, Card]:
    """Draw the parts' grounds and headings from top to bottom; return where the chapters stand."""
    cards, top = {}, ax.get_ylim()[1] - APART
    for band in BANDS:
        for part in band:
            _ground(ax, part, top, _height(band))
            cards |= _places(part, top, _height(band))
        top -= _height(band) + APART
    return cards


def _centre(column: int) -> float:
    return (MARGIN, WIDTH - MARGIN - CARD[0])[column] + CARD[0] / 2


def _ground(ax: Axes, part: int, top: float, height: float) -> None:
    left = _centre(1) - CARD[0] / 2 - 0.06 if COLUMN.get(part) == 1 else 0.06
    right = _centre(0) + CARD[0] / 2 + 0.06 if COLUMN.get(part) == 0 else WIDTH - 0.06
    shape = {"boxstyle": "round,pad=0,rounding_size=0.12", "fc": "#F2F4F6", "ec": "none", "gid": "part"}
    ax.add_patch(FancyBboxPatch((left, top - height), right - left, height, zorder=0, **shape))
    heading = f"{ROMAN[part - 1]}  {PARTS[part]}"
    x = _centre(COLUMN.get(part, 0)) - CARD[0] / 2
    ax.text(x, top - HEADING / 2 - 0.01, heading, va="center", fontsize=12, color="#1A1A1A", gid="heading")


def _places(part: int, top: float, height: float) -> dict[int, Card]:
    """The cards of a part, its rows spread over its ground."""
    cards, rows = {}, PLACES[part]
    room = height - HEADING - BELOW - CARD[1]
    for r, numbers in enumerate(rows):
        y = top - HEADING - CARD[1] / 2 - room * r / (len(rows) - 1)
        for column, number in enumerate(numbers, start=COLUMN.get(part, 0)):
            cards[number] = Card(part, column, _centre(column), y)
    return cards


def _card(ax: Axes, card: Card, chapter: Chapter, written: bool) -> None:
    corner = (card.x - CARD[0] / 2, card.y - CARD[1] / 2)
    look = WRITTEN if written else PLANNED
    shape = {"boxstyle": "round,pad=0,rounding_size=0.09", "gid": "card-written" if written else "card-planned"}
    ax.add_patch(FancyBboxPatch(corner, *CARD, zorder=3, **shape, **look))
    ink = {"color": "white" if written else QUIET, "va": "center_baseline", "zorder": 4}
    ax.text(corner[0] + 0.13, card.y, f"{chapter.number:02}", fontsize=15, weight="bold", gid="number", **ink)
    title = textwrap.fill(chapter.title, 21, break_on_hyphens=False)
    ax.text(corner[0] + 0.52, card.y, title, fontsize=13, linespacing=1.15, gid="title", **ink)


def _wires(cards: dict[int, Card]) -> list[list[tuple[float, float]]]:
    """The corners of each arrow: straight between neighbours, else through one of three lanes."""
    pairs = [(cards[need], cards[chapter.number]) for chapter in CHAPTERS for need in chapter.needs]
    straight = [pair for pair in pairs if _neighbours(*pair)]
    return [_direct(*pair) for pair in straight] + _bends([pair for pair in pairs if pair not in straight])


def _neighbours(a: Card, b: Card) -> bool:
    return a.part == b.part and (a.column == b.column or a.y == b.y)


def _direct(a: Card, b: Card):
    if a.column != b.column:
        return [(a.x + CARD[0] / 2, a.y), (b.x - CARD[0] / 2 - 0.03, b.y)]
    return [(a.x, a.y - CARD[1] / 2), (b.x, b.y + CARD[1] / 2 + 0.03)]


def _bends(pairs):
    """Give each arrow the innermost lane that is free along its way, short ones first."""
    taken, wires = [], []
    for a, b in sorted(pairs, key=lambda pair: pair[0].y - pair[1].y):
        gutter = {(0, 0): "left", (1, 1): "right"}.get((a.column, b.column), "middle")
        lane = 0
        while any((gutter, lane) == place and b.y <= c.y and d.y <= a.y and a != c for place, c, d in taken):
            lane += 1
        taken.append(((gutter, lane), a, b))
        wires.append(_bend(a, b, gutter, lane))
    return wires


def _bend(a: Card, b: Card, gutter: str, lane: int):
    """Out of a card's side below its middle, along the lane, and into the other's above its middle."""
    sides = {"left": (-1, -1), "right": (1, 1)}.get(gutter, (1, -1) if a.column == 0 else (-1, 1))
    aside = 0.26 + LANE * lane
    x = {"left": MARGIN - aside, "right": WIDTH - MARGIN + aside}.get(gutter, WIDTH / 2 + LANE * (lane - 1))
    out, into = a.y - 0.14, b.y + 0.14
    return [(a.x + sides[0] * CARD[0] / 2, out), (x, out), (x, into), (b.x + sides[1] * (CARD[0] / 2 + 0.03), into)]


def _wire(ax: Axes, points) -> None:
    """Draw an arrow along its corners, which are rounded."""
    end = head_at(ax, points[-2], points[-1], WIRE, (0.12, 0.11))
    path, codes = [points[0]], [Path.MOVETO]
    for before, corner, after in zip(points, points[1:], [*points[2:-1], end], strict=False):
        path += [_toward(corner, before, 0.05), corner, _toward(corner, after, 0.05)]
        codes += [Path.LINETO, Path.CURVE3, Path.CURVE3]
    path, codes = [*path, end], [*codes, Path.LINETO]
    ax.add_patch(PathPatch(Path(path, codes), fc="none", ec=WIRE, lw=1.5, zorder=2, gid="need"))


def _toward(start, goal, distance: float):
    length = max(abs(goal[0] - start[0]), abs(goal[1] - start[1]))  # the wires run along the axes
    return tuple(s + distance * (g - s) / length for s, g in zip(start, goal, strict=True))


def _key(ax: Axes, x: float, y: float) -> None:
    """Say what the two looks mean, in the place that the last row leaves free."""
    for dy, look, word in ((0.16, WRITTEN, "to read now"), (-0.16, PLANNED, "planned")):
        corner = (x + 0.13, y + dy - 0.1)
        ax.add_patch(FancyBboxPatch(corner, 0.34, 0.2, boxstyle="round,pad=0,rounding_size=0.05", gid="key", **look))
        ax.text(x + 0.6, y + dy, word, va="center", fontsize=12.5, color="#1A1A1A", gid="name")
