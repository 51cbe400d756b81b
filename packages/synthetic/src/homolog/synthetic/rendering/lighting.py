"""The light of a scene, and what is behind its objects: a sky, or a procedural background."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float32, Float64
from scipy.ndimage import binary_dilation

from homolog.core.coords import Size
from homolog.synthetic.compiled import Real, compiled
from homolog.synthetic.rendering.look import vivid
from homolog.synthetic.rendering.view import View
from homolog.synthetic.rendering.viewpoint import Viewpoint


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Light:
    """Light from the sun, the sky and the ground; colours are RGB, and 1 makes a white surface fully white.

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
        """Return the sky behind a scene: RGB in [0, 1].

        Pixels that do not show it and have no neighbours that do have the colour of the zenith.
        """
        seen = np.empty((*view.size, 3), np.float32)
        seen[:] = self.zenith
        rows, columns = np.nonzero(binary_dilation(view.raster.face < 0, np.ones((3, 3))))
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


_FIELD = 512


def drawn_backdrop(random: np.random.Generator, size: Size) -> Float32[np.ndarray, "H W 3"]:
    """Return a procedural background of a size in pixels: RGB in [0, 1].

    It is a wall, or ground and sky, each of two colours mixed by clouds or grain.
    """
    fields = _fields()
    colours = np.stack([vivid(random, low=0.2) for _ in range(4)])
    if random.random() < 0.5:
        colours[0] = random.uniform(0.6, 1.0) * np.array((0.75, 0.87, 1.0))
        colours[1] = random.uniform(0.8, 1.0) * np.ones(3)
    horizon = random.uniform(0.25, 0.75) if random.random() < 0.6 else 2.0
    picture = np.empty((*size, 3), np.float32)
    _fill(
        fields,
        random.integers(len(fields), size=2),
        random.integers(_FIELD, size=(2, 2)),
        # Texture keeps its place in the picture at any resolution.
        np.exp(random.uniform(np.log(0.5), np.log(3.0), size=2)) * 256 / max(size),
        random.uniform(0.4, 2.2, size=2),
        horizon,
        random.normal(0, 0.06),
        random.uniform(-0.3, 0.3, size=2),
        # The brightest corner is still within [0, 1].
        (colours / 1.3).astype(np.float32),
        picture,
    )
    return picture


@lru_cache(maxsize=1)
def _fields() -> Float32[np.ndarray, "4 512 512"]:
    """Return periodic noise with the spectra of clouds to gravel; cached, since filtering takes long."""
    random = np.random.Generator(np.random.PCG64(20240608))
    frequency = np.hypot(np.fft.fftfreq(_FIELD)[:, None], np.fft.rfftfreq(_FIELD)[None]) * _FIELD
    fields: list[np.ndarray] = []
    for slope in (1.9, 1.5, 1.1, 0.7):
        spectrum = np.fft.rfft2(random.standard_normal((_FIELD, _FIELD))) / np.maximum(frequency, 2) ** slope
        field = np.fft.irfft2(spectrum, (_FIELD, _FIELD))
        fields.append((field / field.std()).astype(np.float32))
    return np.stack(fields)


@compiled
def _fill(
    fields: np.ndarray,
    which: np.ndarray,
    start: np.ndarray,
    zoom: np.ndarray,
    contrast: np.ndarray,
    horizon: Real,
    tilt: Real,
    shade: np.ndarray,
    colours: np.ndarray,
    picture: np.ndarray,
) -> None:
    height, width, _ = picture.shape
    period = fields.shape[1] - 1
    column, fraction = np.empty((2, width), np.int64), np.empty((2, width), np.float32)
    for layer in range(2):
        for x in range(width):
            u = x * zoom[layer] + start[layer, 1]
            column[layer, x], fraction[layer, x] = int(u) & period, u - int(u)
    line = np.empty(period + 2, np.float32)
    for y in range(height):
        down = (y + 0.5) / height
        # The horizon is a straight line: it cuts a row in two.
        cut = int(((horizon - down) / tilt + 0.5) * width) if abs(tilt) * width > abs(horizon - down) else -1
        cut = min(max(cut, 0), width)
        left = 1 if down - (0.5 * tilt if 0 < cut < width else 0) > horizon else 0
        for layer, first, last in ((left, 0, cut), (1 - left, cut, width)):
            # A row that is not cut is all ground or all sky.
            layer = left if cut in (0, width) else layer
            if first < last:
                _blend_rows(fields[which[layer]], y * zoom[layer] + start[layer, 0], line)
                _fill_row(
                    line, column[layer], fraction[layer], np.float32(0.25 * contrast[layer]), y, first, last,
                    shade, colours[2 * layer], colours[2 * layer + 1] - colours[2 * layer], picture,
                )  # fmt: skip


@compiled
def _blend_rows(field: np.ndarray, v: float, line: np.ndarray) -> None:
    """Interpolate a periodic field between two rows; one more column than a period."""
    period = len(field) - 1
    upper, lower, s = field[int(v) & period], field[(int(v) + 1) & period], np.float32(v - int(v))
    for j in range(len(upper)):
        line[j] = upper[j] + s * (lower[j] - upper[j])
    line[len(upper)] = line[0]


@compiled
def _fill_row(
    line: np.ndarray,
    column: np.ndarray,
    fraction: np.ndarray,
    strength: Real,
    y: int,
    first: int,
    last: int,
    shade: np.ndarray,
    base: np.ndarray,
    change: np.ndarray,
    picture: np.ndarray,
) -> None:
    height, width, _ = picture.shape
    zero, half, one = np.float32(0), np.float32(0.5), np.float32(1)
    bright = np.float32(1 - 0.5 * shade[0] + shade[1] * ((y + 0.5) / height - 0.5) + 0.5 * shade[0] / width)
    brighter = np.float32(shade[0] / width)
    for x in range(first, last):
        j = np.uint64(column[x])
        value = line[j] + fraction[x] * (line[j + np.uint64(1)] - line[j])
        mix = min(max(half + strength * value, zero), one)
        gain = bright + brighter * np.float32(x)
        picture[y, x, 0] = gain * (base[0] + mix * change[0])
        picture[y, x, 1] = gain * (base[1] + mix * change[1])
        picture[y, x, 2] = gain * (base[2] + mix * change[2])
