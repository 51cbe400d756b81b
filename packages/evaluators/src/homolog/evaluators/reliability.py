"""Whether confidence means what it says."""

import numpy as np
from jaxtyping import Bool, Real

from homolog.core.errors import ConfigError, ShapeError
from homolog.evaluators.score import Curve


def calibration(
    confidence: Real[np.ndarray, " N"], correct: Bool[np.ndarray, " N"], *, bins: int = 10
) -> Curve:
    """Compare how sure a matcher was with how often it was right.

    Args:
        confidence: in [0, 1].
        correct: whether each answer was right.
        bins: how many equal parts [0, 1] is cut into; those that hold no answer are left out.

    Returns:
        For each part the mean confidence and the share of right answers. On the diagonal, a confidence
        of 0.8 is right in 8 of 10 cases.

    Raises:
        ShapeError: arrays of different lengths, or confidence beyond [0, 1].
        ConfigError: no bins.
    """
    if bins < 1:
        raise ConfigError(f"calibration: expected at least 1 bin, got {bins}")
    if confidence.ndim != 1 or confidence.shape != correct.shape:
        raise ShapeError(
            f"calibration: expected confidence [N] and correct [N], got {list(confidence.shape)} and {list(correct.shape)}"
        )
    sure = np.asarray(confidence, dtype=np.float64)
    if not ((sure >= 0) & (sure <= 1)).all():
        raise ShapeError(f"calibration: expected confidence in [0, 1], got {sure.min():g} to {sure.max():g}")
    part = np.minimum((sure * bins).astype(np.int64), bins - 1)
    count = np.bincount(part, minlength=bins)
    held = count > 0
    return Curve(
        x=np.bincount(part, weights=sure, minlength=bins)[held] / count[held],
        y=np.bincount(part, weights=correct, minlength=bins)[held] / count[held],
        x_label="confidence",
        y_label="share of right answers",
    )
