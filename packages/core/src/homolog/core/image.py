"""An image that remembers where its pixels come from."""

import hashlib
from dataclasses import dataclass, field

import torch
from jaxtyping import Float
from torch import Tensor

from homolog.core.coords import Size, apply_frame, identity_frame, invert_frame
from homolog.core.errors import ShapeError


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Image:
    """RGB pixels in [0, 1] and the frame that leads back to the original file.

    Attributes:
        pixels: [3 H W], float32, RGB in [0, 1].
        frame: affine map from pixel coordinates of `pixels` to pixel coordinates of the
            original (float64, on the CPU); the identity for an image just read.
        name: where the image came from, for messages and reports.
    """

    pixels: Float[Tensor, "3 H W"]
    frame: Float[Tensor, "2 3"] = field(default_factory=identity_frame)
    name: str = "image"

    def __post_init__(self) -> None:
        """Refuse tensors that are no image.

        Raises:
            ShapeError: not [3 H W] floating point, or empty.
        """
        shape = tuple(self.pixels.shape)
        if len(shape) != 3 or shape[0] != 3 or 0 in shape or not self.pixels.is_floating_point():
            raise ShapeError(
                f"{self.name}: expected RGB pixels [3 H W] in floating point, got {self.pixels.dtype} {list(shape)}; "
                "use homolog.core.reading.as_image for arrays, PIL images and files"
            )

    @property
    def size(self) -> Size:
        """(height, width) of `pixels`."""
        return int(self.pixels.shape[1]), int(self.pixels.shape[2])

    def to_original(self, xy: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """Move pixel coordinates of this image to pixel coordinates of the original file."""
        return apply_frame(self.frame, xy)

    def from_original(self, xy: Float[Tensor, "*batch 2"]) -> Float[Tensor, "*batch 2"]:
        """Move pixel coordinates of the original file to pixel coordinates of this image."""
        return apply_frame(invert_frame(self.frame), xy)

    def digest(self) -> str:
        """Return a hash of the pixel values and their shape: equal content has an equal digest.

        The frame and the name are left out: what a network sees decides what it answers.
        """
        pixels = self.pixels.detach().to("cpu", torch.float32).contiguous()
        return hashlib.blake2b(
            pixels.numpy().tobytes(), digest_size=16, salt=str(self.size).encode()[:16]
        ).hexdigest()
