"""How far a field moves annotated points from where they belong, squared."""

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from homolog.core.coords import Size, pixel_to_normalised
from homolog.core.dense import DenseField
from homolog.training.losses.dense_l2 import Unit, in_unit
from homolog.training.losses.full_precision import in_full_precision
from homolog.training.losses.masked import masked_mean


@in_full_precision
def keypoint_l2(
    field: DenseField,
    xy0: Float[Tensor, "B N 2"],
    xy1: Float[Tensor, "B N 2"],
    visible: Bool[Tensor, "B N"] | None = None,
    *,
    query_size: Size,
    reference_size: Size,
    unit: Unit = "pixel",
) -> Float[Tensor, " B"]:
    """Average the squared distance between transferred and annotated keypoints over the visible ones.

    The VGGT-prior matcher gives its sparse L2 the weight 0.01, beside 10000 for the dense one, and names no
    unit. Squared pixels at the size that the network sees make an error of 10 px cost 1.

    Args:
        field: that lives on the image of `xy0` and points into that of `xy1`; read between its cells.
        xy0: pixel coordinates in an image of `query_size`; anything where not visible.
        xy1: pixel coordinates in an image of `reference_size`; anything where not visible.
        visible: whether a point is seen in both; None means all whose coordinates are finite.
        query_size: (height, width) of the images that the network sees.
        reference_size: (height, width) of the images that the network sees.
        unit: of the distance.

    Returns:
        One number for each pair; 0 for a pair without visible keypoints.

    Raises:
        ConfigError: no such unit.
    """
    seen = (xy0.isfinite() & xy1.isfinite()).all(dim=-1)
    seen = seen if visible is None else seen & visible
    start, end = (torch.where(seen[..., None], xy, 0) for xy in (xy0, xy1))
    found = field.transfer(start, query_size=query_size, reference_size=reference_size).xy
    found, end = (
        in_unit(pixel_to_normalised(xy, reference_size), unit, reference_size) for xy in (found, end)
    )
    return masked_mean((found - end).square().sum(dim=-1), seen)
