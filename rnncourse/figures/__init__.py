"""The drawing habits that all chapters share: one palette, one style, one way to show a picture.

A chapter calls ``figures.style()`` once and ends each plotting cell with ``figures.show(fig, alt=...)``.
Diagrams are built from ``node``, ``row`` and ``arrow`` on a ``canvas`` measured in inches.
"""

from rnncourse.figures.course import CHAPTERS, PARTS, course_map
from rnncourse.figures.curves import axes, baseline, grid_of_pairs, spread
from rnncourse.figures.display import png, save, show
from rnncourse.figures.gates import lstm_cell
from rnncourse.figures.gru import gru_resets
from rnncourse.figures.palette import COLOURS, SMALLEST_TEXT, STYLE, ink, style, tint
from rnncourse.figures.piano_roll import piano_rolls
from rnncourse.figures.primitives import Node, arrow, canvas, cut, node, row
from rnncourse.figures.shapes import SHAPES, sequence_shapes, window_and_state
from rnncourse.figures.unrolled import unrolled_graph

__all__ = [
    "CHAPTERS",
    "COLOURS",
    "PARTS",
    "SHAPES",
    "SMALLEST_TEXT",
    "STYLE",
    "Node",
    "arrow",
    "axes",
    "baseline",
    "canvas",
    "course_map",
    "cut",
    "grid_of_pairs",
    "gru_resets",
    "ink",
    "lstm_cell",
    "node",
    "piano_rolls",
    "png",
    "row",
    "save",
    "sequence_shapes",
    "show",
    "spread",
    "style",
    "tint",
    "unrolled_graph",
    "window_and_state",
]
