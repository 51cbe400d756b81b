"""Potted plants, from cactus to palm: a pot, a stem, and two dozen leaves in mirrored pairs."""

import numpy as np
from jaxtyping import Float64

from homolog.synthetic.category import Anchor, Category, Numbers
from homolog.synthetic.modelling.panels import joined, moved, sheet, squared
from homolog.synthetic.modelling.solids import Solid, revolved, tube

Leaves = Float64[np.ndarray, "N"]

# Metres and degrees. Leaves stand between `crown` (a fraction of the stem) and its top; `low` is how steeply the
# lowest ones rise, `high` how steeply the highest.
_COLUMNS = (
    "pot_height", "pot_top", "pot_base", "rim", "rim_out", "square", "saucer", "stem", "stem_radius", "crown",
    "leaf", "leaf_wide", "stalk", "root", "tip", "low", "high", "droop", "fold", "thick", "shrink", "arm",
)  # fmt: skip
_KINDS = {
    "sword": (0.22, 0.130, 0.105, 0.030, 0.008, 2.0, 0.8, 0.02, 0.020, 0.05, 0.52, 0.030, 0.03, 0.15, 0.45, 68, 86, 8, 0.30, 0.006, 0.45, 0.06),
    "bushy": (0.24, 0.140, 0.100, 0.045, 0.012, 2.0, 1.4, 0.50, 0.012, 0.10, 0.25, 0.062, 0.18, 0.60, 0.80, 0, 62, 42, 0.25, 0.003, 0.25, 0.06),
    "palm": (0.26, 0.140, 0.110, 0.025, 0.006, 5.0, 0.8, 0.42, 0.018, 0.75, 0.46, 0.026, 0.12, 0.50, 1.10, 18, 84, 95, 0.35, 0.003, 0.15, 0.06),
    "spider": (0.18, 0.130, 0.090, 0.030, 0.010, 2.0, 1.3, 0.03, 0.020, 0.10, 0.40, 0.014, 0.02, 0.25, 0.90, 38, 84, 120, 0.40, 0.002, 0.15, 0.06),
    "aloe": (0.15, 0.110, 0.080, 0.035, 0.010, 2.0, 1.3, 0.05, 0.022, 0.20, 0.23, 0.026, 0.02, 0.12, 0.95, 22, 80, -22, 0.25, 0.016, 0.30, 0.06),
    "rosette": (0.09, 0.085, 0.065, 0.018, 0.006, 4.0, 0.8, 0.03, 0.016, 0.10, 0.095, 0.030, 0.02, 0.75, 0.45, 8, 78, -25, 0.20, 0.010, 0.50, 0.06),
    "cactus": (0.16, 0.115, 0.085, 0.040, 0.010, 2.0, 1.3, 0.42, 0.062, 0.12, 0.040, 0.006, 0.05, 0.10, 1.00, 2, 40, 5, 0.15, 0.005, 0.10, 0.21),
    "rubber": (0.25, 0.140, 0.115, 0.030, 0.008, 6.0, 0.8, 0.62, 0.012, 0.10, 0.25, 0.072, 0.18, 0.55, 0.65, 15, 72, 38, 0.20, 0.004, 0.35, 0.06),
    "monstera": (0.24, 0.145, 0.110, 0.040, 0.010, 2.5, 1.3, 0.14, 0.018, 0.10, 0.46, 0.115, 0.58, 0.40, 0.75, 35, 84, 90, 0.15, 0.003, 0.10, 0.06),
}  # fmt: skip

_POSES = {
    "bend_ahead": (-0.22, 0.0, 0.22),
    "bend_aside": (-0.22, 0.0, 0.22),
    "lift": (-14.0, 0.0, 12.0),
    "sag": (-12.0, 0.0, 25.0),
    "stir": (-14.0, 0.0, 14.0),
    "turn": (-22.0, 0.0, 22.0),
}

_SIDES = ((-1, "left"), (1, "right"))
_PAIRS = 12
_STALK = np.array((0.0, 0.5))
_BLADE = np.array((0.0, 0.04, 0.14, 0.28, 0.43, 0.58, 0.73, 0.88, 1.0))
"""Where rows of points lie along the stalk of a leaf, then along its blade."""
_ACROSS = np.linspace(-1, 1, 5)
_BARE = 0.075
"""Arms that would be shorter are not there."""
_DEEP = 0.018
"""How far below the rim the soil lies."""


def _build(shape: Numbers, pose: Numbers) -> list[Solid]:
    s = _fitting(shape)
    plant = [_stem(s), *_arms(s), *_leaves(s, pose)]
    return [*_pot(s), *_bowed(plant, s, pose)]


