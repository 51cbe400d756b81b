"""How far estimates are from the truth, where the network trusts itself."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.training.losses.full_precision import in_full_precision
from homolog.training.losses.masked import masked_mean


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
    """Weigh the error of every pixel, and of its slopes, by the network's trust, which has its price.

    VGGT, section 3.4: |c (d - D)| + |c (grad d - grad D)| - alpha log c, for depth (K = 1) as for points (K = 3).
    Each of the three is a mean over the pixels that have what it needs, so that neither the size of the image
    nor holes matter.

    Args:
        found: estimated, in the unit of the truth.
        score: the trust c, above 0; VGGT's is 1 + exp.
        truth: NaN where unknown.
        known: count these pixels only.
        alpha: what trust earns; 0.2 in VGGT's code.
        gradient: weight of the slopes; 0 leaves them out.

    Returns:
        One number for each scene, below 0 where trust is high and deserved; 0 where nothing is known.
    """
    there = truth.isfinite().all(dim=-1)
    there = there if known is None else there & known
    off = found - torch.where(there[..., None], truth, found.detach())
    loss = masked_mean(score * off.norm(dim=-1) - alpha * score.log(), there)
    if not gradient:
        return loss
    # The slope of a difference is the difference of the slopes.
    slopes = torch.zeros_like(loss)
    for dim in (2, 3):
        count = max(0, found.shape[dim] - 1)
        both = there.narrow(dim, 0, count) & there.narrow(dim, min(1, found.shape[dim]), count)
        steps = score.narrow(dim, 0, count) * off.diff(dim=dim).norm(dim=-1)
        slopes = slopes + masked_mean(steps, both)
    return loss + gradient * slopes
