"""Ground-truth matches of keypoints and of coarse cells.

Keypoints follow LightGlue's training code (cvg/glue-factory, `geometry/gt_generation.py`), which follows the
supplement of SuperGlue. Distances are in pixels. A match requires both reprojection errors to be small; one large
error is enough for no match. Cells follow LoFTR (Sun et al. 2021, section 3.5): a cell matches the cell that its
centre falls into, if that cell's centre falls back into it.
"""

from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from homolog.core.camera import Camera, RelativePose, fundamental
from homolog.core.coords import Size, inside, normalised_to_pixel, pixel_grid, pixel_to_normalised
from homolog.core.dense import DenseField
from homolog.core.errors import ConfigError, DataError, one_of
from homolog.core.image import Image
from homolog.core.samples import PairSample
from homolog.core.sampling import sample_points
from homolog.training.batch import nearest_pixels

UNMATCHED, IGNORED = -1, -2
"""Labels of a keypoint without a match, and of one that losses ignore."""

_BEHIND = 1e-4
"""Points nearer to a camera than this, or behind it, are invisible."""


class GroundTruthMatches(NamedTuple):
    """Labels of the keypoints of a pair.

    Attributes:
        matches0: [N] index of the match in image 1, or `UNMATCHED`, or `IGNORED`.
        matches1: [M] index of the match in image 0, or `UNMATCHED`, or `IGNORED`.
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
        negative: points farther than this from all others have no match.

    Raises:
        ConfigError: a negative distance below the positive one.
    """
    _check(positive, negative)
    forward = _Projection(_warp(homography, xy0), *_all(xy0))
    backward = _Projection(_warp(torch.linalg.inv(homography), xy1), *_all(xy1))
    return _labelled(xy0, xy1, forward, backward, positive, negative)


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

    A keypoint without depth is ignored. One that projects outside of the other image is far from all of its
    keypoints, so it has no match.

    Args:
        xy0: pixel coordinates in image 0.
        xy1: pixel coordinates in image 1.
        depth0: depth along the axis of camera 0 for each pixel of image 0; 0 or NaN where unknown.
        depth1: the same for image 1.
        camera0: camera of image 0.
        camera1: camera of image 1.
        pose: from camera 0 to camera 1.
        positive: mutually nearest points below this distance match.
        negative: points farther than this from all others have no match.
        epipolar: also label points without depth as unmatched, if no undecided point of the other image lies
            within `negative` of their epipolar line.

    Raises:
        ConfigError: a negative distance below the positive one.
    """
    _check(positive, negative)
    forward = _projected(xy0, depth0, camera0, camera1, pose, _size(depth1))
    backward = _projected(xy1, depth1, camera1, camera0, pose.inverse(), _size(depth0))
    found = _labelled(xy0, xy1, forward, backward, positive, negative)
    if not epipolar or not len(xy0) or not len(xy1):
        return found
    undecided = (found.matches0 == IGNORED)[:, None] & (found.matches1 == IGNORED)
    distance = _epipolar_distances(xy0, xy1, fundamental(pose, camera0, camera1))
    distance = distance.masked_fill(~undecided, torch.inf)
    alone0 = (distance.amin(dim=1) > negative) & ~forward.known
    alone1 = (distance.amin(dim=0) > negative) & ~backward.known
    return GroundTruthMatches(
        found.matches0.masked_fill(alone0, UNMATCHED), found.matches1.masked_fill(alone1, UNMATCHED)
    )


class _Projection(NamedTuple):
    """Keypoints projected into the other image.

    Attributes:
        xy: [N 2] projected positions.
        visible: [N] whether they are inside the image and in front of the camera.
        known: [N] whether the projection is known.
    """

    xy: Float[Tensor, "N 2"]
    visible: Bool[Tensor, " N"]
    known: Bool[Tensor, " N"]


def _labelled(
    xy0: Tensor, xy1: Tensor, forward: _Projection, backward: _Projection, positive: float, negative: float
) -> GroundTruthMatches:
    if not len(xy0) or not len(xy1):
        return GroundTruthMatches(
            *(torch.full((len(xy),), UNMATCHED, device=xy.device) for xy in (forward.xy, backward.xy))
        )
    # Squared distances [N M] in image 1 and in image 0.
    in1, in0 = _squared(forward.xy, xy1), _squared(xy0, backward.xy)
    both = torch.maximum(in1, in0).masked_fill(~(forward.visible[:, None] & backward.visible), torch.inf)
    nearest0, nearest1 = both.argmin(dim=1), both.argmin(dim=0)
    index0, index1 = (torch.arange(len(each), device=both.device) for each in (nearest0, nearest1))
    matched0 = (nearest1[nearest0] == index0) & (both.amin(dim=1) < positive**2)
    matched1 = (nearest0[nearest1] == index1) & (both.amin(dim=0) < positive**2)
    far0 = (in1.amin(dim=1) > negative**2) & forward.known
    far1 = (in0.amin(dim=0) > negative**2) & backward.known
    return GroundTruthMatches(
        torch.where(matched0, nearest0, IGNORED).masked_fill(far0, UNMATCHED),
        torch.where(matched1, nearest1, IGNORED).masked_fill(far1, UNMATCHED),
    )


def _squared(one: Tensor, other: Tensor) -> Tensor:
    # Not by the expanded square, which loses the fractions of a pixel that matter here.
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
    projected = other.project(torch.cat((points[:, :2], points[:, 2:].clamp_min(_BEHIND)), dim=1))
    return _Projection(projected, ahead & _on_image(projected, other_size) & known, known)


def _depth_at(xy: Tensor, depth: Tensor) -> tuple[Tensor, Tensor]:
    """Return the depth at points (0 where unknown), and whether it is known."""
    known = depth.masked_fill(depth <= 0, torch.nan)[None, None]
    at = pixel_to_normalised(xy, _size(depth))[None]
    # Next to a hole the bilinear value is unknown, but the nearest pixel may be known. Beyond the outermost
    # pixel centres depth fades to zero, as in the official code; no detector finds keypoints there.
    mean, near = (
        sample_points(known, at, mode=mode, padding="zeros")[0, :, 0] for mode in ("bilinear", "nearest")
    )
    value = torch.where(mean.isnan(), near, mean)
    return value.nan_to_num(nan=0), value > 0


def _on_image(xy: Tensor, size: Size) -> Tensor:
    # The official code accepts coordinates up to W - 1 with the first pixel centre at 0.5, so the last half
    # pixel on the right and at the bottom does not count.
    height, width = size
    return ((xy >= -0.5) & (xy <= xy.new_tensor((width - 1.5, height - 1.5)))).all(dim=1)


def _epipolar_distances(xy0: Tensor, xy1: Tensor, F: Tensor) -> Tensor:
    """Return the mean distance of all pairs [N M] from each other's epipolar lines."""
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


