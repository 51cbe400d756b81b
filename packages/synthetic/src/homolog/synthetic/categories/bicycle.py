"""Bicycles, from racing bike to child's: two wheels, a frame of tubes, handlebar, saddle and pedals."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float64

from homolog.synthetic.category import Anchor, Category, Numbers
from homolog.synthetic.compiled import Real, compiled
from homolog.synthetic.modelling.panels import joined, loft, moved
from homolog.synthetic.modelling.solids import Number, Solid, Vector, beam, box, ring, slab, tube


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
    """Sweep a circle along a smooth path through K points with the least twist; its ends are flat.

    `start` is where the first vertex of the first circle lies, as a direction across the path.
    """
    points = np.array(path, np.float64)
    # Straight on beyond its ends.
    knots = np.concatenate((2 * points[:1] - points[1:2], points, 2 * points[-1:] - points[-2:-1]))
    centres, ahead = np.empty((rings, 3)), np.empty((rings, 3))
    _follow(knots, centres, ahead)
    out = np.empty_like(ahead)
    _transport(ahead, np.array(start, np.float64), out)
    sections = np.empty((rings, segments, 3))
    _surround(centres, ahead, out, radius, sections)
    return loft(name, finish, sections)


@compiled
def _follow(knots: np.ndarray, places: np.ndarray, tangents: np.ndarray) -> None:
    """Find places along a Catmull-Rom spline and its unit tangents there."""
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


Point = Float64[np.ndarray, "3"]

# Metres. Angles lean back from upright, so that a factor on them stays small.
_COLUMNS = (
    "wheel", "tyre", "guard", "chainstay", "front", "bracket", "head_lean", "rake", "travel", "blade", "head",
    "seat_lean", "seat_tube", "saddle", "step", "tube", "spacer", "stem", "long", "wide", "crank", "ring",
)  # fmt: skip
_KINDS = {
    "road": (0.340, 0.014, 0.0, 0.41, 0.59, 0.270, 17, 0.045, 0.02, 0.013, 0.14, 17, 0.52, 0.70, 1.00, 0.017, 0.03, 0.10, 0.28, 0.070, 0.172, 0.100),
    "mountain": (0.355, 0.030, 0.0, 0.44, 0.70, 0.320, 23, 0.045, 0.10, 0.021, 0.11, 17, 0.42, 0.64, 0.97, 0.022, 0.03, 0.06, 0.28, 0.075, 0.172, 0.080),
    "city": (0.350, 0.020, 1.0, 0.46, 0.63, 0.285, 21, 0.055, 0.03, 0.014, 0.20, 20, 0.50, 0.64, 0.42, 0.018, 0.10, 0.06, 0.26, 0.105, 0.170, 0.090),
    "chopper": (0.265, 0.026, 1.0, 0.46, 0.80, 0.270, 33, 0.050, 0.08, 0.015, 0.16, 26, 0.34, 0.42, 0.90, 0.018, 0.05, 0.04, 0.34, 0.085, 0.160, 0.080),
    "child": (0.215, 0.024, 1.0, 0.30, 0.42, 0.205, 20, 0.040, 0.03, 0.013, 0.13, 20, 0.26, 0.36, 0.55, 0.018, 0.07, 0.04, 0.22, 0.080, 0.105, 0.060),
    "bmx": (0.255, 0.027, 0.0, 0.37, 0.57, 0.285, 16, 0.035, 0.02, 0.017, 0.11, 19, 0.24, 0.33, 0.95, 0.020, 0.03, 0.05, 0.24, 0.065, 0.172, 0.065),
    "folding": (0.220, 0.018, 0.0, 0.40, 0.58, 0.285, 18, 0.025, 0.02, 0.014, 0.12, 18, 0.26, 0.66, 0.50, 0.023, 0.36, 0.04, 0.26, 0.080, 0.165, 0.085),
    "cruiser": (0.345, 0.034, 1.0, 0.50, 0.75, 0.290, 26, 0.060, 0.03, 0.016, 0.13, 26, 0.36, 0.45, 0.92, 0.020, 0.05, 0.05, 0.27, 0.130, 0.170, 0.085),
}  # fmt: skip

# The right half of the handlebar: four points from the stem outwards, each forward, up and to the right.
_BARS = {
    "road": ((0.000, 0.000, 0.170), (0.075, -0.005, 0.205), (0.085, -0.085, 0.210), (-0.015, -0.130, 0.215)),
    "mountain": ((0.005, 0.010, 0.120), (-0.005, 0.025, 0.220), (-0.015, 0.027, 0.290), (-0.035, 0.028, 0.370)),
    "city": ((0.050, 0.030, 0.110), (0.045, 0.060, 0.210), (-0.040, 0.065, 0.270), (-0.170, 0.050, 0.290)),
    "chopper": ((-0.010, 0.150, 0.090), (-0.070, 0.300, 0.190), (-0.140, 0.320, 0.250), (-0.270, 0.290, 0.310)),
    "child": ((0.010, 0.060, 0.080), (0.005, 0.120, 0.160), (-0.020, 0.125, 0.205), (-0.060, 0.122, 0.250)),
    "bmx": ((0.010, 0.110, 0.090), (0.000, 0.200, 0.180), (-0.015, 0.205, 0.260), (-0.040, 0.207, 0.350)),
    "folding": ((0.000, 0.008, 0.100), (-0.004, 0.014, 0.170), (-0.010, 0.016, 0.220), (-0.025, 0.017, 0.280)),
    "cruiser": ((0.040, 0.080, 0.120), (0.020, 0.140, 0.230), (-0.090, 0.140, 0.320), (-0.260, 0.100, 0.350)),
}  # fmt: skip
_BAR = tuple(f"bar_{point}{axis}" for point in range(1, 5) for axis in "xyz")

_POSES = {"steer": (-38.0, 0.0, 38.0), "crank": (-180.0, 0.0, 180.0)}

_SIDES = ((-1, "left"), (1, "right"))
_SPOKES = 10
"""At each side of a wheel."""
_SPOKE = 0.0022
"""Half of a spoke's thickness."""
_TURNS = 2 * np.pi * (np.arange(_SPOKES) + 0.5) / _SPOKES
_WAYS = np.stack((np.sin(_TURNS), np.cos(_TURNS), np.zeros(_SPOKES)), axis=1)
_BESIDE = np.stack((_WAYS[:, 1], -_WAYS[:, 0], np.zeros(_SPOKES)), axis=1)
"""Which way they go from the hub, and what lies beside them."""
_PEDAL = np.array((0.045, 0.012, 0.042))
"""Half of its size."""
_CHAIN = 0.054
"""How far to the right the chain runs."""


