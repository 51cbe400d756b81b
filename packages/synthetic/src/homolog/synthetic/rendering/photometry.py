"""From painted colours to the image of a sample: exposure, colour, blur, noise, compression."""

import io
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, Float64, UInt8
from PIL import Image as PILImage
from PIL.JpegImagePlugin import JpegImageFile
from torch import Tensor

from homolog.core.image import Image
from homolog.synthetic.compiled import Real, compiled

_LEVELS = np.linspace(0, 1, 1025)
_NOISE = 1 << 16
_BLOCK = 1 << 12
"""This many neighbouring colours of a row get neighbouring numbers of the noise table."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Photometry:
    """The settings of one camera. None of them moves a pixel, so labels stay exact.

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
        """Return a picture, RGB in [0, 1], as this camera records and stores it."""
        taken = np.empty(picture.shape, np.uint8)
        curve = (_LEVELS**self.gamma * 255).astype(np.float32)
        _develop(
            np.ascontiguousarray(picture).reshape(len(picture), -1),
            _gaussian(self.blur),
            self.gain.astype(np.float32),
            curve,
            self.vignette,
            _noise_table(),
            self.noise * 255,
            np.uint64(self.seed),
            taken.reshape(len(picture), -1),
        )
        return taken if self.quality is None else _compressed(taken, self.quality)


def _gaussian(sigma: float) -> Float32[np.ndarray, " K"]:
    if sigma <= 0:
        return np.ones(1, np.float32)
    reach = int(np.ceil(2.5 * sigma))
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / sigma) ** 2)
    return (weights / weights.sum()).astype(np.float32)


@lru_cache(maxsize=1)
def _noise_table() -> Float32[np.ndarray, " N"]:
    # Part of the definition of every picture, hence a seed of its own.
    return np.random.Generator(np.random.PCG64(20240609)).standard_normal(_NOISE, np.float32)


def _compressed(picture: np.ndarray, quality: int) -> np.ndarray:
    file = io.BytesIO()
    PILImage.fromarray(picture).save(file, "JPEG", quality=quality)
    file.seek(0)
    # Not PIL.Image.open, which looks for the format first.
    return np.asarray(JpegImageFile(file))


@compiled
def _develop(
    picture: np.ndarray,
    weights: np.ndarray,
    gain: np.ndarray,
    curve: np.ndarray,
    vignette: Real,
    table: np.ndarray,
    noise: Real,
    seed: np.uint64,
    taken: np.ndarray,
) -> None:
    """Take one row after the other, colours side by side: blur, then expose, then add noise."""
    height, length = picture.shape
    reach, counter = len(weights) // 2, seed
    padded, row = np.empty(length + 6 * reach, np.float32), np.empty(length, np.float32)
    middle, edge = np.empty(length, np.float32), np.empty(length, np.float32)
    for i in range(length):
        across = (2 * (i // 3) + 1) / (length // 3) - 1
        middle[i] = 1024 * gain[i % 3] * (1 - 0.5 * vignette * across * across)
        edge[i] = 512 * gain[i % 3] * vignette
    for y in range(height):
        if reach == 0:
            row[:] = picture[y]
        else:
            _blur_row(picture, y, weights, padded, row)
        down = np.float32((2 * y + 1) / height - 1)
        _expose_row(row, middle, edge, down * down, curve)
        for start in range(0, length, _BLOCK):
            # SplitMix64 (Steele et al. 2014): a number for every counter, whatever the order.
            counter += np.uint64(0x9E3779B97F4A7C15)
            bits = (counter ^ (counter >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
            bits = (bits ^ (bits >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
            bits ^= bits >> np.uint64(31)
            first = np.int64(bits % np.uint64(_NOISE - _BLOCK))
            end = min(start + _BLOCK, length)
            _store(row[start:end], table[first : first + end - start], np.float32(noise), taken[y, start:end])


@compiled
def _blur_row(picture: np.ndarray, y: int, weights: np.ndarray, padded: np.ndarray, row: np.ndarray) -> None:
    height, length = picture.shape
    reach = len(weights) // 2
    inner = padded[3 * reach : 3 * reach + length]
    inner[:] = 0
    for k in range(-reach, reach + 1):
        _add(weights[k + reach], picture[min(max(y + k, 0), height - 1)], inner)
    for m in range(reach):
        for c in range(3):
            padded[3 * m + c], padded[3 * (reach + m) + length + c] = inner[c], inner[length - 3 + c]
    row[:] = 0
    for k in range(2 * reach + 1):
        _add(weights[k], padded[3 * k : 3 * k + length], row)


@compiled
def _add(weight: Real, values: np.ndarray, total: np.ndarray) -> None:
    for i in range(len(total)):
        total[i] += weight * values[i]


@compiled
def _expose_row(row: np.ndarray, middle: np.ndarray, edge: np.ndarray, down: Real, curve: np.ndarray) -> None:
    for i in range(len(row)):
        level = row[i] * (middle[i] - edge[i] * down)
        row[i] = min(max(level, np.float32(0)), np.float32(1024))
    for i in range(len(row)):
        row[i] = curve[np.uint32(row[i] + np.float32(0.5))]


@compiled
def _store(row: np.ndarray, numbers: np.ndarray, noise: Real, taken: np.ndarray) -> None:
    for i in range(len(row)):
        value = row[i] + noise * numbers[i] + np.float32(0.5)
        taken[i] = np.uint8(np.int32(min(max(value, np.float32(0)), np.float32(255))))


def taken(
    colours: Float32[np.ndarray, "H W 3"], photometry: Photometry | None, *, frame: int = 0
) -> UInt8[np.ndarray, "H W 3"]:
    """Return the 8-bit picture that a camera takes of RGB in [0, 1]; without settings it is only rounded.

    Between the frames of a video only the noise differs.
    """
    if photometry is None:
        return np.rint(colours * np.float32(255)).astype(np.uint8)
    return replace(photometry, seed=photometry.seed + frame).develop(colours)


def as_sample_image(picture: UInt8[np.ndarray, "H W 3"], name: str) -> Image:
    """Return a picture as the image of a sample."""
    planes = np.empty((3, *picture.shape[:2]), np.float32)
    _to_planes(picture, planes)
    return Image(pixels=torch.from_numpy(planes), name=name)


def mask_box(mask: Bool[np.ndarray, "H W"]) -> Float[Tensor, "4"] | None:
    """Return the box (x, y, width, height) around a mask's pixels, with their full extent; None if there are none."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return None
    (top, bottom), (left, right) = rows[[0, -1]].tolist(), columns[[0, -1]].tolist()
    return torch.tensor((left - 0.5, top - 0.5, right - left + 1, bottom - top + 1))


@compiled
def _to_planes(picture: np.ndarray, planes: np.ndarray) -> None:
    height, width, _ = picture.shape
    levels = np.empty(256, np.float32)
    for level in range(256):
        levels[level] = np.float32(level) / np.float32(255)
    for y in range(height):
        for x in range(width):
            planes[0, y, x] = levels[picture[y, x, 0]]
            planes[1, y, x] = levels[picture[y, x, 1]]
            planes[2, y, x] = levels[picture[y, x, 2]]
