"""Read one mesh file (GLB, glTF, OBJ, PLY, STL) through trimesh, and prepare it for rendering and bending.

Vertices at the same position are merged, so that no gap opens when the mesh is bent; colours stay with the corners
of the triangles. Long edges are cut, so that a mesh of few triangles can bend at all. Then vertices are
split along sharp edges, where shading must not be smoothed.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64, Int32, Int64
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from homolog.core.errors import DataError, MissingDependencyError, ShapeError
from homolog.synthetic.meshes.colours import Colours, corner_colours, joined
from homolog.synthetic.meshes.subdivision import subdivided
from homolog.synthetic.rendering.scene import sheets

CREASE = np.cos(np.radians(40.0))
"""Cosine of the largest angle between two triangles that share a smooth edge."""


def count_odd_edges(faces: Int32[np.ndarray, "F 3"]) -> tuple[int, int, int, int]:
    """Return the number of edges: all, of one triangle, of more than two, and of two with opposite orientation."""
    forward, key, _ = _half_edges(faces)
    _, which, count = np.unique(key, return_inverse=True, return_counts=True)
    ways = np.bincount(which, weights=np.where(forward, 1, -1))
    return (
        len(count),
        int((count == 1).sum()),
        int((count > 2).sum()),
        int(((count == 2) & (ways != 0)).sum()),
    )


def split_at_creases(
    vertices: Float64[np.ndarray, "V 3"], faces: Int32[np.ndarray, "F 3"]
) -> tuple[Int64[np.ndarray, " W"], Int32[np.ndarray, "F 3"]]:
    """Give the triangles on both sides of a sharp edge vertices of their own.

    Returns:
        For each new vertex the old one that it lies on, and the triangles with their new vertices.
    """
    corners = vertices[faces]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-30)
    forward, key, low_corner = _half_edges(faces)
    order = np.argsort(key, kind="stable")
    pair = np.flatnonzero(key[order][1:] == key[order][:-1])
    one, other = order[pair], order[pair + 1]
    turn = np.einsum("nc,nc->n", normal[one // 3], normal[other // 3])
    smooth = (turn > CREASE) & (forward[one] != forward[other])
    one, other = one[smooth], other[smooth]
    # At either end of a smooth edge, the corners of the two triangles are one vertex.
    high_corner = np.where(forward, _next(np.arange(len(key))), np.arange(len(key)))
    links = np.concatenate(
        (
            np.stack((low_corner[one], low_corner[other])),
            np.stack((high_corner[one], high_corner[other])),
        ),
        axis=1,
    )
    graph = coo_array((np.ones(links.shape[1], np.int8), (links[0], links[1])), shape=(len(key), len(key)))
    _, label = connected_components(graph, directed=False)
    _, first, renamed = np.unique(label, return_index=True, return_inverse=True)
    return faces.reshape(-1)[first].astype(np.int64), renamed.reshape(-1, 3).astype(np.int32)


def _half_edges(faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the edge from each corner to the next one.

    Returns:
        Whether it runs from the lower vertex to the higher, a number that both its triangles share, and the
        corner at its lower vertex.
    """
    start, end = faces.reshape(-1).astype(np.int64), np.roll(faces, -1, axis=1).reshape(-1).astype(np.int64)
    forward = start < end
    corner = np.arange(len(start))
    key = np.minimum(start, end) * (int(faces.max()) + 1) + np.maximum(start, end)
    return forward, key, np.where(forward, corner, _next(corner))


def _next(corner: np.ndarray) -> np.ndarray:
    return corner - corner % 3 + (corner + 1) % 3


ENDINGS = frozenset((".glb", ".gltf", ".obj", ".ply", ".stl", ".off"))

MOST = 400_000
"""Most triangles that a mesh may have; more are not visible at the sizes of a training image."""

ODD = 0.05
"""Largest fraction of the edges that may belong to more than two triangles."""

