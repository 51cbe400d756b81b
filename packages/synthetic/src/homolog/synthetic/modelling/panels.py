"""Parts made of explicit points: sheets, lofts, panes that cover another part, and copies of parts."""

from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from jaxtyping import Float64

from homolog.core.errors import ShapeError
from homolog.synthetic.compiled import Real, compiled
from homolog.synthetic.modelling.solids import Solid

_MIRROR = np.array((1.0, 1.0, -1.0))


def sheet(
    name: str, finish: str, front: Float64[np.ndarray, "R C 3"], back: Float64[np.ndarray, "R C 3"]
) -> Solid:
    """Join two grids of points into a closed sheet, such as a leaf or a pane; its faces are those of a tube.

    `back` lies across the thickness from `front`; where both have the same point the sheet is sharp.

    Returns:
        A tube of R rings: `vertex(r / (R - 1), c / (2 C))` is `front[r, c]`, its poles are the middles of the
        first and the last row.
    """
    rows, columns = front.shape[:2]
    vertices = np.empty((2 * rows * columns + 2, 3))
    _fold(front, back, vertices)
    return Solid(
        name=name,
        finish=finish,
        vertices=vertices,
        kind="tube",
        rings=rows,
        segments=2 * columns,
    )


def loft(name: str, finish: str, sections: Float64[np.ndarray, "R S 3"]) -> Solid:
    """Join R closed curves of S points into a body, flat at both ends: its faces are those of a tube."""
    rings, segments = sections.shape[:2]
    vertices = np.concatenate((sections.reshape(-1, 3), sections[[0, -1]].mean(axis=1)))
    return Solid(name=name, finish=finish, vertices=vertices, kind="tube", rings=rings, segments=segments)


def mirrored(part: Solid, name: str) -> Solid:
    """Return a part of the right as one of the left: vertex by vertex on the other side."""
    return part.replaced(part.vertices * _MIRROR, name)


def joined(parts: Sequence[Solid]) -> Float64[np.ndarray, "V 3"]:
    """Return the vertices of parts, one part after the other."""
    return np.concatenate([part.vertices for part in parts])


def moved(parts: Sequence[Solid], vertices: Float64[np.ndarray, "V 3"], prefix: str = "") -> list[Solid]:
    """Return parts with new vertices, in the order of `joined`, and a prefix to their names."""
    made: list[Solid] = []
    start = 0
    for part in parts:
        end = start + len(part.vertices)
        made.append(part.replaced(vertices[start:end], prefix + part.name))
        start = end
    return made


def squared(vertices: Float64[np.ndarray, "V 3"], power: float | int) -> Float64[np.ndarray, "V 3"]:
    """Turn circles around the y axis into superellipses of the same half axes: 2 is round, more nearly square."""
    made = np.empty_like(vertices)
    _square(vertices, power, made)
    return made


@compiled
def _square(vertices: np.ndarray, power: Real, made: np.ndarray) -> None:
    for n in range(len(vertices)):
        x, y, z = vertices[n, 0], vertices[n, 1], vertices[n, 2]
        radius = np.sqrt(x * x + z * z)
        grow = 0.0
        if radius > 0:
            grow = (abs(x / radius) ** power + abs(z / radius) ** power) ** (-1 / power)
        made[n, 0], made[n, 1], made[n, 2] = grow * x, y, grow * z


@compiled
def _fold(front: np.ndarray, back: np.ndarray, vertices: np.ndarray) -> None:
    rows, columns = front.shape[0], front.shape[1]
    vertices[-2:] = 0
    for r in range(rows):
        for c in range(columns):
            for k in range(3):
                vertices[2 * r * columns + c, k] = front[r, c, k]
                vertices[2 * (r + 1) * columns - 1 - c, k] = back[r, c, k]
                if r == 0:
                    vertices[-2, k] += (front[r, c, k] + back[r, c, k]) / (2 * columns)
                if r == rows - 1:
                    vertices[-1, k] += (front[r, c, k] + back[r, c, k]) / (2 * columns)


