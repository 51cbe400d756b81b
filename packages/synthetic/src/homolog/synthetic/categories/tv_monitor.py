"""Televisions and monitors, from the portable with two antennas to the wide screen on a desk."""

import numpy as np
from jaxtyping import Float64

from homolog.synthetic.category import Anchor, Category, Numbers
from homolog.synthetic.modelling.panels import joined, moved, sheet, squared
from homolog.synthetic.modelling.solids import Solid, ball, box, revolved, slab, tube

Vector = Float64[np.ndarray, "3"]

# In diagonals of the screen. With `feet` near 1 it stands on two of them, near 0 on a neck and a base.
_COLUMNS = (
    "width", "height", "bezel", "chin", "depth", "behind", "shrink", "bulge", "feet", "neck", "neck_wide",
    "base_wide", "base_deep", "square", "antenna", "knob",
)  # fmt: skip
_KINDS = {
    "flat": (0.88, 0.50, 0.014, 0.022, 0.030, 0.035, 0.55, 0.001, 0.0, 0.07, 0.120, 0.42, 0.22, 5.0, 0.10, 0.004),
    "legged": (0.90, 0.51, 0.012, 0.018, 0.026, 0.030, 0.60, 0.001, 1.0, 0.06, 0.024, 0.30, 0.20, 3.0, 0.10, 0.004),
    "tube": (0.78, 0.59, 0.055, 0.120, 0.180, 0.280, 0.60, 0.045, 1.0, 0.02, 0.060, 0.30, 0.34, 3.0, 0.10, 0.018),
    "portable": (0.72, 0.56, 0.070, 0.160, 0.260, 0.150, 0.70, 0.060, 1.0, 0.05, 0.040, 0.30, 0.26, 3.0, 0.55, 0.030),
    "monitor": (0.78, 0.62, 0.026, 0.036, 0.036, 0.035, 0.60, 0.001, 0.0, 0.17, 0.070, 0.34, 0.26, 2.0, 0.10, 0.004),
    "wide": (0.95, 0.40, 0.012, 0.018, 0.030, 0.045, 0.45, 0.001, 1.0, 0.09, 0.030, 0.50, 0.24, 3.5, 0.10, 0.004),
    "all in one": (0.84, 0.50, 0.022, 0.110, 0.032, 0.025, 0.60, 0.001, 0.0, 0.13, 0.190, 0.30, 0.26, 6.0, 0.10, 0.004),
    "old monitor": (0.76, 0.58, 0.050, 0.075, 0.130, 0.310, 0.55, 0.035, 0.0, 0.06, 0.200, 0.44, 0.40, 2.0, 0.10, 0.012),
}  # fmt: skip

_POSES = {
    "tilt": (-6.0, 0.0, 14.0),
    "swivel": (-35.0, 0.0, 35.0),
    "spread": (-14.0, 0.0, 16.0),
    "antenna_pitch": (-25.0, 0.0, 25.0),
}

_SIDES = ((-1, "left"), (1, "right"))
_MARGIN = 0.985
"""Where the row of points next to the edge of the screen lies; keypoints of its edge are there."""
_GRID = np.concatenate(((-1.0,), np.linspace(-_MARGIN, _MARGIN, 9), (1.0,)))
_SUNK = 0.006
"""How far behind the bezel the edge of the screen lies."""
_VENTS = 4
_BARE = 0.15
"""Antennas that would be shorter are not there."""


def _build(shape: Numbers, pose: Numbers) -> list[Solid]:
    s = _fitting(shape)
    # Only what is exactly between the two stands, as the mean instance is, has both.
    has_feet, has_neck = s["feet"] > 0.45, s["feet"] < 0.55
    head = [_screen(s), _bezel(s), *_housing(s), *_trim(s), *_antennas(s, pose)]
    feet = _feet(s) if has_feet else [_within(f"{name} foot", s, 0.25 * side) for side, name in _SIDES]
    neck = _neck(s) if has_neck else [_within("neck", s, 0.0)]
    base = [_base(s, hidden=not has_neck)]
    if has_feet:
        return [*head, *feet, *neck, *base]
    return [*_turned([*head, *feet], s, pose), *_turned(neck, s, {**pose, "tilt": 0.0}), *base]


