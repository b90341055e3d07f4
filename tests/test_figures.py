"""Figures: what is drawn, that it can be read, and how it reaches a page."""

import io
import itertools
import subprocess
import sys
from collections import Counter

import matplotlib
import nbformat
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Circle
from matplotlib.text import Text
from nbclient import NotebookClient

from rnncourse import figures, show
from rnncourse.figures import palette
from rnncourse.reference import cells, unroll

DRAWN = {  # every diagram, in every variant
    **{f"unrolled {n}": lambda n=n: figures.unrolled_graph(n) for n in range(2, 8)},
    **{f"all {n}": lambda n=n: figures.unrolled_graph(n, gradients=True, weights=True) for n in range(2, 8)},
    "window": lambda: figures.unrolled_graph(6, window=(5, 2), gradients=True, weights=True),
    "window to the start": lambda: figures.unrolled_graph(4, window=(2, 2), gradients=True),
    "cuts": lambda: figures.unrolled_graph(6, gradients=True, weights=True, cuts=(2, 4)),
    "shapes": figures.sequence_shapes,
    "gru resets": figures.gru_resets,
    "window and state": figures.window_and_state,
    "just outside": lambda: figures.window_and_state(4, 2, 2),
    "course": lambda: figures.course_map(written=[3]),
    "lstm": figures.lstm_cell,
    "lstm, back": lambda: figures.lstm_cell(backward=True),
}


def ids(fig) -> Counter:
    return Counter(artist.get_gid() for artist in fig.findobj() if artist.get_gid())


def texts(fig) -> list[Text]:
    return [text for text in fig.findobj(Text) if text.get_visible() and text.get_text().strip()]


def labels(fig) -> list[str]:
    return [text.get_text() for text in texts(fig)]


def boxes(fig):
    renderer = FigureCanvasAgg(fig).get_renderer()
    return [(text, text.get_window_extent(renderer).padded(-0.5)) for text in texts(fig)]


@pytest.mark.parametrize("steps", [2, 4, 7])
def test_an_unrolled_graph_has_its_nodes_and_forward_arrows(steps):
    found = ids(figures.unrolled_graph(steps))
    assert found["node-input"] == found["node-output"] == steps
    assert found["node-hidden"] == steps + 1  # h_0 too
    assert found["arrow-forward"] == 3 * steps
    assert found["arrow-backward"] == 0


def test_gradients_come_from_each_loss_and_each_later_state():
    fig = figures.unrolled_graph(4, backward=True)
    assert ids(fig)["arrow-backward"] == 8
    assert {r"$\ell_1$", r"$\ell_4$", "losses"} <= set(labels(fig))
    assert "$y_1$" not in labels(fig)


def test_backward_arrows_are_dashed_and_run_to_the_left():
    fig = figures.unrolled_graph(3, backward=True)
    shafts = {
        kind: fig.findobj(lambda a, kind=kind: a.get_gid() == f"arrow-{kind}") for kind in ("forward", "backward")
    }
    assert all(line.is_dashed() and line.get_color() == "#D55E00" for line in shafts["backward"])
    assert not any(line.is_dashed() for line in shafts["forward"])
    across = {kind: [np.diff(line.get_xdata())[0] for line in lines] for kind, lines in shafts.items()}
    assert max(across["backward"]) <= 0 <= min(across["forward"])


def test_names_of_gradients_and_weights():
    plain = set(labels(figures.unrolled_graph(3, backward=True)))
    named = Counter(labels(figures.unrolled_graph(3, gradients=True, weights=True)))
    gradients = {*(f"$g_{t}$" for t in (1, 2, 3)), *(f"$s_{t}$" for t in range(4))}
    gradients |= {rf"$J_{t}^{{\top}}$" for t in (1, 2, 3)}
    assert not gradients & plain
    assert all(named[name] == 1 for name in gradients)
    assert [named[name] for name in ("$W_x$", "$W_h$", "$W_y$")] == [3, 3, 3]


