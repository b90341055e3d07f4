"""Plots of results: axes in the book's style, curves over seeds, labelled baselines, grids of pairs."""

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import ListedColormap
from matplotlib.figure import Figure

from rnncourse import doors
from rnncourse.figures.palette import STYLE, colour, ink, tint


@matplotlib.rc_context(STYLE)
def axes(
    rows: int = 1,
    columns: int = 1,
    *,
    xlabel: str = "",
    ylabel: str = "",
    size: tuple[float, float] = (7.0, 3.6),
    sharex: bool = False,
    sharey: bool = False,
):
    """A figure and its axes, labelled and laid out so that nothing overlaps.

    Args:
        rows: panels one above another.
        columns: panels side by side.
        xlabel: written under the panels of the lowest row.
        ylabel: written beside the panels of the first column.
        size: width and height in inches; a hundred dots of the page each.
        sharex: the panels have one scale of x.
        sharey: the panels have one scale of y.

    Returns:
        The figure, and one axes or an array of them, as ``matplotlib.pyplot.subplots`` gives them;
        but pyplot does not know this figure, so it is shown once, by ``show``.
    """
    fig = Figure(figsize=size, layout="constrained")
    panels = fig.subplots(rows, columns, sharex=sharex, sharey=sharey, squeeze=False)
    for ax in panels.flat:
        for axis in (ax.xaxis, ax.yaxis):
            axis.set_zorder(-1)  # grid lines run under pictures too
    for ax in panels[-1]:
        ax.set_xlabel(xlabel)
    for ax in panels[:, 0]:
        ax.set_ylabel(ylabel)
    return fig, panels[0, 0] if panels.size == 1 else panels.squeeze()


def spread(ax: Axes, x, curves, kind: str, label: str | None = None, **options) -> None:
    """Draw one curve for each seed faintly, and their median clearly, named at its right end.

    Args:
        ax: where to draw.
        x: shape (N,).
        curves: shape (S, N), a row for each of S seeds.
        kind: the colour's meaning, a word of ``COLOURS``.
        label: the name, written where the median ends; none unless given.
        options: of ``Axes.plot``, for the median (a marker, a line style).

    Raises:
        ValueError: if the shapes do not fit or the colour is unknown.
    """
    x, curves = np.asarray(x), np.asarray(curves)
    doors.shape("x", x, ("N",))
    doors.shape("curves", curves, ("S", len(x)))
    ax.plot(x, curves.T, color=colour(kind), linewidth=1.0, alpha=0.3)
    middle = np.median(curves, axis=0)
    ax.plot(x, middle, color=colour(kind), linewidth=2.6, zorder=3, label=label, **options)
    if label:
        end = {"xy": (x[-1], middle[-1]), "xytext": (7, 0), "textcoords": "offset points"}
        ax.annotate(label, **end, va="center", color=ink(kind), annotation_clip=False)


def baseline(ax: Axes, value: float, label: str, side: str = "right") -> None:
    """Draw a horizontal line to compare with, its name written on it.

    Args:
        ax: where to draw.
        value: the height of the line.
        label: its name.
        side: the end at which the name stands, "left" or "right".

    Raises:
        ValueError: if the value is not finite, the name empty or the side unknown.
    """
    doors.one_of("side", side, ("left", "right"))
    if not (np.isfinite(value) and label.strip()):
        raise ValueError(f"value, label: expected a finite number and a name, got {value!r} and {label!r}")
    # Dotted: solid and dashed mean forward and backward flow.
    ax.axhline(value, color=colour("reference"), linewidth=1.6, linestyle=":", zorder=1)
    place = {"xy": (float(side == "right"), value), "xycoords": ax.get_yaxis_transform()}
    ax.annotate(
        label, **place, xytext=(-4 if side == "right" else 4, 3), textcoords="offset points",
        ha=side, va="bottom", color=ink("reference"), annotation_clip=False,
    )  # fmt: skip


def grid_of_pairs(ax: Axes, pairs) -> None:
    """Draw which pairs (loss at step t, weights used at step tau) a gradient counts.

    Counted pairs are strong, pairs that it drops pale; a loss has no weights later than itself.

    Args:
        ax: where to draw; its own labels stay.
        pairs: booleans, shape (T, T): row t the loss, column tau the weights, both from step 1.

    Raises:
        ValueError: if the grid is not square, or counts weights later than the loss.
    """
    pairs = np.asarray(pairs, dtype=bool)
    doors.shape("pairs", pairs, (len(pairs), len(pairs)))
    if np.triu(pairs, 1).any():
        raise ValueError("pairs: expected none above the diagonal, for a loss does not depend on later steps")
    steps = len(pairs)
    shades = np.where(np.tri(steps, dtype=bool), pairs.astype(float), np.nan)
    edges = np.arange(steps + 1) + 0.5
    colours = ListedColormap([tint("gradient", 0.14), colour("gradient")])
    ax.pcolormesh(edges, edges, shades, cmap=colours, vmin=0, vmax=1, edgecolors="white", linewidth=1.2)
    some = [1, *range(-(-steps // 3), steps + 1, -(-steps // 3))] if steps > 3 else range(1, steps + 1)
    ax.set(xlim=(0.5, steps + 0.5), ylim=(steps + 0.5, 0.5), aspect="equal", xticks=some, yticks=some)
    ax.grid(False)
