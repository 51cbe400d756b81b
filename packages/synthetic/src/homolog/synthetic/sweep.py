"""A closed curve swept along a smooth path, with both ends rounded: the vertices of `solids.tube`."""

import numpy as np

from homolog.synthetic.compiled import Real, compiled

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
    """Fill the vertices of a tube.

    Args:
        path: [K 3] points in order.
        radii: [K 4] at each of them, to the side, up and down, and the exponent of a superellipse.
        up: [3] a direction that the path never takes.
        rings: along the path, caps not counted.
        segments: around it.
        bulge_first: how far the first end sticks out, in its radii.
        bulge_last: the same of the last end.
        vertices: [(rings + 2 CAP) segments + 2, 3] is filled, poles last.
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
        # Beyond an end the path goes on straight.
        first = path[before, c] if k > 0 else 2 * path[0, c] - path[1, c]
        last = path[after, c] if k + 2 < knots else 2 * path[knots - 1, c] - path[knots - 2, c]
        here[c] = w0 * first + w1 * path[k, c] + w2 * path[k + 1, c] + w3 * last
        forward[c] = d0 * first + d1 * path[k, c] + d2 * path[k + 1, c] + d3 * last
    for c in range(4):
        value = w0 * radii[before, c] + w1 * radii[k, c] + w2 * radii[k + 1, c] + w3 * radii[after, c]
        radius[c] = max(value, 1e-4)
