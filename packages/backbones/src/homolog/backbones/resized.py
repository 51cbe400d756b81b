"""A backbone that sees images at a size of its own, smaller than what the rest of a matcher sees."""

from dataclasses import replace
from typing import Literal

import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.coords import Size
from homolog.core.errors import ConfigError
from homolog.core.features import Features
from homolog.core.image import check_multiple, fitted_size
from homolog.core.protocols import Backbone

Rounding = Literal["nearest", "down"]
"""Which multiple of the backbone's a side becomes."""


class Resized(nn.Module):
    """Scales images down before a backbone sees them; its maps still cover the whole of what was given.

    So a detector can look for keypoints at full size next to a transformer that was trained at another.
    Images that are small enough pass as they are.
    """

    def __init__(
        self, backbone: Backbone, *, resize: int, rounding: Rounding = "nearest", antialias: bool = True
    ) -> None:
        """Wrap a backbone.

        Args:
            backbone: sees the smaller images.
            resize: the longer side of what it sees, in pixels, at most.
            rounding: to multiples of its own; OmniGlue's release rounds down.
            antialias: filter before reducing; OmniGlue's release does not.

        Raises:
            ConfigError: a side below the backbone's multiple, or an unknown rounding.
        """
        super().__init__()
        if resize < backbone.multiple:
            raise ConfigError(f"Resized: expected resize of at least {backbone.multiple}, got {resize}")
        if rounding not in ("nearest", "down"):
            raise ConfigError(f"Resized: expected the rounding nearest or down, got {rounding}")
        self.backbone = backbone
        self.resize = resize
        self.rounding: Rounding = rounding
        self.antialias = antialias
        self.multiple: int = backbone.multiple
        self.joint: bool = backbone.joint

    @property
    def channels(self) -> dict[str, int]:
        """Channels of each map, by name."""
        return self.backbone.channels

    def forward(self, images: Float[Tensor, "B V 3 H W"]) -> Features:
        """Return the maps of the smaller images as maps of these.

        Raises:
            ShapeError: the image's sides are no multiples of `multiple`.
        """
        size = (images.shape[-2], images.shape[-1])
        check_multiple(size, self.multiple, name="Resized")
        seen = self._seen_size(size)
        if seen != size:
            flat = F.interpolate(
                images.flatten(0, 1),
                size=seen,
                mode="bilinear",
                antialias=self.antialias,
                align_corners=False,
            )
            images = flat.unflatten(0, images.shape[:2])
        return replace(self.backbone(images), image_size=size)

    def _seen_size(self, size: Size) -> Size:
        if max(size) <= self.resize:
            return size
        if self.rounding == "nearest":
            return fitted_size(size, longer_side=self.resize, multiple=self.multiple)
        # Scaled first and cut to whole pixels, then down to a multiple: two roundings, as in the release.
        height, width = (side * self.resize // max(size) for side in size)
        return self._down(height), self._down(width)

    def _down(self, side: int) -> int:
        return max(self.multiple, side // self.multiple * self.multiple)
