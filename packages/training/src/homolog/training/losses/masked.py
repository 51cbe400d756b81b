"""Averages over the part of an image that counts.

What does not count may hold NaN (grids without a label do), so it is replaced, never multiplied by zero:
NaN times zero is NaN, in the value and in the gradient.
"""

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.core.coords import Size

EPSILON = 1e-6
"""What a length is rounded by near zero, where the root has no slope."""


def masked_mean(
    values: Float[Tensor, "B *cells"], weight: Float[Tensor, "B *cells"] | Bool[Tensor, "B *cells"]
) -> Float[Tensor, " B"]:
    """Average values by weight, each pair by itself; a pair without any weight has mean 0 and no gradient.

    Args:
        values: anything, NaN included, where the weight is 0.
        weight: how much of each cell counts, at least 0.

    >>> masked_mean(torch.tensor([[1.0, 3.0, torch.nan]]), torch.tensor([[True, True, False]])).tolist()
    [2.0]
    """
    weight = weight.to(values.dtype)
    total = (torch.where(weight > 0, values, 0) * weight).flatten(1).sum(dim=1)
    area = weight.flatten(1).sum(dim=1)
    return total / torch.where(area > 0, area, 1)


def length(vectors: Float[Tensor, "*batch"], dim: int) -> Float[Tensor, "*rest"]:
    """Return the Euclidean norm along `dim`, short of at most `EPSILON`, with a gradient at 0 too, which is 0.

    >>> length(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), 1).tolist()
    [4.999999046325684, 0.0]
    """
    # Subtracting the root of the same number, so that no length is exactly no length.
    square = torch.full((), EPSILON**2, dtype=vectors.dtype, device=vectors.device)
    return (vectors.square().sum(dim=dim) + square).sqrt() - square.sqrt()


def area_share(
    mask: Float[Tensor, "B H W"] | Bool[Tensor, "B H W"], size: Size
) -> Float[Tensor, "B height width"]:
    """Return, for each cell of a coarser map of the same image, the mean of the pixels it covers.

    >>> area_share(torch.tensor([[[True, False, False, False], [True, True, False, False]]]), (1, 2)).tolist()
    [[[0.75, 0.0]]]
    """
    values = mask if mask.is_floating_point() else mask.to(torch.float32)
    if (int(mask.shape[1]), int(mask.shape[2])) == size:
        return values
    return F.interpolate(values[:, None], size=size, mode="area")[:, 0]
