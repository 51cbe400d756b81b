"""Depth maps in HDF5 files, as MegaDepth has them."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from homolog.core.errors import DataError, MissingDependencyError

MAXIMUM_PIXELS = 64_000_000
"""A map that unfolds to more is refused before it is unfolded; MegaDepth's have at most 2000 x 2000."""

_NEEDS = "homolog-data[megadepth]"


def read_depth(path: Path) -> Float[Tensor, "H W"]:
    """Read the depth map of a photo.

    Args:
        path: an HDF5 file with a data set `depth` [H W], 0 where nothing is known.

    Returns:
        z in the frame of the camera, float32, in the scale of its scene; NaN where it is not known.

    Raises:
        DataError: the file is missing, damaged, holds no depth, or leads to other files.
        MissingDependencyError: h5py is not installed.
    """
    try:
        import h5py  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise MissingDependencyError(_NEEDS, f"reading {path.name}") from error
    library: Any = h5py  # without types
    try:
        with library.File(path, "r") as file:
            # An HDF5 file can stand for others, anywhere on the disk.
            if type(file.get("depth", getlink=True)) is not library.HardLink:
                raise DataError(f"{path}: expected depth [H W] in the file itself, got none; obtain it again")
            depth: Any = file["depth"]
            _check(depth, isinstance(depth, library.Dataset), path)
            values = torch.from_numpy(np.asarray(depth[()], dtype=np.float32))
    except FileNotFoundError as error:
        raise DataError(f"{path}: expected a depth map, found none; check the folder") from error
    except DataError:
        raise
    except (OSError, KeyError, RuntimeError, ValueError, TypeError) as error:
        raise DataError(
            f"{path}: expected a depth map in HDF5, got a damaged file ({error}); obtain it again"
        ) from error
    return values.masked_fill(~(values.isfinite() & (values > 0)), torch.nan)


def _check(depth: Any, is_array: bool, path: Path) -> None:
    if not is_array or depth.is_virtual or depth.external:
        raise DataError(f"{path}: expected depth [H W] in the file itself, got none; obtain it again")
    if depth.ndim != 2 or depth.dtype.kind != "f" or not 0 < depth.size <= MAXIMUM_PIXELS:
        raise DataError(
            f"{path}: expected depth [H W] as floating-point numbers, got {list(depth.shape)} {depth.dtype}; "
            "obtain it again"
        )
