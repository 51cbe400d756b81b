"""Estimators of OpenCV: relative pose, homography, fundamental matrix and affine map, as in older protocols.

The estimates depend on OpenCV's version, which the settings report.
"""

from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any, Literal, get_args

import numpy as np

from homolog.core.errors import MissingDependencyError, one_of
from homolog.evaluators.fundamental import on_normalised_plane
from homolog.evaluators.solvers import MatchedPair, MatrixEstimate, PoseEstimate, all_flags

METHODS = ("RANSAC", "LMEDS", "RHO", "USAC_DEFAULT", "USAC_ACCURATE", "USAC_MAGSAC")
"""Names of OpenCV's robust methods."""

FocalMean = Literal["fx0 and fy1", "all four"]
"""The focal lengths whose mean converts a threshold in pixels to the normalised plane.

`fx0 and fy1`: SuperGlue averages K0[0, 0] and K1[1, 1], twice each; LoFTR and XFeat copied it.
`all four`: glue-factory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpencvOptions:
    """The options of all robust methods of OpenCV.

    Attributes:
        method: one of `METHODS`.
        threshold: largest error of an inlier in pixels (ignored by LMEDS).
        confidence: at which sampling stops.
        max_iterations: None for OpenCV's default.
        seed: of OpenCV's random numbers. They belong to a thread, and are seeded on it for every pair.
    """

    method: str
    threshold: float | int
    confidence: float | int
    max_iterations: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        one_of("method", self.method, METHODS)

    def settings(self) -> dict[str, str]:
        """Return every option, and the version of OpenCV if it is installed."""
        try:
            version = str(import_opencv().__version__)
        except MissingDependencyError:
            version = "not installed"
        return {
            "estimator": f"OpenCV {version}",
            **{name: str(value) for name, value in asdict(self).items()},
        }

    def limit(self) -> dict[str, int]:
        """Return the largest number of iterations as an argument of OpenCV, if it is set."""
        return {} if self.max_iterations is None else {"maxIters": self.max_iterations}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpencvPose(OpencvOptions):
    """Relative pose from an essential matrix. Fewer than 5 matches fail.

    `findEssentialMat` on the normalised plane, then `recoverPose` for each candidate; the one with the most
    points in front of both cameras wins. As magicleap/SuperGluePretrainedNetwork:models/utils.py::estimate_pose.

    Attributes:
        focal_mean: the focal lengths whose mean the threshold is divided by.
    """

    focal_mean: FocalMean

    def __post_init__(self) -> None:
        OpencvOptions.__post_init__(self)
        one_of("focal_mean", self.focal_mean, get_args(FocalMean))

    def estimate(self, pair: MatchedPair, /) -> PoseEstimate | None:
        """Return the pose, or None.

        Raises:
            MissingDependencyError: OpenCV is not installed.
            ShapeError: a pair without intrinsics.
        """
        cv2, xy0, xy1, usable = _begin(self, pair)
        K0, K1 = pair.intrinsics()
        if len(xy0) < 5:
            return None
        xy0, xy1 = on_normalised_plane(xy0, K0), on_normalised_plane(xy1, K1)
        chosen = [K0[0, 0], K1[1, 1]]
        if self.focal_mean == "all four":
            chosen = [K0[0, 0], K0[1, 1], K1[0, 0], K1[1, 1]]
        focal = float(sum(chosen)) / len(chosen)
        E, mask = cv2.findEssentialMat(
            xy0,
            xy1,
            np.eye(3),
            method=getattr(cv2, self.method),
            prob=self.confidence,
            threshold=self.threshold / focal,
            **self.limit(),
        )
        if E is None or mask is None:
            return None
        best, most = None, 0
        for candidate in np.split(E, len(E) // 3):
            # Points up to a depth of 1e9 count as in front of the cameras, which is practically all.
            front, R, t, *_ = cv2.recoverPose(candidate, xy0, xy1, np.eye(3), 1e9, mask=mask.copy())
            if front > most:
                most, best = front, PoseEstimate(R=R, t=t[:, 0], inlier=all_flags(mask > 0, usable))
        return best


@dataclass(frozen=True, slots=True, kw_only=True)
class OpencvHomography(OpencvOptions):
    """Homography. Fewer than 4 matches fail."""

    def estimate(self, pair: MatchedPair, /) -> MatrixEstimate | None:
        """Return the homography, or None; errors as of `OpencvPose`."""
        cv2, xy0, xy1, usable = _begin(self, pair)
        if len(xy0) < 4:
            return None
        H, mask = cv2.findHomography(
            xy0,
            xy1,
            getattr(cv2, self.method),
            ransacReprojThreshold=self.threshold,
            confidence=self.confidence,
            **self.limit(),
        )
        return _matrix(H, mask, usable)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpencvFundamental(OpencvOptions):
    """Fundamental matrix. Fewer than 8 matches fail."""

    def estimate(self, pair: MatchedPair, /) -> MatrixEstimate | None:
        """Return the fundamental matrix, or None; errors as of `OpencvPose`."""
        cv2, xy0, xy1, usable = _begin(self, pair)
        if len(xy0) < 8:
            return None
        method = getattr(cv2, {"RANSAC": "FM_RANSAC", "LMEDS": "FM_LMEDS"}.get(self.method, self.method))
        limit = () if self.max_iterations is None else (self.max_iterations,)
        F, mask = cv2.findFundamentalMat(xy0, xy1, method, self.threshold, self.confidence, *limit)
        # Several solutions are stacked; only the seven-point solver returns more than one.
        return _matrix(None if F is None else F[:3], mask, usable)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpencvAffine(OpencvOptions):
    """Affine map [2 3]. Fewer than 3 matches fail.

    Attributes:
        refine_iterations: of the final Levenberg-Marquardt.
    """

    refine_iterations: int = 10

    def __post_init__(self) -> None:
        OpencvOptions.__post_init__(self)
        one_of("method", self.method, ("RANSAC", "LMEDS"))

    def estimate(self, pair: MatchedPair, /) -> MatrixEstimate | None:
        """Return the affine map, or None; errors as of `OpencvPose`."""
        cv2, xy0, xy1, usable = _begin(self, pair)
        if len(xy0) < 3:
            return None
        A, mask = cv2.estimateAffine2D(
            xy0,
            xy1,
            method=getattr(cv2, self.method),
            ransacReprojThreshold=self.threshold,
            confidence=self.confidence,
            refineIters=self.refine_iterations,
            **self.limit(),
        )
        return _matrix(A, mask, usable)


def import_opencv() -> ModuleType:
    """Return OpenCV.

    Raises:
        MissingDependencyError: it is not installed.
    """
    try:
        import cv2
    except ImportError as error:
        raise MissingDependencyError("opencv-python-headless", "this estimator") from error
    return cv2


def _begin(options: OpencvOptions, pair: MatchedPair) -> tuple[Any, np.ndarray, np.ndarray, np.ndarray]:
    cv2: Any = import_opencv()
    cv2.setRNGSeed(options.seed)
    return cv2, *pair.usable()


def _matrix(matrix: Any, mask: Any, usable: np.ndarray) -> MatrixEstimate | None:
    if matrix is None or mask is None or np.size(matrix) == 0 or not np.isfinite(matrix).all():
        return None
    return MatrixEstimate(matrix=np.asarray(matrix, dtype=np.float64), inlier=all_flags(mask, usable))
