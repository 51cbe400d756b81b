"""Which keypoints of two images truly match, which truly do not, and which nobody can tell.

Source: the rules of LightGlue's training code (cvg/glue-factory, `geometry/gt_generation.py`), which
follow SuperGlue's supplement. Distances are in pixels; the larger of both ways counts for a match, one
way is enough to have none.
"""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog.core.camera import Camera, RelativePose, fundamental
from homolog.core.coords import Size, pixel_to_normalised
from homolog.core.errors import ConfigError
from homolog.core.sampling import sample_points

UNMATCHED, IGNORED = -1, -2
"""Labels of a keypoint without partner, and of one that training leaves alone."""

_BEHIND = 1e-4
"""Points nearer to a camera than this, or behind it, are not seen."""


class GroundTruthMatches(NamedTuple):
    """The truth about the keypoints of a pair.

    Attributes:
        matches0: [N] index of the partner in image 1, or `UNMATCHED`, or `IGNORED`.
        matches1: [M] index of the partner in image 0, or `UNMATCHED`, or `IGNORED`.
    """

    matches0: Int[Tensor, " N"]
    matches1: Int[Tensor, " M"]


@torch.no_grad()
def matches_from_homography(
    xy0: Float[Tensor, "N 2"],
    xy1: Float[Tensor, "M 2"],
    homography: Float[Tensor, "3 3"],
    *,
    positive: float = 3.0,
    negative: float = 3.0,
) -> GroundTruthMatches:
    """Label keypoints of two views of a plane.

    Args:
        xy0: pixel coordinates in image 0.
        xy1: pixel coordinates in image 1.
        homography: from pixels of image 0 to those of image 1.
        positive: mutually nearest points below this distance match.
        negative: points farther than this from all others have no partner.

    Raises:
        ConfigError: a negative distance below the positive one.
    """
    _check(positive, negative)
    there = _Projection(_warp(homography, xy0), *_all(xy0))
    back = _Projection(_warp(torch.linalg.inv(homography), xy1), *_all(xy1))
    return _labelled(_distances(xy0, xy1, there, back), there, back, positive, negative)


@torch.no_grad()
def matches_from_depth(
    xy0: Float[Tensor, "N 2"],
    xy1: Float[Tensor, "M 2"],
    *,
    depth0: Float[Tensor, "H0 W0"],
    depth1: Float[Tensor, "H1 W1"],
    camera0: Camera,
    camera1: Camera,
    pose: RelativePose,
    positive: float = 3.0,
    negative: float = 5.0,
    epipolar: bool = False,
) -> GroundTruthMatches:
    """Label keypoints of two views of a scene.

    A keypoint without depth is ignored. One that projects beside the other image is far from all of its
    keypoints, and so has no partner.

    Args:
        xy0: pixel coordinates in image 0.
        xy1: pixel coordinates in image 1.
        depth0: depth along the axis of camera 0 for each pixel of image 0; 0 or NaN where it is not known.
        depth1: the same for image 1.
        camera0: of image 0.
        camera1: of image 1.
        pose: from camera 0 to camera 1.
        positive: mutually nearest points below this distance match.
        negative: points farther than this from all others have no partner.
        epipolar: say of points without depth, too, that they have no partner, if no other point that is
            undecided lies within `negative` of their epipolar line.

    Raises:
        ConfigError: a negative distance below the positive one.
    """
    _check(positive, negative)
    there = _projected(xy0, depth0, camera0, camera1, pose, _size(depth1))
    back = _projected(xy1, depth1, camera1, camera0, pose.inverse(), _size(depth0))
    found = _labelled(_distances(xy0, xy1, there, back), there, back, positive, negative)
    if not epipolar or not len(xy0) or not len(xy1):
        return found
    undecided = (found.matches0 == IGNORED)[:, None] & (found.matches1 == IGNORED)
    distance = _epipolar_distances(xy0, xy1, fundamental(pose, camera0, camera1))
    distance = distance.masked_fill(~undecided, torch.inf)
    alone0 = (distance.amin(dim=1) > negative) & ~there.known
    alone1 = (distance.amin(dim=0) > negative) & ~back.known
    return GroundTruthMatches(
        found.matches0.masked_fill(alone0, UNMATCHED), found.matches1.masked_fill(alone1, UNMATCHED)
    )


class _Projection(NamedTuple):
    """Keypoints of one image in the other.

    Attributes:
        xy: [N 2] where they are.
        seen: [N] whether that is on the image and before the camera.
        known: [N] whether that is known at all.
    """

    xy: Float[Tensor, "N 2"]
    seen: Bool[Tensor, " N"]
    known: Bool[Tensor, " N"]


class _Distances(NamedTuple):
    """[N M] squared, in image 1 and in image 0."""

    forward: Tensor
    backward: Tensor