def _fitting(shape: Numbers) -> Numbers:
    """Keep each part inside the one it grows from."""
    s = dict(shape)
    s["pot_base"] = min(s["pot_base"], 0.97 * s["pot_top"])
    s["rim"] = min(s["rim"], 0.5 * s["pot_height"])
    s["stem_radius"] = min(s["stem_radius"], 0.7 * s["pot_top"])
    s["stalk"] = min(s["stalk"], 0.7)
    s["square"] = max(s["square"], 2.0)
    return s


def _ground(s: Numbers) -> float:
    return s["pot_height"] - _DEEP


def _pot(s: Numbers) -> list[Solid]:
    high, top, base, rim = s["pot_height"], s["pot_top"], s["pot_base"], s["rim"]
    wide, wall, ground = top + s["rim_out"], 0.9 * top, _ground(s)
    below = base + (top - base) * (1 - rim / high)
    pot = [
        (0.94 * base, 0.0), (base, 0.006), *((base + fraction * (below - base), 0.006 + fraction * (high - rim - 0.008)) for fraction in (0.25, 0.5, 0.75, 1.0)),
        (wide - 0.002, high - rim), (wide, high - rim + 0.003), (wide, high - 0.004), (wide - 0.004, high),
        (wall + 0.003, high), (wall, high - 0.003), (wall, ground - 0.016),
    ]  # fmt: skip
    soil = [(0.6 * wall, ground - 0.010), (wall + 0.004, ground - 0.008), (wall + 0.004, ground), (0.6 * wall, ground + 0.006)]  # fmt: skip
    low, out, lip = (0.0, s["saucer"] * base, 0.024) if s["saucer"] > 1.05 else (0.02, 0.5 * base, 0.010)
    saucer = [(0.90 * out, low), (0.94 * out, low + 0.003), (out, low + lip), (0.98 * out, low + lip + 0.002), (0.90 * out, low + 0.007)]  # fmt: skip
    parts = [
        revolved("pot", "paint", pot, segments=32),
        revolved("soil", "soil", soil, segments=32),
        revolved("saucer", "paint", saucer, segments=32),
    ]
    return [part.replaced(squared(part.vertices, s["square"])) for part in parts]


def _stem(s: Numbers) -> Solid:
    foot, long, thick = _ground(s) - 0.012, s["stem"] + 0.012, s["stem_radius"]
    path = [(0.0, foot + fraction * long, 0.0) for fraction in (0.0, 0.4, 0.8, 1.0)]
    radii = [0.95 * thick, thick, 0.9 * thick, 0.62 * thick]
    return tube("stem", "leaf", path, radii, up=(1.0, 0.0, 0.0), rings=16, segments=18, bulge=(0.1, 0.9))


def _arms(s: Numbers) -> list[Solid]:
    """What a cactus has; in other plants they lie within the stem."""
    bare, ground, high, thick = s["arm"] < _BARE, _ground(s), s["stem"], s["stem_radius"]
    parts: list[Solid] = []
    for side, name in _SIDES:
        start = ground + 0.36 * high
        if bare:
            path = [
                (0.0, ground + fraction * high, side * 0.25 * thick) for fraction in (0.15, 0.3, 0.45, 0.6)
            ]
            radii = [0.2 * thick] * 4
        else:
            out = thick + 0.36 * s["arm"]
            path = [(0.0, start, side * 0.5 * thick), (0.0, start + 0.02, side * 0.9 * out),
                    (0.0, start + 0.35 * s["arm"], side * out), (0.0, start + s["arm"], side * out)]  # fmt: skip
            radii = [0.42 * thick, 0.48 * thick, 0.52 * thick, 0.46 * thick]
        parts.append(
            tube(
                f"{name} arm",
                "leaf",
                path,
                radii,
                up=(1.0, 0.0, 0.0),
                rings=14,
                segments=14,
                bulge=(0.3, 0.9),
            )
        )
    return parts


def _leaves(s: Numbers, p: Numbers) -> list[Solid]:
    """Leaves in pairs from the lowest to the highest; each pair is one leaf and its mirror image."""
    number = np.arange(_PAIRS)
    fraction = number / (_PAIRS - 1)
    height = _ground(s) + s["stem"] * (s["crown"] + (0.97 - s["crown"]) * fraction)
    # Steps of the golden ratio spread leaves evenly around the stem; other multiples make each a little different.
    around = np.pi * ((0.25 + 0.618034 * number) % 1)
    length = s["leaf"] * (1 - s["shrink"] * fraction) * (1 + 0.12 * np.sin(5.1 * number))
    steep = s["low"] + (s["high"] - s["low"]) * fraction + 4 * np.sin(3.7 * number)
    parts: list[Solid] = []
    for side, name in _SIDES:
        rise = np.radians(steep + p["lift"] + p["stir"] * np.sin(2.3 * number + 0.9 * side))
        azimuth = side * (around + np.radians(p["turn"]) * side * np.sin(1.9 * number + 0.4 * side))
        front, back = _blades(s, p, height, azimuth, rise, length, side)
        parts += [
            sheet(f"{name} leaf {k + 1}", "leaf", one, other)
            for k, (one, other) in enumerate(zip(front, back, strict=True))
        ]
    return parts


