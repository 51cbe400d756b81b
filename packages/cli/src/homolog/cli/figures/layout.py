"""Pages of titled panels: headers, captions, marks and colour bars.

Everything is measured in pixels of the page. Needs no torch.
"""

import io
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import PIL.Image
from matplotlib import font_manager, patheffects
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backend_bases import RendererBase
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from numpy.typing import ArrayLike, NDArray

from homolog.cli.figures.views import GAP

INK, MUTED = "#1b1f24", "#59636e"
"""Colours of titles and captions, and of everything that explains them."""

OUTLINE = "black"
"""Around lines, rings and labels, so that they show on bright photos too."""

TITLE, SUBTITLE, CAPTION, SMALL = 19, 13, 12, 10
"""Font sizes in points."""

DPI = 100

MARGIN, HEADER, NARROWEST = 20, 88, 960
"""The border of a page, the height of its header, and how wide the content is at least."""

CAPTION_HEIGHT, BAR_HEIGHT, FOOTER = 30, 38, 46
"""The heights of a caption, of a colour bar with its numbers, and of the line at the bottom."""

NARROWEST_COLUMN = 190
"""Captions need this much, even above a narrow photo."""


class Page:
    """A white page with a title, on which everything is placed in pixels from the top left corner."""

    def __init__(self, width: int, height: int, *, title: str, subtitle: str) -> None:
        """Make a page with a header of two lines."""
        self.width, self.height = width, height
        self.figure = Figure(figsize=(width / DPI, height / DPI), dpi=DPI, facecolor="white")
        content = width - 2 * MARGIN
        self.write(MARGIN, 32, title, width=content, size=TITLE, colour=INK, weight="bold")
        self.write(MARGIN, 65, subtitle, width=content, size=SUBTITLE)

    def axes(self, x: int, y: int, *, width: int, height: int) -> Axes:
        """Return axes without a frame, one unit for each pixel: integers are pixel centres, y points down."""
        axes = self._place(x, y, width, height)
        axes.set_axis_off()
        axes.set(xlim=(-0.5, width - 0.5), ylim=(height - 0.5, -0.5))
        return axes

    def place_photo(self, x: int, y: int, photo: NDArray[np.uint8]) -> None:
        """Place a photo [H W 3] below everything else, pixel by pixel."""
        self.figure.add_artist(_Photo(x, self.height - y - len(photo), photo))

    def write(
        self, x: int, y: int, text: str, *, width: int, size: int, colour: str = MUTED, weight: str = "normal"
    ) -> None:
        """Write a line, its left end at (x, y), shortened to a width."""
        self.figure.text(
            x / self.width,
            1 - y / self.height,
            shorten(text, width=width, size=size),
            fontsize=size,
            color=colour,
            weight=weight,
            va="center",
            parse_math=False,
        )

    def colour_bar(self, x: int, y: int, *, width: int, colours: ScalarMappable, label: str) -> None:
        """Draw a colour bar with its lowest and highest value and a label in between."""
        bar = self.figure.colorbar(colours, cax=self._place(x, y, width, 10), orientation="horizontal")
        bar.outline.set_visible(False)  # pyright: ignore[reportCallIssue, reportAttributeAccessIssue]
        low, high = bar.mappable.get_clim()
        # Enough digits to tell them apart.
        digits = max(2, 1 - math.floor(math.log10(high - low)))
        bar.set_ticks([low, high], labels=[f"{low:.{digits}f}", f"{high:.{digits}f}"])
        bar.ax.tick_params(labelsize=SMALL, length=0, pad=3, labelcolor=MUTED)
        for text, side in zip(bar.ax.get_xticklabels(), ("left", "right"), strict=True):
            text.set_horizontalalignment(side)
        bar.ax.text(
            0.5, -0.3, label, size=SMALL, color=MUTED, ha="center", va="top", transform=bar.ax.transAxes
        )

    def png(self) -> bytes:
        """Return the page as a PNG."""
        return encoded(self.figure, "png")

    def _place(self, x: int, y: int, width: int, height: int) -> Axes:
        bottom = self.height - y - height
        return self.figure.add_axes(
            (x / self.width, bottom / self.height, width / self.width, height / self.height)
        )


