"""The modelling kit: closed surfaces whose vertices move with a few numbers while their triangles stay.

Axes of all models: x forward, y up, z to the object's own right.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from jaxtyping import Float64, Int32

from homolog.core.errors import ShapeError
from homolog.synthetic.compiled import Real, compiled
from homolog.synthetic.rendering.scene import Topology, sheets

CAP = 3
"""Rings that round each end of a tube, not counting its pole."""


@compiled
def sweep(
    path: np.ndarray,
    radii: np.ndarray,
    up: np.ndarray,
    rings: Real,
    segments: Real,
    bulge_first: Real,
    bulge_last: Real,
    vertices: np.ndarray,
) -> None:
    """Fill the vertices of a tube, [(rings + 2 CAP) segments + 2, 3] with the poles last; see `tube`.

    `path` is [K 3]. `radii` [K 4] are those to the side, up and down, and the exponent of a superellipse.
    """
    total = rings + 2 * CAP
    knots = len(path)
    cosine, sine = np.empty(segments), np.empty(segments)
    for s in range(segments):
        cosine[s], sine[s] = np.cos(2 * np.pi * s / segments), np.sin(2 * np.pi * s / segments)
    here, forward, radius = np.empty(3), np.empty(3), np.empty(4)
    for r in range(total):
        # Rings of the caps share the end's place and shrink towards its pole along a quarter circle.
        inner = min(max(r - CAP, 0), rings - 1)
        beyond = r - CAP - inner
        angle = abs(beyond) / (CAP + 1) * np.pi / 2
        place = inner / (rings - 1) * (knots - 1)
        _smooth(path, radii, place, here, forward, radius)
        length = np.sqrt(forward[0] ** 2 + forward[1] ** 2 + forward[2] ** 2)
        tx, ty, tz = forward[0] / length, forward[1] / length, forward[2] / length
        reach = (radius[1] + radius[2]) / 2 * (bulge_first if beyond < 0 else bulge_last)
        offset = np.sign(beyond) * reach
        sx, sy, sz = ty * up[2] - tz * up[1], tz * up[0] - tx * up[2], tx * up[1] - ty * up[0]
        length = np.sqrt(sx * sx + sy * sy + sz * sz)
        sx, sy, sz = sx / length, sy / length, sz / length
        ux, uy, uz = sy * tz - sz * ty, sz * tx - sx * tz, sx * ty - sy * tx
        shrink, shift = np.cos(angle), offset * np.sin(angle)
        cx, cy, cz = here[0] + shift * tx, here[1] + shift * ty, here[2] + shift * tz
        for s in range(segments):
            c, d = cosine[s], sine[s]
            if radius[3] != 2:
                c = np.sign(c) * abs(c) ** (2 / radius[3])
                d = np.sign(d) * abs(d) ** (2 / radius[3])
            rise = shrink * c * (radius[1] if c >= 0 else radius[2])
            wide = shrink * d * radius[0]
            n = r * segments + s
            vertices[n, 0] = cx + rise * ux + wide * sx
            vertices[n, 1] = cy + rise * uy + wide * sy
            vertices[n, 2] = cz + rise * uz + wide * sz
        if r == 0 or r == total - 1:
            n = total * segments + (0 if r == 0 else 1)
            vertices[n, 0], vertices[n, 1], vertices[n, 2] = (
                here[0] + offset * tx,
                here[1] + offset * ty,
                here[2] + offset * tz,
            )


@compiled
def _smooth(
    path: np.ndarray,
    radii: np.ndarray,
    place: Real,
    here: np.ndarray,
    forward: np.ndarray,
    radius: np.ndarray,
) -> None:
    """Evaluate a Catmull-Rom spline and its derivative; radii never become negative."""
    knots = len(path)
    k = min(int(place), knots - 2)
    t = place - k
    before, after = max(k - 1, 0), min(k + 2, knots - 1)
    w0, w1 = t * (-0.5 + t * (1 - 0.5 * t)), 1 + t * t * (-2.5 + 1.5 * t)
    w2, w3 = t * (0.5 + t * (2 - 1.5 * t)), t * t * (-0.5 + 0.5 * t)
    d0, d1 = -0.5 + t * (2 - 1.5 * t), t * (-5 + 4.5 * t)
    d2, d3 = 0.5 + t * (4 - 4.5 * t), t * (-1 + 1.5 * t)
    for c in range(3):
        # Beyond an end the path continues straight.
        first = path[before, c] if k > 0 else 2 * path[0, c] - path[1, c]
        last = path[after, c] if k + 2 < knots else 2 * path[knots - 1, c] - path[knots - 2, c]
        here[c] = w0 * first + w1 * path[k, c] + w2 * path[k + 1, c] + w3 * last
        forward[c] = d0 * first + d1 * path[k, c] + d2 * path[k + 1, c] + d3 * last
    for c in range(4):
        value = w0 * radii[before, c] + w1 * radii[k, c] + w2 * radii[k + 1, c] + w3 * radii[after, c]
        radius[c] = max(value, 1e-4)


Number = float | int
Vector = Float64[np.ndarray, "3"] | tuple[Number, Number, Number]
Radius = Number | tuple[Number, ...]
Kind = Literal["tube", "ring", "slab"]
_CORNERS = np.array((0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 4, 5, 2, 3, 6, 7, 0, 2, 4, 6, 1, 3, 5, 7))
"""Of the eight corners of a slab those of each side: back, front, bottom, top, left, right."""
_ENDS = _CORNERS[:, None] >> np.array((2, 1, 0)) & 1
"""Which end of each axis they are at."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Solid:
    """One part of a model.

    Attributes:
        name: such as `"left ear"`.
        finish: its material, a name of `homolog.synthetic.rendering.look` (`"coat"`, `"metal"`).
        vertices: [V 3]. A tube has `rings` times `segments` of them, then both poles; a ring the same
            without poles; a slab four for each of its six sides.
        kind: how triangles join them.
        rings: closed curves of vertices, one after the other.
        segments: vertices of each curve; the first lies in the direction called up, the next ones
            towards the side.
    """

    name: str
    finish: str
    vertices: Float64[np.ndarray, "V 3"]
    kind: Kind
    rings: int = 0
    segments: int = 0

    def faces(self) -> Int32[np.ndarray, "F 3"]:
        """Return the triangles, anti-clockwise where seen from outside of this shape."""
        faces = _faces(self.kind, self.rings, self.segments)
        return faces if _volume(self.vertices, faces) >= 0 else np.ascontiguousarray(faces[:, ::-1])

    def replaced(self, vertices: Float64[np.ndarray, "V 3"], name: str | None = None) -> "Solid":
        """Return the same part with new vertices, and with a new name if there is one."""
        # Not dataclasses.replace, which takes three times as long: models have up to eighty parts.
        return Solid(
            name=self.name if name is None else name,
            finish=self.finish,
            vertices=vertices,
            kind=self.kind,
            rings=self.rings,
            segments=self.segments,
        )

    def vertex(self, along: Number, around: Number) -> int:
        """Return the vertex at a place of the surface.

        Args:
            along: 0 at the pole where a tube begins, 1 at the other; between them, the fraction of the rings.
            around: 0 up, 0.25 towards the side, 0.5 down.
        """
        if self.kind == "slab":
            raise ShapeError(f"{self.name}: expected a tube or a ring, got a slab")
        if self.kind == "tube" and along in (0, 1):
            return len(self.vertices) - 2 + int(along)
        ring = round(along * (self.rings - 1))
        return ring * self.segments + round(around * self.segments) % self.segments


