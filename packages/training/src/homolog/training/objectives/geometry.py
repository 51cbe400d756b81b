"""The objective of a backbone with geometry heads: depth, points and cameras, as in VGGT.

Wang et al., "VGGT: Visual Geometry Grounded Transformer" (CVPR 2025), section 3.4: world coordinates are those of
the first camera, and the unit of length is the mean distance of all known points from its origin.
"""

from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from homolog.core.camera import Camera, RelativePose
from homolog.core.coords import Size, pixel_grid
from homolog.core.errors import CapabilityError
from homolog.core.samples import PairSample
from homolog.training.batch import PairBatch, nearest_pixels
from homolog.training.losses.vggt import camera_loss, trusted_error
from homolog.training.objectives.base import Step


class SceneTruth(NamedTuple):
    """Depth and cameras of B pairs; NaN where unknown.

    Attributes:
        depth: [B 2 H W] along the camera's z axis, in the unit of the scene.
        pose: [B 2 9] pose relative to camera 0: translation in the same unit, quaternion (x, y, z, w), and vertical
            and horizontal field of view in radians.
        points: [B 2 H W 3] the 3D point of each pixel in coordinates of camera 0, in the same unit.
    """

    depth: Float[Tensor, "B 2 H W"]
    pose: Float[Tensor, "B 2 9"]
    points: Float[Tensor, "B 2 H W 3"]


def scene_truth(batch: PairBatch) -> SceneTruth:
    """Return depth, poses and points of every pair; all NaN for pairs without depth, cameras or pose."""
    known = [_of_pair(sample, batch.size) for sample in batch.samples]
    depth, pose, points = (torch.stack(parts).to(batch.images) for parts in zip(*known, strict=True))
    return SceneTruth(depth, pose, points)


def pose_encoding(pose: RelativePose, camera: Camera, size: Size) -> Float[Tensor, "9"]:
    """Return VGGT's encoding of a camera in nine numbers.

    Args:
        pose: from the world to the camera.
        camera: camera of an image of `size`.
        size: (height, width) in pixels.

    >>> still = RelativePose(R=torch.eye(3), t=torch.zeros(3))
    >>> wide = Camera(K=torch.tensor([[4.0, 0, 3.5], [0, 4.0, 3.5], [0, 0, 1]]))
    >>> [round(number, 4) for number in pose_encoding(still, wide, (8, 8)).tolist()]
    [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 1.5708, 1.5708]
    """
    K = camera.K.double()
    fields = [2 * torch.atan(side / 2 / K[axis, axis]) for side, axis in ((size[0], 1), (size[1], 0))]
    return torch.cat((pose.t.double(), quaternion(pose.R.double()), torch.stack(fields))).float()


def quaternion(R: Float[Tensor, "3 3"]) -> Float[Tensor, "4"]:
    """Return (x, y, z, w) of a rotation, w >= 0, as the leading eigenvector of Bar-Itzhack's matrix.

    It needs no case distinction, unlike the formulas that divide by a component.

    >>> quaternion(torch.tensor([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])).mul(2).square().round().tolist()
    [0.0, 0.0, 2.0, 2.0]
    """
    matrix = R.new_zeros(4, 4)
    matrix[:3, :3] = R + R.T - R.trace() * torch.eye(3, dtype=R.dtype)
    matrix[:3, 3] = matrix[3, :3] = torch.stack((R[2, 1] - R[1, 2], R[0, 2] - R[2, 0], R[1, 0] - R[0, 1]))
    matrix[3, 3] = R.trace()
    leading = torch.linalg.eigh(matrix / 3).eigenvectors[:, -1]
    return leading if leading[3] >= 0 else -leading


