"""Cut triangles until all edges are short, so that a bend or a deformation can act within a triangle.

An edge is cut in the middle, for both triangles that share it, so that no gap opens.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float64, Int32

from homolog.core.errors import ShapeError

ROUNDS = 12
"""How often an edge is halved at most."""

TooLong = Callable[[Float64[np.ndarray, "E C"], Float64[np.ndarray, "E C"]], Bool[np.ndarray, " E"]]
"""From the values at both ends of edges, in any order, to which edges to cut."""

Pieces = tuple[np.ndarray, np.ndarray, np.ndarray]
"""Triangles, the old triangle of each, and the barycentric coordinates on it of its corners."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Subdivision:
    """Triangles inside the triangles of another mesh.

    Attributes:
        faces: [F 3] of the new mesh; its first vertices are those of the old one.
        values: [V C] of its vertices.
        parent: [F] the old triangle that each new one is a part of.
        corners: [F 3 3] barycentric coordinates on it of the three corners.
    """

    faces: Int32[np.ndarray, "F 3"]
    values: Float64[np.ndarray, "V C"]
    parent: Int32[np.ndarray, " F"]
    corners: Float64[np.ndarray, "F 3 3"]


def subdivided(
    faces: Int32[np.ndarray, "F 3"],
    values: Float64[np.ndarray, "V C"],
    *,
    too_long: TooLong,
    limit: int = 2_000_000,
) -> Subdivision:
    """Cut edges in two until `too_long` returns none; a new vertex gets the mean of both ends.

    Raises:
        ShapeError: there would be more triangles than `limit`.
    """
    current = (
        faces,
        np.arange(len(faces), dtype=np.int32),
        np.broadcast_to(np.eye(3), (len(faces), 3, 3)),
    )
    finished: list[Pieces] = []
    for _ in range(ROUNDS):
        edges, which = _edges(current[0])
        cut = too_long(values[edges[:, 0]], values[edges[:, 1]])
        # A triangle without an edge to cut now never has one: edges are judged one by one.
        active = cut[which].any(axis=1)
        finished.append((current[0][~active], current[1][~active], current[2][~active]))
        middle = np.full(len(edges), -1, np.int32)
        middle[cut] = len(values) + np.arange(int(cut.sum()), dtype=np.int32)
        values = np.concatenate((values, values[edges[cut]].mean(axis=1)))
        current = _cut(current[0][active], middle[which[active]], current[1][active], current[2][active])
        total = len(current[0]) + sum(len(piece[0]) for piece in finished)
        if total > limit:
            raise ShapeError(f"expected at most {limit} triangles after cutting, got {total} or more")
        if not len(current[0]):
            break
    made, parent, corners = (np.concatenate(part) for part in zip(*finished, current, strict=True))
    return Subdivision(faces=made, values=values, parent=parent, corners=corners)


def _edges(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each edge once [E 2], and for each triangle those from corner 0 to 1, 1 to 2, and 2 to 0 [F 3]."""
    ends = np.sort(np.stack((faces, np.roll(faces, -1, axis=1)), axis=-1), axis=-1).reshape(-1, 2)
    key = ends[:, 0].astype(np.int64) * (int(faces.max()) + 1) + ends[:, 1]
    _, first, which = np.unique(key, return_index=True, return_inverse=True)
    return ends[first], which.reshape(-1, 3)


_PATTERNS: tuple[tuple[tuple[int, int, int], ...], ...] = (
    ((0, 1, 2),),
    # One edge is cut: from 0 to 1, with its middle 3. Then 1 to 2 with 4, and 2 to 0 with 5.
    ((0, 3, 2), (3, 1, 2)),
    ((0, 3, 2), (3, 4, 2), (3, 1, 4)),
    ((0, 3, 5), (3, 1, 4), (5, 4, 2), (3, 4, 5)),
)


def _cut(faces: np.ndarray, middle: np.ndarray, parent: np.ndarray, corners: np.ndarray) -> Pieces:
    """Replace triangles by the pattern for their number of cut edges; `middle` is -1 for an edge left alone."""
    wanted = (middle >= 0).astype(np.int64)
    number = wanted.sum(axis=1)
    # Turned so that with one cut edge it is the first, and with two the third is whole.
    turn = np.where(
        number == 1, wanted.argmax(axis=1), np.where(number == 2, (wanted.argmin(axis=1) + 1) % 3, 0)
    )
    order = (turn[:, None] + np.arange(3)) % 3
    faces, middle = np.take_along_axis(faces, order, 1), np.take_along_axis(middle, order, 1)
    corners = np.take_along_axis(corners, order[..., None], 1)
    vertices = np.concatenate((faces, middle), axis=1)
    places = np.concatenate((corners, (corners + np.roll(corners, -1, axis=1)) / 2), axis=1)
    made = [
        (
            vertices[number == count][:, triangle],
            parent[number == count],
            places[number == count][:, triangle],
        )
        for count, pattern in enumerate(_PATTERNS)
        for triangle in (list(corner) for corner in pattern)
    ]
    faces_made, parents, corners_made = zip(*made, strict=True)
    return np.concatenate(faces_made), np.concatenate(parents), np.concatenate(corners_made)
