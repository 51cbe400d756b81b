"""Fish, from eel to angelfish: modelled straight, then bent as one piece."""

import numpy as np
from jaxtyping import Float64

from homolog.synthetic.category import Anchor, Category, Numbers
from homolog.synthetic.compiled import compiled
from homolog.synthetic.modelling.panels import cover, joined, lattice, mirrored, moved, sheet
from homolog.synthetic.modelling.solids import CAP, Solid, ball, tube

Vector = Float64[np.ndarray, "3"]
Grid = Float64[np.ndarray, "..."]

# From the root of the tail to the snout a fish is 1 long; depth and width are halves of its extent there.
# Dorsal and anal fin: where they begin behind and end in front (from the snout), how high they are behind
# and in front, and how far they are swept back.
_COLUMNS = (
    "depth", "width", "peduncle", "back", "head", "snout", "jaw", "eye", "gill", "supple",
    "dorsal_rear", "dorsal_front", "dorsal_low", "dorsal_high", "dorsal_sweep", "second", "second_at",
    "anal_rear", "anal_front", "anal_low", "anal_high", "anal_sweep",
    "tail", "tail_spread", "tail_upper", "fork", "pectoral", "pectoral_width", "pelvic", "pelvic_width", "pelvic_at",
)  # fmt: skip
_KINDS = {
    "salmon": (0.130, 0.075, 0.042, 0.95, 0.74, 0.30, 0.17, 0.021, 0.21, 1.0, 0.58, 0.42, 0.06, 0.105, 0.06, 0.040, 0.80, 0.86, 0.72, 0.035, 0.085, 0.05, 0.17, 0.17, 1.00, 0.30, 0.13, 0.050, 0.10, 0.045, 0.58),
    "tuna": (0.165, 0.115, 0.022, 1.00, 0.80, 0.26, 0.15, 0.024, 0.25, 0.6, 0.54, 0.32, 0.015, 0.11, 0.05, 0.105, 0.62, 0.72, 0.62, 0.010, 0.12, 0.12, 0.13, 0.23, 1.00, 0.85, 0.24, 0.040, 0.09, 0.035, 0.36),
    "angelfish": (0.340, 0.070, 0.075, 1.00, 0.62, 0.15, 0.10, 0.042, 0.24, 0.8, 0.93, 0.42, 0.34, 0.12, 0.32, 0.006, 0.88, 0.93, 0.50, 0.36, 0.10, 0.34, 0.28, 0.17, 1.00, 0.10, 0.17, 0.055, 0.36, 0.016, 0.40),
    "eel": (0.046, 0.040, 0.017, 1.05, 0.84, 0.42, 0.09, 0.012, 0.13, 2.6, 0.97, 0.32, 0.032, 0.030, 0.01, 0.004, 0.90, 0.97, 0.48, 0.028, 0.024, 0.01, 0.08, 0.03, 1.00, 0.05, 0.055, 0.028, 0.012, 0.008, 0.40),
    "pike": (0.088, 0.062, 0.034, 0.85, 0.80, 0.40, 0.24, 0.017, 0.28, 1.2, 0.89, 0.76, 0.06, 0.105, 0.05, 0.004, 0.85, 0.89, 0.78, 0.05, 0.085, 0.05, 0.15, 0.13, 1.00, 0.45, 0.09, 0.045, 0.09, 0.045, 0.58),
    "goldfish": (0.215, 0.135, 0.060, 1.10, 0.72, 0.28, 0.09, 0.034, 0.27, 1.1, 0.82, 0.40, 0.08, 0.19, 0.10, 0.006, 0.88, 0.88, 0.76, 0.05, 0.15, 0.12, 0.42, 0.30, 1.00, 0.55, 0.19, 0.075, 0.17, 0.070, 0.50),
    "perch": (0.170, 0.080, 0.045, 1.15, 0.68, 0.24, 0.13, 0.028, 0.25, 0.9, 0.62, 0.32, 0.035, 0.135, 0.03, 0.095, 0.73, 0.84, 0.70, 0.04, 0.10, 0.04, 0.17, 0.15, 1.00, 0.28, 0.15, 0.060, 0.13, 0.055, 0.38),
    "shark": (0.115, 0.095, 0.026, 1.00, 0.70, 0.30, 0.10, 0.013, 0.24, 0.9, 0.52, 0.36, 0.010, 0.155, 0.12, 0.042, 0.80, 0.84, 0.77, 0.010, 0.045, 0.05, 0.22, 0.13, 2.00, 0.55, 0.25, 0.075, 0.09, 0.050, 0.66),
    "discus": (0.400, 0.075, 0.070, 1.00, 0.66, 0.14, 0.08, 0.036, 0.25, 0.7, 0.95, 0.36, 0.13, 0.04, 0.10, 0.005, 0.90, 0.95, 0.46, 0.13, 0.03, 0.10, 0.16, 0.15, 1.00, 0.06, 0.16, 0.060, 0.14, 0.025, 0.38),
}  # fmt: skip

