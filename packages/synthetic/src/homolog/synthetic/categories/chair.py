"""Chairs, from stool to armchair: boxes, beams and a seat."""

import numpy as np

from homolog.synthetic.category import Anchor, Category, Numbers
from homolog.synthetic.modelling.solids import Solid, beam, slab

_COLUMNS = (
    "width", "depth", "seat", "thick", "back", "recline", "leg", "splay", "solid", "arm", "arm_width",
    "taper", "bar",
)  # fmt: skip
_KINDS = {
    "kitchen": (0.46, 0.44, 0.46, 0.035, 0.46, 8, 0.022, 2, 0.30, 0.02, 0.012, 0.95, 0.014),
    "dining": (0.48, 0.46, 0.47, 0.060, 0.60, 6, 0.025, 1, 1.00, 0.02, 0.012, 0.92, 0.012),
    "office": (0.52, 0.50, 0.48, 0.080, 0.55, 12, 0.028, 9, 0.95, 0.22, 0.028, 0.88, 0.016),
    "armchair": (0.70, 0.66, 0.40, 0.160, 0.50, 14, 0.035, 1, 1.10, 0.24, 0.075, 1.00, 0.020),
    "bar stool": (0.38, 0.36, 0.74, 0.040, 0.24, 6, 0.020, 5, 0.70, 0.02, 0.012, 0.95, 0.014),
    "garden": (0.54, 0.50, 0.42, 0.030, 0.52, 18, 0.024, 4, 0.25, 0.22, 0.024, 0.95, 0.014),
    "ladder back": (0.44, 0.40, 0.44, 0.030, 0.70, 5, 0.022, 2, 0.22, 0.02, 0.012, 0.90, 0.013),
    "low": (0.60, 0.62, 0.33, 0.070, 0.46, 24, 0.026, 8, 0.90, 0.16, 0.032, 0.98, 0.016),
}  # fmt: skip


def _build(shape: Numbers, pose: Numbers) -> list[Solid]:
    return [*_seat(shape), *_legs(shape, pose), *_back(shape, pose), *_arms(shape, pose)]


def _seat(s: Numbers) -> list[Solid]:
    half, long, high = s["width"] / 2, s["depth"] / 2, s["seat"]
    seat = _tapered("seat", "seat", (-long, long), (high - s["thick"], high), (half * s["taper"], half))
    apron = _tapered(
        "apron",
        "frame",
        (-0.9 * long, 0.9 * long),
        (high - s["thick"] - 0.045, high - s["thick"] + 0.004),
        (0.86 * half * s["taper"], 0.86 * half),
    )
    return [seat, apron]


def _legs(s: Numbers, p: Numbers) -> list[Solid]:
    parts: list[Solid] = []
    spread = np.radians(s["splay"] + p["splay"])
    top = s["seat"] - 0.6 * s["thick"]
    feet: dict[tuple[int, int], np.ndarray] = {}
    for ahead, end in ((1, "front"), (-1, "hind")):
        half = s["width"] / 2 * (1.0 if ahead > 0 else s["taper"])
        for side, name in ((-1, "left"), (1, "right")):
            head = np.array((ahead * (s["depth"] / 2 - 1.4 * s["leg"]), top, side * (half - 1.4 * s["leg"])))
            foot = head + np.array((ahead * np.tan(spread) * top, -top, side * 0.6 * np.tan(spread) * top))
            feet[ahead, side] = foot
            parts.append(beam(f"{name} {end} leg", "frame", head, foot, (s["leg"], s["leg"])))
    fraction = 0.45
    for side, name in ((-1, "left"), (1, "right")):
        height = np.array((0, fraction * top, 0))
        front, hind = feet[1, side] + height, feet[-1, side] + height
        inward = np.array((0, 0, -side * 0.5 * fraction * np.tan(spread) * top))
        parts.append(beam(f"{name} rail", "frame", hind + inward, front + inward, (s["bar"], s["bar"])))
    return parts


