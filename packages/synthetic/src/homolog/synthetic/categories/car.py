"""Cars, from city car to van: a body with arches, a cabin with panes, four wheels."""

import numpy as np
from jaxtyping import Float64

from homolog.synthetic.category import Anchor, Category, Numbers
from homolog.synthetic.compiled import clipped
from homolog.synthetic.modelling.panels import cover, joined, lattice, loft, mirrored, moved
from homolog.synthetic.modelling.solids import Solid, ball, beam, box, circle, ring

SPOKES = 5


def disc_wheel(radius: float, half: float, roll: float) -> list[Solid]:
    """Return the parts of a wheel about the z axis, turned by `roll` radians; its face looks towards z."""
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
    """Return a cylinder about the z axis, with sharp edges, between two `ends` in z."""
    cosine, sine = circle(segments)
    sections = np.empty((4, segments, 3))
    sections[..., 0], sections[..., 1] = radius * sine, radius * cosine
    # Each end twice: the edge between the round and the flat side is sharp where normals are averaged.
    sections[:2, :, 2], sections[2:, :, 2] = ends
    return loft(name, finish, sections)


Vector = Float64[np.ndarray, "3"]
Grid = Float64[np.ndarray, "..."]

# Metres. The origin is on the ground between the axles; `half` is half of the width, `base` of the wheelbase,
# `front` and `rear` are the overhangs. Heights: nose, hood (at its end), deck (at the foot of the rear window),
# tail, roof. The cabin from the front: where its windscreen begins (`cowl`), how far that reaches (`rake`), the
# roof, the rear window (`fast`). `inset` is the roof's width in those of the body.
_COLUMNS = (
    "half", "base", "front", "rear", "wheel", "tyre", "clear", "round", "bow",
    "nose", "hood", "deck", "tail", "roof", "cowl", "rake", "long", "fast", "inset", "pane", "bed", "lamp", "grille",
)  # fmt: skip
_KINDS = {
    "saloon": (0.89, 1.36, 0.88, 1.00, 0.325, 0.105, 0.17, 0.20, 0.20, 0.70, 0.93, 1.02, 0.97, 1.44, 0.88, 0.72, 1.10, 0.66, 0.72, 1.0, 0.0, 0.13, 0.36),
    "hatchback": (0.88, 1.28, 0.82, 0.70, 0.315, 0.100, 0.17, 0.20, 0.22, 0.74, 0.98, 1.04, 1.00, 1.50, 0.86, 0.66, 1.52, 0.42, 0.76, 1.0, 0.0, 0.15, 0.30),
    "city car": (0.81, 1.15, 0.66, 0.58, 0.285, 0.085, 0.16, 0.20, 0.24, 0.76, 0.98, 1.02, 0.98, 1.50, 0.92, 0.56, 1.42, 0.42, 0.76, 1.0, 0.0, 0.17, 0.22),
    "van": (0.98, 1.60, 0.90, 0.95, 0.345, 0.105, 0.20, 0.14, 0.16, 0.90, 1.18, 1.22, 1.16, 2.10, 1.75, 0.85, 3.22, 0.12, 0.88, 0.0, 0.0, 0.20, 0.40),
    "pickup": (0.94, 1.62, 0.88, 1.15, 0.390, 0.125, 0.28, 0.13, 0.10, 0.94, 1.14, 1.22, 1.19, 1.80, 0.95, 0.58, 1.30, 0.16, 0.78, 1.0, 0.42, 0.18, 0.50),
    "sports": (0.93, 1.24, 0.94, 0.86, 0.335, 0.130, 0.12, 0.26, 0.28, 0.58, 0.83, 0.92, 0.88, 1.22, 0.60, 0.76, 0.52, 0.95, 0.66, 1.0, 0.0, 0.12, 0.26),
    "off-road": (0.95, 1.38, 0.84, 0.88, 0.385, 0.120, 0.25, 0.15, 0.14, 0.92, 1.10, 1.16, 1.12, 1.78, 0.98, 0.52, 2.22, 0.26, 0.80, 1.0, 0.0, 0.17, 0.46),
    "estate": (0.90, 1.38, 0.88, 1.02, 0.325, 0.105, 0.16, 0.19, 0.20, 0.71, 0.94, 1.03, 0.98, 1.47, 0.90, 0.72, 1.98, 0.48, 0.74, 1.0, 0.0, 0.13, 0.36),
}  # fmt: skip

