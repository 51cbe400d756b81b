"""A wheel with a tyre, as cars have it."""

import numpy as np

from homolog.synthetic.shells import loft
from homolog.synthetic.solids import Solid, beam, circle, ring

SPOKES = 5


def disc_wheel(radius: float, half: float, roll: float) -> list[Solid]:
    """Return tyre, rim, hub and spokes of a wheel about the z axis; its face looks towards z.

    Args:
        radius: of the tyre.
        half: of the tyre's width.
        roll: by which it has turned, radians.
    """
    inner = 0.60 * radius
    thick = (radius - inner) / 2
    parts = [
        ring("tyre", "dark", (0, 0, 0), (0, 0, 1), inner + thick, (thick, half), rings=28, segments=10),
        drum("rim", "dark", (-0.5 * half, 0.45 * half), 1.06 * inner, segments=20),
        drum("hub", "metal", (0.3 * half, 0.74 * half), 0.30 * inner, segments=14),
    ]
    level = np.array((0.0, 0.0, 0.52 * half))
    for spoke in range(SPOKES):
        angle = roll + 2 * np.pi * spoke / SPOKES
        way = inner * np.array((np.sin(angle), np.cos(angle), 0.0))
        size = (0.14 * half, 0.16 * inner)
        parts.append(beam(f"spoke {spoke + 1}", "metal", 0.2 * way + level, 1.04 * way + level, size))
    return parts


def drum(name: str, finish: str, ends: tuple[float, float], radius: float, *, segments: int) -> Solid:
    """Return a cylinder about the z axis with sharp edges.

    Args:
        name: of the part.
        finish: what it is made of.
        ends: z of both.
        radius: of the cylinder.
        segments: around it.
    """
    cosine, sine = circle(segments)
    sections = np.empty((4, segments, 3))
    sections[..., 0], sections[..., 1] = radius * sine, radius * cosine
    # Each end twice: the edge between the round and the flat side is sharp where normals are averaged.
    sections[:2, :, 2], sections[2:, :, 2] = ends
    return loft(name, finish, sections)
