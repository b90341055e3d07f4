"""The five shapes of a problem with sequences, and the window that a window model looks through."""

import itertools

import matplotlib
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch

from rnncourse import doors
from rnncourse.figures.palette import STYLE, ink, tint
from rnncourse.figures.primitives import RADIUS, arrow, canvas, node, row

# name -> the steps that have an input, and those that have an answer
SHAPES = {
    "one to one": ((1,), (1,)),
    "one to many": ((1,), (1, 2, 3)),
    "many to one": ((1, 2, 3), (3,)),
    "many to many, later": ((1, 2), (3, 4)),
    "many to many, in step": ((1, 2, 3), (1, 2, 3)),
}
STEP = 0.86  # inches from one step to the next
LEVELS = {"input": 0.42, "hidden": 1.28, "output": 2.14}  # heights above the foot of a panel
PANEL = 2.86  # height of a row of panels, in inches
# for each row of panels, where the middle of each is, in inches
ROWS = (
    {"one to one": 0.72, "one to many": 2.72, "many to one": 5.52},
    {"many to many, later": 2.15, "many to many, in step": 5.52},
)


@matplotlib.rc_context(STYLE)
def sequence_shapes() -> Figure:
    """Draw the five shapes: where a sequence has inputs, and where it has answers.

    Returns:
        The figure, two rows of small unrolled networks.
    """
    fig, ax = canvas(7.0, PANEL * len(ROWS))
    for r, places in enumerate(ROWS):
        for name, middle in places.items():
            _shape(ax, middle, PANEL * (len(ROWS) - 1 - r), name)
    return fig


def _shape(ax: Axes, middle: float, foot: float, name: str) -> None:
    """One small network around its middle."""
    inputs, answers = SHAPES[name]
    steps = range(1, max(*inputs, *answers) + 1)
    xs = {t: middle + STEP * (t - (len(steps) + 1) / 2) for t in steps}
    states = {t: node(ax, (xs[t], foot + LEVELS["hidden"]), f"$h_{t}$", "hidden") for t in steps}
    for t in steps[1:]:
        arrow(ax, states[t - 1], states[t])
    for t in inputs:
        arrow(ax, node(ax, (xs[t], foot + LEVELS["input"]), f"$x_{t}$", "input"), states[t])
    for t in answers:
        arrow(ax, states[t], node(ax, (xs[t], foot + LEVELS["output"]), f"$y_{t}$", "output"))
    ax.text(middle, foot + PANEL - 0.22, name, ha="center", va="center", fontsize=13, gid="name")


@matplotlib.rc_context(STYLE)
def window_and_state(steps: int = 7, width: int = 3, lag: int = 5) -> Figure:
    """Draw what a window model and a recurrent network see of the input that an answer asks for.

    Args:
        steps: T, 4 to 7 of them; the answer is the last one's.
        width: W, the inputs in the window.
        lag: how many steps back the answer lies, outside the window.

    Returns:
        The figure: two networks one above another.

    Raises:
        ValueError: if an argument is out of range.
    """
    doors.one_of("steps", steps, range(4, 8))
    doors.one_of("width", width, range(1, steps))
    doors.one_of("lag", lag, range(width, steps))
    fig, ax = canvas(7.0, 5.5)
    xs = [1.05 + 0.9 * t for t in range(steps)]
    for foot, name in ((2.9, f"a window of {width}"), (0.1, "a state")):
        inputs = row(ax, xs, foot + LEVELS["input"], [f"$x_{t}$" for t in range(1, steps + 1)], "input")
        asked = inputs[-1 - lag]
        _halo(ax, asked.x, asked.x, asked.y, "gradient")
        if name == "a state":
            states = row(ax, xs, foot + LEVELS["hidden"], [f"$h_{t}$" for t in range(1, steps + 1)], "hidden")
            for x, h in zip(inputs, states, strict=True):
                arrow(ax, x, h)
            for before, after in itertools.pairwise(states):
                arrow(ax, before, after)
        else:
            _halo(ax, inputs[-width].x, inputs[-1].x, inputs[-1].y, "cell")
            states = [node(ax, (xs[-1], foot + LEVELS["hidden"]), f"$h_{steps}$", "hidden")]
            for x in inputs[-width:]:
                arrow(ax, x, states[0])
        arrow(ax, states[-1], node(ax, (xs[-1], foot + LEVELS["output"]), f"$y_{steps}$", "output"))
        ax.text(xs[0] - RADIUS, foot + LEVELS["output"], name, ha="left", va="center", fontsize=14, gid="name")
        below = (asked.x, asked.y + RADIUS + 0.2) if name != "a state" else None
        if below:
            ax.text(*below, "asked for", ha="center", va="bottom", fontsize=13, color=ink("gradient"), gid="name")
    return fig


def _halo(ax: Axes, left: float, right: float, y: float, kind: str) -> None:
    """A rounded ground behind nodes of one row."""
    reach = RADIUS + 0.09
    shape = {"boxstyle": "round,pad=0,rounding_size=0.2", "fc": tint(kind, 0.35), "ec": "none", "gid": "halo"}
    ax.add_patch(FancyBboxPatch((left - reach, y - reach), right - left + 2 * reach, 2 * reach, zorder=0.5, **shape))
