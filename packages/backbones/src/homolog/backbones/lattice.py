"""A detector without a network: the points of a regular grid."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.coords import pixel_grid, resize_pixel
from homolog.core.errors import ConfigError
from homolog.core.features import Features
from homolog.core.keypoints import Keypoints


class Lattice(nn.Module):
    """Covers the image with the centres of equal cells, for dense matching through a sparse head."""

    multiple = 1

    def __init__(self, spacing: float | int) -> None:
        """Choose the density.

        Args:
            spacing: distance of neighbours in pixels; stretched a little where the image's sides
                are no multiples of it.

        Raises:
            ConfigError: a spacing that is not above 0.
        """
        super().__init__()
        if spacing <= 0:
            raise ConfigError(f"Lattice: expected a spacing above 0 pixels, got {spacing}")
        self.spacing = spacing

    def forward(self, images: Float[Tensor, "B 3 H W"], features: Features | None = None) -> list[Keypoints]:
        """Return the same points for every image, row by row, all with score 1."""
        size = (images.shape[-2], images.shape[-1])
        cells = (max(1, round(size[0] / self.spacing)), max(1, round(size[1] / self.spacing)))
        xy = resize_pixel(pixel_grid(cells, device=images.device), cells, size)
        return [Keypoints(xy=xy, score=torch.ones_like(xy[:, 0])) for _ in images]