def test_a_window_reaches_back_over_so_many_jacobians_and_no_further():
    fig = figures.unrolled_graph(6, window=(5, 2), gradients=True)
    assert {name for name in labels(fig) if name.startswith(("$g", "$J"))} == {
        "$g_5$",
        r"$J_5^{\top}$",
        r"$J_4^{\top}$",
    }
    assert ids(fig)["arrow-backward"] == 3
    assert ids(fig)["window"] == ids(fig)["cut"] == 1
    (band,) = fig.findobj(lambda a: a.get_gid() == "window")
    inside = [node.center[0] for node in fig.findobj(Circle) if node.get_gid() == "node-hidden"]
    left, right = band.get_path().get_extents().intervalx
    assert [left < x < right for x in inside] == [False, False, False, True, True, True, False]
    assert ids(figures.unrolled_graph(4, window=(2, 2)))["cut"] == 0  # it reaches the start: nothing is cut


def test_cuts_stop_gradients_and_let_states_pass():
    found = ids(figures.unrolled_graph(6, backward=True, cuts=(2, 4)))
    assert found["cut"] == found["scissors"] == 2
    assert found["arrow-backward"] == 12 - 2
    assert found["arrow-forward"] == 18
    names = labels(figures.unrolled_graph(6, gradients=True, cuts=(2, 4)))
    assert r"$J_4^{\top}$" in names
    assert r"$J_3^{\top}$" not in names
    # The line of a cut stands where W_h would be written.
    assert labels(figures.unrolled_graph(6, weights=True, cuts=(2, 4))).count("$W_h$") == 4


@pytest.mark.parametrize(
    "arguments",
    [
        {"steps": 1},
        {"steps": 8},
        {"window": (5, 1)},
        {"window": (2, 3)},
        {"window": (0, 0)},
        {"window": (3, -1)},
        {"cuts": (4,)},
        {"cuts": (0,)},
    ],
)
def test_unrolled_graph_refuses_what_it_cannot_draw(arguments):
    with pytest.raises(ValueError, match=next(iter(arguments))):
        figures.unrolled_graph(**{"steps": 4, **arguments})
    with pytest.raises(ValueError, match="window, cuts"):
        figures.unrolled_graph(4, window=(3, 1), cuts=(2,))


def test_the_five_shapes_have_inputs_and_answers_where_they_say():
    found = ids(figures.sequence_shapes())
    steps = [max(*inputs, *answers) for inputs, answers in figures.SHAPES.values()]
    assert len(steps) == 5
    assert found["node-hidden"] == sum(steps)
    assert found["node-input"] == sum(len(inputs) for inputs, _ in figures.SHAPES.values())
    assert found["node-output"] == sum(len(answers) for _, answers in figures.SHAPES.values())
    within = sum(steps) - len(steps)
    assert found["arrow-forward"] == found["node-input"] + found["node-output"] + within


def test_a_window_sees_as_many_inputs_as_it_is_wide():
    found = ids(figures.window_and_state(7, width=3, lag=5))
    assert found["arrow-forward"] == (3 + 1) + (7 + 6 + 1)
    for arguments in ({"steps": 8}, {"width": 0}, {"lag": 7}):
        with pytest.raises(ValueError, match=next(iter(arguments))):
            figures.window_and_state(**arguments)


@pytest.mark.parametrize("name", DRAWN)
def test_no_two_texts_of_a_diagram_overlap_and_none_leaves_it(name):
    fig = DRAWN[name]()
    for (one, a), (other, b) in itertools.combinations(boxes(fig), 2):
        assert not a.overlaps(b), (one.get_text(), other.get_text())
    for text, box in boxes(fig):
        assert fig.bbox.x0 <= box.x0 and box.x1 <= fig.bbox.x1, text.get_text()
        assert fig.bbox.y0 <= box.y0 and box.y1 <= fig.bbox.y1, text.get_text()


