"""Detectors without a network of their own: a regular grid, the cells of a map, the peaks of a score map."""

from dataclasses import replace

import torch
from jaxtyping import Float
from kornia.geometry.subpix import nms2d
from torch import Tensor, nn

from homolog.core.coords import Size, pixel_grid, pixel_to_normalised, resize_pixel
from homolog.core.errors import ConfigError, ShapeError
from homolog.core.features import Features
from homolog.core.keypoints import Keypoints
from homolog.core.sampling import sample_points


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
        return _centres(images, cells, size)


class Cells(nn.Module):
    """Makes every cell of a map of the matcher's backbone a keypoint.

    At cell centres a map needs no interpolation. Mutual nearest neighbours among all cells are the "best
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
        return _centres(images, cells, features.image_size)


def _centres(images: Tensor, cells: Size, size: Size) -> list[Keypoints]:
    xy = resize_pixel(pixel_grid(cells, device=images.device), cells, size)
    return [Keypoints(xy=xy, score=torch.ones_like(xy[:, 0])) for _ in images]


class Peaks(nn.Module):
    """Detector that reads its keypoints out of a map of the matcher's backbone.

    One run of the network gives both keypoints and descriptors.
    """

    multiple = 1

    def __init__(
        self,
        score: str,
        *,
        threshold: float,
        nms_radius: int = 2,
        max_keypoints: int | None = 4096,
        reliability: str | None = None,
    ) -> None:
        """Choose the map.

        Args:
            score: name of a map with one channel, of any resolution.
            threshold: a peak is higher than this.
            nms_radius: a peak is higher than everything up to this many cells away, horizontally and
                vertically.
            max_keypoints: how many peaks to keep at most, the best; None keeps all.
            reliability: name of a map with one channel whose value at the peak multiplies its
                score (the threshold is held against the score alone); None leaves the score as it is.
        """
        super().__init__()
        self.score, self.reliability = score, reliability
        self.threshold, self.nms_radius, self.max_keypoints = threshold, nms_radius, max_keypoints

    def forward(self, images: Float[Tensor, "B 3 H W"], features: Features | None = None) -> list[Keypoints]:
        """Find the peaks of each image, best first; equal scores keep the order of the rows.

        Raises:
            ShapeError: no features, no such map in them, or one with several channels or views.
        """
        if features is None:
            raise ShapeError(
                f"Peaks: expected features with a map {self.score}, got none; choose a backbone that has one"
            )
        score = _one_channel(features, self.score)
        size = (score.shape[-2], score.shape[-1])
        found = [
            Keypoints(xy=resize_pixel(cells, size, features.image_size), score=value)
            for cells, value in strict_maxima(score, nms_radius=self.nms_radius, threshold=self.threshold)
        ]
        if self.reliability is not None:
            weight = _one_channel(features, self.reliability)
            found = [
                replace(each, score=each.score * _read(map_, each.xy, features.image_size))
                for each, map_ in zip(found, weight, strict=True)
            ]
        return [keypoints.best(self.max_keypoints) for keypoints in found]


def strict_maxima(
    score: Float[Tensor, "B 1 h w"], *, nms_radius: int, threshold: float
) -> list[tuple[Float[Tensor, "N 2"], Float[Tensor, " N"]]]:
    """Find the cells above a threshold that exceed every other cell of their window.

    The window reaches `nms_radius` cells to each side. Ties are no maxima, and neither are cells whose
    window leaves the map, since not all of their rivals are known.

    Returns:
        For each map the cells as (x, y), row by row, and their values; both float32.
    """
    score = score.float()
    window = (2 * nms_radius + 1, 2 * nms_radius + 1)
    maxima = nms2d(score, window, mask_only=True) & (score > threshold)
    found: list[tuple[Tensor, Tensor]] = []
    for map_, mask in zip(score[:, 0], maxima[:, 0], strict=True):
        rows, columns = mask.nonzero(as_tuple=True)
        found.append((torch.stack((columns, rows), dim=-1).float(), map_[rows, columns]))
    return found


def _one_channel(features: Features, name: str) -> Float[Tensor, "B 1 h w"]:
    map_ = features[name]
    if map_.shape[1:3] != (1, 1):
        raise ShapeError(f"Peaks: expected {name} [B 1 1 h w], one view and channel, got {list(map_.shape)}")
    return map_[:, 0]


def _read(map_: Float[Tensor, "1 h w"], xy: Tensor, size: Size) -> Tensor:
    return sample_points(map_[None].float(), pixel_to_normalised(xy, size)[None])[0, :, 0]
