"""From painted colours to what a sample holds: its image, and the box of what it is about."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Float32, UInt8
from torch import Tensor

from homolog.core.image import Image
from homolog.synthetic.compiled import compiled
from homolog.synthetic.photometry import Photometry


def taken(
    colours: Float32[np.ndarray, "H W 3"], photometry: Photometry | None, *, frame: int = 0
) -> UInt8[np.ndarray, "H W 3"]:
    """Return what a camera makes of colours in [0, 1].

    Args:
        colours: RGB.
        photometry: the camera's settings; None rounds to 8 bits and does nothing else.
        frame: of a video, whose noise differs from frame to frame and nothing else does.
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
    """Return x, y, width, height of a mask's pixels, their full extent; None where there are none."""
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
