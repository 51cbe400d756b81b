"""Bilinear sampling of maps; the only file of homolog that calls `grid_sample`.

Convention: positions are normalised (x, y) as in `homolog.core.coords`, so a map of any
resolution is read at the same place of the image it covers.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

Mode = Literal["bilinear", "nearest", "bicubic"]
Padding = Literal["border", "zeros"]


def sample_points(
    maps: Float[Tensor, "B C h w"],
    xy: Float[Tensor, "B N 2"],
    *,
    mode: Mode = "bilinear",
    padding: Padding = "border",
) -> Float[Tensor, "B N C"]:
    """Read maps at scattered points.

    Args:
        maps: B maps with C channels.
        xy: normalised (x, y) of N points on each map.
        mode: how to interpolate between cells.
        padding: values outside the map: its border repeated, or zeros.

    Returns:
        The C channels at each point, in the dtype of `maps`.
    """
    return _grid_sample(maps, xy[:, None], mode, padding)[:, :, 0].transpose(1, 2)


def warp_maps(
    maps: Float[Tensor, "B C h w"],
    grid: Float[Tensor, "B 2 H W"],
    *,
    mode: Mode = "bilinear",
    padding: Padding = "zeros",
) -> Float[Tensor, "B C H W"]:
    """Read maps at a dense grid of normalised (x, y); the output has the size of the grid."""
    return _grid_sample(maps, grid.permute(0, 2, 3, 1), mode, padding)


def _grid_sample(maps: Tensor, grid: Tensor, mode: Mode, padding: Padding) -> Tensor:
    # In float32: half-precision positions are off by whole pixels, and the CPU has no half kernel.
    wide = torch.promote_types(maps.dtype, torch.float32)
    read = F.grid_sample(maps.to(wide), grid.to(wide), mode=mode, padding_mode=padding, align_corners=False)
    return read.to(maps.dtype)
