"""Aeroplanes, from glider to airliner: a fuselage, wings and fins with flaps, engines and landing gear."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from homolog.synthetic.category import Anchor, Category, Numbers
from homolog.synthetic.compiled import Real, clipped, compiled
from homolog.synthetic.modelling.panels import cover, lattice, loft, mirrored, sheet
from homolog.synthetic.modelling.solids import Solid, circle, tube

Grid = Float64[np.ndarray, "..."]
Vector = Float64[np.ndarray, "3"]

SPAN = np.concatenate((np.linspace(0, 0.9, 6), (0.93, 0.9301, 0.975, 1.0)))
"""Places between root and tip where a foil has vertices."""
ROW = 18
"""Vertices at each of them: half on the side of its normal, from the leading edge, then those of the other side."""
FLAP_ROW, FLAP_PLACES = 10, 4
"""The same of a flap."""

_HINGE = 0.78
"""Where on its chord a foil ends and its flap begins."""
_CHORD = 1 - np.cos(np.linspace(0, 0.5 * np.pi, ROW // 2))
_FLAP_CHORD = np.array((_HINGE - 0.04, _HINGE, 0.84, 0.92, 1.0))
_THIN = np.array((0.75, 0.9, 0.95, 1.0, 1.0))
"""How thick a flap is, in what its foil would be there."""
_FIXED = (np.repeat(SPAN[:, None], ROW // 2, axis=1), np.where(SPAN > 0.93, 1.0, _HINGE)[:, None] * _CHORD)
_FLAP = np.meshgrid(np.linspace(0, 1, FLAP_PLACES), _FLAP_CHORD, indexing="ij")
"""Places on the span and on the chord of the fixed part, and of a flap (on its own span)."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Foil:
    """A tapered, swept foil, symmetric about its middle plane.

    Attributes:
        root: [3] where its leading edge begins.
        out: [3] unit vector towards its tip; across x, which is forward.
        normal: [3] unit vector across it.
        long: from root to tip.
        chord: at the root and at the tip.
        sweep: of the leading edge, degrees.
        thick: relative to the chord.
    """

    root: Vector
    out: Vector
    normal: Vector
    long: float
    chord: tuple[float, float]
    sweep: float
    thick: float

    def at(self, span: Grid, fraction: Grid) -> tuple[Grid, Grid]:
        """Return points of the middle plane, and half of the thickness there.

        `span` is 0 at the root and 1 at the tip, `fraction` that of the chord, 0 at the leading edge.
        """
        place, half = np.empty((*span.shape, 3)), np.empty(span.shape)
        slope = np.tan(np.radians(self.sweep))
        _lay_out(span, fraction, self.root, self.out, self.long, self.chord, slope, self.thick, place, half)
        return place, half

    def point(self, span: float, fraction: float) -> Vector:
        """Return one point of the middle plane."""
        return self.at(np.array(((span,),)), np.array(((fraction,),)))[0][0, 0]

    def fixed(self, name: str, finish: str) -> Solid:
        """Return the fixed part: up to the hinge, near the tip up to the trailing edge."""
        place, half = self.at(*_FIXED)
        aside = half[..., None] * self.normal
        return sheet(name, finish, place + aside, place - aside)

    def flap(self, name: str, finish: str, span: tuple[float, float], angle: float) -> Solid:
        """Return the part that turns about the hinge; its front is hidden in the foil.

        `span` is where it begins and ends, 0.93 at most, `angle` is against the normal, degrees.
        """
        place, half = self.at(span[0] + (span[1] - span[0]) * _FLAP[0], _FLAP[1])
        front, back = np.empty_like(place), np.empty_like(place)
        _turn(place, half, _THIN, _FLAP_CHORD > _HINGE, self.normal, np.radians(angle), front, back)
        return sheet(name, finish, front, back)


