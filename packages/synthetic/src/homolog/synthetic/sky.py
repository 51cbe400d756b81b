"""What is seen above the walls: infinitely far, the same from every place, other in every direction."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64

from homolog.synthetic.view import View
from homolog.synthetic.viewpoint import Viewpoint


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Sky:
    """A gradient from the horizon to the zenith, with soft clouds.

    Attributes:
        horizon: [3] RGB.
        zenith: [3] RGB.
        cloud: [3] RGB.
        waves: [W 3] frequency along x and z, and phase, of the waves that clouds are made of.
    """

    horizon: Float64[np.ndarray, "3"]
    zenith: Float64[np.ndarray, "3"]
    cloud: Float64[np.ndarray, "3"]
    waves: Float64[np.ndarray, "W 3"]

    @classmethod
    def drawn(cls, random: np.random.Generator) -> "Sky":
        """Draw a sky, from clear to overcast, from noon to dusk."""
        bright = random.uniform(0.55, 1.0)
        warm = random.uniform(0.0, 0.25)
        length = np.exp(random.uniform(np.log(1.0), np.log(9.0), 8))
        angle, phase = random.uniform(0, 2 * np.pi, (2, 8))
        return cls(
            horizon=bright * np.array((0.85 + warm, 0.90, 0.97 - warm)).clip(0, 1),
            zenith=bright * np.array((0.25, 0.45, 0.85)) * random.uniform(0.6, 1.0),
            cloud=bright * np.full(3, random.uniform(0.8, 1.0)),
            waves=np.stack((length * np.cos(angle), length * np.sin(angle), phase), axis=1),
        )

    def behind(self, view: View) -> Float32[np.ndarray, "H W 3"]:
        """Return what is seen of it behind a scene: RGB in [0, 1].

        Pixels that show none of it, nor have neighbours that do, have the colour of the zenith.
        """
        seen = np.empty((*view.size, 3), np.float32)
        seen[:] = self.zenith
        rows, columns = np.nonzero(_grown(view.raster.face < 0))
        if len(rows):
            seen[rows, columns] = self._colours(view.viewpoint, rows, columns)
        return seen

    def _colours(self, viewpoint: Viewpoint, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        turn = viewpoint.R.T @ np.linalg.inv(viewpoint.K)
        x, y, z = (
            (turn[c, 0] * columns + turn[c, 1] * rows + turn[c, 2]).astype(np.float32) for c in range(3)
        )
        up = np.maximum(y / np.sqrt(x * x + y * y + z * z), np.float32(0.02))
        # Clouds lie on a plane overhead, bent so that they do not crowd at the horizon.
        scale = 1 / (np.hypot(x, z) + 3 * np.abs(y) + np.float32(1e-6))
        u, v = x * scale, z * scale
        density = np.zeros_like(up)
        for a, b, phase in self.waves.astype(np.float32):
            density += np.sin(a * u + b * v + phase) / np.float32(len(self.waves) ** 0.5)
        cover = np.clip(density, 0, 1)[:, None]
        rise = np.sqrt(up)[:, None]
        clear = self.horizon * (1 - rise) + self.zenith * rise
        return (clear * (1 - cover) + self.cloud * cover).astype(np.float32)


def _grown(mask: np.ndarray) -> np.ndarray:
    grown = mask.copy()
    grown[1:] |= mask[:-1]
    grown[:-1] |= mask[1:]
    grown[:, 1:] |= grown[:, :-1].copy()
    grown[:, :-1] |= grown[:, 1:].copy()
    return grown
