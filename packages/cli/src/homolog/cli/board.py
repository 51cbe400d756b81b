"""A board: rows of pictures, each with a caption above it and marks on it.

Needs no torch, so that a process that only draws is light.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager, patheffects
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from numpy.typing import NDArray

from homolog.cli.page import GAP
from homolog.cli.sheet import DPI, HEADER, INK, MARGIN, MUTED, NARROWEST, printable, rendered

CAPTION, BAR, FOOT = 30, 38, 46
"""Pixels: the height of a caption, of a colour bar with its numbers, and of the line at the bottom."""

NARROWEST_COLUMN = 190
"""Pixels: captions need so much, even above a photo that is a strip."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A place that is marked on a panel.

    Attributes:
        xy: pixels of the panel.
        label: beside it; empty for none.
        colour: of its ring, as matplotlib reads colours.
    """

    xy: tuple[float, float]
    label: str
    colour: str | tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bar:
    """What the colours of a panel mean.

    Attributes:
        colours: name of the colour map.
        low: the value of its first colour.
        high: the value of its last colour.
        label: what is measured.
    """

    colours: str
    low: float
    high: float
    label: str


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """One picture on the board.

    Attributes:
        picture: [H W 3].
        caption: the line above it.
        bar: what its colours mean, below it.
        marks: places on it.
    """

    picture: NDArray[np.uint8]
    caption: str
    bar: Bar | None = None
    marks: tuple[Mark, ...] = ()


def draw_board(rows: Sequence[Sequence[Panel]], *, title: str, subtitle: str, footer: str = "") -> bytes:
    """Draw panels in rows, their columns aligned, as a PNG.

    Args:
        rows: from top to bottom, each from left to right.
        title: first line of the header.
        subtitle: second line of the header.
        footer: a line below all panels.
    """
    widths, heights = _widths(rows), [_height(row) for row in rows]
    content = sum(widths) + GAP * (len(widths) - 1)
    page = max(content, NARROWEST) + 2 * MARGIN
    total = HEADER + sum(heights) + GAP * (len(rows) - 1) + (FOOT if footer else MARGIN)
    paper = np.full((total, page, 3), 255, dtype=np.uint8)
    figure = Figure(figsize=(page / DPI, total / DPI), dpi=DPI, frameon=False)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_axis_off()
    # As around an image: integers are pixel centres, y points down.
    axes.set(xlim=(-0.5, page - 0.5), ylim=(total - 0.5, -0.5))
    _write(axes, MARGIN, 32, printable(title, page // 13), size=19, colour=INK, weight="bold")
    _write(axes, MARGIN, 65, _fitted(subtitle, page - 2 * MARGIN, 13), size=13, colour=MUTED)
    for panel, column, x, y in _places(rows, widths, heights):
        _pin(axes, paper, panel, x, y, width=widths[column])
    if footer:
        _write(axes, MARGIN, total - FOOT // 2, _fitted(footer, page - 2 * MARGIN, 12), size=12, colour=MUTED)
    return rendered(figure, paper)


def _widths(rows: Sequence[Sequence[Panel]]) -> list[int]:
    columns = max(map(len, rows))
    return [
        max(NARROWEST_COLUMN, *(row[column].picture.shape[1] for row in rows if column < len(row)))
        for column in range(columns)
    ]


def _height(row: Sequence[Panel]) -> int:
    return CAPTION + max(len(panel.picture) + (BAR if panel.bar else 0) for panel in row)


def _places(
    rows: Sequence[Sequence[Panel]], widths: Sequence[int], heights: Sequence[int]
) -> Iterator[tuple[Panel, int, int, int]]:
    y = HEADER
    for row, height in zip(rows, heights, strict=True):
        for column, panel in enumerate(row):
            yield panel, column, MARGIN + sum(widths[:column]) + GAP * column, y
        y += height + GAP


def _pin(axes: Axes, paper: NDArray[np.uint8], panel: Panel, x: int, y: int, *, width: int) -> None:
    _write(axes, x, y + CAPTION // 2, _fitted(panel.caption, width, 12), size=12, colour=INK)
    top = y + CAPTION
    height, across = panel.picture.shape[:2]
    paper[top : top + height, x : x + across] = panel.picture
    for mark in panel.marks:
        _ring(axes, mark, x, top)
    if panel.bar is not None:
        _draw_bar(axes, paper, panel.bar, x, top + height + 7, width=min(max(across, 120), 260))


def _fitted(text: str, width: int, size: int) -> str:
    """Cut a text in its middle until it fits into so many pixels."""
    font = FT2Font(font_manager.findfont("DejaVu Sans"))
    font.set_size(size, DPI)
    text = printable(text, len(text))
    for letters in range(len(text), 1, -1):
        shorter = printable(text, letters)
        font.set_text(shorter)
        if font.get_width_height()[0] / 64 <= width:
            return shorter
    return ""


def _ring(axes: Axes, mark: Mark, x: int, y: int) -> None:
    at = (x + mark.xy[0], y + mark.xy[1])
    # White shows on dark places, black on bright ones; the middle stays open, so that the place is seen.
    for size, width, colour in ((17, 5.0, "black"), (17, 3.4, "white"), (17, 1.8, mark.colour)):
        axes.plot(*at, "o", markersize=size, markerfacecolor="none", markeredgecolor=colour, mew=width)
    axes.plot(*at, ".", markersize=5, color="white", mec="black", mew=0.7)
    outline = [patheffects.withStroke(linewidth=2.8, foreground="black")]
    axes.annotate(
        mark.label,
        at,
        (10, 8),
        textcoords="offset points",
        fontsize=14,
        weight="bold",
        color="white",
        path_effects=outline,
    )


def _draw_bar(axes: Axes, paper: NDArray[np.uint8], bar: Bar, x: int, y: int, *, width: int) -> None:
    ramp = mpl.colormaps[bar.colours](np.linspace(0, 1, width))[:, :3]
    paper[y : y + 10, x : x + width] = (ramp * 255 + 0.5).astype(np.uint8)
    below = y + 21
    _write(axes, x, below, f"{bar.low:.2f}", size=10, colour=MUTED)
    _write(axes, x + width / 2, below, bar.label, size=10, colour=MUTED, side="center")
    _write(axes, x + width, below, f"{bar.high:.2f}", size=10, colour=MUTED, side="right")


def _write(
    axes: Axes,
    x: float | int,
    y: float | int,
    text: str,
    *,
    size: int,
    colour: str,
    weight: str = "normal",
    side: str = "left",
) -> None:
    axes.text(x, y, text, fontsize=size, color=colour, weight=weight, va="center", ha=side, parse_math=False)  # pyright: ignore[reportArgumentType]
