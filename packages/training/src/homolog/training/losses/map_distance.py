"""How different two maps of one image are, where it counts: what matching and reconstruction have in common."""

from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.core.errors import ConfigError, did_you_mean
from homolog.training.losses.masked import area_share, length, masked_mean

Weighting = Literal["detached", "active", "none"]
"""What a confidence does to the distances it multiplies.

`detached`: it weighs them and learns nothing. `active`: it learns too, and could cheat by falling to 0, so
it needs a target of its own (the uncertainty loss). `none`: every cell weighs the same.
"""


def distance_map(one: Float[Tensor, "B C h w"], other: Float[Tensor, "B C h w"]) -> Float[Tensor, "B h w"]:
    """Return the norm, over channels and not squared, of the difference at each cell.

    This is the error that equations 5 to 7 of the VGGT-prior matcher have in common. Its root is rounded by
    1e-6 at 0, where it would have no gradient.
    """
    return length(one - other, dim=1)


def mean_distance(
    one: Float[Tensor, "B C h w"],
    other: Float[Tensor, "B C h w"],
    mask: Bool[Tensor, "B H W"] | Float[Tensor, "B H W"],
    confidence: Float[Tensor, "B H W"] | None,
    weighting: Weighting,
) -> Float[Tensor, " B"]:
    """Add up mask x confidence x distance and divide by the area of the mask.

    Args:
        one: maps or pixels.
        other: maps or pixels of the same image.
        mask: what counts, at any resolution; each cell gets its share.
        confidence: as fine as the mask, or None for 1 everywhere.
        weighting: what the confidence does.

    Returns:
        One number for each pair; 0 for a pair whose mask is empty.

    Raises:
        ConfigError: no such weighting.
    """
    if weighting not in get_args(Weighting):
        raise ConfigError(f"no weighting named {weighting}{did_you_mean(weighting, get_args(Weighting))}")
    size = int(one.shape[2]), int(one.shape[3])
    share = area_share(mask, size).to(one.dtype)
    difference = torch.where(share[:, None] > 0, one - other, 0)
    distance = length(difference, dim=1)
    if confidence is None or weighting == "none":
        return masked_mean(distance, share)
    trust = confidence.detach() if weighting == "detached" else confidence
    # Within a cell, only the confidence of the pixels that count matters.
    trusted = area_share(torch.where(mask > 0, mask.to(trust.dtype) * trust, 0), size)
    return masked_mean(distance * trusted / torch.where(share > 0, share, 1), share)
