"""The LSTM cell as a diagram: the memory runs along the top, the gates stand below it."""

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from rnncourse.figures.palette import STYLE
from rnncourse.figures.primitives import Node, arrow, canvas, node

SMALL = 0.19  # inches, the radius of an operation
BESIDE = 0.1  # inches from the middle line to an arrow, where a forward and a backward one run side by side
# name -> where, in inches; what is written; what kind of thing it is
PLACES = {
    "c before": ((0.6, 3.75), "$c_{t-1}$", "cell"),
    "c": ((6.4, 3.75), "$c_t$", "cell"),
    "h before": ((0.6, 1.05), "$h_{t-1}$", "hidden"),
    "h": ((6.4, 0.55), "$h_t$", "hidden"),
    "x": ((1.7, 0.45), "$x_t$", "input"),
    "a": ((3.6, 0.5), "$a_t$", "reference"),
    "f": ((1.8, 1.75), "$f_t$", "output"),
    "i": ((3.0, 1.75), "$i_t$", "output"),
    "candidate": ((4.2, 1.75), r"$\tilde{c}_t$", "reference"),
    "o": ((5.4, 1.75), "$o_t$", "output"),
}
OPERATIONS = {
    "keep": ((1.8, 3.75), r"$\times$"),
    "add": ((3.6, 3.75), "$+$"),
    "write": ((3.6, 2.75), r"$\times$"),
    "show": ((6.4, 2.3), r"$\times$"),
}
# from, to, label, its side: values
WIRES = [
    *[("x", "a", "$W_x$", "right"), ("h before", "a", "$W_h$", "left")],
    *[("a", gate, None, "left") for gate in ("f", "i", "candidate", "o")],
    *[("f", "keep", None, "left"), ("i", "write", None, "left"), ("candidate", "write", None, "left")],
    *[("write", "add", None, "left"), ("o", "show", None, "left")],
]
# the same along the memory, where gradients run back beside them
MEMORY = [("c before", "keep"), ("keep", "add"), ("add", "c"), ("c", "show"), ("show", "h")]
NAMES = {("c", "show"): r"$\tanh$"}
PULLS = {("c before", "keep"): r"$\odot f_t$", ("show", "h"): "$s_t$", ("add", "c"): "$s^c_t$"}


@matplotlib.rc_context(STYLE)
def lstm_cell(backward: bool = False) -> Figure:
    """Draw one step of the LSTM: what is kept, what is written, what is shown.

    Args:
        backward: draw the way back that no gate's weights touch, dashed: from h_t and c_t to c_{t-1}.

    Returns:
        The figure.
    """
    fig, ax = canvas(7.0, 4.3)
    nodes = {name: node(ax, xy, letter, kind) for name, (xy, letter, kind) in PLACES.items()}
    nodes |= {name: node(ax, xy, sign, "truth", SMALL) for name, (xy, sign) in OPERATIONS.items()}
    for start, end, label, side in WIRES:
        arrow(ax, nodes[start], nodes[end], label=label, side=side)
    for start, end in MEMORY:
        _both_ways(ax, nodes[start], nodes[end], NAMES.get((start, end)), backward, PULLS.get((start, end)))
    for gate, name in (("f", "keep"), ("i", "write"), ("o", "show")):
        x, y, radius = nodes[gate]
        ax.text(x - radius - 0.06, y + 0.02, name, ha="right", va="center", fontsize=12, gid="name")
    return fig


def _both_ways(ax: Axes, start: Node, end: Node, name: str | None, backward: bool, pull: str | None) -> None:
    """A value's arrow, and beside it that of the gradient which comes back."""
    arrow(ax, start, end, label=name, shift=BESIDE if backward else 0.0)
    if backward:
        arrow(ax, end, start, "backward", pull, BESIDE)
