"""Pictures and masks as bytes of image files."""

import io
from typing import Any, Literal

import numpy as np
import PIL.Image
import torch
from jaxtyping import Bool, Float, UInt8
from torch import Tensor

from homolog.core.errors import DataError

Pictures = Literal["jpg", "png"]
"""How pictures are stored: small, or without loss."""

_QUALITY = 95
_FORMATS = ("JPEG", "PNG")


def encode_picture(pixels: Float[Tensor, "3 H W"], pictures: Pictures) -> bytes:
    """Return RGB pixels in [0, 1] as a file: JPEG of quality 95 with halved colour channels, or PNG."""
    array = (pixels.detach().cpu().clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).contiguous()
    image = PIL.Image.fromarray(array.numpy())
    if pictures == "jpg":
        return _saved(image, "JPEG", quality=_QUALITY, subsampling="4:2:0")
    return _saved(image, "PNG", compress_level=3)


def decode_bytes(content: bytes, name: str) -> UInt8[np.ndarray, "H W 3"]:
    """Return the RGB bytes of a JPEG or PNG.

    Args:
        content: of the file.
        name: what error messages call it.

    Raises:
        DataError: it is damaged, or no picture.
    """
    return np.asarray(_opened(content, name).convert("RGB"))


def decode_picture(content: bytes, name: str) -> Float[Tensor, "3 H W"]:
    """Return the pixels of a JPEG or PNG in [0, 1].

    Raises:
        DataError: it is damaged, or no picture.
    """
    channels = np.divide(decode_bytes(content, name).transpose(2, 0, 1), 255, dtype=np.float32)
    return torch.from_numpy(np.ascontiguousarray(channels))


def encode_mask(mask: Bool[Tensor, "H W"]) -> bytes:
    """Return a mask as a PNG of one bit per pixel."""
    return _saved(PIL.Image.fromarray(mask.cpu().numpy()), "PNG", compress_level=1)


def decode_mask(content: bytes, name: str) -> Bool[Tensor, "H W"]:
    """Return the mask that a PNG holds.

    Raises:
        DataError: it is damaged, or no mask.
    """
    image = _opened(content, name)
    if image.mode != "1":
        raise DataError(
            f"{name}: expected a PNG of one bit per pixel, got mode {image.mode}; generate the shard again"
        )
    return torch.from_numpy(np.array(image))


def _saved(image: PIL.Image.Image, kind: str, **options: Any) -> bytes:
    encoded = io.BytesIO()
    image.save(encoded, kind, **options)
    return encoded.getvalue()


def _opened(content: bytes, name: str) -> PIL.Image.Image:
    try:
        with PIL.Image.open(io.BytesIO(content), formats=_FORMATS) as image:
            image.load()
            return image
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise DataError(
            f"{name}: expected a JPEG or PNG, got a damaged one ({error}); generate the shard again"
        ) from error