class MatchLabeller:
    """Labels keypoints by a pair's homography, or by its depth and pose."""

    def __init__(
        self,
        *,
        positive: float | int = 3.0,
        negative_homography: float | int = 3.0,
        negative_depth: float | int = 5.0,
    ) -> None:
        """Set the thresholds, in pixels of the network's input images.

        Args:
            positive: mutually nearest keypoints below this distance match.
            negative_homography: a keypoint farther than this from all others has no match.
            negative_depth: the same for pairs with depth.

        Raises:
            ConfigError: a negative distance below the positive one.
        """
        if not 0 < positive <= min(negative_homography, negative_depth):
            raise ConfigError(
                "match labels: expected negative distances of at least the positive one, above 0, got "
                f"{negative_homography}, {negative_depth} and {positive}"
            )
        self.positive = float(positive)
        self.negative_homography, self.negative_depth = float(negative_homography), float(negative_depth)

    def label(
        self, sample: PairSample, xy0: Float[Tensor, "N 2"], xy1: Float[Tensor, "M 2"]
    ) -> GroundTruthMatches:
        """Label the keypoints of a pair.

        Args:
            sample: its images are the network's inputs; their `to_original` maps to the files, which the
                homography and the cameras refer to.
            xy0: keypoints in pixels of image 0.
            xy1: keypoints in pixels of image 1.

        Raises:
            DataError: a pair with neither homography nor depth and pose.
        """
        if sample.homography is not None:
            affines = [_square(image) for image in (sample.image0, sample.image1)]
            homography = torch.linalg.inv(affines[1]) @ sample.homography.double() @ affines[0]
            return matches_from_homography(
                xy0, xy1, homography.to(xy0), positive=self.positive, negative=self.negative_homography
            )
        depth0, depth1, camera0, camera1 = sample.depth0, sample.depth1, sample.camera0, sample.camera1
        if depth0 is None or depth1 is None or camera0 is None or camera1 is None or sample.pose is None:
            raise DataError(
                f"{sample.name}: expected a homography, or depth, cameras and a pose, to label keypoints; got neither"
            )
        return matches_from_depth(
            xy0,
            xy1,
            depth0=nearest_pixels(depth0[None, None], sample.image0.size)[0, 0].to(xy0),
            depth1=nearest_pixels(depth1[None, None], sample.image1.size)[0, 0].to(xy0),
            camera0=camera0.resampled(sample.image0.to_original),
            camera1=camera1.resampled(sample.image1.to_original),
            pose=sample.pose,
            positive=self.positive,
            negative=self.negative_depth,
        )


