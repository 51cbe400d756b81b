"""Images that know how their pixels relate to the original file; resize, fit, pad and crop.

Every function returns a new image whose `to_original` leads to the original file, so a point found on
the result can be mapped back to the file after any number of operations.
"""

import hashlib
from dataclasses import dataclass, field, replace

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor

from homolog.core.coords import (
    Size,
    apply_affine,
    compose_affines,
    identity_affine,
    invert_affine,
    resize_affine,
    shift_affine,
)
from homolog.core.errors import ShapeError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Image:
    """RGB pixels in [0, 1] and the affine map that leads back to the original file.

    Attributes:
        pixels: [3 H W], float32, RGB in [0, 1].
        to_original: affine map from pixel coordinates of `pixels` to pixel coordinates of the
            original (float64, on the CPU); the identity for an image just read.
        name: where the image came from, for messages and reports.
    """

    pixels: Float[Tensor, "3 H W"]
    to_original: Float[Tensor, "2 3"] = field(default_factory=identity_affine)
    name: str = "image"

    def __post_init__(self) -> None:
        """Raise a ShapeError unless the pixels are [3 H W] floating point, and not empty."""
        shape = tuple(self.pixels.shape)
        if len(shape) != 3 or shape[0] != 3 or 0 in shape or not self.pixels.is_floating_point():
            raise ShapeError(
                f"{self.name}: expected RGB pixels [3 H W] in floating point, got {self.pixels.dtype} {list(shape)}; "
                "use homolog.core.io.as_image for arrays, PIL images and files"
            )

    @property
    def size(self) -> Size:
        """(height, width) of `pixels`."""
        return int(self.pixels.shape[1]), int(self.pixels.shape[2])

    def xy_to_original(self, xy: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """Map pixel coordinates of this image to pixel coordinates of the original file."""
        return apply_affine(self.to_original, xy)

    def xy_from_original(self, xy: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """Map pixel coordinates of the original file to pixel coordinates of this image."""
        return apply_affine(invert_affine(self.to_original), xy)

    def digest(self) -> str:
        """Return a hash of the pixel values and their shape: equal content has an equal digest.

        `to_original` and the name are not part of it: features depend on the pixels only.
        """
        pixels = self.pixels.detach().to("cpu", torch.float32).contiguous()
        return hashlib.blake2b(
            pixels.numpy().tobytes(), digest_size=16, salt=str(self.size).encode()[:16]
        ).hexdigest()


def resize(image: Image, size: Size) -> Image:
    """Resample an image to exactly `size`; antialiased bilinear, horizontal and vertical scale may differ."""
    if image.size == size:
        return image
    if min(size) < 1:
        raise ShapeError(f"{image.name}: expected a target size of at least 1 x 1, got {size}")
    pixels = F.interpolate(
        image.pixels[None], size=size, mode="bilinear", antialias=True, align_corners=False
    )[0]
    to_original = compose_affines(image.to_original, resize_affine(image.size, size))
    return replace(image, pixels=pixels.clamp(0, 1), to_original=to_original)


def fit(image: Image, *, longer_side: int | None = None, multiple: int = 1, enlarge: bool = False) -> Image:
    """Resize an image to a size that a network accepts.

    Args:
        image: the image to resize.
        longer_side: upper bound of the longer side in pixels; None keeps the size.
        multiple: each side of the result is the nearest multiple of this, at least one.
        enlarge: also scale a smaller image up to `longer_side`.

    Returns:
        The image; its aspect ratio changes only by the rounding to `multiple`.
    """
    return resize(image, fitted_size(image.size, longer_side=longer_side, multiple=multiple, enlarge=enlarge))


def fitted_size(
    size: Size, *, longer_side: int | None = None, multiple: int = 1, enlarge: bool = False
) -> Size:
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
    """Check that a network accepts an image size.

    Args:
        size: (height, width) of the image.
        multiple: each side must be a multiple of this.
        name: of the network, for the message.

    Raises:
        ShapeError: a side is zero or not a multiple.
    """
    if min(size) < 1 or size[0] % multiple or size[1] % multiple:
        raise ShapeError(
            f"{name}: expected an image with sides in multiples of {multiple}, got {size}; "
            f"use homolog.core.image.fit(image, multiple={multiple})"
        )


def pad(image: Image, size: Size, *, value: float = 0.0) -> Image:
    """Pad an image with a constant at the right and the bottom to `size`; pixels keep their coordinates."""
    (height, width), (to_height, to_width) = image.size, size
    if to_height < height or to_width < width:
        raise ShapeError(
            f"{image.name}: expected a padded size of at least {image.size}, got {size}; resize first"
        )
    return replace(
        image, pixels=F.pad(image.pixels, (0, to_width - width, 0, to_height - height), value=value)
    )


def crop(image: Image, *, x: int, y: int, size: Size) -> Image:
    """Return the rectangle of `size` whose top-left pixel is (x, y)."""
    height, width = size
    if min(x, y, height - 1, width - 1) < 0 or y + height > image.size[0] or x + width > image.size[1]:
        raise ShapeError(
            f"{image.name}: expected a crop inside the image of {image.size}, got {size} at x={x}, y={y}"
        )
    pixels = image.pixels[:, y : y + height, x : x + width]
    return replace(
        image, pixels=pixels, to_original=compose_affines(image.to_original, shift_affine(float(x), float(y)))
    )
