"""Pages of panels: sizes and places, captions, colour bars, and text that is shown as it is."""

import io
import subprocess
import sys

import numpy as np
import PIL.Image
import pytest
from matplotlib.figure import Figure

from homolog.cli.figures.layout import (
    BAR_HEIGHT,
    CAPTION_HEIGHT,
    HEADER,
    MARGIN,
    NARROWEST_COLUMN,
    Heat,
    Panel,
    draw_panels,
    shorten,
)
from homolog.cli.figures.views import GAP, equal_heights

NOISE = np.random.default_rng(0).integers(0, 255, (80, 320, 3), dtype=np.uint8)


def page_of(rows: list[list[Panel]]) -> np.ndarray:
    return np.asarray(PIL.Image.open(io.BytesIO(draw_panels(rows, title="t", subtitle="s"))))


def test_panels_lie_in_aligned_columns_and_are_shown_pixel_by_pixel():
    sizes = [[(50, 300), (80, 250)], [(40, 320), (40, 20)]]
    rows = [[Panel(picture=NOISE[:height, :width], caption="") for height, width in row] for row in sizes]
    page = page_of(rows)
    second = MARGIN + 320 + GAP
    below = HEADER + CAPTION_HEIGHT + 80 + GAP + CAPTION_HEIGHT
    assert page.shape[0] == below + 40 + MARGIN
    for top, row in ((HEADER + CAPTION_HEIGHT, sizes[0]), (below, sizes[1])):
        for left, (height, width) in zip((MARGIN, second), row, strict=True):
            shown = page[top : top + height, left : left + width]
            np.testing.assert_array_equal(shown, NOISE[:height, :width])
            assert (page[top : top + height, left + width : left + width + GAP] == 255).all()


def test_cells_are_enlarged_without_smoothing():
    cells = NOISE[:2, :3]
    page = page_of([[Panel(picture=cells, caption="", size=(40, 60))]])
    shown = page[HEADER + CAPTION_HEIGHT :, MARGIN:][:40, :60]
    np.testing.assert_array_equal(shown, cells.repeat(20, axis=0).repeat(20, axis=1))


def test_long_text_keeps_both_ends_and_fits():
    assert shorten("short.jpg", width=200, size=12) == "short.jpg"
    assert shorten("W" * 300, width=1, size=12) == "…"
    shown = shorten("begin" + "W" * 300 + "end", width=150, size=12)
    assert shown.startswith("begin")
    assert shown.endswith("end")
    assert len(shown) < 20


def test_a_caption_is_as_wide_as_its_column_or_extends_over_panels_without_one(figures: list[Figure]):
    long, small = "W" * 300, NOISE[:, :60]
    for second in ("b", ""):
        rows = [[Panel(picture=small, caption=long), Panel(picture=NOISE, caption=second)]]
        draw_panels(rows, title="", subtitle="")
    widths = [
        text.get_window_extent().width
        for figure in figures
        for text in figure.texts
        if text.get_text().startswith("W")
    ]
    assert 0.8 * NARROWEST_COLUMN < widths[0] <= NARROWEST_COLUMN
    assert widths[1] > 2 * NARROWEST_COLUMN


def test_names_are_shown_literally(figures: list[Figure]):
    name = r"$\frac{1}{2}$ <b>&amp; a_b.jpg"
    draw_panels([[Panel(picture=NOISE, caption=name)]], title=name, subtitle=name, footer=name)
    texts = figures[0].texts
    assert [text.get_text() for text in texts] == [name] * 4
    assert not any(text.get_parse_math() for text in texts)


def test_characters_that_the_font_lacks_become_boxes(figures: list[Figure]):
    draw_panels([[Panel(picture=NOISE, caption="写真.jpg")]], title="", subtitle="")
    assert figures[0].texts[-1].get_text() == "□□.jpg"


@pytest.mark.parametrize(
    ("low", "high", "shown"), [(-0.25, 0.75, ["-0.25", "0.75"]), (0.4981, 0.5023, ["0.4981", "0.5023"])]
)
def test_a_colour_bar_shows_the_range_of_the_values(figures: list[Figure], low, high, shown):
    values = np.linspace(low, high, 12).reshape(3, 4)
    heat = Heat(values=values, colours="viridis", low=low, high=high, label="cosine", opacity=0.7)
    page = page_of([[Panel(picture=NOISE, caption="", heat=heat)]])
    assert page.shape[0] == HEADER + CAPTION_HEIGHT + 80 + BAR_HEIGHT + MARGIN
    panel, bar = figures[0].axes
    np.testing.assert_array_equal(panel.images[1].get_array(), values)
    assert panel.images[1].get_clim() == (low, high)
    assert [text.get_text() for text in bar.get_xticklabels()] == shown
    assert "cosine" in [text.get_text() for text in bar.texts]


@pytest.mark.parametrize("sizes", [((10, 2000), (2000, 10)), ((30, 30), (31, 29)), ((900, 300), (300, 900))])
@pytest.mark.parametrize("columns", [None, 5])
def test_photos_of_any_shape_get_one_height_and_fit_the_row(sizes, columns):
    shown = equal_heights(*sizes, height=760, width=2200, columns=columns)
    assert shown[0][0] == shown[1][0] <= 760
    for (height, width), (true_height, true_width) in zip(shown, sizes, strict=True):
        assert abs(width - height * true_width / true_height) <= 1
    widths = [width for _, width in shown]
    total = sum(widths) + GAP if columns is None else columns * max(widths) + (columns - 1) * GAP
    assert total <= 2200 + 5


def test_drawing_needs_no_torch():
    code = (
        "import sys; from homolog.cli.figures import charts, dense, features, layout, matches, views; "
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
