"""More of the modelling kit: bodies given by their own points instead of by a path and a profile."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from homolog.synthetic.compiled import Real, compiled
from homolog.synthetic.solids import Solid

_MIRROR = np.array((1.0, 1.0, -1.0))


def sheet(
    name: str, finish: str, front: Float64[np.ndarray, "R C 3"], back: Float64[np.ndarray, "R C 3"]
) -> Solid:
    """Join two grids of points into a closed sheet, such as a leaf or a pane; a tube as far as faces go.

    Args:
        name: of the part.
        finish: what it is made of.
        front: R rows of C points of the one side.
        back: the same of the other, across the thickness. Where both sides have the same point the sheet
            is sharp.

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
    """Join R closed curves of S points into a body, flat at both ends: a tube as far as faces go."""
    rings, segments = sections.shape[:2]
    vertices = np.concatenate((sections.reshape(-1, 3), sections[[0, -1]].mean(axis=1)))
    return Solid(name=name, finish=finish, vertices=vertices, kind="tube", rings=rings, segments=segments)


def mirrored(part: Solid, name: str) -> Solid:
    """Return a part of the right as one of the left: vertex by vertex on the other side."""
    return Solid(
        name=name,
        finish=part.finish,
        vertices=part.vertices * _MIRROR,
        kind=part.kind,
        rings=part.rings,
        segments=part.segments,
    )


def joined(parts: Sequence[Solid]) -> Float64[np.ndarray, "V 3"]:
    """Return the vertices of parts, one part after the other."""
    return np.concatenate([part.vertices for part in parts])


def moved(parts: Sequence[Solid], vertices: Float64[np.ndarray, "V 3"], prefix: str = "") -> list[Solid]:
    """Return parts whose vertices, as `joined` orders them, are elsewhere.

    Args:
        parts: as given to `joined`.
        vertices: of all of them.
        prefix: of their names.
    """
    made: list[Solid] = []
    start = 0
    for part in parts:
        end = start + len(part.vertices)
        made.append(
            Solid(
                name=prefix + part.name,
                finish=part.finish,
                vertices=vertices[start:end],
                kind=part.kind,
                rings=part.rings,
                segments=part.segments,
            )
        )
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