_POSES = {"steer": (-24.0, 0.0, 24.0), "roll": (-36.0, 0.0, 36.0)}

_SIDES = ("left", "right")
_MIRROR = np.array((1.0, 1.0, -1.0))
_GAP = 0.06
"""Between a wheel and its arch."""
_FACE = np.radians((90.0, 87.0, 80.0, 68.0, 52.0, 33.0, 14.0))
"""Angles on the rounded rectangle that is the face of a car, from its middle line to where hood or deck begin."""
_ARCH = np.linspace(np.pi, 0, 11)
_RINGS = 2 * len(_FACE) + 2 * (len(_ARCH) + 2) + 3 * 5
_SQUASH, _NUMBERS = np.cos(_FACE) ** 0.4, np.arange(float(len(_FACE)))
_SQUASHED = np.concatenate((_SQUASH, np.ones(_RINGS - 2 * len(_FACE)), _SQUASH[::-1]))
"""How high a section is: less on both faces."""
_WIDE = np.array((0.0, 0.30, 0.62, 0.80, 0.88, 0.95, 0.985, 1.0, 1.0, 0.985, 0.965, 0.93, 0.62, 0.0))
"""Where they are, in halves of its width."""
_ROWS = np.array((0.0, 0.0, 0.12, 0.34, 0.56, 0.78, 0.93, 1.0, 1.0, 1.0, 1.0))
"""Heights of the cabin's sections, from hood to roof; the first is sunk below."""
_SHRINK = np.array((*(1.0,) * 8, 0.965, 0.80, 0.40))
"""What lies beyond the edge of the roof is drawn in towards its middle."""
_LIFT = np.array((-0.16, *(0.0,) * 7, 0.028, 0.052, 0.068))
_ROUND = np.array(
    (
        (1.0, 0.0), (1.0, 0.25), (1.0, 0.5), (1.0, 0.72), (0.998, 0.88), (0.985, 0.965), (0.95, 1.0), (0.86, 1.0), (0.72, 1.0), (0.58, 1.0),
        (0.51, 1.0), (0.44, 1.0), (0.30, 1.0), (0.16, 1.0), (0.05, 1.0), (0.015, 0.965), (0.002, 0.88), (0.0, 0.50), (0.0, 0.0),
    )
)  # fmt: skip
"""Half of a section of the cabin: from front to rear (1 to 0), and outwards."""


def _build(shape: Numbers, pose: Numbers) -> list[Solid]:
    s = _fitting(shape)
    x, body = _body(s)
    cabin = _cabin(s)
    parts = [body, cabin, *_faces(s, body), *_panes(cabin)]
    for part in (*_side(s, x, body, cabin), *_lamps(s, body)):
        parts += [mirrored(part, part.name.replace("right", "left")), part]
    return [*parts, *_wheels(s, pose)]


def _fitting(shape: Numbers) -> Numbers:
    """Keep the wheels inside, the cabin on the body and a bed only where it is deep."""
    s = dict(shape)
    arch = s["wheel"] + _GAP
    s["front"], s["rear"] = (max(s[end], arch + s["round"] + 0.03) for end in ("front", "rear"))
    s["nose"] = max(s["nose"], s["clear"] + 0.34)
    s["hood"] = max(s["hood"], s["nose"] + 0.06)
    # Below the bed there is room for the wheels.
    s["bed"] = min(s["bed"], s["deck"] - s["wheel"] - arch - 0.07) if s["bed"] > 0.2 else 0.0
    s["end"] = -s["base"] - s["rear"]
    room = s["cowl"] - (s["end"] + 0.06)
    s["long"] = min(s["long"], room - s["rake"] - s["fast"])
    return s


def _stations(s: Numbers) -> tuple[Grid, Grid, Grid]:
    """Return x, the height of an arch (0 where there is none) and the squash of each section, from the rear."""
    reach = s["wheel"] + _GAP
    bowed = np.concatenate(((-reach,), reach * np.cos(_ARCH), (reach,)))
    arch = np.concatenate(((0.0,), s["wheel"] + reach * np.sin(_ARCH), (0.0,)))
    face = s["round"] * (1 - np.sin(_FACE) ** 0.4)
    end, nose, flat = s["end"], s["base"] + s["front"], np.zeros(5)
    x = np.concatenate(
        (
            end + face,
            np.linspace(end + s["round"], -s["base"] - reach - 0.01, 5),
            -s["base"] + bowed,
            np.linspace(-s["base"] + reach + 0.06, s["base"] - reach - 0.06, 5),
            s["base"] + bowed,
            np.linspace(s["base"] + reach + 0.01, nose - s["round"], 5),
            nose - face[::-1],
        )
    )
    none = np.zeros(len(_FACE))
    high = np.concatenate((none, flat, arch, flat, arch, flat, none))
    return x, high, _SQUASHED


