"""A folder of photos as backgrounds and as textures.

Textures are projected along the canonical axes, so that they follow the surface as patterns do.
"""

from pathlib import Path

import numpy as np
from jaxtyping import Float32
from PIL import Image as PILImage

from homolog.core.coords import Size
from homolog.core.errors import DataError, ShapeError
from homolog.synthetic.rendering.look import Look
from homolog.synthetic.rendering.scene import Topology
from homolog.synthetic.rendering.shading import LEVELS, SIDE

_ENDINGS = frozenset((".jpg", ".jpeg", ".png", ".webp", ".bmp", ".tif", ".tiff"))


class PhotoFolder:
    """A folder of photos to crop."""

    def __init__(self, root: str | Path) -> None:
        """List the photos below a folder.

        Raises:
            DataError: there are none.
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
        fraction, across, down = random.uniform(0.4, 1.0), random.random(), random.random()
        try:
            with PILImage.open(path) as photo:
                width, height = photo.size
                scale = fraction * min(width / size[1], height / size[0])
                w, h = scale * size[1], scale * size[0]
                x, y = across * (width - w), down * (height - h)
                cut = photo.convert("RGB").resize(
                    (size[1], size[0]), PILImage.Resampling.BILINEAR, (x, y, x + w, y + h)
                )
        except OSError as error:
            raise DataError(f"{path}: expected a photo, got {error}; remove it from the folder") from error
        return np.asarray(cut, np.float32) / np.float32(255)


_PLAIN = frozenset(("eye", "glass", "hoof", "beak"))
"""Finishes that get no texture."""


def printed(look: Look, topology: Topology, photos: PhotoFolder, random: np.random.Generator) -> Look:
    """Replace the colours of some finishes (two of three) of a look by crops of photos; light and grain stay.

    Parts of one finish get the same image.
    """
    rows, images, image_of = look.rows.copy(), list(look.images), dict[str, int]()
    candidates = sorted(set(topology.finishes) - _PLAIN)
    kept = int(random.integers(len(candidates))) if candidates else 0
    for place, finish in enumerate(candidates):
        if place != kept and random.random() > 2 / 3:
            continue
        image_of[finish] = len(images)
        images.append(pyramid(photos.crop(random, (SIDE, SIDE))))
        frequency, offset = random.uniform(1.0, 3.0), random.uniform(0, 2, 3)
        for part in (part for part, other in enumerate(topology.finishes) if other == finish):
            rows[part, 10], rows[part, 13], rows[part, 21:24] = frequency, 0, offset
    before = look.image or (-1,) * len(rows)
    image = tuple(image_of.get(finish, old) for finish, old in zip(topology.finishes, before, strict=True))
    return Look(rows=rows, images=tuple(images), image=image)


def pyramid(image: Float32[np.ndarray, "H W 3"]) -> Float32[np.ndarray, "M 3"]:
    """Return an image as a mip map, as `Look.images` holds it: its pixels, then those of its halved copies.

    It is RGB in [0, 1], square, with sides of `homolog.synthetic.rendering.shading.SIDE` pixels.

    Raises:
        ShapeError: another size.
    """
    if image.shape != (SIDE, SIDE, 3):
        raise ShapeError(f"expected a texture {[SIDE, SIDE, 3]}, got {list(image.shape)}; resize it first")
    levels = [image]
    for _ in range(LEVELS):
        half = levels[-1].shape[0] // 2
        levels.append(levels[-1].reshape(half, 2, half, 2, 3).mean(axis=(1, 3), dtype=np.float32))
    return np.concatenate([level.reshape(-1, 3) for level in levels])
