"""Losses of matched keypoints and descriptors."""

from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor

from homolog.core.errors import ConfigError, ShapeError
from homolog.training.ground_truth import UNMATCHED
from homolog.training.losses.common import in_full_precision


class AssignmentLoss(NamedTuple):
    """Assignment loss of B pairs, and its parts.

    Attributes:
        total: [B] the loss.
        matched: [B] mean negative log likelihood of the true matches.
        unmatched: [B] mean negative log likelihood of the dustbin for points without a match, over both images.
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
    """Return the negative log likelihood of the true matches and of the points without a match.

    OmniGlue, section 3.5, names the "negative log-likelihood of the matching matrix" and no weights; the weights
    here are those of LightGlue's training code. A pair without points of a kind counts as having one.

    Args:
        log_assignment: [B N+1 M+1] log assignment; the last row and column are the dustbins.
        matches0: index of the true match of each point of image 0, -1 (`UNMATCHED`) for none, or -2 (`IGNORED`) for
            ignored points and padding.
        matches1: the same for image 1, consistent with `matches0`.
        balance: weight of the matched points; the unmatched points get the rest.

    Raises:
        ConfigError: a balance outside [0, 1].
    """
    if not 0 <= balance <= 1:
        raise ConfigError(f"expected a balance in [0, 1], got {balance}")
    matched = matches0 >= 0
    # The dustbin column replaces missing matches; these entries are masked below.
    partner = torch.where(matched, matches0, log_assignment.shape[2] - 1)
    likelihood = log_assignment[:, :-1].gather(2, partner[..., None])[..., 0]
    loss0 = -_sum(likelihood, matched) / matched.sum(dim=1).clamp_min(1)
    none0, none1 = matches0 == UNMATCHED, matches1 == UNMATCHED
    no_match = _sum(log_assignment[:, :-1, -1], none0) + _sum(log_assignment[:, -1, :-1], none1)
    loss1 = -no_match / (none0.sum(dim=1).clamp_min(1) + none1.sum(dim=1).clamp_min(1))
    return AssignmentLoss(balance * loss0 + (1 - balance) * loss1, loss0, loss1)


def _sum(values: Tensor, chosen: Tensor) -> Tensor:
    # Not multiplied by the mask: padding is minus infinity.
    return torch.where(chosen, values, 0).sum(dim=1)


@in_full_precision
def dual_softmax_loss(
    descriptor0: Float[Tensor, "N D"], descriptor1: Float[Tensor, "N D"], *, scale: float
) -> tuple[Float[Tensor, ""], Float[Tensor, " N"]]:
    """Return the dual-softmax loss of matching descriptors (XFeat, Potje et al. 2024, section 3.3).

    Args:
        descriptor0: row i matches row i of the other set; not normalised in XFeat.
        descriptor1: the other set.
        scale: multiplies the similarities; XFeat uses 0.2; 10 or more suits unit descriptors.

    Returns:
        The negative log likelihood of the true pairs, mean over rows plus mean over columns; 0 for no pairs.
        Also, for each true pair, the highest probability of its row times that of its column, without gradient:
        XFeat's target for the reliability map.

    Raises:
        ShapeError: sets of different shapes.
    """
    if descriptor0.shape != descriptor1.shape:
        raise ShapeError(
            "expected two sets of matching descriptors, "
            f"got {list(descriptor0.shape)} and {list(descriptor1.shape)}"
        )
    if not len(descriptor0):
        return descriptor0.sum() + descriptor1.sum(), descriptor0.new_zeros(0)
    similarity = descriptor0 @ descriptor1.T * scale
    rows, columns = similarity.log_softmax(dim=1), similarity.T.log_softmax(dim=1)
    confidence = (rows.detach().amax(dim=1) + columns.detach().amax(dim=1)).exp()
    return -rows.diagonal().mean() - columns.diagonal().mean(), confidence
