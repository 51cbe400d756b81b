"""Tracks of surface points through the frames of a video, by the one transfer function."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int64

from homolog.core.errors import ShapeError
from homolog.synthetic.surface import SurfacePoints
from homolog.synthetic.transfer import transfer
from homolog.synthetic.view import View


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SeenPoints:
    """N surface points, each with a frame on which it is in sight.

    Attributes:
        points: on the bodies that all frames share.
        frame: [N] the frame that each was picked on.
        xy: [N 2] where it was picked there, pixel coordinates.
    """

    points: SurfacePoints
    frame: Int64[np.ndarray, " N"]
    xy: Float64[np.ndarray, "N 2"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PointTracks:
    """N points on T frames.

    Attributes:
        xy: [N T 2] pixel coordinates, exact whether a point is in sight or not; NaN behind the camera.
        visible: [N T] inside the picture and not hidden.
    """

    xy: Float32[np.ndarray, "N T 2"]
    visible: Bool[np.ndarray, "N T"]


def pick_points(
    views: Sequence[View],
    random: np.random.Generator,
    *,
    count: int,
    frames: Int64[np.ndarray, " K"],
    wanted: Bool[np.ndarray, " B"],
    share: float,
) -> SeenPoints:
    """Pick surface points that are in sight on one of some frames, anywhere within their pixel.

    Args:
        views: all frames.
        random: decides which.
        count: how many.
        frames: those on which to pick.
        wanted: [B] bodies of which there are to be more.
        share: of the points that are on those, as far as they are in sight at all.

    Raises:
        ShapeError: none of the frames shows anything.
    """
    bodies = np.stack([views[frame].object for frame in frames.tolist()])
    everything = np.flatnonzero(bodies >= 0)
    if not len(everything):
        raise ShapeError(f"expected frames that show something, got {len(frames)} that do not")
    special = np.flatnonzero((bodies >= 0) & wanted[bodies])
    if not len(special):
        special = everything
    # Drawn from both, so that what is in sight does not decide how many numbers are used.
    often, rare = (random.integers(len(pool), size=count) for pool in (special, everything))
    place = np.where(random.random(count) < share, special[often], everything[rare])
    frame, row, column = np.unravel_index(place, bodies.shape)
    offset = random.uniform(-0.5, 0.5, (count, 2))
    return _picked(views, frames[frame], row, column, offset)


def _picked(
    views: Sequence[View], frame: np.ndarray, row: np.ndarray, column: np.ndarray, offset: np.ndarray
) -> SeenPoints:
    scene = views[0].scene
    shown = [views[k] for k in frame.tolist()]
    pixels = list(zip(shown, row.tolist(), column.tolist(), strict=True))
    face = np.array([view.raster.face[y, x] for view, y, x in pixels], np.int32)
    corners = [view.seen[scene.faces[f]] for view, f in zip(shown, face.tolist(), strict=True)]
    centre = np.stack((column, row), axis=1).astype(np.float64)
    bary = _barycentric(np.array(corners).reshape(-1, 3, 3), centre + offset)
    # Beyond the edge of the triangle another surface is in sight: there, keep to the centre.
    outside = ~(bary.min(axis=1) >= 0)
    bary[outside] = [view.raster.bary[y, x] for (view, y, x), out in zip(pixels, outside, strict=True) if out]
    body = scene.object[face]
    return SeenPoints(
        points=SurfacePoints(object=body, face=face - scene.first_face[body], bary=bary.astype(np.float32)),
        frame=frame,
        xy=np.where(outside[:, None], centre, centre + offset),
    )


def follow(points: SurfacePoints, views: Sequence[View]) -> PointTracks:
    """Return where surface points are on every frame.

    Args:
        points: on the bodies that all frames share.
        views: the frames, with the same bodies in the same order.
    """
    xy = np.empty((len(points), len(views), 2), np.float32)
    visible = np.empty((len(points), len(views)), np.bool_)
    for frame, view in enumerate(views):
        landing = transfer(points, views[0], view)
        xy[:, frame], visible[:, frame] = landing.xy, landing.visible
    return PointTracks(xy=xy, visible=visible)


def _barycentric(
    corners: Float64[np.ndarray, "N 3 3"], xy: Float64[np.ndarray, "N 2"]
) -> Float64[np.ndarray, "N 3"]:
    """Return where the rays of pixels meet the planes of triangles; see `homolog.synthetic.rasteriser`."""
    relative = corners[..., :2] - corners[..., 2:] * xy[:, None]
    x, y = relative[..., 0], relative[..., 1]
    edges = x[:, [1, 2, 0]] * y[:, [2, 0, 1]] - x[:, [2, 0, 1]] * y[:, [1, 2, 0]]
    return edges / edges.sum(axis=1, keepdims=True)
