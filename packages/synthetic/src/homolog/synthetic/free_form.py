"""Instances of one mesh: smooth deformations that keep its triangles.

Free-form deformation (Sederberg and Parry 1986): the mesh lies in a box of 4 x 4 x 4 control points, which
are moved; every place moves with them by cubic Bernstein polynomials. Each axis is stretched besides.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64

from homolog.core.errors import ConfigError

_POINTS = 4
_SMALLEST_VOLUME = 0.2
"""What a deformation may leave of a volume: less anywhere would look crushed, less than 0 turned inside out."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FreeForm:
    """One deformation of a box.

    Attributes:
        low: [3] one corner of the box.
        high: [3] the opposite one.
        stretch: [3] factor along each axis.
        shifts: [4 4 4 3] of the control points, in sides of the box.
    """

    low: Float64[np.ndarray, "3"]
    high: Float64[np.ndarray, "3"]
    stretch: Float64[np.ndarray, "3"]
    shifts: Float64[np.ndarray, "4 4 4 3"]

    def __call__(self, points: Float64[np.ndarray, "N 3"]) -> Float64[np.ndarray, "N 3"]:
        """Return where points of the box move to."""
        side = _sides(self.low, self.high)
        share = (points - self.low) / side
        return self.low + (share + _blended(share, self.shifts)) * side * self.stretch

    def volume_factor(self, lattice: int = 9) -> float:
        """Return the smallest factor by which the bend changes a volume; negative where it turns inside out."""
        return _volume_factor(self.shifts, lattice)


@dataclass(frozen=True, slots=True, kw_only=True)
class FreeFormRanges:
    """How much instances of one mesh differ.

    Attributes:
        stretch: standard deviation of the logarithm of each axis' factor.
        bend: standard deviation of the control points' shifts, in sides of the box.
    """

    stretch: float = 0.12
    bend: float = 0.10

    def __post_init__(self) -> None:
        """Refuse what would tear shapes beyond recognition.

        Raises:
            ConfigError: see above.
        """
        if not (0 <= self.stretch <= 0.5 and 0 <= self.bend <= 0.3):
            raise ConfigError(
                f"expected stretch in [0, 0.5] and bend in [0, 0.3], got {self.stretch} and {self.bend}"
            )

    def drawn(
        self, low: Float64[np.ndarray, "3"], high: Float64[np.ndarray, "3"], random: np.random.Generator
    ) -> FreeForm:
        """Draw a deformation of a box; shifts that crush a part of it are made smaller."""
        stretch = np.exp(self.stretch * random.standard_normal(3))
        shifts = self.bend * random.standard_normal((_POINTS,) * 3 + (3,))
        while _volume_factor(shifts, 9) < _SMALLEST_VOLUME:
            shifts = 0.85 * shifts
        return FreeForm(low=low, high=high, stretch=stretch, shifts=shifts)


def _sides(low: np.ndarray, high: np.ndarray) -> np.ndarray:
    """Return the sides of a box, none of them 0: a flat mesh has a thin box."""
    side = high - low
    return np.maximum(side, 1e-6 * side.max())


def _blended(
    share: Float64[np.ndarray, "N 3"], shifts: Float64[np.ndarray, "4 4 4 3"], axis: int | None = None
) -> Float64[np.ndarray, "N 3"]:
    """Return the shifts at places of the unit cube, or their derivative along an axis."""
    x, y, z = ((_slopes if along == axis else _weights)(share[:, along]) for along in range(3))
    halfway = (z @ shifts.transpose(2, 0, 1, 3).reshape(_POINTS, -1)).reshape(-1, _POINTS, _POINTS, 3)
    return np.einsum("ni,nj,nijc->nc", x, y, halfway, optimize=True)


def _weights(t: np.ndarray) -> np.ndarray:
    s = 1 - t
    return np.stack((s**3, 3 * s**2 * t, 3 * s * t**2, t**3), axis=1)


def _slopes(t: np.ndarray) -> np.ndarray:
    s = 1 - t
    return np.stack((-3 * s**2, 3 * s**2 - 6 * s * t, 6 * s * t - 3 * t**2, 3 * t**2), axis=1)


def _volume_factor(shifts: np.ndarray, lattice: int) -> float:
    line = np.linspace(0, 1, lattice)
    share = np.stack(np.meshgrid(line, line, line), axis=-1).reshape(-1, 3)
    slopes = np.stack([_blended(share, shifts, axis) for axis in range(3)], axis=-1)
    return float(np.linalg.det(np.eye(3) + slopes).min())
