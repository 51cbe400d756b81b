"""Birds, from sparrow to heron: standing or flying."""

import numpy as np
from jaxtyping import Float64

from homolog.synthetic.category import Anchor, Category, Numbers
from homolog.synthetic.modelling.solids import Solid, ball, tube

Vector = Float64[np.ndarray, "3"]

_COLUMNS = (
    "body", "breast", "slim", "upright", "neck", "neck_radius", "head", "beak", "beak_radius", "hook",
    "crest", "wing", "wing_width", "tail", "tail_width", "leg", "shin", "toe",
)  # fmt: skip
_KINDS = {
    "sparrow": (0.50, 0.190, 0.90, 28, 0.06, 0.120, 0.125, 0.10, 0.042, 0.0, 0.01, 0.55, 0.20, 0.30, 0.075, 0.20, 0.014, 0.10),
    "crow": (0.58, 0.180, 0.85, 22, 0.10, 0.110, 0.120, 0.20, 0.045, 0.2, 0.01, 0.85, 0.24, 0.38, 0.095, 0.26, 0.018, 0.12),
    "duck": (0.66, 0.200, 1.05, 6, 0.22, 0.075, 0.120, 0.18, 0.055, 0.0, 0.01, 0.65, 0.20, 0.16, 0.080, 0.14, 0.020, 0.13),
    "heron": (0.60, 0.150, 0.80, 30, 0.62, 0.045, 0.085, 0.32, 0.030, 0.0, 0.12, 1.05, 0.28, 0.20, 0.070, 0.70, 0.016, 0.15),
    "eagle": (0.64, 0.200, 0.95, 40, 0.10, 0.120, 0.130, 0.15, 0.055, 1.0, 0.02, 1.15, 0.32, 0.34, 0.130, 0.24, 0.028, 0.14),
    "parrot": (0.55, 0.150, 0.95, 55, 0.07, 0.110, 0.130, 0.12, 0.062, 1.2, 0.10, 0.60, 0.18, 0.60, 0.060, 0.14, 0.018, 0.10),
    "hen": (0.56, 0.230, 0.95, 14, 0.20, 0.095, 0.095, 0.09, 0.035, 0.2, 0.08, 0.45, 0.20, 0.30, 0.120, 0.26, 0.020, 0.12),
    "pigeon": (0.56, 0.195, 0.92, 24, 0.12, 0.090, 0.095, 0.09, 0.028, 0.1, 0.01, 0.75, 0.23, 0.34, 0.085, 0.17, 0.017, 0.10),
    "gull": (0.62, 0.165, 0.90, 10, 0.12, 0.090, 0.105, 0.15, 0.034, 0.4, 0.01, 1.10, 0.20, 0.24, 0.080, 0.24, 0.015, 0.11),
}  # fmt: skip
_POSES = {
    "open": (-0.6, 0.0, 1.1),
    "flap": (-35.0, 0.0, 45.0),
    "upright": (-12.0, 0.0, 12.0),
    "neck_pitch": (-40.0, 0.0, 20.0),
    "head_yaw": (-55.0, 0.0, 55.0),
    "head_pitch": (-30.0, 0.0, 20.0),
    "stride": (-25.0, 0.0, 25.0),
    "tail_pitch": (-15.0, 0.0, 25.0),
    "fan": (0.7, 1.0, 2.0),
}


def _build(shape: Numbers, pose: Numbers) -> list[Solid]:
    lean = np.radians(shape["upright"] + pose["upright"])
    ahead, rise = np.array((np.cos(lean), np.sin(lean), 0)), np.array((-np.sin(lean), np.cos(lean), 0))
    half, breast = shape["body"] / 2, shape["breast"]
    stations = [
        (-1.0, 0.30, 0.04),
        (-0.55, 0.72, 0.0),
        (0.05, 1.02, -0.06),
        (0.55, 0.95, -0.02),
        (0.92, 0.62, 0.10),
    ]
    path = [half * x * ahead + breast * y * rise for x, _, y in stations]
    radii = [(shape["slim"] * breast * r, 0.92 * breast * r, 1.05 * breast * r) for _, r, _ in stations]
    body = tube("body", "coat", path, radii, up=rise, rings=26, segments=28, bulge=(0.9, 0.7))
    head_base, neck = _neck(shape, pose, 0.80 * half * ahead + 0.12 * breast * rise, lean)
    return [
        body,
        neck,
        *_head(shape, pose, head_base),
        *(_wing(shape, pose, side, ahead, rise) for side in (-1, 1)),
        _tail(shape, pose, lean),
        *(part for side in (-1, 1) for part in _leg(shape, pose, side)),
    ]