def cover(
    name: str,
    finish: str,
    part: Solid,
    along: Float64[np.ndarray, "R C"],
    around: Float64[np.ndarray, "R C"],
    *,
    proud: float | Float64[np.ndarray, "R C"],
    sunk: float = 0.01,
) -> Solid:
    """Lay a sheet over a region of a tube, such as a pane of glass in a wall.

    `along` and `around` place each point as in `Solid.vertex`, but anywhere between the vertices; on the
    other side of "up", `around` is negative. The sheet stands out by `proud`, its back lies `sunk` below the
    surface, and its front has R rows of C points.

    Raises:
        ShapeError: the part is no tube.
    """
    if part.kind != "tube":
        raise ShapeError(f"{name}: expected a tube to lie on, got a {part.kind}: {part.name}")
    rings = part.vertices[:-2].reshape(part.rings, part.segments, 3)
    front, back = np.empty((*along.shape, 3)), np.empty((*along.shape, 3))
    height = np.empty_like(along)
    height[...] = proud
    _lay(rings, along, around, height, sunk if _right_handed(rings) else -sunk, front, back)
    return sheet(name, finish, front, back)


@lru_cache(maxsize=64)
def lattice(rows: int, columns: int) -> tuple[Float64[np.ndarray, "R C"], Float64[np.ndarray, "R C"]]:
    """Return how far along and how far across each point of a sheet is, 0 to 1; not to be changed."""
    row, column = np.meshgrid(np.linspace(0, 1, rows), np.linspace(0, 1, columns), indexing="ij")
    return np.ascontiguousarray(row), np.ascontiguousarray(column)


@compiled
def _right_handed(rings: np.ndarray) -> bool:
    """Return whether the curves of a tube turn clockwise along it, like a right-handed screw."""
    half, segments, total = len(rings) // 2, rings.shape[1], 0.0
    for s in range(segments):
        n = (s + 1) % segments
        for k in range(3):
            i, j = (k + 1) % 3, (k + 2) % 3
            area = (rings[half, s, i] - rings[half, 0, i]) * (rings[half, n, j] - rings[half, 0, j])
            area -= (rings[half, s, j] - rings[half, 0, j]) * (rings[half, n, i] - rings[half, 0, i])
            total += area * (rings[half + 1, 0, k] - rings[half - 1, 0, k])
    return total > 0


@compiled
def _lay(
    rings: np.ndarray,
    along: np.ndarray,
    around: np.ndarray,
    proud: np.ndarray,
    sunk: Real,
    front: np.ndarray,
    back: np.ndarray,
) -> None:
    """Find points of a tube between its vertices, and move them out and in; a negative `sunk` turns its normal."""
    total, segments = rings.shape[0], rings.shape[1]
    slope, turn, normal = np.empty(3), np.empty(3), np.empty(3)
    for i in range(along.shape[0]):
        for j in range(along.shape[1]):
            row, column = along[i, j] * (total - 1), around[i, j] * segments
            r, c = min(max(int(np.floor(row)), 0), total - 2), int(np.floor(column))
            normal[:], front[i, j] = 0.0, 0.0
            for corner in range(4):
                # A normal that is continuous: a sheet across the middle is as symmetric as what it lies on.
                q, s = r + corner // 2, c + corner % 2
                weight = (1 - abs(row - q)) * (1 - abs(column - s))
                before, after = max(q - 1, 0), min(q + 1, total - 1)
                for k in range(3):
                    slope[k] = rings[after, s % segments, k] - rings[before, s % segments, k]
                    turn[k] = rings[q, (s + 1) % segments, k] - rings[q, (s - 1) % segments, k]
                    front[i, j, k] += weight * rings[q, s % segments, k]
                normal[0] += weight * (turn[1] * slope[2] - turn[2] * slope[1])
                normal[1] += weight * (turn[2] * slope[0] - turn[0] * slope[2])
                normal[2] += weight * (turn[0] * slope[1] - turn[1] * slope[0])
            scale = np.sign(sunk) / np.sqrt(normal[0] ** 2 + normal[1] ** 2 + normal[2] ** 2)
            for k in range(3):
                back[i, j, k] = front[i, j, k] - abs(sunk) * scale * normal[k]
                front[i, j, k] += proud[i, j] * scale * normal[k]