@compiled
def _lay_out(
    span: np.ndarray,
    fraction: np.ndarray,
    root: np.ndarray,
    out: np.ndarray,
    long: Real,
    chord: tuple[Real, Real],
    slope: Real,
    thick: Real,
    place: np.ndarray,
    half: np.ndarray,
) -> None:
    for r in range(span.shape[0]):
        for c in range(span.shape[1]):
            along, part = span[r, c], fraction[r, c]
            wide = chord[0] + along * (chord[1] - chord[0])
            # The leading edge is round at the tip.
            lead = 0.3 * wide * min(max((along - 0.94) / 0.06, 0.0), 1.0) ** 2
            for k in range(3):
                place[r, c, k] = root[k] + long * along * out[k]
            place[r, c, 0] -= slope * long * along + lead + part * (wide - lead)
            # The thickness of the NACA four-digit series, closed at its trailing edge.
            half[r, c] = 0.2969 * np.sqrt(part) - part * (
                0.126 + part * (0.3516 - part * (0.2843 - 0.1036 * part))
            )
            fade = np.sqrt(min(max(1.02 - min(max((along - 0.9) / 0.1, 0.0), 1.0) ** 2, 0.0), 1.0))
            half[r, c] = 5 * thick * half[r, c] * wide * fade + 0.001 * chord[0]


@compiled
def _turn(
    place: np.ndarray,
    half: np.ndarray,
    thin: np.ndarray,
    loose: np.ndarray,
    normal: np.ndarray,
    angle: Real,
    front: np.ndarray,
    back: np.ndarray,
) -> None:
    """Turn the loose part about the hinge, the second column, and compute both sides."""
    cosine, sine = np.cos(angle), np.sin(angle)
    for r in range(place.shape[0]):
        for c in range(place.shape[1]):
            behind = place[r, 1, 0] - place[r, c, 0]
            for k in range(3):
                ahead = 1.0 if k == 0 else 0.0
                middle, aside = place[r, c, k], normal[k]
                if loose[c]:
                    middle += behind * ((1 - cosine) * ahead - sine * normal[k])
                    aside = cosine * normal[k] - sine * ahead
                aside *= half[r, c] * thin[c]
                front[r, c, k], back[r, c, k] = middle + aside, middle - aside


