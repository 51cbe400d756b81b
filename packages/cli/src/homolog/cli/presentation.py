"""Choose what the pictures of a pair show."""

import numpy as np
import torch
from numpy.typing import NDArray

from homolog.cli.dense_presentation import present_fields, to_bytes
from homolog.cli.matching import Comparison
from homolog.cli.page import Page, Points, shown_sizes
from homolog.cli.spread import choose_spread
from homolog.core.coords import Size, pixel_grid, resize_pixel
from homolog.core.dense import Transfer
from homolog.core.image import Image, resize
from homolog.core.protocols import HasFields

POINTS = 20
"""How many points a transfer picture shows."""

AGREE = 0.02
"""Share of the longer side up to which a match and a transferred point count as the same place."""

CELLS = (18, 24)
"""Rows and columns of points that a transfer picture may choose from, beside the matches."""


def present(comparison: Comparison, *, title: str) -> Page:
    """Return what is drawn of a pair.

    Args:
        comparison: what was found.
        title: the header of the pictures.
    """
    sizes = shown_sizes(comparison.image0.size, comparison.image1.size)
    shown = resize(comparison.image0, sizes[0]), resize(comparison.image1, sizes[1])
    matches, verdict = comparison.matches, comparison.verdict
    return Page(
        photos=(to_bytes(shown[0].pixels), to_bytes(shown[1].pixels)),
        title=title,
        subtitle=_counts(comparison),
        xy0=_placed(shown[0], matches.xy0),
        xy1=_placed(shown[1], matches.xy1),
        score=matches.score.numpy(),
        inlier=None if verdict.check == "none" else verdict.inlier,
        points=_points(comparison, shown) if comparison.found.can_transfer else None,
        dense=present_fields((comparison.image0, comparison.image1), comparison.found.fields)
        if isinstance(comparison.found, HasFields)
        else None,
    )


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


def _counts(comparison: Comparison) -> str:
    verdict = comparison.verdict
    counts = f"{len(comparison.matches)} matches"
    if verdict.check != "none":
        counts += f", {int(verdict.inlier.sum())} inliers ({verdict.check} check, {verdict.threshold:.1f} px)"
    return f"{counts}; {verdict.note}" if verdict.note else counts


def _points(comparison: Comparison, shown: tuple[Image, Image]) -> Points:
    xy0 = _candidates(comparison)
    moved = comparison.found.transfer(xy0)
    chosen = choose_points(xy0, moved, comparison.image0.size, comparison.image1.size)
    confidence = moved.confidence[chosen]
    sure = f", confidence {confidence.min():.2f} to {confidence.max():.2f}" if len(chosen) else ""
    return Points(
        xy0=_placed(shown[0], torch.from_numpy(xy0[chosen])),
        xy1=_placed(shown[1], moved.xy[chosen]),
        subtitle=f"where {len(chosen)} points of the left photo are in the right one{sure}",
    )


def _candidates(comparison: Comparison) -> NDArray[np.float32]:
    """Points that the check confirmed and that transfer places alike; a grid when those are few."""
    confirmed = comparison.matches.select(torch.from_numpy(comparison.verdict.inlier))
    again = comparison.found.transfer(confirmed.xy0)
    off = (again.xy - confirmed.xy1).norm(dim=1)
    alike = confirmed.xy0[off <= AGREE * max(comparison.image1.size)]
    if len(alike) >= 3 * POINTS:
        return alike.numpy()
    grid = resize_pixel(pixel_grid(CELLS), CELLS, comparison.image0.size)
    return torch.cat((alike, grid)).numpy()


def _placed(shown: Image, xy: torch.Tensor) -> NDArray[np.float64]:
    return shown.xy_from_original(xy.double()).numpy()