@pytest.mark.parametrize("name", [name for name in DRAWN if name != "course"])
def test_labels_keep_off_the_nodes(name):
    fig = DRAWN[name]()
    scale = fig.dpi
    for text, box in boxes(fig):
        for circle in fig.findobj(Circle):
            (x, y), reach = np.multiply(circle.center, scale), circle.radius * scale
            nearest = np.clip(x, box.x0, box.x1) - x, np.clip(y, box.y0, box.y1) - y
            inside = text.get_gid() == "letter" and box.contains(x, y)
            assert inside or np.hypot(*nearest) > reach, text.get_text()


def plots() -> Figure:
    figures.style()
    fig, panels = figures.axes(columns=2, xlabel="updates", ylabel="error")
    figures.spread(panels[0], range(5), np.eye(3, 5), "gradient", label="through time")
    figures.baseline(panels[0], 1.0, "always answer 0")
    figures.grid_of_pairs(panels[1], np.tri(6))
    panels[1].set_title("full")
    FigureCanvasAgg(fig).draw()  # the numbers on the axes come into being only now
    assert "4" in labels(fig)
    return fig


@pytest.mark.parametrize("draw", [*DRAWN.values(), plots], ids=[*DRAWN, "plots"])
def test_every_text_is_large_enough_and_dark_enough(draw):
    fig = draw()
    for text in texts(fig):
        assert text.get_fontsize() >= figures.SMALLEST_TEXT, text.get_text()
        assert text.get_color() == "white" or palette.contrast(text.get_color()) >= 4.5, text.get_text()


def test_diagrams_look_the_same_whatever_the_settings():
    expected = figures.png(figures.unrolled_graph(3, gradients=True))
    with matplotlib.rc_context({"mathtext.fontset": "stix", "font.family": "serif", "figure.dpi": 60}):
        assert figures.png(figures.unrolled_graph(3, gradients=True)) == expected


def test_colours_come_from_the_table():
    assert set(figures.COLOURS) == {
        "input",
        "hidden",
        "cell",
        "output",
        "gradient",
        "uncertainty",
        "truth",
        "reference",
    }
    fig = figures.unrolled_graph(2)
    for kind, colour in (("input", "#009e73"), ("hidden", "#0072b2"), ("output", "#e69f00")):
        circles = fig.findobj(lambda a, kind=kind: a.get_gid() == f"node-{kind}")
        assert {matplotlib.colors.to_hex(circle.get_edgecolor()) for circle in circles} == {colour}


def test_ink_is_the_colour_made_legible():
    assert palette.contrast("black") == pytest.approx(21)
    assert figures.ink("hidden") == figures.COLOURS["hidden"].lower()  # dark enough as it is
    for kind in figures.COLOURS:
        assert palette.contrast(figures.ink(kind)) >= 4.5
    with pytest.raises(ValueError, match="'hidden'"):
        figures.ink("blue")


def test_two_layers_from_the_same_parts():
    fig, ax = figures.canvas(4, 3)
    lower, upper = (figures.row(ax, (1, 3), y, ("$h_1$", "$h_2$"), "hidden") for y in (0.6, 2.4))
    figures.arrow(ax, lower[0], upper[0], label="$W$")
    figures.arrow(ax, upper[1], upper[0], "backward", shift=0.1)
    up, back = (fig.findobj(lambda a, k=k: a.get_gid() == f"arrow-{k}")[0] for k in ("forward", "backward"))
    assert np.ptp(up.get_xdata()) == 0
    assert up.get_ydata()[0] == pytest.approx(0.6 + lower[0].radius + 0.04)
    assert set(np.round(back.get_ydata(), 9)) == {2.3}  # moved to its own left, which is down
    label = next(text for text in texts(fig) if text.get_text() == "$W$")
    assert label.get_position()[0] < 1  # to the left of an arrow that goes up
    with pytest.raises(ValueError, match="apart"):
        figures.arrow(ax, lower[0], lower[0])
    with pytest.raises(ValueError, match="kind"):
        figures.arrow(ax, lower[0], lower[1], "sideways")
    with pytest.raises(ValueError, match="labels"):
        figures.row(ax, (1, 2), 1, ("$x$",), "input")


