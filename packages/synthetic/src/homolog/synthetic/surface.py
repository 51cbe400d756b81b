"""Surface points: the one thing that every kind of synthetic truth is about.

A surface point is an object, a triangle of it, and barycentric coordinates on that triangle. The same
surface point exists on every instance of a topology, in every pose and at every time, which is what makes
it a correspondence.
"""

from dataclasses import dataclass

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
        """Refuse parts of different lengths."""
        if not len(self.object) == len(self.face) == len(self.bary):
            raise ShapeError(
                f"SurfacePoints: expected equal lengths, got {len(self.object)}, {len(self.face)}, {len(self.bary)}"
            )

    def __len__(self) -> int:
        """Return the number of points."""
        return len(self.object)

    def take(self, index: np.ndarray) -> "SurfacePoints":
        """Return some of the points, by index or by mask."""
        return SurfacePoints(object=self.object[index], face=self.face[index], bary=self.bary[index])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Topology:
    """What all instances of a category share.

    Attributes:
        name: equal names promise equal topology.
        faces: [F 3] vertices of each triangle, anti-clockwise where seen from outside.
        canonical: [V 3] position of each vertex on the mean instance at rest, whose longest side is 1;
            where two instances agree in it, they show the same place.
        part: [F] index into `part_names`.
        part_names: what each part is (`"front left leg"`); left and right are the object's own.
        sheet: [F] a number for each set of triangles that hang together by their vertices; between two of
            them, and only there, the surface has an edge.
        finishes: what each part is made of (`"coat"`, `"metal"`); see `homolog.synthetic.look`.
        closed: no triangle can be seen from behind.
        landmark_names: of the keypoints.
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
    landmark_names: tuple[str, ...]
    landmark_face: Int32[np.ndarray, " K"]
    landmark_bary: Float32[np.ndarray, "K 3"]

    def landmarks(self, body: int) -> SurfacePoints:
        """Return the keypoints of the `body`-th object of a scene, which has this topology."""
        return SurfacePoints(
            object=np.full(len(self.landmark_face), body, np.int32),
            face=self.landmark_face,
            bary=self.landmark_bary,
        )


def sheets(faces: Int32[np.ndarray, "F 3"]) -> Int32[np.ndarray, " F"]:
    """Number the sets of triangles that hang together by their vertices."""
    root = np.arange(int(faces.max()) + 1, dtype=np.int32)
    _join(faces, root)
    return np.unique(root[faces[:, 0]], return_inverse=True)[1].astype(np.int32)


@compiled
def _join(faces: np.ndarray, root: np.ndarray) -> None:
    """Let every vertex point at the lowest vertex that it hangs together with."""
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
