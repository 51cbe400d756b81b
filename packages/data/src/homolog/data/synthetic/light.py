"""Where the light of a scene comes from."""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Light:
    """A sun, a sky and the ground's reflection; colours are RGB, 1 is what lights white up fully.

    Attributes:
        towards: [3] unit vector from the scene to the sun; y is up.
        sun: [3] colour of the sun.
        sky: [3] colour from above.
        ground: [3] colour from below.
    """

    towards: Float64[np.ndarray, "3"]
    sun: Float64[np.ndarray, "3"]
    sky: Float64[np.ndarray, "3"]
    ground: Float64[np.ndarray, "3"]

    @classmethod
    def drawn(cls, random: np.random.Generator) -> "Light":
        """Draw a light: noon to evening, clear to overcast, warm to cold."""
        azimuth, height = random.uniform(0, 2 * np.pi), np.radians(random.uniform(15, 80))
        towards = np.array(
            (np.cos(height) * np.cos(azimuth), np.sin(height), np.cos(height) * np.sin(azimuth))
        )
        strength = random.uniform(0.25, 0.85)
        warmth = random.uniform(-0.12, 0.18)
        sun = strength * np.array((1 + warmth, 1, 1 - warmth))
        sky = (
            (1.12 - 0.62 * strength)
            * random.uniform(0.75, 1.0)
            * np.array((1 - 0.4 * warmth, 1, 1 + 0.5 * warmth))
        )
        return cls(towards=towards, sun=sun, sky=sky, ground=random.uniform(0.3, 0.7) * sky)
