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
from homolog.data.synthetic.compiled import compiled
from homolog.data.synthetic.light import Light
from homolog.data.synthetic.look import Look
from homolog.data.synthetic.rasteriser import visible_faces
from homolog.data.synthetic.scene import Scene
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
        viewpoint.homogeneous(scene.vertices),
        scene.vertices,
        vertex_normals(scene.vertices, scene.faces),
        scene.canonical,
        _first_rows(looks)[scene.object] + scene.part,
        np.concatenate([look.rows for look in looks]),
        _footprints(scene)[scene.object] / viewpoint.K[0, 0],
        viewpoint.centre,
        np.stack((light.towards, light.sun, light.sky, light.ground)),
        _noise_table(),
        background,
        picture,
    )
    return picture


def vertex_normals(
    vertices: Float64[np.ndarray, "V 3"], faces: np.ndarray
) -> Float64[np.ndarray, "V 3"]:
    """Return unit normals: of the triangles around each vertex, weighted by their area."""
    normals = np.zeros_like(vertices)
    _add_normals(vertices, faces, normals)
    return normals


def _first_rows(looks: Sequence[Look]) -> np.ndarray:
    return np.cumsum([0, *(len(look.rows) for look in looks[:-1])], dtype=np.int32)


def _footprints(scene: Scene) -> np.ndarray:
    """Return how many canonical units one unit of the world is, for each body."""
    return np.array(
        [np.ptp(b.topology.canonical, axis=0).max() / np.ptp(b.vertices, axis=0).max() for b in scene.bodies]
    )


@lru_cache(maxsize=1)
def _noise_table() -> Float32[np.ndarray, "32 32 32"]:
    # Part of the definition of every texture, hence a seed of its own.
    return np.random.Generator(np.random.PCG64(20240607)).random((_NOISE,) * 3, dtype=np.float32) * 2 - 1


@compiled
def _add_normals(vertices: np.ndarray, faces: np.ndarray, normals: np.ndarray) -> None:
    for f in range(len(faces)):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        ax, ay, az = vertices[j, 0] - vertices[i, 0], vertices[j, 1] - vertices[i, 1], vertices[j, 2] - vertices[i, 2]
        bx, by, bz = vertices[k, 0] - vertices[i, 0], vertices[k, 1] - vertices[i, 1], vertices[k, 2] - vertices[i, 2]
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
    seen: np.ndarray,
    vertices: np.ndarray,
    normals: np.ndarray,
    canonical: np.ndarray,
    row_of_face: np.ndarray,
    rows: np.ndarray,
    footprint: np.ndarray,
    eye: np.ndarray,
    light: np.ndarray,
    noise: np.ndarray,
    background: np.ndarray,
    picture: np.ndarray,
) -> None:
    height, width = centre_face.shape
    for y in range(height):
        for x in range(width):
            f = centre_face[y, x]
            if _one_surface(f, y, x, fine_face, fine_inverse, faces, normals, row_of_face):
                if f < 0:
                    red, green, blue = background[y, x, 0], background[y, x, 1], background[y, x, 2]
                else:
                    red, green, blue = _shade(
                        f, x, y, faces, seen, vertices, normals, canonical, rows[row_of_face[f]], footprint[f], eye,
                        light, noise,
                    )  # fmt: skip
                picture[y, x, 0], picture[y, x, 1], picture[y, x, 2] = red, green, blue
                continue
            red, green, blue = 0.0, 0.0, 0.0
            for sample in range(4):
                down, right = sample // 2, sample % 2
                g = fine_face[2 * y + down, 2 * x + right]
                if g < 0:
                    r, s, t = background[y, x, 0], background[y, x, 1], background[y, x, 2]
                else:
                    r, s, t = _shade(
                        g, x - 0.25 + 0.5 * right, y - 0.25 + 0.5 * down, faces, seen, vertices, normals, canonical,
                        rows[row_of_face[g]], footprint[g], eye, light, noise,
                    )  # fmt: skip
                red, green, blue = red + r, green + s, blue + t
            picture[y, x, 0], picture[y, x, 1], picture[y, x, 2] = red / 4, green / 4, blue / 4


