"""DistillDIFT's read-out: both maps as large as the images, then a wide window around the best pixel.

After FrankFundel/DistillDIFT:utils/correspondence.py, `compute_correspondence`, which has (y, x) where
this has (x, y).
"""

import torch
from jaxtyping import Float
from torch import Tensor

from homolog.core.coords import Size
from homolog.evaluators.read_out.similarity_peak import peak, soft_argmax, zeroed_beyond
from homolog.evaluators.read_out.upsampled import upsampled_at, upsampled_cosine

WINDOW = 125
"""Side of the window in pixels."""

SHARPNESS = 50.0
"""What similarities are multiplied by before the softmax (`beta`)."""


def transfer_points(
    map0: Float[Tensor, "D h w"],
    map1: Float[Tensor, "D H W"],
    xy0: Float[Tensor, "N 2"],
    *,
    size0: Size,
    size1: Size,
    soft: bool,
) -> Float[Tensor, "N 2"]:
    """Say where points of image 0 are in image 1.

    Args:
        map0: features of image 0, of any resolution.
        map1: features of image 1.
        xy0: (x, y) in pixels of image 0; clamped to it and rounded half to even.
        size0: (height, width) of image 0, as large as the map is made.
        size1: (height, width) of image 1.
        soft: refine by a soft-argmax in the window, beyond which similarities become 0.

    Returns:
        Pixels of image 1; whole numbers unless `soft`.
    """
    last = xy0.new_tensor((size0[1] - 1, size0[0] - 1))
    at = torch.minimum(xy0.clamp_min(0), last).round()
    similarity = upsampled_cosine(upsampled_at(map0, at.to(map0.dtype), size=size0), map1, size=size1)
    if not soft:
        return peak(similarity)
    return soft_argmax(zeroed_beyond(similarity, half=WINDOW // 2), temperature=1 / SHARPNESS)
