"""Pictures of a pair: matches as lines between two photos, transferred points as numbers on both.

Needs no torch.
"""

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from numpy.typing import NDArray

from homolog.cli.figures.dense import draw_dense
from homolog.cli.figures.layout import (
    CAPTION,
    HEADER,
    MARGIN,
    NARROWEST,
    Page,
    draw_dots,
    draw_label,
    draw_lines,
)
from homolog.cli.figures.views import (
    DENSE_PICTURE,
    GAP,
    MATCHES_PICTURE,
    TRANSFER_PICTURE,
    PairView,
    PointView,
    choose_spread,
)

# The darkest third of the map does not show on photos.
INLIER_COLOURS = ListedColormap(mpl.colormaps["plasma"](np.linspace(0.3, 1, 256)))
"""Colours of inlier lines, from the lowest score to the highest."""

OUTLIER_COLOUR, OUTLIER_OPACITY = "white", 0.5
"""Of the thin lines of outliers."""

POINT_COLOURS = mpl.colormaps["hsv"]
"""Hues of transferred points, one for each."""

INLIERS, OUTLIERS, UNCHECKED = 110, 40, 50
"""How many lines are drawn at most: inliers, outliers, matches that were not checked. More would hide the photos."""

FOOTER, BAR = 78, 300
"""Pixels: the height of the area below the photos, and the width of the colour bar in it."""


def draw_pair(view: PairView) -> dict[str, bytes]:
    """Draw every picture of a pair, as PNG by the name of the file."""
    pictures = {MATCHES_PICTURE: draw_matches(view)}
    if view.points is not None:
        pictures[TRANSFER_PICTURE] = draw_transfer(view, view.points)
    if view.dense is not None:
        pictures[DENSE_PICTURE] = draw_dense(view.dense, title=view.title)
    return pictures


def draw_matches(view: PairView) -> bytes:
    """Draw matches as lines between two photos, as a PNG.

    Some of them are drawn, spread over the photo, so that single lines can be followed: inliers
    solid and coloured by score, outliers thin and pale. If nothing was checked, only matches of the
    better half are drawn.
    """
    page, axes, offsets = _page(view, view.subtitle)
    ends0, ends1 = view.xy0 + offsets[0], view.xy1 + offsets[1]
    score, inlier = view.score, view.inlier
    if inlier is None:
        better = score >= np.median(score) if len(score) else np.zeros(0, dtype=bool)
        solid, faint = _choose(ends0, score, better, UNCHECKED), np.arange(0)
        drawn = f"drawn: {len(solid)} of the better half of the matches, spread over the photo"
    else:
        solid, faint = _choose(ends0, score, inlier, INLIERS), _choose(ends0, score, ~inlier, OUTLIERS)
        outliers = f", {len(faint)} outliers (pale)" if len(faint) else ""
        drawn = f"drawn: {len(solid)} inliers{outliers}, spread over the photo"
    draw_lines(
        axes,
        ends0[faint],
        ends1[faint],
        OUTLIER_COLOUR,
        width=0.8,
        opacity=OUTLIER_OPACITY,
        outline_width=1.0,
        outline_opacity=0.15,
    )
    if len(solid):
        colours = ScalarMappable(_range(score[solid]), INLIER_COLOURS)
        tints = colours.to_rgba(score[solid])
        draw_lines(axes, ends0[solid], ends1[solid], tints, width=1.4)
        for ends in (ends0, ends1):
            draw_dots(axes, ends[solid], tints)
        left = page.width - MARGIN - BAR
        page.colour_bar(left, page.height - 54, width=BAR, colours=colours, label="score")
    _write_below(page, drawn)
    return page.png()


def draw_transfer(view: PairView, points: PointView) -> bytes:
    """Draw points of one photo and where they are in the other, same number and colour, as a PNG."""
    page, axes, offsets = _page(view, points.subtitle)
    tints = POINT_COLOURS(np.linspace(0, 0.92, max(len(points.xy0), 1)))
    for xy, offset in zip((points.xy0, points.xy1), offsets, strict=True):
        draw_dots(axes, xy + offset, tints[: len(xy)], area=121, edge="white", edge_width=1.6)
        for number, place in enumerate(xy + offset):
            draw_label(axes, place, str(number + 1))
    _write_below(page, "the same number is the same point")
    return page.png()


def _page(view: PairView, subtitle: str) -> tuple[Page, Axes, list[NDArray[np.float64]]]:
    """Return a page with both photos, their axes, and for each photo the offset [2] from its pixels to the axes."""
    sizes = [photo.shape[:2] for photo in view.photos]
    height, content = sizes[0][0], sizes[0][1] + GAP + sizes[1][1]
    width = max(content, NARROWEST) + 2 * MARGIN
    page = Page(width, height + HEADER + FOOTER, title=view.title, subtitle=subtitle)
    left = (width - content) // 2
    axes = page.axes(left, HEADER, width=content, height=height)
    starts = 0, sizes[0][1] + GAP
    for photo, start in zip(view.photos, starts, strict=True):
        page.place_photo(left + start, HEADER, photo)
    return page, axes, [np.array([start, 0.0]) for start in starts]


def _write_below(page: Page, text: str) -> None:
    page.write(MARGIN, page.height - FOOTER + 34, text, width=page.width - BAR - 3 * MARGIN, size=CAPTION)


def _choose(
    ends: NDArray[np.float64], score: NDArray[np.float32], which: NDArray[np.bool_], count: int
) -> NDArray[np.intp]:
    among = np.flatnonzero(which)
    # Best last, so that the most reliable lines lie on top.
    return among[choose_spread(ends[among], score[among], count)][::-1]


def _range(score: NDArray[np.float32]) -> Normalize:
    low, high = np.percentile(score, (2, 98))
    return Normalize(low, high) if high - low >= 1e-6 else Normalize(low - 0.05, high + 0.05)
