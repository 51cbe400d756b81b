"""Check matches against what geometry allows, with a robust estimate by PoseLib."""

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import poselib
from numpy.typing import NDArray

from homolog.core.coords import Size

Check = Literal["fundamental", "homography", "none"]

FEWEST = {"fundamental": 8, "homography": 5}
"""One match more than the estimate needs: fewer agree with it whatever they are."""

SEED = 0

TRIALS = 20_000
"""Upper bound of random samples; enough for one inlier in four (fundamental matrix) and bounded in time."""

RELATIVE_THRESHOLD = 0.003
"""Tolerance if none is given, as a share of the longer side: 2 pixels at 640."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verification:
    """What a geometric check says of matches.

    Attributes:
        check: which model was fitted.
        inlier: [M] bool, the matches that agree with it; all of them if nothing was checked.
        model: [3 3], so that p1^T F p0 = 0 (fundamental) or p1 ~ H p0 (homography) for pixel
            coordinates whose integers are pixel centres; None when there is no model.
        threshold: the tolerance in pixels.
        note: what a user should know, or nothing.
    """

    check: Check
    inlier: NDArray[np.bool_]
    model: NDArray[np.float64] | None
    threshold: float
    note: str = ""


def verify(
    xy0: NDArray[np.float32], xy1: NDArray[np.float32], *, check: Check, threshold: float
) -> Verification:
    """Fit a model to matches and tell which agree with it.

    Args:
        xy0: [M 2] pixels of image 0.
        xy1: [M 2] pixels of image 1.
        check: `fundamental` for photos of one rigid scene, `homography` for a flat scene or a
            camera that only turned, `none` for everything else.
        threshold: tolerance in pixels: of the Sampson error for `fundamental`, of the distance in
            image 1 for `homography`.

    Returns:
        The verdict; without a model all matches are outliers, and the note says why.
    """
    if check == "none":
        return Verification(
            check=check, inlier=np.ones(len(xy0), dtype=bool), model=None, threshold=threshold
        )
    nothing = np.zeros(len(xy0), dtype=bool)
    if len(xy0) < FEWEST[check]:
        note = f"too few matches for a {check} check: {len(xy0)} of at least {FEWEST[check]}"
        return Verification(check=check, inlier=nothing, model=None, threshold=threshold, note=note)
    model, report = _estimate(xy0.astype(np.float64), xy1.astype(np.float64), check, threshold)
    inlier = np.asarray(report["inliers"], dtype=bool)
    if inlier.sum() < FEWEST[check] or not np.isfinite(model).all():
        note = f"no {check} model: no more matches agree than would by chance"
        return Verification(check=check, inlier=nothing, model=None, threshold=threshold, note=note)
    return Verification(check=check, inlier=inlier, model=model, threshold=threshold)


def default_threshold(size0: Size, size1: Size) -> float:
    """Return the tolerance in pixels for two images of these sizes (height, width)."""
    return RELATIVE_THRESHOLD * max(*size0, *size1)


def _estimate(
    xy0: NDArray[np.float64], xy1: NDArray[np.float64], check: Check, threshold: float
) -> tuple[NDArray[np.float64], dict[str, Any]]:
    options = {"seed": SEED, "max_iterations": TRIALS}
    if check == "fundamental":
        return poselib.estimate_fundamental(xy0, xy1, options | {"max_epipolar_error": threshold}, {})
    return poselib.estimate_homography(xy0, xy1, options | {"max_reproj_error": threshold}, {})