def topology_of(solid: Solid, name: str) -> Topology:
    """Return the topology of an object that is a single solid, without keypoints."""
    faces = solid.faces()
    return Topology(
        name=name,
        faces=faces,
        canonical=solid.vertices / np.ptp(solid.vertices, axis=0).max(),
        part=np.zeros(len(faces), np.int32),
        sheet=sheets(faces),
        part_names=(solid.name,),
        finishes=(solid.finish,),
        closed=True,
    )


def tube(
    name: str,
    finish: str,
    path: Sequence[Vector],
    radii: Sequence[Radius],
    *,
    up: Vector = (0.0, 1.0, 0.0),
    rings: int = 16,
    segments: int = 16,
    bulge: tuple[Number, Number] = (1.0, 1.0),
) -> Solid:
    """Sweep a closed curve along a smooth path through K points, and round both ends.

    Each of the K radii is one number; or to the side and up; or to the side, up and down; or those and the
    exponent of a superellipse (2 is an ellipse, more comes close to a rectangle). `up` is a direction that
    the path never takes; the curve's own up is the nearest one across the path. `rings` do not count the
    caps. `bulge` is how far each end sticks out, in its radii; 0 is flat.
    """
    points = np.array(path, np.float64)
    profile = np.array([_profile(radius) for radius in radii], np.float64)
    if len(points) != len(profile) or len(points) < 2:
        raise ShapeError(
            f"{name}: expected as many radii as points, two at least, got {len(profile)}, {len(points)}"
        )
    vertices = np.empty(((rings + 2 * CAP) * segments + 2, 3))
    sweep(points, profile, np.array(up, np.float64), rings, segments, bulge[0], bulge[1], vertices)
    return Solid(
        name=name, finish=finish, vertices=vertices, kind="tube", rings=rings + 2 * CAP, segments=segments
    )


