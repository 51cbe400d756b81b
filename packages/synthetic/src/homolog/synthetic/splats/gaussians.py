"""A scene of 3D Gaussians."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from homolog.core.errors import ShapeError
from homolog.synthetic.splats.harmonics import DEGREES, shade


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Gaussians:
    """N Gaussians in the world, every number as it acts (after exp, sigmoid and normalisation).

    Attributes:
        means: [N 3] centres.
        scales: [N 3] standard deviations along their own axes.
        rotations: [N 4] unit quaternions (w, x, y, z) from their own axes to the world's.
        opacity: [N] in [0, 1], at the centre.
        harmonics: [N K 3] colour as spherical harmonics, K = (degree + 1)^2 of degree 0 to 3; see
            `homolog.synthetic.splats.harmonics`.
    """

    means: Float32[np.ndarray, "N 3"]
    scales: Float32[np.ndarray, "N 3"]
    rotations: Float32[np.ndarray, "N 4"]
    opacity: Float32[np.ndarray, " N"]
    harmonics: Float32[np.ndarray, "N K 3"]

    def __post_init__(self) -> None:
        """Refuse parts of different lengths and harmonics of no degree.

        Raises:
            ShapeError: see above.
        """
        parts = (self.means, self.scales, self.rotations, self.opacity, self.harmonics)
        if len({len(part) for part in parts}) != 1:
            raise ShapeError(f"Gaussians: expected equal lengths, got {[len(part) for part in parts]}")
        if self.harmonics.shape[1] not in DEGREES:
            raise ShapeError(
                f"Gaussians: expected 1, 4, 9 or 16 harmonics (degree 0 to 3), got {self.harmonics.shape[1]}"
            )

    def __len__(self) -> int:
        """Return the number of Gaussians."""
        return len(self.means)

    @property
    def degree(self) -> int:
        """Of the spherical harmonics, 0 to 3."""
        return DEGREES[self.harmonics.shape[1]]

    def take(self, index: np.ndarray) -> "Gaussians":
        """Return some of the Gaussians, by index or by mask."""
        return Gaussians(
            means=self.means[index],
            scales=self.scales[index],
            rotations=self.rotations[index],
            opacity=self.opacity[index],
            harmonics=self.harmonics[index],
        )

    def joined(self, other: "Gaussians") -> "Gaussians":
        """Return these Gaussians followed by others of the same degree.

        Raises:
            ShapeError: another degree.
        """
        if other.degree != self.degree:
            raise ShapeError(f"expected Gaussians of degree {self.degree} to join, got {other.degree}")
        return Gaussians(
            means=np.concatenate((self.means, other.means)),
            scales=np.concatenate((self.scales, other.scales)),
            rotations=np.concatenate((self.rotations, other.rotations)),
            opacity=np.concatenate((self.opacity, other.opacity)),
            harmonics=np.concatenate((self.harmonics, other.harmonics)),
        )

    def axes(self) -> Float64[np.ndarray, "N 3 3"]:
        """Return the rotation matrices; column k is the direction of the k-th scale."""
        w, x, y, z = self.rotations.astype(np.float64).T
        rows = (
            (1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)),
            (2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)),
            (2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)),
        )
        return np.stack([np.stack(row, -1) for row in rows], 1)

    def normals(self) -> Float64[np.ndarray, "N 3"]:
        """Return the axis of the smallest scale in the world; its sign means nothing."""
        return self.axes()[np.arange(len(self)), :, self.scales.argmin(axis=1)]

    def colours(self, centre: Float64[np.ndarray, "3"]) -> Float32[np.ndarray, "N 3"]:
        """Return the RGB of each Gaussian seen from a point; not below 0, but it may exceed 1."""
        directions = self.means.astype(np.float64) - centre
        directions /= np.sqrt((directions**2).sum(1, keepdims=True)) + 1e-12
        return shade(self.harmonics, directions.astype(np.float32))
