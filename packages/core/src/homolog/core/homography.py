"""Random homographies: a crop of a photo, and the photo warped so that the corners of the crop move."""

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64
from torch import Tensor

from homolog.core.coords import Size, inside, normalised_to_pixel, pixel_grid, pixel_to_normalised
from homolog.core.image import Image, crop, resize
from homolog.core.sampling import sample_points

MARGIN = 1.25
"""Photos are scaled to cover the crop this many times along their tighter side."""

MINIMUM_AREA = 0.1
"""Minimum area of the moved corners, as a fraction of the crop; smaller ones are drawn again."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DrawnPair:
    """A crop of a photo, and the photo warped by a homography.

    Attributes:
        pixels0: [3 H W] the crop.
        pixels1: [3 H W], black outside the photo.
        known1: [H W] True inside the photo.
        homography: [3 3] from pixels of `pixels0` to pixels of `pixels1`.
    """

    pixels0: Float[Tensor, "3 H W"]
    pixels1: Float[Tensor, "3 H W"]
    known1: Bool[Tensor, "H W"]
    homography: Float64[np.ndarray, "3 3"]


def drawn_pair(photo: Image, rng: np.random.Generator, *, size: Size, displacement: float) -> DrawnPair:
    """Draw a crop and a homography.

    Args:
        photo: enlarged or reduced so that it covers the crop `MARGIN` times.
        rng: random generator for both.
        size: of both images.
        displacement: maximum movement of a corner in x and in y, in pixels.
    """
    photo = _covering(photo, size)
    y, x = (int(rng.integers(room + 1)) for room in np.subtract(photo.size, size))
    corners = _corners(size)
    homography = homography_of(corners, _moved(corners, rng, size, displacement))
    pixels1, known1 = _warped(photo, homography, size, offset=(x, y))
    return DrawnPair(
        pixels0=crop(photo, x=x, y=y, size=size).pixels,
        pixels1=pixels1,
        known1=known1,
        homography=homography,
    )


def homography_of(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Return the homography [3 3] that maps four points to four others.

    Args:
        source: [4 2], no three on a line.
        target: [4 2], no three on a line.

    Returns:
        float64, with 1 as its last entry.
    """
    rows: list[list[float]] = []
    for (x, y), (u, v) in zip(source.tolist(), target.tolist(), strict=True):
        rows.append([x, y, 1, 0, 0, 0, -u * x, -u * y])
        rows.append([0, 0, 0, x, y, 1, -v * x, -v * y])
    entries = np.linalg.solve(np.array(rows), target.reshape(-1))
    return np.append(entries, 1.0).reshape(3, 3)


def _corners(size: Size) -> np.ndarray:
    """Return the outer corners of an image, clockwise from the top left."""
    normalised = torch.tensor([[-1, -1], [1, -1], [1, 1], [-1, 1]], dtype=torch.float64)
    return normalised_to_pixel(normalised, size).numpy()


def _turns(corners: np.ndarray) -> np.ndarray:
    """Return the turn of the outline at each corner [4]: all positive if it is convex and not mirrored."""
    ahead, behind = np.roll(corners, -1, axis=0) - corners, corners - np.roll(corners, 1, axis=0)
    return behind[:, 0] * ahead[:, 1] - behind[:, 1] * ahead[:, 0]


def _covering(photo: Image, size: Size) -> Image:
    scale = MARGIN * max(size[0] / photo.size[0], size[1] / photo.size[1])
    height, width = (
        max(int(np.ceil(side * scale)), least) for side, least in zip(photo.size, size, strict=True)
    )
    return resize(photo, (height, width))


def _moved(corners: np.ndarray, rng: np.random.Generator, size: Size, displacement: float) -> np.ndarray:
    # Large moves can fold the quadrilateral; such a map would mirror the photo.
    while True:
        moved = corners + rng.uniform(-displacement, displacement, size=(4, 2))
        turns = _turns(moved)
        if turns.min() > 0 and (turns[0] + turns[2]) / 2 > MINIMUM_AREA * size[0] * size[1]:
            return moved


def _warped(
    photo: Image, homography: np.ndarray, size: Size, *, offset: tuple[int, int]
) -> tuple[Tensor, Tensor]:
    back = torch.from_numpy(np.linalg.inv(homography))
    at = pixel_grid(size).double()
    seen = torch.cat((at, torch.ones_like(at[:, :1])), dim=1) @ back.T
    in_photo = seen[:, :2] / seen[:, 2:] + torch.tensor(offset, dtype=torch.float64)
    # Points behind the horizon of the map get a position far outside, which reads as black.
    in_photo[seen[:, 2] <= 0] = -float(2 * max(photo.size))
    normalised = pixel_to_normalised(in_photo, photo.size).float()
    colours = sample_points(photo.pixels[None], normalised[None], padding="zeros")[0]
    return colours.T.reshape(3, *size).clamp(0, 1), inside(in_photo, photo.size).reshape(size)
