"""More of the modelling kit: bodies given by their own points instead of by a path and a profile."""

from dataclasses import replace

import numpy as np
from jaxtyping import Float64

from homolog.data.synthetic.solids import Solid


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
    rings = np.concatenate((front, back[:, ::-1]), axis=1).reshape(-1, 3)
    poles = (front[[0, -1]] + back[[0, -1]]).mean(axis=1) / 2
    return Solid(
        name=name,
        finish=finish,
        vertices=np.concatenate((rings, poles)),
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
    return replace(part, name=name, vertices=part.vertices * np.array((1.0, 1.0, -1.0)))
