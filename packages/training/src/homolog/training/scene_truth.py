"""What is true of the geometry of two views, in the unit and the nine numbers that VGGT is trained with.

Wang et al., "VGGT: Visual Geometry Grounded Transformer" (CVPR 2025), section 3.4: the world is the frame of
the first camera, and lengths are measured by the mean distance of all known points from its origin.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor

from homolog.core.camera import Camera, RelativePose
from homolog.core.coords import Size, identity_grid, pixel_grid
from homolog.core.samples import PairSample
from homolog.core.sampling import warp_maps
from homolog.training.batch import PairBatch


class SceneTruth(NamedTuple):
    """Depth and cameras of B pairs; NaN where they are not known.

    Attributes:
        depth: [B 2 H W] along the camera's z axis, in units of the scene.
        pose: [B 2 9] of the motion from camera 0: translation in the same unit, quaternion (x, y, z, w), and
            vertical and horizontal field of view in radians.
        points: [B 2 H W 3] what the pixels show, in the frame of camera 0, in units of the scene.
    """

    depth: Float[Tensor, "B 2 H W"]
    pose: Float[Tensor, "B 2 9"]
    points: Float[Tensor, "B 2 H W 3"]


def scene_truth(batch: PairBatch) -> SceneTruth:
    """Return the truth of every pair; all of it unknown for pairs without depth, cameras or pose."""
    known = [_of_pair(sample, batch.size) for sample in batch.samples]
    depth, pose, points = (torch.stack(parts).to(batch.images) for parts in zip(*known, strict=True))
    return SceneTruth(depth, pose, points)


def encoded(pose: RelativePose, camera: Camera, size: Size) -> Float[Tensor, "9"]:
    """Return VGGT's nine numbers of a camera.

    Args:
        pose: from the world to the camera.
        camera: of an image of `size`.
        size: (height, width) in pixels.

    >>> still = RelativePose(R=torch.eye(3), t=torch.zeros(3))
    >>> wide = Camera(K=torch.tensor([[4.0, 0, 3.5], [0, 4.0, 3.5], [0, 0, 1]]))
    >>> [round(number, 4) for number in encoded(still, wide, (8, 8)).tolist()]
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.5708, 1.5708]
    """
    K = camera.K.double()
    fields = [2 * torch.atan(side / 2 / K[axis, axis]) for side, axis in ((size[0], 1), (size[1], 0))]
    return torch.cat((pose.t.double(), quaternion(pose.R.double()), torch.stack(fields))).float()


def quaternion(R: Float[Tensor, "3 3"]) -> Float[Tensor, "4"]:
    """Return (x, y, z, w) of a rotation, w >= 0, as the leading eigenvector of Bar-Itzhack's matrix.

    It needs no cases, unlike the formulas that divide by a component.

    >>> quaternion(torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])).mul(2).square().round().tolist()
    [0.0, 0.0, 2.0, 2.0]
    """
    matrix = R.new_zeros(4, 4)
    matrix[:3, :3] = R + R.T - R.trace() * torch.eye(3, dtype=R.dtype)
    matrix[:3, 3] = matrix[3, :3] = torch.stack((R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]))
    matrix[3, 3] = R.trace()
    leading = torch.linalg.eigh(matrix / 3).eigenvectors[:, -1]
    return leading if leading[3] >= 0 else -leading


def _of_pair(sample: PairSample, size: Size) -> tuple[Tensor, Tensor, Tensor]:
    none, no_pose, nowhere = (torch.full((2, *rest), torch.nan) for rest in (size, (9,), (*size, 3)))
    nothing = none, no_pose, nowhere
    depth0, depth1, camera0, camera1 = sample.depth0, sample.depth1, sample.camera0, sample.camera1
    if depth0 is None or depth1 is None or camera0 is None or camera1 is None or sample.pose is None:
        return nothing
    cameras = camera0.resampled(sample.image0.to_original), camera1.resampled(sample.image1.to_original)
    depth = torch.stack([_resized(each, size) for each in (depth0, depth1)]).double()
    still = RelativePose(R=torch.eye(3, dtype=torch.float64), t=torch.zeros(3, dtype=torch.float64))
    poses = still, RelativePose(R=sample.pose.R.double(), t=sample.pose.t.double())
    points = torch.stack(
        [
            pose.inverse().apply(seen).view(*size, 3)
            for pose, seen in zip(poses, map(_points, depth, cameras), strict=True)
        ]
    )
    scale = points.norm(dim=-1).nanmean()
    if not bool(scale > 0):  # NaN too: no pixel is known
        return nothing
    encodings = [
        encoded(RelativePose(R=pose.R, t=pose.t / scale), camera, size)
        for pose, camera in zip(poses, cameras, strict=True)
    ]
    return (depth / scale).float(), torch.stack(encodings), (points / scale).float()


def _points(depth: Tensor, camera: Camera) -> Float[Tensor, "N 3"]:
    xy = pixel_grid((int(depth.shape[0]), int(depth.shape[1]))).double()
    return Camera(K=camera.K.double()).rays(xy) * depth.reshape(-1, 1)


def _resized(depth: Tensor, size: Size) -> Tensor:
    if tuple(depth.shape) == size:
        return depth
    return warp_maps(depth[None, None], identity_grid(size)[None], mode="nearest", padding="border")[0, 0]