def _build(shape: Numbers, pose: Numbers) -> list[Solid]:
    s = _fitting(shape)
    joints = _joints(s)
    return [
        *_wheel("rear", s, joints["rear hub"]),
        *_frame(s, joints),
        *_saddle(s, joints),
        *_drive(s, joints, np.radians(pose["crank"])),
        *_turned(_steered(s, joints), joints["crown"], joints["axis"], np.radians(pose["steer"])),
    ]


def _fitting(shape: Numbers) -> Numbers:
    """Keep the wheels clear of the frame, and the saddle above it."""
    s = dict(shape)
    s["chainstay"] = max(s["chainstay"], s["wheel"] + 0.045)
    s["front"] = max(s["front"], s["wheel"] + 0.20)
    s["saddle"] = max(s["saddle"], s["seat_tube"] + 0.07)
    s["bracket"] = max(s["bracket"], s["crank"] + 0.07)
    return s


def _joints(s: Numbers) -> dict[str, Point]:
    """Return where the tubes meet; the bottom bracket is above the origin, the ground at 0."""
    lean, back = np.radians(s["head_lean"]), np.radians(s["seat_lean"])
    axis, ahead = _plane(-np.sin(lean), np.cos(lean)), _plane(np.cos(lean), np.sin(lean))
    seat = _plane(-np.sin(back), np.cos(back))
    bracket, front = _plane(0, s["bracket"]), _plane(s["front"], s["wheel"])
    crown = front + (s["wheel"] + s["travel"] + 0.015) * axis - s["rake"] * ahead
    rise = s["wheel"] - s["bracket"]
    return {
        "axis": axis,
        "ahead": ahead,
        "seat way": seat,
        "bracket": bracket,
        "front hub": front,
        "rear hub": _plane(-np.sqrt(s["chainstay"] ** 2 - min(rise, 0.2) ** 2), s["wheel"]),
        "crown": crown,
        "head top": crown + s["head"] * axis,
        "seat top": bracket + s["seat_tube"] * seat,
        "saddle": bracket + s["saddle"] * seat,
    }


