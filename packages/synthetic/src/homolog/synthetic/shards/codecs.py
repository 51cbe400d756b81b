"""Encode the arrays of a sample as image files, and decode them.

Images are JPEG or PNG, masks are PNGs of one bit, grids and depth maps are gray PNGs of 16 bits in which `UNKNOWN`
marks pixels without a value. Decoders take the name of the member for their error messages.
"""

import io
import struct
import zlib
from typing import Any, Literal

import numpy as np
import PIL.Image
import torch
from jaxtyping import Bool, Float, UInt8, UInt16
from torch import Tensor

from homolog.core.coords import Size, inside, normalised_to_pixel, pixel_to_normalised
from homolog.core.dense import DenseField
from homolog.core.errors import ConfigError, DataError, ShapeError

Pictures = Literal["jpg", "png"]
"""How images are stored: small, or without loss."""

STEP = 1 / 64
"""Pixels of the reference image between two numbers of a grid."""

UNKNOWN = 65535
"""The number of a pixel without a known value."""

MAX_SIDE = 1023
"""Pixels: the longest side of a reference image whose last position stays below `UNKNOWN`."""

_QUALITY = 95
_UP = 2  # PNG specification, section 9.2: filter type 2 stores the difference to the row above
_COMPRESSION = 1  # 4 saves a tenth of the bytes and takes twice as long
_EDGE = 0.5  # the edge of the image lies half a pixel before the centre of its first pixel


def encode_image(pixels: Float[Tensor, "3 H W"], pictures: Pictures) -> bytes:
    """Return RGB pixels in [0, 1] as a file: JPEG of quality 95 with halved colour channels, or PNG."""
    array = (pixels.detach().cpu().clamp(0, 1) * 255 + 0.5).to(torch.uint8).permute(1, 2, 0).contiguous()
    image = PIL.Image.fromarray(array.numpy())
    if pictures == "jpg":
        return _saved(image, "JPEG", quality=_QUALITY, subsampling="4:2:0")
    return _saved(image, "PNG", compress_level=3)


def decode_rgb(content: bytes, name: str) -> UInt8[np.ndarray, "H W 3"]:
    """Return the RGB bytes of a JPEG or PNG.

    Raises:
        DataError: it is damaged or not an image.
    """
    return np.asarray(_opened(content, name).convert("RGB"))


def decode_image(content: bytes, name: str) -> Float[Tensor, "3 H W"]:
    """Return the pixels of a JPEG or PNG in [0, 1].

    Raises:
        DataError: it is damaged or not an image.
    """
    channels = np.divide(decode_rgb(content, name).transpose(2, 0, 1), 255, dtype=np.float32)
    return torch.from_numpy(np.ascontiguousarray(channels))


def encode_mask(mask: Bool[Tensor, "H W"]) -> bytes:
    """Return a mask as a PNG of one bit per pixel."""
    return _saved(PIL.Image.fromarray(mask.cpu().numpy()), "PNG", compress_level=1)


def decode_mask(content: bytes, name: str) -> Bool[Tensor, "H W"]:
    """Return the mask of a PNG of one bit per pixel.

    Raises:
        DataError: it is damaged or not a mask.
    """
    image = _opened(content, name)
    if image.mode != "1":
        raise DataError(
            f"{name}: expected a PNG of one bit per pixel, got mode {image.mode}; generate the shard again"
        )
    return torch.from_numpy(np.array(image))


def encode_uint16(values: UInt16[np.ndarray, "H W"]) -> bytes:
    """Return a gray PNG of 16 bits.

    Pillow writes the same in three times the time, because it tries every filter on every row. Grids and depths
    change slowly down a column, so the difference to the row above always does well.

    Raises:
        ShapeError: the array is empty.
    """
    if values.size == 0:
        raise ShapeError(f"expected values to write, got an array {list(values.shape)}")
    height, width = values.shape
    rows = np.ascontiguousarray(values, ">u2").view(np.uint8).reshape(height, 2 * width)
    filtered = np.empty((height, 2 * width + 1), np.uint8)
    filtered[:, 0] = _UP
    filtered[0, 1:] = rows[0]
    np.subtract(rows[1:], rows[:-1], out=filtered[1:, 1:])
    header = struct.pack(">IIBBBBB", width, height, 16, 0, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(filtered.tobytes(), _COMPRESSION)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in chunks
    )


def decode_uint16(content: bytes, name: str) -> UInt16[np.ndarray, "H W"]:
    """Return the values of a gray PNG of 16 bits.

    Raises:
        DataError: it is damaged or another kind of image.
    """
    values = np.asarray(_opened(content, name))
    if values.dtype != np.uint16 or values.ndim != 2:
        raise DataError(
            f"{name}: expected a gray PNG of 16 bits, got {values.dtype} {list(values.shape)}; "
            "generate the shard again"
        )
    return values


