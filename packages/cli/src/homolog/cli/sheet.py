"""A sheet with two photos side by side, and places on it.

Drawn by matplotlib without its global state, and returned as a PNG in memory; who writes it is
another matter.
"""

import io
from dataclasses import dataclass

import numpy as np
import PIL.Image
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from numpy.typing import NDArray

from homolog.cli.page import GAP

DPI = 100
NARROWEST = 960
MARGIN, HEADER, FOOTER = 20, 88, 78
INK, MUTED = "#1b1f24", "#59636e"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sheet:
    """The sheet.

    Attributes:
        figure: what is drawn.
        axes: where the photos are; its units are their pixels as they are shown.
        paper: [H W 3], what it is drawn on: the photos, on white.
        left: x of each photo's first column.
    """

    figure: Figure
    axes: Axes
    paper: NDArray[np.uint8]
    left: tuple[int, int]

    def place(self, xy: NDArray[np.float64], side: int) -> NDArray[np.float64]:
        """Move points [N 2] from pixels of photo 0 or 1, as it is shown, to the axes."""
        return xy + np.array([self.left[side], 0.0])

    def caption(self, text: str) -> None:
        """Write a line below the photos."""
        self.figure.text(
            self._across(MARGIN),
            self._up(FOOTER - 34),
            text,
            fontsize=12,
            color=MUTED,
            va="center",
            parse_math=False,
        )

    def box(self, x: int, y: int, width: int, height: int) -> Axes:
        """Return axes at a place that is measured in pixels from the lower right corner of the page."""
        page = self.figure.get_figwidth() * DPI
        bounds = (1 - self._across(x), self._up(y), width / page, height / len(self.paper))
        return self.figure.add_axes(bounds)

    def png(self) -> bytes:
        """Return the page as a PNG."""
        return rendered(self.figure, self.paper)

    def _across(self, pixels: int) -> float:
        return pixels / (self.figure.get_figwidth() * DPI)

    def _up(self, pixels: int) -> float:
        return pixels / len(self.paper)


def lay_out(photos: tuple[NDArray[np.uint8], NDArray[np.uint8]], *, title: str, subtitle: str) -> Sheet:
    """Put two photos of one height on a sheet.

    Args:
        photos: [H W 3], the left and the right one.
        title: first line of the header.
        subtitle: second line of the header.
    """
    height = len(photos[0])
    widths = [photo.shape[1] for photo in photos]
    content = sum(widths) + GAP
    page = max(content, NARROWEST) + 2 * MARGIN
    total = height + HEADER + FOOTER
    figure = Figure(figsize=(page / DPI, total / DPI), dpi=DPI, frameon=False)
    left = (page - content) // 2
    axes = figure.add_axes((left / page, FOOTER / total, content / page, height / total))
    axes.set_axis_off()
    paper = np.full((total, page, 3), 255, dtype=np.uint8)
    window = paper[HEADER : HEADER + height, left : left + content]
    window[:, : widths[0]] = photos[0]
    window[:, widths[0] + GAP :] = photos[1]
    # As around an image: integers are pixel centres, y points down.
    axes.set(xlim=(-0.5, content - 0.5), ylim=(height - 0.5, -0.5))
    letters = page // 13
    figure.text(
        MARGIN / page,
        1 - 32 / total,
        printable(title, letters),
        fontsize=19,
        weight="bold",
        color=INK,
        va="center",
        parse_math=False,
    )
    figure.text(
        MARGIN / page,
        1 - 65 / total,
        printable(subtitle, letters * 2),
        fontsize=13,
        color=MUTED,
        va="center",
        parse_math=False,
    )
    return Sheet(figure=figure, axes=axes, paper=paper, left=(0, widths[0] + GAP))


def rendered(figure: Figure, paper: NDArray[np.uint8]) -> bytes:
    """Draw a figure on a paper [H W 3] of its size, and return both as a PNG."""
    renderer = FigureCanvasAgg(figure).get_renderer()
    # The photos go into the buffer as they are: `imshow` would resample them, at half the cost
    # of a picture.
    drawn = np.asarray(renderer.buffer_rgba())
    drawn[..., :3], drawn[..., 3] = paper, 255
    figure.draw(renderer)
    encoded = io.BytesIO()
    # Higher levels take three times as long for 2 % less.
    PIL.Image.fromarray(np.ascontiguousarray(drawn[..., :3])).save(encoded, "png", compress_level=3)
    return encoded.getvalue()


def printable(text: str, letters: int) -> str:
    """Cut a text in its middle to so many letters, and box those that the font lacks."""
    # A letter that the font lacks makes matplotlib warn and draw a box.
    known = FT2Font(font_manager.findfont("DejaVu Sans")).get_charmap()
    text = "".join(letter if ord(letter) in known else "□" for letter in text)
    half = letters // 2
    return text if len(text) <= letters else f"{text[:half]}…{text[len(text) - half :]}"
