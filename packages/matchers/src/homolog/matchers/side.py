"""One image of a pair: between pixels of its original and pixels that the networks saw."""

from dataclasses import dataclass

from jaxtyping import Bool, Float
from torch import Tensor

from homolog.core.coords import Size, apply_affine, inside, invert_affine, resize_pixel


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Side:
    """One image of a pair, as the user gave it and as the networks saw it.

    Attributes:
        size: (height, width) of the image that was given.
        to_original: from its pixels to those of the original file.
        seen_size: (height, width) that it was resized to for the networks.
    """

    size: Size
    to_original: Float[Tensor, "2 3"]
    seen_size: Size

    def xy_to_original(self, xy: Float[Tensor, "N 2"], *, bounded: bool = True) -> Float[Tensor, "N 2"]:
        """Move points from the resized image to the original; float32, on the CPU.

        Args:
            xy: pixel coordinates of the resized image.
            bounded: bring points beyond the outermost pixel centres of the given image onto them.
                Where resizing enlarged the image, those of the resized one lie up to half a pixel
                beyond.
        """
        height, width = self.size
        at = resize_pixel(xy.cpu().double(), self.seen_size, self.size)
        if bounded:
            at = at.clamp_min(0).minimum(at.new_tensor((width - 1, height - 1)))
        return apply_affine(self.to_original, at).float()

    def xy_from_original(self, xy: Float[Tensor, "N 2"]) -> tuple[Float[Tensor, "N 2"], Bool[Tensor, " N"]]:
        """Move points of the original to the resized image, and tell which lie on the given image.

        Those that do not come out at the nearest place that does.
        """
        height, width = self.size
        at = apply_affine(invert_affine(self.to_original), xy.double())
        nearest = at.clamp_min(-0.5).minimum(at.new_tensor((width - 0.5, height - 0.5)))
        return resize_pixel(nearest, self.size, self.seen_size), inside(at, self.size)
