"""VGGT's losses of cameras, depth and points (Wang et al., CVPR 2025, section 3.4)."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.training.losses.common import in_full_precision, masked_mean


@in_full_precision
def camera_loss(
    found: Float[Tensor, "B V 9"],
    truth: Float[Tensor, "B V 9"],
    known: Bool[Tensor, "B V"] | None = None,
    *,
    delta: float = 0.1,
) -> Float[Tensor, " B"]:
    """Return the Huber distance of camera encodings: sum over the nine numbers, mean over the views.

    VGGT uses the Huber norm of translation, quaternion and field of view together, and states no width. With 0.1,
    the loss is linear for errors above a tenth of the scene's size or of a radian.

    Args:
        found: estimates; see `homolog.training.objectives.geometry.pose_encoding`.
        truth: true encodings in the same unit; arbitrary where unknown.
        known: whether the true camera is known; None means where `truth` is finite.
        delta: error above which the loss is linear.

    Returns:
        One number per scene; 0 if nothing is known.
    """
    counts = truth.isfinite().all(dim=-1)
    counts = counts if known is None else counts & known
    wanted = torch.where(counts[..., None], truth, found.detach())
    distance = F.huber_loss(found, wanted, reduction="none", delta=delta).sum(dim=-1)
    return masked_mean(distance, counts)


@in_full_precision
def trusted_error(
    found: Float[Tensor, "B V H W K"],
    score: Float[Tensor, "B V H W"],
    truth: Float[Tensor, "B V H W K"],
    known: Bool[Tensor, "B V H W"] | None = None,
    *,
    alpha: float = 0.2,
    gradient: float = 1.0,
) -> Float[Tensor, " B"]:
    """Return the confidence-weighted error of depth or points, and of their gradients.

    |c (d - D)| + |c (grad d - grad D)| - alpha log c, for depth (K = 1) or points (K = 3). Each of the three terms is
    a mean over the pixels for which it is known, so that neither the size of the image nor holes matter.

    Args:
        found: estimates, in the unit of the truth.
        score: the confidence c, above 0; 1 + exp in VGGT.
        truth: true values; NaN where unknown.
        known: only these pixels count.
        alpha: weight of the log confidence; 0.2 in VGGT's code.
        gradient: weight of the gradient term; 0 omits it.

    Returns:
        One number per scene, negative if the confidence is high and the error low; 0 if nothing is known.
    """
    counts = truth.isfinite().all(dim=-1)
    counts = counts if known is None else counts & known
    off = found - torch.where(counts[..., None], truth, found.detach())
    loss = masked_mean(score * off.norm(dim=-1) - alpha * score.log(), counts)
    if not gradient:
        return loss
    # The gradient of a difference is the difference of the gradients.
    slopes = torch.zeros_like(loss)
    for dim in (2, 3):
        count = max(0, found.shape[dim] - 1)
        both = counts.narrow(dim, 0, count) & counts.narrow(dim, min(1, found.shape[dim]), count)
        steps = score.narrow(dim, 0, count) * off.diff(dim=dim).norm(dim=-1)
        slopes = slopes + masked_mean(steps, both)
    return loss + gradient * slopes