def ball(
    name: str, finish: str, centre: Vector, radii: Vector | Number, *, rings: int = 8, segments: int = 12
) -> Solid:
    """Return an ellipsoid along the axes; its poles lie below and above."""
    return Solid(
        name=name,
        finish=finish,
        vertices=_unit_ball(rings, segments) * np.asarray(radii) + np.asarray(centre),
        kind="tube",
        rings=rings + 2,
        segments=segments,
    )


def revolved(
    name: str,
    finish: str,
    profile: Float64[np.ndarray, "K 2"] | Sequence[tuple[Number, Number]],
    *,
    segments: int = 32,
) -> Solid:
    """Turn a profile of (radius, height), from below upwards, about the y axis; both ends are closed."""
    outline = np.array(profile, np.float64)
    cosine, sine = circle(segments)
    vertices = np.empty((len(outline) * segments + 2, 3))
    rings = vertices[:-2].reshape(len(outline), segments, 3)
    rings[..., 0] = outline[:, :1] * cosine
    rings[..., 1] = outline[:, 1:]
    rings[..., 2] = outline[:, :1] * sine
    vertices[-2:] = (0, outline[0, 1], 0), (0, outline[-1, 1], 0)
    return Solid(
        name=name, finish=finish, vertices=vertices, kind="tube", rings=len(outline), segments=segments
    )


def ring(
    name: str,
    finish: str,
    centre: Vector,
    axis: Vector,
    radius: Number,
    thickness: tuple[Number, Number],
    *,
    rings: int = 32,
    segments: int = 10,
) -> Solid:
    """Return a torus about an axis that is not straight up.

    `radius` is from the centre to the middle of the tube, `thickness` half of the tube's, in the plane of the
    wheel and along the axis. The first of the rings is at the top, the first of the segments outermost.
    """
    vertices = np.empty((rings, segments, 3))
    _bend_round(
        np.array(centre, np.float64), np.array(axis, np.float64), radius, thickness[0], thickness[1], vertices
    )
    return Solid(
        name=name,
        finish=finish,
        vertices=vertices.reshape(-1, 3),
        kind="ring",
        rings=rings,
        segments=segments,
    )


def slab(name: str, finish: str, corners: Float64[np.ndarray, "2 2 2 3"]) -> Solid:
    """Return a body with six sides and sharp edges; corners by back or front, bottom or top, left or right."""
    return Solid(name=name, finish=finish, vertices=corners.reshape(8, 3)[_CORNERS], kind="slab")


def box(name: str, finish: str, low: Vector, high: Vector) -> Solid:
    """Return a slab along the axes."""
    ends = np.array((low, high), np.float64)
    return Solid(name=name, finish=finish, vertices=ends[_ENDS, (0, 1, 2)], kind="slab")


def beam(name: str, finish: str, start: Vector, end: Vector, half: tuple[Number, Number]) -> Solid:
    """Return a slab from the middle of one end to that of the other, whose x is the "front" of the slab.

    `half` is half of the width (towards z, or x for a beam along z) and of the height.
    """
    vertices = np.empty((24, 3))
    _join(np.array(start, np.float64), np.array(end, np.float64), half[0], half[1], vertices)
    return Solid(name=name, finish=finish, vertices=vertices, kind="slab")


@lru_cache(maxsize=64)
def circle(segments: int) -> tuple[Float64[np.ndarray, " S"], Float64[np.ndarray, " S"]]:
    """Return cosine and sine of angles that divide a circle evenly, beginning at 0; not to be changed."""
    angle = np.linspace(0, 2 * np.pi, segments, endpoint=False)
    return np.cos(angle), np.sin(angle)


def _profile(radius: Radius) -> tuple[float, float, float, float]:
    values = radius if isinstance(radius, tuple) else (radius, radius)
    side, rise = values[0], values[1]
    return side, rise, values[2] if len(values) > 2 else rise, values[3] if len(values) > 3 else 2.0