# The fuselage is 1 long, from x = -0.5 to 0.5. Places along it are fractions from the nose. `front` and `boom`
# are its radii at both ends in those of its middle, `blunt` the shape of the nose (0.5 is an ellipse).
_COLUMNS = (
    "radius", "wide", "nose", "front", "blunt", "tail", "boom", "upsweep", "cone",
    "canopy", "canopy_long", "canopy_high", "canopy_wide", "window", "windows", "windows_long",
    "span", "root", "tip", "sweep", "dihedral", "thick", "wing", "wing_high", "winglet",
    "fin", "fin_root", "fin_sweep", "stab", "stab_root", "stab_sweep", "stab_high",
    "engine", "engine_long", "engine_span", "engine_at", "engine_low", "engine_body", "propeller",
    "leg", "wheel", "wheel_at", "wheel_wide", "fixed", "strut",
)  # fmt: skip
_KINDS = {
    "airliner": (0.056, 1.00, 0.12, 0.16, 0.50, 0.36, 0.20, 0.70, 0.010, 0.045, 0.035, 0.001, 0.17, 0.0060, 0.14, 0.58, 0.47, 0.190, 0.045, 30, 6, 0.13, 0.36, -0.60, 0.040, 0.170, 0.165, 40, 0.175, 0.120, 32, 0.05, 0.034, 0.095, 0.34, 0.00, 0.045, 0.0, 0.004, 0.060, 0.017, 0.53, 0.085, 0.0, 0.0),
    "regional jet": (0.050, 1.00, 0.13, 0.14, 0.52, 0.30, 0.22, 0.60, 0.010, 0.050, 0.040, 0.001, 0.18, 0.0065, 0.16, 0.46, 0.40, 0.165, 0.045, 26, 4, 0.12, 0.44, -0.65, 0.045, 0.150, 0.160, 42, 0.150, 0.090, 30, 1.00, 0.029, 0.130, 0.30, 0.72, 0.000, 1.0, 0.004, 0.050, 0.014, 0.58, 0.065, 0.0, 0.0),
    "fighter": (0.050, 1.15, 0.38, 0.10, 0.80, 0.20, 0.75, 0.05, 0.045, 0.200, 0.190, 0.032, 0.15, 0.0001, 0.30, 0.10, 0.32, 0.360, 0.070, 46, -1, 0.06, 0.42, 0.10, 0.010, 0.150, 0.190, 48, 0.190, 0.150, 44, -0.05, 0.046, 0.560, 0.17, 0.40, -0.010, 1.0, 0.004, 0.070, 0.022, 0.60, 0.090, 0.0, 0.0),
    "high wing": (0.078, 0.82, 0.20, 0.62, 0.55, 0.58, 0.22, 0.45, 0.030, 0.180, 0.180, 0.026, 0.19, 0.0200, 0.25, 0.20, 0.68, 0.200, 0.140, 2, 2, 0.14, 0.28, 0.98, 0.010, 0.150, 0.150, 38, 0.215, 0.130, 8, 0.15, 0.000, 0.080, 0.20, 0.10, 0.020, 0.0, 0.130, 0.070, 0.030, 0.40, 0.130, 1.0, 1.0),
    "warbird": (0.070, 0.85, 0.24, 0.60, 0.52, 0.52, 0.24, 0.10, 0.055, 0.390, 0.150, 0.038, 0.12, 0.0001, 0.40, 0.06, 0.58, 0.260, 0.110, 6, 6, 0.13, 0.27, -0.55, 0.010, 0.150, 0.160, 22, 0.190, 0.130, 10, 0.10, 0.000, 0.080, 0.20, 0.20, 0.010, 0.0, 0.170, 0.090, 0.034, 0.32, 0.170, 0.0, 0.0),
    "glider": (0.044, 0.85, 0.26, 0.10, 0.60, 0.62, 0.22, 0.30, 0.006, 0.090, 0.200, 0.020, 0.18, 0.0001, 0.35, 0.04, 1.05, 0.125, 0.050, 2, 4, 0.13, 0.34, 0.70, 0.045, 0.150, 0.120, 16, 0.170, 0.070, 8, 1.00, 0.000, 0.060, 0.20, 0.40, 0.000, 0.0, 0.004, 0.018, 0.022, 0.40, 0.020, 0.0, 0.0),
    "business jet": (0.058, 0.98, 0.18, 0.10, 0.62, 0.36, 0.20, 0.65, 0.010, 0.110, 0.065, 0.004, 0.18, 0.0120, 0.25, 0.24, 0.46, 0.190, 0.060, 24, 4, 0.12, 0.42, -0.75, 0.060, 0.160, 0.170, 46, 0.180, 0.100, 28, 1.00, 0.036, 0.150, 0.26, 0.64, -0.015, 1.0, 0.004, 0.060, 0.018, 0.54, 0.090, 0.0, 0.0),
    "four seater": (0.074, 0.88, 0.22, 0.58, 0.55, 0.54, 0.20, 0.35, 0.032, 0.240, 0.210, 0.030, 0.17, 0.0160, 0.30, 0.17, 0.62, 0.185, 0.150, 3, 6, 0.15, 0.30, -0.72, 0.010, 0.140, 0.140, 32, 0.200, 0.115, 4, 0.12, 0.000, 0.080, 0.20, 0.15, 0.010, 0.0, 0.125, 0.055, 0.030, 0.42, 0.170, 1.0, 0.0),
}  # fmt: skip

_POSES = {
    "gear": (-0.5, 1.2, 1.9),
    "flaps": (-10.0, 0.0, 38.0),
    "ailerons": (-18.0, 0.0, 18.0),
    "elevators": (-22.0, 0.0, 18.0),
    "rudder": (-24.0, 0.0, 24.0),
    "propeller": (-90.0, 0.0, 90.0),
}