def _top(s: Numbers, x: Grid) -> Grid:
    """Return the height of hood, belt line and deck."""
    foot = s["cowl"] - s["rake"] - s["long"] - s["fast"]
    knots = (s["end"], min(foot, s["end"] + 0.9), s["cowl"], s["base"] + s["front"])
    top = np.interp(x, knots, (s["tail"], s["deck"], s["hood"], s["nose"]))
    hood = clipped((x - s["cowl"]) / (s["base"] + s["front"] - s["cowl"]), 0, 1)
    return top + 0.16 * (s["hood"] - s["nose"]) * np.sin(np.pi * hood)


def _body(s: Numbers) -> tuple[Grid, Solid]:
    """Return the places of its sections and the body below the windows."""
    x, arch, squash = _stations(s)
    half, top = s["half"], _top(s, x)
    floor = s["clear"] + 0.05 * clipped((np.abs(x) - s["base"] - 0.4) / 0.4, 0, 1)
    low = np.maximum(arch, floor)
    fender = np.maximum(top, low + 0.08)
    foot = s["cowl"] - s["rake"] - s["long"] - s["fast"]
    bed = s["bed"] * ((x < foot - 0.1) & (squash == 1))
    # A bed has upright walls.
    wide = np.repeat(_WIDE[None], _RINGS, axis=0)
    wide[bed > 0, 1:4] = 0.50, 0.845, 0.85
    fraction = np.array((0.36, 0.58, 0.82))
    high = np.empty_like(wide)
    high[:, 0], high[:, 1] = top + 0.025 - bed, top + 0.020 - bed
    high[:, 2], high[:, 3] = fender + 0.006 - bed, fender
    high[:, 4], high[:, 5], high[:, 6] = fender - 0.012, fender - 0.05, fender - 0.12 * (fender - low) - 0.03
    high[:, 7:10] = fender[:, None] + fraction * (low - fender)[:, None]
    high[:, 10], high[:, 11], high[:, 12], high[:, 13] = low + 0.02, low, low, floor
    middle = (s["clear"] + 0.42 * (s["nose"] - s["clear"]), s["clear"] + 0.42 * (s["tail"] - s["clear"]))
    line = np.where(x > 0, *middle)[:, None]
    high = line + squash[:, None] * (high - line)
    taper = 1 - 0.07 * clipped((np.abs(x) - s["base"]) / 0.9, 0, 1) ** 2 - 0.05 * (1 - squash)
    wide *= half * taper[:, None]
    # Both faces are bowed.
    beyond = clipped((np.abs(x) - s["base"] - s["wheel"] - _GAP) / 0.4, 0, 1)
    along = x[:, None] - np.sign(x)[:, None] * s["bow"] * beyond[:, None] * (wide / half) ** 2.6
    return x, loft("body", "paint", _closed(along, high, wide))


def _closed(x: Grid, y: Grid, z: Grid) -> Float64[np.ndarray, "R S 3"]:
    """Return whole sections from their right halves, which begin and end on the middle line."""
    right = np.stack((x, y, z), axis=-1)
    return np.concatenate((right, right[:, -2:0:-1] * np.array((1.0, 1.0, -1.0))), axis=1)


def _cabin(s: Numbers) -> Solid:
    """From the hood to the roof: horizontal sections."""
    rear = s["cowl"] - s["rake"] - s["long"]
    front_low, rear_low = s["cowl"], rear - s["fast"]
    fraction, out = _ROUND.T
    rows, shrink, lift = _ROWS[:, None], _SHRINK[:, None], _LIFT[:, None]
    first = front_low - s["rake"] * rows**1.12
    last = rear_low + s["fast"] * rows**0.9
    belt = s["deck"] + fraction * (s["hood"] - s["deck"]) - 0.012
    y = belt + rows * (s["roof"] - 0.068 - belt) + lift
    width = s["half"] * (0.915 + (s["inset"] - 0.915) * rows**1.25) * shrink
    z = width * out * (1 - 0.05 * (fraction - 0.35) ** 2 * 4)
    middle = (first + last) / 2
    x = middle + (fraction - 0.5) * (first - last) * (1 - 0.75 * (1 - shrink))
    x += np.where(fraction > 0.5, 1, -1) * 0.07 * (1 - out**2) * (np.abs(fraction - 0.5) > 0.4) * shrink
    return loft("cabin", "paint", _closed(x, y, z))


