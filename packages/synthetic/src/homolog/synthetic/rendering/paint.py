"""Colours of a view: patterns or images on its surfaces, light and anti-aliasing, in one pass over the pixels.

Edges are sampled on a grid of twice the size. Labels are never averaged: they belong to the centres of the
pixels, see `View`.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache

import numpy as np
from jaxtyping import Float32, Float64

from homolog.core.errors import ShapeError
from homolog.synthetic.compiled import bounds, compiled
from homolog.synthetic.rendering.lighting import Light
from homolog.synthetic.rendering.look import COLUMNS, Look
from homolog.synthetic.rendering.rasteriser import NEAR, visible_faces
from homolog.synthetic.rendering.scene import Scene, SurfacePoints
from homolog.synthetic.rendering.shading import NOISE, draw, draw_points
from homolog.synthetic.rendering.view import View


def paint(
    view: View, looks: Sequence[Look], light: Light, background: Float32[np.ndarray, "H W 3"]
) -> Float32[np.ndarray, "H W 3"]:
    """Return the picture of a view, RGB in [0, 1], with one look for each body.

    The background, RGB of the view's size, is not modified.

    Raises:
        ShapeError: not as many looks as bodies, or a background of another size.
    """
    scene, viewpoint = view.scene, view.viewpoint
    if len(looks) != len(scene.bodies) or background.shape != (*view.size, 3):
        raise ShapeError(
            f"expected {len(scene.bodies)} looks and a background {[*view.size, 3]}, "
            f"got {len(looks)} and {list(background.shape)}"
        )
    picture = background.copy()
    top, left, bottom, right = _window(view)
    if top >= bottom or left >= right:
        return picture
    smooth = np.empty((bottom - top, right - left), np.bool_)
    _find_smooth(view.raster.face, view.raster.depth, scene.sheet, top, left, smooth)
    texels = _texels(looks)
    finer_seen, attributes = _arranged(view, top, left, projected=len(texels) > 0)
    fine, inverse = visible_faces(
        finer_seen,
        scene.faces,
        replace(viewpoint, size=(2 * (bottom - top), 2 * (right - left))),
        one_sided=scene.closed,
        settled=smooth,
    )
    draw(
        view.raster.face,
        smooth,
        (top, left),
        fine,
        inverse,
        scene.faces,
        attributes,
        scene.sheet,
        scene.part if len(looks) == 1 else _first_rows(looks)[scene.object] + scene.part,
        _rows(scene, looks, 1 / float(viewpoint.K[0, 0])),
        _light_rows(light),
        (viewpoint.R.T @ np.linalg.inv(viewpoint.K)).astype(np.float32),
        _noise_table(),
        texels,
        picture,
    )
    return picture


def matt_colours(
    scene: Scene,
    points: SurfacePoints,
    looks: Sequence[Look],
    light: Light,
    spacing: Float64[np.ndarray, " N"],
) -> Float32[np.ndarray, "N 3"]:
    """Return the colours of surface points without highlights, the same from every side: RGB in [0, 1].

    There is one look for each body. Detail finer than `spacing`, in the world, is averaged away.
    """
    face = scene.first_face[points.object] + points.face
    corners, bary, texels = scene.faces[face], points.bary[..., None].astype(np.float64), _texels(looks)
    normal = (vertex_normals(scene.vertices, scene.faces)[corners] * bary).sum(1)
    normal /= np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-10)
    place = (scene.canonical[corners] * bary).sum(1)
    parts = [normal, place, spacing[:, None]]
    if len(texels) > 0:
        parts.append((_projections(scene)[corners] * bary).sum(1))
    colours = np.empty((len(points), 3), np.float32)
    draw_points(
        np.ascontiguousarray(np.concatenate(parts, axis=1, dtype=np.float32).T),
        _first_rows(looks)[points.object] + scene.part[face],
        _rows(scene, looks, 1.0),
        _light_rows(light),
        _noise_table(),
        texels,
        colours,
    )
    return colours


def vertex_normals(vertices: Float64[np.ndarray, "V 3"], faces: np.ndarray) -> Float64[np.ndarray, "V 3"]:
    """Return unit normals: of the triangles around each vertex, weighted by their area."""
    normals = np.zeros_like(vertices)
    _add_normals(vertices, faces, normals)
    return normals


def _window(view: View) -> tuple[int, int, int, int]:
    """Return the first row and column that show a body, and those where the last ones end."""
    height, width = view.size
    x0, y0, x1, y1 = _extent(view.seen)
    return (
        int(min(max(y0, 0), height)),
        int(min(max(x0, 0), width)),
        int(min(max(y1 + 2, 0), height)),
        int(min(max(x1 + 2, 0), width)),
    )


def _arranged(
    view: View, top: int, left: int, *, projected: bool
) -> tuple[Float64[np.ndarray, "V 3"], Float32[np.ndarray, "V C"]]:
    """Return homogeneous pixels of a grid of twice the size that begins at a pixel, and what `draw` reads.

    The latter are, side by side for one look-up: homogeneous pixel, normal, canonical position, weights of the
    projections.
    """
    scene = view.scene
    finer = np.empty_like(view.seen)
    attributes = np.empty((len(scene.vertices), 12 if projected else 9), np.float32)
    _arrange(
        view.seen, vertex_normals(scene.vertices, scene.faces), scene.canonical, top, left, finer, attributes
    )
    if projected:
        attributes[:, 9:] = _projections(scene)
    return finer, attributes


def _projections(scene: Scene) -> Float64[np.ndarray, "V 3"]:
    """Return the weight of each canonical axis when images are projected along it."""
    return vertex_normals(scene.canonical, scene.faces) ** 4


def _first_rows(looks: Sequence[Look]) -> np.ndarray:
    return np.cumsum([0, *(len(look.rows) for look in looks[:-1])], dtype=np.int32)


def _light_rows(light: Light) -> Float32[np.ndarray, "4 3"]:
    return np.stack((light.towards, light.sun, light.sky, light.ground)).astype(np.float32)


def _rows(scene: Scene, looks: Sequence[Look], size: float) -> Float32[np.ndarray, "P 26"]:
    """Return what `draw` reads about each finish; `size`, a length in the world, is converted to canonical units."""
    finishes: list[np.ndarray] = []
    images = 0
    for body, look in zip(scene.bodies, looks, strict=True):
        rows = np.empty((len(look.rows), COLUMNS + 2), np.float32)
        rows[:, :COLUMNS] = look.rows
        rows[:, COLUMNS] = [index + images if index >= 0 else -1 for index in look.image] or -1
        rows[:, COLUMNS + 1] = _diagonal(body.topology.canonical) / _diagonal(body.vertices) * size
        finishes.append(rows)
        images += len(look.images)
    return np.concatenate(finishes)


def _texels(looks: Sequence[Look]) -> Float32[np.ndarray, "T M 3"]:
    images = [image for look in looks for image in look.images]
    return np.stack(images) if images else np.empty((0, 0, 3), np.float32)


def _diagonal(points: np.ndarray) -> float:
    low, high = bounds(points)
    return math.dist(low, high)


@lru_cache(maxsize=1)
def _noise_table() -> Float32[np.ndarray, " N"]:
    # Part of the definition of every texture, hence a seed of its own.
    return np.random.Generator(np.random.PCG64(20240607)).random(NOISE**3, dtype=np.float32) * 2 - 1


@compiled
def _extent(seen: np.ndarray) -> tuple[float, float, float, float]:
    x0, y0, x1, y1 = np.inf, np.inf, -np.inf, -np.inf
    for v in range(len(seen)):
        if seen[v, 2] <= NEAR:
            # What reaches behind the camera may be anywhere in the picture.
            return -np.inf, -np.inf, np.inf, np.inf
        x, y = seen[v, 0] / seen[v, 2], seen[v, 1] / seen[v, 2]
        x0, y0, x1, y1 = min(x0, x), min(y0, y), max(x1, x), max(y1, y)
    return x0, y0, x1, y1


@compiled
def _find_smooth(
    face: np.ndarray, depth: np.ndarray, sheet: np.ndarray, top: int, left: int, smooth: np.ndarray
) -> None:
    """Find the pixels of a window that show, with all eight neighbours, one surface without a fold.

    An edge that is straight near a pixel and passes between its centre and one of its four finer samples
    leaves one of the neighbours on the other side.
    """
    rows, columns = smooth.shape
    height, width = face.shape
    # What a pixel has in common with the one to its right and with the one below.
    level, plumb = np.zeros((rows + 2, columns + 2), np.bool_), np.zeros((rows + 2, columns + 2), np.bool_)
    for y in range(max(top - 1, 0), min(top + rows + 1, height)):
        for x in range(max(left - 1, 0), min(left + columns + 1, width)):
            f, z = face[y, x], depth[y, x]
            if f < 0:
                continue
            step = np.float32(0.03) * z
            if x + 1 < width:
                g = face[y, x + 1]
                level[y - top + 1, x - left + 1] = (
                    g >= 0 and sheet[g] == sheet[f] and abs(depth[y, x + 1] - z) < step
                )
            if y + 1 < height:
                g = face[y + 1, x]
                plumb[y - top + 1, x - left + 1] = (
                    g >= 0 and sheet[g] == sheet[f] and abs(depth[y + 1, x] - z) < step
                )
    for y in range(rows):
        for x in range(columns):
            smooth[y, x] = (
                level[y, x] & level[y, x + 1] & level[y + 1, x] & level[y + 1, x + 1]
                & level[y + 2, x] & level[y + 2, x + 1]
                & plumb[y, x] & plumb[y, x + 1] & plumb[y, x + 2]
                & plumb[y + 1, x] & plumb[y + 1, x + 1] & plumb[y + 1, x + 2]
            )  # fmt: skip


@compiled
def _arrange(
    seen: np.ndarray,
    normals: np.ndarray,
    canonical: np.ndarray,
    top: int,
    left: int,
    finer: np.ndarray,
    attributes: np.ndarray,
) -> None:
    for v in range(len(seen)):
        x, y, z = seen[v, 0], seen[v, 1], seen[v, 2]
        # Centres of pixels are integers: the corner of the picture is at -0.5 on both grids.
        finer[v, 0], finer[v, 1], finer[v, 2] = 2 * x + (0.5 - 2 * left) * z, 2 * y + (0.5 - 2 * top) * z, z
        attributes[v, 0], attributes[v, 1], attributes[v, 2] = x, y, z
        for c in range(3):
            attributes[v, 3 + c], attributes[v, 6 + c] = normals[v, c], canonical[v, c]


@compiled
def _add_normals(vertices: np.ndarray, faces: np.ndarray, normals: np.ndarray) -> None:
    for f in range(len(faces)):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, az = (
            vertices[j, 0] - vertices[i, 0],
            vertices[j, 1] - vertices[i, 1],
            vertices[j, 2] - vertices[i, 2],
        )
        bx, by, bz = (
            vertices[k, 0] - vertices[i, 0],
            vertices[k, 1] - vertices[i, 1],
            vertices[k, 2] - vertices[i, 2],
        )
        nx, ny, nz = ay * bz - az * by, az * bx - ax * bz, ax * by - ay * bx
        for v in (i, j, k):
            normals[v, 0] += nx
            normals[v, 1] += ny
            normals[v, 2] += nz
    for v in range(len(normals)):
        length = np.sqrt(normals[v, 0] ** 2 + normals[v, 1] ** 2 + normals[v, 2] ** 2)
        if length > 0:
            normals[v, 0] /= length
            normals[v, 1] /= length
            normals[v, 2] /= length