def _wheel(name: str, s: Numbers, hub: Point) -> list[Solid]:
    across, tyre = np.array((0, 0, 1.0)), s["tyre"]
    middle = s["wheel"] - tyre
    inner = middle - tyre - 0.006
    parts = [
        ring(f"{name} tyre", "dark", hub, across, middle, (tyre, tyre), rings=40, segments=8),
        ring(f"{name} rim", "metal", hub, across, inner, (0.012, 0.011), rings=40, segments=6),
        tube(f"{name} hub", "metal", [hub - 0.062 * across, hub, hub + 0.062 * across], [0.012, 0.024, 0.012],
             rings=6, segments=10, bulge=(0.5, 0.5)),
    ]  # fmt: skip
    return [*parts, *_spokes(name, hub, inner), _guard(name, s, hub)]


def _spokes(name: str, hub: Point, reach: float) -> list[Solid]:
    """From both flanges of the hub to the rim, in pairs that mirror each other."""
    parts: list[Solid] = []
    for side, which in _SIDES:
        corners = np.empty((_SPOKES, 2, 2, 2, 3))
        for end, (out, aside) in enumerate(((0.014, 0.034), (reach, 0.004))):
            for one in (0, 1):
                for two in (0, 1):
                    corners[:, end, one, two] = hub + out * _WAYS + (2 * one - 1) * _SPOKE * _BESIDE
                    corners[:, end, one, two, 2] += side * aside + (2 * two - 1) * _SPOKE
        parts += [
            slab(f"{which} {name} spoke {number + 1}", "metal", one) for number, one in enumerate(corners)
        ]
    return parts


def _guard(name: str, s: Numbers, hub: Point) -> Solid:
    """A mudguard; that of a bicycle without any lies within the tyre."""
    bare = s["guard"] < 0.5
    radius = s["wheel"] - s["tyre"] if bare else s["wheel"] + 0.016
    half, thin = (0.3 * s["tyre"], 0.2 * s["tyre"]) if bare else (s["tyre"] + 0.012, 0.005)
    first, last = (20, -95) if name == "front" else (58, -112)
    turns = np.radians(np.linspace(first, last, 9))
    path = [hub + radius * _plane(np.sin(turn), np.cos(turn)) for turn in turns]
    return tube(
        f"{name} mudguard", "paint", path, [(thin, half)] * len(path),
        up=(0.0, 0.0, 1.0), rings=20, segments=8, bulge=(0.2, 0.2),
    )  # fmt: skip


def _frame(s: Numbers, j: dict[str, Point]) -> list[Solid]:
    axis, thick = j["axis"], s["tube"]
    cluster = j["bracket"] + 0.95 * s["seat_tube"] * j["seat way"]
    upper = j["head top"] - min(0.035, 0.3 * s["head"]) * axis
    lower = j["crown"] + min(0.035, 0.3 * s["head"]) * axis
    across = np.array((0, 0, 0.040))
    parts = [
        _pipe("head tube", "paint", j["crown"] + 0.004 * axis, j["head top"], 1.25 * thick, bulge=0.1),
        _pipe("top tube", "paint", upper, j["bracket"] + s["step"] * 0.97 * s["seat_tube"] * j["seat way"], 0.88 * thick),
        _pipe("down tube", "paint", lower, j["bracket"], 1.12 * thick),
        _pipe("seat tube", "paint", j["bracket"], j["seat top"], thick, bulge=0.1),
        tube("bottom bracket", "paint", [j["bracket"] - across, j["bracket"] + across], [0.024, 0.024],
             rings=4, segments=12, bulge=(0.1, 0.1)),
    ]  # fmt: skip
    for side, name in _SIDES:
        out = np.array((0, 0, float(side)))
        hub = j["rear hub"] + 0.056 * out
        clear = (s["tyre"] + 0.014) * out
        low = j["bracket"] + 0.55 * (j["rear hub"] - j["bracket"]) + (clear + 0.056 * out) / 2
        high = cluster + 0.5 * (j["rear hub"] - cluster) + (clear + 0.056 * out) / 2
        parts += [
            _bent(f"{name} chain stay", "paint", [j["bracket"] + 0.024 * out, low, hub], 0.55 * thick),
            _bent(f"{name} seat stay", "paint", [cluster + 0.6 * thick * out, high, hub], 0.45 * thick),
        ]
    return parts


