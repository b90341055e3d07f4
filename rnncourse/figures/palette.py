"""Colours that mean the same thing in every figure, and the settings that every figure is drawn with."""

import matplotlib
from matplotlib.colors import to_hex, to_rgb

from rnncourse import doors

# Okabe and Ito's palette: eight colours that colour-blind readers can tell apart.
COLOURS = {
    "input": "#009E73",
    "hidden": "#0072B2",
    "cell": "#56B4E9",
    "output": "#E69F00",
    "gradient": "#D55E00",
    "uncertainty": "#CC79A7",
    "truth": "#000000",
    "reference": "#767676",
}

SMALLEST_TEXT = 11.0  # points: 15 pixels at a figure's own size, and still legible at half of it

# A white card behind every figure: it reads the same on a light page, on a dark one, and on paper.
STYLE = {
    "figure.facecolor": "white",
    "figure.figsize": (7.0, 3.6),
    "figure.dpi": 100,
    "figure.constrained_layout.w_pad": 0.1,  # inches of white around a plot
    "figure.constrained_layout.h_pad": 0.1,
    "savefig.facecolor": "white",
    "font.family": "DejaVu Sans",  # comes with matplotlib, so every machine draws the same letters
    "font.size": 12,
    "mathtext.fontset": "cm",  # the letters that the page's mathematics uses
    "axes.titlesize": 12.5,
    "axes.labelsize": 12.5,
    "xtick.labelsize": 11.5,
    "ytick.labelsize": 11.5,
    "legend.fontsize": 11.5,
    "legend.frameon": False,
    "text.color": "#1A1A1A",
    "axes.labelcolor": "#1A1A1A",
    "axes.edgecolor": "#4D4D4D",
    "xtick.color": "#4D4D4D",
    "ytick.color": "#4D4D4D",
    "xtick.labelcolor": "#1A1A1A",
    "ytick.labelcolor": "#1A1A1A",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.grid": True,
    "grid.color": "#E3E3E3",
    "grid.linewidth": 0.8,
    "lines.linewidth": 2.0,
    "lines.markersize": 6,
    "axes.prop_cycle": matplotlib.cycler(
        color=[COLOURS[kind] for kind in ("hidden", "gradient", "input", "output", "uncertainty", "cell")]
    ),
    "svg.hashsalt": "rnncourse",  # names inside an SVG are then the same in every run
    "svg.fonttype": "path",
}


def style() -> None:
    """Draw every figure that follows in the book's style."""
    matplotlib.rcParams.update(STYLE)


def tint(kind: str, strength: float = 0.16) -> str:
    """A pale version of a colour, to fill a shape with.

    Args:
        kind: a word of ``COLOURS``.
        strength: 0 is white, 1 the colour itself.

    Returns:
        The colour as "#rrggbb".

    Raises:
        ValueError: if the word is unknown.
    """
    return to_hex([1 - strength * (1 - part) for part in to_rgb(colour(kind))])


def ink(kind: str) -> str:
    """A colour darkened until letters in it read well on white (a contrast of 4.5 to 1 or more).

    Args:
        kind: a word of ``COLOURS``.

    Returns:
        The colour as "#rrggbb".

    Raises:
        ValueError: if the word is unknown.
    """
    rgb = to_rgb(colour(kind))
    while contrast(rgb) < 4.5:
        rgb = tuple(0.97 * part for part in rgb)
    return to_hex(rgb)


def contrast(rgb) -> float:
    """Contrast against white as the Web Content Accessibility Guidelines define it, 1 to 21.

    Args:
        rgb: anything that matplotlib takes for a colour.

    Returns:
        The ratio.
    """
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in to_rgb(rgb)]
    return 1.05 / (0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2] + 0.05)


def colour(kind: str) -> str:
    """A colour by its meaning.

    Args:
        kind: a word of ``COLOURS``.

    Returns:
        The colour as "#rrggbb".

    Raises:
        ValueError: if the word is unknown.
    """
    doors.one_of("kind", kind, COLOURS)
    return COLOURS[kind]
