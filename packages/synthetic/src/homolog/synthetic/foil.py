"""Wings and fins of aeroplanes: a foil, and the flap at its trailing edge."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from homolog.synthetic.compiled import Real, compiled
from homolog.synthetic.shells import sheet
from homolog.synthetic.solids import Solid

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
"""Places on the span and on the chord of what does not move, and of a flap (there on its own span)."""


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

    def at(self, span: Grid, share: Grid) -> tuple[Grid, Grid]:
        """Return points of the middle plane, and half of the thickness there.

        Args:
            span: [R C] 0 at the root, 1 at the tip.
            share: [R C] of the chord, 0 at the leading edge.
        """
        place, half = np.empty((*span.shape, 3)), np.empty(span.shape)
        slope = np.tan(np.radians(self.sweep))
        _lay_out(span, share, self.root, self.out, self.long, self.chord, slope, self.thick, place, half)
        return place, half

    def point(self, span: float, share: float) -> Vector:
        """Return one point of the middle plane."""
        return self.at(np.array(((span,),)), np.array(((share,),)))[0][0, 0]

    def fixed(self, name: str, finish: str) -> Solid:
        """Return what does not move: up to the hinge, near the tip up to the trailing edge."""
        place, half = self.at(*_FIXED)
        aside = half[..., None] * self.normal
        return sheet(name, finish, place + aside, place - aside)

    def flap(self, name: str, finish: str, span: tuple[float, float], angle: float) -> Solid:
        """Return what turns about the hinge; its front is hidden in the foil.

        Args:
            name: of the part.
            finish: what it is made of.
            span: where it begins and ends; 0.93 at most.
            angle: against the normal, degrees.
        """
        place, half = self.at(span[0] + (span[1] - span[0]) * _FLAP[0], _FLAP[1])
        front, back = np.empty_like(place), np.empty_like(place)
        _turn(place, half, _THIN, _FLAP_CHORD > _HINGE, self.normal, np.radians(angle), front, back)
        return sheet(name, finish, front, back)


@compiled
def _lay_out(
    span: np.ndarray,
    share: np.ndarray,
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
            along, part = span[r, c], share[r, c]
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
    """Turn what is loose about the hinge, the second column, and find both sides."""
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
