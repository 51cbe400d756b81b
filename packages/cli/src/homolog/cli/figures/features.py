"""Pictures of features: maps as colours, and heat maps of similarity. Needs no torch."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import matplotlib as mpl
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from numpy.typing import NDArray

from homolog.cli.figures.layout import (
    CAPTION,
    Heat,
    Panel,
    draw_dots,
    draw_label,
    draw_panels,
    draw_rings,
    shorten,
)
from homolog.cli.figures.views import PlaceView, heatmap_columns

SIMILARITY_COLOURS = "inferno"
"""The colour map of similarities."""

SIMILARITY_OPACITY = 0.7
"""Of the heat map over its grey photo, in [0, 1]."""

MARK_COLOURS = mpl.colormaps["tab10"].colors  # pyright: ignore[reportAttributeAccessIssue]
"""Of the rings around places, in turn."""

EXTREME = 0.01
"""Fraction of the cells, at either end of a component, that take the first or last colour."""

ABREAST = 2
"""Photos in a row, each beside its features, when there are more than this."""

Photo = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PrincipalColours:
    """Maps as colours.

    Attributes:
        maps: RGB in [0, 1], one for each map, in its resolution.
        explained: fraction of the variance of the features that the three colours hold, in [0, 1].
    """

    maps: list[Float[np.ndarray, "_h _w 3"]]
    explained: float


def principal_colours(maps: Sequence[Float[np.ndarray, "C _h _w"]]) -> PrincipalColours:
    """Take the first three principal components of all cells of all maps as red, green and blue.

    The components are eigenvectors of the covariance in float64. The sign of each is such that its
    entry of largest magnitude, the first of equal ones, is positive. All maps share one scale: the
    middle 98 % of each component fill the range of its colour. One channel becomes grey, and a
    component that does not vary stays in the middle.

    Args:
        maps: of one backbone, C channels each, in any resolution.
    """
    cells = np.concatenate([map_.reshape(len(map_), -1).T for map_ in maps]).astype(np.float64)
    centred = cells - cells.mean(axis=0)
    variance, vectors = np.linalg.eigh(centred.T @ centred / len(cells))
    variance, vectors = variance[::-1].clip(0), vectors[:, ::-1][:, :3]
    strongest = np.take_along_axis(vectors, np.abs(vectors).argmax(axis=0, keepdims=True), axis=0)
    component = centred @ (vectors * np.where(strongest < 0, -1.0, 1.0))
    shown = _stretched(component)
    missing = 3 - shown.shape[1]
    filler = shown.repeat(2, axis=1) if missing == 2 else np.full((len(shown), missing), 0.5)
    rgb = np.concatenate((shown, filler), axis=1).astype(np.float32)
    parts = np.split(rgb, np.cumsum([map_[0].size for map_ in maps])[:-1])
    total = float(variance.sum())
    return PrincipalColours(
        maps=[part.reshape(*map_.shape[1:], 3) for part, map_ in zip(parts, maps, strict=True)],
        explained=float(variance[:3].sum()) / total if total > 0 else 1.0,
    )


def draw_features(
    photos: Sequence[Photo],
    colours: Sequence[Float[np.ndarray, "_h _w 3"]],
    *,
    names: Sequence[str],
    title: str,
    subtitle: str,
) -> bytes:
    """Draw each photo [H W 3] beside the colours of its features, RGB in [0, 1], as a PNG."""
    pairs: list[list[Panel]] = []
    for photo, cells, name in zip(photos, colours, names, strict=True):
        height, width = cells.shape[:2]
        # Cells as they are: smoothing would hide how coarse the map is.
        enlarged = Panel(
            picture=(cells * 255 + 0.5).astype(np.uint8),
            size=(photo.shape[0], photo.shape[1]),
            caption=f"its features, {width} x {height} cells",
        )
        pairs.append([Panel(picture=photo, caption=name), enlarged])
    abreast = ABREAST if len(pairs) > ABREAST else 1
    rows = [
        [panel for pair in pairs[start : start + abreast] for panel in pair]
        for start in range(0, len(pairs), abreast)
    ]
    return draw_panels(rows, title=title, subtitle=subtitle)


def draw_heatmaps(view: PlaceView) -> bytes:
    """Draw places on the first photo, and for each of them how similar the second photo is, as a PNG."""
    names = [shorten(name, width=300, size=CAPTION) for name in view.names]
    marked = partial(_mark, places=view.xy0, numbers=range(len(view.xy0)))
    panels = [Panel(picture=view.photos[0], caption=f"places in {names[0]}", annotate=marked)]
    grey = view.photos[1].mean(axis=2, keepdims=True).repeat(3, axis=2).astype(np.uint8)
    for number, similarity in enumerate(view.similarities):
        panels.append(
            Panel(
                picture=grey,
                caption=f"{number + 1}: found with confidence {view.confidence[number]:.2f}",
                heat=_heat(similarity),
                annotate=partial(_mark, places=view.xy1[number : number + 1], numbers=[number]),
            )
        )
    columns = heatmap_columns(len(view.xy0))
    return draw_panels(
        [panels[start : start + columns] for start in range(0, len(panels), columns)],
        title=f"{names[0]} → {names[1]}",
        subtitle="brighter is more similar to the place in the first photo; the ring is where the matcher found it",
    )


def _heat(similarity: NDArray[np.floating]) -> Heat:
    """Give each place a scale of its own, from the median to its best."""
    low, high = float(np.median(similarity)), float(similarity.max())
    if high - low < 1e-6:
        low, high = low - 0.5, high + 0.5
    return Heat(
        values=similarity,
        colours=SIMILARITY_COLOURS,
        low=low,
        high=high,
        label="similarity",
        opacity=SIMILARITY_OPACITY,
    )


def _mark(axes: Axes, *, places: NDArray[np.floating], numbers: Sequence[int]) -> None:
    colours = [MARK_COLOURS[number % len(MARK_COLOURS)] for number in numbers]
    # White around the colour; the middle stays open, so that the place can be seen.
    draw_rings(axes, places, "white", size=17, width=3.4)
    draw_rings(axes, places, colours, size=17, width=1.8, outline_width=0)
    draw_dots(axes, places, "white", area=10, edge_width=0.7)
    for place, number in zip(places, numbers, strict=True):
        draw_label(axes, place, str(number + 1), offset=(10, 8))


def _stretched(component: NDArray[np.float64]) -> NDArray[np.float64]:
    ordered = np.sort(component, axis=0)
    last = len(ordered) - 1
    low, high = ordered[round(EXTREME * last)], ordered[round((1 - EXTREME) * last)]
    extent = np.maximum(high - low, 1e-12 * max(1.0, float(np.abs(component).max())))
    return np.where(high > low, (component - low) / extent, 0.5).clip(0, 1)
