"""Boards: columns are aligned, captions keep to their columns, marks and bars are where they belong."""

import io

import numpy as np
import PIL.Image

from homolog.cli.board import BAR, CAPTION, NARROWEST_COLUMN, Bar, Mark, Panel, draw_board
from homolog.cli.page import GAP
from homolog.cli.sheet import HEADER, MARGIN


def gray(height: int, width: int, level: int = 128) -> np.ndarray:
    return np.full((height, width, 3), level, dtype=np.uint8)


def drawn(rows: list[list[Panel]], **words: str) -> np.ndarray:
    png = draw_board(rows, title="t", subtitle="s", **words)
    return np.asarray(PIL.Image.open(io.BytesIO(png)).convert("RGB")).astype(int)


def test_panels_lie_in_aligned_columns_below_their_captions():
    rows = [
        [Panel(picture=gray(50, 300, 10), caption=""), Panel(picture=gray(80, 250, 20), caption="")],
        [Panel(picture=gray(40, 320, 30), caption=""), Panel(picture=gray(40, 20, 40), caption="")],
    ]
    page = drawn(rows)
    second = MARGIN + 320 + GAP
    below = HEADER + CAPTION + 80 + GAP + CAPTION
    for level, top, left, (height, width) in (
        (10, HEADER + CAPTION, MARGIN, (50, 300)),
        (20, HEADER + CAPTION, second, (80, 250)),
        (30, below, MARGIN, (40, 320)),
        (40, below, second, (40, 20)),
    ):
        assert (page[top : top + height, left : left + width] == level).all()
        around = page[top - 1 : top + height + 1, left - 1 : left + width + 1]
        assert (around == level).all(axis=2).sum() == height * width
    assert page.shape[0] == below + 40 + MARGIN


def test_a_caption_that_is_too_long_keeps_to_its_column():
    page = drawn([[Panel(picture=gray(30, 60), caption="W" * 300), Panel(picture=gray(30, 60), caption="")]])
    captions = page[HEADER : HEADER + CAPTION]
    x = np.nonzero((captions < 200).any(axis=(0, 2)))[0]
    assert MARGIN <= x.min() <= MARGIN + 3
    assert NARROWEST_COLUMN - 40 < x.max() - MARGIN <= NARROWEST_COLUMN


def test_a_bar_runs_from_its_first_colour_to_its_last():
    bar = Bar(colours="viridis", low=0.0, high=1.0, label="")
    page = drawn([[Panel(picture=gray(30, 200, 255), caption="", bar=bar)]])
    strip = page[HEADER + CAPTION + 30 : HEADER + CAPTION + 30 + BAR // 2]
    assert (strip[10, MARGIN] == (68, 1, 84)).all()
    assert (strip[10, MARGIN + 199] == (253, 231, 37)).all()
    assert (strip[10, MARGIN + 201] == 255).all()


def test_a_mark_is_centred_on_its_place():
    mark = Mark(xy=(60.0, 80.0), label="", colour="red")
    page = drawn([[Panel(picture=gray(150, 200), caption="", marks=(mark,))]])
    red = (page[..., 0] > 200) & (page[..., 1] < 80)
    y, x = np.nonzero(red)
    np.testing.assert_allclose((x.mean(), y.mean()), (MARGIN + 60, HEADER + CAPTION + 80), atol=1)
    # A ring: its middle shows what is there.
    assert not red[HEADER + CAPTION + 80 - 5 : HEADER + CAPTION + 86, MARGIN + 55 : MARGIN + 66].any()