def test_the_map_has_every_chapter_and_every_dependency():
    fig = figures.course_map(written=[3, 5])
    found = ids(fig)
    assert (found["card-written"], found["card-planned"], found["part"]) == (2, 16, 5)
    assert found["need"] == sum(len(chapter.needs) for chapter in figures.CHAPTERS)
    numbers = [text.get_text() for text in texts(fig) if text.get_gid() == "number"]
    assert sorted(numbers) == [f"{n:02}" for n in range(1, 19)]
    titles = {" ".join(text.get_text().split()) for text in texts(fig) if text.get_gid() == "title"}
    assert titles == {chapter.title for chapter in figures.CHAPTERS}
    with pytest.raises(ValueError, match=r"written.*\[19\]"):
        figures.course_map(written=[3, 19])


@pytest.mark.parametrize(("written", "explained"), [([3], True), (range(1, 19), False)])
def test_the_map_explains_its_colours_where_there_are_two(written, explained):
    words = {text.get_text() for text in texts(figures.course_map(written))}
    assert ("planned" in words) == explained == ("to read now" in words)


def test_the_chapters_are_in_order_and_build_on_earlier_ones():
    assert [chapter.number for chapter in figures.CHAPTERS] == list(range(1, 19))
    assert {chapter.part for chapter in figures.CHAPTERS} == set(figures.PARTS)
    assert all(need < chapter.number for chapter in figures.CHAPTERS for need in chapter.needs)
    assert [chapter.number for chapter in figures.CHAPTERS if not chapter.needs] == [1]


@pytest.mark.parametrize("written", [(), range(1, 19)], ids=["planned", "written"])
def test_the_arrows_of_the_map_run_between_cards_not_through_them(written):
    fig = figures.course_map(written)
    cards = fig.findobj(lambda a: str(a.get_gid()).startswith("card"))
    inner = [card.get_window_extent().padded(-1) for card in cards]
    for wire in fig.findobj(lambda a: a.get_gid() == "need"):
        points = wire.get_transform().transform_path(wire.get_path()).interpolated(40).vertices
        for box in inner:
            assert not any(box.contains(*point) for point in points)
    for text, box in boxes(fig):  # and each title stands in its card
        if text.get_gid() == "title":
            assert any(card.x0 < box.x0 and box.x1 < card.x1 - 3 for card in inner), text.get_text()


def test_the_arrows_of_the_map_run_apart_unless_they_start_together():
    runs = []  # (where the arrow starts, x, lower end, upper end) of each vertical run
    for wire in figures.course_map().findobj(lambda a: a.get_gid() == "need"):
        points = np.round(wire.get_path().vertices, 6)
        for a, b in itertools.pairwise(points):
            if a[0] == b[0] and abs(a[1] - b[1]) > 0.1:
                runs.append((tuple(points[0]), a[0], min(a[1], b[1]), max(a[1], b[1])))
    assert len(runs) > 10
    for (start, x, low, high), (other, u, down, up) in itertools.combinations(runs, 2):
        if start == other:
            assert x == u
        elif low <= up and down <= high:
            assert abs(x - u) > 0.09


def test_spread_shows_each_seed_faintly_and_the_median_clearly():
    _, ax = figures.axes()
    curves = np.array([[1.0, 2.0], [3.0, 5.0], [9.0, 4.0]])
    figures.spread(ax, [0, 1], curves, "gradient", label="mine")
    *seeds, median = ax.get_lines()
    assert len(seeds) == 3
    np.testing.assert_array_equal(median.get_ydata(), [3.0, 4.0])
    assert all(line.get_alpha() < 0.5 and line.get_linewidth() < median.get_linewidth() for line in seeds)
    assert {line.get_color() for line in ax.get_lines()} == {figures.COLOURS["gradient"]}
    (name,) = ax.texts
    assert (name.get_text(), tuple(name.xy)) == ("mine", (1, 4.0))
    with pytest.raises(ValueError, match="curves"):
        figures.spread(ax, [0, 1, 2], curves, "gradient")
    with pytest.raises(ValueError, match="kind"):
        figures.spread(ax, [0, 1], curves, "red")


