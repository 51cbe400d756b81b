"""Dense truth of a rigid scene from measured depth, cameras and a pose."""

import torch
from jaxtyping import Float
from torch import Tensor

from homolog.core.camera import Camera, RelativePose
from homolog.core.coords import Size, identity_grid, inside, normalised_to_pixel, pixel_to_normalised
from homolog.core.dense import DenseField
from homolog.core.sampling import sample_points


def field_from_depth(
    depth0: Float[Tensor, "H W"],
    depth1: Float[Tensor, "h w"],
    *,
    camera0: Camera,
    camera1: Camera,
    pose: RelativePose,
    size: Size,
    tolerance: float,
) -> DenseField:
    """Return where the pixels of image 0 are in image 1.

    A pixel is known if both depths are, and that of image 1 is, within the tolerance, the one that the pixel's
    point has in camera 1: otherwise something stands before it. Depth of multi-view stereo is off by
    percents, so that this is a looser rule than that for rendered depth
    (`homolog.synthetic.correspondence`); depth is read at the nearest pixel, never between an object and
    what is behind it.

    Args:
        depth0: z in camera 0's frame, NaN where unknown.
        depth1: z in camera 1's frame.
        camera0: of image 0, for the pixels of its depth map.
        camera1: of image 1.
        pose: from camera 0 to camera 1, in the unit of the depths.
        size: (height, width) of the field; it covers image 0 whatever its size.
        tolerance: relative difference of depths from which on a point is hidden.

    Returns:
        A field with a batch of 1, NaN with confidence 0 where nothing is known.
    """
    at = identity_grid(size).flatten(1).T[None]
    xy = normalised_to_pixel(at.double(), _size(depth0))[0]
    z = _nearest(depth0, at)
    points = pose.apply(camera0.rays(xy.to(camera0.K)).to(pose.R) * z[:, None].to(pose.R))
    # A point at or behind the camera is nowhere on its image.
    ahead = points[:, 2] > 0
    there = camera1.project(torch.where(ahead[:, None], points, torch.nan).to(camera1.K))
    grid = pixel_to_normalised(there, _size(depth1)).float()
    found = _nearest(depth1, grid.nan_to_num(nan=2.0)[None])
    off = (found - points[:, 2].float()).abs() / points[:, 2].float()
    known = inside(there, _size(depth1)) & (off < tolerance)
    return DenseField(
        grid=torch.where(known[:, None], grid, torch.nan).T.reshape(1, 2, *size),
        confidence=known.float().reshape(1, *size),
    )


def _nearest(depth: Tensor, at: Tensor) -> Tensor:
    return sample_points(depth[None, None].float(), at.float(), mode="nearest", padding="border")[0, :, 0]


def _size(depth: Tensor) -> Size:
    return int(depth.shape[0]), int(depth.shape[1])
