"""Losses of semi-dense matchers: coarse focal and fine (LoFTR), and alignment with 3D Gaussians (MatchGS)."""

from typing import Literal, NamedTuple, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from homolog.core.errors import ConfigError, one_of
from homolog.training.ground_truth import IGNORED
from homolog.training.losses.common import in_full_precision, masked_mean

_DOUBT = 1e-6
"""Minimum of 1 - p, as in LoFTR, so that its logarithm is finite."""


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
    """Return the focal loss of the dual softmax over all pairs of cells (LoFTR, Sun et al. 2021, section 3.5).

    The confidence p of a pair is its softmax over the row times its softmax over the column. A match costs
    -alpha (1 - p)^gamma log p, any other pair -alpha p^gamma log(1 - p); the weighted means of both kinds are
    added. It is computed from logarithms, so that no p is rounded to 0.

    Args:
        similarity: similarity of all pairs of cells, already divided by the temperature.
        matches0: for each cell of image 0 the matching cell of image 1, `UNMATCHED` or `IGNORED`; see
            `homolog.training.ground_truth.coarse_truth`.
        matches1: the same for image 1.
        alpha: 0.25 for both kinds in LoFTR.
        gamma: higher values reduce the weight of easy pairs; 0 is cross-entropy.
        positive_weight: weight of the matches.
        negative_weight: weight of the other pairs. LoFTR trains its dual softmax without them, because each match
            already lowers the rest of its row and column. A pair whose cells are both ignored does not count.

    Returns:
        One number per image pair; 0 without matches, unless negatives count.

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
    """Return 1 - p, at least `_DOUBT`, so that its powers and logarithm have gradients."""
    return -torch.expm1(log_p.clamp(max=-_DOUBT))


Weight = Literal["deviation", "none"]

_LEAST = 1e-10
"""Minimum variance before the square root, as in LoFTR."""


class Expectation(NamedTuple):
    """Mean and spread of M heatmaps.

    Attributes:
        place: [M 2] mean position.
        deviation: [M] standard deviation in x plus that in y.
    """

    place: Float[Tensor, "M 2"]
    deviation: Float[Tensor, " M"]


@in_full_precision
def expectation(heatmap: Float[Tensor, "M K"], places: Float[Tensor, "K 2"]) -> Expectation:
    """Return mean and spread of positions, weighted by probability (LoFTR, section 3.4).

    Args:
        heatmap: probability of each position, with sum 1.
        places: positions in a window, in any unit. In LoFTR's unit, half-windows from the centre, the corners are at
            1.
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
    """Return the mean squared distance of refined positions from the true ones (LoFTR, section 3.5).

    Args:
        place: refined position within a window around each match.
        truth: true position in the same unit; NaN where unknown.
        deviation: spread of each heatmap; None weighs all matches alike.
        reach: matches whose true position is at least this far from the centre of the window, in x or in y, cannot
            be refined and do not count; in the unit of the positions, 1 for half-windows.
        weight: `deviation` weighs each match by the inverse of its spread, without gradient, so that a larger
            spread does not lower the loss. LoFTR normalises the weights to mean 1 over all matches; here it is
            over those that count.

    Returns:
        The loss in the squared unit of the positions; 0 if no match counts.

    Raises:
        ConfigError: an unknown weight, or a reach that is not above 0.
    """
    one_of("weight", weight, get_args(Weight))
    if reach <= 0:
        raise ConfigError(f"fine loss: expected a reach above 0, got {reach}")
    # NaN compares as False.
    counts = truth.abs().amax(dim=1) < reach
    squared = (place - torch.where(counts[:, None], truth, place.detach())).square().sum(dim=1)
    if deviation is None or weight == "none":
        return masked_mean(squared[None], counts[None])[0]
    inverse = torch.where(counts, 1 / deviation.detach().clamp_min(_LEAST), 0)
    return masked_mean(squared[None], inverse[None])[0]


Positives = Literal["mean", "any"]


@in_full_precision
def alignment_loss(
    features: Float[Tensor, "N D"],
    encodings: Float[Tensor, "N D"],
    gaussian_id: Int[Tensor, " N"],
    *,
    temperature: float = 0.07,
    positives: Positives = "mean",
) -> Float[Tensor, ""]:
    """Return symmetric InfoNCE between coarse cells and the Gaussians that they show (MatchGS).

    Several cells, of one view or of both, may show the same Gaussian. All of them are positives, never negatives of
    each other.

    Args:
        features: features of N coarse cells of all views of a scene; normalised here.
        encodings: row i is the encoded Gaussian that cell i shows; normalised here.
        gaussian_id: number of that Gaussian; cells with a negative number show none and do not count.
        temperature: divides the cosines; 0.07 is a common choice, the paper states none.
        positives: with several positives, `mean` is the mean of their log probabilities (with k equal positives the
            loss cannot fall below log k); `any` is the log of the sum of their probabilities.

    Returns:
        Mean over cells and both directions; 0 if no cell shows a Gaussian.

    Raises:
        ConfigError: unknown positives, or a temperature that is not above 0.
    """
    one_of("positives", positives, get_args(Positives))
    if temperature <= 0:
        raise ConfigError(f"alignment loss: expected a temperature above 0, got {temperature}")
    shown = gaussian_id >= 0
    features, encodings, gaussian_id = features[shown], encodings[shown], gaussian_id[shown]
    if not len(features):
        return features.sum() + encodings.sum()
    features, encodings = (F.normalize(each, dim=1, eps=1e-6) for each in (features, encodings))
    logits = features @ encodings.T / temperature
    same = gaussian_id[:, None] == gaussian_id
    return (_cost(logits, same, positives) + _cost(logits.T, same, positives)) / 2


def _cost(logits: Tensor, same: Tensor, positives: Positives) -> Tensor:
    log_p = logits.log_softmax(dim=1)
    if positives == "any":
        return -log_p.masked_fill(~same, -torch.inf).logsumexp(dim=1).mean()
    return -(torch.where(same, log_p, 0).sum(dim=1) / same.sum(dim=1)).mean()
