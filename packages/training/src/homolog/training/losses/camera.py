"""How far estimated cameras are from the true ones, in VGGT's nine numbers."""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.training.losses.full_precision import in_full_precision
from homolog.training.losses.masked import masked_mean


@in_full_precision
def camera_loss(
    found: Float[Tensor, "B V 9"],
    truth: Float[Tensor, "B V 9"],
    known: Bool[Tensor, "B V"] | None = None,
    *,
    delta: float = 0.1,
) -> Float[Tensor, " B"]:
    """Sum the Huber distance over the nine numbers of a camera, and average over the views of a scene.

    VGGT (section 3.4) takes the Huber norm of translation, quaternion and field of view together, and names
    no width. One of 0.1 treats errors above a tenth of the scene's size, or of a radian, by their amount.

    Args:
        found: estimates, see `homolog.training.scene_truth`.
        truth: in the same unit; anything where not known.
        known: whether a view has a true camera; None means all whose truth is finite.
        delta: from which error on the loss is linear.

    Returns:
        One number for each scene; 0 for a scene of which nothing is known.
    """
    there = truth.isfinite().all(dim=-1)
    there = there if known is None else there & known
    wanted = torch.where(there[..., None], truth, found.detach())
    apart = F.huber_loss(found, wanted, reduction="none", delta=delta).sum(dim=-1)
    return masked_mean(apart, there)
