"""Edges of a picture by Canny's method (1986), through kornia.

kornia is what homolog uses for classical vision elsewhere, runs on torch alone and needs no OpenCV; only
generators and their gates ask for edges, hence an optional package here.
"""

import numpy as np
import torch
from jaxtyping import Bool, UInt8

from homolog.core.errors import MissingDependencyError


def canny(
    picture: UInt8[np.ndarray, "H W 3"], *, low: float = 0.1, high: float = 0.2
) -> Bool[np.ndarray, "H W"]:
    """Return which pixels are edges.

    Args:
        picture: RGB.
        low: gradient from which on an edge goes on, for grey values in [0, 1].
        high: gradient at which it begins.

    Raises:
        MissingDependencyError: kornia is not installed.
    """
    try:
        from kornia.filters import canny as kornia_canny
    except ImportError as error:
        raise MissingDependencyError("homolog-synthetic[flux]", "the edges of a picture") from error
    planes = torch.from_numpy(np.ascontiguousarray(picture.transpose(2, 0, 1))).float()[None] / 255
    with torch.inference_mode():
        _, edges = kornia_canny(planes, low_threshold=low, high_threshold=high)
    return edges[0, 0].numpy() > 0