_PLACES = 0.5 + 0.5 * np.cos(np.linspace(0, np.pi, 32))
"""Of the fuselage's sections, from the tail to the nose."""
_SHARES = np.linspace(0, 1, len(_PLACES))
_SEGMENTS, _WINDOWS = 24, 8
_AHEAD = (1.0, 0.0, 0.0)
"""For parts that hang or stand: the direction called up is forward."""


def _build(shape: Numbers, pose: Numbers) -> list[Solid]:
    fuselage = _fuselage(shape)
    parts = [
        fuselage,
        _canopy(shape, fuselage),
        *_propeller(shape, pose),
        *_fin(shape, pose),
        *_gear(shape, pose, "nose "),
    ]
    for part in (
        *_windows(shape, fuselage),
        *_wing(shape, pose),
        *_stabiliser(shape, pose),
        *_engine(shape),
        *_gear(shape, pose, "right "),
    ):
        parts += [mirrored(part, part.name.replace("right", "left")), part]
    left, right = (
        _lift(shape).flap("right aileron", "paint", (0.57, 0.925), side * pose["ailerons"])
        for side in (-1, 1)
    )
    return [*parts, mirrored(left, "left aileron"), right]


def _outline(s: Numbers, place: Grid) -> tuple[Grid, Grid]:
    """Return the fuselage's radius (up and down) and the height of its middle."""
    tip = s["front"] + (1 - s["front"]) * (1 - (1 - clipped(place / s["nose"], 0, 1)) ** 2) ** s["blunt"]
    tail = s["boom"] + (1 - s["boom"]) * np.sin(0.5 * np.pi * clipped((1 - place) / s["tail"], 0, 1)) ** 1.15
    end = 0.45 + 0.55 * np.sqrt(clipped((1 - place) / 0.012, 0, 1))
    return s["radius"] * tip * tail * end, s["radius"] * (s["upsweep"] * (1 - tail) - 0.16 * (1 - tip))


def _fuselage(s: Numbers) -> Solid:
    radius, middle = _outline(s, _PLACES)
    cosine, sine = circle(_SEGMENTS)
    sections = np.empty((len(_PLACES), _SEGMENTS, 3))
    sections[..., 0] = 0.5 - _PLACES[:, None]
    sections[..., 1] = middle[:, None] + radius[:, None] * cosine
    sections[..., 2] = s["wide"] * radius[:, None] * sine
    return loft("fuselage", "paint", sections)


def _along(place: Grid) -> Grid:
    return np.interp(-place, -_PLACES, _SHARES)


def _canopy(s: Numbers, fuselage: Solid) -> Solid:
    """The cockpit's glass: flush on an airliner, a bubble on a fighter."""
    row, column = lattice(11, 13)[0], 2 * lattice(11, 13)[1] - 1
    along = _along(s["canopy"] + (1 - row) * s["canopy_long"])
    bump = np.sin(np.pi * row**0.85) ** 0.85 * (1 - column**2) ** 0.75
    proud = 0.0015 + s["canopy_high"] * bump
    return cover("canopy", "glass", fuselage, along, s["canopy_wide"] * column, proud=proud)


def _windows(s: Numbers, fuselage: Solid) -> list[Solid]:
    """Windows of the right; those of an aeroplane without any lie below the skin."""
    row, column = (2 * way - 1 for way in lattice(3, 5))
    pitch = s["windows_long"] / _WINDOWS
    bare = s["window"] < 0.003
    size = 0.003 if bare else s["window"]
    around = 0.196 + size / (2 * np.pi * s["radius"]) * column
    half = min(0.8 * size, 0.44 * pitch)
    return [
        cover(
            f"right window {k + 1}",
            "glass",
            fuselage,
            _along(s["windows"] + (k + 0.5) * pitch - half * row),
            around,
            proud=-0.005 if bare else 0.0012,
            sunk=0.008,
        )
        for k in range(_WINDOWS)
    ]


