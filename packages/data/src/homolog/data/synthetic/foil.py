"""Wings and fins of aeroplanes: a foil, and the flap at its trailing edge."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from homolog.data.synthetic.shells import sheet
from homolog.data.synthetic.solids import Solid

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
            span: 0 at the root, 1 at the tip.
            share: of the chord, 0 at the leading edge.
        """
        wide = self.chord[0] + span * (self.chord[1] - self.chord[0])
        swept = np.tan(np.radians(self.sweep)) * self.long * span
        # The leading edge is round at the tip.
        lead = 0.3 * wide * np.clip((span - 0.94) / 0.06, 0, 1) ** 2
        place = self.root + (self.long * span)[..., None] * self.out
        place[..., 0] -= swept + lead + share * (wide - lead)
        # The thickness of the NACA four-digit series, closed at its trailing edge.
        half = 0.2969 * np.sqrt(share) - share * (
            0.126 + share * (0.3516 - share * (0.2843 - 0.1036 * share))
        )
        fade = np.sqrt(np.clip(1.02 - np.clip((span - 0.9) / 0.1, 0, 1) ** 2, 0, 1))
        return place, 5 * self.thick * half * wide * fade + 0.001 * self.chord[0]

    def point(self, span: float, share: float) -> Vector:
        """Return one point of the middle plane."""
        return self.at(np.array((span,)), np.array((share,)))[0][0]

    def fixed(self, name: str, finish: str) -> Solid:
        """Return what does not move: up to the hinge, near the tip up to the trailing edge."""
        share = np.where(SPAN > 0.93, 1.0, _HINGE)[:, None] * _CHORD
        place, half = self.at(np.broadcast_to(SPAN[:, None], share.shape), share)
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
        along, across = np.meshgrid(np.linspace(*span, FLAP_PLACES), _FLAP_CHORD, indexing="ij")
        place, half = self.at(along, across)
        half *= np.array((0.75, 0.9, 0.95, 1.0, 1.0))
        turn, loose = np.radians(angle), (across > _HINGE)[..., None]
        back, ahead = place[:, 1:2, :1] - place[..., :1], np.array((1.0, 0.0, 0.0))
        place += np.where(loose, back * ((1 - np.cos(turn)) * ahead - np.sin(turn) * self.normal), 0.0)
        aside = (
            np.where(loose, np.cos(turn) * self.normal - np.sin(turn) * ahead, self.normal) * half[..., None]
        )
        return sheet(name, finish, place + aside, place - aside)
