"""Keypoints of what a view is about: where they are, and whether they are in sight."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Bool, Float32

from homolog.synthetic.compiled import compiled
from homolog.synthetic.scene import Body
from homolog.synthetic.surface import SurfacePoints, Topology
from homolog.synthetic.transfer import transfer
from homolog.synthetic.view import View
from homolog.synthetic.viewpoint import Viewpoint


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Landmarks:
    """The keypoints of a category in one image.

    Attributes:
        xy: [K 2] pixel coordinates, whether in sight or not.
        visible: [K] whether they are.
    """

    xy: Float32[np.ndarray, "K 2"]
    visible: Bool[np.ndarray, " K"]


def landmarks_in(view: View) -> Landmarks:
    """Return the keypoints of body 0 of a view.

    A keypoint on a vertex belongs to every triangle that meets there, whichever of them names it: the foot of
    a chair is in sight where one of the leg's sides is, though its sole never is.
    """
    points, first = _fans(view.scene.bodies[0].topology)
    landing = transfer(points, view, view)
    return Landmarks(xy=landing.xy[first], visible=_any_of(landing.visible, first))


def turned_towards(camera: Viewpoint, body: Body) -> Bool[np.ndarray, " K"]:
    """Tell of which keypoints of a body a camera may see the outside."""
    shape = body.topology
    points, first = _fans(shape)
    if not shape.closed:
        return np.ones(len(first), np.bool_)
    facing = np.empty(len(points), np.bool_)
    _find_facing(camera.homogeneous(body.vertices[shape.faces[points.face].reshape(-1)]), facing)
    return _any_of(facing, first)


def _any_of(flags: Bool[np.ndarray, " N"], first: np.ndarray) -> Bool[np.ndarray, " K"]:
    return np.logical_or.reduceat(flags, first) if len(first) else np.zeros(0, np.bool_)


@lru_cache(maxsize=16)
def _fans(shape: Topology) -> tuple[SurfacePoints, np.ndarray]:
    """Return each keypoint as a point of every triangle that meets there, and where each keypoint begins.

    Triangles meet where they have the same canonical position, since along edges vertices are there once for
    each side. The first one of a keypoint is the one that the topology names.
    """
    faces: list[np.ndarray] = []
    bary: list[np.ndarray] = []
    for own, weights in zip(shape.landmark_face.tolist(), shape.landmark_bary, strict=True):
        place = weights @ shape.canonical[shape.faces[own]]
        # Within a triangle or on an edge there is one triangle, as good as any.
        at_vertex = weights.max() == 1
        part = np.flatnonzero(shape.part == shape.part[own]) if at_vertex else np.array((own,))
        here = np.abs(shape.canonical[shape.faces[part]] - place).max(axis=2) < 1e-9
        meeting = here.any(axis=1) & (part != own)
        faces += [np.array((own,), np.int32), part[meeting].astype(np.int32)]
        bary += [weights[None], np.eye(3, dtype=np.float32)[here[meeting].argmax(axis=1)]]
    face = np.concatenate(faces) if faces else np.zeros(0, np.int32)
    counts = [len(own) + len(others) for own, others in zip(faces[::2], faces[1::2], strict=True)]
    points = SurfacePoints(
        object=np.zeros(len(face), np.int32),
        face=face,
        bary=np.concatenate(bary) if bary else np.zeros((0, 3), np.float32),
    )
    return points, np.cumsum([0, *counts[:-1]])[: len(counts)]


@compiled
def _find_facing(corners: np.ndarray, facing: np.ndarray) -> None:
    for n in range(len(facing)):
        a, b, c = corners[3 * n], corners[3 * n + 1], corners[3 * n + 2]
        facing[n] = (
            a[0] * (b[1] * c[2] - b[2] * c[1])
            + a[1] * (b[2] * c[0] - b[0] * c[2])
            + a[2] * (b[0] * c[1] - b[1] * c[0])
        ) < 0
