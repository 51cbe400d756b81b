"""Colours of a view: patterns, light and anti-aliasing, in one pass over the pixels.

Edges are sampled on a grid of twice the size. Where all four samples of a pixel lie on one smooth surface
it is shaded once, at its centre, with patterns softened by the footprint of the pixel; elsewhere all four
are shaded. Labels are never averaged: they belong to the centres of the pixels, see `View`.
"""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float32, Float64

from homolog.core.errors import ShapeError
from homolog.data.synthetic.bounds import bounds
from homolog.data.synthetic.compiled import Real, compiled, inlined
from homolog.data.synthetic.light import Light
from homolog.data.synthetic.look import Look
from homolog.data.synthetic.rasteriser import visible_faces
from homolog.data.synthetic.view import View

_NOISE = 32
"""Period of the noise, in its own units."""


def paint(
    view: View, looks: Sequence[Look], light: Light, background: Float32[np.ndarray, "H W 3"]
) -> Float32[np.ndarray, "H W 3"]:
    """Return the picture of a view.

    Args:
        view: what to paint.
        looks: one for each body of its scene.
        light: of the scene.
        background: RGB behind it, of the view's size.

    Returns:
        RGB in [0, 1].

    Raises:
        ShapeError: not as many looks as bodies, or a background of another size.
    """
    scene, viewpoint = view.scene, view.viewpoint
    if len(looks) != len(scene.bodies) or background.shape != (*view.size, 3):
        raise ShapeError(
            f"expected {len(scene.bodies)} looks and a background {[*view.size, 3]}, "
            f"got {len(looks)} and {list(background.shape)}"
        )
    finer = viewpoint.resized((2 * view.size[0], 2 * view.size[1]))
    face, inverse = visible_faces(
        finer.homogeneous(scene.vertices), scene.faces, finer, one_sided=scene.closed
    )
    picture = np.empty((*view.size, 3), np.float32)
    _paint(
        view.raster.face,
        face,
        inverse,
        scene.faces,
        _attributes(view),
        scene.sheet,
        _first_rows(looks)[scene.object] + scene.part,
        np.concatenate(
            [_widened(look.rows, scale) for look, scale in zip(looks, _scales(view), strict=True)]
        ),
        np.stack((light.towards, light.sun, light.sky, light.ground, viewpoint.centre)),
        _noise_table(),
        background,
        picture,
    )
    return picture


def vertex_normals(vertices: Float64[np.ndarray, "V 3"], faces: np.ndarray) -> Float64[np.ndarray, "V 3"]:
    """Return unit normals: of the triangles around each vertex, weighted by their area."""
    normals = np.zeros_like(vertices)
    _add_normals(vertices, faces, normals)
    return normals


def _attributes(view: View) -> Float32[np.ndarray, "V 12"]:
    """Return side by side, for one look-up: homogeneous pixel, normal, canonical position, position."""
    scene = view.scene
    return np.concatenate(
        (view.seen, vertex_normals(scene.vertices, scene.faces), scene.canonical, scene.vertices),
        axis=1,
        dtype=np.float32,
    )


def _first_rows(looks: Sequence[Look]) -> np.ndarray:
    return np.cumsum([0, *(len(look.rows) for look in looks[:-1])], dtype=np.int32)


def _scales(view: View) -> list[float]:
    """Return the canonical size of a pixel at depth 1, for each body."""
    return [
        _diagonal(body.topology.canonical) / _diagonal(body.vertices) / float(view.viewpoint.K[0, 0])
        for body in view.scene.bodies
    ]


def _diagonal(points: np.ndarray) -> float:
    low, high = bounds(points)
    return float(np.linalg.norm(high - low))


def _widened(rows: np.ndarray, scale: float) -> np.ndarray:
    return np.concatenate((rows, np.full((len(rows), 1), scale)), axis=1)


@lru_cache(maxsize=1)
def _noise_table() -> Float32[np.ndarray, "32 32 32"]:
    # Part of the definition of every texture, hence a seed of its own.
    return np.random.Generator(np.random.PCG64(20240607)).random((_NOISE,) * 3, dtype=np.float32) * 2 - 1


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


