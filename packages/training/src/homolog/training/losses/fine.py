"""A match that was refined within a window should be where the truth is."""

from typing import Literal, NamedTuple, get_args

import torch
from jaxtyping import Float
from torch import Tensor

from homolog.core.errors import ConfigError, did_you_mean
from homolog.training.losses.full_precision import in_full_precision
from homolog.training.losses.masked import masked_mean

Weight = Literal["deviation", "none"]

_LEAST = 1e-10
"""Least variance that a root is taken of, as in LoFTR."""


class Expectation(NamedTuple):
    """Where M heatmaps say something is.

    Attributes:
        place: [M 2] the mean.
        deviation: [M] the standard deviation in x plus that in y.
    """

    place: Float[Tensor, "M 2"]
    deviation: Float[Tensor, " M"]


@in_full_precision
def expectation(heatmap: Float[Tensor, "M K"], places: Float[Tensor, "K 2"]) -> Expectation:
    """Return mean and spread of places by their probability (LoFTR, section 3.4).

    Args:
        heatmap: probability of each place, with sum 1.
        places: the places of a window, in any unit; from its centre in half-windows, LoFTR's unit, its
            corners are at 1.
    """
    mean = heatmap @ places
    variance = heatmap @ places.square() - mean.square()
    return Expectation(mean, variance.clamp_min(_LEAST).sqrt().sum(dim=1))


@in_full_precision
def fine_loss(
    place: Float[Tensor, "M 2"],
    truth: Float[Tensor, "M 2"],
    deviation: Float[Tensor, " M"] | None = None,
    *,
    reach: float = 1.0,
    weight: Weight = "deviation",
) -> Float[Tensor, ""]:
    """Average the squared distance of refined places from the true ones (LoFTR, section 3.5).

    Args:
        place: found within a window around each match.
        truth: in the same unit; NaN where unknown.
        deviation: of each heatmap; None weighs all alike.
        reach: matches whose truth is as far as this from the middle of their window, in x or in y, cannot
            be refined and do not count; in the unit of the places, 1 for half-windows.
        weight: `deviation` weighs each match by the inverse of its own, without gradient, so that spreading
            does not pay. LoFTR brings the weights to mean 1 over all matches, this over those that count.

    Returns:
        In the squared unit of the places; 0 if no match counts.

    Raises:
        ConfigError: no such weight, or a reach that is not above 0.
    """
    if weight not in get_args(Weight):
        raise ConfigError(f"fine loss: no weight named {weight}{did_you_mean(weight, get_args(Weight))}")
    if reach <= 0:
        raise ConfigError(f"fine loss: expected a reach above 0, got {reach}")
    # NaN is not below anything.
    counts = truth.abs().amax(dim=1) < reach
    squared = (place - torch.where(counts[:, None], truth, place.detach())).square().sum(dim=1)
    if deviation is None or weight == "none":
        return masked_mean(squared[None], counts[None])[0]
    inverse = torch.where(counts, 1 / deviation.detach().clamp_min(_LEAST), 0)
    return masked_mean(squared[None], inverse[None])[0]
