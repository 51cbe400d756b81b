"""Surfaces painted with images: projected along the canonical axes, so that they follow the surface as patterns do."""

import numpy as np
from jaxtyping import Float32

from homolog.core.errors import ShapeError
from homolog.synthetic.backdrop import PhotoFolder
from homolog.synthetic.look import Look
from homolog.synthetic.shading import LEVELS, SIDE
from homolog.synthetic.surface import Topology

_PLAIN = frozenset(("eye", "glass", "hoof", "beak"))
"""Finishes that nobody prints on."""


def printed(look: Look, topology: Topology, photos: PhotoFolder, random: np.random.Generator) -> Look:
    """Replace the colours of some finishes of a look by crops of photos; light and grain stay.

    Args:
        look: of an instance of the topology.
        topology: parts of one finish get the same image.
        photos: to be cropped.
        random: decides which finishes (two of three) and how.
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
    """Return an image in the form that `Look.images` holds: its pixels, then those of its halved copies.

    Args:
        image: RGB in [0, 1], square, as large as `homolog.synthetic.shading.SIDE` says.

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
