"""Cells that match should be sure of it, and those that do not should not."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from homolog.core.errors import ConfigError
from homolog.training.ground_truth_matches import IGNORED
from homolog.training.losses.full_precision import in_full_precision
from homolog.training.losses.masked import masked_mean

_DOUBT = 1e-6
"""Least probability that is left to the contrary, as in LoFTR: at 0 its logarithm has no value."""


@in_full_precision
def coarse_focal_loss(
    similarity: Float[Tensor, "B N M"],
    matches0: Int[Tensor, "B N"],
    matches1: Int[Tensor, "B M"],
    *,
    alpha: float = 0.25,
    gamma: float = 2.0,
    positive_weight: float = 1.0,
    negative_weight: float = 0.0,
) -> Float[Tensor, " B"]:
    """Compute the focal loss of the dual softmax of all pairs of cells (LoFTR, Sun et al. 2021, section 3.5).

    The confidence p of a pair is its softmax over the row times that over the column. A match costs
    -alpha (1 - p)^gamma log p, any other pair -alpha p^gamma log(1 - p); the mean of either kind is weighted
    and added. It is made from logarithms, so that no p is rounded to 0.

    Args:
        similarity: of all pairs, divided by the temperature already.
        matches0: for each cell of image 0 the cell of image 1 that it matches, `UNMATCHED` or `IGNORED`, as
            `homolog.training.coarse_truth` finds them.
        matches1: the same the other way round.
        alpha: LoFTR's 0.25 for both kinds.
        gamma: how little easy pairs count; 0 makes it cross-entropy.
        positive_weight: of the matches.
        negative_weight: of the other pairs. LoFTR trains its dual softmax without them, as each match lowers
            the rest of its row and column. A pair whose cells are both ignored is not among them.

    Returns:
        One number for each pair of images; 0 for one without matches, unless negatives count.

    Raises:
        ConfigError: numbers out of range.
    """
    if not 0 < alpha <= 1 or gamma < 0 or positive_weight < 0 or negative_weight < 0:
        raise ConfigError(
            "coarse focal loss: expected alpha in (0, 1], gamma and weights of at least 0, got "
            f"{alpha}, {gamma}, {positive_weight} and {negative_weight}"
        )
    if 0 in similarity.shape[1:]:
        return similarity.flatten(1).sum(dim=1)
    log_p = similarity.log_softmax(dim=2) + similarity.log_softmax(dim=1)
    matched = matches0 >= 0
    partner = torch.where(matched, matches0, 0)
    log_true = log_p.gather(2, partner[..., None])[..., 0]
    positive = -alpha * _complement(log_true) ** gamma * log_true
    loss = positive_weight * masked_mean(positive, matched)
    if not negative_weight:
        return loss
    other = (matches0 != IGNORED)[:, :, None] | (matches1 != IGNORED)[:, None]
    true = torch.zeros_like(other).scatter(2, partner[..., None], matched[..., None])
    negative = -alpha * (gamma * log_p).exp() * _complement(log_p).log()
    return loss + negative_weight * masked_mean(negative, other & ~true)


def _complement(log_p: Tensor) -> Tensor:
    """Return 1 - p, at least a little, so that its powers and logarithm have gradients."""
    return -torch.expm1(log_p.clamp(max=-_DOUBT))
