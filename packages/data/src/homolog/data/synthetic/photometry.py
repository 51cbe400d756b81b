"""What a camera and a file do to a picture: exposure, colour, blur, noise, compression."""

import io
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float32, Float64, UInt8
from PIL import Image as PILImage

from homolog.data.synthetic.compiled import Real, compiled

_LOW = np.uint64(0x7F)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Photometry:
    """One camera and its settings. Nothing here moves a pixel: labels stay true.

    Attributes:
        gain: [3] factor on each colour.
        gamma: exponent after it.
        vignette: how much darker the corners are.
        blur: standard deviation in pixels; 0 for none.
        noise: standard deviation, in units of white.
        seed: of the noise.
        quality: of the JPEG file, or None for no compression.
    """

    gain: Float64[np.ndarray, "3"]
    gamma: float
    vignette: float
    blur: float
    noise: float
    seed: int
    quality: int | None

    @classmethod
    def drawn(cls, random: np.random.Generator) -> "Photometry":
        """Draw settings: most pictures are good, some are blurred, noisy or badly compressed."""
        blur, hard = random.uniform(0.3, 1.1), random.uniform(0.0, 0.05)
        return cls(
            gain=np.exp(random.normal(0, 0.12) + random.normal(0, 0.05, 3)),
            gamma=float(np.exp(random.normal(0, 0.12))),
            vignette=float(random.uniform(0, 0.35)),
            blur=float(blur) if random.random() < 0.3 else 0.0,
            noise=float(hard) if random.random() < 0.4 else 0.006,
            seed=int(random.integers(2**62)),
            quality=int(random.integers(40, 96)) if random.random() < 0.5 else None,
        )

    def develop(self, picture: Float32[np.ndarray, "H W 3"]) -> UInt8[np.ndarray, "H W 3"]:
        """Return the picture as this camera takes and stores it.

        Args:
            picture: RGB in [0, 1].
        """
        exposed = _blurred(picture, self.blur) if self.blur > 0 else picture
        taken = np.empty(picture.shape, np.uint8)
        curve = (np.linspace(0, 1, 1025) ** self.gamma * 255).astype(np.float32)
        _expose(exposed, self.gain, curve, self.vignette, self.noise * 255, np.uint64(self.seed), taken)
        return taken if self.quality is None else _compressed(taken, self.quality)


def _blurred(picture: np.ndarray, sigma: float) -> np.ndarray:
    reach = int(np.ceil(2.5 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    weights = (weights / weights.sum()).astype(np.float32)
    halfway, blurred = np.empty_like(picture), np.empty_like(picture)
    _smooth_rows(picture, weights, halfway)
    _smooth_rows(halfway.transpose(1, 0, 2), weights, blurred.transpose(1, 0, 2))
    return blurred


def _compressed(picture: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    PILImage.fromarray(picture).save(file, "JPEG", quality=quality)
    return np.asarray(PILImage.open(file))


@compiled
def _smooth_rows(picture: np.ndarray, weights: np.ndarray, smooth: np.ndarray) -> None:
    height, width, channels = picture.shape
    reach = len(weights) // 2
    for y in range(height):
        for x in range(width):
            for c in range(channels):
                value = np.float32(0)
                for k in range(-reach, reach + 1):
                    value += weights[k + reach] * picture[y, min(max(x + k, 0), width - 1), c]
                smooth[y, x, c] = value


@compiled
def _expose(
    picture: np.ndarray,
    gain: np.ndarray,
    curve: np.ndarray,
    vignette: Real,
    noise: Real,
    seed: np.uint64,
    taken: np.ndarray,
) -> None:
    height, width, _ = picture.shape
    counter = seed
    spread = noise * 2 / 128
    for y in range(height):
        down = (2 * y + 1) / height - 1
        for x in range(width):
            across = (2 * x + 1) / width - 1
            dim = 1024 * (1 - 0.5 * vignette * (across * across + down * down))
            # SplitMix64 (Steele et al. 2014): a number for every counter, whatever the order.
            counter += np.uint64(0x9E3779B97F4A7C15)
            bits = (counter ^ (counter >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            bits ^= bits >> np.uint64(31)
            for c in range(3):
                # Three uniform numbers of 7 bits add up to nearly a normal one, of variance 3 / 12.
                total = (bits & _LOW) + ((bits >> np.uint64(7)) & _LOW) + ((bits >> np.uint64(14)) & _LOW)
                bits >>= np.uint64(21)
                level = min(max(picture[y, x, c] * gain[c] * dim, 0.0), 1024.0)
                value = curve[int(level + 0.5)] + spread * (np.float64(total) - 190.5)
                taken[y, x, c] = np.uint8(min(max(value + 0.5, 0.0), 255.0))
