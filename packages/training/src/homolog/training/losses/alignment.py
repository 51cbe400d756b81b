"""What an image shows of a Gaussian should be told by the Gaussian itself: 2D features meet 3D attributes."""

from typing import Literal, get_args

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from homolog.core.errors import ConfigError, did_you_mean
from homolog.training.losses.full_precision import in_full_precision

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
    """Compute InfoNCE both ways between coarse cells and the Gaussians that they show (MatchGS).

    Several cells, of one view or of both, may show the same Gaussian. All of them are its partners, and
    never each other's negatives.

    Args:
        features: of N coarse cells, of all views of a scene; normalised here.
        encodings: row i encodes the attributes of the Gaussian that cell i shows; normalised here.
        gaussian_id: which one that is; cells with a negative number show none and do not count.
        temperature: divides the cosines; 0.07 is a common choice, not one that the paper states.
        positives: with several partners, `mean` asks for each of them (the mean of their log
            probabilities: with k equal partners the loss cannot fall below log k), `any` for one at least
            (the log of their sum).

    Returns:
        The mean of both directions, over cells; 0 if none shows a Gaussian.

    Raises:
        ConfigError: no such positives, or a temperature that is not above 0.
    """
    if positives not in get_args(Positives):
        raise ConfigError(
            f"alignment loss: no positives named {positives}{did_you_mean(positives, get_args(Positives))}"
        )
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