def _pane(
    name: str,
    finish: str,
    part: Solid,
    rows: tuple[float, float],
    columns: tuple[float, float],
    *,
    points: tuple[int, int] = (6, 6),
    proud: float = 0.006,
) -> Solid:
    """Cover a rectangle of a part's surface, counted in its rings and in its segments."""
    row, column = lattice(*points)
    along = (rows[0] + (rows[1] - rows[0]) * row) / (part.rings - 1)
    around = (columns[0] + (columns[1] - columns[0]) * column) / part.segments
    return cover(name, finish, part, along, around, proud=proud, sunk=0.02)


_PANE = (1.6, 6.75)


def _panes(cabin: Solid) -> list[Solid]:
    return [
        _pane("windscreen", "glass", cabin, (1.25, 6.85), (-4.5, 4.5), points=(7, 19)),
        _pane("rear window", "glass", cabin, (1.9, 6.7), (16.0, 20.0), points=(7, 9)),
    ]


def _side(s: Numbers, x: Grid, body: Solid, cabin: Solid) -> list[Solid]:
    """Windows, mirror, handles and the gaps around the doors of the right."""
    shown = 0.006 if s["pane"] > 0.5 else -0.012
    parts = [
        _pane("right front window", "glass", cabin, _PANE, (6.75, 9.8)),
        _pane("right rear window", "glass", cabin, _PANE, (10.2, 13.5), proud=shown),
    ]
    post = cabin.vertices[2 * cabin.segments + 7]
    glass = post + np.array((0.06, 0.03, 0.085))
    parts.append(ball("right mirror", "paint", glass, (0.05, 0.065, 0.105), rings=7, segments=14))
    reach = s["wheel"] + _GAP
    pillar, ends = (
        cabin.vertices[cabin.segments + 10, 0],
        (s["base"] - reach - 0.07, -s["base"] + reach + 0.02),
    )
    pillar = float(np.clip(pillar, ends[1] + 0.25, ends[0] - 0.5))
    for name, place in (("front", ends[0]), ("middle", pillar), ("rear", ends[1])):
        ring_ = np.interp((place - 0.007, place + 0.007), x, np.arange(len(x)))
        first, last = float(ring_[0]), float(ring_[1])
        parts.append(
            _pane(f"right {name} gap", "dark", body, (first, last), (4.5, 10.5), points=(2, 13), proud=0.003)
        )
    for name, place in (("front", pillar + 0.13), ("rear", ends[1] + 0.10)):
        line = body.vertices[6 : -2 : body.segments]
        middle = np.array((place, *(float(np.interp(place, x, line[:, c])) for c in (1, 2))))
        size = np.array((0.085, 0.022, 0.016))
        parts.append(box(f"right {name} handle", "metal", middle - size, middle + size))
    return parts


def _ring_of(fraction: float, *, front: bool) -> float:
    """Return the section on a face at a fraction of its height, in fractions of a ring."""
    place = float(np.interp(fraction, _SQUASH, _NUMBERS))
    return _RINGS - 1 - place if front else place


def _faces(s: Numbers, body: Solid) -> list[Solid]:
    """Grille, intake, bumpers and number plates."""
    grille = s["grille"]
    return [
        _face("grille", "dark", body, (0.84, 0.84 - 0.9 * grille), (-2.5, 2.5), points=(5, 11)),
        _face("front plate", "horn", body, (0.30, 0.06), (-0.75, 0.75), points=(4, 5), proud=0.016),
        _face(
            "rear plate", "horn", body, (0.52, 0.22), (-0.85, 0.85), points=(4, 5), proud=0.016, front=False
        ),
        _face("front intake", "dark", body, (0.78, 0.34), (11.5, 14.5), points=(4, 7)),
        _face("rear bumper", "dark", body, (0.80, 0.20), (10.5, 15.5), points=(5, 11), front=False),
    ]


