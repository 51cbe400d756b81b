"""What is behind the objects: made-up scenery, or crops of a folder of photos."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from PIL import Image as PILImage

from homolog.core.coords import Size
from homolog.core.errors import DataError
from homolog.data.synthetic.compiled import Real, compiled
from homolog.data.synthetic.look import vivid

_FIELD = 512
_ENDINGS = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"))


def drawn_backdrop(random: np.random.Generator, size: Size) -> Float32[np.ndarray, "H W 3"]:
    """Return made-up scenery: a wall, or ground and sky, each of two colours mixed by clouds or grain.

    Args:
        random: decides everything.
        size: (height, width) in pixels.

    Returns:
        RGB in [0, 1].
    """
    fields = _fields()
    colours = np.stack([vivid(random, low=0.2) for _ in range(4)])
    if random.random() < 0.5:
        colours[0] = random.uniform(0.6, 1.0) * np.array((0.75, 0.87, 1.0))
        colours[1] = random.uniform(0.8, 1.0) * np.ones(3)
    horizon = random.uniform(0.25, 0.75) if random.random() < 0.6 else 2.0
    picture = np.empty((*size, 3), np.float32)
    _fill(
        fields[random.integers(len(fields), size=2)],
        random.integers(_FIELD, size=(2, 2)),
        # Texture keeps its place in the picture, whatever the number of pixels.
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


class PhotoFolder:
    """Photos to be cropped as backgrounds."""

    def __init__(self, root: str | Path) -> None:
        """List the photos below a folder.

        Raises:
            DataError: there is none.
        """
        folder = Path(root)
        self._files = tuple(sorted(path for path in folder.rglob("*") if path.suffix.lower() in _ENDINGS))
        if not self._files:
            raise DataError(f"expected photos below {folder}, found none; give a folder of jpg or png files")

    def crop(self, random: np.random.Generator, size: Size) -> Float32[np.ndarray, "H W 3"]:
        """Return a random crop of a random photo, resized to `size`: RGB in [0, 1].

        Raises:
            DataError: the photo cannot be read.
        """
        path = self._files[int(random.integers(len(self._files)))]
        share, across, down = random.uniform(0.4, 1.0), random.random(), random.random()
        try:
            with PILImage.open(path) as photo:
                width, height = photo.size
                scale = share * min(width / size[1], height / size[0])
                w, h = scale * size[1], scale * size[0]
                x, y = across * (width - w), down * (height - h)
                cut = photo.convert("RGB").resize(
                    (size[1], size[0]), PILImage.Resampling.BILINEAR, (x, y, x + w, y + h)
                )
        except OSError as error:
            raise DataError(f"{path}: expected a photo, got {error}; remove it from the folder") from error
        return np.asarray(cut, np.float32) / np.float32(255)


@lru_cache(maxsize=1)
def _fields() -> Float32[np.ndarray, "4 512 512"]:
    """Return periodic noise with the spectra of clouds to gravel: made once, since filtering takes long."""
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
    for y in range(height):
        down = (y + 0.5) / height
        # The horizon is a straight line: it cuts a row in two.
        cut = int(((horizon - down) / tilt + 0.5) * width) if abs(tilt) * width > abs(horizon - down) else -1
        cut = min(max(cut, 0), width)
        if cut in (0, width):
            _fill_row(
                fields,
                start,
                zoom,
                contrast,
                1 if down > horizon else 0,
                y,
                0,
                width,
                shade,
                colours,
                picture,
            )
            continue
        left = 1 if down - 0.5 * tilt > horizon else 0
        _fill_row(fields, start, zoom, contrast, left, y, 0, cut, shade, colours, picture)
        _fill_row(fields, start, zoom, contrast, 1 - left, y, cut, width, shade, colours, picture)


@compiled
def _fill_row(
    fields: np.ndarray,
    start: np.ndarray,
    zoom: np.ndarray,
    contrast: np.ndarray,
    layer: Real,
    y: Real,
    first: Real,
    last: Real,
    shade: np.ndarray,
    colours: np.ndarray,
    picture: np.ndarray,
) -> None:
    height, width, _ = picture.shape
    period = fields.shape[1] - 1
    v = y * zoom[layer] + start[layer, 0]
    i, s = int(v), np.float32(v - int(v))
    upper, lower = fields[layer, i & period], fields[layer, (i + 1) & period]
    strength = np.float32(0.25 * contrast[layer])
    c0, c1, c2 = colours[2 * layer]
    d0, d1, d2 = colours[2 * layer + 1] - colours[2 * layer]
    for x in range(first, last):
        u = x * zoom[layer] + start[layer, 1]
        j = int(u)
        t = np.float32(u - j)
        j, j1 = j & period, (j + 1) & period
        top, bottom = upper[j] + t * (upper[j1] - upper[j]), lower[j] + t * (lower[j1] - lower[j])
        mix = min(max(np.float32(0.5) + strength * (top + s * (bottom - top)), np.float32(0)), np.float32(1))
        gain = np.float32(1 + shade[0] * ((x + 0.5) / width - 0.5) + shade[1] * ((y + 0.5) / height - 0.5))
        picture[y, x, 0] = gain * (c0 + mix * d0)
        picture[y, x, 1] = gain * (c1 + mix * d1)
        picture[y, x, 2] = gain * (c2 + mix * d2)
