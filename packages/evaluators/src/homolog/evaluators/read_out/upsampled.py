"""Cosine of few descriptors with every pixel of an upsampled feature map, without upsampling the map."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from homolog.core.coords import Size, pixel_to_normalised
from homolog.core.sampling import sample_points

CHUNK = 1 << 24
"""Values of an upsampled map to hold at a time: 64 MB in float32."""


def upsampled_at(
    map_: Float[Tensor, "D h w"], xy: Float[Tensor, "N 2"], *, size: Size
) -> Float[Tensor, "N D"]:
    """Read what a map upsampled bilinearly to an image of `size` has at pixels (x, y)."""
    return sample_points(map_[None], pixel_to_normalised(xy, size)[None])[0]


def upsampled_cosine(
    query: Float[Tensor, "N D"], map_: Float[Tensor, "D h w"], *, size: Size, chunk: int = CHUNK
) -> Float[Tensor, "N H W"]:
    """Compare descriptors with all pixels of a map upsampled bilinearly to `size`.

    Upsampling is linear, so that the product with the upsampled map is the upsampled product; only the
    lengths of its descriptors need all D channels, a few of them at a time.
    """
    product = _upsampled(torch.einsum("nd,dhw->nhw", F.normalize(query, dim=1), map_), size)
    squared = product.new_zeros(size)
    for part in map_.split(max(1, chunk // (size[0] * size[1]))):
        squared = squared + _upsampled(part, size).square().sum(dim=0)
    return product / squared.sqrt().clamp_min(1e-12)


def _upsampled(maps: Tensor, size: Size) -> Tensor:
    return F.interpolate(maps[None], size=size, mode="bilinear", align_corners=False)[0]
