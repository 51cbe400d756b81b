"""An image that was warped onto another and back again should be itself."""

from typing import Literal, get_args

from jaxtyping import Bool, Float
from torch import Tensor

from homolog.core.dense import DenseField
from homolog.core.errors import ConfigError, did_you_mean
from homolog.training.losses.full_precision import in_full_precision
from homolog.training.losses.map_distance import Weighting, mean_distance

Through = Literal["images", "fields"]
"""What makes the round trip: the image, warped twice, or the places, followed twice and looked up once."""


@in_full_precision
def reconstruction_loss(
    image: Float[Tensor, "B C H W"],
    outward: DenseField,
    homeward: DenseField,
    mask: Bool[Tensor, "B H W"] | Float[Tensor, "B H W"],
    *,
    weighting: Weighting = "detached",
    through: Through = "images",
) -> Float[Tensor, " B"]:
    """Average the difference between an image and its reconstruction through both fields of a pair.

    The VGGT-prior matcher, equation 6. For the reconstruction of image 0, `outward` is the field that lives
    on image 0 and `homeward` the one that lives on image 1: the second brings image 0 onto image 1, the
    first brings that back. Exchange them for image 1.

    Args:
        image: pixels or maps of the image that `outward` lives on, as large as its grid.
        outward: lives on the image and points into the other.
        homeward: lives on the other image and points back.
        mask: the foreground of the image.
        weighting: what the confidence of `outward` does, as in the matching loss.
        through: `images` is the paper's, and blurs twice; `fields` does not blur, so it is smaller.

    Returns:
        One number for each pair: the norm over channels, its mean over the mask; 0 where that is empty.

    Raises:
        ConfigError: no such option.
    """
    if through not in get_args(Through):
        raise ConfigError(f"no way through {through}{did_you_mean(through, get_args(Through))}")
    if through == "images":
        again = outward.warp(homeward.warp(image))
    else:
        again = outward.compose(homeward).warp(image)
    return mean_distance(again, image, mask, outward.confidence, weighting)