def _propeller(s: Numbers, p: Numbers) -> list[Solid]:
    """The nose cone, and two blades that are hidden in it where there is no propeller."""
    thick = min(0.96 * s["front"] * s["radius"], 0.028)
    tip = 0.5 + s["cone"]
    middle = -0.16 * (1 - s["front"]) * s["radius"]
    path = [(0.49, middle, 0.0), (0.5 + 0.45 * s["cone"], middle, 0.0), (tip, middle, 0.0)]
    cone = tube("nose cone", "accent", path, [thick, 0.86 * thick, 0.3 * thick], rings=10, segments=16)
    bare = s["propeller"] < 0.05
    long, wide = (0.4 * thick, 0.1 * thick) if bare else (s["propeller"], 0.012)
    parts = [cone]
    for name, turn in (("upper", 0.0), ("lower", np.pi)):
        angle = turn + np.radians(p["propeller"])
        way = np.array((0.0, np.cos(angle), np.sin(angle)))
        hub = np.array((0.5 + 0.3 * s["cone"], middle, 0.0))
        radii = [(0.7 * wide, 0.25 * wide), (wide, 0.2 * wide), (0.6 * wide, 0.12 * wide)]
        blade = [hub + 0.1 * long * way, hub + 0.55 * long * way, hub + long * way]
        parts.append(tube(f"{name} blade", "dark", blade, radii, up=_AHEAD, rings=8, segments=10))
    return parts


def _lift(s: Numbers) -> Foil:
    """Return the right wing."""
    rise = np.radians(s["dihedral"])
    return Foil(
        root=np.array((0.5 - s["wing"], s["wing_high"] * s["radius"], 0.0)),
        out=np.array((0.0, np.sin(rise), np.cos(rise))),
        normal=np.array((0.0, np.cos(rise), -np.sin(rise))),
        long=s["span"],
        chord=(s["root"], s["tip"]),
        sweep=s["sweep"],
        thick=s["thick"],
    )


def _wing(s: Numbers, p: Numbers) -> list[Solid]:
    foil = _lift(s)
    inner = min(0.9 * s["radius"] * s["wide"] / s["span"], 0.36)
    flap = foil.flap("right flap", "paint", (inner, 0.56), p["flaps"])
    return [foil.fixed("right wing", "paint"), flap, _winglet(s, foil), _strut(s, foil)]


def _winglet(s: Numbers, foil: Foil) -> Solid:
    bare = s["winglet"] < 0.022
    long, wide = (0.004, 0.002) if bare else (s["winglet"], 0.36 * s["tip"])
    foot = foil.point(0.985, 0.30) - np.array((0.7 * wide, 0.0, 0.0))
    way = long * np.array((-0.45, 0.85, 0.25))
    radii = [(0.001 if bare else 0.0035, wide), (0.0028, 0.75 * wide), (0.002, 0.45 * wide)]
    path = [foot, foot + 0.5 * way, foot + way]
    return tube("right winglet", "accent", path, radii, up=_AHEAD, rings=6, segments=12, bulge=(0.2, 0.3))


def _strut(s: Numbers, foil: Foil) -> Solid:
    """From below the cabin to the wing; where there is none it lies within the wing."""
    if s["strut"] < 0.5:
        path, thick = [foil.point(0.12, 0.35), foil.point(0.3, 0.35)], 0.001
    else:
        back = 0.5 - s["wing"] - 0.4 * s["root"]
        foot = np.array((back, -0.7 * s["radius"], 0.55 * s["wide"] * s["radius"]))
        path, thick = [foot, foil.point(0.48, 0.4)], 0.009
    return tube("right strut", "metal", path, [(0.35 * thick, thick)] * 2, up=_AHEAD, rings=4, segments=10)