def _of_pair(sample: PairSample, size: Size) -> tuple[Tensor, ...]:
    unknown = tuple(torch.full((2, *rest), torch.nan) for rest in (size, (9,), (*size, 3)))
    depth0, depth1, camera0, camera1 = sample.depth0, sample.depth1, sample.camera0, sample.camera1
    if depth0 is None or depth1 is None or camera0 is None or camera1 is None or sample.pose is None:
        return unknown
    cameras = camera0.resampled(sample.image0.to_original), camera1.resampled(sample.image1.to_original)
    depth = torch.cat([nearest_pixels(each[None, None], size)[0] for each in (depth0, depth1)]).double()
    still = RelativePose(R=torch.eye(3, dtype=torch.float64), t=torch.zeros(3, dtype=torch.float64))
    poses = still, RelativePose(R=sample.pose.R.double(), t=sample.pose.t.double())
    points = torch.stack(
        [
            pose.inverse().apply(rays).view(*size, 3)
            for pose, rays in zip(poses, map(_points, depth, cameras), strict=True)
        ]
    )
    scale = points.norm(dim=-1).nanmean()
    if not bool(scale > 0):  # also NaN, if no pixel is known
        return unknown
    encodings = [
        pose_encoding(RelativePose(R=pose.R, t=pose.t / scale), camera, size)
        for pose, camera in zip(poses, cameras, strict=True)
    ]
    return (depth / scale).float(), torch.stack(encodings), (points / scale).float()


def _points(depth: Tensor, camera: Camera) -> Float[Tensor, "N 3"]:
    xy = pixel_grid((int(depth.shape[0]), int(depth.shape[1]))).double()
    return Camera(K=camera.K.double()).rays(xy) * depth.reshape(-1, 1)


class GeometryObjective(nn.Module):
    """The terms `camera`, `depth` and `points` of a matcher whose backbone predicts geometry.

    Each is the mean over all pairs of the batch; a pair without depth, cameras or pose adds 0. Points of both
    views are in coordinates of the first, so they depend on the relative pose. Only the last estimate of the
    camera head is compared; the estimates are cumulative, so all iterations are trained.
    """

    def __init__(
        self, *, delta: float | int = 0.1, alpha: float | int = 0.2, gradient: float | int = 1.0
    ) -> None:
        """Set the options of the losses.

        Args:
            delta: see `camera_loss`.
            alpha: see `trusted_error`; for depth and points.
            gradient: see `trusted_error`.
        """
        super().__init__()
        self.delta, self.alpha, self.gradient = float(delta), float(alpha), float(gradient)
        self.terms = ("camera", "depth", "points")

    def forward(self, matcher: nn.Module, batch: PairBatch, step: Step) -> dict[str, Float[Tensor, ""]]:
        """Return the wanted terms.

        Raises:
            CapabilityError: a backbone without geometry, or without the needed heads.
        """
        geometry = getattr(matcher.backbone, "geometry", None)
        if geometry is None:
            raise CapabilityError(
                "geometry objective: expected a backbone with geometry, such as vggt_mini with "
                f"heads=[camera,depth], got {type(matcher.backbone).__name__}"
            )
        found, truth = geometry(batch.images), scene_truth(batch)
        terms: dict[str, Tensor] = {}
        if "camera" in step.wanted:
            terms["camera"] = camera_loss(
                _required(found.pose, "camera"), truth.pose, delta=self.delta
            ).mean()
        if "depth" in step.wanted:
            terms["depth"] = self._trusted(found.depth, found.depth_score, truth.depth, "depth")
        if "points" in step.wanted:
            terms["points"] = self._trusted(found.points, found.points_score, truth.points, "point")
        return terms

    def _trusted(self, value: Tensor | None, score: Tensor | None, truth: Tensor, head: str) -> Tensor:
        found, trust = _required(value, head), _required(score, head)
        found, truth = (each.reshape(*trust.shape, -1) for each in (found, truth))
        return trusted_error(found, trust, truth, alpha=self.alpha, gradient=self.gradient).mean()


def _required(value: torch.Tensor | None, head: str) -> Tensor:
    if value is None:
        raise CapabilityError(
            f"geometry objective: expected a backbone with the head {head}; add it to backbone.heads"
        )
    return value
