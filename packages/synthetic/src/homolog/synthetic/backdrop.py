"""What is behind the objects: made-up scenery, or crops of a folder of photos."""

from functools import lru_cache
from pathlib import Path

import numpy as np
from jaxtyping import Float32
from PIL import Image as PILImage

from homolog.core.coords import Size
from homolog.core.errors import DataError
from homolog.synthetic.compiled import Real, compiled
from homolog.synthetic.look import vivid

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
        fields,
        random.integers(len(fields), size=2),
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
    column, share = np.empty((2, width), np.int64), np.empty((2, width), np.float32)
    for layer in range(2):
        for x in range(width):
            u = x * zoom[layer] + start[layer, 1]
            column[layer, x], share[layer, x] = int(u) & period, u - int(u)
    line = np.empty(period + 2, np.float32)
    for y in range(height):
        down = (y + 0.5) / height
        # The horizon is a straight line: it cuts a row in two.
        cut = int(((horizon - down) / tilt + 0.5) * width) if abs(tilt) * width > abs(horizon - down) else -1
        cut = min(max(cut, 0), width)
        left = 1 if down - (0.5 * tilt if 0 < cut < width else 0) > horizon else 0
        for layer, first, last in ((left, 0, cut), (1 - left, cut, width)):
            # A row that is not cut is of one kind.
            layer = left if cut in (0, width) else layer
            if first < last:
                _blend_rows(fields[which[layer]], y * zoom[layer] + start[layer, 0], line)
                _fill_row(
                    line, column[layer], share[layer], np.float32(0.25 * contrast[layer]), y, first, last,
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
    share: np.ndarray,
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
        value = line[j] + share[x] * (line[j + np.uint64(1)] - line[j])
        mix = min(max(half + strength * value, zero), one)
        gain = bright + brighter * np.float32(x)
        picture[y, x, 0] = gain * (base[0] + mix * change[0])
        picture[y, x, 1] = gain * (base[1] + mix * change[1])
        picture[y, x, 2] = gain * (base[2] + mix * change[2])
