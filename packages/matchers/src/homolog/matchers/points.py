"""What a user hands over as points, as one kind of tensor."""

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from homolog.core.errors import DataError, ShapeError
from homolog.core.protocols import Points


def as_points(xy: Points) -> Float[Tensor, "N 2"]:
    """Return pixel coordinates as a float64 tensor on the CPU; an empty list has the shape [0 2].

    Raises:
        ShapeError: not [N 2].
        DataError: a coordinate that is not finite.
    """
    try:
        points = torch.as_tensor(xy if isinstance(xy, Tensor) else np.asarray(xy, dtype=np.float64))
    except (TypeError, ValueError) as error:
        raise ShapeError(f"expected points [[x, y], ...], got {type(xy).__name__}: {error}") from error
    if points.numel() == 0:
        return torch.zeros(0, 2, dtype=torch.float64)
    if points.ndim != 2 or points.shape[1] != 2:
        raise ShapeError(f"expected points [N 2], got {list(points.shape)}; write one point as [[x, y]]")
    points = points.detach().to("cpu", torch.float64)
    if not bool(points.isfinite().all()):
        raise DataError("the points: expected finite coordinates, got NaN or infinity; leave those out")
    return points
