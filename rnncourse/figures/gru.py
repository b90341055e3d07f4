"""The GRU as a diagram, with its reset before the recurrent product or after it."""

import itertools

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnncourse.figures.palette import STYLE
from rnncourse.figures.primitives import Node, arrow, canvas, node

LARGE = 0.36  # radius of a node with a long label, in inches
PANEL = 2.2  # height of one form, in inches
# the two nodes between the old state and the candidate: label and kind, in the order of the path
PATHS = {
    "reset before": ((r"$\odot \, r_t$", "output"), ("$W_{nh}$", "reference")),
    "reset after": (("$W_{nh}$", "reference"), (r"$\odot \, r_t$", "output")),
}


@matplotlib.rc_context(STYLE)
def gru_resets() -> Figure:
    """Draw both ways to reset: what lies between the old state and the candidate, and in which order.

    Returns:
        The figure, the reset before the product above the reset after it.
    """
    fig, ax = canvas(7.0, PANEL * len(PATHS))
    for k, name in enumerate(PATHS):
        _form(ax, PANEL * (len(PATHS) - 1 - k), name)
    return fig


def _form(ax: Axes, foot: float, name: str) -> None:
    """One form: the straight way along the bottom, the way through the candidate above it."""
    low, high = foot + 0.5, foot + 1.6
    before = node(ax, (0.6, low), "$h_{t-1}$", "hidden", LARGE)
    after = node(ax, (6.4, low), "$h_t$", "hidden", LARGE)
    path = [node(ax, (x, high), *one, LARGE) for x, one in zip((1.75, 3.0), PATHS[name], strict=True)]
    candidate = node(ax, (4.3, high), "$n_t$", "hidden", LARGE)
    heard = node(ax, (6.4, high), "$x_t$", "input", LARGE)
    _chain(ax, [before, *path, candidate])
    arrow(ax, heard, candidate, label="$W_{nx}$", side="right")
    arrow(ax, candidate, after, label=r"$1 - z_t$", side="right")
    arrow(ax, before, after, label="$z_t$")
    ax.text(0.2, high + 0.3, name.replace(" ", "\n"), ha="left", va="center", fontsize=13, gid="name")


def _chain(ax: Axes, nodes: list[Node]) -> None:
    for start, end in itertools.pairwise(nodes):
        arrow(ax, start, end)
