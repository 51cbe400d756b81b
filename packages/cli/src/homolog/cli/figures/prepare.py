"""From results to what is drawn of them: tensors become plain arrays, photos the size at which they are shown."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from homolog.cli.figures.views import (
    DenseView,
    PairView,
    PlaceView,
    PointView,
    choose_spread,
    equal_heights,
    heatmap_columns,
)
from homolog.cli.matching import Comparison
from homolog.core.coords import Size, pixel_grid, resize_pixel
from homolog.core.dense import DenseField, Transfer
from homolog.core.image import Image, fit, resize
from homolog.core.protocols import HasFields
from homolog.core.sampling import warp_maps

HEIGHT, WIDTH = 760, 2200
"""Pixels: the height of both photos of a pair, unless they are wider together."""

DENSE_HEIGHT, DENSE_WIDTH, DENSE_COLUMNS = 480, 2560, 5
"""Pixels: the height of a row of a dense picture, unless its panels are wider together; and how many it has."""

HEATMAP_HEIGHT = 560
"""Pixels: the height of the panels of a heat map, unless they are wider than `WIDTH` together."""

POINTS = 20
"""How many points a transfer picture shows."""

TRIED = 200
"""Of how many inliers, about, these points are chosen."""

AGREE = 0.02
"""Fraction of the longer side up to which a match and a transferred point count as the same place."""

CELLS = (18, 24)
"""Rows and columns of points that a transfer picture may choose from, besides the matches."""


def present(comparison: Comparison, *, title: str) -> PairView:
    """Return what is drawn of a pair; the title is the header of the pictures."""
    images = comparison.image0, comparison.image1
    sizes = equal_heights(images[0].size, images[1].size, height=HEIGHT, width=WIDTH)
    shown = resize(images[0], sizes[0]), resize(images[1], sizes[1])
    matches, verdict = comparison.matches, comparison.verdict
    return PairView(
        photos=(to_bytes(shown[0].pixels), to_bytes(shown[1].pixels)),
        title=title,
        subtitle=_counts(comparison),
        xy0=_placed(shown[0], matches.xy0),
        xy1=_placed(shown[1], matches.xy1),
        score=matches.score.numpy(),
        inlier=None if verdict.check == "none" else verdict.inlier,
        points=_points(comparison, shown) if comparison.found.can_transfer else None,
        dense=present_fields(images, comparison.found.fields)
        if isinstance(comparison.found, HasFields)
        else None,
    )


def present_fields(
    images: tuple[Image, Image], fields: tuple[DenseField, DenseField]
) -> tuple[DenseView, DenseView]:
    """Return what is drawn of the fields that live on image 0 and on image 1 (B = 1), as they were read."""
    sizes = equal_heights(
        images[0].size, images[1].size, height=DENSE_HEIGHT, width=DENSE_WIDTH, columns=DENSE_COLUMNS
    )
    small = resize(images[0], sizes[0]), resize(images[1], sizes[1])
    return _dense_view(small[0], small[1], fields[0]), _dense_view(small[1], small[0], fields[1])


def present_places(
    images: tuple[Image, Image],
    places: Sequence[tuple[float, float]],
    found: Transfer,
    similarities: Float[Tensor, "N h w"],
) -> PlaceView:
    """Return what is drawn of N places of the first photo and what is similar to them; all in pixels of the files.

    `similarities` compare each place with the cells of a map of the second photo.
    """
    sizes = equal_heights(
        *(image.size for image in images),
        height=HEATMAP_HEIGHT,
        width=WIDTH,
        columns=heatmap_columns(len(places)),
    )
    first, second = resize(images[0], sizes[0]), resize(images[1], sizes[1])
    return PlaceView(
        photos=(to_bytes(first.pixels), to_bytes(second.pixels)),
        names=(Path(images[0].name).name, Path(images[1].name).name),
        xy0=_placed(first, torch.tensor(places)),
        xy1=_placed(second, found.xy),
        confidence=found.confidence.numpy(),
        similarities=similarities.numpy(),
    )


def present_photos(images: Sequence[Image], *, longer_side: int) -> tuple[list[NDArray[np.uint8]], list[str]]:
    """Return photos [H W 3] with the given longer side in pixels, and their names."""
    shown = [fit(image, longer_side=longer_side, enlarge=True) for image in images]
    return [to_bytes(image.pixels) for image in shown], [Path(image.name).name for image in images]


def choose_points(xy0: NDArray[np.floating], moved: Transfer, size0: Size, size1: Size) -> NDArray[np.intp]:
    """Choose points worth showing: of high confidence, spread over both photos, and inside the second.

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
    # Confidence comes before spread: choose from the best quarter, but from enough to spread.
    enough = max(len(within) // 4, 3 * POINTS)
    best = within[np.argsort(-confidence[within], kind="stable")[:enough]]
    both = np.hstack((xy0 / max(size0), xy1 / max(size1)))
    chosen = best[choose_spread(both[best], confidence[best], POINTS)]
    return chosen[np.argsort(xy0[chosen, 1], kind="stable")]


def to_bytes(pixels: Float[Tensor, "3 H W"]) -> NDArray[np.uint8]:
    """Return pixels in [0, 1] as [H W 3] bytes."""
    return (pixels * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).numpy()


def _dense_view(image: Image, other: Image, field: DenseField) -> DenseView:
    shown = field.resized(image.size)
    outside = ~(shown.grid.abs() <= 1).all(dim=1)
    places = ((shown.grid + 1) / 2).masked_fill(outside[:, None], torch.nan)
    return DenseView(
        name=Path(image.name).name,
        photo=to_bytes(image.pixels),
        # What lies outside is not shown; pixels at the border must not fade.
        warped=to_bytes(warp_maps(other.pixels[None], shown.grid, padding="border")[0].clamp(0, 1)),
        places=places[0].permute(1, 2, 0).numpy(),
        confidence=shown.confidence[0].numpy(),
    )


def _counts(comparison: Comparison) -> str:
    verdict = comparison.verdict
    counts = f"{len(comparison.matches)} matches"
    if verdict.check != "none":
        counts += f", {int(verdict.inlier.sum())} inliers ({verdict.check} check, {verdict.threshold:.1f} px)"
    return f"{counts}; {verdict.note}" if verdict.note else counts


def _points(comparison: Comparison, shown: tuple[Image, Image]) -> PointView:
    xy0, moved = _candidates(comparison)
    chosen = choose_points(xy0, moved, comparison.image0.size, comparison.image1.size)
    confidence = moved.confidence[chosen]
    span = f", confidence {confidence.min():.2f} to {confidence.max():.2f}" if len(chosen) else ""
    return PointView(
        xy0=_placed(shown[0], torch.from_numpy(xy0[chosen])),
        xy1=_placed(shown[1], moved.xy[chosen]),
        subtitle=f"where {len(chosen)} points of the left photo are in the right one{span}",
    )


def _candidates(comparison: Comparison) -> tuple[NDArray[np.float32], Transfer]:
    """Transfer inliers, and return those that are placed alike; when they are few, a grid of points too."""
    inliers = torch.from_numpy(comparison.verdict.inlier).nonzero()[:, 0]
    matches = comparison.matches.select(inliers[:: 1 + len(inliers) // TRIED])
    moved = comparison.found.transfer(matches.xy0)
    alike = (moved.xy - matches.xy1).norm(dim=1) <= AGREE * max(comparison.image1.size)
    xy0, moved = matches.xy0[alike], Transfer(moved.xy[alike], moved.confidence[alike])
    if len(xy0) < 3 * POINTS:
        grid = resize_pixel(pixel_grid(CELLS), CELLS, comparison.image0.size)
        more = comparison.found.transfer(grid)
        xy0 = torch.cat((xy0, grid))
        moved = Transfer(torch.cat((moved.xy, more.xy)), torch.cat((moved.confidence, more.confidence)))
    return xy0.numpy(), moved


def _placed(shown: Image, xy: Tensor) -> NDArray[np.float64]:
    return shown.xy_from_original(xy.double()).numpy()
