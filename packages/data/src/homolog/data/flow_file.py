"""Middlebury's .flo files: a displacement for each pixel of an image."""

from pathlib import Path

import numpy as np

from homolog.core.errors import DataError
from homolog.core.io import MAXIMUM_PIXELS

MAGIC = 202021.25
"""The first four bytes as a little-endian float32; they read "PIEH"."""

UNKNOWN = 1e9
"""Displacements beyond this say that nothing is known of the pixel."""


def read_flow(path: Path) -> np.ndarray:
    """Read a .flo file.

    Returns:
        [H W 2] float32, how far each pixel moves to the right and down, in pixels; NaN where unknown.

    Raises:
        DataError: missing, of another kind, cut off or too long.
    """
    try:
        content = path.read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise DataError(f"{path}: expected a .flo file, found none; check the data set") from error
    except OSError as error:
        raise DataError(
            f"{path}: expected a .flo file that can be read ({error.strerror}); check it"
        ) from error
    if len(content) < 12 or np.frombuffer(content, "<f4", 1)[0] != np.float32(MAGIC):
        raise DataError(f"{path}: expected a .flo file that begins with {MAGIC}, got another; copy it again")
    width, height = (int(side) for side in np.frombuffer(content, "<i4", 2, offset=4))
    expected = 12 + 8 * width * height
    if width < 1 or height < 1 or width * height > MAXIMUM_PIXELS or len(content) != expected:
        raise DataError(
            f"{path}: expected {width} x {height} displacements, {expected:,} bytes, got {len(content):,}; "
            "copy it again"
        )
    flow = np.frombuffer(content, "<f4", offset=12).reshape(height, width, 2).astype(np.float32)
    # A NaN compares as unknown too.
    known = (np.abs(flow) < UNKNOWN).all(axis=-1, keepdims=True)
    return np.where(known, flow, np.float32(np.nan))
