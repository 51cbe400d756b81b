"""Bodies in a world, ready to be drawn."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Int32

from homolog.core.errors import ShapeError
from homolog.synthetic.surface import SurfacePoints, Topology


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Body:
    """One object of a scene.

    Attributes:
        topology: what it shares with others of its category.
        vertices: [V 3] in the world.
        key: bodies of two scenes correspond if they have the same key and the same topology; a body
            without one, such as an occluder, corresponds to nothing.
    """

    topology: Topology
    vertices: Float64[np.ndarray, "V 3"]
    key: str | None = None

    def __post_init__(self) -> None:
        """Refuse vertices of another topology.

        Raises:
            ShapeError: see above.
        """
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
        sheet: [F] the sheet of each triangle, of its own number in each body.
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
        """Gather bodies.

        Raises:
            ShapeError: there is none.
        """
        if not bodies:
            raise ShapeError("expected at least one body in a scene, got none")
        topologies = [body.topology for body in bodies]
        counts = [len(topology.faces) for topology in topologies]
        if len(topologies) == 1:
            return cls._alone(bodies[0])
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

    @classmethod
    def _alone(cls, body: Body) -> "Scene":
        topology = body.topology
        return cls(
            bodies=(body,),
            vertices=body.vertices,
            canonical=topology.canonical,
            faces=topology.faces,
            object=np.zeros(len(topology.faces), np.int32),
            part=topology.part,
            sheet=topology.sheet,
            first_face=np.zeros(1, np.int32),
            closed=topology.closed,
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
