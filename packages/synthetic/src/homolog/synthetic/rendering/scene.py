"""Surface points, topologies, bodies and scenes.

A surface point is an object, a triangle of it, and barycentric coordinates on that triangle. The same
surface point exists on every instance of a topology, in every pose and at every time, which is what makes
it a correspondence.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float32, Float64, Int32

from homolog.core.errors import ShapeError
from homolog.synthetic.compiled import compiled


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SurfacePoints:
    """N points on the surfaces of a scene.

    Attributes:
        object: [N] index of the body in its scene, -1 for no point.
        face: [N] index of the triangle among those of the body, -1 for no point.
        bary: [N 3] barycentric coordinates, NaN for no point.
    """

    object: Int32[np.ndarray, " N"]
    face: Int32[np.ndarray, " N"]
    bary: Float32[np.ndarray, "N 3"]

    def __post_init__(self) -> None:
        """Raise ShapeError unless all parts have the same length."""
        if not len(self.object) == len(self.face) == len(self.bary):
            raise ShapeError(
                f"SurfacePoints: expected equal lengths, got {len(self.object)}, {len(self.face)}, {len(self.bary)}"
            )

    def __len__(self) -> int:
        return len(self.object)

    def take(self, index: np.ndarray) -> "SurfacePoints":
        """Return some of the points, by index or by mask."""
        return SurfacePoints(object=self.object[index], face=self.face[index], bary=self.bary[index])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Topology:
    """What all instances of a category share.

    Attributes:
        name: topologies of equal names are equal.
        faces: [F 3] vertices of each triangle, anti-clockwise where seen from outside.
        canonical: [V 3] position of each vertex on the mean instance at rest, whose longest side is 1;
            equal positions on two instances are the same place.
        part: [F] index into `part_names`.
        part_names: such as `"front left leg"`; left and right are the object's own.
        sheet: [F] index of the connected component (by shared vertices); the surface has sharp edges between
            components, and only there.
        finishes: the material of each part (`"coat"`, `"metal"`); see `homolog.synthetic.rendering.look`.
        closed: no triangle can be seen from behind.
        landmark_names: of the keypoints; none by default.
        landmark_face: [K] triangle of each keypoint.
        landmark_bary: [K 3] where on it.
    """

    name: str
    faces: Int32[np.ndarray, "F 3"]
    canonical: Float64[np.ndarray, "V 3"]
    part: Int32[np.ndarray, " F"]
    sheet: Int32[np.ndarray, " F"]
    part_names: tuple[str, ...]
    finishes: tuple[str, ...]
    closed: bool
    landmark_names: tuple[str, ...] = ()
    landmark_face: Int32[np.ndarray, " K"] = field(default_factory=lambda: np.zeros(0, np.int32))
    landmark_bary: Float32[np.ndarray, "K 3"] = field(default_factory=lambda: np.zeros((0, 3), np.float32))

    def landmarks(self, body: int) -> SurfacePoints:
        """Return the keypoints as surface points of the body with this index in its scene."""
        return SurfacePoints(
            object=np.full(len(self.landmark_face), body, np.int32),
            face=self.landmark_face,
            bary=self.landmark_bary,
        )


def sheets(faces: Int32[np.ndarray, "F 3"]) -> Int32[np.ndarray, " F"]:
    """Number the connected components of a mesh: sets of triangles linked by shared vertices."""
    root = np.arange(int(faces.max()) + 1, dtype=np.int32)
    _join(faces, root)
    return np.unique(root[faces[:, 0]], return_inverse=True)[1].astype(np.int32)


@compiled
def _join(faces: np.ndarray, root: np.ndarray) -> None:
    """Let every vertex point at the lowest vertex of its component."""
    changed = True
    while changed:
        changed = False
        for f in range(len(faces)):
            lowest = min(root[faces[f, 0]], root[faces[f, 1]], root[faces[f, 2]])
            for k in range(3):
                if root[faces[f, k]] != lowest:
                    root[faces[f, k]] = lowest
                    changed = True
        for v in range(len(root)):
            root[v] = root[root[v]]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Body:
    """One object of a scene.

    Attributes:
        topology: shared with all instances of its category.
        vertices: [V 3] in the world.
        key: bodies of two scenes correspond if they have the same key and the same topology; a body
            without one, such as an occluder, corresponds to nothing.
    """

    topology: Topology
    vertices: Float64[np.ndarray, "V 3"]
    key: str | None = None

    def __post_init__(self) -> None:
        """Raise ShapeError unless there are as many vertices as the topology has."""
        if self.vertices.shape != self.topology.canonical.shape:
            raise ShapeError(
                f"{self.topology.name}: expected vertices {list(self.topology.canonical.shape)}, "
                f"got {list(self.vertices.shape)}"
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scene:
    """All bodies as one mesh.

    Attributes:
        bodies: the objects, in order.
        vertices: [V 3] of all bodies.
        canonical: [V 3] of all bodies.
        faces: [F 3] of all bodies.
        object: [F] the body of each triangle.
        part: [F] the part of each triangle, among those of its body.
        sheet: [F] the connected component of each triangle, numbered over all bodies.
        first_face: [B] where the triangles of each body begin.
        closed: no triangle of any body can be seen from behind.
    """

    bodies: tuple[Body, ...]
    vertices: Float64[np.ndarray, "V 3"]
    canonical: Float64[np.ndarray, "V 3"]
    faces: Int32[np.ndarray, "F 3"]
    object: Int32[np.ndarray, " F"]
    part: Int32[np.ndarray, " F"]
    sheet: Int32[np.ndarray, " F"]
    first_face: Int32[np.ndarray, " B"]
    closed: bool

    @classmethod
    def of(cls, bodies: Sequence[Body]) -> "Scene":
        """Join bodies into one mesh.

        Raises:
            ShapeError: no bodies.
        """
        if not bodies:
            raise ShapeError("expected at least one body in a scene, got none")
        topologies = [body.topology for body in bodies]
        counts = [len(topology.faces) for topology in topologies]
        first_sheet = np.cumsum(
            [0, *(int(topology.sheet.max()) + 1 for topology in topologies)], dtype=np.int32
        )
        first_vertex = np.cumsum([0, *(len(body.vertices) for body in bodies)])
        return cls(
            bodies=tuple(bodies),
            vertices=np.concatenate([body.vertices for body in bodies]),
            canonical=np.concatenate([topology.canonical for topology in topologies]),
            faces=np.concatenate(
                [t.faces + np.int32(first) for t, first in zip(topologies, first_vertex[:-1], strict=True)]
            ),
            object=np.repeat(np.arange(len(bodies), dtype=np.int32), counts),
            part=np.concatenate([topology.part for topology in topologies]),
            sheet=np.concatenate(
                [topology.sheet + first for topology, first in zip(topologies, first_sheet[:-1], strict=True)]
            ),
            first_face=np.cumsum([0, *counts[:-1]], dtype=np.int32),
            closed=all(topology.closed for topology in topologies),
        )

    def partners(self, other: "Scene") -> Int32[np.ndarray, " B"]:
        """Return for each body the index of the corresponding one in `other`, or -1.

        Raises:
            ShapeError: two bodies of `other` have the same key.
        """
        places: dict[tuple[str, str], int] = {}
        for index, body in enumerate(other.bodies):
            if body.key is None:
                continue
            if (body.key, body.topology.name) in places:
                raise ShapeError(f"expected every key once in a scene, got two bodies {body.key}")
            places[body.key, body.topology.name] = index
        return np.array(
            [-1 if b.key is None else places.get((b.key, b.topology.name), -1) for b in self.bodies], np.int32
        )

    def positions(self, points: SurfacePoints) -> Float64[np.ndarray, "N 3"]:
        """Return where surface points are in the world; NaN for no point."""
        corners = self.vertices[self.faces[self.first_face[points.object] + points.face]]
        return np.einsum("nk,nkc->nc", points.bary.astype(np.float64), corners)