class _Photo(Artist):
    """A photo as it is: matplotlib's own images are resampled, which takes ten times as long."""

    def __init__(self, left: int, bottom: int, photo: NDArray[np.uint8]) -> None:
        super().__init__()
        self.left, self.bottom = left, bottom
        opaque = np.full(photo.shape[:2], 255, dtype=np.uint8)
        self.rgba = np.dstack((photo, opaque))[::-1]  # the renderer starts at the bottom
        self.set_zorder(-1)

    def draw(self, renderer: RendererBase) -> None:
        renderer.draw_image(renderer.new_gc(), self.left, self.bottom, self.rgba)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Heat:
    """Values drawn in colours over a picture, with a colour bar below it.

    Attributes:
        values: [h w], stretched over the picture.
        colours: name of the colour map.
        low: the value of its first colour.
        high: the value of its last colour.
        label: what is measured.
        opacity: in [0, 1]; less than 1 lets the picture show through.
    """

    values: NDArray[np.floating]
    colours: str
    low: float
    high: float
    label: str
    opacity: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """One picture of a page.

    Attributes:
        picture: [H W 3].
        caption: the line above it; it may extend over the next panels if theirs are empty.
        size: (height, width) at which it is shown, cells enlarged as they are; None for its own size.
        heat: values drawn over it.
        annotate: draws on top of it, in its pixels as it is shown.
    """

    picture: NDArray[np.uint8]
    caption: str
    size: tuple[int, int] | None = None
    heat: Heat | None = None
    annotate: Callable[[Axes], None] | None = None

    @property
    def height(self) -> int:
        """As it is shown."""
        return (self.size or self.picture.shape)[0]

    @property
    def width(self) -> int:
        """As it is shown."""
        return (self.size or self.picture.shape)[1]


