"""How surprising the truth is to an assignment: what a glue is trained to reduce."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from homolog.core.errors import ConfigError
from homolog.training.ground_truth_matches import UNMATCHED
from homolog.training.losses.full_precision import in_full_precision


class AssignmentLoss(NamedTuple):
    """The loss of B pairs, and its parts.

    Attributes:
        total: [B] what to reduce.
        matched: [B] negative log likelihood of the true matches, their mean.
        unmatched: [B] negative log likelihood that points without partner have none, the mean over both
            images.
    """

    total: Float[Tensor, " B"]
    matched: Float[Tensor, " B"]
    unmatched: Float[Tensor, " B"]


@in_full_precision
def assignment_loss(
    log_assignment: Float[Tensor, "B rows columns"],
    matches0: Int[Tensor, "B N"],
    matches1: Int[Tensor, "B M"],
    *,
    balance: float = 0.5,
) -> AssignmentLoss:
    """Compute the negative log likelihood of the true matches and of the points that have none.

    OmniGlue, section 3.5, names "negative log-likelihood of the matching matrix" and no weights; these
    are those of LightGlue's training code. An image without points of a kind counts as having one.

    Args:
        log_assignment: [B N+1 M+1] as a glue returns it; the last row and column are the dustbins.
        matches0: index of the true partner of each point of image 0, or -1 for none, or -2 for points
            that do not count, padding among them.
        matches1: the same for image 1; its partners are those of `matches0`, the other way round.
        balance: weight of the matched; the unmatched get the rest.

    Raises:
        ConfigError: a balance outside [0, 1].
    """
    if not 0 <= balance <= 1:
        raise ConfigError(f"expected a balance in [0, 1], got {balance}")
    matched = matches0 >= 0
    # The dustbins' column is never a partner; it stands in where there is none, and is left out.
    partner = torch.where(matched, matches0, log_assignment.shape[2] - 1)
    likelihood = log_assignment[:, :-1].gather(2, partner[..., None])[..., 0]
    loss0 = -_sum(likelihood, matched) / matched.sum(dim=1).clamp_min(1)
    none0, none1 = matches0 == UNMATCHED, matches1 == UNMATCHED
    lost = _sum(log_assignment[:, :-1, -1], none0) + _sum(log_assignment[:, -1, :-1], none1)
    loss1 = -lost / (none0.sum(dim=1).clamp_min(1) + none1.sum(dim=1).clamp_min(1))
    return AssignmentLoss(balance * loss0 + (1 - balance) * loss1, loss0, loss1)


def _sum(values: Tensor, chosen: Tensor) -> Tensor:
    # Not by multiplication: padding is minus infinity.
    return torch.where(chosen, values, 0).sum(dim=1)
