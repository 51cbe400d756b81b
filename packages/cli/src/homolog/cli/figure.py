"""Pictures of a result: matches as lines between two photos, transferred points as numbers on both.

Needs no torch, so that a process that only draws is light.
"""

import matplotlib as mpl
import numpy as np
from matplotlib import patheffects
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize
from numpy.typing import NDArray

from homolog.cli.dense_figure import draw_dense
from homolog.cli.page import DENSE_PICTURE, MATCHES_PICTURE, TRANSFER_PICTURE, Page, Points
from homolog.cli.sheet import INK, MUTED, Sheet, lay_out
from homolog.cli.spread import choose_spread

LINES, FAINT_LINES, UNCHECKED_LINES = 110, 40, 50
"""How many inliers, outliers, or matches that nothing has checked are drawn at most; more would be a hairball."""


def draw(page: Page) -> dict[str, bytes]:
    """Draw all there is of a pair, as PNG by the name of the file."""
    pictures = {MATCHES_PICTURE: draw_matches(page)}
    if page.points is not None:
        pictures[TRANSFER_PICTURE] = draw_transfer(page, page.points)
    if page.dense is not None:
        pictures[DENSE_PICTURE] = draw_dense(page.dense, title=page.title)
    return pictures


def draw_matches(page: Page) -> bytes:
    """Draw matches as lines between two photos, as a PNG.

    A choice of them is drawn, spread over the photo, so that single lines can be followed: inliers
    solid and coloured by score, outliers thin and pale. If nothing was checked, the better half of
    the matches stands for all.
    """
    sheet = lay_out(page.photos, title=page.title, subtitle=page.subtitle)
    ends0, ends1 = sheet.place(page.xy0, 0), sheet.place(page.xy1, 1)
    score, inlier = page.score, page.inlier
    if inlier is None:
        solid, faint = _choose(ends0, score, _better_half(score), UNCHECKED_LINES), np.arange(0)
        sheet.caption(f"drawn: {len(solid)} of the better half of the matches, spread over the photo")
    else:
        solid, faint = _choose(ends0, score, inlier, LINES), _choose(ends0, score, ~inlier, FAINT_LINES)
        outliers = f", {len(faint)} outliers (pale)" if len(faint) else ""
        sheet.caption(f"drawn: {len(solid)} inliers{outliers}, spread over the photo")
    segments = np.stack((ends0, ends1), axis=1)
    # White shows on dark places, its shadow on bright ones.
    _lines(sheet, segments[faint], colour="black", width=1.8, alpha=0.15)
    _lines(sheet, segments[faint], colour="white", width=0.8, alpha=0.5)
    if len(solid):
        _coloured_lines(sheet, segments[solid], _colours(score[solid]), score[solid])
    return sheet.png()


def draw_transfer(page: Page, points: Points) -> bytes:
    """Draw points of one photo and where they are in the other, same number and colour, as a PNG."""
    sheet = lay_out(page.photos, title=page.title, subtitle=points.subtitle)
    tint = mpl.colormaps["hsv"](np.linspace(0, 0.92, max(len(points.xy0), 1)))
    outline = [patheffects.withStroke(linewidth=2.6, foreground="black")]
    for side, xy in enumerate((points.xy0, points.xy1)):
        for number, (x, y) in enumerate(sheet.place(xy, side)):
            sheet.axes.plot(
                x,
                y,
                "o",
                markersize=11,
                markerfacecolor=tint[number],
                markeredgecolor="white",
                markeredgewidth=1.6,
                zorder=3,
            )
            sheet.axes.annotate(
                str(number + 1),
                (x, y),
                (7, 5),
                textcoords="offset points",
                fontsize=14,
                weight="bold",
                color="white",
                path_effects=outline,
                zorder=4,
                annotation_clip=False,
            )
    sheet.caption("the same number is the same point")
    return sheet.png()


def _better_half(score: NDArray[np.float32]) -> NDArray[np.bool_]:
    return score >= np.median(score) if len(score) else np.zeros(0, dtype=bool)


def _choose(
    ends: NDArray[np.float64], score: NDArray[np.float32], which: NDArray[np.bool_], count: int
) -> NDArray[np.intp]:
    among = np.flatnonzero(which)
    # Best last, so that sure lines lie on top.
    return among[choose_spread(ends[among], score[among], count)][::-1]


def _coloured_lines(
    sheet: Sheet, segments: NDArray[np.float64], colours: ScalarMappable, score: NDArray[np.float32]
) -> None:
    tint = colours.to_rgba(score)
    _lines(sheet, segments, colour="black", width=2.8, alpha=0.4)
    _lines(sheet, segments, colour=tint, width=1.4, alpha=1.0)
    for ends in (segments[:, 0], segments[:, 1]):
        sheet.axes.scatter(*ends.T, s=22, color=tint, edgecolors="black", linewidths=0.6, zorder=3)
    _colour_bar(sheet, colours)


def _colours(score: NDArray[np.float32]) -> ScalarMappable:
    low, high = np.percentile(score, (2, 98))
    if high - low < 1e-6:
        low, high = low - 0.05, high + 0.05
    # The darkest third of the map does not show on photos.
    visible = ListedColormap(mpl.colormaps["plasma"](np.linspace(0.3, 1, 256)))
    return ScalarMappable(Normalize(low, high), visible)


def _lines(
    sheet: Sheet, segments: NDArray[np.float64], *, colour: object, width: float, alpha: float
) -> None:
    lines = LineCollection(
        list(segments), colors=colour, linewidths=width, alpha=alpha, capstyle="round", zorder=2
    )  # pyright: ignore[reportArgumentType]
    sheet.axes.add_collection(lines)


def _colour_bar(sheet: Sheet, colours: ScalarMappable) -> None:
    bar = sheet.figure.colorbar(colours, cax=sheet.box(340, 42, 300, 13), orientation="horizontal")
    bar.ax.tick_params(labelsize=10, length=3, colors=MUTED)
    bar.ax.set_ylabel("score  ", rotation=0, ha="right", va="center", fontsize=12, color=INK)
