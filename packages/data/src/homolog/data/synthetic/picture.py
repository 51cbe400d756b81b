"""From painted colours to the image of a sample."""

from dataclasses import replace

import numpy as np
import torch
from jaxtyping import Float32, UInt8

from homolog.core.image import Image
from homolog.data.synthetic.photometry import Photometry


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
    planes = np.ascontiguousarray(picture.transpose(2, 0, 1))
    return Image(pixels=torch.from_numpy(np.divide(planes, 255, dtype=np.float32)), name=name)
