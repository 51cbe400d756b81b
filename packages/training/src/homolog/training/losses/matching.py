"""An image that was warped onto another should look like it, to features that know what things are."""

import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.training.losses.full_precision import in_full_precision
from homolog.training.losses.map_distance import Weighting, mean_distance


@in_full_precision
def matching_loss(
    warped: Float[Tensor, "B C h w"],
    real: Float[Tensor, "B C h w"],
    mask: Bool[Tensor, "B H W"] | Float[Tensor, "B H W"],
    confidence: Float[Tensor, "B H W"] | None = None,
    *,
    weighting: Weighting = "detached",
    normalise: bool = False,
) -> Float[Tensor, " B"]:
    """Average the feature distance between a real image and another that was warped onto it.

    The VGGT-prior matcher, equation 5. With a field that lives on the target, `field.warp(source)` is the
    warped image; encode it and the target with the same frozen encoder, the first with gradient. Feature maps
    are coarser than images: pixels are warped, features compared, and masks and confidences brought to the
    cells of the maps by area. A warp outside of the source is black.

    Args:
        warped: features of the warped image.
        real: features of the image that the field lives on; usually without gradient.
        mask: the foreground of that image.
        confidence: of the field; None means 1.
        weighting: what the confidence does. The paper multiplies by it and names no target before its last
            stage: `detached` until then, `active` from there on, beside the uncertainty loss.
        normalise: compare directions of features; the paper compares them as they are.

    Returns:
        One number for each pair, in the unit of the features, however large the mask; 0 where it is empty.

    Raises:
        ConfigError: no such weighting.
    """
    if normalise:
        # A blank image may have features of length 0.
        warped, real = (F.normalize(each, dim=1, eps=1e-6) for each in (warped, real))
    return mean_distance(warped, real, mask, confidence, weighting)
