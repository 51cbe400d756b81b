"""Shared by all losses: means over masked cells, and float32 inside autocast.

Masked-out values may be NaN (grids without labels are), so they are replaced, never multiplied by zero: NaN times
zero is NaN, in the value and in the gradient.
"""

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.core.coords import Size
from homolog.core.tensors import map_tensors

EPSILON = 1e-6
"""Rounding of a norm near zero, where the root has no gradient."""


def masked_mean(
    values: Float[Tensor, "B *cells"], weight: Float[Tensor, "B *cells"] | Bool[Tensor, "B *cells"]
) -> Float[Tensor, " B"]:
    """Return the weighted mean of each pair; a pair without any weight has mean 0 and no gradient.

    Args:
        values: may be anything, also NaN, where the weight is 0.
        weight: weight of each cell, at least 0.

    >>> masked_mean(torch.tensor([[1.0, 3.0, torch.nan]]), torch.tensor([[True, True, False]])).tolist()
    [2.0]
    """
    weight = weight.to(values.dtype)
    total = (torch.where(weight > 0, values, 0) * weight).flatten(1).sum(dim=1)
    area = weight.flatten(1).sum(dim=1)
    return total / torch.where(area > 0, area, 1)


def length(vectors: Float[Tensor, "*batch"], dim: int) -> Float[Tensor, "*rest"]:
    """Return the Euclidean norm along `dim`, at most `EPSILON` too small, with gradient 0 at 0.

    >>> length(torch.tensor([[3.0, 4.0], [0.0, 0.0]]), 1).tolist()
    [4.999999046325684, 0.0]
    """
    # Subtracting the root of the same number makes the norm of 0 exactly 0.
    square = torch.full((), EPSILON**2, dtype=vectors.dtype, device=vectors.device)
    return (vectors.square().sum(dim=dim) + square).sqrt() - square.sqrt()


def area_fraction(
    mask: Float[Tensor, "B H W"] | Bool[Tensor, "B H W"], size: Size
) -> Float[Tensor, "B height width"]:
    """Return the mean of the mask over each cell of a coarser map of the same image.

    >>> area_fraction(torch.tensor([[[True, False, False, False], [True, True, False, False]]]), (1, 2)).tolist()
    [[[0.75, 0.0]]]
    """
    values = mask if mask.is_floating_point() else mask.to(torch.float32)
    if (int(mask.shape[1]), int(mask.shape[2])) == size:
        return values
    return F.interpolate(values[:, None], size=size, mode="area")[:, 0]


P = ParamSpec("P")
T = TypeVar("T")


def in_full_precision(loss: Callable[P, T]) -> Callable[P, T]:
    """Make a loss convert its tensors to float32 and switch autocast off; float64 stays.

    The step of bfloat16 just below 1 is a pixel of a 518 px image, and sums over the pixels of an image lose most
    of their terms in half precision.
    """

    @wraps(loss)
    def wide(*args: P.args, **kwargs: P.kwargs) -> T:
        devices: list[str] = []

        def widen(tensor: Tensor) -> Tensor:
            devices.append(tensor.device.type)
            if not tensor.is_floating_point():
                return tensor
            return tensor.to(torch.promote_types(tensor.dtype, torch.float32))

        args, kwargs = map_tensors(widen, args), map_tensors(widen, kwargs)
        with torch.autocast(devices[0] if devices else "cpu", enabled=False):
            return loss(*args, **kwargs)

    return wide