def _blades(
    s: Numbers, p: Numbers, height: Leaves, azimuth: Leaves, rise: Leaves, length: Leaves, side: int
) -> tuple[Float64[np.ndarray, "N R C 3"], Float64[np.ndarray, "N R C 3"]]:
    """Return upper and lower sides of leaves, from shape, pose, and where each leaves the stem.

    `height` is above the ground, `azimuth` from x towards z, `rise` how steeply each begins, radians; columns
    of those on the right (`side` 1) run the other way than those on the left.
    """
    along = np.concatenate((s["stalk"] * _STALK, s["stalk"] + (1 - s["stalk"]) * _BLADE))
    bend = np.radians(s["droop"] + p["sag"]) * along**1.25
    angle = rise[:, None] - bend
    step = length[:, None] * np.diff(along)
    middle = (angle[:, 1:] + angle[:, :-1]) / 2
    reach, climb = np.empty_like(angle), np.empty_like(angle)
    reach[:, 0], climb[:, 0] = s["stem_radius"] * 0.55, height
    reach[:, 1:] = reach[:, :1] + np.cumsum(step * np.cos(middle), axis=1)
    climb[:, 1:] = climb[:, :1] + np.cumsum(step * np.sin(middle), axis=1)
    out = np.stack((np.cos(azimuth), np.zeros_like(azimuth), np.sin(azimuth)), axis=1)[:, None]
    beside = side * np.stack((-np.sin(azimuth), np.zeros_like(azimuth), np.cos(azimuth)), axis=1)[:, None]
    up = np.array((0.0, 1.0, 0.0))
    spine = reach[..., None] * out + climb[..., None] * up
    normal = -np.sin(angle)[..., None] * out + np.cos(angle)[..., None] * up
    half = _outline(s) * (length / s["leaf"])[:, None]
    rim = np.abs(_ACROSS)[:, None]
    blade = (
        spine[:, :, None]
        + half[..., None, None] * _ACROSS[:, None] * beside[:, :, None]
        + (s["fold"] * half)[..., None, None] * rim * normal[:, :, None]
    )
    plump = s["thick"] * np.minimum(1, half / (0.4 * s["leaf_wide"]))
    lens = plump[..., None, None] * (1 - rim**2) * normal[:, :, None]
    return blade + 0.35 * lens, blade - 0.65 * lens


def _outline(s: Numbers) -> Float64[np.ndarray, " R"]:
    """Return half of a leaf's width along it: a stalk, then a blade whose ends are round or pointed."""
    full, root, tip = s["leaf_wide"], s["root"], s["tip"]
    widest = root / (root + tip)
    wide = _BLADE**root * (1 - _BLADE) ** tip / (widest**root * (1 - widest) ** tip)
    stalk = min(0.0035 + 0.04 * full, full)
    half = np.maximum(np.concatenate((0 * _STALK, full * wide)), stalk)
    half[-1] = 0.06 * full
    return half


def _bowed(plant: list[Solid], s: Numbers, p: Numbers) -> list[Solid]:
    """Bow the plant: the more, the higher above the ground."""
    tall = s["stem"] + s["leaf"]
    vertices = joined(plant)
    high = np.maximum(vertices[:, 1:2] - _ground(s), 0)
    vertices += high**2 / tall * np.array((p["bend_ahead"], 0.0, p["bend_aside"]))
    return moved(plant, vertices)


_ROUND = (("front", 0.0), ("right", 0.25), ("back", 0.5), ("left", 0.75))
_MARKED = (1, 4, 7, 10)
"""Pairs of leaves whose tips are keypoints, from low to high."""

# A plant has no left; "front" is x, as everywhere.
CATEGORY = Category(
    name="potted_plant",
    kinds={name: dict(zip(_COLUMNS, map(float, values), strict=True)) for name, values in _KINDS.items()},
    poses=_POSES,
    build=_build,
    anchors={
        **{
            f"{what} {where}": Anchor(part="pot", along=ring / 12, around=around)
            for what, ring in (("rim", 10), ("pot base", 2))
            for where, around in _ROUND
        },
        "stem foot front": Anchor(part="stem", along=0.2, around=0.0),
        "stem foot back": Anchor(part="stem", along=0.2, around=0.5),
        "stem top": Anchor(part="stem", along=1.0),
        **{
            f"{side} {which} leaf {place}": Anchor(part=f"{side} leaf {pair + 1}", along=row / 10, around=0.2)
            for _, side in _SIDES
            for which, pair in zip(("lowest", "lower", "upper", "highest"), _MARKED, strict=True)
            for place, row in (("tip", 9.99), ("middle", 6))
            if place == "tip" or which in ("lower", "highest")
        },
    },
    spread=0.07,
    elevations=(0.0, 45.0),
    turns=6.0,
)