def _back(s: Numbers, p: Numbers) -> list[Solid]:
    lean = np.radians(s["recline"] + p["recline"])
    way = np.array((-np.sin(lean), np.cos(lean), 0.0))
    foot = np.array((-s["depth"] / 2 + s["leg"], s["seat"] - 0.5 * s["thick"], 0.0))
    half = s["width"] / 2 * s["taper"] - s["leg"]
    parts: list[Solid] = []
    for side, name in ((-1, "left"), (1, "right")):
        out = np.array((0, 0, side * half))
        parts.append(
            beam(
                f"{name} back post",
                "frame",
                foot + out,
                foot + out + s["back"] * way,
                (s["leg"], 0.8 * s["leg"]),
            )
        )
    # Three panels: thin ones are slats, thick ones close up into a solid back.
    reach = np.clip(s["solid"], 0.15, 1.1) * s["back"] / 6.2
    for place, name in ((0.30, "lower"), (0.58, "middle"), (0.86, "upper")):
        middle = foot + place * s["back"] * way + np.array((0.2 * s["leg"], 0, 0))
        # Where panels close up they overlap: the middle one is thicker, so that no two lie in one plane.
        thick = (0.010 + 0.25 * s["thick"]) * (1.15 if name == "middle" else 1.0)
        parts.append(
            beam(f"{name} back panel", "seat", middle - reach * way, middle + reach * way, (half, thick))
        )
    return parts


def _arms(s: Numbers, p: Numbers) -> list[Solid]:
    """Arms; those of a chair without any lie within its seat."""
    parts: list[Solid] = []
    rise = s["arm"]
    bare = rise < 0.08
    high = s["seat"] - 0.5 * s["thick"] if bare else s["seat"] + rise
    for side, name in ((-1, "left"), (1, "right")):
        out = side * (s["width"] / 2 * (0.5 if bare else 1.0) - 0.3 * s["arm_width"])
        long = s["depth"] / 2 * (0.5 if bare else 0.92)
        wide, thick = s["arm_width"], min(0.45 * s["arm_width"] + 0.006, 0.3 * s["thick"] if bare else 1.0)
        back, front = np.array((-long, high, out)), np.array((long, high, out))
        parts.append(beam(f"{name} arm", "frame", back, front, (0.5 * wide if bare else wide, thick)))
        foot = np.array((0.8 * long, s["seat"] - 0.6 * s["thick"], out))
        head = np.array((0.8 * long, max(high - thick, foot[1] + 0.01), out))
        parts.append(beam(f"{name} arm post", "frame", foot, head, (0.7 * wide, 0.7 * wide)))
    return parts


def _tapered(
    name: str, finish: str, x: tuple[float, float], y: tuple[float, float], half: tuple[float, float]
) -> Solid:
    corners = np.empty((2, 2, 2, 3))
    for end in (0, 1):
        for up in (0, 1):
            for right in (0, 1):
                corners[end, up, right] = (x[end], y[up], (2 * right - 1) * half[end])
    return slab(name, finish, corners)


_SIDES = (("left", 0), ("right", 1))

CATEGORY = Category(
    name="chair",
    kinds={name: dict(zip(_COLUMNS, map(float, values), strict=True)) for name, values in _KINDS.items()},
    poses={"splay": (-2.0, 0.0, 5.0), "recline": (-4.0, 0.0, 12.0)},
    build=_build,
    anchors={
        **{f"{side} seat front": Anchor(part="seat", corner=6 + right) for side, right in _SIDES},
        **{f"{side} seat back": Anchor(part="seat", corner=2 + right) for side, right in _SIDES},
        **{
            f"{side} {end} foot": Anchor(part=f"{side} {end} leg", corner=first + right)
            for side, right in _SIDES
            for end, first in (("front", 6), ("hind", 4))
        },
        **{f"{side} back top": Anchor(part=f"{side} back post", corner=4 + right) for side, right in _SIDES},
        **{
            f"{side} upper panel": Anchor(part="upper back panel", corner=6 + right) for side, right in _SIDES
        },
        **{
            f"{side} lower panel": Anchor(part="lower back panel", corner=2 + right) for side, right in _SIDES
        },
        **{f"{side} arm front": Anchor(part=f"{side} arm", corner=6 + right) for side, right in _SIDES},
        **{f"{side} arm back": Anchor(part=f"{side} arm", corner=2 + right) for side, right in _SIDES},
        **{f"{side} rail front": Anchor(part=f"{side} rail", corner=6 + right) for side, right in _SIDES},
    },
    spread=0.09,
    azimuths=(0.0, 120.0),
    elevations=(0.0, 50.0),
    turns=7.0,
)
