"""Bottles, from wine to ketchup: revolved, and squeezed flat or square as some are."""

import numpy as np

from homolog.synthetic.category import Anchor, Category, Numbers
from homolog.synthetic.compiled import clipped, compiled
from homolog.synthetic.modelling.panels import joined, moved
from homolog.synthetic.modelling.solids import Solid, revolved, tube

_COLUMNS = (
    "height", "radius", "shoulder", "slope", "neck", "waist", "flat", "cap", "cap_radius", "label_low",
    "label_high", "square", "handle",
)  # fmt: skip
_KINDS = {
    "wine": (1.00, 0.125, 0.62, 0.16, 0.045, 0.00, 1.00, 0.09, 1.12, 0.18, 0.48, 2.0, 0.02),
    "champagne": (1.00, 0.150, 0.45, 0.35, 0.050, 0.00, 1.00, 0.14, 1.20, 0.14, 0.36, 2.0, 0.02),
    "water": (1.00, 0.140, 0.72, 0.14, 0.055, 0.12, 1.00, 0.06, 1.25, 0.38, 0.62, 2.0, 0.02),
    "soda": (0.95, 0.155, 0.58, 0.30, 0.050, 0.18, 1.00, 0.05, 1.30, 0.30, 0.52, 2.0, 0.02),
    "detergent": (0.90, 0.200, 0.70, 0.12, 0.075, 0.06, 0.55, 0.12, 1.25, 0.15, 0.60, 3.0, 0.16),
    "flask": (0.70, 0.220, 0.72, 0.10, 0.060, 0.00, 0.40, 0.12, 1.10, 0.20, 0.60, 3.5, 0.02),
    "milk": (0.85, 0.170, 0.62, 0.18, 0.080, 0.02, 1.00, 0.07, 1.15, 0.15, 0.50, 5.0, 0.13),
    "beer": (0.85, 0.125, 0.48, 0.24, 0.055, 0.00, 1.00, 0.04, 1.20, 0.12, 0.36, 2.0, 0.02),
}  # fmt: skip

_HEIGHTS = np.concatenate(((0.0, 0.004, 0.012, 0.03), np.linspace(0.05, 0.97, 40), (0.975, 1.0)))
"""Of the rings of the body, relative to its own."""
_BARE = 0.07
"""Handles that would be smaller are not there."""


def _build(shape: Numbers, pose: Numbers) -> list[Solid]:
    body = _body(shape)
    parts = [
        revolved("body", "vessel", body, segments=36),
        revolved("label", "label", _label(shape), segments=36),
        revolved("cap", "cap", _cap(shape, pose), segments=28),
    ]
    parts = [_squeezed(part, shape) for part in parts]
    parts.append(_handle(shape))
    return _leaning(parts, pose)


def _outline(s: Numbers, height: np.ndarray) -> np.ndarray:
    """Return the radius at a fraction of the height."""
    top = min(s["shoulder"] + s["slope"], 0.95)
    rise = clipped((height - s["shoulder"]) / (top - s["shoulder"]), 0, 1)
    smooth = rise * rise * (3 - 2 * rise)
    pinch = 1 - s["waist"] * np.exp(-(((height - 0.5 * s["shoulder"]) / 0.16) ** 2))
    base = np.maximum(1 - (np.maximum(0.03 - height, 0) / 0.045) ** 2, 0.05)
    return s["radius"] * pinch * np.sqrt(base) + smooth * (s["neck"] - s["radius"])


def _body(s: Numbers) -> np.ndarray:
    radius = _outline(s, _HEIGHTS)
    radius[-2:] *= 1.12
    return np.stack((np.maximum(radius, 0.01), _HEIGHTS * s["height"]), axis=1)


def _label(s: Numbers) -> np.ndarray:
    low, high = s["label_low"], max(s["label_high"], s["label_low"] + 0.1)
    height = np.linspace(low, min(high, s["shoulder"]), 16)
    radius = 1.015 * _outline(s, height) + 0.003
    # The rim of the label goes back into the bottle.
    height[1], height[-2] = height[0], height[-1]
    radius[1], radius[-2] = radius[0], radius[-1]
    radius[0], radius[-1] = 0.9 * radius[0], 0.9 * radius[-1]
    return np.stack((radius, height * s["height"]), axis=1)