@pytest.mark.parametrize("side", ["left", "right"])
def test_a_baseline_carries_its_name_and_no_other_line_style_means_flow(side):
    fig, ax = figures.axes()
    ax.plot([0, 10], [0.0, 4.0])
    figures.baseline(ax, 2.0, "chance", side=side)
    line = ax.get_lines()[-1]
    assert (set(line.get_ydata()), line.get_linestyle()) == ({2.0}, ":")
    fig.canvas.draw()
    (name,) = ax.texts
    box, frame = name.get_window_extent(), ax.get_window_extent()
    assert name.get_text() == "chance"
    assert box.y0 > ax.transData.transform((0, 2.0))[1]  # on the line
    assert frame.x0 <= box.x0 and box.x1 <= frame.x1  # and in the plot
    assert (box.x0 + box.x1 < frame.x0 + frame.x1) == (side == "left")
    with pytest.raises(ValueError, match="value"):
        figures.baseline(ax, np.nan, "chance")


def test_a_grid_of_pairs_tells_counted_dropped_and_impossible_apart():
    _, ax = figures.axes()
    figures.grid_of_pairs(ax, np.tri(5, dtype=bool) & ~np.tri(5, k=-3, dtype=bool))
    (mesh,) = ax.collections
    shades = np.ma.filled(mesh.get_array(), np.nan)
    assert np.isnan(shades[np.triu_indices(5, 1)]).all()
    assert (np.nansum(shades), np.nansum(shades == 0)) == (5 + 4 + 3, 3)
    assert ax.yaxis_inverted()  # the first loss on top, as in a matrix
    with pytest.raises(ValueError, match="diagonal"):
        figures.grid_of_pairs(ax, np.ones((3, 3)))
    with pytest.raises(ValueError, match="shape"):
        figures.grid_of_pairs(ax, np.ones((3, 2)))


def test_grid_lines_run_under_a_picture():
    fig, ax = figures.axes()
    ax.imshow(np.ones((4, 4)), cmap="gray", vmin=0, vmax=2)
    pixels = matplotlib.image.imread(io.BytesIO(figures.png(fig)))
    box = ax.get_window_extent(FigureCanvasAgg(fig).get_renderer())
    x, y = round(box.x0 + box.x1), round(720 - box.y0 - box.y1)  # the centre, at two dots for one
    around = pixels[y - 200 : y + 200, x - 200 : x + 200, :3]
    assert np.ptp(around) == 0 and around[0, 0, 0] == pytest.approx(0.5, abs=0.01)


def test_axes_label_the_outer_panels_only():
    _, panels = figures.axes(2, 3, xlabel="x", ylabel="y")
    assert [[ax.get_xlabel() for ax in row] for row in panels] == [[""] * 3, ["x"] * 3]
    assert [[ax.get_ylabel() for ax in row] for row in panels] == [["y", "", ""]] * 2
    assert figures.axes()[1].get_figure() is not None


@pytest.mark.parametrize("alt", ["", "   ", "too short", " x" * 9, None])
def test_show_refuses_a_figure_without_words(alt):
    with pytest.raises(ValueError, match="alt"):
        figures.show(figures.unrolled_graph(2), alt=alt)


def test_show_outside_jupyter_prints_the_words(capsys):
    assert figures.show(figures.unrolled_graph(2), alt="Two states in a row,\n  inputs below.") is None
    assert capsys.readouterr().out == "Figure: Two states in a row, inputs below.\n"


