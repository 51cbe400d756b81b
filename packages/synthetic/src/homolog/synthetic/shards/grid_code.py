"""Dense truth as whole numbers: where each cell looks, in 64ths of a pixel of the reference image.

A position x of the reference, whose width W spans from -0.5 to W - 0.5, becomes round((x + 0.5) / STEP).
Sixteen bits reach to 1023 pixels; the largest number says that nothing is known. Rounding moves a place by
at most half a step in x and in y, 0.011 px together.

On disk x lies above y: one gray picture [2H W], because no image format of everyday use has two channels of
16 bits that every reader knows.
"""

import numpy as np
import torch
from jaxtyping import UInt16

from homolog.core.coords import Size, inside, normalised_to_pixel, pixel_to_normalised
from homolog.core.dense import DenseField
from homolog.core.errors import ConfigError, DataError, ShapeError

STEP = 1 / 64
"""Pixels of the reference image."""

UNKNOWN = 65535
"""Where there is no truth."""

LONGEST = 1023
"""Pixels: the longest side of a reference image whose last position stays below `UNKNOWN`."""

_EDGE = 0.5  # of the image, before the centre of its first pixel


def encode_field(field: DenseField, reference_size: Size) -> UInt16[np.ndarray, "rows W"]:
    """Return the numbers of a true field; cells that look outside the reference count as unknown.

    Args:
        field: of one pair (B = 1), with confidence 1 where the truth is known and 0 elsewhere.
        reference_size: (height, width) of the reference image in pixels.

    Raises:
        ConfigError: the reference is larger than 16 bits reach.
        ShapeError: a batch, or a confidence between 0 and 1.
    """
    if max(reference_size) > LONGEST:
        raise ConfigError(
            f"expected images of at most {LONGEST} pixels a side, as grids are stored in 64ths of a pixel, "
            f"got {reference_size[0]} x {reference_size[1]}; choose a smaller size"
        )
    confidence = field.confidence.detach().cpu().numpy()
    sure = confidence == 1
    if len(confidence) != 1 or np.count_nonzero(sure) != np.count_nonzero(confidence):
        raise ShapeError("expected one true field with confidence 0 or 1, got a batch or a prediction")
    height, width = field.size
    # Of a few objects on a large background: only what is known costs anything.
    cells = np.flatnonzero(sure)
    grid = field.grid.detach().cpu().numpy().reshape(2, -1)[:, cells].T
    xy = normalised_to_pixel(torch.from_numpy(grid.astype(np.float64)), reference_size)
    within = inside(xy, reference_size).numpy()  # NaN lies nowhere
    numbers = np.full((2, height * width), UNKNOWN, np.uint16)
    numbers[:, cells[within]] = np.rint((xy.numpy()[within].T + _EDGE) / STEP).astype(np.uint16)
    return numbers.reshape(2 * height, width)


def decode_field(
    numbers: UInt16[np.ndarray, "rows W"], reference_size: Size, *, step: float, name: str
) -> DenseField:
    """Return the field of numbers; NaN and confidence 0 where nothing is known.

    Args:
        numbers: as `encode_field` makes them.
        reference_size: (height, width) of the reference image in pixels.
        step: pixels from one number to the next.
        name: what error messages call them.

    Raises:
        DataError: no field of that image.
    """
    if len(numbers) % 2:
        raise DataError(f"{name}: expected x above y, got {len(numbers)} rows; generate the shard again")
    height, width = len(numbers) // 2, numbers.shape[1]
    x, y = numbers.reshape(2, height * width)
    known = x != UNKNOWN
    cells = np.flatnonzero(known)
    steps = np.stack((x[cells], y[cells]), axis=1).astype(np.float64)
    xy = torch.from_numpy(steps) * step - _EDGE
    if not np.array_equal(known, y != UNKNOWN) or not bool(inside(xy, reference_size).all()):
        raise DataError(
            f"{name}: expected places in an image of {reference_size[0]} x {reference_size[1]}, got one that is "
            "outside or half known; generate the shard again"
        )
    grid = np.full((2, height * width), np.nan, np.float32)
    grid[:, cells] = pixel_to_normalised(xy, reference_size).numpy().T
    return DenseField(
        grid=torch.from_numpy(grid).reshape(1, 2, height, width),
        confidence=torch.from_numpy(known.astype(np.float32)).reshape(1, height, width),
    )
