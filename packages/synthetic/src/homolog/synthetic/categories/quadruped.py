"""Four-legged animals, from cat to giraffe."""

import numpy as np
from jaxtyping import Float64

from homolog.synthetic.category import Anchor, Category, Numbers
from homolog.synthetic.modelling.solids import Solid, ball, tube

Vector = Float64[np.ndarray, "3"]

_COLUMNS = (
    "leg", "chest", "waist", "hip", "width", "neck", "neck_angle", "neck_radius", "head", "cranium", "muzzle",
    "nod", "ear", "ear_width", "droop", "tail", "tail_radius", "tail_angle", "thigh", "shin", "foot", "horn",
)  # fmt: skip
_KINDS = {
    "horse": (0.80, 0.22, 0.20, 0.22, 0.72, 0.52, 50, 0.13, 0.40, 0.10, 0.065, 50, 0.11, 0.035, 8, 0.55, 0.050, -72, 0.13, 0.038, 0.050, 0.02),
    "cow": (0.58, 0.27, 0.27, 0.25, 0.80, 0.30, 22, 0.16, 0.38, 0.11, 0.085, 35, 0.15, 0.050, 75, 0.60, 0.022, -82, 0.14, 0.045, 0.055, 0.16),
    "dog": (0.56, 0.19, 0.13, 0.15, 0.72, 0.24, 55, 0.095, 0.30, 0.10, 0.045, 15, 0.13, 0.060, 30, 0.42, 0.032, 35, 0.10, 0.035, 0.050, 0.02),
    "cat": (0.40, 0.15, 0.15, 0.15, 0.80, 0.14, 45, 0.090, 0.20, 0.11, 0.060, 10, 0.12, 0.065, 5, 0.70, 0.030, 40, 0.10, 0.036, 0.048, 0.02),
    "giraffe": (1.15, 0.23, 0.18, 0.17, 0.70, 1.20, 66, 0.100, 0.36, 0.085, 0.050, 40, 0.13, 0.040, 45, 0.45, 0.020, -80, 0.11, 0.042, 0.055, 0.09),
    "pig": (0.30, 0.25, 0.27, 0.24, 0.85, 0.10, 5, 0.180, 0.34, 0.14, 0.075, 15, 0.15, 0.075, 40, 0.16, 0.014, 30, 0.12, 0.045, 0.048, 0.02),
    "sheep": (0.42, 0.26, 0.27, 0.26, 0.90, 0.22, 40, 0.13, 0.27, 0.09, 0.055, 35, 0.13, 0.042, 80, 0.18, 0.040, -75, 0.11, 0.034, 0.042, 0.10),
    "deer": (0.80, 0.18, 0.15, 0.17, 0.70, 0.42, 62, 0.075, 0.29, 0.08, 0.040, 30, 0.17, 0.060, 35, 0.14, 0.030, -50, 0.10, 0.026, 0.036, 0.26),
    "bear": (0.45, 0.26, 0.26, 0.28, 0.85, 0.20, 15, 0.18, 0.31, 0.14, 0.070, 15, 0.08, 0.055, 10, 0.07, 0.030, -50, 0.15, 0.075, 0.085, 0.02),
}  # fmt: skip

_POSES = {
    "stride": (-26.0, 0.0, 26.0),
    "stride_hind": (-24.0, 0.0, 24.0),
    "lift_left": (0.0, 8.0, 45.0),
    "lift_right": (0.0, 8.0, 45.0),
    "neck_pitch": (-55.0, 0.0, 18.0),
    "head_yaw": (-40.0, 0.0, 40.0),
    "head_pitch": (-18.0, 0.0, 22.0),
    "tail_pitch": (-25.0, 0.0, 45.0),
    "tail_swing": (-45.0, 0.0, 45.0),
    "bend": (-0.10, 0.0, 0.10),
}


def _build(shape: Numbers, pose: Numbers) -> list[Solid]:
    head_base, neck = _neck(shape, pose)
    return [
        _torso(shape, pose),
        neck,
        *_head(shape, pose, head_base),
        *(leg for side in (-1, 1) for leg in _front_leg(shape, pose, side)),
        *(leg for side in (-1, 1) for leg in _hind_leg(shape, pose, side)),
        _tail(shape, pose),
    ]


def _torso(s: Numbers, p: Numbers) -> Solid:
    wide = s["width"]
    stations = [
        (-0.46, 0.03, s["hip"] * 0.80), (-0.30, 0.03, s["hip"]), (-0.02, 0.0, s["waist"]),
        (0.24, 0.0, s["chest"]), (0.42, 0.03, s["chest"] * 0.82),
    ]  # fmt: skip
    path = [np.array((x, y, p["bend"] * (1 - 4 * x * x))) for x, y, _ in stations]
    radii = [(wide * r, 0.88 * r, 1.06 * r, 2.3) for _, _, r in stations]
    return tube("torso", "coat", path, radii, rings=34, segments=36, bulge=(0.6, 0.6))