_POSES = {
    "bend": (-1.0, 0.0, 1.0),
    "wave": (-1.0, 0.0, 1.0),
    "gape": (0.0, 4.0, 26.0),
    "dorsal_fold": (0.0, 0.1, 0.7),
    "pectoral_left": (8.0, 35.0, 75.0),
    "pectoral_right": (8.0, 35.0, 75.0),
    "pelvic": (10.0, 25.0, 50.0),
    "tail_fold": (0.75, 1.0, 1.12),
}

_ROWS, _COLS = 13, 6
"""Points of a fin along its base and from there to its edge."""
_SHARE, _OUT = np.linspace(0, 1, _ROWS), np.linspace(0, 1, _COLS)
_SWEPT, _SPREAD, _MIRROR = _OUT**1.2, np.linspace(-1, 1, 2 * _ROWS - 1), np.array((1.0, 1.0, -1.0))
_CORNERS = (
    1 - 0.22 * np.clip((_SHARE - 0.85) / 0.15, 0, 1) ** 2 - 0.4 * np.clip((0.12 - _SHARE) / 0.12, 0, 1) ** 2
)
"""Both corners of the edge of a fin on the middle line are a little round."""
_BLADE = (0.34 + 0.66 * np.sin(0.5 * np.pi * np.clip(_SHARE / 0.7, 0, 1))) * np.sqrt(
    np.clip(1 - _SHARE**4, 0.02, 1)
)
"""Half of the width of a fin at the side, along it."""
_LENS = 0.0045 * (1 - 0.8 * _SHARE[:, None]) * np.sqrt(1 - 0.9 * (2 * _OUT - 1) ** 2)
"""Half of its thickness."""
_GILL_ROW, _GILL_COLUMN = lattice(9, 13)
_GILL_BOW, _GILL_RISE = (
    (1 - _GILL_ROW) * 0.44 * (1 - np.abs(2 * _GILL_COLUMN - 1) ** 2.4),
    np.clip((1 - _GILL_ROW) / 0.8, 0, 1) * (1 - np.abs(2 * _GILL_COLUMN - 1) ** 4),
)
"""How far the gill cover reaches back, and how it rises towards its rear edge; in front it is flush with the cheek."""
_BEHIND = np.linspace(0, 1.6, 161)
_FREE = np.clip(_BEHIND - 0.2, 0, None)
"""Places of the spine behind the snout, and how far they are behind what cannot bend."""


def _build(shape: Numbers, pose: Numbers) -> list[Solid]:
    body = _body(shape)
    parts = [
        body,
        *_mouth(shape, pose),
        *_dorsals(shape, pose, body),
        _anal(shape, body),
        _tail(shape, pose),
    ]
    for part in (*_face(shape, body), _pelvic(shape, pose, body)):
        parts += [mirrored(part, part.name.replace("right", "left")), part]
    parts.append(
        mirrored(_pectoral("left pectoral fin", shape, pose["pectoral_left"], body), "left pectoral fin")
    )
    parts.append(_pectoral("right pectoral fin", shape, pose["pectoral_right"], body))
    return _bent(parts, shape, pose)


_STATIONS = np.array((-0.50, -0.40, -0.24, -0.06, 0.10, 0.24, 0.35, 0.43, 0.482))
_SHARES = np.linspace(0, 1, len(_STATIONS))
_RINGS, _SEGMENTS = 40, 28


def _body(s: Numbers) -> Solid:
    deep, thin = s["depth"], s["peduncle"]
    heights = [thin, thin + 0.10 * (deep - thin), 0.52 * deep + 0.3 * thin, 0.91 * deep, deep, 0.92 * deep]
    # From the nape to the snout: a straight line for a high head, a curve for a low one.
    heights += [s["head"] * deep, (0.55 * s["head"] + 0.42 * s["snout"]) * deep, s["snout"] * deep]
    fractions = (0.20, 0.32, 0.66, 0.94, 1.0, 0.98, 0.84, 0.65, 0.44)
    radii = [
        (min(w * s["width"], 1.3 * h), h * s["back"], h * (2 - s["back"]), 2.1)
        for h, w in zip(heights, fractions, strict=True)
    ]
    path = [(x, 0.0, 0.0) for x in _STATIONS.tolist()]
    return tube("body", "coat", path, radii, rings=_RINGS, segments=_SEGMENTS, bulge=(0.3, 0.5))