@compiled
def _one_surface(
    f: int,
    y: int,
    x: int,
    fine_face: np.ndarray,
    fine_inverse: np.ndarray,
    faces: np.ndarray,
    normals: np.ndarray,
    row_of_face: np.ndarray,
) -> bool:
    """Tell whether a pixel's centre and its four samples see the same smooth surface, or all nothing."""
    nearest, farthest = np.float32(np.inf), np.float32(0)
    for sample in range(4):
        row, column = 2 * y + sample // 2, 2 * x + sample % 2
        g = fine_face[row, column]
        if g == f:
            if f >= 0:
                nearest, farthest = min(nearest, fine_inverse[row, column]), max(farthest, fine_inverse[row, column])
            continue
        if g < 0 or f < 0 or row_of_face[g] != row_of_face[f]:
            return False
        i, j = faces[f, 0], faces[g, 0]
        if normals[i, 0] * normals[j, 0] + normals[i, 1] * normals[j, 1] + normals[i, 2] * normals[j, 2] < 0.6:
            return False
        nearest, farthest = min(nearest, fine_inverse[row, column]), max(farthest, fine_inverse[row, column])
    return f < 0 or farthest - nearest < np.float32(0.03) * farthest


@compiled
def _shade(
    f: int,
    x: float,
    y: float,
    faces: np.ndarray,
    seen: np.ndarray,
    vertices: np.ndarray,
    normals: np.ndarray,
    canonical: np.ndarray,
    look: np.ndarray,
    footprint: float,
    eye: np.ndarray,
    light: np.ndarray,
    noise: np.ndarray,
) -> tuple[float, float, float]:
    i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
    x0, y0 = seen[i, 0] - x * seen[i, 2], seen[i, 1] - y * seen[i, 2]
    x1, y1 = seen[j, 0] - x * seen[j, 2], seen[j, 1] - y * seen[j, 2]
    x2, y2 = seen[k, 0] - x * seen[k, 2], seen[k, 1] - y * seen[k, 2]
    e0, e1, e2 = x1 * y2 - y1 * x2, x2 * y0 - y2 * x0, x0 * y1 - y0 * x1
    total = e0 + e1 + e2
    a, b = e0 / total, e1 / total
    c = 1 - a - b
    nx = a * normals[i, 0] + b * normals[j, 0] + c * normals[k, 0]
    ny = a * normals[i, 1] + b * normals[j, 1] + c * normals[k, 1]
    nz = a * normals[i, 2] + b * normals[j, 2] + c * normals[k, 2]
    scale = 1 / np.sqrt(nx * nx + ny * ny + nz * nz + 1e-20)
    nx, ny, nz = nx * scale, ny * scale, nz * scale
    px = a * canonical[i, 0] + b * canonical[j, 0] + c * canonical[k, 0]
    py = a * canonical[i, 1] + b * canonical[j, 1] + c * canonical[k, 1]
    pz = a * canonical[i, 2] + b * canonical[j, 2] + c * canonical[k, 2]
    z = a * seen[i, 2] + b * seen[j, 2] + c * seen[k, 2]
    red, green, blue = _albedo(px, py, pz, ny, look, footprint * z, noise)
    facing = nx * light[0, 0] + ny * light[0, 1] + nz * light[0, 2]
    sun = max(0.0, (facing + 0.15) / 1.15)
    sky = 0.5 + 0.5 * ny
    highlight = 0.0
    if look[14] > 0.01 and facing > 0:
        vx = eye[0] - (a * vertices[i, 0] + b * vertices[j, 0] + c * vertices[k, 0])
        vy = eye[1] - (a * vertices[i, 1] + b * vertices[j, 1] + c * vertices[k, 1])
        vz = eye[2] - (a * vertices[i, 2] + b * vertices[j, 2] + c * vertices[k, 2])
        scale = 1 / np.sqrt(vx * vx + vy * vy + vz * vz)
        hx, hy, hz = vx * scale + light[0, 0], vy * scale + light[0, 1], vz * scale + light[0, 2]
        half = (nx * hx + ny * hy + nz * hz) / np.sqrt(hx * hx + hy * hy + hz * hz)
        if half > 0.5:
            highlight = look[14] * half ** look[15]
    return (
        min(1.0, red * (sun * light[1, 0] + sky * light[2, 0] + (1 - sky) * light[3, 0]) + highlight * light[1, 0]),
        min(1.0, green * (sun * light[1, 1] + sky * light[2, 1] + (1 - sky) * light[3, 1]) + highlight * light[1, 1]),
        min(1.0, blue * (sun * light[1, 2] + sky * light[2, 2] + (1 - sky) * light[3, 2]) + highlight * light[1, 2]),
    )