def _neck(s: Numbers, p: Numbers) -> tuple[Vector, Solid]:
    angle = np.radians(np.clip(s["neck_angle"] + p["neck_pitch"], -50, 84))
    yaw = np.radians(0.5 * p["head_yaw"])
    thick = s["neck_radius"]
    start = np.array((0.34, 0.30 * s["chest"], 0.0))
    reach = s["neck"] + 0.16
    way = np.array((np.cos(angle) * np.cos(yaw), np.sin(angle), np.cos(angle) * np.sin(yaw)))
    # A neck leaves the shoulders forwards and bends into its own direction.
    leave = np.array((np.cos(0.6 * angle), np.sin(0.6 * angle), 0.0))
    middle = start + 0.5 * reach * leave
    end = middle + 0.5 * reach * way
    root = max(1.45 * thick, 0.62 * s["chest"])
    radii = [(root * 0.72, root), (1.0 * thick * 0.85, 1.15 * thick), (0.78 * thick, 0.86 * thick)]
    path = [start, middle, end]
    return end, tube(
        "neck", "coat", path, radii, up=(-1.0, 0.35, 0.0), rings=20, segments=24, bulge=(0.3, 0.8)
    )


def _head(s: Numbers, p: Numbers, base: Vector) -> list[Solid]:
    pitch = np.radians(-s["nod"] + p["head_pitch"] + 0.35 * p["neck_pitch"])
    yaw = np.radians(p["head_yaw"])
    ahead = np.array((np.cos(pitch) * np.cos(yaw), np.sin(pitch), np.cos(pitch) * np.sin(yaw)))
    right = np.array((-np.sin(yaw), 0.0, np.cos(yaw)))
    rise = np.cross(right, ahead)
    long, cranium, muzzle = s["head"], s["cranium"], s["muzzle"]

    def at(forward: float | int, up: float | int, side: float | int) -> Vector:
        return base + forward * ahead + up * rise + side * right

    head = tube(
        "head",
        "coat",
        [at(-0.04 * long, 0.02, 0), at(0.28 * long, 0.02, 0), at(0.62 * long, -0.12 * cranium, 0), at(long - muzzle, -0.28 * cranium, 0)],
        [(0.80 * cranium, 0.85 * cranium), (0.86 * cranium, cranium), (0.95 * muzzle, 1.2 * muzzle), (muzzle, muzzle)],
        up=tuple(rise),
        rings=24,
        segments=24,
        bulge=(0.8, 0.8),
    )  # fmt: skip
    nose = ball("nose", "dark", at(long - 0.25 * muzzle, 0.22 * muzzle - 0.28 * cranium, 0), 0.42 * muzzle)
    parts = [head, nose]
    for side, name in ((-1, "left"), (1, "right")):
        eye = at(0.40 * long, 0.45 * cranium, side * 0.72 * cranium)
        parts.append(ball(f"{name} eye", "eye", eye, 0.17 * cranium))
        droop = np.radians(s["droop"])
        out = np.cos(droop) * rise + np.sin(droop) * side * right - 0.15 * ahead
        root = at(0.08 * long, 0.72 * cranium, side * 0.60 * cranium)
        mid, tip = root + 0.55 * s["ear"] * out, root + s["ear"] * (out - 0.25 * np.sin(droop) * rise)
        half = s["ear_width"]
        parts.append(
            tube(
                f"{name} ear", "coat", [root - 0.1 * s["ear"] * out, mid, tip],
                [(0.7 * half, 0.3 * half), (half, 0.28 * half), (0.12 * half, 0.08 * half)],
                up=tuple(ahead), rings=9, segments=12, bulge=(0.2, 0.5),
            )
        )  # fmt: skip
        horn = at(0.16 * long, 0.80 * cranium, side * 0.38 * cranium)
        away = 0.75 * rise + 0.5 * side * right - 0.2 * ahead
        bent = horn + s["horn"] * away
        thick = 0.012 + 0.07 * s["horn"]
        parts.append(
            tube(
                f"{name} horn", "horn", [horn - 0.03 * away, horn + 0.6 * s["horn"] * (away + 0.25 * side * right), bent],
                [thick, 0.75 * thick, 0.2 * thick], up=tuple(ahead), rings=9, segments=8,
            )
        )  # fmt: skip
    return parts


def _front_leg(s: Numbers, p: Numbers, side: int) -> list[Solid]:
    swing = side * p["stride"]
    lift = p["lift_right"] if side > 0 else p["lift_left"]
    start = np.array((0.30, -0.15 * s["chest"], side * 0.58 * s["width"] * s["chest"]))
    long = s["leg"] + 0.62 * s["chest"]
    angles = (swing - 6, swing + 4 - 0.6 * lift, swing - 1.4 * lift)
    path = _chain(start, [(0.42 * long, angles[0]), (0.34 * long, angles[1]), (0.24 * long, angles[2])])
    radii = [0.95 * s["thigh"], 0.62 * s["thigh"], 1.12 * s["shin"], s["shin"]]
    return _leg("front", side, s, path, radii, angles[2])


