"""Where the light of a scene comes from."""

import math
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
        turn, rise, bright, warm, clear, below = random.random(6).tolist()
        azimuth, height = 2 * math.pi * turn, math.radians(15 + 65 * rise)
        across = math.cos(height)
        towards = np.array((across * math.cos(azimuth), math.sin(height), across * math.sin(azimuth)))
        strength, warmth = 0.25 + 0.6 * bright, -0.12 + 0.3 * warm
        sun = strength * np.array((1 + warmth, 1, 1 - warmth))
        overcast = (1.12 - 0.62 * strength) * (0.75 + 0.25 * clear)
        sky = overcast * np.array((1 - 0.4 * warmth, 1, 1 + 0.5 * warmth))
        return cls(towards=towards, sun=sun, sky=sky, ground=(0.3 + 0.4 * below) * sky)
