"""A z-buffer: which triangle each pixel sees, where on it, and at what depth.

A triangle is kept in homogeneous pixel coordinates p_k = K (R X_k + t) (Olano and Greer 1997, "Triangle
scan conversion using 2D homogeneous coordinates"): with e_0 = p_1 x p_2 (and so on around) and
det = p_0 . e_0, a pixel q = (x, y, 1) sees it where no e_k . q has the sign opposite to det. There
1 / z = sum_k e_k . q / det, and the perspective-correct barycentric coordinates are
b_k = e_k . q / sum_j e_j . q. Nothing needs to be clipped, since a point behind the camera has z < 0.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float32, Float64, Int32

from homolog.core.coords import Size
from homolog.synthetic.compiled import Real, compiled
from homolog.synthetic.rendering.viewpoint import Viewpoint

NEAR = 1e-3
"""Nothing closer than this is drawn, in units of the world."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Raster:
    """What the centre of each pixel shows.

    Attributes:
        face: [H W] index of the triangle, -1 where there is none.
        bary: [H W 3] perspective-correct barycentric coordinates on it, NaN where there is none.
        depth: [H W] z in the camera's frame, NaN where there is none.
    """

    face: Int32[np.ndarray, "H W"]
    bary: Float32[np.ndarray, "H W 3"]
    depth: Float32[np.ndarray, "H W"]


def rasterise(
    vertices: Float64[np.ndarray, "V 3"],
    faces: Int32[np.ndarray, "F 3"],
    viewpoint: Viewpoint,
    *,
    one_sided: bool = False,
) -> Raster:
    """Draw triangles, sampling at the centres of the pixels.

    They are anti-clockwise where seen from outside. `one_sided` leaves out those seen from behind; closed
    surfaces look the same, only faster.
    """
    return resolved(viewpoint.homogeneous(vertices), faces, viewpoint, one_sided=one_sided)


def resolved(
    seen: Float64[np.ndarray, "V 3"],
    faces: Int32[np.ndarray, "F 3"],
    viewpoint: Viewpoint,
    *,
    one_sided: bool = False,
) -> Raster:
    """Draw triangles whose vertices `viewpoint.homogeneous` has projected already; see `rasterise`."""
    face, _ = visible_faces(seen, faces, viewpoint, one_sided=one_sided)
    bary = np.empty((*viewpoint.size, 3), np.float32)
    depth = np.empty(viewpoint.size, np.float32)
    _resolve(seen, faces, face, bary, depth)
    return Raster(face=face, bary=bary, depth=depth)


def visible_faces(
    seen: Float64[np.ndarray, "V 3"],
    faces: Int32[np.ndarray, "F 3"],
    viewpoint: Viewpoint,
    *,
    one_sided: bool = False,
    settled: Bool[np.ndarray, "h w"] | None = None,
) -> tuple[Int32[np.ndarray, "H W"], Float32[np.ndarray, "H W"]]:
    """Return the triangle that each pixel sees (-1: none) and its inverse depth there (0: none).

    Of the viewpoint, which has projected the vertices already, only the size counts. `settled` marks cells of
    2 x 2 pixels that will not be used; small triangles within them are left out.
    """
    face = np.full(viewpoint.size, -1, np.int32)
    inverse_depth = np.zeros(viewpoint.size, np.float32)
    _fill(
        seen,
        faces,
        one_sided,
        np.empty((0, 0), np.bool_) if settled is None else settled,
        face,
        inverse_depth,
    )
    return face, inverse_depth


def interpolate(
    raster: Raster, faces: Int32[np.ndarray, "F 3"], attributes: Float64[np.ndarray, "V C"]
) -> Float32[np.ndarray, "H W C"]:
    """Spread values of the vertices over the pixels, perspective-correctly; NaN where there is no surface."""
    spread = np.empty((*raster.face.shape, attributes.shape[1]), np.float32)
    _spread(raster.face, raster.bary, faces, attributes, spread)
    return spread


@compiled
def _fill(
    seen: np.ndarray,
    faces: np.ndarray,
    one_sided: bool,
    settled: np.ndarray,
    winner: np.ndarray,
    inverse_depth: np.ndarray,
) -> None:
    for f in range(len(faces)):
        i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
        x0, y0, z0 = seen[i, 0], seen[i, 1], seen[i, 2]
        x1, y1, z1 = seen[j, 0], seen[j, 1], seen[j, 2]
        x2, y2, z2 = seen[k, 0], seen[k, 1], seen[k, 2]
        a0, b0, c0 = y1 * z2 - z1 * y2, z1 * x2 - x1 * z2, x1 * y2 - y1 * x2
        det = x0 * a0 + y0 * b0 + z0 * c0
        # Written so that NaN vertices drop their triangles.
        if not (det < 0 or (det > 0 and not one_sided)):
            continue
        box = _box(x0, y0, z0, x1, y1, z1, x2, y2, z2, winner.shape)
        if box[0] > box[1] or box[2] > box[3] or (len(settled) > 0 and _is_settled(box, settled)):
            continue
        a1, b1, c1 = y2 * z0 - z2 * y0, z2 * x0 - x2 * z0, x2 * y0 - y2 * x0
        a2, b2, c2 = y0 * z1 - z0 * y1, z0 * x1 - x0 * z1, x0 * y1 - y0 * x1
        plane = ((a0 + a1 + a2) / det, (b0 + b1 + b2) / det, (c0 + c1 + c2) / det)
        if det > 0:
            edges = (a0, b0, c0, a1, b1, c1, a2, b2, c2)
        else:
            # Negation is exact: on an edge that two triangles share, both find the same number with
            # opposite signs, so that no pixel falls between them.
            edges = (-a0, -b0, -c0, -a1, -b1, -c1, -a2, -b2, -c2)
        _scan(box, edges, plane, f, winner, inverse_depth)