@lru_cache(maxsize=64)
def _unit_ball(rings: int, segments: int) -> np.ndarray:
    latitude = np.linspace(-np.pi / 2, np.pi / 2, rings + 2)
    profile = np.stack((np.cos(latitude), np.sin(latitude)), axis=1)
    return revolved("", "", profile, segments=segments).vertices


@lru_cache(maxsize=256)
def _faces(kind: Kind, rings: int, segments: int) -> np.ndarray:
    if kind == "slab":
        quads = np.arange(24).reshape(6, 4)
        # Opposite sides look in opposite directions.
        orders = [(0, 1, 3, 2) if side in (0, 3, 4) else (0, 2, 3, 1) for side in range(6)]
        turned = np.stack([quad[list(order)] for quad, order in zip(quads, orders, strict=True)])
        return np.concatenate((turned[:, [0, 1, 2]], turned[:, [0, 2, 3]])).astype(np.int32)
    row, column = np.meshgrid(
        np.arange(rings if kind == "ring" else rings - 1), np.arange(segments), indexing="ij"
    )
    here, beside = row * segments, (row + 1) % rings * segments
    onward = (column + 1) % segments
    corners = [here + column, here + onward, beside + onward, beside + column]
    a, b, c, d = (corner.reshape(-1) for corner in corners)
    triangles = [np.stack((a, b, c), 1), np.stack((a, c, d), 1)]
    if kind == "tube":
        circle = np.arange(segments)
        onward, last = (circle + 1) % segments, (rings - 1) * segments
        pole = np.full(segments, rings * segments)
        triangles += [
            np.stack((pole, onward, circle), 1),
            np.stack((pole + 1, last + circle, last + onward), 1),
        ]
    return np.concatenate(triangles).astype(np.int32)


def _volume(vertices: np.ndarray, faces: np.ndarray) -> float:
    a, b, c = (vertices[faces[:, k]] - vertices.mean(axis=0) for k in range(3))
    return float(np.einsum("nc,nc->n", a, np.cross(b, c)).sum())


@compiled
def _bend_round(
    centre: np.ndarray, axis: np.ndarray, radius: Real, wide: Real, deep: Real, vertices: np.ndarray
) -> None:
    """Fill a torus: [rings segments 3]."""
    rings, segments = vertices.shape[0], vertices.shape[1]
    ax, ay, az = axis / np.sqrt((axis * axis).sum())
    length = np.sqrt(1 - ay * ay)
    tx, ty, tz = -ay * ax / length, (1 - ay * ay) / length, -ay * az / length
    fx, fy, fz = ty * az - tz * ay, tz * ax - tx * az, tx * ay - ty * ax
    for r in range(rings):
        cosine, sine = np.cos(2 * np.pi * r / rings), np.sin(2 * np.pi * r / rings)
        ox, oy, oz = cosine * tx + sine * fx, cosine * ty + sine * fy, cosine * tz + sine * fz
        for s in range(segments):
            angle = 2 * np.pi * s / segments
            out, aside = radius + wide * np.cos(angle), deep * np.sin(angle)
            vertices[r, s, 0] = centre[0] + out * ox + aside * ax
            vertices[r, s, 1] = centre[1] + out * oy + aside * ay
            vertices[r, s, 2] = centre[2] + out * oz + aside * az


@compiled
def _join(start: np.ndarray, end: np.ndarray, wide: float, high: float, vertices: np.ndarray) -> None:
    """Fill the six sides of a beam, as `slab` orders them."""
    along = end - start
    along /= np.sqrt(along[0] ** 2 + along[1] ** 2 + along[2] ** 2)
    side = np.array((1.0, 0.0, 0.0)) if abs(along[2]) > 0.9 else np.array((0.0, 0.0, 1.0))
    side -= (side[0] * along[0] + side[1] * along[1] + side[2] * along[2]) * along
    side /= np.sqrt(side[0] ** 2 + side[1] ** 2 + side[2] ** 2)
    rise = np.array(
        (
            side[1] * along[2] - side[2] * along[1],
            side[2] * along[0] - side[0] * along[2],
            side[0] * along[1] - side[1] * along[0],
        )
    )
    count = 0
    for fixed in range(3):
        for at in range(2):
            for one in range(2):
                for two in range(2):
                    ahead = at if fixed == 0 else one
                    up = at if fixed == 1 else (one if fixed == 0 else two)
                    right = at if fixed == 2 else two
                    for c in range(3):
                        vertices[count, c] = (
                            (end[c] if ahead else start[c])
                            + (2 * up - 1) * high * rise[c]
                            + (2 * right - 1) * wide * side[c]
                        )
                    count += 1
