"""The unrolled recurrent network: time from left to right, inputs below, states, outputs or losses above."""

from collections.abc import Sequence

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from rnncourse import doors
from rnncourse.figures.palette import STYLE, ink, tint
from rnncourse.figures.primitives import LABELS, RADIUS, Node, arrow, canvas, cut, row

WIDTH, HEIGHT = 7.0, 3.5  # inches
LEVELS = {"input": 0.5, "hidden": 1.72, "output": 2.94}  # heights of the three rows
APART = 0.11  # inches from the middle line to an arrow, where a forward and a backward one run side by side


@matplotlib.rc_context(STYLE)
def unrolled_graph(
    steps: int = 4,
    *,
    backward: bool = False,
    gradients: bool = False,
    weights: bool = False,
    window: tuple[int, int] | None = None,
    cuts: Sequence[int] = (),
) -> Figure:
    """Draw a recurrent network unrolled over its steps.

    Args:
        steps: T, 2 to 7 of them.
        backward: draw the gradients' way back, dashed, and losses instead of outputs.
        gradients: name what travels back: g_t from the loss, through a transposed Jacobian from the
            later state, s_t where the two have met. Implies ``backward``.
        weights: write the shared weights on the forward arrows.
        window: (loss, m): draw the way back of that one loss, through at most m Jacobians.
            Implies ``backward``.
        cuts: steps after which gradients are cut off, as by chunks; states pass.

    Returns:
        The figure.

    Raises:
        ValueError: if an argument is out of range, or both ``window`` and ``cuts`` are given.
    """
    _check(steps, window, cuts)
    backward = backward or gradients or window is not None
    fig, ax = canvas(WIDTH, HEIGHT)
    rows = _nodes(ax, steps, "\\ell" if backward else "y")
    cuts = {*cuts} if window is None else {window[0] - window[1] - 1} - {-1}
    _forward(ax, *rows, APART if backward else 0.0, weights, cuts)
    if backward:
        losses, pulls = _ways_back(steps, window, cuts)
        _backward(ax, *rows[1:], losses, pulls, gradients)
    if window:
        _band(ax, rows[1][window[0] - window[1]], rows[1][window[0]])
    for after in cuts:
        cut(ax, (rows[1][after].x + rows[1][after + 1].x) / 2, 0.2, HEIGHT - 0.34)
    return fig


def _nodes(ax: Axes, steps: int, top: str):
    """The three rows; the states begin with h_0."""
    space = min(1.55, (WIDTH - 1.1) / steps)
    xs = [WIDTH / 2 + space * (t - steps / 2) for t in range(steps + 1)]
    inputs = row(ax, xs[1:], LEVELS["input"], [f"$x_{t}$" for t in range(1, steps + 1)], "input")
    states = row(ax, xs, LEVELS["hidden"], [f"$h_{t}$" for t in range(steps + 1)], "hidden")
    outputs = row(ax, xs[1:], LEVELS["output"], [f"${top}_{t}$" for t in range(1, steps + 1)], "output")
    names = {"input": "inputs", "output": "losses" if top == "\\ell" else "outputs"}
    for kind, name in names.items():
        ax.text(xs[0], LEVELS[kind], name, ha="center", va="center", fontsize=13, color=ink(kind), gid="name")
    return inputs, states, outputs


def _forward(ax: Axes, inputs, states, outputs, shift: float, weights: bool, cuts) -> None:
    W_x, W_h, W_y = ("$W_x$", "$W_h$", "$W_y$") if weights else (None, None, None)
    for x, before, h, y in zip(inputs, states[:-1], states[1:], outputs, strict=True):
        arrow(ax, x, h, label=W_x)
        crossed = before in {states[after] for after in cuts}  # the cut's line runs where the label would
        arrow(ax, before, h, label=None if crossed else W_h, shift=shift)
        arrow(ax, h, y, label=W_y, shift=shift)


def _ways_back(steps: int, window, cuts) -> tuple[range, list[int]]:
    """The losses that send a gradient, and the states t from which one goes on to t - 1."""
    if window:
        loss, reach = window
        return range(loss, loss + 1), list(range(loss, loss - reach, -1))
    return range(1, steps + 1), [t for t in range(steps, 0, -1) if t - 1 not in cuts]


def _backward(ax: Axes, states, losses, sending, pulls, named: bool) -> None:
    for t in sending:
        arrow(ax, losses[t - 1], states[t], "backward", f"$g_{t}$" if named else None, APART)
    for t in pulls:
        label = rf"$J_{t}^{{\top}}$" if named else None
        arrow(ax, states[t], states[t - 1], "backward", label, APART)
    for t in sorted({*sending, *pulls, *(t - 1 for t in pulls)}) if named else ():
        below = (states[t].x + 0.08, states[t].y - RADIUS - 0.09)
        ax.text(*below, f"$s_{t}$", ha="left", va="top", fontsize=LABELS, color=ink("gradient"), gid="label")


def _band(ax: Axes, first: Node, last: Node) -> None:
    """Shade the states that a window reaches, and the names of what arrives there."""
    bottom, top = first.y - RADIUS - 0.38, first.y + RADIUS + 0.1
    corner = (first.x - RADIUS - 0.1, bottom)
    shape = {"boxstyle": "round,pad=0,rounding_size=0.2", "fc": tint("gradient", 0.2), "ec": "none", "gid": "window"}
    ax.add_patch(FancyBboxPatch(corner, last.x - first.x + 2 * RADIUS + 0.2, top - bottom, **shape, zorder=0.5))


def _check(steps, window, cuts) -> None:
    doors.at_least("steps", steps, 2)
    if steps > 7:
        raise ValueError(f"steps: expected 7 or fewer, which a page can show, got {steps}")
    if window and cuts:
        raise ValueError("window, cuts: expected one of them, got both")
    if window and not (1 <= window[0] <= steps and 0 <= window[1] <= window[0]):
        raise ValueError(f"window: expected (loss, m) with 0 <= m <= loss and 1 <= loss <= {steps}, got {window}")
    if any(not 1 <= after < steps for after in cuts):
        raise ValueError(f"cuts: expected steps in 1..{steps - 1}, got {tuple(cuts)}")