@compiled
def _paint(
    centre_face: np.ndarray,
    fine_face: np.ndarray,
    fine_inverse: np.ndarray,
    faces: np.ndarray,
    attributes: np.ndarray,
    sheet: np.ndarray,
    row_of_face: np.ndarray,
    rows: np.ndarray,
    light: np.ndarray,
    noise: np.ndarray,
    background: np.ndarray,
    picture: np.ndarray,
) -> None:
    height, width = centre_face.shape
    for y in range(height):
        for x in range(width):
            f = centre_face[y, x]
            g0, g1 = fine_face[2 * y, 2 * x], fine_face[2 * y, 2 * x + 1]
            g2, g3 = fine_face[2 * y + 1, 2 * x], fine_face[2 * y + 1, 2 * x + 1]
            if f < 0 and g0 < 0 and g1 < 0 and g2 < 0 and g3 < 0:
                for c in range(3):
                    picture[y, x, c] = background[y, x, c]
                continue
            near, far = fine_inverse[2 * y, 2 * x], fine_inverse[2 * y + 1, 2 * x + 1]
            if (
                f >= 0
                and abs(near - far) < np.float32(0.03) * near
                and (g0 == f or (g0 >= 0 and sheet[g0] == sheet[f]))
                and (g1 == f or (g1 >= 0 and sheet[g1] == sheet[f]))
                and (g2 == f or (g2 >= 0 and sheet[g2] == sheet[f]))
                and (g3 == f or (g3 >= 0 and sheet[g3] == sheet[f]))
            ):
                red, green, blue = _shade(f, row_of_face[f], x, y, faces, attributes, rows, light, noise)
                picture[y, x, 0], picture[y, x, 1], picture[y, x, 2] = red, green, blue
                continue
            red, green, blue = 0.0, 0.0, 0.0
            for sample in range(4):
                down, right = sample // 2, sample % 2
                g = fine_face[2 * y + down, 2 * x + right]
                if g < 0:
                    r, s, t = background[y, x, 0], background[y, x, 1], background[y, x, 2]
                else:
                    u, v = x - 0.25 + 0.5 * right, y - 0.25 + 0.5 * down
                    r, s, t = _shade(g, row_of_face[g], u, v, faces, attributes, rows, light, noise)
                red, green, blue = red + r, green + s, blue + t
            picture[y, x, 0], picture[y, x, 1], picture[y, x, 2] = red / 4, green / 4, blue / 4


@inlined
def _shade(
    f: Real,
    row: Real,
    x: Real,
    y: Real,
    faces: np.ndarray,
    attributes: np.ndarray,
    rows: np.ndarray,
    light: np.ndarray,
    noise: np.ndarray,
) -> tuple[Real, Real, Real]:
    i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
    x0, y0 = attributes[i, 0] - x * attributes[i, 2], attributes[i, 1] - y * attributes[i, 2]
    x1, y1 = attributes[j, 0] - x * attributes[j, 2], attributes[j, 1] - y * attributes[j, 2]
    x2, y2 = attributes[k, 0] - x * attributes[k, 2], attributes[k, 1] - y * attributes[k, 2]
    e0, e1, e2 = x1 * y2 - y1 * x2, x2 * y0 - y2 * x0, x0 * y1 - y0 * x1
    total = e0 + e1 + e2
    a, b = e0 / total, e1 / total
    c = 1 - a - b
    nx, ny, nz = (
        a * attributes[i, 3] + b * attributes[j, 3] + c * attributes[k, 3],
        a * attributes[i, 4] + b * attributes[j, 4] + c * attributes[k, 4],
        a * attributes[i, 5] + b * attributes[j, 5] + c * attributes[k, 5],
    )
    scale = 1 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-20)
    nx, ny, nz = nx * scale, ny * scale, nz * scale
    px, py, pz = (
        a * attributes[i, 6] + b * attributes[j, 6] + c * attributes[k, 6],
        a * attributes[i, 7] + b * attributes[j, 7] + c * attributes[k, 7],
        a * attributes[i, 8] + b * attributes[j, 8] + c * attributes[k, 8],
    )
    red, green, blue = _albedo(
        px, py, pz, ny, a * attributes[i, 2] + b * attributes[j, 2] + c * attributes[k, 2], rows, row, noise
    )
    facing = nx * light[0, 0] + ny * light[0, 1] + nz * light[0, 2]
    sun = max(0.0, (facing + 0.15) / 1.15)
    sky = 0.5 + 0.5 * ny
    highlight = 0.0
    if rows[row, 14] > 0.01 and facing > 0:
        vx = light[4, 0] - (a * attributes[i, 9] + b * attributes[j, 9] + c * attributes[k, 9])
        vy = light[4, 1] - (a * attributes[i, 10] + b * attributes[j, 10] + c * attributes[k, 10])
        vz = light[4, 2] - (a * attributes[i, 11] + b * attributes[j, 11] + c * attributes[k, 11])
        scale = 1 / np.sqrt(vx * vx + vy * vy + vz * vz)
        hx, hy, hz = vx * scale + light[0, 0], vy * scale + light[0, 1], vz * scale + light[0, 2]
        half = (nx * hx + ny * hy + nz * hz) / np.sqrt(hx * hx + hy * hy + hz * hz)
        if half > 0.8:
            highlight = rows[row, 14] * half ** rows[row, 15]
    return (
        min(
            1.0,
            red * (sun * light[1, 0] + sky * light[2, 0] + (1 - sky) * light[3, 0]) + highlight * light[1, 0],
        ),
        min(
            1.0,
            green * (sun * light[1, 1] + sky * light[2, 1] + (1 - sky) * light[3, 1])
            + highlight * light[1, 1],
        ),
        min(
            1.0,
            blue * (sun * light[1, 2] + sky * light[2, 2] + (1 - sky) * light[3, 2])
            + highlight * light[1, 2],
        ),
    )


