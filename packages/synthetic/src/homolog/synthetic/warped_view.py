"""A view behind a lens that bends the picture: the surface itself is drawn where a map of the plane puts it.

Nothing is resampled. The lens moves projected vertices, and everything made of them (triangles,
barycentric coordinates, depth, colours, their edges) is as sharp as in any other view.
"""

from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float, Float64

from homolog.core.camera import Camera
from homolog.core.coords import Size, resize_pixel
from homolog.core.errors import CapabilityError
from homolog.synthetic.plane_map import PlaneMap
from homolog.synthetic.rasteriser import NEAR
from homolog.synthetic.scene import Body, Scene
from homolog.synthetic.subdivision import Subdivision, subdivided
from homolog.synthetic.surface import Topology
from homolog.synthetic.view import View
from homolog.synthetic.viewpoint import Viewpoint

ERROR = 0.03
"""Pixels by which a straight edge of a triangle may miss the curve that the map makes of it."""

SHORT = 1.5
"""Edges of so many pixels stay straight, whatever bends them."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WarpedViewpoint(Viewpoint):
    """A camera whose picture a map moves: of the plane, from the picture of the camera alone to this one.

    Attributes:
        lens: the map.
        frame: (height, width) of the picture that the map was made for; sides of another proportion, as some
            generators need, see it stretched like everything else.
    """

    lens: PlaneMap
    frame: Size

    def homogeneous(self, points: Float[np.ndarray, "N 3"]) -> Float64[np.ndarray, "N 3"]:
        """Return (x z, y z, z) of points of the world, with the pixel (x, y) of this picture and the depth z."""
        # A class with slots is made anew by its decorator, and `super` would look for the old one.
        seen = Viewpoint.homogeneous(self, points)
        ahead = seen[:, 2] > NEAR
        z = seen[ahead, 2:]
        framed = _resized(seen[ahead, :2] / z, self.size, self.frame)
        seen[ahead, :2] = _resized(self.lens.moved(framed, self.frame), self.frame, self.size) * z
        return seen

    def resized(self, size: Size) -> "WarpedViewpoint":
        """Return the same camera and lens with another number of pixels over the same field of view."""
        plain = Viewpoint.resized(self, size)
        return WarpedViewpoint(
            K=plain.K, R=plain.R, t=plain.t, size=plain.size, lens=self.lens, frame=self.frame
        )

    def camera(self) -> Camera:
        """Refuse: no matrix of intrinsics describes a lens.

        Raises:
            CapabilityError: always.
        """
        raise CapabilityError("a warped view has no pinhole intrinsics; use those of the view it was made of")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WarpedView:
    """A view behind a lens, and what became of its triangles.

    Attributes:
        view: surface points, depth and parts are those of the view it was made of. Triangles that are long for
            the curvature of the lens are cut, so that the scene has triangles of its own; bodies and their
            parts keep their numbers, and positions their place in the world.
        cuts: for each body how its triangles were cut, None where they were not.
    """

    view: View
    cuts: tuple[Subdivision | None, ...]

    @classmethod
    def of(cls, view: View, lens: PlaneMap) -> "WarpedView":
        """Move what a view shows by a map of the plane."""
        camera = view.viewpoint
        warped = WarpedViewpoint(
            K=camera.K, R=camera.R, t=camera.t, size=camera.size, lens=lens, frame=camera.size
        )
        if lens.is_affine:
            return cls(view=View.of(view.scene, warped), cuts=(None,) * len(view.scene.bodies))
        bodies, cuts = zip(*(_cut(body, camera, lens) for body in view.scene.bodies), strict=True)
        return cls(view=View.of(Scene.of(bodies), warped), cuts=cuts)


def _resized(xy: np.ndarray, source: Size, target: Size) -> np.ndarray:
    return xy if source == target else resize_pixel(torch.from_numpy(xy), source, target).numpy()


def _cut(body: Body, camera: Viewpoint, lens: PlaneMap) -> tuple[Body, Subdivision | None]:
    """Return a body whose edges are short enough to look bent, and how it was cut."""
    topology = body.topology
    parts = subdivided(
        topology.faces,
        np.concatenate((camera.homogeneous(body.vertices), body.vertices, topology.canonical), axis=1),
        too_long=partial(_misses, lens=lens, size=camera.size),
    )
    if len(parts.faces) == len(topology.faces):
        return body, None
    finer = Topology(
        name=topology.name,
        faces=parts.faces,
        canonical=parts.values[:, 6:],
        part=topology.part[parts.parent],
        sheet=topology.sheet[parts.parent],
        part_names=topology.part_names,
        finishes=topology.finishes,
        closed=topology.closed,
        # Keypoints are named by triangles that are no more; they move with the map instead.
        landmark_names=(),
        landmark_face=np.zeros(0, np.int32),
        landmark_bary=np.zeros((0, 3), np.float32),
    )
    return Body(topology=finer, vertices=parts.values[:, 3:6], key=body.key), parts


def _misses(start: np.ndarray, end: np.ndarray, *, lens: PlaneMap, size: Size) -> np.ndarray:
    """Tell whether the middle of an edge comes to lie off the middle of its bent ends, where one can see it."""
    missed = np.zeros(len(start), np.bool_)
    ahead = np.flatnonzero((start[:, 2] > NEAR) & (end[:, 2] > NEAR))
    seen0, seen1 = start[ahead, :3], end[ahead, :3]
    offset = seen0[:, :2] / seen0[:, 2:] - seen1[:, :2] / seen1[:, 2:]
    long = np.einsum("nc,nc->n", offset, offset) > SHORT**2
    ahead, seen0, seen1 = ahead[long], seen0[long], seen1[long]
    middle = (seen0 + seen1) / 2
    bent0, bent1, bent = (lens.moved(seen[:, :2] / seen[:, 2:], size) for seen in (seen0, seen1, middle))
    # What is drawn in its place: projection is linear before the division.
    drawn = (bent0 * seen0[:, 2:] + bent1 * seen1[:, 2:]) / (2 * middle[:, 2:])
    low, high = np.minimum(bent0, bent1), np.maximum(bent0, bent1)
    shown = (high > -1).all(axis=1) & (low < (size[1], size[0])).all(axis=1)
    missed[ahead] = shown & (np.linalg.norm(bent - drawn, axis=1) > ERROR)
    return missed