def _labelled(
    distances: _Distances, there: _Projection, back: _Projection, positive: float, negative: float
) -> GroundTruthMatches:
    if 0 in distances.forward.shape:
        return GroundTruthMatches(*(_alone(each) for each in (there, back)))
    both = torch.maximum(*distances).masked_fill(~(there.seen[:, None] & back.seen), torch.inf)
    nearest0, nearest1 = both.argmin(dim=1), both.argmin(dim=0)
    index0, index1 = (torch.arange(len(each), device=both.device) for each in (nearest0, nearest1))
    matched0 = (nearest1[nearest0] == index0) & (both.amin(dim=1) < positive**2)
    matched1 = (nearest0[nearest1] == index1) & (both.amin(dim=0) < positive**2)
    far0 = (distances.forward.amin(dim=1) > negative**2) & there.known
    far1 = (distances.backward.amin(dim=0) > negative**2) & back.known
    return GroundTruthMatches(
        torch.where(matched0, nearest0, IGNORED).masked_fill(far0, UNMATCHED),
        torch.where(matched1, nearest1, IGNORED).masked_fill(far1, UNMATCHED),
    )


def _alone(projection: _Projection) -> Tensor:
    return torch.full((len(projection.xy),), UNMATCHED, device=projection.xy.device)


def _distances(xy0: Tensor, xy1: Tensor, there: _Projection, back: _Projection) -> _Distances:
    return _Distances(_squared(there.xy, xy1), _squared(xy0, back.xy))


def _squared(one: Tensor, other: Tensor) -> Tensor:
    # By differences: the expanded square loses the fractions of pixels that decide here.
    return (one[:, None] - other).square().sum(dim=2)


def _warp(homography: Tensor, xy: Tensor) -> Tensor:
    at = torch.cat((xy, torch.ones_like(xy[:, :1])), dim=1) @ homography.to(xy).T
    return at[:, :2] / at[:, 2:]


def _all(xy: Tensor) -> tuple[Tensor, Tensor]:
    every = torch.ones(len(xy), dtype=torch.bool, device=xy.device)
    return every, every


def _projected(
    xy: Tensor, depth: Tensor, camera: Camera, other: Camera, pose: RelativePose, other_size: Size
) -> _Projection:
    z, known = _depth_at(xy, depth)
    points = pose.apply(camera.rays(xy) * z[:, None])
    ahead = points[:, 2] > _BEHIND
    seen = other.project(torch.cat((points[:, :2], points[:, 2:].clamp_min(_BEHIND)), dim=1))
    return _Projection(seen, ahead & _on_image(seen, other_size) & known, known)


def _depth_at(xy: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
    """Return the depth at points, and whether it is known; 0 where it is not."""
    known = depth.masked_fill(depth <= 0, torch.nan)[None, None]
    at = pixel_to_normalised(xy, _size(depth))[None]
    # Next to a hole the mean of four pixels is unknown; the nearest of them may be known. Beyond the
    # outermost pixel centres depth fades to zero, as in the code whose labels these are; no detector
    # finds anything there.
    mean, near = (
        sample_points(known, at, mode=mode, padding="zeros")[0, :, 0] for mode in ("bilinear", "nearest")
    )
    value = torch.where(mean.isnan(), near, mean)
    return value.nan_to_num(nan=0), value > 0


def _on_image(xy: Tensor, size: Size) -> Tensor:
    # Its last half pixel to the right and below does not count there: coordinates up to W - 1, where the
    # centre of the first pixel is at 0.5.
    height, width = size
    return ((xy >= -0.5) & (xy <= xy.new_tensor((width - 1.5, height - 1.5)))).all(dim=1)


def _epipolar_distances(xy0: Tensor, xy1: Tensor, F: Tensor) -> Tensor:
    """Return the mean of the distances from each other's epipolar lines, of all pairs [N M]."""
    p0, p1 = (torch.cat((xy, torch.ones_like(xy[:, :1])), dim=1) for xy in (xy0, xy1))
    line1, line0 = p0 @ F.T, p1 @ F
    residual = (line1 @ p1.T).abs()
    tiny = torch.finfo(residual.dtype).tiny
    length1 = line1[:, :2].norm(dim=1).clamp_min(tiny)
    length0 = line0[:, :2].norm(dim=1).clamp_min(tiny)
    return residual * (1 / length1[:, None] + 1 / length0) / 2


def _size(depth: Tensor) -> Size:
    return int(depth.shape[0]), int(depth.shape[1])


def _check(positive: float, negative: float) -> None:
    if not 0 < positive <= negative:
        raise ConfigError(
            f"expected a negative distance of at least the positive one, above 0, got {negative} and {positive}"
        )