def _saddle(s: Numbers, j: dict[str, Point]) -> list[Solid]:
    top, long, wide = j["saddle"], s["long"], s["wide"]
    path = [
        top + _plane(x * long, y) for x, y in ((-0.50, 0.012), (-0.26, 0.008), (0.10, -0.002), (0.48, 0.0))
    ]
    radii = [(0.90 * wide, 0.012, 0.022), (wide, 0.020, 0.034), (0.36 * wide, 0.016, 0.026), (0.20 * wide, 0.012, 0.018)]  # fmt: skip
    below = top - 0.012 * j["seat way"]
    return [
        _pipe("seat post", "metal", j["seat top"] - 0.03 * j["seat way"], below, 0.82 * s["tube"]),
        tube("saddle", "seat", path, radii, rings=14, segments=16, bulge=(0.8, 1.0)),
    ]


def _drive(s: Numbers, j: dict[str, Point], turn: float) -> list[Solid]:
    """Cranks, pedals that stay level, and the chain on the right."""
    axle, rear, across = j["bracket"], j["rear hub"], np.array((0, 0, 1.0))
    parts: list[Solid] = []
    for side, name in _SIDES:
        way = side * _plane(np.cos(turn), -np.sin(turn))
        root, end = axle + side * 0.074 * across, axle + s["crank"] * way + side * 0.080 * across
        middle = end + side * 0.062 * across
        parts += [
            _pipe(f"{name} crank", "metal", root, end, 0.012),
            tube(f"{name} pedal axle", "metal", [end, middle], [0.006, 0.006], rings=2, segments=6),
            box(f"{name} pedal", "dark", middle - _PEDAL, middle + _PEDAL),
        ]
    shift, wide = _CHAIN * across, s["ring"]
    parts.append(
        tube("crank axle", "metal", [axle - 0.082 * across, axle + 0.082 * across], [0.013, 0.013], rings=2, segments=10,
             bulge=(0.1, 0.1))
    )  # fmt: skip
    parts.append(
        ring("chainring", "metal", axle + shift, across, wide - 0.013, (0.013, 0.0025), rings=28, segments=6)
    )
    for arm in range(5):
        angle = turn + 2 * np.pi * arm / 5
        tip = axle + shift + (wide - 0.012) * _plane(np.cos(angle), -np.sin(angle))
        parts.append(beam(f"chainring arm {arm + 1}", "metal", axle + shift, tip, (0.0015, 0.008)))
    parts.append(
        tube("sprocket", "metal", [rear + 0.049 * across, rear + 0.057 * across], [0.036, 0.030], rings=2, segments=18,
             bulge=(0.02, 0.02))
    )  # fmt: skip
    for rise, name in ((1, "upper"), (-1, "lower")):
        start, end = rear + shift + _plane(0, rise * 0.034), axle + shift + _plane(0, rise * wide)
        parts.append(beam(f"{name} chain", "dark", start, end, (0.0035, 0.0055)))
    return parts


def _steered(s: Numbers, j: dict[str, Point]) -> list[Solid]:
    """Whatever turns with the handlebar."""
    axis, ahead, crown = j["axis"], j["ahead"], j["crown"]
    root = j["head top"] + s["spacer"] * axis
    clamp = root + s["stem"] * (0.97 * ahead + 0.25 * axis)
    half = np.array((0, 0, s["tyre"] + 0.016))
    parts = [
        *_wheel("front", s, j["front hub"]),
        _pipe("steerer", "metal", crown, root, 0.85 * s["tube"]),
        _pipe("stem", "metal", root - 0.01 * ahead, clamp, 0.018),
        tube("fork crown", "paint", [crown - half, crown + half], [1.3 * s["blade"]] * 2, rings=4, segments=12,
             bulge=(0.3, 0.3)),
    ]  # fmt: skip
    for side, name in _SIDES:
        out = np.array((0, 0, float(side)))
        high, low = crown + side * half, j["front hub"] + 0.052 * out
        # The blades follow the steering axis and bend forwards above the hub.
        knee = crown + 0.62 * (crown - j["front hub"]) @ axis * -axis + side * half * 1.1
        parts.append(_bent(f"{name} fork blade", "paint", [high, knee, low], s["blade"], 0.75 * s["blade"]))
        points = [np.array((s[f"bar_{k}x"], s[f"bar_{k}y"], side * s[f"bar_{k}z"])) for k in range(1, 5)]
        path = [clamp, *(clamp + point for point in points)]
        parts.append(
            wire(f"{name} handlebar", "metal", path, 0.0125, start=(1.0, 0.0, 0.0), rings=26, segments=8)
        )
        last = points[3] - points[2]
        grip = [
            points[3] - 0.105 * last / np.linalg.norm(last),
            points[3] + 0.006 * last / np.linalg.norm(last),
        ]
        parts.append(
            tube(f"{name} grip", "accent", [clamp + point for point in grip], [0.0175, 0.0185], rings=6, segments=10,
                 bulge=(0.2, 0.5))
        )  # fmt: skip
    return parts