def test_what_reaches_a_notebook():
    cell = """
        import matplotlib.pyplot as plt
        from rnncourse import figures, show
        fig, ax = plt.subplots(figsize=(5, 3))
        figures.show(fig, alt="A plot on which there is nothing to see.")
        show.source(show.without_docstrings)
    """
    cells_ = [nbformat.v4.new_code_cell("\n".join(line.strip() for line in cell.strip().splitlines()))]
    notebook = NotebookClient(nbformat.v4.new_notebook(cells=cells_), kernel_name="python3").execute()
    picture, code = notebook.cells[0].outputs  # the figure once: closed, so not shown again
    # nbval compares every kind of data but image/png: there may be no other picture.
    assert set(picture.data) == {"image/png", "text/plain"}
    assert picture.data["image/png"].startswith("iVBORw0KGgo")
    assert picture.data["text/plain"] == "Figure: A plot on which there is nothing to see."
    assert picture.metadata == {"image/png": {"alt": "A plot on which there is nothing to see.", "width": 500}}
    assert code.data["text/markdown"].startswith("```python\ndef without_docstrings(")


def test_pictures_are_twice_as_dense_as_the_page_and_on_white():
    pixels = matplotlib.image.imread(io.BytesIO(figures.png(figures.unrolled_graph(2))))
    assert pixels.shape[:2] == (700, 1400)
    assert (pixels[0, 0] == 1).all()  # white, and not transparent


@pytest.mark.parametrize("ending", ["svg", "pdf", "png"])
def test_the_same_drawing_gives_the_same_bytes(ending, tmp_path, monkeypatch):
    for name, time in (("one", "1000000000"), ("other", "1600000000")):
        monkeypatch.setenv("SOURCE_DATE_EPOCH", time)  # what matplotlib takes for the date, if it writes one
        figures.save(figures.unrolled_graph(3, gradients=True), tmp_path / f"{name}.{ending}")
    assert (tmp_path / f"one.{ending}").read_bytes() == (tmp_path / f"other.{ending}").read_bytes()
    assert figures.png(figures.course_map()) == figures.png(figures.course_map())


def test_a_vector_drawing_stays_small(tmp_path):
    figures.save(figures.course_map(written=[3]), tmp_path / "map.svg")
    assert (tmp_path / "map.svg").stat().st_size < 150_000


def test_drawing_needs_neither_pyplot_nor_jupyter():
    code = "import sys, rnncourse.figures, rnncourse.show; print({'matplotlib.pyplot', 'IPython'} & {*sys.modules})"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "set()\n"


def test_style_is_the_one_that_figures_are_saved_in():
    with matplotlib.rc_context():
        figures.style()
        assert all(
            matplotlib.rcParams[key] == matplotlib.RcParams({key: value})[key] for key, value in figures.STYLE.items()
        )


def documented(x):
    # a comment before
    """A docstring.

    Of several lines.
    """

    def inner(y):
        """Another."""
        return y  # a comment beside

    text = """not a docstring"""
    return inner(x), text


class Described:
    """All there is to it."""


def test_source_drops_docstrings_and_keeps_everything_else():
    shown = show.source(documented).data
    assert shown == "\n".join(
        [
            "```python",
            "def documented(x):",
            "    # a comment before",
            "    def inner(y):",
            "        return y  # a comment beside",
            "",
            '    text = """not a docstring"""',
            "    return inner(x), text",
            "```",
        ]
    )


def test_source_shows_code_that_still_means_the_same():
    code = show.source(cells.rnn, unroll.forward).data.removeprefix("```python\n").removesuffix("\n```")
    assert code.startswith("def rnn(")
    assert "\n\n\ndef forward(" in code
    assert '"""' not in code
    compile(code, "shown", "exec")
    assert compile(show.source(Described).data[10:-4], "shown", "exec")  # a body must keep something


@pytest.mark.parametrize("thing", [len, 3, np.exp])
def test_source_refuses_what_has_no_python_source(thing):
    with pytest.raises(ValueError, match="Python"):
        show.source(thing)
    with pytest.raises(ValueError, match="none"):
        show.source()
