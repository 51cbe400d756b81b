"""A detector without a network: the centres of the cells of a feature map."""

import torch
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.coords import pixel_grid, resize_pixel
from homolog.core.errors import ShapeError
from homolog.core.features import Features
from homolog.core.keypoints import Keypoints


class Cells(nn.Module):
    """Makes every cell of a map of the matcher's backbone a keypoint.

    There a map needs no interpolation. Mutual nearest neighbours among all cells are the "best
    buddies" of Amir et al., "Deep ViT Features as Dense Visual Descriptors" (2022).
    """

    multiple = 1

    def __init__(self, map: str | None = None) -> None:
        """Choose the map.

        Args:
            map: its name; None takes the one grid that all maps of the backbone share.
        """
        super().__init__()
        self.map = map

    def forward(self, images: Float[Tensor, "B 3 H W"], features: Features | None = None) -> list[Keypoints]:
        """Return the same points for every image, row by row, all with score 1.

        Raises:
            ShapeError: no features, no such map in them, or maps of several grids and none was chosen.
        """
        if features is None:
            raise ShapeError("Cells: expected features, got none; choose a backbone, or the detector lattice")
        if self.map is not None:
            features = features.select([self.map])
        grids = {(map_.shape[-2], map_.shape[-1]) for map_ in features.maps.values()}
        if len(grids) > 1:
            raise ShapeError(
                f"Cells: expected one of the maps {', '.join(features.maps)}, whose grids differ; set detector.map"
            )
        (cells,) = grids
        xy = resize_pixel(pixel_grid(cells, device=images.device), cells, features.image_size)
        return [Keypoints(xy=xy, score=torch.ones_like(xy[:, 0])) for _ in images]