LONGEST = 1 / 24
"""Longest edge, relative to the longest side of the mesh."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mesh:
    """The content of a file as one mesh.

    Attributes:
        vertices: [V 3]; y is up, the middle of the box is the origin, its longest side is 1.
        faces: [F 3].
        part: [F] index into `part_names`.
        part_names: names of the objects in the file.
        closed: every edge belongs to two triangles that agree which side is out.
        colours: those of the file, or None.
        copyright: as written in the file, or None.
    """

    vertices: Float64[np.ndarray, "V 3"]
    faces: Int32[np.ndarray, "F 3"]
    part: Int32[np.ndarray, " F"]
    part_names: tuple[str, ...]
    closed: bool
    colours: Colours | None
    copyright: str | None


def read_mesh(path: Path, *, up: Literal["y", "z"] = "y") -> Mesh:
    """Read a file, in which y or z points up, and prepare the mesh as described in the module.

    Raises:
        DataError: the file is damaged, empty, too large, or holds no surface.
        MissingDependencyError: trimesh is not installed.
    """
    pieces, copyright_ = _pieces(path)
    vertices = np.concatenate([np.asarray(piece.vertices, np.float64) for _, piece in pieces])
    first = np.cumsum([0, *(len(piece.vertices) for _, piece in pieces)])
    faces = np.concatenate(
        [
            np.asarray(piece.faces, np.int64) + start
            for (_, piece), start in zip(pieces, first[:-1], strict=True)
        ]
    )
    part = np.repeat(np.arange(len(pieces), dtype=np.int32), [len(piece.faces) for _, piece in pieces])
    colours = joined([corner_colours(piece) for _, piece in pieces])
    if len(faces) > MOST:
        raise DataError(
            f"{path}: expected at most {MOST} triangles, got {len(faces)}; simplify the mesh first"
        )
    if not np.isfinite(vertices).all():
        raise DataError(f"{path}: expected finite vertices, got NaN or infinity; export the mesh again")
    if up == "z":
        vertices = vertices @ np.array(((1.0, 0, 0), (0, 0, -1.0), (0, 1.0, 0)))
    vertices, faces, kept = _welded(path, vertices, faces)
    closed, turned = _checked(path, vertices, faces)
    if turned:
        faces = np.ascontiguousarray(faces[:, ::-1])
    try:
        fine = subdivided(faces, vertices, too_long=_too_long, limit=MOST)
    except ShapeError as error:
        raise DataError(f"{path}: {error}; simplify the mesh first") from error
    origin, split = split_at_creases(fine.values, fine.faces)
    return Mesh(
        vertices=fine.values[origin],
        faces=split,
        part=part[kept][fine.parent],
        part_names=tuple(name for name, _ in pieces),
        closed=closed,
        colours=None if colours is None else colours.of(kept, turned=turned).cut(fine),
        copyright=copyright_,
    )


def _pieces(path: Path) -> tuple[list[tuple[str, Any]], str | None]:
    try:
        import trimesh
    except ImportError as error:
        raise MissingDependencyError("homolog-synthetic[meshes]", f"reading {path.name}") from error
    try:
        scene: Any = trimesh.load_scene(path, process=False)
        pieces = [
            (str(piece.metadata.get("name") or f"part {number}"), piece)
            for number, piece in enumerate(scene.dump())
            if isinstance(piece, trimesh.Trimesh) and len(piece.faces)
        ]
    except Exception as error:  # readers fail in many ways on a damaged file
        raise DataError(
            f"{path}: expected a mesh, got {type(error).__name__}: {error}; remove the file"
        ) from error
    if not pieces:
        raise DataError(f"{path}: expected triangles, got none; remove the file")
    asset = scene.metadata.get("asset") or {}
    return pieces, asset.get("copyright") if isinstance(asset, dict) else None


def _welded(path: Path, vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Merge equal vertices and drop degenerate triangles; return vertices, triangles, and the index of each kept."""
    low, high = vertices[faces].reshape(-1, 3).min(axis=0), vertices[faces].reshape(-1, 3).max(axis=0)
    longest = float((high - low).max())
    if longest <= 0:
        raise DataError(f"{path}: expected a mesh with an extent, got a point; remove the file")
    scaled = (vertices - (low + high) / 2) / longest
    _, first, which = np.unique(
        np.round(scaled * 1e6).astype(np.int64), axis=0, return_index=True, return_inverse=True
    )
    faces = which.reshape(-1)[faces]
    corners = scaled[first][faces]
    area = np.linalg.norm(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), axis=1)
    kept = np.flatnonzero(area > 1e-12)
    if not len(kept):
        raise DataError(f"{path}: expected triangles with an area, got {len(faces)} without; remove the file")
    used, renamed = np.unique(faces[kept], return_inverse=True)
    return scaled[first][used], renamed.reshape(-1, 3).astype(np.int32), kept


def _checked(path: Path, vertices: np.ndarray, faces: np.ndarray) -> tuple[bool, bool]:
    """Return whether a mesh is closed, and whether it is inside out; raise if it is not a surface."""
    total, open_, crowded, twisted = count_odd_edges(faces)
    if crowded > ODD * total:
        raise DataError(
            f"{path}: expected a surface, got {crowded} of {total} edges in more than two triangles; repair the mesh"
        )
    if open_ or crowded or twisted:
        return False, False
    a, b, c = vertices[faces].transpose(1, 0, 2)
    volumes = np.bincount(sheets(faces), np.einsum("fc,fc->f", a, np.cross(b, c)))
    # A shell within another one may be a cavity or an inverted object: then both sides are drawn.
    return bool((volumes > 0).all() or (volumes < 0).all()), bool((volumes < 0).all())


def _too_long(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    return np.linalg.norm(start - end, axis=1) > LONGEST
