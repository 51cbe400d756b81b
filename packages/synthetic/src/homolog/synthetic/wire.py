"""Round bars along paths that may turn anywhere, such as handlebars; `solids.tube` needs a direction never taken."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from homolog.synthetic.compiled import Real, compiled
from homolog.synthetic.shells import loft
from homolog.synthetic.solids import Number, Solid, Vector


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
    sections = np.empty((rings, segments, 3))
    _surround(centres, ahead, out, radius, sections)
    return loft(name, finish, sections)


def _spline(
    points: Float64[np.ndarray, "K 3"], count: int
) -> tuple[Float64[np.ndarray, "R 3"], Float64[np.ndarray, "R 3"]]:
    """Return places along a Catmull-Rom spline, straight on beyond its ends, and its unit tangents there."""
    knots = np.concatenate((2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]))
    places, tangents = np.empty((count, 3)), np.empty((count, 3))
    _follow(knots, places, tangents)
    return places, tangents


@compiled
def _follow(knots: np.ndarray, places: np.ndarray, tangents: np.ndarray) -> None:
    pieces = len(knots) - 3
    for r in range(len(places)):
        along = pieces * r / (len(places) - 1)
        k = min(int(along), pieces - 1)
        t, length = along - k, 0.0
        for c in range(3):
            one, two, three, four = knots[k, c], knots[k + 1, c], knots[k + 2, c], knots[k + 3, c]
            linear = (three - one) / 2
            square, cube = one - 2.5 * two + 2 * three - four / 2, (four - one) / 2 + 1.5 * (two - three)
            places[r, c] = two + t * (linear + t * (square + t * cube))
            tangents[r, c] = linear + t * (2 * square + 3 * t * cube)
            length += tangents[r, c] ** 2
        tangents[r] /= np.sqrt(length)


@compiled
def _transport(ahead: np.ndarray, start: np.ndarray, out: np.ndarray) -> None:
    """Carry a direction along the path: at each step it is the last one, made perpendicular to the path."""
    last = start.copy()
    for r in range(len(ahead)):
        last -= (last * ahead[r]).sum() * ahead[r]
        last /= np.sqrt((last**2).sum())
        out[r] = last


@compiled
def _surround(
    centres: np.ndarray, ahead: np.ndarray, out: np.ndarray, radius: Real, sections: np.ndarray
) -> None:
    """Fill a circle [segments 3] around each centre."""
    segments = sections.shape[1]
    for r in range(len(centres)):
        for s in range(segments):
            cosine, sine = np.cos(2 * np.pi * s / segments), np.sin(2 * np.pi * s / segments)
            for k in range(3):
                i, j = (k + 1) % 3, (k + 2) % 3
                across = ahead[r, i] * out[r, j] - ahead[r, j] * out[r, i]
                sections[r, s, k] = centres[r, k] + radius * (cosine * out[r, k] + sine * across)