def draw_panels(rows: Sequence[Sequence[Panel]], *, title: str, subtitle: str, footer: str = "") -> bytes:
    """Draw panels in rows, their columns aligned, below a header of two lines and above a footer, as a PNG."""
    columns = range(max(map(len, rows)))
    widths = [
        max(NARROWEST_COLUMN, *(row[column].width for row in rows if column < len(row))) for column in columns
    ]
    heights = [
        CAPTION_HEIGHT + max(panel.height + (BAR_HEIGHT if panel.heat else 0) for panel in row)
        for row in rows
    ]
    width = max(sum(widths) + GAP * (len(widths) - 1), NARROWEST) + 2 * MARGIN
    height = HEADER + sum(heights) + GAP * (len(rows) - 1) + (FOOTER if footer else MARGIN)
    page = Page(width, height, title=title, subtitle=subtitle)
    left = [MARGIN + sum(widths[:column]) + GAP * column for column in columns]
    y = HEADER
    for row, row_height in zip(rows, heights, strict=True):
        captioned = [x for panel, x in zip(row, left, strict=False) if panel.caption]
        for panel, x in zip(row, left, strict=False):
            # A caption may extend over panels that have none.
            end = min((other for other in captioned if other > x), default=width - MARGIN + GAP) - GAP
            _draw_panel(page, panel, x, y, caption_width=end - x)
        y += row_height + GAP
    if footer:
        page.write(MARGIN, height - FOOTER // 2, footer, width=width - 2 * MARGIN, size=CAPTION)
    return page.png()


def show_photos(
    axes: Axes, photos: Sequence[NDArray[np.uint8]], sizes: Sequence[tuple[int, int]]
) -> list[int]:
    """Show photos [H W 3] at (height, width) side by side, `GAP` apart, from the left end of some axes.

    Returns:
        For each photo, x of its first column.
    """
    left = [sum(width + GAP for _, width in sizes[:index]) for index in range(len(sizes))]
    for photo, start, (height, width) in zip(photos, left, sizes, strict=True):
        axes.imshow(
            photo, extent=(start - 0.5, start + width - 0.5, height - 0.5, -0.5), aspect="auto", zorder=0
        )
    return left


def draw_lines(
    axes: Axes,
    starts: NDArray[np.floating],
    ends: NDArray[np.floating],
    colours: object,
    *,
    width: float | int,
    opacity: float = 1.0,
    outline_width: float | int = 1.4,
    outline_opacity: float = 0.4,
) -> None:
    """Draw lines between places [N 2], over a wider dark line each.

    `colours` is one colour, or one for each line. Widths are in points; the dark line is wider by
    `outline_width`. Opacities are in [0, 1].
    """
    segments = list(np.stack((starts, ends), axis=1))
    for colour, across, alpha in (
        (OUTLINE, width + outline_width, outline_opacity),
        (colours, width, opacity),
    ):
        axes.add_collection(
            LineCollection(
                segments,
                colors=colour,  # pyright: ignore[reportArgumentType]
                linewidths=across,
                alpha=alpha,
                capstyle="round",
                zorder=2,
            )
        )


def draw_dots(
    axes: Axes,
    xy: NDArray[np.floating],
    colours: ArrayLike,
    *,
    area: float | int = 22,
    edge: str = OUTLINE,
    edge_width: float | int = 0.6,
) -> None:
    """Draw filled dots at places [N 2]; `area` is in square points."""
    if len(xy):
        axes.scatter(*xy.T, s=area, color=colours, edgecolors=edge, linewidths=edge_width, zorder=3)  # pyright: ignore[reportArgumentType]


def draw_rings(
    axes: Axes,
    xy: NDArray[np.floating],
    colours: ArrayLike,
    *,
    size: float | int,
    width: float | int,
    outline_width: float | int = 1.4,
) -> None:
    """Draw open rings with a dark outline at places [N 2]; sizes and widths are in points."""
    if len(xy):
        for colour, across in ((OUTLINE, width + outline_width), (colours, width)):
            axes.scatter(*xy.T, s=size**2, facecolors="none", edgecolors=colour, linewidths=across, zorder=3)  # pyright: ignore[reportArgumentType]


def draw_label(axes: Axes, xy: NDArray[np.floating], text: str, *, offset: tuple[int, int] = (7, 5)) -> None:
    """Write a white label with a dark outline beside a place [2]; the offset is in points."""
    axes.annotate(
        text,
        (xy[0], xy[1]),
        offset,
        textcoords="offset points",
        fontsize=14,
        weight="bold",
        color="white",
        path_effects=[patheffects.withStroke(linewidth=2.7, foreground=OUTLINE)],
        annotation_clip=False,
        zorder=4,
        parse_math=False,
    )


def shorten(text: str, *, width: int, size: int) -> str:
    """Cut a text in its middle until it fits a width in pixels; characters that the font lacks become boxes.

    >>> shorten("a_very_long_name_of_a_photo.jpg", width=120, size=12)
    'a_ver…o.jpg'
    """
    font = FT2Font(font_manager.findfont("DejaVu Sans"))
    font.set_size(size, DPI)
    known = font.get_charmap()
    # matplotlib would warn about characters that the font lacks.
    text = "".join(character if ord(character) in known else "□" for character in text)
    kept, shown = len(text), text
    while kept > 0:
        font.set_text(shown)
        if font.get_width_height()[0] / 64 <= width:
            return shown
        kept -= 1
        shown = f"{text[: kept // 2]}…{text[len(text) - kept // 2 :]}"
    return "…" if text else ""


def encoded(figure: Figure, kind: str) -> bytes:
    """Return a figure as the bytes of a `png` or `jpeg` file."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    picture = PIL.Image.fromarray(np.asarray(canvas.buffer_rgba())).convert("RGB")
    file = io.BytesIO()
    # Higher levels of PNG take three times as long for 2 % less.
    picture.save(file, kind, **({"compress_level": 3} if kind == "png" else {"quality": 82}))
    return file.getvalue()


def _draw_panel(page: Page, panel: Panel, x: int, y: int, *, caption_width: int) -> None:
    page.write(x, y + CAPTION_HEIGHT // 2, panel.caption, width=caption_width, size=CAPTION, colour=INK)
    top = y + CAPTION_HEIGHT
    axes = page.axes(x, top, width=panel.width, height=panel.height)
    extent = (-0.5, panel.width - 0.5, panel.height - 0.5, -0.5)
    axes.imshow(
        panel.picture, extent=extent, aspect="auto", interpolation="nearest" if panel.size else "auto"
    )
    if panel.annotate is not None:
        panel.annotate(axes)
    if panel.heat is not None:
        heat = panel.heat
        shown = axes.imshow(
            heat.values,
            cmap=heat.colours,
            norm=Normalize(heat.low, heat.high),
            alpha=heat.opacity,
            extent=extent,
            aspect="auto",
            interpolation="bilinear",
        )
        # The bar has the pure colours of the map.
        pure = ScalarMappable(shown.norm, shown.cmap)
        bar_width = min(max(panel.width, 120), 260)
        page.colour_bar(x, top + panel.height + 7, width=bar_width, colours=pure, label=heat.label)
