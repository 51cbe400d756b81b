"""Named feature maps of one or several views."""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import torch
from jaxtyping import Float
from torch import Tensor

from homolog.core.coords import Size, pixel_to_normalised
from homolog.core.errors import ShapeError, did_you_mean
from homolog.core.sampling import Mode, sample_points

PIXELS = "pixels"
"""Name of the only map of an image when there is no backbone: the image itself."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Features:
    """The output of a backbone: maps by name, each [B V C h w], all covering the same images.

    V is the number of views of a scene, so joint backbones (VGGT) and backbones that process each image
    alone have one signature. A map of any resolution covers its whole image: cell centres follow
    the convention of `homolog.core.coords`.

    Attributes:
        maps: name (`"block.4"`, `"dift.high"`, `"xfeat.descriptor"`) to map.
        image_size: (height, width) of the input images of the backbone, in pixels.
    """

    maps: dict[str, Float[Tensor, "B V _C _h _w"]]
    image_size: Size

    def __post_init__(self) -> None:
        """Raise a ShapeError without maps, or unless all have rank 5, one batch size and one number of views."""
        if not self.maps:
            raise ShapeError("expected at least one feature map, got none")
        first = next(iter(self.maps.values())).shape[:2]
        for name, map_ in self.maps.items():
            if map_.ndim != 5 or map_.shape[:2] != first:
                raise ShapeError(
                    f"feature map {name}: expected [B V C h w] with B, V = {list(first)}, got {list(map_.shape)}"
                )

    def __getitem__(self, name: str) -> Float[Tensor, "B V C h w"]:
        """Return one map by name.

        Raises:
            ShapeError: there is no such map; the message lists the existing ones.
        """
        if name not in self.maps:
            raise ShapeError(f"no feature map named {name}{did_you_mean(name, self.maps)}")
        return self.maps[name]

    def select(self, names: Iterable[str]) -> "Features":
        """Keep only the named maps, in that order."""
        return replace(self, maps={name: self[name] for name in names})

    def view(self, index: int) -> "Features":
        """Return the features of one view, as features with V = 1."""
        return replace(self, maps={name: map_[:, index : index + 1] for name, map_ in self.maps.items()})

    def item(self, index: int) -> "Features":
        """Return the features of one item of the batch, as features with B = 1."""
        return replace(self, maps={name: map_[index : index + 1] for name, map_ in self.maps.items()})

    def at(self, name: str, xy: Float[Tensor, "N 2"], *, mode: Mode = "bilinear") -> Float[Tensor, "N C"]:
        """Read one map of a single image (B = V = 1) at pixel coordinates of that image.

        Raises:
            ShapeError: features of more than one image.
        """
        map_ = self[name]
        if map_.shape[:2] != (1, 1):
            raise ShapeError(
                f"expected features of one image, got B, V = {list(map_.shape[:2])}; use view() first"
            )
        return sample_points(map_[0], pixel_to_normalised(xy, self.image_size)[None], mode=mode)[0]

    def to(self, device: torch.device | str, dtype: torch.dtype | None = None) -> "Features":
        """Move all maps to a device and, if given, a dtype."""
        return replace(self, maps={name: map_.to(device, dtype) for name, map_ in self.maps.items()})
