"""What diagrams are built from: a canvas measured in inches, nodes, arrows, cuts.

Solid arrows carry values forward, dashed vermilion arrows carry gradients backward. Every part has
a ``gid`` that says what it is, which an SVG keeps and which tests count.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, Polygon

from rnncourse import doors
from rnncourse.figures.palette import STYLE, colour, ink, tint

RADIUS = 0.28  # inches
LETTERS = 16  # points, inside a node
LABELS = 14  # points, beside an arrow: its indices are then 10
LINE = 1.9  # points
HEAD = (0.14, 0.13)  # length and width in inches
FORWARD = "#404040"
# kind of arrow -> colour, colour of its label, line style
ARROWS = {
    "forward": (FORWARD, "#1A1A1A", "-"),
    "backward": (colour("gradient"), ink("gradient"), (0, (3.2, 1.7))),
}


class Node(NamedTuple):
    """A drawn node, from which and to which arrows run.

    Attributes:
        x: of the centre, in inches.
        y: of the centre, in inches.
        radius: in inches.
    """

    x: float
    y: float
    radius: float


@matplotlib.rc_context(STYLE)
def canvas(width: float = 7.0, height: float = 3.5) -> tuple[Figure, Axes]:
    """An empty figure whose coordinates are inches from its lower left corner.

    Args:
        width: in inches; 7 fills the page.
        height: in inches.

    Returns:
        The figure, and axes without frame or ticks.
    """
    fig = Figure(figsize=(width, height))
    ax = fig.add_axes((0, 0, 1, 1), xlim=(0, width), ylim=(0, height))
    ax.set_axis_off()
    return fig, ax


@matplotlib.rc_context(STYLE)
def node(ax: Axes, xy: tuple[float, float], label: str, kind: str, radius: float = RADIUS) -> Node:
    """Draw a node: a circle with a letter in it.

    Args:
        ax: from ``canvas``.
        xy: the centre, in inches.
        label: what is written in it, mathtext between dollar signs.
        kind: what it stands for, a word of ``COLOURS``.
        radius: in inches.

    Returns:
        The node.

    Raises:
        ValueError: if the kind is unknown.
    """
    ax.add_patch(Circle(xy, radius, fc=tint(kind), ec=colour(kind), lw=2.2, zorder=3, gid=f"node-{kind}"))
    # The centre of a letter with an index lies left of and above the centre of its box.
    ax.text(*xy, label, ha="center", va="center_baseline", fontsize=LETTERS, zorder=4, gid="letter")
    return Node(*xy, radius)


def row(ax: Axes, xs: Sequence[float], y: float, labels: Sequence[str], kind: str) -> list[Node]:
    """Draw nodes of one kind at one height.

    Args:
        ax: from ``canvas``.
        xs: the centres, in inches.
        y: the height, in inches.
        labels: what is written in them, as many as centres.
        kind: a word of ``COLOURS``.

    Returns:
        The nodes.

    Raises:
        ValueError: if labels and centres differ in number, or the kind is unknown.
    """
    if len(labels) != len(xs):
        raise ValueError(f"labels: expected {len(xs)}, one for each centre, got {len(labels)}")
    return [node(ax, (x, y), label, kind) for x, label in zip(xs, labels, strict=True)]


@matplotlib.rc_context(STYLE)
def arrow(
    ax: Axes,
    start: Node,
    end: Node,
    kind: str = "forward",
    label: str | None = None,
    shift: float = 0.0,
    side: str = "left",
) -> None:
    """Draw a straight arrow from the rim of one node to the rim of another.

    Args:
        ax: from ``canvas``.
        start: where it begins.
        end: where it points.
        kind: "forward" (solid) or "backward" (dashed, vermilion).
        label: written beside its middle; none unless given.
        shift: inches to move it to its own left, so that two arrows can run side by side.
        side: the side of the label, "left" or "right" as the arrow travels.

    Raises:
        ValueError: if the kind or side is unknown, or the nodes touch.
    """
    doors.one_of("kind", kind, ARROWS)
    doors.one_of("side", side, ("left", "right"))
    line, letters, dashes = ARROWS[kind]
    tail, head, left = _rims(start, end, shift)
    shaft = head_at(ax, tail, head, line)
    look = {"color": line, "lw": LINE, "ls": dashes, "solid_capstyle": "butt"}
    ax.plot(*zip(tail, shaft, strict=True), **look, zorder=2, gid=f"arrow-{kind}")
    if label:
        away = left if side == "left" else (-left[0], -left[1])
        middle = [(a + b) / 2 + 0.07 * n for a, b, n in zip(tail, head, away, strict=True)]
        ax.text(*middle, label, **_beside(away), fontsize=LABELS, color=letters, zorder=4, gid="label")


def cut(ax: Axes, x: float, bottom: float, top: float) -> None:
    """Mark where gradients are cut off: a dash-dotted vertical line with scissors at its top.

    Args:
        ax: from ``canvas``.
        x: where, in inches.
        bottom: the lower end, in inches.
        top: the upper end, in inches.
    """
    ax.plot([x, x], [bottom, top], color=FORWARD, lw=1.4, ls=(0, (6, 2, 1, 2)), zorder=1, gid="cut")
    ax.text(x, top, "\u2702", rotation=-90, ha="center", va="bottom", fontsize=17, color=FORWARD, gid="scissors")


def _rims(start: Node, end: Node, shift: float):
    """The two ends of an arrow that stops short of its nodes, and the direction to its left."""
    length = math.hypot(end.x - start.x, end.y - start.y)
    gaps = [math.sqrt(max(one.radius**2 - shift**2, 0)) + 0.04 for one in (start, end)]
    if length <= sum(gaps):
        raise ValueError(f"start, end: expected nodes apart from each other, got centres {length:.2f} inches apart")
    along = ((end.x - start.x) / length, (end.y - start.y) / length)
    left = (-along[1], along[0])
    tail = tuple(c + gaps[0] * a + shift * n for c, a, n in zip((start.x, start.y), along, left, strict=True))
    head = tuple(c - gaps[1] * a + shift * n for c, a, n in zip((end.x, end.y), along, left, strict=True))
    return tail, head, left


def head_at(ax: Axes, tail, tip, line: str, size: tuple[float, float] = HEAD) -> tuple[float, float]:
    """Draw the solid head of an arrow; its shaft stays apart, so that dashes do not fray the head.

    Args:
        ax: from ``canvas``.
        tail: where the arrow comes from, in inches.
        tip: where it points, in inches.
        line: its colour.
        size: length and width of the head, in inches.

    Returns:
        Where the shaft ends.
    """
    length = math.hypot(tip[0] - tail[0], tip[1] - tail[1])
    x, y = ((tip[0] - tail[0]) / length, (tip[1] - tail[1]) / length)
    back = (tip[0] - size[0] * x, tip[1] - size[0] * y)
    corners = [(back[0] - side * y, back[1] + side * x) for side in (size[1] / 2, -size[1] / 2)]
    ax.add_patch(Polygon([tip, *corners], fc=line, ec="none", zorder=2, gid="head"))
    return (tip[0] - 0.8 * size[0] * x, tip[1] - 0.8 * size[0] * y)


def _beside(away) -> dict:
    """How a label is aligned so that it grows away from its arrow."""
    x, y = away
    across = "left" if x > 0.4 else "right" if x < -0.4 else "center"
    up = "bottom" if y > 0.4 else "top" if y < -0.4 else "center"
    return {"ha": across, "va": up}