def _along(x: Grid) -> Grid:
    """Return the place along the body of the station at x."""
    return (CAP + np.interp(x, _STATIONS, _SHARES) * (_RINGS - 1)) / (_RINGS + 2 * CAP - 1)


def _skin(body: Solid, x: Grid, segment: int) -> Grid:
    """Return points of the body's surface: at x, on one of its lines from tail to snout."""
    points = np.empty((len(x), 3))
    _read_line(body.vertices[segment : -2 : body.segments], _along(x) * (body.rings - 1), points)
    return points


def _mouth(s: Numbers, p: Numbers) -> list[Solid]:
    """The lower jaw, hinged behind, and the dark between it and the head."""
    long, high = s["jaw"], s["snout"] * s["depth"]
    wide = min(0.40 * s["width"], 1.1 * high)
    hinge = np.array((0.488 - long, -0.60 * high, 0.0))
    drop = np.radians(-p["gape"])
    ahead, rise = np.array((np.cos(drop), np.sin(drop), 0.0)), np.array((-np.sin(drop), np.cos(drop), 0.0))
    path = [
        hinge - 0.2 * high * rise,
        hinge + 0.55 * long * ahead - 0.20 * high * rise,
        hinge + 0.97 * long * ahead,
    ]
    radii = [
        (1.25 * wide, 0.5 * high, 0.9 * high),
        (wide, 0.42 * high, 0.60 * high),
        (0.66 * wide, 0.22 * high, 0.30 * high),
    ]
    jaw = tube("lower jaw", "coat", path, radii, rings=10, segments=16, bulge=(0.3, 0.9))
    inside = [
        hinge + 0.1 * ahead * long,
        hinge + 0.97 * long * np.array((np.cos(0.4 * drop), np.sin(0.4 * drop), 0.0)),
    ]
    gape = np.tan(np.radians(0.42 * p["gape"])) * long
    radii = [(0.9 * wide, 0.5 * high), (0.55 * wide, 0.12 * high + 0.9 * gape)]
    return [jaw, tube("mouth", "dark", inside, radii, rings=6, segments=12, bulge=(0.3, 0.1))]


def _dorsals(s: Numbers, p: Numbers, body: Solid) -> list[Solid]:
    up = 1 - 0.75 * p["dorsal_fold"]
    first = _ridge_fin(
        "dorsal fin",
        body,
        (s["dorsal_rear"], s["dorsal_front"]),
        (up * s["dorsal_low"], up * s["dorsal_high"]),
        s["dorsal_sweep"] + 0.5 * (1 - up) * s["dorsal_high"],
    )
    high, front = s["second"], max(s["second_at"], s["dorsal_rear"] + 0.02)
    rear = front + 0.05 + 0.6 * high
    second = _ridge_fin("second dorsal fin", body, (rear, front), (0.3 * high, high), 0.05 + 0.5 * high)
    return [first, second]


def _anal(s: Numbers, body: Solid) -> Solid:
    base, height = (s["anal_rear"], s["anal_front"]), (s["anal_low"], s["anal_high"])
    return _ridge_fin("anal fin", body, base, height, s["anal_sweep"], below=True)