def _fitting(shape: Numbers) -> Numbers:
    """Keep parts inside or above others."""
    s = dict(shape)
    s["chin"] = max(s["chin"], s["bezel"])
    s["shrink"] = min(s["shrink"], 0.90)
    s["square"] = max(s["square"], 2.0)
    s["knob"] = min(s["knob"], 0.40 * s["chin"])
    return s


def _screen(s: Numbers) -> Solid:
    """A pane, convex if it is a tube's; the origin is the middle of the bezel's opening."""
    y, z = np.repeat(_GRID[:, None], len(_GRID), axis=1), np.repeat(_GRID[None], len(_GRID), axis=0)
    x = s["bulge"] * (1 - y**2) * (1 - z**2) - _SUNK
    front = np.stack((x, y * s["height"] / 2, z * s["width"] / 2), axis=-1)
    back = front * (0, 1, 1) - (_SUNK + 0.010, 0, 0)
    return sheet("screen", "screen", front, back)


def _bezel(s: Numbers) -> Solid:
    """A frame of four mitred bars; every edge is there twice, so that it is sharp."""
    inner, outer = _openings(s)
    thick = min(0.8 * s["depth"], 0.04)
    section = [
        _loop(rectangle, x) for rectangle, x in ((inner, 0), (outer, 0), (outer, -thick), (inner, -thick))
    ]
    vertices = np.stack([loop for loop in section for _ in (0, 1)], axis=1)
    return Solid(
        name="bezel", finish="dark", vertices=vertices.reshape(-1, 3), kind="ring", rings=12, segments=8
    )


def _openings(s: Numbers) -> tuple[Vector, Vector]:
    """Return bottom, top and half of the width of the screen, and of the whole front."""
    inner = np.array((-s["height"] / 2, s["height"] / 2, s["width"] / 2))
    return inner, inner + np.array((-s["chin"], s["bezel"], s["bezel"]))


def _loop(rectangle: Vector, x: float | int) -> Float64[np.ndarray, "12 3"]:
    """Go around from the middle of the top, to the right first; corners are there twice."""
    bottom, top, half = rectangle
    middle = (bottom + top) / 2
    right = [(x, top, half)] * 2 + [(x, middle, half)] + [(x, bottom, half)] * 2
    left = [(x, y, -z) for _, y, z in reversed(right)]
    return np.array([(x, top, 0.0), *right, (x, bottom, 0.0), *left])


def _housing(s: Numbers) -> list[Solid]:
    _, (bottom, top, half) = _openings(s)
    depth, edge = s["depth"], 0.004
    middle, shrink = 0.35 * (bottom + top), s["shrink"]
    rear = (middle + shrink * (bottom - middle), middle + shrink * (top - middle), shrink * half)
    front = (-0.5 * min(0.8 * depth, 0.04), (bottom + edge, top - edge, half - edge))
    joint = (bottom + 2 * edge, top - 2 * edge, half - 2 * edge)
    parts = [
        _tapered("housing", "frame", front, (-depth, front[1])),
        _tapered("back", "dark", (-depth + 0.3 * edge, joint), (-depth - s["behind"], rear)),
    ]
    for row in range(_VENTS):
        y = rear[1] - (0.10 + 0.07 * row) * (rear[1] - rear[0])
        middle, size = (
            np.array((-depth - s["behind"], y, 0.0)),
            np.array((0.003, 0.010 * (rear[1] - rear[0]), 0.6 * rear[2])),
        )
        parts.append(box(f"vent {row + 1}", "metal", middle - size, middle + size))
    return parts


