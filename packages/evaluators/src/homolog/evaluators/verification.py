"""Geometric verification of matches: a robust model by PoseLib, and which matches agree with it."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Real

from homolog.evaluators.solvers import MatchedPair, PoselibFundamental, PoselibHomography

Check = Literal["fundamental", "homography", "none"]
"""`fundamental` for photos of a rigid scene, `homography` for a flat scene or a rotating camera, `none` for all
others."""

MINIMUM = {"fundamental": 8, "homography": 5}
"""One match more than a model needs: any smaller number agrees with some model."""

RELATIVE_THRESHOLD = 0.003
"""Default threshold as a fraction of the longer side: 2 pixels at 640."""

ESTIMATORS = {"fundamental": PoselibFundamental, "homography": PoselibHomography}

MAX_ITERATIONS = 20_000
"""Enough for one inlier in four (fundamental matrix), and bounded in time."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Verification:
    """The result of a geometric verification.

    Attributes:
        check: the model that was fitted.
        inlier: [M] whether a match agrees with the model; all True without a check.
        model: [3 3], p1^T F p0 = 0 (fundamental) or p1 ~ H p0 (homography) in pixels whose integers are pixel
            centres; None if there is no model.
        threshold: in pixels.
        note: a message for the user, or empty.
    """

    check: Check
    inlier: Bool[np.ndarray, " M"]
    model: Float[np.ndarray, "3 3"] | None
    threshold: float
    note: str = ""


def verify(
    xy0: Real[np.ndarray, "M 2"], xy1: Real[np.ndarray, "M 2"], *, check: Check, threshold: float
) -> Verification:
    """Fit a model to matches, and return which of them agree with it. Equal matches give equal results.

    Args:
        xy0: [M 2] pixels of image 0.
        xy1: [M 2] pixels of image 1.
        check: the model.
        threshold: in pixels: of the Sampson error for `fundamental`, of the distance in image 1 for `homography`.

    Returns:
        Without a model no match is an inlier, and the note says why.

    Raises:
        MissingDependencyError: PoseLib is not installed.
        ConfigError: an unsupported version of PoseLib, or a threshold that is not above 0.
    """
    if check == "none":
        return Verification(
            check=check, inlier=np.ones(len(xy0), dtype=bool), model=None, threshold=threshold
        )
    note = f"too few matches for a {check} check: {len(xy0)} of at least {MINIMUM[check]}"
    if len(xy0) >= MINIMUM[check]:
        note = f"no {check} model: no more matches agree than would by chance"
        # All options but the limit of iterations are PoseLib's defaults.
        estimator = ESTIMATORS[check](
            threshold=threshold, min_iterations=1000, max_iterations=MAX_ITERATIONS, success_prob=0.9999
        )
        xy0, xy1 = (np.asarray(xy, dtype=np.float64) for xy in (xy0, xy1))
        found = estimator.estimate(MatchedPair(name=check, xy0=xy0, xy1=xy1, score=np.ones(len(xy0))))
        if found is not None and found.inlier.sum() >= MINIMUM[check]:
            return Verification(check=check, inlier=found.inlier, model=found.matrix, threshold=threshold)
    nothing = np.zeros(len(xy0), dtype=bool)
    return Verification(check=check, inlier=nothing, model=None, threshold=threshold, note=note)


def default_threshold(size0: tuple[int, int], size1: tuple[int, int]) -> float:
    """Return the default threshold in pixels for two images of these sizes (height, width)."""
    return RELATIVE_THRESHOLD * max(*size0, *size1)
