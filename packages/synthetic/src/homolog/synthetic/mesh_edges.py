"""Edges of a mesh: which are odd, and which are sharp."""

import numpy as np
from jaxtyping import Float64, Int32, Int64

from homolog.core.errors import MissingDependencyError

CREASE = np.cos(np.radians(40.0))
"""Two triangles that turn farther than this from one to the other meet in an edge that one sees."""


def count_odd_edges(faces: Int32[np.ndarray, "F 3"]) -> tuple[int, int, int, int]:
    """Return how many edges there are: in all, of one triangle only, of more than two, and of two that
    disagree which side is out.
    """  # noqa: D205
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

    Raises:
        MissingDependencyError: scipy is not installed.
    """
    try:
        from scipy.sparse import coo_array
        from scipy.sparse.csgraph import connected_components
    except ImportError as error:
        raise MissingDependencyError("homolog-synthetic[synthetic]", "reading meshes") from error
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
    """Return for each corner the edge to the next one: whether it runs from the lower vertex to the higher,
    a number that both its triangles share, and the corner at its lower vertex.
    """  # noqa: D205
    start, end = faces.reshape(-1).astype(np.int64), np.roll(faces, -1, axis=1).reshape(-1).astype(np.int64)
    forward = start < end
    corner = np.arange(len(start))
    key = np.minimum(start, end) * (int(faces.max()) + 1) + np.maximum(start, end)
    return forward, key, np.where(forward, corner, _next(corner))


def _next(corner: np.ndarray) -> np.ndarray:
    return corner - corner % 3 + (corner + 1) % 3
