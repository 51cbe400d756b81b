"""Depth maps as whole numbers of a scale of their own."""

import numpy as np
import torch
from jaxtyping import Float, UInt16
from torch import Tensor

from homolog.core.errors import ShapeError

UNKNOWN = 65535
"""Where no depth is known."""


def encode_depth(depth: Float[Tensor, "H W"]) -> tuple[UInt16[np.ndarray, "H W"], float]:
    """Return the numbers of a depth map and their scale: z = number * scale, off by half a scale at most.

    Args:
        depth: z in the frame of the camera, above 0; NaN or infinity where it is unknown.

    Raises:
        ShapeError: a depth that is not in front of the camera.
    """
    values = depth.detach().cpu().double().numpy()
    known = np.isfinite(values)
    if bool((values[known] <= 0).any()):
        raise ShapeError(
            "expected depths above 0, and NaN where none is known, got one at or behind the camera"
        )
    scale = float(values[known].max()) / (UNKNOWN - 1) if known.any() else 1.0
    numbers = np.full(values.shape, UNKNOWN, np.uint16)
    numbers[known] = np.rint(values[known] / scale).astype(np.uint16)
    return numbers, scale


def decode_depth(numbers: UInt16[np.ndarray, "H W"], scale: float) -> Float[Tensor, "H W"]:
    """Return the depth map, NaN where it is unknown."""
    depth = np.where(numbers == UNKNOWN, np.nan, numbers * np.float64(scale))
    return torch.from_numpy(depth.astype(np.float32))