def _tapered(
    name: str,
    finish: str,
    front: tuple[float, tuple[float, float, float]],
    rear: tuple[float, tuple[float, float, float]],
) -> Solid:
    corners = np.empty((2, 2, 2, 3))
    for end, (x, (bottom, top, half)) in enumerate((rear, front)):
        for up, y in enumerate((bottom, top)):
            corners[end, up] = (x, y, -half), (x, y, half)
    return slab(name, finish, corners)


def _trim(s: Numbers) -> list[Solid]:
    """A badge and two knobs on the lower bar of the bezel; they are tiny on modern ones."""
    height, knob = -s["height"] / 2 - s["chin"] / 2, s["knob"]
    badge = np.array((0.002, 0.13 * s["chin"], 0.05))
    parts = [
        box("badge", "metal", (-0.002, height - badge[1], -badge[2]), (0.002, height + badge[1], badge[2]))
    ]
    for side, name in _SIDES:
        place = np.array((0.0, height, side * (0.5 * s["width"] - 1.3 * knob - 0.02)))
        path = [place - (0.002, 0, 0), place + np.array((0.9 * knob, 0, 0))]
        parts.append(
            tube(f"{name} knob", "metal", path, [knob, 0.85 * knob], rings=3, segments=14, bulge=(0.1, 0.1))
        )
    return parts


def _antennas(s: Numbers, p: Numbers) -> list[Solid]:
    bare, (_, top, _) = s["antenna"] < _BARE, _openings(s)[1]
    root = np.array((-0.5 * s["depth"], 0.0 if bare else top - 0.012, 0.0))
    thick = 0.1 * s["depth"] if bare else 0.045
    long = 2 * s["depth"] if bare else s["antenna"]
    parts = [ball("antenna base", "dark", root, (thick, 0.7 * thick, 1.4 * thick), rings=6, segments=12)]
    out, pitch = np.radians(32 + p["spread"]), 0.0 if bare else np.radians(p["antenna_pitch"])
    for side, name in _SIDES:
        way = np.array((np.sin(pitch), np.cos(pitch) * np.cos(out), side * np.cos(pitch) * np.sin(out)))
        start = root + np.array((0, 0, side * 0.7 * thick))
        radii = [0.08 * s["depth"]] * 2 if bare else [0.007, 0.004]
        parts.append(
            tube(f"{name} antenna", "metal", [start, start + long * way], radii, up=(1.0, 0.0, 0.0), rings=6, segments=8)
        )  # fmt: skip
    return parts


def _feet(s: Numbers) -> list[Solid]:
    _, (bottom, _, half) = _openings(s)
    middle, deep = -0.42 * (s["depth"] + s["behind"]), s["base_deep"] / 2
    parts: list[Solid] = []
    for side, name in _SIDES:
        corners = np.empty((2, 2, 2, 3))
        for up, (y, long) in enumerate(((bottom - s["neck"], deep), (bottom + 0.008, 0.3 * deep))):
            for end in (0, 1):
                for right in (0, 1):
                    z = side * 0.68 * half + (right - 0.5) * s["neck_wide"]
                    corners[end, up, right] = (middle + (2 * end - 1) * long, y, z)
        parts.append(slab(f"{name} foot", "metal", corners))
    return parts


def _neck(s: Numbers) -> list[Solid]:
    """From the ground up to where the screen turns, within its back."""
    (x, high, _), (bottom, _, _) = _pivot(s), _openings(s)[1]
    corners = np.empty((2, 2, 2, 3))
    for end in (0, 1):
        for up, (y, wide) in enumerate(((bottom - s["neck"] + 0.004, 1.25), (high, 0.9))):
            for right in (0, 1):
                z = (right - 0.5) * wide * s["neck_wide"]
                corners[end, up, right] = (x + (2 * end - 1) * (0.010 + 0.08 * s["neck_wide"]), y, z)
    return [slab("neck", "metal", corners)]