def _neck(s: Numbers, p: Numbers, start: Vector, lean: float) -> tuple[Vector, Solid]:
    angle = np.clip(lean + np.radians(38 + p["neck_pitch"]), np.radians(-35), np.radians(80))
    yaw = np.radians(0.4 * p["head_yaw"])
    reach = s["neck"] + 0.12
    way = np.array((np.cos(angle) * np.cos(yaw), np.sin(angle), np.cos(angle) * np.sin(yaw)))
    # Long necks are bent like an S: first back, then forwards.
    bow = 0.22 * np.clip(s["neck"] - 0.15, 0, 1) * np.array((-np.sin(angle), np.cos(angle), 0))
    middle, end = start + 0.5 * reach * way + bow, start + reach * way
    root = max(s["neck_radius"], 0.55 * s["breast"])
    radii = [(0.9 * root, root), 1.05 * s["neck_radius"], 0.92 * s["neck_radius"]]
    return end, tube(
        "neck",
        "coat",
        [start, middle, end],
        radii,
        up=(-1.0, 0.4, 0.0),
        rings=18,
        segments=18,
        bulge=(0.3, 0.8),
    )


def _head(s: Numbers, p: Numbers, base: Vector) -> list[Solid]:
    pitch, yaw = np.radians(p["head_pitch"] - 6), np.radians(p["head_yaw"])
    ahead = np.array((np.cos(pitch) * np.cos(yaw), np.sin(pitch), np.cos(pitch) * np.sin(yaw)))
    right = np.array((-np.sin(yaw), 0.0, np.cos(yaw)))
    rise = np.cross(right, ahead)
    r, thick = s["head"], s["beak_radius"]

    def at(forward: float | int, up: float | int, side: float | int) -> Vector:
        return base + forward * ahead + up * rise + side * right

    head = tube(
        "head", "coat", [at(-0.35 * r, 0.05 * r, 0), at(0.2 * r, 0.12 * r, 0), at(0.75 * r, 0.0, 0)],
        [(0.80 * r, 0.85 * r), (0.90 * r, 0.98 * r), (0.55 * r, 0.58 * r)], up=rise, rings=14, segments=20,
    )  # fmt: skip
    tip = at(0.95 * r + s["beak"], -0.05 * r - 0.55 * s["hook"] * thick, 0)
    upper = tube(
        "upper beak", "beak", [at(0.75 * r, 0.06 * r, 0), at(0.95 * r + 0.55 * s["beak"], 0.04 * r + 0.25 * s["hook"] * thick, 0), tip],
        [(thick, 1.05 * thick), (0.72 * thick, 0.70 * thick), (0.14 * thick, 0.14 * thick)], up=rise, rings=12, segments=12,
    )  # fmt: skip
    lower = tube(
        "lower beak", "beak", [at(0.75 * r, -0.16 * r, 0), at(0.95 * r + 0.5 * s["beak"], -0.10 * r, 0), at(0.95 * r + 0.85 * s["beak"], -0.07 * r - 0.3 * s["hook"] * thick, 0)],
        [0.75 * thick, 0.5 * thick, 0.10 * thick], up=rise, rings=10, segments=10,
    )  # fmt: skip
    crest = tube(
        "crest", "accent", [at(0.35 * r, 0.80 * r, 0), at(-0.1 * r, 0.85 * r + 0.6 * s["crest"], 0), at(-0.45 * r - 0.5 * s["crest"], 0.75 * r + s["crest"], 0)],
        [(0.10 * r, 0.30 * r), (0.10 * r, 0.08 * r + 0.25 * s["crest"]), (0.03 * r, 0.05 * r)], up=ahead + rise, rings=10, segments=10,
    )  # fmt: skip
    eyes = [
        ball(f"{name} eye", "eye", at(0.30 * r, 0.28 * r, side * 0.80 * r), 0.20 * r)
        for side, name in ((-1, "left"), (1, "right"))
    ]
    return [head, upper, lower, crest, *eyes]


def _wing(s: Numbers, p: Numbers, side: int, ahead: Vector, rise: Vector) -> Solid:
    name = "right" if side > 0 else "left"
    fraction = float(np.clip(p["open"], 0, 1))
    flap, right = np.radians(p["flap"]), np.array((0, 0, float(side)))
    out = np.cos(flap) * right + np.sin(flap) * rise
    shoulder = 0.24 * s["body"] * ahead + 0.45 * s["breast"] * rise + 0.62 * s["slim"] * s["breast"] * right
    # Folded, a wing lies along the body with its tip at the tail; open, it stretches to the side.
    along = -ahead + 0.02 * rise
    hand = (1 - fraction) * (
        0.30 * s["body"] * along + 0.34 * s["slim"] * s["breast"] * right
    ) + fraction * 0.45 * s["wing"] * out
    tip = (1 - fraction) * (0.72 * s["body"] + 0.16 * s["wing"]) * along + fraction * (
        s["wing"] * out - 0.10 * s["wing"] * ahead
    )
    tip = tip - (1 - fraction) * 0.35 * s["slim"] * s["breast"] * right
    width = s["wing_width"] * (0.72 + 0.28 * fraction)
    thin = (1 - fraction) * 0.045 + fraction * 0.018
    # The wing's chord: downwards when folded, backwards when open.
    chord = (1 - fraction) * rise + fraction * ahead
    path = [shoulder, shoulder + hand - 0.1 * width * chord, shoulder + tip - 0.15 * width * fraction * chord]
    radii = [
        (thin, 0.55 * width, 0.75 * width),
        (thin, 0.5 * width, 0.95 * width),
        (0.4 * thin, 0.10 * width, 0.28 * width),
    ]
    return tube(f"{name} wing", "plumage", path, radii, up=chord, rings=24, segments=18, bulge=(0.4, 0.6))


