"""Descriptors of the same point should be nearer to each other than to those of any other point."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.training.losses.full_precision import in_full_precision

LOG_SCALE = math.log(1 / 0.07)
"""Where CLIP starts the logarithm of its learned scale."""

_HIGHEST = math.log(100.0)
"""CLIP's limit to it: beyond, training becomes unstable."""


@in_full_precision
def contrastive_loss(
    descriptor0: Float[Tensor, "N D"],
    descriptor1: Float[Tensor, "N D"],
    log_scale: Float[Tensor, ""] | float = LOG_SCALE,
    *,
    valid: Bool[Tensor, " N"] | None = None,
) -> Float[Tensor, ""]:
    """Compute the symmetric cross-entropy of N points among each other (CLIP; MATCHA for semantic pairs).

    The mean of both directions. MATCHA's paper names no more than "CLIP contrastive"; as in GeoAware-SC, the
    others are the points of the same image pair when called for one, or of a batch when called with all.

    Args:
        descriptor0: row i shows the same point as row i of the other; normalised here.
        descriptor1: the other image's.
        log_scale: logarithm of what multiplies the cosines; a parameter, to learn it. At most that of 100.
        valid: which points count, neither as a match nor as another; their rows may hold anything.

    Returns:
        0 with no points, and with a single one.
    """
    if valid is not None:
        descriptor0, descriptor1 = descriptor0[valid], descriptor1[valid]
    scale = torch.as_tensor(log_scale, dtype=descriptor0.dtype, device=descriptor0.device)
    if not len(descriptor0):
        # Of no value, yet reached by gradients, as distributed training wants of every parameter.
        return descriptor0.sum() + descriptor1.sum() + 0 * scale
    unit0, unit1 = (F.normalize(each, dim=1, eps=1e-6) for each in (descriptor0, descriptor1))
    logits = scale.clamp(max=_HIGHEST).exp() * (unit0 @ unit1.T)
    own = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)) / 2