def _base(s: Numbers, *, hidden: bool) -> Solid:
    """A plate, from round to nearly rectangular."""
    profile = ((0.97, 0.0), (1.0, 0.25), (1.0, 0.70), (0.975, 0.95), (0.94, 1.0))
    plate = revolved("base", "metal", profile, segments=32)
    if hidden:
        size, place = np.full(3, 0.2 * s["depth"]), np.array((-0.6 * s["depth"], 0.0, 0.0))
    else:
        size = np.array((s["base_deep"] / 2, 0.018, s["base_wide"] / 2))
        place = np.array((_pivot(s)[0] + 0.12 * s["base_deep"], _openings(s)[1][0] - s["neck"], 0.0))
    return plate.replaced(squared(plate.vertices, s["square"]) * size + place)


def _within(name: str, s: Numbers, aside: float) -> Solid:
    """Something that this instance does not have: it lies inside of the housing."""
    middle, half = np.array((-0.6 * s["depth"], 0.0, aside * s["width"])), 0.15 * s["depth"]
    return box(name, "metal", middle - half, middle + half)


def _pivot(s: Numbers) -> Vector:
    return np.array((-s["depth"] - 0.5 * s["behind"], -0.2 * s["height"], 0.0))


def _turned(parts: list[Solid], s: Numbers, p: Numbers) -> list[Solid]:
    """Tilt parts (up for a positive angle), then swivel them (to the left)."""
    tilt, swivel, pivot = np.radians(p["tilt"]), np.radians(p["swivel"]), _pivot(s)
    up = np.array(((np.cos(tilt), -np.sin(tilt), 0), (np.sin(tilt), np.cos(tilt), 0), (0, 0, 1.0)))
    around = np.array(
        ((np.cos(swivel), 0, np.sin(swivel)), (0, 1.0, 0), (-np.sin(swivel), 0, np.cos(swivel)))
    )
    turn = around @ up
    return moved(parts, (joined(parts) - pivot) @ turn.T + pivot)


_HEIGHTS = (("bottom", 0), ("top", 1))
_FRAME = {
    "top": 0,
    "top right": 1,
    "right": 3,
    "bottom right": 4,
    "bottom": 6,
    "bottom left": 7,
    "left": 9,
    "top left": 10,
}
"""Places of the bezel and the rings there, of 12."""
_PANE = {
    "bottom left": (1, 1),
    "bottom": (1, 5),
    "bottom right": (1, 9),
    "left": (5, 1),
    "centre": (5, 5),
    "right": (5, 9),
    "top left": (9, 1),
    "top": (9, 5),
    "top right": (9, 9),
}
"""Places of the screen, the rows and the columns there, of 11."""

CATEGORY = Category(
    name="tv_monitor",
    kinds={name: dict(zip(_COLUMNS, map(float, values), strict=True)) for name, values in _KINDS.items()},
    poses=_POSES,
    build=_build,
    anchors={
        **{f"bezel {place}": Anchor(part="bezel", along=ring / 11, around=2 / 8) for place, ring in _FRAME.items()},
        **{
            f"screen {place}": Anchor(part="screen", along=row / 10, around=column / 22)
            for place, (row, column) in _PANE.items()
        },
        **{
            f"back {height} {side}": Anchor(part="back", corner=2 * up + right)
            for height, up in _HEIGHTS
            for right, (_, side) in enumerate(_SIDES)
        },
        "base front": Anchor(part="base", along=0.75, around=0.0),
        **{
            f"{side} {name}": Anchor(part=part, along=0.75, around=around, corner=corner)
            for right, (_, side) in enumerate(_SIDES)
            for name, part, around, corner in (
                ("base end", "base", 0.75 - 0.5 * right, None),
                ("foot", f"{side} foot", 0.0, 4 + right),
            )
        },
    },
    spread=0.06,
    azimuths=(0.0, 75.0),
    elevations=(-8.0, 35.0),
    turns=5.0,
)  # fmt: skip