def _tail(s: Numbers, p: Numbers, lean: float) -> Solid:
    angle = lean - np.radians(4 + p["tail_pitch"])
    way = -np.array((np.cos(angle), np.sin(angle), 0.0))
    up = np.array((np.sin(angle) * -1, np.cos(angle), 0.0))
    start = -0.42 * s["body"] * np.array((np.cos(lean), np.sin(lean), 0.0))
    wide = s["tail_width"]
    path = [start, start + 0.55 * s["tail"] * way, start + s["tail"] * way]
    radii = [(0.8 * wide, 0.30 * s["breast"]), (wide * p["fan"], 0.028), (1.15 * wide * p["fan"], 0.012)]
    return tube("tail", "plumage", path, radii, up=up, rings=14, segments=16, bulge=(0.3, 1.5))


def _leg(s: Numbers, p: Numbers, side: int) -> list[Solid]:
    name = "right" if side > 0 else "left"
    swing = np.radians(side * p["stride"])
    hip = np.array((-0.02 * s["body"], -0.55 * s["breast"], 0.48 * s["slim"] * s["breast"] * side))
    long = s["leg"] + 0.5 * s["breast"]
    knee = hip + 0.5 * long * np.array((np.sin(swing - 0.45), -np.cos(swing - 0.45), 0))
    foot = knee + 0.55 * long * np.array((np.sin(swing + 0.35), -np.cos(swing + 0.35), 0))
    thick = s["shin"]
    leg = tube(
        f"{name} leg", "beak", [hip, knee, foot], [3.4 * thick + 0.012, 1.15 * thick, thick],
        up=(1.0, 0.0, 0.0), rings=16, segments=10,
    )  # fmt: skip
    toes = [
        tube(
            f"{name} {which} toe", "beak", [foot, foot + s["toe"] * reach * np.array((np.cos(turn), -0.02, np.sin(turn)))],
            [1.05 * thick, 0.55 * thick], rings=4, segments=8,
        )
        for which, turn, reach in (("inner", -0.5 * side, 1.0), ("middle", 0.0, 1.1), ("outer", 0.5 * side, 1.0), ("hind", np.pi, 0.6))
    ]  # fmt: skip
    return [leg, *toes]


CATEGORY = Category(
    name="bird",
    kinds={name: dict(zip(_COLUMNS, map(float, values), strict=True)) for name, values in _KINDS.items()},
    poses=_POSES,
    build=_build,
    anchors={
        "beak tip": Anchor(part="upper beak", along=1.0),
        "beak base": Anchor(part="upper beak", along=0.35, around=0.0),
        "forehead": Anchor(part="head", along=0.65, around=0.0),
        "crown": Anchor(part="head", along=0.4, around=0.0),
        "left eye": Anchor(part="left eye", along=0.5, around=0.75),
        "right eye": Anchor(part="right eye", along=0.5, around=0.25),
        "nape": Anchor(part="neck", along=0.6, around=0.0),
        "throat": Anchor(part="neck", along=0.7, around=0.5),
        "breast": Anchor(part="body", along=0.8, around=0.5),
        "belly": Anchor(part="body", along=0.45, around=0.5),
        "back": Anchor(part="body", along=0.5, around=0.0),
        "tail base": Anchor(part="tail", along=0.3, around=0.0),
        "tail tip": Anchor(part="tail", along=1.0),
        **{
            f"{side} {name}": Anchor(part=f"{side} {part}", along=along, around=around)
            for side, out in (("left", 0.75), ("right", 0.25))
            for name, part, along, around in (
                ("wing front", "wing", 0.3, out),
                ("wing middle", "wing", 0.6, out),
                ("wing tip", "wing", 1.0, 0.0),
                ("knee", "leg", 0.5, 0.0),
                ("foot", "middle toe", 0.4, 0.0),
            )
        },
    },
    azimuths=(0.0, 150.0),
    elevations=(-20.0, 40.0),
    turns=10.0,
)
