"""Pictures of a result: matches as lines between two photos, transferred points as numbers on both."""

import matplotlib as mpl
import numpy as np
from matplotlib import patheffects
from matplotlib.cm import ScalarMappable
from matplotlib.collections import LineCollection
from matplotlib.colors import ListedColormap, Normalize
from numpy.typing import NDArray

from homolog.cli.sheet import INK, MUTED, Sheet, lay_out
from homolog.cli.spread import choose_spread
from homolog.core.coords import Size
from homolog.core.dense import Transfer
from homolog.core.image import Image
from homolog.core.keypoints import Matches

LINES, FAINT_LINES, UNCHECKED_LINES = 110, 40, 50
"""How many inliers, outliers, or matches that nothing has checked are drawn at most; more would be a hairball."""

POINTS = 20
"""How many points a transfer picture shows."""


def draw_matches(
    image0: Image,
    image1: Image,
    matches: Matches,
    inlier: NDArray[np.bool_] | None,
    *,
    title: str,
    subtitle: str,
) -> bytes:
    """Draw matches as lines between two photos.

    A choice of them is drawn, spread over the photo, so that single lines can be followed: inliers
    solid and coloured by score, outliers thin and pale.

    Args:
        image0: as it was read.
        image1: as it was read.
        matches: in pixels of the files.
        inlier: [M]; None if nothing was checked: then the better half stands for all.
        title: what is seen.
        subtitle: the counts.

    Returns:
        A PNG.
    """
    sheet = lay_out(image0, image1, title=title, subtitle=subtitle)
    ends0, ends1 = sheet.place(matches.xy0.numpy(), 0), sheet.place(matches.xy1.numpy(), 1)
    score = matches.score.numpy()
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


def draw_transfer(
    image0: Image, image1: Image, xy0: NDArray[np.floating], moved: Transfer, *, title: str, subtitle: str
) -> bytes:
    """Draw points of one photo and where they are in the other, under the same number and colour.

    Args:
        image0: as it was read.
        image1: as it was read.
        xy0: [N 2] pixels of the first file.
        moved: their places in the second file.
        title: what is seen.
        subtitle: how they were chosen.

    Returns:
        A PNG.
    """
    sheet = lay_out(image0, image1, title=title, subtitle=subtitle)
    tint = mpl.colormaps["hsv"](np.linspace(0, 0.92, max(len(xy0), 1)))
    outline = [patheffects.withStroke(linewidth=2.6, foreground="black")]
    for side, xy in enumerate((xy0, moved.xy.numpy())):
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


def choose_points(xy0: NDArray[np.floating], moved: Transfer, size0: Size, size1: Size) -> NDArray[np.intp]:
    """Choose points worth showing: sure, spread over both photos, and inside the second.

    Args:
        xy0: [N 2] candidates.
        moved: where they are in the other photo.
        size0: (height, width) of the first photo.
        size1: (height, width) of the other photo.

    Returns:
        Up to `POINTS` indices, from the top of the photo to its bottom.
    """
    xy1, confidence = moved.xy.numpy(), moved.confidence.numpy()
    within = np.flatnonzero(((xy1 >= 0) & (xy1 <= np.array([size1[1] - 1, size1[0] - 1]))).all(axis=1))
    # Sure comes before spread: from the surest quarter, but from enough to spread.
    enough = max(len(within) // 4, 3 * POINTS)
    sure = within[np.argsort(-confidence[within], kind="stable")[:enough]]
    both = np.hstack((xy0 / max(size0), xy1 / max(size1)))
    chosen = sure[choose_spread(both[sure], confidence[sure], POINTS)]
    return chosen[np.argsort(xy0[chosen, 1], kind="stable")]


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