def _upright(s: Numbers) -> Foil:
    """Return the fin."""
    middle = float(_outline(s, np.array((0.95,)))[1][0])
    return Foil(
        root=np.array((s["fin_root"] - 0.485, middle, 0.0)),
        out=np.array((0.0, 1.0, 0.0)),
        normal=np.array((0.0, 0.0, 1.0)),
        long=s["fin"],
        chord=(s["fin_root"], 0.5 * s["fin_root"]),
        sweep=s["fin_sweep"],
        thick=0.10,
    )


def _fin(s: Numbers, p: Numbers) -> list[Solid]:
    foil = _upright(s)
    return [foil.fixed("fin", "paint"), foil.flap("rudder", "paint", (0.08, 0.925), p["rudder"])]


def _stabiliser(s: Numbers, p: Numbers) -> list[Solid]:
    """A T-tail stands on the fin, any other one beside the fuselage."""
    fin, high = _upright(s), s["stab_high"]
    low = np.array((s["stab_root"] - 0.465, fin.root[1] + high * s["fin"], 0.0))
    rise = np.radians(-2 if high > 0.5 else 4)
    foil = Foil(
        root=fin.point(min(high, 0.96), 0.12) if high > 0.5 else low,
        out=np.array((0.0, np.sin(rise), np.cos(rise))),
        normal=np.array((0.0, np.cos(rise), -np.sin(rise))),
        long=s["stab"],
        chord=(s["stab_root"], 0.5 * s["stab_root"]),
        sweep=s["stab_sweep"],
        thick=0.09,
    )
    elevator = foil.flap("right elevator", "paint", (0.12, 0.925), p["elevators"])
    return [foil.fixed("right stabiliser", "paint"), elevator]


def _engine(s: Numbers) -> list[Solid]:
    """Nacelle, intake, exhaust and pylon of the right; where there is none all of it is in the fuselage."""
    size, long, side = s["engine"], s["engine_long"], s["engine_span"] * s["span"]
    if size < 0.015:
        size, long = 0.1 * s["radius"], 0.05
        front, inner = np.array((0.0, 0.0, 0.2 * s["radius"])), np.array((-0.02, 0.0, 0.05 * s["radius"]))
    elif s["engine_body"] > 0.5:
        front = np.array((0.5 - s["engine_at"], 0.25 * s["radius"] - s["engine_low"], side))
        inner = front * (1, 1, 0) - np.array((0.5 * long, 0.0, 0.0))
    else:
        lead = _lift(s).point(s["engine_span"], 0.0)
        front = lead + np.array((0.75 * long, -s["engine_low"], 0.0))
        inner = lead - np.array((0.03, 0.0, 0.0))
    nacelle = _pipe(
        "right engine",
        "metal",
        front,
        (-long, -0.6 * long, -0.2 * long, 0.0),
        size * np.array((0.62, 0.9, 1, 0.92)),
    )
    intake = _pipe("right intake", "dark", front, (-0.01, 0.12 * size + 0.001), size * np.array((0.78, 0.78)))
    rear = (-1.02 * long - 0.1 * size, 0.02 - long)
    exhaust = _pipe("right exhaust", "dark", front, rear, size * np.array((0.46, 0.52)))
    start = np.array((inner[0], front[1], front[2]))
    blade = [(0.12 * size + 0.001, min(0.03, 0.35 * long))] * 2
    pylon = tube(
        "right pylon", "paint", [start, inner], blade, up=_AHEAD, rings=4, segments=12, bulge=(0.1, 0.1)
    )
    return [nacelle, intake, exhaust, pylon]


def _pipe(name: str, finish: str, front: Vector, places: tuple[float, ...], radii: Grid) -> Solid:
    path = [front + np.array((place, 0.0, 0.0)) for place in places]
    return tube(name, finish, path, radii.tolist(), rings=2 * len(places), segments=16, bulge=(0.1, 0.1))


