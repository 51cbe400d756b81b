"""How far a predicted field is from the true one, squared."""

from typing import Literal, get_args

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.core.coords import Size, normalised_to_pixel
from homolog.core.dense import DenseField
from homolog.core.errors import ConfigError, ShapeError, did_you_mean
from homolog.training.losses.full_precision import in_full_precision
from homolog.training.losses.masked import masked_mean

Unit = Literal["normalised", "pixel"]
"""Of a distance: image sides span 2, or pixels of the image that is pointed into."""


@in_full_precision
def dense_l2(
    field: DenseField,
    truth: DenseField,
    mask: Bool[Tensor, "B H W"] | None = None,
    *,
    unit: Unit = "normalised",
    reference_size: Size | None = None,
) -> Float[Tensor, " B"]:
    """Average the squared distance between predicted and true places over the cells that have a true one.

    The VGGT-prior matcher gives its dense L2 the weight 10000 and names no unit. With the mean over cells
    of the squared norm in normalised coordinates, 1e-4 to 1e-2 at first, that makes 1 to 100.

    Args:
        field: predicted; its confidence is not read.
        truth: of the same size; a cell counts where its grid is finite and its confidence above 0.
        mask: count these cells only.
        unit: of the distance.
        reference_size: (height, width) of the image that is pointed into; for `pixel` only.

    Returns:
        One number for each pair; 0 for a pair of which nothing is known.

    Raises:
        ShapeError: fields of different sizes.
        ConfigError: no such unit, or pixels without a size.
    """
    if field.grid.shape != truth.grid.shape:
        raise ShapeError(
            f"dense L2: expected the truth of the predicted size {list(field.grid.shape)}, got "
            f"{list(truth.grid.shape)}; bring the labels to the size that the network sees"
        )
    known = (truth.confidence > 0) & truth.grid.isfinite().all(dim=1)
    known = known if mask is None else known & mask
    # The prediction stands in for what is unknown: no error there, and no gradient.
    wanted = torch.where(known[:, None], truth.grid, field.grid.detach())
    found, wanted = (in_unit(grid.movedim(1, -1), unit, reference_size) for grid in (field.grid, wanted))
    return masked_mean((found - wanted).square().sum(dim=-1), known)


def in_unit(place: Float[Tensor, "*batch 2"], unit: Unit, size: Size | None) -> Float[Tensor, "*batch 2"]:
    """Express normalised places in a unit.

    Raises:
        ConfigError: no such unit, or pixels without a size.
    """
    if unit not in get_args(Unit):
        raise ConfigError(f"no unit named {unit}{did_you_mean(unit, get_args(Unit))}")
    if unit == "normalised":
        return place
    if size is None:
        raise ConfigError("expected the size of the reference image for distances in pixels, got none")
    return normalised_to_pixel(place, size)