@inlined
def _albedo(
    px: Real,
    py: Real,
    pz: Real,
    ny: Real,
    z: Real,
    rows: np.ndarray,
    row: Real,
    noise: np.ndarray,
) -> tuple[Real, Real, Real]:
    """Return the colour of a place; columns of `rows` as `homolog.data.synthetic.look.row` has them."""
    footprint = rows[row, 24] * z
    share = 0.0
    if rows[row, 9] > 0:
        share = _pattern_share(px, py, pz, rows, row, footprint * rows[row, 10], noise)
    red = rows[row, 0] + share * (rows[row, 3] - rows[row, 0])
    green = rows[row, 1] + share * (rows[row, 4] - rows[row, 1])
    blue = rows[row, 2] + share * (rows[row, 5] - rows[row, 2])
    if rows[row, 13] > 0:
        below = min(max(-ny * 1.6 - 0.3, 0.0), 1.0)
        red, green, blue = (
            red + below * (rows[row, 6] - red),
            green + below * (rows[row, 7] - green),
            blue + below * (rows[row, 8] - blue),
        )
    sharp = 1 - footprint * rows[row, 17]
    if rows[row, 16] > 0 and sharp > 0:
        often = rows[row, 17]
        grain = 1 + rows[row, 16] * sharp * _noise(
            noise, px * often + rows[row, 22], py * often + rows[row, 23], pz * often + rows[row, 21]
        )
        red, green, blue = red * grain, green * grain, blue * grain
    return red, green, blue


@inlined
def _pattern_share(
    px: Real, py: Real, pz: Real, rows: np.ndarray, row: Real, width: Real, noise: np.ndarray
) -> Real:
    """Return how much of the second colour there is, 0 to 1; edges are as wide as the pixel."""
    pattern, level, warp = rows[row, 9], rows[row, 11], rows[row, 12]
    qx, qy, qz = (
        px * rows[row, 10] + rows[row, 21],
        py * rows[row, 10] + rows[row, 22],
        pz * rows[row, 10] + rows[row, 23],
    )
    if pattern == 3 or pattern == 5:
        value = _noise(noise, qx, qy, qz) + 0.35 * warp * _noise(noise, 2.7 * qz, 2.7 * qx, 2.7 * qy)
        if pattern == 5:
            return min(max(0.5 + 0.9 * value, 0.0), 1.0)
        return _edge(value - (0.5 - level), 0.03 + 1.5 * width)
    if warp > 0:
        bend = 0.8 * warp * _noise(noise, 0.5 * qx, 0.5 * qy, 0.5 * qz)
        qx, qy, qz = qx + bend, qy - 0.5 * bend, qz + bend
    if pattern == 1:
        return _edge(
            0.5 * np.cos(2 * np.pi * (qx * rows[row, 18] + qy * rows[row, 19] + qz * rows[row, 20]))
            - (0.5 - level),
            0.05 + 3 * width,
        )
    value = np.cos(np.pi * qx) * np.cos(np.pi * qy) * np.cos(np.pi * qz)
    if pattern == 2:
        return _edge(abs(value) - (0.75 - level), 0.03 + 1.5 * width)
    return _edge(value, 0.02 + 1.5 * width)


@inlined
def _edge(value: Real, width: Real) -> Real:
    return min(max(0.5 + value / (2 * width), 0.0), 1.0)


@inlined
def _noise(table: np.ndarray, x: Real, y: Real, z: Real) -> Real:
    """Interpolate a periodic lattice of random values, smoothly."""
    fx, fy, fz = np.floor(x), np.floor(y), np.floor(z)
    u, v, w = x - fx, y - fy, z - fz
    i, j, k = int(fx) & 31, int(fy) & 31, int(fz) & 31
    i1, j1, k1 = (i + 1) & 31, (j + 1) & 31, (k + 1) & 31
    u, v, w = u * u * (3 - 2 * u), v * v * (3 - 2 * v), w * w * (3 - 2 * w)
    a = table[i, j, k] + w * (table[i, j, k1] - table[i, j, k])
    b = table[i, j1, k] + w * (table[i, j1, k1] - table[i, j1, k])
    c = table[i1, j, k] + w * (table[i1, j, k1] - table[i1, j, k])
    d = table[i1, j1, k] + w * (table[i1, j1, k1] - table[i1, j1, k])
    a, c = a + v * (b - a), c + v * (d - c)
    return a + u * (c - a)