def _gear(s: Numbers, p: Numbers, side: str) -> list[Solid]:
    """A leg and its wheel; retracted they are inside."""
    down = 1.0 if s["fixed"] > 0.5 else min(max(p["gear"], 0.0), 1.0)
    radius, size = s["radius"], s["wheel"]
    ground = -radius - s["leg"] - size
    if side == "nose ":
        size *= 0.8
        top = np.array((0.5 - max(0.10, 0.6 * s["nose"]), -0.35 * radius, 0.0))
        low, inside = np.array((top[0] + 0.01, ground + size, 0.0)), top * (1, 0, 0)
    else:
        top = _hinge(s)
        low = np.array((top[0], ground + size, max(s["wheel_wide"], top[2])))
        inside = np.array((top[0], -0.1 * radius, 0.2 * radius))
    hub = inside + down * (low - inside)
    thick, half = 0.12 * size + 0.001, np.array((0.0, 0.0, 0.26 * size))
    leg = tube(
        f"{side}leg", "metal", [top, hub], [(thick, 1.5 * thick), thick], up=_AHEAD, rings=4, segments=10
    )
    ends = [hub - half, hub + half]
    tyre = tube(f"{side}wheel", "dark", ends, [size, size], rings=3, segments=16, bulge=(0.15, 0.15))
    ends = [hub - 1.7 * half, hub + 1.7 * half]
    rim = tube(f"{side}hub", "metal", ends, [0.45 * size] * 2, rings=2, segments=10, bulge=(0.1, 0.1))
    return [leg, tyre, rim]


def _hinge(s: Numbers) -> Vector:
    """Return where the right leg begins: in a low wing, else in the fuselage."""
    if s["wing_high"] >= 0:
        return np.array((0.5 - s["wheel_at"], -0.5 * s["radius"], 0.5 * s["radius"] * s["wide"]))
    foil, span = _lift(s), s["wheel_wide"] / s["span"]
    lead, end = float(foil.point(span, 0.0)[0]), float(foil.point(span, 1.0)[0])
    return foil.point(span, float(np.clip((lead - 0.5 + s["wheel_at"]) / (lead - end), 0.15, 0.72)))


_TIP, _FLAP_TIP = (len(SPAN) - 1) * ROW, (FLAP_PLACES - 1) * FLAP_ROW
_ANCHORS = {
    "nose": Anchor(part="nose cone", along=1.0),
    "cockpit": Anchor(part="canopy", along=0.5, around=6 / 26),
    "back": Anchor(part="fuselage", along=0.5, around=0.0),
    "belly": Anchor(part="fuselage", along=0.5, around=0.5),
    "tail": Anchor(part="fuselage", along=0.0),
    # The first on its leading, the second on its trailing edge: neither side of the fin hides them.
    "fin tip": Anchor(part="fin", corner=_TIP),
    "rudder top": Anchor(part="rudder", corner=_FLAP_TIP + FLAP_ROW // 2),
    "nose wheel": Anchor(part="nose wheel", along=0.5, around=0.75),
    **{
        f"{side} {name}": Anchor(part=f"{side} {part}", along=along, corner=corner)
        for side in ("left", "right")
        for name, part, along, corner in (
            ("wing tip", "wing", 0.0, _TIP + 4),
            ("wing leading edge", "wing", 0.0, 3 * ROW + 1),
            ("flap corner", "flap", 0.0, _FLAP_TIP + 4),
            ("engine front", "intake", 1.0, None),
            ("engine rear", "exhaust", 1.0, None),
            ("stabiliser tip", "stabiliser", 0.0, _TIP + 4),
            ("wheel", "hub", 1.0, None),
        )
    },
}

CATEGORY = Category(
    name="aeroplane",
    kinds={name: dict(zip(_COLUMNS, map(float, values), strict=True)) for name, values in _KINDS.items()},
    poses=_POSES,
    build=_build,
    anchors=_ANCHORS,
    spread=0.06,
    elevations=(-25.0, 45.0),
    turns=12.0,
)