def _hind_leg(s: Numbers, p: Numbers, side: int) -> list[Solid]:
    swing = -side * p["stride_hind"]
    lift = p["lift_left"] if side > 0 else p["lift_right"]
    start = np.array((-0.32, -0.05 * s["hip"], side * 0.55 * s["width"] * s["hip"]))
    # The bent leg reaches as far down as the straight front one.
    long = (s["leg"] + 0.47 * s["chest"] + 0.05 * s["hip"]) / 0.93
    angles = (swing + 20, swing - 30 - 0.5 * lift, swing + 4 - 0.2 * lift)
    path = _chain(start, [(0.42 * long, angles[0]), (0.32 * long, angles[1]), (0.26 * long, angles[2])])
    radii = [1.25 * s["thigh"], 0.80 * s["thigh"], 1.1 * s["shin"], s["shin"]]
    return _leg("hind", side, s, path, radii, angles[2])


def _leg(
    which: str, side: int, s: Numbers, path: list[Vector], radii: list[float], angle: float
) -> list[Solid]:
    name = f"{'right' if side > 0 else 'left'} {which}"
    thick = [(0.72 * r if k < 2 else r, r) for k, r in enumerate(radii)]
    leg = tube(
        f"{name} leg", "coat", path, thick, up=(1.0, 0.0, 0.0), rings=24, segments=16, bulge=(0.5, 0.6)
    )
    tilt = np.radians(0.5 * angle)
    down, ahead = np.array((np.sin(tilt), -np.cos(tilt), 0)), np.array((np.cos(tilt), np.sin(tilt), 0))
    size, ankle = s["foot"], path[-1]
    foot = tube(
        f"{name} foot", "hoof", [ankle - 0.3 * size * down, ankle + 0.6 * size * down + 0.35 * size * ahead, ankle + size * down + 0.5 * size * ahead],
        [(0.85 * size, 0.85 * size), (size, 1.15 * size), (size, 1.25 * size)],
        up=(1.0, 0.0, 0.0), rings=6, segments=14, bulge=(0.4, 0.15),
    )  # fmt: skip
    return [leg, foot]


def _chain(start: Vector, bones: list[tuple[float, float]]) -> list[Vector]:
    """Return the joints of a limb; each bone has a length and an angle forwards from straight down."""
    joints = [start]
    for length, angle in bones:
        turn = np.radians(angle)
        joints.append(joints[-1] + length * np.array((np.sin(turn), -np.cos(turn), 0.0)))
    return joints


def _tail(s: Numbers, p: Numbers) -> Solid:
    pitch, swing = np.radians(s["tail_angle"] + p["tail_pitch"]), np.radians(p["tail_swing"])
    start = np.array((-0.44, 0.55 * s["hip"], 0.0))
    way = np.array((-np.cos(pitch) * np.cos(swing), np.sin(pitch), np.cos(pitch) * np.sin(swing)))
    middle = start + 0.45 * s["tail"] * (0.45 * way + np.array((-0.55, 0.1, 0)))
    end = middle + 0.60 * s["tail"] * way
    thick = s["tail_radius"]
    # Never straight up or down, never sideways: the curve's up is across all of these.
    return tube(
        "tail",
        "coat",
        [start, middle, end],
        [0.9 * thick, thick, 0.6 * thick],
        up=(-0.55, 0.8, 0.25),
        rings=16,
        segments=12,
    )


_ANCHORS = {
    "nose": Anchor(part="nose", along=0.5, around=0.0),
    "chin": Anchor(part="head", along=0.86, around=0.5),
    "forehead": Anchor(part="head", along=0.42, around=0.0),
    "left eye": Anchor(part="left eye", along=0.5, around=0.75),
    "right eye": Anchor(part="right eye", along=0.5, around=0.25),
    "left ear base": Anchor(part="left ear", along=0.3, around=0.0),
    "right ear base": Anchor(part="right ear", along=0.3, around=0.0),
    "left ear tip": Anchor(part="left ear", along=1.0),
    "right ear tip": Anchor(part="right ear", along=1.0),
    "throat": Anchor(part="neck", along=0.6, around=0.5),
    "nape": Anchor(part="neck", along=0.7, around=0.0),
    "withers": Anchor(part="torso", along=0.72, around=0.0),
    "back": Anchor(part="torso", along=0.5, around=0.0),
    "rump": Anchor(part="torso", along=0.22, around=0.0),
    "belly": Anchor(part="torso", along=0.5, around=0.5),
    "tail base": Anchor(part="tail", along=0.25, around=0.0),
    "tail tip": Anchor(part="tail", along=1.0),
    **{
        f"{side} {which} {joint}": Anchor(part=f"{side} {which} {part}", along=along, around=around)
        for side in ("left", "right")
        for which in ("front", "hind")
        for joint, part, along, around in (("knee", "leg", 0.62, 0.0), ("foot", "foot", 0.75, 0.0))
    },
}

CATEGORY = Category(
    name="quadruped",
    kinds={name: dict(zip(_COLUMNS, values, strict=True)) for name, values in _KINDS.items()},
    poses=_POSES,
    build=_build,
    anchors=_ANCHORS,
    azimuths=(0.0, 160.0),
)