def _ridge_fin(
    name: str,
    body: Solid,
    base: tuple[float, float],
    height: tuple[float, float],
    sweep: float,
    *,
    below: bool = False,
) -> Solid:
    """Return a fin on the middle line of the back or the belly.

    `base` is its end and its beginning, measured from the snout, `height` that at both; `sweep` is how far
    its edge lies behind its base.
    """
    rear = min(base[0], 0.97)
    x = 0.5 - (rear + _SHARE * (min(base[1], rear - 0.04) - rear))
    skin = _skin(body, x, _SEGMENTS // 2 if below else 0)
    high = (height[0] + _SHARE * (height[1] - height[0])) * _CORNERS + 0.004
    inner = np.minimum(0.02, 0.5 * np.abs(skin[:, 1]))[:, None]
    grid = np.empty((_ROWS, _COLS, 3))
    grid[..., 0] = x[:, None] - sweep * _SWEPT
    grid[..., 1] = skin[:, 1:2] + (-1 if below else 1) * (high[:, None] * _OUT - inner * (1 - _OUT))
    return _flat(name, grid, 0.0065)


def _flat(name: str, grid: Grid, thick: float) -> Solid:
    """Give an upright fin its thickness: less towards its edge."""
    grid[..., 2] = thick * (1 - 0.85 * _OUT)
    return sheet(name, "plumage", grid, grid * _MIRROR)


def _tail(s: Numbers, p: Numbers) -> Solid:
    place = _SPREAD
    reach = np.where(place > 0, s["tail_upper"], 1.0) * np.abs(place)
    long = s["tail"] * ((1 - s["fork"]) + s["fork"] * reach**1.4) * np.sqrt(1.06 - (0.5 * place) ** 2)
    high = np.sign(place) * s["tail_spread"] * p["tail_fold"] * reach ** (1 - 0.35 * (1 - s["fork"]))
    edge = np.stack((-0.5 - long, high), axis=1)[:, None]
    root = np.stack((-0.47 - 0.02 * np.abs(place), 0.9 * s["peduncle"] * place), axis=1)[:, None]
    grid = np.zeros((len(place), _COLS, 3))
    grid[..., :2] = root + _OUT[:, None] * (edge - root)
    # Lobes leave the body straight backwards, then part.
    grid[..., 1] -= 0.30 * s["fork"] * np.sin(np.pi * _OUT) * (edge - root)[..., 1]
    return _flat("tail fin", grid, 0.13 * s["width"])


def _face(s: Numbers, body: Solid) -> list[Solid]:
    """Eye and gill cover of the right."""
    where = _skin(body, np.array((0.458 - 0.55 * s["jaw"],)), 4)[0]
    size, flat = s["eye"], np.array((1.0, 1.0, 0.62))
    outward = np.array((0.0, 0.35, 1.0))
    white = ball("right eye ring", "metal", where - 0.22 * size * outward, size * flat, rings=7, segments=14)
    pupil = ball("right eye", "eye", where + 0.12 * size * outward, 0.66 * size * flat, rings=7, segments=14)
    # Its rear edge is a bow from the cheek to the throat, so high as it is long, if the head is.
    high = float(_skin(body, np.array((0.5 - 0.85 * s["gill"],)), 0)[0, 1])
    top, bottom = min(0.62 * high, 0.50 * s["gill"]), -min(0.85 * high, 0.62 * s["gill"])
    start, end = (np.arccos(y / high) / (2 * np.pi) for y in (top, bottom))
    along = _along(0.5 - 0.58 * s["gill"] - s["gill"] * _GILL_BOW)
    proud = (0.004 + 0.06 * s["width"]) * _GILL_RISE - 0.004 * (1 - _GILL_RISE)
    around = start + (end - start) * _GILL_COLUMN
    return [
        white,
        pupil,
        cover("right gill cover", "coat", body, along, around, proud=proud, sunk=0.3 * s["width"]),
    ]


def _pectoral(name: str, s: Numbers, out: float, body: Solid) -> Solid:
    root = _skin(body, np.array((0.455 - s["gill"],)), 9)[0]
    return _side_fin(name, root, s["pectoral"], s["pectoral_width"], out, 28.0)


def _pelvic(s: Numbers, p: Numbers, body: Solid) -> Solid:
    root = _skin(body, np.array((0.5 - s["pelvic_at"],)), 13)[0] * np.array((1, 0.97, 0.9))
    return _side_fin("right pelvic fin", root, s["pelvic"], s["pelvic_width"], p["pelvic"], 52.0)


def _side_fin(name: str, root: Vector, long: float, wide: float, out: float, down: float) -> Solid:
    """Return a fin of the right that points backwards, `out` degrees away from the body and `down` degrees down."""
    yaw, pitch = np.radians(out), np.radians(down)
    way = np.array((-np.cos(yaw) * np.cos(pitch), -np.sin(pitch), np.sin(yaw) * np.cos(pitch)))
    # Its chord is as upright as its way allows, and its face looks aside.
    chord = np.array((0.35, 1.0, 0.0)) - (0.35 * way[0] + way[1]) * way
    chord /= np.linalg.norm(chord)
    face = np.array(
        (
            way[1] * chord[2] - way[2] * chord[1],
            way[2] * chord[0] - way[0] * chord[2],
            way[0] * chord[1] - way[1] * chord[0],
        )
    )
    reach = long * _SHARE - 0.012 * (1 - _SHARE)
    across = (wide * _BLADE)[:, None] * (2 * _OUT - 1) - 0.25 * long * _SHARE[:, None] ** 2
    grid = root + reach[:, None, None] * way + across[..., None] * chord
    thick = _LENS[..., None] * face
    return sheet(name, "plumage", grid + thick, grid - thick)


def _bent(parts: list[Solid], s: Numbers, p: Numbers) -> list[Solid]:
    """Bend what lies behind the head about upright axes; lengths along the spine stay."""
    turn = s["supple"] ** 0.5 * 0.62 * p["bend"] * _FREE
    turn += (
        s["supple"] * 0.55 * p["wave"] * np.minimum(_FREE, 0.35) * np.sin(2 * np.pi * (_FREE / 0.85 + 0.08))
    )
    vertices = joined(parts)
    _bend(turn, _BEHIND[1], vertices)
    return moved(parts, vertices)


@compiled
def _read_line(line: np.ndarray, places: np.ndarray, points: np.ndarray) -> None:
    """Interpolate points of a line, which are 1 apart."""
    for n in range(len(places)):
        k = min(max(int(places[n]), 0), len(line) - 2)
        fraction = min(max(places[n] - k, 0.0), 1.0)
        for c in range(3):
            points[n, c] = line[k, c] + fraction * (line[k + 1, c] - line[k, c])


@compiled
def _bend(turn: np.ndarray, step: float, vertices: np.ndarray) -> None:
    """Move points with a spine that turns by `turn` at places `step` apart, from the snout at x = 0.5 backwards."""
    along, aside = np.zeros(len(turn)), np.zeros(len(turn))
    for k in range(1, len(turn)):
        middle = (turn[k - 1] + turn[k]) / 2
        along[k], aside[k] = along[k - 1] + step * np.cos(middle), aside[k - 1] + step * np.sin(middle)
    for n in range(len(vertices)):
        x, z = vertices[n, 0], vertices[n, 2]
        place = max(0.5 - x, 0.0) / step
        k = min(int(place), len(turn) - 2)
        fraction = min(place - k, 1.0)
        angle = turn[k] + fraction * (turn[k + 1] - turn[k])
        spine = x if x > 0.5 else 0.5 - (along[k] + fraction * (along[k + 1] - along[k]))
        vertices[n, 0] = spine + z * np.sin(angle)
        vertices[n, 2] = aside[k] + fraction * (aside[k + 1] - aside[k]) + z * np.cos(angle)


def _edge(row: int) -> int:
    """Return the vertex of a fin on its outer edge, whose triangle looks outwards: neither side hides it."""
    return row * 2 * _COLS + _COLS


CATEGORY = Category(
    name="fish",
    kinds={name: dict(zip(_COLUMNS, map(float, values), strict=True)) for name, values in _KINDS.items()},
    poses=_POSES,
    build=_build,
    anchors={
        "snout": Anchor(part="body", along=1.0),
        "lower jaw": Anchor(part="lower jaw", along=1.0),
        "nape": Anchor(part="body", along=0.64, around=0.0),
        "throat": Anchor(part="body", along=0.66, around=0.5),
        "belly": Anchor(part="body", along=0.48, around=0.5),
        "dorsal fin tip": Anchor(part="dorsal fin", corner=_edge(_ROWS - 2)),
        "dorsal fin rear tip": Anchor(part="dorsal fin", corner=_edge(1)),
        "second dorsal fin tip": Anchor(part="second dorsal fin", corner=_edge(_ROWS - 2)),
        "anal fin tip": Anchor(part="anal fin", corner=_edge(_ROWS - 2)),
        "anal fin rear tip": Anchor(part="anal fin", corner=_edge(1)),
        "tail root": Anchor(part="body", along=0.12, around=0.0),
        "upper tail tip": Anchor(part="tail fin", corner=_edge(2 * _ROWS - 2)),
        "tail middle": Anchor(part="tail fin", corner=_edge(_ROWS - 1)),
        "lower tail tip": Anchor(part="tail fin", corner=_edge(1)),
        **{
            f"{side} {name}": Anchor(part=f"{side} {part}", along=along, around=around)
            for side in ("left", "right")
            for name, part, along, around in (
                ("eye", "eye", 0.5, 0.25),
                ("gill", "gill cover", 1 / 8, 6 / 26),
                ("pectoral fin root", "pectoral fin", 2 / 12, 0.25),
                ("pectoral fin tip", "pectoral fin", 1.0, 0.25),
                ("pelvic fin tip", "pelvic fin", 1.0, 0.25),
            )
        },
    },
    azimuths=(40.0, 140.0),
    elevations=(-30.0, 40.0),
    turns=12.0,
)