def _cap(s: Numbers, p: Numbers) -> np.ndarray:
    base = s["height"] * (1.0 - 0.45 * s["cap"] + 0.1 * p["open"] * s["cap"])
    radius = s["neck"] * s["cap_radius"]
    fraction = np.array((0.0, 0.0, 0.0, 0.1, 0.4, 0.7, 0.9, 1.0, 1.0))
    width = np.array((0.3, 0.9, 1.0, 1.0, 0.99, 0.98, 0.97, 0.9, 0.4))
    return np.stack((width * radius, base + fraction * s["cap"] * s["height"]), axis=1)


def _squeezed(part: Solid, s: Numbers) -> Solid:
    """Turn round sections into flat or square ones, where the bottle is wide."""
    vertices = np.empty_like(part.vertices)
    # The label, slightly wider, is squeezed like what it sticks to.
    room = max(s["radius"] - s["neck"], 1e-3)
    _squeeze(part.vertices, s["neck"], room, s["square"], s["flat"], vertices)
    return part.replaced(vertices)


@compiled
def _squeeze(
    vertices: np.ndarray, neck: float, room: float, square: float, flat: float, made: np.ndarray
) -> None:
    for n in range(len(vertices)):
        x, z = vertices[n, 0], vertices[n, 2]
        radius = np.sqrt(x * x + z * z)
        wide = min(max((radius - neck) / room, 0.0), 1.0)
        power, grow = 2 + (square - 2) * wide, 0.0
        if radius > 0:
            grow = (abs(x / radius) ** power + abs(z / radius) ** power) ** (-1 / power)
        made[n, 0] = grow * x * (1 + (flat - 1) * wide)
        made[n, 1], made[n, 2] = vertices[n, 1], grow * z


def _handle(s: Numbers) -> Solid:
    """A loop behind; bottles that have none hide it inside."""
    out, radius, high = s["handle"], s["radius"] * (1 - 0.45 * (s["handle"] < _BARE)), s["height"]
    path = [
        (0.0, 0.88 * s["shoulder"] * high, -0.80 * radius),
        (0.0, 0.92 * s["shoulder"] * high, -radius - 0.75 * out),
        (0.0, 0.62 * s["shoulder"] * high, -radius - 0.95 * out),
        (0.0, 0.40 * s["shoulder"] * high, -0.80 * radius),
    ]
    thick = 0.006 + 0.13 * out
    return tube("handle", "vessel", path, [thick] * 4, up=(1.0, 0.0, 0.0), rings=18, segments=10)


def _leaning(parts: list[Solid], p: Numbers) -> list[Solid]:
    tilt = np.radians(p["tilt"])
    turn = np.array(((np.cos(tilt), -np.sin(tilt), 0), (np.sin(tilt), np.cos(tilt), 0), (0, 0, 1.0)))
    return moved(parts, joined(parts) @ turn.T)


# Round things have no left; a bottle's front is where its label faces, x.
CATEGORY = Category(
    name="bottle",
    kinds={name: dict(zip(_COLUMNS, values, strict=True)) for name, values in _KINDS.items()},
    poses={"tilt": (-18.0, 0.0, 18.0), "open": (0.0, 0.0, 1.0)},
    build=_build,
    anchors={
        "cap top": Anchor(part="cap", along=1.0),
        **{
            f"{what} {where}": Anchor(part=part, along=along, around=around)
            for what, part, along in (
                ("cap rim", "cap", 0.25),
                ("shoulder", "body", 0.70),
                ("label top", "label", 0.93),
                ("label bottom", "label", 0.07),
                ("base", "body", 0.07),
            )
            for where, around in (("front", 0.0), ("right", 0.25), ("back", 0.5), ("left", 0.75))
        },
    },
    spread=0.07,
    elevations=(-5.0, 45.0),
    turns=10.0,
)
