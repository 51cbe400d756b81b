"""Choose what the picture of a dense result shows."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy.typing import NDArray
from torch import Tensor

from homolog.cli.page import GAP, DenseView
from homolog.core.coords import Size
from homolog.core.dense import DenseField
from homolog.core.image import Image, resize
from homolog.core.sampling import warp_maps

PANELS = 5
"""Pictures in a row."""

HEIGHT, WIDTH = 480, 2560
"""Pixels: the height of a row, unless its pictures are wider together."""


def present_fields(
    images: tuple[Image, Image], fields: tuple[DenseField, DenseField]
) -> tuple[DenseView, DenseView]:
    """Return what is drawn of two fields.

    Args:
        images: as they were read.
        fields: the one that lives on image 0 and the one that lives on image 1 (B = 1).
    """
    sizes = row_sizes(images[0].size, images[1].size)
    small = resize(images[0], sizes[0]), resize(images[1], sizes[1])
    return _view(small[0], small[1], fields[0]), _view(small[1], small[0], fields[1])


def row_sizes(size0: Size, size1: Size) -> tuple[Size, Size]:
    """Return (height, width) at which both photos are shown: of one height, five columns on a page.

    >>> row_sizes((600, 800), (600, 450))
    ((375, 500), (375, 281))
    """
    aspects = [width / height for height, width in (size0, size1)]
    height = max(1, int(min(HEIGHT, (WIDTH - (PANELS - 1) * GAP) / (PANELS * max(aspects)))))
    first, second = ((height, max(1, round(height * aspect))) for aspect in aspects)
    return first, second


def to_bytes(pixels: Float[Tensor, "3 H W"]) -> NDArray[np.uint8]:
    """Return pixels in [0, 1] as [H W 3] bytes."""
    return (pixels * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).numpy()


def _view(image: Image, other: Image, field: DenseField) -> DenseView:
    shown = field.resized(image.size)
    outside = ~(shown.grid.abs() <= 1).all(dim=1)
    places = ((shown.grid + 1) / 2).masked_fill(outside[:, None], torch.nan)
    return DenseView(
        name=Path(image.name).name,
        photo=to_bytes(image.pixels),
        # What lies outside is not shown; up to there no pixel shall fade.
        warped=to_bytes(warp_maps(other.pixels[None], shown.grid, padding="border")[0].clamp(0, 1)),
        places=places[0].permute(1, 2, 0).numpy(),
        confidence=shown.confidence[0].numpy(),
    )
