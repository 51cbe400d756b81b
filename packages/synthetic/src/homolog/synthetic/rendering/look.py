"""The appearance of an instance: colours and patterns on canonical coordinates.

A pattern is a function of the position on the mean instance, so that it follows the surface through every
shape and pose. Each part of an object has a finish; a look describes that finish on this instance.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from jaxtyping import Float32, Float64

from homolog.core.errors import ConfigError, did_you_mean
from homolog.synthetic.compiled import clipped
from homolog.synthetic.rendering.scene import Topology


class Pattern(IntEnum):
    """How the two colours of a finish are distributed over its surface."""

    plain = 0
    stripes = 1
    spots = 2
    patches = 3
    checks = 4
    mottled = 5


COLUMNS = 24
"""Numbers that describe the finish of one part, see `row`."""


_FURS = (
    (0.08, 0.07, 0.07), (0.32, 0.19, 0.11), (0.55, 0.36, 0.20), (0.78, 0.60, 0.38), (0.92, 0.88, 0.82),
    (0.45, 0.44, 0.44), (0.70, 0.38, 0.16),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Look:
    """The look of one instance.

    Attributes:
        rows: [P 24] one line of numbers for each part, as `row` makes them.
        images: textures, as `homolog.synthetic.rendering.photos.pyramid` makes them.
        image: [P] index of the texture that replaces a part's colours and pattern, -1 for none; the row's
            frequency is its repeats per canonical unit. Empty if no part has one.
    """

    rows: Float64[np.ndarray, "P 24"]
    images: tuple[Float32[np.ndarray, "M 3"], ...] = ()
    image: tuple[int, ...] = ()


def row(
    first: np.ndarray,
    second: np.ndarray | None = None,
    *,
    pattern: Pattern = Pattern.plain,
    frequency: float = 6.0,
    fraction: float = 0.5,
    warp: float = 0.0,
    under: np.ndarray | None = None,
    gloss: float = 0.0,
    shine: float = 20.0,
    grain: float = 0.08,
    grain_frequency: float = 30.0,
    direction: np.ndarray | None = None,
    offset: np.ndarray | None = None,
) -> Float64[np.ndarray, "24"]:
    """Describe one finish.

    Args:
        first: [3] RGB of the ground colour.
        second: [3] RGB of the pattern.
        pattern: how the two are distributed.
        frequency: of the pattern, per canonical unit (the object's longest side).
        fraction: of the surface that has the second colour.
        warp: how irregular the pattern is, in periods.
        under: [3] RGB of surfaces that look down on the mean instance, or None.
        gloss: strength of the highlight.
        shine: how narrow the highlight is.
        grain: contrast of fine noise.
        grain_frequency: of that noise.
        direction: [3] across stripes.
        offset: [3] shifts the pattern or the image.
    """
    line = np.empty(COLUMNS)
    line[0:3], line[3:6] = first, first if second is None else second
    line[6:9] = first if under is None else under
    line[9:18] = (
        pattern, frequency, fraction, warp, 0 if under is None else 1, gloss, shine, grain, grain_frequency,
    )  # fmt: skip
    line[18:21] = (1, 0, 0) if direction is None else direction / math.hypot(*direction.tolist())
    line[21:24] = 0 if offset is None else offset
    return line


def draw_look(topology: Topology, random: np.random.Generator) -> Look:
    """Draw colours and patterns for every finish of a topology; parts of one finish look alike.

    Raises:
        ConfigError: a part has an unknown finish.
    """
    finishes: dict[str, np.ndarray] = {}
    for finish in topology.finishes:
        if finish not in finishes:
            if finish not in _FINISHES:
                raise ConfigError(f"no finish named {finish}{did_you_mean(finish, _FINISHES)}")
            finishes[finish] = _FINISHES[finish](random)
    return Look(rows=np.stack([finishes[finish] for finish in topology.finishes]))


def vivid(random: np.random.Generator, *, low: float = 0.12, high: float = 0.95) -> np.ndarray:
    """Draw any colour; strong ones are as likely as pale ones."""
    bright, pure, turn = random.random(3).tolist()
    value, strength, hue = low + (high - low) * bright, (0.95 * pure) ** 1.3, 6 * turn
    shifted = (hue % 6, (hue + 4) % 6, (hue + 2) % 6)
    return np.array([value * (1 - strength * (1 - min(max(abs(at - 3) - 1, 0), 1))) for at in shifted])


def _coat(random: np.random.Generator) -> np.ndarray:
    """Fur, feathers or scales: mostly the colours of animals."""
    natural = random.random() < 0.75
    first, second = _fur(random, natural), _fur(random, natural)
    while np.abs(first - second).max() < 0.22:
        second = vivid(random) if not natural else random.uniform(0.03, 0.95) * np.array((1.0, 0.95, 0.88))
    pattern = _pattern(random, (0.16, 0.24, 0.18, 0.24, 0.0, 0.18))
    under = clipped(0.55 * first + 0.45 * random.uniform(0.6, 1.0), 0, 1) if random.random() < 0.45 else None
    return _patterned(random, first, second, pattern, under=under, gloss=random.uniform(0, 0.12))


def _fur(random: np.random.Generator, natural: bool) -> np.ndarray:
    if not natural:
        return vivid(random)
    tone = np.array(_FURS[int(random.integers(len(_FURS)))])
    return clipped(tone * random.uniform(0.8, 1.2) + random.normal(0, 0.02, 3), 0.02, 0.97)


def _pattern(random: np.random.Generator, fractions: tuple[float, ...]) -> Pattern:
    """Draw a pattern with these probabilities; much faster than `Generator.choice`."""
    level, total = random.random(), 0.0
    for pattern, fraction in zip(Pattern, fractions, strict=True):
        total += fraction
        if level < total:
            return pattern
    return Pattern.mottled


def _paint(random: np.random.Generator) -> np.ndarray:
    """Lacquer: any colour, often with a second one."""
    pattern = _pattern(random, (0.45, 0.15, 0.08, 0.12, 0.10, 0.10))
    gloss = random.uniform(0.15, 0.6)
    return _patterned(
        random, vivid(random), vivid(random), pattern, gloss=gloss, shine=random.uniform(20, 80)
    )


def _cloth(random: np.random.Generator) -> np.ndarray:
    pattern = _pattern(random, (0.25, 0.25, 0.15, 0.05, 0.2, 0.1))
    return _patterned(random, vivid(random), vivid(random), pattern, gloss=0.0)


def _wood(random: np.random.Generator) -> np.ndarray:
    tone = random.uniform(0.25, 1.0) * np.array((0.75, 0.52, 0.32)) + random.normal(0, 0.02, 3)
    if random.random() < 0.35:
        tone = vivid(random)
    return row(
        clipped(tone, 0.03, 1), clipped(0.72 * tone, 0.02, 1), pattern=Pattern.stripes, frequency=random.uniform(10, 25),
        warp=random.uniform(0.4, 1.2), fraction=0.4, gloss=random.uniform(0, 0.25), direction=random.normal(size=3),
        offset=random.uniform(0, 32, 3), grain=0.05,
    )  # fmt: skip


def _frame(random: np.random.Generator) -> np.ndarray:
    return (_wood, _wood, _metal, _accent)[int(random.integers(4))](random)


def _seat(random: np.random.Generator) -> np.ndarray:
    return (_wood, _cloth, _cloth, _accent)[int(random.integers(4))](random)


def _metal(random: np.random.Generator) -> np.ndarray:
    tone = random.uniform(0.3, 0.8) * np.ones(3) + random.normal(0, 0.02, 3)
    return row(clipped(tone, 0, 1), gloss=random.uniform(0.4, 0.9), shine=random.uniform(20, 60), grain=0.04)


def _dark(random: np.random.Generator) -> np.ndarray:
    return row(random.uniform(0.03, 0.16) * np.ones(3), gloss=random.uniform(0, 0.3), grain=0.1)


def _eye(random: np.random.Generator) -> np.ndarray:
    return row(random.uniform(0.01, 0.10, 3), gloss=0.9, shine=60.0, grain=0.0)


def _glass(random: np.random.Generator) -> np.ndarray:
    tone = random.uniform(0.08, 0.35) * np.array((0.85, 0.95, 1.05))
    return row(tone, gloss=0.9, shine=50.0, grain=0.02)


def _screen(random: np.random.Generator) -> np.ndarray:
    if random.random() < 0.5:
        return row(random.uniform(0.02, 0.10) * np.ones(3), gloss=0.4, shine=40.0, grain=0.0)
    return _patterned(random, vivid(random), vivid(random), Pattern(int(random.integers(1, 6))), gloss=0.2)


def _hoof(random: np.random.Generator) -> np.ndarray:
    return row(random.uniform(0.08, 0.5) * np.array((1.0, 0.9, 0.8)), gloss=0.1, grain=0.1)


def _horn(random: np.random.Generator) -> np.ndarray:
    return row(random.uniform(0.25, 0.9) * np.array((1.0, 0.92, 0.8)), gloss=0.2, grain=0.12)


def _vessel(random: np.random.Generator) -> np.ndarray:
    """Glass or plastic: dark green, brown, clear or coloured, shiny."""
    tones = np.array(
        ((0.10, 0.26, 0.14), (0.32, 0.17, 0.07), (0.70, 0.80, 0.82), (0.92, 0.92, 0.90), (0.10, 0.25, 0.55))
    )
    tone = (
        tones[random.integers(len(tones))] * random.uniform(0.7, 1.15)
        if random.random() < 0.6
        else vivid(random)
    )
    return row(
        clipped(tone, 0.02, 1), gloss=random.uniform(0.4, 0.9), shine=random.uniform(30, 80), grain=0.02
    )


def _accent(random: np.random.Generator) -> np.ndarray:
    """One plain, strong colour."""
    return row(vivid(random), gloss=random.uniform(0, 0.4), grain=0.08)


def _beak(random: np.random.Generator) -> np.ndarray:
    tone = np.array((0.95, 0.65, 0.15)) if random.random() < 0.6 else np.array((0.25, 0.22, 0.2))
    return row(clipped(tone * random.uniform(0.7, 1.05), 0, 1), gloss=0.25, grain=0.06)


def _leaf(random: np.random.Generator) -> np.ndarray:
    first = clipped(
        np.array((0.22, 0.48, 0.16)) * random.uniform(0.5, 1.5) + random.normal(0, 0.04, 3), 0.02, 1
    )
    second = clipped(first * random.uniform(1.2, 1.8) + np.array((0.1, 0.05, 0)), 0, 1)
    pattern = Pattern(int(random.choice((0, 1, 3, 5))))
    return _patterned(random, first, second, pattern, gloss=random.uniform(0, 0.3))


def _soil(random: np.random.Generator) -> np.ndarray:
    return row(random.uniform(0.10, 0.3) * np.array((1.0, 0.75, 0.55)), grain=0.35, grain_frequency=45.0)


def _patterned(
    random: np.random.Generator,
    first: np.ndarray,
    second: np.ndarray,
    pattern: Pattern,
    *,
    gloss: float,
    shine: float = 20.0,
    under: np.ndarray | None = None,
) -> np.ndarray:
    slowest, fastest = _FREQUENCIES[pattern]
    direction = np.array((1.0, 0.25, 0.0)) + 0.5 * random.normal(size=3)
    warped = pattern != Pattern.checks
    # All at once: a call for one number takes as long as a call for ten.
    often, fraction, *bent, grain, fine = random.random(4 + warped).tolist()
    return row(
        first, second, pattern=pattern, frequency=slowest + (fastest - slowest) * often, fraction=0.35 + 0.27 * fraction,
        warp=0.1 + 0.8 * bent[0] if warped else 0.0, under=under, gloss=gloss, shine=shine,
        grain=0.03 + 0.19 * grain, grain_frequency=20 + 40 * fine, direction=direction, offset=32 * random.random(3),
    )  # fmt: skip


_FREQUENCIES = {
    Pattern.plain: (4, 8),
    Pattern.stripes: (5, 16),
    Pattern.spots: (7, 20),
    Pattern.patches: (3, 8),
    Pattern.checks: (4, 14),
    Pattern.mottled: (3, 9),
}
"""Lowest and highest frequency of each pattern."""

_FINISHES: Mapping[str, Callable[[np.random.Generator], np.ndarray]] = {
    "accent": _accent,
    "beak": _beak,
    "cap": _accent,
    "cloth": _cloth,
    "coat": _coat,
    "dark": _dark,
    "eye": _eye,
    "glass": _glass,
    "hoof": _hoof,
    "horn": _horn,
    "frame": _frame,
    "label": _cloth,
    "leaf": _leaf,
    "metal": _metal,
    "paint": _paint,
    "plumage": _coat,
    "screen": _screen,
    "seat": _seat,
    "soil": _soil,
    "vessel": _vessel,
    "wood": _wood,
}


_PATTERNS = (0.0, 0.12, 0.16, 0.30, 0.14, 0.28)
"""Probability of each `Pattern`; never plain."""


def detailed_look(
    topology: Topology, random: np.random.Generator, *, unit: float, detail: float, calm: float = 0.0
) -> Look:
    """Draw a look for something large (floors, crates, posters): each part has its own pattern and grain.

    `unit` is the length of a canonical unit in the world, `detail` the average period of the patterns there,
    and `calm` how much greyer the colours are, in [0, 1].
    """
    return Look(rows=np.stack([_detailed(random, unit / detail, calm) for _ in topology.part_names]))


def _detailed(random: np.random.Generator, frequency: float, calm: float) -> Float64[np.ndarray, "24"]:
    # A dark and a light colour, so that every pattern has contrast.
    tones = [vivid(random, low=0.16, high=0.45), vivid(random, low=0.58, high=0.98)]
    tones = [tone + calm * (tone.max() - tone) for tone in tones]
    first, second = tones if random.random() < 0.5 else tones[::-1]
    pattern = Pattern(int(random.choice(6, p=_PATTERNS)))
    return row(
        first,
        second,
        pattern=pattern,
        frequency=frequency * float(np.exp(random.uniform(-0.6, 0.6))),
        fraction=random.uniform(0.35, 0.62),
        warp=0.0 if pattern == Pattern.checks else random.uniform(0.3, 1.0),
        gloss=random.uniform(0, 0.15),
        grain=random.uniform(0.4, 0.75),
        grain_frequency=frequency * random.uniform(4.0, 8.0),
        direction=random.normal(size=3),
        offset=random.uniform(0, 32, 3),
    )