def _face(
    name: str,
    finish: str,
    body: Solid,
    fraction: tuple[float, float],
    columns: tuple[float, float],
    *,
    points: tuple[int, int],
    proud: float = 0.007,
    front: bool = True,
) -> Solid:
    rows = (_ring_of(fraction[0], front=front), _ring_of(fraction[1], front=front))
    return _pane(name, finish, body, rows, columns, points=points, proud=proud)


def _lamps(s: Numbers, body: Solid) -> list[Solid]:
    high = s["lamp"] / (s["nose"] - s["clear"]) / 0.58
    return [
        _face("right headlight", "horn", body, (0.93, 0.93 - high), (2.5, 5.0), points=(5, 6), proud=0.014),
        _face(
            "right tail light",
            "accent",
            body,
            (0.94, 0.94 - 1.1 * high),
            (3.0, 5.5),
            points=(5, 6),
            proud=0.014,
            front=False,
        ),
    ]


def _wheels(s: Numbers, p: Numbers) -> list[Solid]:
    """All four wheels, and the dark behind them in their arches."""
    reach, inside = s["wheel"] + _GAP - 0.006, s["half"] - 2 * s["tyre"] - 0.045
    wheel = disc_wheel(s["wheel"], s["tyre"], np.radians(p["roll"]))
    rolled, parts = joined(wheel), list[Solid]()
    for which, place, steer in (("front", s["base"], p["steer"]), ("rear", -s["base"], 0.0)):
        centre = np.array((place, s["wheel"], s["half"] - s["tyre"] - 0.015))
        arch = drum(f"right {which} arch", "dark", (inside - 0.04, inside), reach, segments=24)
        # What would hang below the body is drawn up to the axle.
        upper = arch.vertices * np.where(arch.vertices[:, 1:2] < 0, np.array((1.0, 0.2, 1.0)), 1.0)
        for side, way in (("left", 1), ("right", -1)):
            turn = np.radians(way * steer)
            turned = np.array(
                ((np.cos(turn), 0.0, -np.sin(turn)), (0.0, 1.0, 0.0), (np.sin(turn), 0.0, np.cos(turn)))
            )
            placed = rolled @ turned + centre
            parts += moved(wheel, placed if side == "right" else placed * _MIRROR, f"{side} {which} ")
            walls = arch.replaced(upper + np.array((place, s["wheel"], 0.0)))
            parts.append(walls if side == "right" else mirrored(walls, f"left {which} arch"))
    return parts


def _corner(columns: int, row: int, column: int) -> int:
    """Return a vertex on the front of a sheet."""
    return row * 2 * columns + column


CATEGORY = Category(
    name="car",
    kinds={name: dict(zip(_COLUMNS, map(float, values), strict=True)) for name, values in _KINDS.items()},
    poses=_POSES,
    build=_build,
    anchors={
        "front plate": Anchor(part="front plate", corner=_corner(5, 2, 2)),
        "rear plate": Anchor(part="rear plate", corner=_corner(5, 2, 2)),
        "grille": Anchor(part="grille", corner=_corner(11, 1, 5)),
        "roof": Anchor(part="cabin", along=1.0),
        **{
            f"{side} {place} of {pane}": Anchor(part=pane, corner=_corner(columns, row, column))
            # Columns go from the left to the right of whoever looks at them: from the front, then from the rear.
            for pane, columns, left, right in (("windscreen", 19, 1, 17), ("rear window", 9, 7, 1))
            for side, column in (("left", left), ("right", right))
            for place, row in (("bottom", 1), ("top", 6))
        },
        **{
            f"{side} {name}": Anchor(part=f"{side} {part}", along=along, around=around, corner=corner)
            for side in _SIDES
            for name, part, along, around, corner in (
                ("front wheel", "front hub", 1.0, 0.0, None),
                ("rear wheel", "rear hub", 1.0, 0.0, None),
                ("headlight", "headlight", 0.0, 0.0, _corner(6, 2, 3)),
                ("tail light", "tail light", 0.0, 0.0, _corner(6, 2, 3)),
                ("mirror", "mirror", 0.5, 0.25, None),
                ("front handle", "front handle", 0.0, 0.0, 20),
                ("middle pillar", "front window", 0.0, 0.0, _corner(6, 3, 5)),
            )
        },
    },
    spread=0.05,
    elevations=(-3.0, 40.0),
    turns=6.0,
)