@compiled
def _box(
    x0: Real,
    y0: Real,
    z0: Real,
    x1: Real,
    y1: Real,
    z1: Real,
    x2: Real,
    y2: Real,
    z2: Real,
    size: Size,
) -> tuple[Real, Real, Real, Real]:
    """Return the first and last column and row that a triangle can reach; an empty range if none."""
    height, width = size
    if max(z0, z1, z2) <= NEAR:
        return 1, 0, 1, 0
    if min(z0, z1, z2) <= NEAR:
        return 0, width - 1, 0, height - 1
    u0, u1, u2, v0, v1, v2 = x0 / z0, x1 / z1, x2 / z2, y0 / z0, y1 / z1, y2 / z2
    # Clamped first: far outside, a number may not fit an integer.
    return (
        math.ceil(min(max(min(u0, u1, u2), 0.0), width + 0.0)),
        math.floor(max(min(max(u0, u1, u2), width - 1.0), -1.0)),
        math.ceil(min(max(min(v0, v1, v2), 0.0), height + 0.0)),
        math.floor(max(min(max(v0, v1, v2), height - 1.0), -1.0)),
    )


@compiled
def _is_settled(box: tuple[Real, Real, Real, Real], settled: np.ndarray) -> bool:
    if box[1] - box[0] > 64 or box[3] - box[2] > 64:
        return False
    for row in range(box[2] // 2, box[3] // 2 + 1):
        for column in range(box[0] // 2, box[1] // 2 + 1):
            if not settled[row, column]:
                return False
    return True


@compiled
def _scan(
    box: tuple[Real, Real, Real, Real],
    edges: tuple[Real, ...],
    plane: tuple[Real, Real, Real],
    f: Real,
    winner: np.ndarray,
    inverse_depth: np.ndarray,
) -> None:
    """Draw one triangle: `plane` gives its inverse depth, `edges` are 0 or more inside of it."""
    a0, b0, c0, a1, b1, c1, a2, b2, c2 = edges
    nearest = np.float32(1 / NEAR)
    wide = box[1] - box[0] > 12
    for y in range(box[2], box[3] + 1):
        r0, r1, r2, rz = b0 * y + c0, b1 * y + c1, b2 * y + c2, plane[1] * y + plane[2]
        first, last = box[0], box[1]
        if wide:
            first, last = _span(a0, r0, first, last)
            first, last = _span(a1, r1, first, last)
            first, last = _span(a2, r2, first, last)
        entered = False
        for x in range(first, last + 1):
            if a0 * x + r0 >= 0 and a1 * x + r1 >= 0 and a2 * x + r2 >= 0:
                entered = True
                inverse = np.float32(plane[0] * x + rz)
                if inverse > inverse_depth[y, x] and inverse < nearest:
                    inverse_depth[y, x] = inverse
                    winner[y, x] = f
            elif entered:
                break


@compiled
def _span(slope: Real, value: Real, first: Real, last: Real) -> tuple[Real, Real]:
    """Narrow a row to where slope x + value can be 0 or more; a pixel too many is no harm."""
    if slope == 0:
        return (first, last) if value >= 0 else (1, 0)
    root = -value / slope
    if slope > 0:
        return (1, 0) if root > last + 1 else (max(first, math.floor(max(root, -1.0))), last)
    return (1, 0) if root < first - 1 else (first, min(last, math.ceil(min(root, last + 1.0))))


@compiled
def _resolve(
    seen: np.ndarray, faces: np.ndarray, winner: np.ndarray, bary: np.ndarray, depth: np.ndarray
) -> None:
    height, width = winner.shape
    for y in range(height):
        for x in range(width):
            f = winner[y, x]
            if f < 0:
                bary[y, x, 0] = bary[y, x, 1] = bary[y, x, 2] = np.nan
                depth[y, x] = np.nan
                continue
            i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
            # Relative to the pixel: x z - x_pixel z cancels nothing later on.
            x0, y0, z0 = seen[i, 0] - x * seen[i, 2], seen[i, 1] - y * seen[i, 2], seen[i, 2]
            x1, y1, z1 = seen[j, 0] - x * seen[j, 2], seen[j, 1] - y * seen[j, 2], seen[j, 2]
            x2, y2, z2 = seen[k, 0] - x * seen[k, 2], seen[k, 1] - y * seen[k, 2], seen[k, 2]
            e0, e1, e2 = x1 * y2 - y1 * x2, x2 * y0 - y2 * x0, x0 * y1 - y0 * x1
            total = e0 + e1 + e2
            bary[y, x, 0], bary[y, x, 1], bary[y, x, 2] = e0 / total, e1 / total, e2 / total
            depth[y, x] = (e0 * z0 + e1 * z1 + e2 * z2) / total


@compiled
def _spread(
    winner: np.ndarray, bary: np.ndarray, faces: np.ndarray, attributes: np.ndarray, spread: np.ndarray
) -> None:
    height, width = winner.shape
    channels = attributes.shape[1]
    for y in range(height):
        for x in range(width):
            f = winner[y, x]
            if f < 0:
                for c in range(channels):
                    spread[y, x, c] = np.nan
                continue
            i, j, k = faces[f, 0], faces[f, 1], faces[f, 2]
            for c in range(channels):
                base = attributes[k, c]
                spread[y, x, c] = (
                    base
                    + bary[y, x, 0] * (attributes[i, c] - base)
                    + bary[y, x, 1] * (attributes[j, c] - base)
                )
