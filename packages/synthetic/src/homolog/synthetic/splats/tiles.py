"""Draw Gaussians with gradients, on any device: tile by tile, in plain torch.

Slower than `homolog.synthetic.splats.splat`, whose plain twin it is; meant for gradients of small scenes.
"""

import torch
from jaxtyping import Float
from torch import Tensor

from homolog.core.errors import ShapeError
from homolog.synthetic.rendering.viewpoint import Viewpoint
from homolog.synthetic.splats.rendering import LARGEST_ALPHA, SMALLEST_ALPHA, SMALLEST_LIGHT
from homolog.synthetic.splats.tensors import GaussianTensors, Rendered, Splats, finished, project


def render_tiles(
    gaussians: GaussianTensors,
    viewpoint: Viewpoint,
    background: Float[Tensor, "3 H W"] | None = None,
    *,
    tile: int = 16,
) -> Rendered:
    """Render Gaussians; differentiable in all of them.

    Args:
        gaussians: the scene; its device and precision are those of the result.
        viewpoint: the camera.
        background: RGB behind it, of the viewpoint's size; black by default.
        tile: side of a tile in pixels; it changes memory and speed, not the picture.

    Raises:
        ShapeError: a background of another size, or no positive tile.
    """
    height, width = viewpoint.size
    if background is not None and background.shape != (3, height, width):
        raise ShapeError(f"expected a background {[3, height, width]}, got {list(background.shape)}")
    if tile < 1:
        raise ShapeError(f"expected a tile of at least one pixel, got {tile}")
    splats = project(gaussians, viewpoint)
    order = _front_to_back(splats)
    with torch.no_grad():
        low, high = splats.xy[order] - splats.half[order], splats.xy[order] + splats.half[order]
    rows: list[Tensor] = []
    for top in range(0, height, tile):
        bottom = min(top + tile, height)
        reached = (high[:, 1] >= top) & (low[:, 1] <= bottom - 1)
        low_x, high_x, of_row = low[reached, 0], high[reached, 0], order[reached]
        cells: list[Tensor] = []
        for left in range(0, width, tile):
            right = min(left + tile, width)
            index = of_row[(high_x >= left) & (low_x <= right - 1)]
            cells.append(_tile(splats, index, top, bottom, left, right))
        rows.append(torch.cat(cells, 2))
    whole = torch.cat(rows, 1)
    # As floats, ids are exact up to 2^24 in single precision; `_tile` refuses more.
    return finished(whole[:8], whole[8], whole[9].detach().long(), viewpoint, background)


def _front_to_back(splats: Splats) -> Tensor:
    depth = splats.features[:, 3].detach()
    if len(depth) >= 1 << 24:
        raise ShapeError(f"expected fewer than {1 << 24} Gaussians, got {len(depth)}; render with gsplat")
    drawn = splats.visible.nonzero()[:, 0]
    return drawn[depth[drawn].sort(stable=True).indices]


def _tile(
    splats: Splats, index: Tensor, top: int, bottom: int, left: int, right: int
) -> Float[Tensor, "10 h w"]:
    """Return the blended features, alpha and the strongest Gaussian of each pixel of a tile."""
    like, size = splats.xy, (bottom - top, right - left)
    if len(index) == 0:
        empty = like.new_zeros(10, *size)
        empty[9] = -1
        return empty
    y, x = torch.meshgrid(
        torch.arange(top, bottom, device=like.device, dtype=like.dtype),
        torch.arange(left, right, device=like.device, dtype=like.dtype),
        indexing="ij",
    )
    dx = x.reshape(-1, 1) - splats.xy[index, 0]
    dy = y.reshape(-1, 1) - splats.xy[index, 1]
    xx, xy, yy = splats.inverse[index].unbind(1)
    power = 0.5 * (xx * dx * dx + yy * dy * dy) + xy * dx * dy
    alpha = (splats.opacity[index] * torch.exp(-power)).clamp(max=LARGEST_ALPHA)
    alpha = torch.where(alpha < SMALLEST_ALPHA, 0, alpha)
    through = torch.cumprod(1 - alpha, dim=1)
    before = torch.cat((torch.ones_like(through[:, :1]), through[:, :-1]), dim=1)
    # The light only shrinks, so that what is blended is a prefix.
    share = torch.where(through > SMALLEST_LIGHT, alpha * before, 0)
    strongest, winner = share.detach().max(dim=1)
    winner = torch.where(strongest > 0, index[winner], -1)
    blended = torch.cat((share @ splats.features[index], share.sum(1, keepdim=True)), dim=1)
    return torch.cat((blended.T, winner[None].to(like.dtype)), 0).reshape(10, *size)