def _square(image: Image) -> Float[Tensor, "3 3"]:
    last = image.to_original.new_tensor([[0.0, 0.0, 1.0]])
    return torch.cat((image.to_original, last)).double()


Rest = Literal["ignored", "unmatched"]


class CoarseTruth(NamedTuple):
    """Labels of the coarse cells of B pairs; cells are numbered row by row.

    Attributes:
        matches0: [B N] matching cell of image 1 for each cell of image 0, or `UNMATCHED`, or `IGNORED`.
        matches1: [B M] matching cell of image 0 for each cell of image 1, or `UNMATCHED`, or `IGNORED`.
        place0: [B N 2] normalised position in image 1 of the centre of each cell of image 0; NaN where unknown.
    """

    matches0: Int[Tensor, "B N"]
    matches1: Int[Tensor, "B M"]
    place0: Float[Tensor, "B N 2"]


@torch.no_grad()
def coarse_truth(
    truth0: DenseField, truth1: DenseField, *, cells0: Size, cells1: Size, rest: Rest = "ignored"
) -> CoarseTruth:
    """Label the coarse cells of two images from dense labels.

    A label is sampled bilinearly at the centre of a cell. It is known if all four pixels around are labelled:
    the mean of fewer would lie on no surface.

    Args:
        truth0: true dense field on image 0, at any resolution; without a label the grid is NaN or the
            confidence 0.
        truth1: true dense field on image 1.
        cells0: (height, width) of the coarse map of image 0.
        cells1: (height, width) of the coarse map of image 1.
        rest: label of cells whose position is unknown, or that fall into a cell which does not fall back.
            LoFTR has no third label: there they are `unmatched`. A cell that is known to fall outside of the
            other image is always unmatched.

    Raises:
        ConfigError: an unknown `rest`.
    """
    one_of("rest", rest, get_args(Rest))
    place0, place1 = _at_centres(truth0, cells0), _at_centres(truth1, cells1)
    cell0, cell1 = _cell_of(place0, cells1), _cell_of(place1, cells0)
    other = IGNORED if rest == "ignored" else UNMATCHED
    return CoarseTruth(_mutual(cell0, cell1, other), _mutual(cell1, cell0, other), place0)


def _at_centres(truth: DenseField, cells: Size) -> Tensor:
    """Return the normalised label at the centre of each cell, or NaN."""
    known = (truth.confidence > 0) & truth.grid.isfinite().all(dim=1)
    grid = torch.where(known[:, None], truth.grid, 0)
    at = pixel_to_normalised(pixel_grid(cells, device=grid.device).to(grid.dtype), cells)
    at = at.expand(len(grid), -1, -1)
    # A missing label lowers the weight; a tiny loss is rounding.
    weight = sample_points(known[:, None].to(grid.dtype), at)
    return torch.where(weight > 1 - 1e-4, sample_points(grid, at) / weight, torch.nan)


def _cell_of(place: Tensor, cells: Size) -> Tensor:
    """Return the cell that each position falls into, `UNMATCHED` outside of the image, or `IGNORED`."""
    xy = normalised_to_pixel(place, cells)
    # The nearest centre; at the far edge of the image, rounding may exceed the last cell.
    last = xy.new_tensor((cells[1] - 1, cells[0] - 1))
    nearest = (xy.nan_to_num() + 0.5).floor().clamp_min(0).minimum(last).long()
    number = nearest[..., 1] * cells[1] + nearest[..., 0]
    number = torch.where(inside(xy, cells), number, UNMATCHED)
    return torch.where(xy.isnan().any(dim=-1), IGNORED, number)


def _mutual(cell: Tensor, back: Tensor, other: int) -> Tensor:
    index = torch.arange(cell.shape[1], device=cell.device)
    returns = back.gather(1, cell.clamp_min(0)) == index
    return torch.where((cell >= 0) & returns, cell, torch.where(cell == UNMATCHED, UNMATCHED, other))
