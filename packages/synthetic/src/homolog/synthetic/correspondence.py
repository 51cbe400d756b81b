"""Dense truth between two views, in both directions: from surface points, or from depth and pose.

Labels near contours can be dropped (`eroded`): a generator that moves a contour by k pixels makes every label
there wrong by up to k pixels. Contours are outlines of bodies, and steps in depth within them.
"""

from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, Int32
from scipy.ndimage import distance_transform_edt
from torch import Tensor

from homolog.core.coords import Size, pixel_to_normalised
from homolog.core.dense import DenseField
from homolog.synthetic.compiled import compiled
from homolog.synthetic.rendering.view import View
from homolog.synthetic.rendering.viewpoint import Viewpoint
from homolog.synthetic.transfer import REACH, Tolerance, transfer


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DenseTruth:
    """For each pixel of the query image, the place in the reference image that shows the same.

    Attributes:
        xy: [H W 2] pixel coordinates in the reference; NaN wherever `valid` is False.
        valid: [H W] a label exists and may be trained on.
        fg: [H W] the pixel shows a body that the reference scene has too, visible there or not.
        covisible: [H W] it is visible there.
        interior: [H W] so are all four reference pixels around the place, and they show the same part. Only
            there may pixels of the reference be interpolated: elsewhere they mix the body with what is
            behind it.
        reference_size: (height, width) of the reference in pixels.
    """

    xy: Float32[np.ndarray, "H W 2"]
    valid: Bool[np.ndarray, "H W"]
    fg: Bool[np.ndarray, "H W"]
    covisible: Bool[np.ndarray, "H W"]
    interior: Bool[np.ndarray, "H W"]
    reference_size: Size

    def field(self) -> DenseField:
        """Return the field [1 2 H W]; its grid is NaN and its confidence 0 where no label exists."""
        shift, step = _to_normalised(self.reference_size)
        grid = torch.addcmul(shift, torch.from_numpy(self.xy).permute(2, 0, 1), step)
        return DenseField(
            grid=grid.contiguous()[None], confidence=torch.from_numpy(self.valid.astype(np.float32))[None]
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class OneWay:
    """Labels of one view, before they are checked against those of the other.

    Attributes:
        xy: [H W 2] pixel coordinates in the other view.
        covisible: [H W] where the other view shows the same place.
        part: [H W] which part of which body a pixel shows, in numbers that both views share; -1 where it
            shows none that both scenes have.
    """

    xy: Float32[np.ndarray, "H W 2"]
    covisible: Bool[np.ndarray, "H W"]
    part: Int32[np.ndarray, "H W"]


def dense_truth(
    view0: View, view1: View, *, tolerance: Tolerance | None = None, two_way: float | None = None
) -> tuple[DenseTruth, DenseTruth]:
    """Return the truth from view 0 to view 1, and the one from 1 to 0.

    Args:
        view0: one view.
        view1: another instance, pose or camera.
        tolerance: of the visibility test.
        two_way: drop labels that do not lead back to within this many pixels; None keeps them. Labels from
            surface points are exact: it would drop surfaces seen at a grazing angle.
    """
    shared0 = view0.scene.partners(view1.scene)
    names0 = np.where(shared0 >= 0, np.arange(len(shared0), dtype=np.int32), np.int32(-1))
    names1 = view1.scene.partners(view0.scene)
    return both_ways(
        _labels(view0, view1, names0, tolerance), _labels(view1, view0, names1, tolerance), two_way=two_way
    )


def both_ways(there: OneWay, back: OneWay, *, two_way: float | None = None) -> tuple[DenseTruth, DenseTruth]:
    """Complete the labels of view 0 and of view 1 with what needs both; `two_way` as in `dense_truth`."""
    return _completed(there, back, two_way), _completed(back, there, two_way)


def shared_parts(view: View, names: Int32[np.ndarray, " B"]) -> Int32[np.ndarray, "H W"]:
    """Return a number for the body and the part that each pixel shows, -1 where both scenes do not have it.

    `names` [B] has a number for each body of the view's scene that both scenes agree on, -1 for none.
    """
    part = np.empty_like(view.raster.face)
    _name_parts(view.raster.face, view.scene.object, view.scene.part, names, part)
    return part


def _labels(source: View, target: View, names: np.ndarray, tolerance: Tolerance | None) -> OneWay:
    landing = transfer(source.points(), source, target, tolerance)
    return OneWay(
        xy=landing.xy.reshape(*source.size, 2),
        covisible=landing.visible.reshape(source.size),
        part=shared_parts(source, names),
    )


def _completed(way: OneWay, back: OneWay, two_way: float | None) -> DenseTruth:
    valid = way.covisible
    if two_way is not None:
        error = np.empty(valid.shape, np.float32)
        _round_trip(way.xy, way.covisible, back.xy, back.covisible, error)
        valid = valid & (error <= two_way)
    interior = np.empty(valid.shape, np.bool_)
    # Planes: a grid of [2 H W] is what they become.
    planes = np.empty((2, *valid.shape), np.float32)
    _keep_valid(way.xy, valid, way.part, back.covisible, back.part, planes, interior)
    return DenseTruth(
        xy=planes.transpose(1, 2, 0),
        valid=valid,
        fg=way.part >= 0,
        covisible=way.covisible,
        interior=interior,
        reference_size=(back.part.shape[0], back.part.shape[1]),
    )


@lru_cache(maxsize=16)
def _to_normalised(size: Size) -> tuple[Tensor, Tensor]:
    """Return `pixel_to_normalised` as shift and step of both planes of a grid: one pass over it instead of four."""
    ends = pixel_to_normalised(torch.tensor(((0.0, 0.0), (1.0, 1.0)), dtype=torch.float64), size)
    return ends[0].float()[:, None, None], (ends[1] - ends[0]).float()[:, None, None]


@compiled
def _name_parts(
    face: np.ndarray, body_of_face: np.ndarray, part_of_face: np.ndarray, names: np.ndarray, part: np.ndarray
) -> None:
    height, width = face.shape
    for y in range(height):
        for x in range(width):
            f, part[y, x] = face[y, x], -1
            if f >= 0 and names[body_of_face[f]] >= 0:
                part[y, x] = names[body_of_face[f]] * (1 << 16) + part_of_face[f]


@compiled
def _keep_valid(
    xy: np.ndarray,
    valid: np.ndarray,
    part: np.ndarray,
    back_covisible: np.ndarray,
    back_part: np.ndarray,
    kept: np.ndarray,
    interior: np.ndarray,
) -> None:
    """Copy the valid labels, and find where all four reference pixels around one are visible and show its part."""
    height, width = valid.shape
    far_height, far_width = back_part.shape
    for y in range(height):
        for x in range(width):
            interior[y, x] = False
            if not valid[y, x]:
                kept[0, y, x], kept[1, y, x] = np.nan, np.nan
                continue
            u, v = xy[y, x, 0], xy[y, x, 1]
            kept[0, y, x], kept[1, y, x] = u, v
            if u < 0 or v < 0 or u >= far_width - 1 or v >= far_height - 1:
                continue
            left, top, same = int(u), int(v), part[y, x]
            interior[y, x] = (
                back_part[top, left] == same
                and back_part[top, left + 1] == same
                and back_part[top + 1, left] == same
                and back_part[top + 1, left + 1] == same
                and back_covisible[top, left]
                and back_covisible[top, left + 1]
                and back_covisible[top + 1, left]
                and back_covisible[top + 1, left + 1]
            )


@compiled
def _round_trip(
    xy: np.ndarray, covisible: np.ndarray, back_xy: np.ndarray, back_covisible: np.ndarray, error: np.ndarray
) -> None:
    """Find the distance in pixels after following a label and the one back; infinite where there is none."""
    height, width = covisible.shape
    far_height, far_width = back_covisible.shape
    for y in range(height):
        for x in range(width):
            error[y, x] = np.inf
            u, v = xy[y, x, 0], xy[y, x, 1]
            if not covisible[y, x] or not (u >= 0 and v >= 0 and u < far_width - 1 and v < far_height - 1):
                continue
            left, top = int(u), int(v)
            home_x, home_y, good = 0.0, 0.0, True
            for tap in range(4):
                row, column = top + tap // 2, left + tap % 2
                weight = abs(1 - tap % 2 - (u - left)) * abs(1 - tap // 2 - (v - top))
                good = good and back_covisible[row, column]
                home_x += weight * back_xy[row, column, 0]
                home_y += weight * back_xy[row, column, 1]
            if good:
                error[y, x] = np.hypot(home_x - x, home_y - y)


def truth_from_depth(
    depth0: Float32[np.ndarray, "H W"],
    viewpoint0: Viewpoint,
    depth1: Float32[np.ndarray, "h w"],
    viewpoint1: Viewpoint,
    *,
    tolerance: float = 0.01,
    two_way: float | None = None,
) -> tuple[DenseTruth, DenseTruth]:
    """Return the truth from view 0 to view 1, and the one from 1 to 0.

    Without bodies there are no parts: every pixel with a depth is foreground, of one part.

    Args:
        depth0: z in camera 0's frame (not the length of the ray), NaN where unknown.
        viewpoint0: camera 0.
        depth1: z in camera 1's frame.
        viewpoint1: camera 1.
        tolerance: relative difference of two depths of one place.
        two_way: drop labels that do not lead back to within this many pixels; None keeps them.
    """
    there = _depth_labels(depth0, viewpoint0, depth1, viewpoint1, tolerance)
    back = _depth_labels(depth1, viewpoint1, depth0, viewpoint0, tolerance)
    return both_ways(there, back, two_way=two_way)


def world_points(depth: Float32[np.ndarray, "H W"], viewpoint: Viewpoint) -> Float64[np.ndarray, "N 3"]:
    """Return where each pixel's surface is in the world, row by row; NaN where the depth is unknown."""
    rows, columns = np.indices(depth.shape, dtype=np.float64)
    rays = np.stack((columns, rows, np.ones_like(rows)), -1).reshape(-1, 3) @ np.linalg.inv(viewpoint.K).T
    return (rays * depth.reshape(-1, 1).astype(np.float64) - viewpoint.t) @ viewpoint.R


def _depth_labels(
    depth: np.ndarray, viewpoint: Viewpoint, far_depth: np.ndarray, far: Viewpoint, tolerance: float
) -> OneWay:
    xy, z = far.project(world_points(depth, viewpoint))
    xy = np.where((z > 0)[:, None], xy, np.nan)
    known = np.isfinite(depth)
    return OneWay(
        xy=xy.astype(np.float32).reshape(*depth.shape, 2),
        covisible=_in_sight(xy, z, far_depth, tolerance).reshape(depth.shape),
        part=np.where(known, np.int32(0), np.int32(-1)),
    )


def _in_sight(xy: np.ndarray, z: np.ndarray, depth: np.ndarray, tolerance: float) -> Bool[np.ndarray, " N"]:
    height, width = depth.shape
    with np.errstate(invalid="ignore"):
        within = (xy >= -0.5).all(1) & (xy[:, 0] <= width - 0.5) & (xy[:, 1] <= height - 0.5)
    corner = np.floor(np.where(within[:, None], xy, 0)).astype(np.int64)
    seen = np.zeros(len(xy), np.bool_)
    for right, down in ((0, 0), (1, 0), (0, 1), (1, 1)):
        column, row = corner[:, 0] + right, corner[:, 1] + down
        near = (np.abs(column - xy[:, 0]) <= REACH) & (np.abs(row - xy[:, 1]) <= REACH)
        there = within & near & (column >= 0) & (row >= 0) & (column < width) & (row < height)
        found = depth[np.where(there, row, 0), np.where(there, column, 0)]
        with np.errstate(invalid="ignore"):
            seen |= there & (np.abs(found - z) < tolerance * z)
    return seen


DEPTH_STEP = 0.03
"""Relative difference in depth between neighbouring pixels that counts as a contour."""


def eroded(
    truths: tuple[DenseTruth, DenseTruth], views: tuple[View, View], radius: float | int
) -> tuple[DenseTruth, DenseTruth]:
    """Drop the labels of a pair that start or end within `radius` pixels of a contour; 0 keeps all."""
    if radius <= 0:
        return truths
    safe0, safe1 = (distance_to(contours(view)) > radius for view in views)
    return _restricted(truths[0], safe0, safe1), _restricted(truths[1], safe1, safe0)


def contours(view: View) -> Bool[np.ndarray, "H W"]:
    """Return the pixels next to which another body, or the same one much farther or nearer, begins."""
    body, depth = view.object, np.nan_to_num(view.depth, nan=np.inf)
    found = np.zeros(view.size, np.bool_)
    for one, other in ((np.s_[1:, :], np.s_[:-1, :]), (np.s_[:, 1:], np.s_[:, :-1])):
        with np.errstate(invalid="ignore"):
            step = np.abs(depth[one] - depth[other]) > DEPTH_STEP * np.minimum(depth[one], depth[other])
        differs = (body[one] != body[other]) | step
        found[one] |= differs
        found[other] |= differs
    return found


def overlap(truths: tuple[DenseTruth, DenseTruth]) -> tuple[float, float]:
    """Return the fraction of the pixels of each of two images that the other shows too."""
    return float(truths[0].valid.mean()), float(truths[1].valid.mean())


def overlap_facts(truths: tuple[DenseTruth, DenseTruth]) -> dict[str, str]:
    """Return the smaller fraction and both, as facts of a sample."""
    both = overlap(truths)
    values = {"overlap": min(both), "overlap0": both[0], "overlap1": both[1]}
    return {name: f"{value:.4f}" for name, value in values.items()}


def _restricted(truth: DenseTruth, here: np.ndarray, there: np.ndarray) -> DenseTruth:
    height, width = truth.reference_size
    column, row = (np.nan_to_num(truth.xy[..., axis]) for axis in (0, 1))
    column = np.clip(np.rint(column), 0, width - 1).astype(np.int64)
    row = np.clip(np.rint(row), 0, height - 1).astype(np.int64)
    valid = truth.valid & here & there[row, column]
    return replace(
        truth,
        valid=valid,
        interior=truth.interior & valid,
        xy=np.where(valid[..., None], truth.xy, np.float32(np.nan)),
    )


def distance_to(mask: Bool[np.ndarray, "H W"]) -> Float[np.ndarray, "H W"]:
    """Return the distance of each pixel to the nearest one in a mask; infinite for an empty mask."""
    if not mask.any():
        return np.full(mask.shape, np.inf)
    return np.asarray(distance_transform_edt(~mask), np.float64)
