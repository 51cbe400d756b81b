"""Resize, fit, pad and crop an `Image`, keeping its frame true.

Every function returns a new image whose `frame` still leads to the original file, so a point
found on the result is a point of the file, whatever happened in between.
"""

from dataclasses import replace

import torch.nn.functional as F

from homolog.core.coords import Size, compose_frames, resize_frame, shift_frame
from homolog.core.errors import ShapeError
from homolog.core.image import Image


def resize(image: Image, size: Size) -> Image:
    """Resample an image to exactly `size`; antialiased bilinear, horizontal and vertical scale may differ."""
    if image.size == size:
        return image
    if min(size) < 1:
        raise ShapeError(f"{image.name}: expected a target size of at least 1 x 1, got {size}")
    pixels = F.interpolate(
        image.pixels[None], size=size, mode="bilinear", antialias=True, align_corners=False
    )[0]
    frame = compose_frames(image.frame, resize_frame(image.size, size))
    return replace(image, pixels=pixels.clamp(0, 1), frame=frame)


def fit(image: Image, *, longer_side: int | None = None, multiple: int = 1, enlarge: bool = False) -> Image:
    """Bring an image to a size that a network takes.

    Args:
        image: what to resize.
        longer_side: upper bound of the longer side in pixels; None keeps the size.
        multiple: each side of the result is the nearest multiple of this, at least one.
        enlarge: also scale a smaller image up to `longer_side`.

    Returns:
        The image with the aspect kept up to the rounding to `multiple`.
    """
    return resize(image, fitted_size(image.size, longer_side=longer_side, multiple=multiple, enlarge=enlarge))


def fitted_size(size: Size, *, longer_side: int | None = None, multiple: int = 1, enlarge: bool = False) -> Size:
    """Return the size that `fit` gives an image of `size`.

    >>> fitted_size((480, 640), longer_side=320, multiple=14)
    (238, 322)
    >>> fitted_size((50, 20), multiple=32)
    (64, 32)
    """
    scale = 1.0
    if longer_side is not None and (max(size) > longer_side or enlarge):
        scale = longer_side / max(size)
    height, width = (max(multiple, int(side * scale / multiple + 0.5) * multiple) for side in size)
    return height, width


def check_multiple(size: Size, multiple: int, *, name: str) -> None:
    """Refuse a size that a network cannot take.

    Args:
        size: of the image that was given.
        multiple: each side has to be a multiple of this.
        name: of the network, for the message.

    Raises:
        ShapeError: a side is no multiple, or zero.
    """
    if min(size) < 1 or size[0] % multiple or size[1] % multiple:
        raise ShapeError(
            f"{name}: expected an image with sides in multiples of {multiple}, got {size}; "
            f"use homolog.core.resize.fit(image, multiple={multiple})"
        )


def pad(image: Image, size: Size, *, value: float = 0.0) -> Image:
    """Extend an image at its right and bottom to `size` with a constant; its pixels keep their coordinates."""
    (height, width), (to_height, to_width) = image.size, size
    if to_height < height or to_width < width:
        raise ShapeError(
            f"{image.name}: expected a padded size of at least {image.size}, got {size}; resize first"
        )
    return replace(
        image, pixels=F.pad(image.pixels, (0, to_width - width, 0, to_height - height), value=value)
    )


def crop(image: Image, *, x: int, y: int, size: Size) -> Image:
    """Cut out the rectangle of `size` whose top-left pixel is (x, y)."""
    height, width = size
    if min(x, y, height - 1, width - 1) < 0 or y + height > image.size[0] or x + width > image.size[1]:
        raise ShapeError(f"{image.name}: a crop of {size} at x={x}, y={y} leaves the image of {image.size}")
    pixels = image.pixels[:, y : y + height, x : x + width]
    return replace(image, pixels=pixels, frame=compose_frames(image.frame, shift_frame(float(x), float(y))))
