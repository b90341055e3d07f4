"""Show a figure in a notebook together with the words that stand for it, or save it as a file."""

import base64
import io
import sys
from pathlib import Path

import matplotlib
from matplotlib.figure import Figure
from PIL import Image

from rnncourse.figures.palette import STYLE

DENSITY = 2  # picture dots for each dot of the page


def show(fig: Figure, alt: str) -> None:
    """Show a figure as the output of a cell, and close it: the last line of every plotting cell.

    The picture is a PNG at twice the page's resolution, not an SVG. nbval passes over ``image/png``,
    whose bytes may differ between two processors in a last digit, but would compare an SVG letter
    for letter; and JupyterLab shows no SVG in a notebook that it has not been told to trust. The
    words are the output's ``text/plain``, which nbval does compare; they are also in the output's
    metadata, from where the executed page takes them. Outside Jupyter only the words are printed.

    Args:
        fig: the figure.
        alt: what the figure shows, for readers who do not see it: a sentence or two.

    Raises:
        ValueError: if the description is missing or shorter than 20 characters.
    """
    from IPython import get_ipython  # here, so that drawing alone needs no Jupyter

    alt = " ".join(alt.split()) if isinstance(alt, str) else ""
    if len(alt) < 20:
        raise ValueError(f"alt: expected a description of the figure, 20 characters or more, got {alt!r}")
    # The width alone: given a height too, a narrow screen would squeeze the picture.
    words = {"alt": alt, "width": round(fig.get_figwidth() * STYLE["figure.dpi"])}
    picture = base64.b64encode(png(fig)).decode()
    data = {"image/png": picture, "text/plain": f"Figure: {alt}"}
    if shell := get_ipython():
        shell.display_pub.publish(data=data, metadata={"image/png": words})
    else:
        print(data["text/plain"])
    if "matplotlib.pyplot" in sys.modules:  # or Jupyter would show the figure a second time
        sys.modules["matplotlib.pyplot"].close(fig)


def png(fig: Figure) -> bytes:
    """The figure as a PNG of 256 colours, the same bytes for the same drawing.

    A drawing has few colours, and a palette makes the file a third of the size.

    Args:
        fig: the figure.

    Returns:
        The file's contents.
    """
    with matplotlib.rc_context(STYLE), io.BytesIO() as drawn, io.BytesIO() as file:
        fig.savefig(drawn, format="png", dpi=DENSITY * STYLE["figure.dpi"])
        Image.open(drawn).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(file, "png", optimize=True)
        return file.getvalue()


def save(fig: Figure, path: str | Path) -> None:
    """Write the figure to a file, SVG or PDF by its ending: no date in it, the same bytes for the same drawing.

    Args:
        fig: the figure.
        path: where to; its ending says the format.
    """
    dates = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
    with matplotlib.rc_context(STYLE):
        fig.savefig(path, metadata=dates.get(Path(path).suffix.lower()))