def _pipe(name: str, finish: str, start: Point, end: Point, radius: float, *, bulge: float = 0.4) -> Solid:
    # None of these goes across the bicycle.
    return tube(
        name,
        finish,
        [start, end],
        [radius, radius],
        up=(0.0, 0.0, 1.0),
        rings=4,
        segments=12,
        bulge=(bulge, bulge),
    )


def _bent(name: str, finish: str, path: list[Point], radius: float, end: float | None = None) -> Solid:
    last = 0.85 * radius if end is None else end
    return tube(
        name,
        finish,
        path,
        [radius, radius, last],
        up=(0.0, 0.0, 1.0),
        rings=10,
        segments=10,
        bulge=(0.4, 0.4),
    )


def _turned(parts: list[Solid], pivot: Point, axis: Point, angle: float) -> list[Solid]:
    """Turn parts about an axis through a point; to the left for a positive angle about an axis upwards."""
    x, y, z = axis
    skew = np.array(((0, -z, y), (z, 0, -x), (-y, x, 0)))
    turn = np.eye(3) + np.sin(angle) * skew + (1 - np.cos(angle)) * skew @ skew
    return moved(parts, (joined(parts) - pivot) @ turn.T + pivot)


def _plane(x: float | int, y: float | int) -> Point:
    return np.array((x, y, 0.0))


def _kind(name: str) -> Numbers:
    bar = [float(value) for point in _BARS[name] for value in point]
    return dict(zip((*_COLUMNS, *_BAR), (*map(float, _KINDS[name]), *bar), strict=True))


CATEGORY = Category(
    name="bicycle",
    kinds={name: _kind(name) for name in _KINDS},
    poses=_POSES,
    build=_build,
    anchors={
        "saddle nose": Anchor(part="saddle", along=0.9, around=0.0),
        "saddle back": Anchor(part="saddle", along=0.1, around=0.0),
        "seat tube top": Anchor(part="seat tube", along=0.66, around=0.75),
        "stem": Anchor(part="stem", along=0.66, around=0.25),
        "head tube": Anchor(part="head tube", along=0.5, around=0.25),
        "fork crown": Anchor(part="fork crown", along=0.5, around=0.75),
        "front wheel top": Anchor(part="front tyre", along=0.0),
        "front wheel front": Anchor(part="front tyre", along=10 / 39),
        "rear wheel top": Anchor(part="rear tyre", along=0.0),
        "rear wheel back": Anchor(part="rear tyre", along=30 / 39),
        **{
            f"{side} {name}": Anchor(part=part.format(side), along=along, around=around, corner=corner)
            for side, right in (("left", 0), ("right", 1))
            for name, part, along, around, corner in (
                ("handlebar end", "{} grip", 0.82, 0.0, None),
                ("handlebar bend", "{} handlebar", 0.52, 0.0, None),
                ("front hub", "front hub", float(right), 0.0, None),
                ("rear hub", "rear hub", float(right), 0.0, None),
                ("front wheel bottom", "front tyre", 20 / 39, 0.25 + 0.5 * (1 - right), None),
                ("rear wheel bottom", "rear tyre", 20 / 39, 0.25 + 0.5 * (1 - right), None),
                ("crank axle", "crank axle", float(right), 0.0, None),
                ("pedal", "{} pedal", 0.5, 0.0, 6 + right),
            )
        },
    },
    spread=0.06,
    azimuths=(35.0, 145.0),
    elevations=(-5.0, 35.0),
    turns=6.0,
)
