"""How far an estimated relative pose is from the true one, in degrees."""

from typing import Literal

import numpy as np
from jaxtyping import Real

from homolog.core.errors import ConfigError

ZeroTranslation = Literal["failure", "perpendicular"]
"""What the angle to a translation without length is.

`failure`: LoFTR, SuperGlue and XFeat divide by zero and get NaN; here that is infinite.
`perpendicular`: glue-factory keeps the divisor at 1e-10 or more, which makes it 90 degrees."""

SMALLEST_DIVISOR = 1e-10


def rotation_error(R: Real[np.ndarray, "3 3"], R_true: Real[np.ndarray, "3 3"]) -> float:
    """Return the angle of the rotation between two rotations, in degrees from 0 to 180.

    arccos((trace(R^T R_true) - 1) / 2), as in zju3dv/LoFTR:src/utils/metrics.py::relative_pose_error. A
    rotation that is not finite is infinitely far.
    """
    cosine = (np.trace(np.asarray(R, dtype=np.float64).T @ R_true) - 1) / 2
    return _degrees(cosine)


def translation_error(
    t: Real[np.ndarray, "3"],
    t_true: Real[np.ndarray, "3"],
    *,
    zero_translation: ZeroTranslation,
    ignore_shorter: float | int = 0.0,
) -> float:
    """Return the angle between two directions in degrees from 0 to 90: the opposite direction is no error.

    The sign of a translation cannot be told from an essential matrix alone, so all official codes fold
    the angle.

    Args:
        t: estimated, of any length.
        t_true: true, of any length.
        zero_translation: what a translation without length costs.
        ignore_shorter: a true translation shorter than this, in its own unit, has no error. LoFTR's
            `ignore_gt_t_thr`; all published protocols leave it at 0.

    Raises:
        ConfigError: another rule for a translation without length.
    """
    if zero_translation not in ("failure", "perpendicular"):
        raise ConfigError(f"expected zero_translation failure or perpendicular, got {zero_translation!r}")
    if np.linalg.norm(t_true) < ignore_shorter:
        return 0.0
    divisor = np.linalg.norm(np.asarray(t, dtype=np.float64)) * np.linalg.norm(t_true)
    if zero_translation == "perpendicular":
        divisor = max(divisor, SMALLEST_DIVISOR)
    with np.errstate(invalid="ignore", divide="ignore"):
        angle = _degrees(np.dot(np.asarray(t, dtype=np.float64), t_true) / divisor)
    return min(angle, 180 - angle) if np.isfinite(angle) else angle


def pose_error(
    R: Real[np.ndarray, "3 3"],
    t: Real[np.ndarray, "3"],
    R_true: Real[np.ndarray, "3 3"],
    t_true: Real[np.ndarray, "3"],
    *,
    zero_translation: ZeroTranslation,
) -> tuple[float, float]:
    """Return the rotation error and the translation error, in degrees (see both).

    Protocols count the larger one, unless they say otherwise. A missing pose is infinitely far; do not
    ask for it here.

    >>> quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    >>> x, z = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])
    >>> pose_error(quarter, -x, np.eye(3), x, zero_translation="failure")
    (90.0, 0.0)
    """
    return rotation_error(R, R_true), translation_error(t, t_true, zero_translation=zero_translation)


def _degrees(cosine: float) -> float:
    angle = float(np.rad2deg(np.arccos(np.clip(cosine, -1.0, 1.0))))
    return angle if np.isfinite(angle) else float("inf")