def encode_grid(field: DenseField, reference_size: Size) -> UInt16[np.ndarray, "rows W"]:
    """Return an exact dense field as whole numbers [2H W]: x of every pixel, and below it y.

    A position x of the reference, whose width W spans -0.5 to W - 0.5, becomes round((x + 0.5) / STEP). Rounding
    moves it by at most half a step in x and in y, 0.011 px together. x lies above y in one gray image, because no
    everyday image format has two channels of 16 bits that every reader supports.

    Args:
        field: of one pair (B = 1), with confidence 1 where the truth is known and 0 elsewhere; pixels that point
            outside the reference count as unknown.
        reference_size: (height, width) of the reference image in pixels.

    Raises:
        ConfigError: the reference is too large for 16 bits.
        ShapeError: a batch, or a confidence between 0 and 1.
    """
    if max(reference_size) > MAX_SIDE:
        raise ConfigError(
            f"expected images of at most {MAX_SIDE} pixels a side, as grids are stored in 64ths of a pixel, "
            f"got {reference_size[0]} x {reference_size[1]}; choose a smaller size"
        )
    confidence = field.confidence.detach().cpu().numpy()
    known = confidence == 1
    if len(confidence) != 1 or np.count_nonzero(known) != np.count_nonzero(confidence):
        raise ShapeError("expected one exact field with confidence 0 or 1, got a batch or a prediction")
    height, width = field.size
    # A few objects on a large background: only known pixels cost anything.
    cells = np.flatnonzero(known)
    grid = field.grid.detach().cpu().numpy().reshape(2, -1)[:, cells].T
    xy = normalised_to_pixel(torch.from_numpy(grid.astype(np.float64)), reference_size)
    within = inside(xy, reference_size).numpy()  # NaN is not inside
    numbers = np.full((2, height * width), UNKNOWN, np.uint16)
    numbers[:, cells[within]] = np.rint((xy.numpy()[within].T + _EDGE) / STEP).astype(np.uint16)
    return numbers.reshape(2 * height, width)


def decode_grid(
    numbers: UInt16[np.ndarray, "rows W"], reference_size: Size, *, step: float, name: str
) -> DenseField:
    """Return the field of a grid of `encode_grid`; NaN and confidence 0 where nothing is known.

    `step` is the number of pixels from one number to the next.

    Raises:
        DataError: positions outside the reference, or an odd number of rows.
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
            f"{name}: expected positions in an image of {reference_size[0]} x {reference_size[1]}, got one that "
            "is outside or half known; generate the shard again"
        )
    grid = np.full((2, height * width), np.nan, np.float32)
    grid[:, cells] = pixel_to_normalised(xy, reference_size).numpy().T
    return DenseField(
        grid=torch.from_numpy(grid).reshape(1, 2, height, width),
        confidence=torch.from_numpy(known.astype(np.float32)).reshape(1, height, width),
    )


def encode_depth(depth: Float[Tensor, "H W"]) -> tuple[UInt16[np.ndarray, "H W"], float]:
    """Return a depth map as whole numbers and their scale: z = number * scale, off by half a scale at most.

    Depths are z in the frame of the camera, NaN or infinity where unknown.

    Raises:
        ShapeError: a depth of 0 or less.
    """
    values = depth.detach().cpu().double().numpy()
    known = np.isfinite(values)
    if bool((values[known] <= 0).any()):
        raise ShapeError("expected depths above 0, and NaN where none is known, got a depth of 0 or less")
    scale = float(values[known].max()) / (UNKNOWN - 1) if known.any() else 1.0
    numbers = np.full(values.shape, UNKNOWN, np.uint16)
    numbers[known] = np.rint(values[known] / scale).astype(np.uint16)
    return numbers, scale


def decode_depth(numbers: UInt16[np.ndarray, "H W"], scale: float) -> Float[Tensor, "H W"]:
    """Return the depth map, NaN where it is unknown."""
    depth = np.where(numbers == UNKNOWN, np.nan, numbers * np.float64(scale))
    return torch.from_numpy(depth.astype(np.float32))


def _saved(image: PIL.Image.Image, kind: str, **options: Any) -> bytes:
    encoded = io.BytesIO()
    image.save(encoded, kind, **options)
    return encoded.getvalue()


def _opened(content: bytes, name: str) -> PIL.Image.Image:
    try:
        with PIL.Image.open(io.BytesIO(content), formats=("JPEG", "PNG")) as image:
            image.load()
            return image
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise DataError(
            f"{name}: expected a JPEG or PNG, got a damaged file ({error}); generate the shard again"
        ) from error
