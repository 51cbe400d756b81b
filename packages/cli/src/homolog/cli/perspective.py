"""A perspective view of a photo: a pair of images with known correspondence, for the demo."""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.core.coords import inside, normalised_to_pixel, pixel_grid, pixel_to_normalised
from homolog.core.image import Image
from homolog.core.sampling import warp_maps

TURN = 8.0
"""Degrees by which the view is rotated."""
ZOOM = 1.45
"""How much larger the middle of the photo appears in the view."""
TILT = (0.15, -0.1)
"""How much nearer the right and the lower edge are, as a fraction of the distance to the middle."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PerspectiveView:
    """A view of a flat photo.

    Attributes:
        image: as large as the photo.
        homography: [3 3] float64, from pixels of the photo to pixels of the view.
    """

    image: Image
    homography: Float[Tensor, "3 3"]

    def truth(self, xy: Float[Tensor, "N 2"]) -> Float[Tensor, "N 2"]:
        """Return where points of the photo are in the view, exactly."""
        return _apply(self.homography, xy)

    def visible(self, xy: Float[Tensor, "N 2"]) -> Bool[Tensor, " N"]:
        """Return which points of the photo are in the view."""
        return inside(self.truth(xy), self.image.size)


def perspective_view(photo: Image, *, name: str) -> PerspectiveView:
    """Render a photo as seen by a camera that is rotated, tilted and nearer.

    At the usual 3:2 the view lies inside the photo; pixels outside of a squarer photo are black.

    Args:
        photo: a flat scene.
        name: of the view.
    """
    to_photo = _view_to_photo(photo.size)
    places = _apply(to_photo, pixel_grid(photo.size).double())
    grid = pixel_to_normalised(places, photo.size).T.reshape(1, 2, *photo.size)
    pixels = warp_maps(photo.pixels[None], grid.float(), mode="bicubic", padding="zeros")[0].clamp(0, 1)
    return PerspectiveView(image=Image(pixels=pixels, name=name), homography=torch.linalg.inv(to_photo))


def _view_to_photo(size: tuple[int, int]) -> Float[Tensor, "3 3"]:
    # Around the middle, in units of half the longer side, so that the view does not depend on the size.
    half = max(size) / 2
    middle = normalised_to_pixel(torch.zeros(2, dtype=torch.float64), size)
    centre = torch.tensor([[1 / half, 0, -middle[0] / half], [0, 1 / half, -middle[1] / half], [0, 0, 1]])
    centre = centre.to(torch.float64)
    angle = math.radians(TURN)
    across, up = math.cos(angle) / ZOOM, math.sin(angle) / ZOOM
    seen = torch.tensor([[across, -up, 0], [up, across, 0], [*TILT, 1]], dtype=torch.float64)
    return torch.linalg.inv(centre) @ seen @ centre


def _apply(homography: Tensor, xy: Tensor) -> Tensor:
    at = torch.cat((xy.double(), torch.ones_like(xy[:, :1], dtype=torch.float64)), dim=1) @ homography.T
    return (at[:, :2] / at[:, 2:]).to(xy.dtype)
