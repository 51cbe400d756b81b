"""Confidence should be high where the error is small, relative to the other cells of its image."""

from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.core.errors import ConfigError, did_you_mean
from homolog.training.losses.full_precision import in_full_precision
from homolog.training.losses.masked import masked_mean

Extrema = Literal["masked", "literal"]
Penalty = Literal["doubt", "trust", "none"]


@in_full_precision
def uncertainty_loss(
    confidence: Float[Tensor, "B h w"],
    error: Float[Tensor, "B h w"],
    mask: Bool[Tensor, "B h w"],
    *,
    lambda_conf: float = 0.1,
    penalty: Penalty = "doubt",
    extrema: Extrema = "masked",
    detach_error: bool = True,
) -> Float[Tensor, " B"]:
    """Compare a confidence with one minus the error, brought to [0, 1] within the mask of its image.

    The VGGT-prior matcher: equation 7 is the error (`map_distance.distance_map`), 8 its normalisation by
    minimum and maximum, 9 the L1 distance and a sum weighted by lambda. Both sums are divided by the area
    of the mask, so that neither grows with the object.

    Args:
        confidence: predicted, in [0, 1].
        error: at each cell, in any unit; anything outside of the mask.
        mask: the foreground.
        lambda_conf: weight of the penalty; below 1 it moves the pace, not the optimum.
        penalty: on `doubt`, the mean of 1 - confidence, which keeps the confidence from falling to 0
            everywhere; on `trust`, the mean of confidence; or `none`.
        extrema: `masked` takes minimum and maximum over the mask. `literal` takes them over mask x error,
            as printed, where the zeros outside make the minimum 0.
        detach_error: the error is a target and learns nothing; otherwise it could grow to agree with a low
            confidence.

    Returns:
        One number for each pair; 0 where the mask is empty. Where all errors are equal, the target is 1.

    Raises:
        ConfigError: no such option.
    """
    _check("extrema", extrema, get_args(Extrema))
    _check("penalty", penalty, get_args(Penalty))
    target = 1 - _normalised(error.detach() if detach_error else error, mask, extrema)
    loss = masked_mean((confidence - target).abs(), mask)
    if penalty == "none":
        return loss
    return loss + lambda_conf * masked_mean(1 - confidence if penalty == "doubt" else confidence, mask)


def _normalised(error: Tensor, mask: Tensor, extrema: Extrema) -> Tensor:
    inside = torch.where(mask, error, 0)
    if extrema == "literal":
        low, high = inside.amin(dim=(1, 2)), inside.amax(dim=(1, 2))
    else:
        low = torch.where(mask, error, torch.inf).amin(dim=(1, 2))
        high = torch.where(mask, error, -torch.inf).amax(dim=(1, 2))
    span = torch.where(high > low, high - low, 1)
    # An empty mask has infinite extrema.
    low = torch.where(low.isfinite(), low, 0)
    return (inside - low[:, None, None]) / span[:, None, None]


def _check(what: str, value: str, options: tuple[str, ...]) -> None:
    if value not in options:
        raise ConfigError(f"uncertainty loss: no {what} named {value}{did_you_mean(value, options)}")