@compiled
def _albedo(
    px: float, py: float, pz: float, ny: float, look: np.ndarray, footprint: float, noise: np.ndarray
) -> tuple[float, float, float]:
    """Return the colour of a place of the surface; columns of `look` as `homolog.data.synthetic.look.row` has them."""
    pattern, frequency = int(look[9]), look[10]
    ox, oy, oz = look[21], look[22], look[23]
    share = 0.0
    if pattern > 0:
        share = _pattern_share(px, py, pz, pattern, look, footprint * frequency, noise)
    red = look[0] + share * (look[3] - look[0])
    green = look[1] + share * (look[4] - look[1])
    blue = look[2] + share * (look[5] - look[2])
    if look[13] > 0:
        below = min(max(-ny * 1.6 - 0.3, 0.0), 1.0)
        red, green, blue = red + below * (look[6] - red), green + below * (look[7] - green), blue + below * (look[8] - blue)
    sharp = 1 - footprint * look[17]
    if look[16] > 0 and sharp > 0:
        often = look[17]
        grain = 1 + look[16] * sharp * _noise(noise, px * often + oy, py * often + oz, pz * often + ox)
        red, green, blue = red * grain, green * grain, blue * grain
    return red, green, blue


@compiled
def _pattern_share(
    px: float, py: float, pz: float, pattern: int, look: np.ndarray, width: float, noise: np.ndarray
) -> float:
    """Return how much of the second colour there is, 0 to 1; edges are as wide as the pixel."""
    frequency, level, warp = look[10], look[11], look[12]
    ox, oy, oz = look[21], look[22], look[23]
    qx, qy, qz = px * frequency, py * frequency, pz * frequency
    if pattern == 3 or pattern == 5:
        value = _noise(noise, qx + ox, qy + oy, qz + oz) + 0.35 * warp * _noise(
            noise, 2.7 * qx + oy, 2.7 * qy + oz, 2.7 * qz + ox
        )
        if pattern == 5:
            return min(max(0.5 + 0.9 * value, 0.0), 1.0)
        return _edge(value - (0.5 - level), 0.03 + 1.5 * width)
    if warp > 0:
        bend = 0.5 * warp
        qx += bend * _noise(noise, 0.5 * qx + ox, 0.5 * qy + oy, 0.5 * qz + oz)
        qz += bend * _noise(noise, 0.5 * qx + oz, 0.5 * qy + ox, 0.5 * qz + oy)
    if pattern == 1:
        phase = qx * look[18] + qy * look[19] + qz * look[20] + ox
        return _edge(0.5 * np.cos(2 * np.pi * phase) - (0.5 - level), 0.05 + 3 * width)
    if pattern == 2:
        value = np.cos(np.pi * qx + ox) * np.cos(np.pi * qy + oy) * np.cos(np.pi * qz + oz)
        return _edge(abs(value) - (0.75 - level), 0.03 + 1.5 * width)
    value = np.cos(np.pi * qx + ox) * np.cos(np.pi * qy + oy) * np.cos(np.pi * qz + oz)
    return _edge(value, 0.02 + 1.5 * width)


@compiled
def _edge(value: float, width: float) -> float:
    return min(max(0.5 + value / (2 * width), 0.0), 1.0)


@compiled
def _noise(table: np.ndarray, x: float, y: float, z: float) -> float:
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
