"""Round bars along paths that may turn anywhere, such as handlebars; `solids.tube` needs a direction never taken."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from homolog.data.synthetic.compiled import compiled
from homolog.data.synthetic.shells import loft
from homolog.data.synthetic.solids import Number, Solid, Vector


def wire(
    name: str,
    finish: str,
    path: Sequence[Vector],
    radius: Number,
    *,
    start: Vector,
    rings: int = 24,
    segments: int = 8,
) -> Solid:
    """Sweep a circle along a smooth path through K points with as little twist as there can be; its ends are flat.

    Args:
        name: of the part.
        finish: what it is made of.
        path: K points in order, two at least.
        radius: of the circle.
        start: where the first vertex of the first circle lies, as a direction across the path.
        rings: along the path.
        segments: around it.
    """
    centres, ahead = _spline(np.array(path, np.float64), rings)
    out = np.empty_like(ahead)
    _transport(ahead, np.array(start, np.float64), out)
    angle = np.linspace(0, 2 * np.pi, segments, endpoint=False)[:, None]
    circle = np.cos(angle) * out[:, None] + np.sin(angle) * np.cross(ahead, out)[:, None]
    return loft(name, finish, centres[:, None] + radius * circle)


def _spline(
    points: Float64[np.ndarray, "K 3"], count: int
) -> tuple[Float64[np.ndarray, "R 3"], Float64[np.ndarray, "R 3"]]:
    """Return places along a Catmull-Rom spline, straight on beyond its ends, and its unit tangents there."""
    knots = np.concatenate((2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]))
    place = np.linspace(0, len(points) - 1, count)
    k = np.minimum(place.astype(int), len(points) - 2)
    t = (place - k)[:, None]
    a, b, c, d = (knots[k + offset] for offset in range(4))
    linear, square, cube = (c - a) / 2, a - 2.5 * b + 2 * c - d / 2, (d - a) / 2 + 1.5 * (b - c)
    tangent = linear + t * (2 * square + 3 * t * cube)
    return b + t * (linear + t * (square + t * cube)), tangent / np.linalg.norm(
        tangent, axis=1, keepdims=True
    )


@compiled
def _transport(ahead: np.ndarray, start: np.ndarray, out: np.ndarray) -> None:
    """Carry a direction along the path: at each step it is the last one, made perpendicular to the path."""
    last = start.copy()
    for r in range(len(ahead)):
        last -= (last * ahead[r]).sum() * ahead[r]
        last /= np.sqrt((last**2).sum())
        out[r] = last
