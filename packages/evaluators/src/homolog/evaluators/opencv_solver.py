"""Relative pose, homography, fundamental matrix and affine map through OpenCV, as older protocols have them.

What OpenCV answers depends on its build; numbers of these protocols name its version.
"""

from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any, Literal

import numpy as np

from homolog.core.errors import ConfigError, MissingDependencyError, did_you_mean
from homolog.evaluators.epipolar_geometry import on_normalised_plane
from homolog.evaluators.two_view import MatchedPair, MatrixEstimate, PoseEstimate, spread

METHODS = ("RANSAC", "LMEDS", "RHO", "USAC_DEFAULT", "USAC_ACCURATE", "USAC_MAGSAC")
"""OpenCV's names of its robust methods."""

FocalMean = Literal["fx0 and fy1", "all four"]
"""Which focal lengths turn a threshold in pixels into one on the normalised plane.

`fx0 and fy1`: SuperGlue averages K0[0, 0] and K1[1, 1], twice each; LoFTR and XFeat copied it.
`all four`: glue-factory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class OpencvOptions:
    """What all of OpenCV's robust methods take.

    Attributes:
        method: one of `METHODS`.
        threshold: largest error of an inlier in pixels (LMEDS needs none, and ignores it).
        confidence: at which sampling stops.
        max_iterations: None leaves OpenCV's own limit.
        seed: of OpenCV's global random numbers, set before every pair.
    """

    method: str
    threshold: float | int
    confidence: float | int
    max_iterations: int | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        """Refuse a method that OpenCV does not have."""
        if self.method not in METHODS:
            raise ConfigError(f"OpenCV: no method {self.method}{did_you_mean(self.method, METHODS)}")

    def settings(self) -> dict[str, str]:
        """Return every option, and the version of OpenCV where it is installed."""
        try:
            version = str(import_opencv().__version__)
        except MissingDependencyError:
            version = "not installed"
        return {
            "estimator": f"OpenCV {version}",
            **{name: str(value) for name, value in asdict(self).items()},
        }

    def limit(self) -> dict[str, int]:
        """Return the limit of iterations as OpenCV's argument, if there is one."""
        return {} if self.max_iterations is None else {"maxIters": self.max_iterations}


@dataclass(frozen=True, slots=True, kw_only=True)
class OpencvPose(OpencvOptions):
    """Relative pose from an essential matrix; fewer than 5 matches are a failure.

    `findEssentialMat` on the normalised plane, then `recoverPose` of each candidate, of which the one
    with most points in front of both cameras wins: magicleap/SuperGluePretrainedNetwork:
    models/utils.py::estimate_pose.

    Attributes:
        focal_mean: which focal lengths the threshold is divided by.
    """

    focal_mean: FocalMean

    def __post_init__(self) -> None:
        """Refuse an unknown mean."""
        OpencvOptions.__post_init__(self)
        if self.focal_mean not in ("fx0 and fy1", "all four"):
            raise ConfigError(f"expected focal_mean 'fx0 and fy1' or 'all four', got {self.focal_mean!r}")

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
        E, mask = cv2.findEssentialMat(
            xy0,
            xy1,
            np.eye(3),
            method=getattr(cv2, self.method),
            prob=self.confidence,
            threshold=self.threshold / self._focal(K0, K1),
            **self.limit(),
        )
        if E is None or mask is None:
            return None
        best, most = None, 0
        for candidate in np.split(E, len(E) // 3):
            # Points up to a depth of 1e9 count as in front of the cameras: practically all.
            front, R, t, *_ = cv2.recoverPose(candidate, xy0, xy1, np.eye(3), 1e9, mask=mask.copy())
            if front > most:
                most, best = front, PoseEstimate(R=R, t=t[:, 0], inlier=spread(mask > 0, usable))
        return best

    def _focal(self, K0: np.ndarray, K1: np.ndarray) -> float:
        if self.focal_mean == "fx0 and fy1":
            return float(K0[0, 0] + K1[1, 1]) / 2
        return float(K0[0, 0] + K0[1, 1] + K1[0, 0] + K1[1, 1]) / 4


@dataclass(frozen=True, slots=True, kw_only=True)
class OpencvHomography(OpencvOptions):
    """Homography; fewer than 4 matches are a failure."""

    def estimate(self, pair: MatchedPair, /) -> MatrixEstimate | None:
        """Return the homography, or None.

        Raises:
            MissingDependencyError: OpenCV is not installed.
        """
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
    """Fundamental matrix; fewer than 8 matches are a failure."""

    def estimate(self, pair: MatchedPair, /) -> MatrixEstimate | None:
        """Return the fundamental matrix, or None.

        Raises:
            MissingDependencyError: OpenCV is not installed.
        """
        cv2, xy0, xy1, usable = _begin(self, pair)
        if len(xy0) < 8:
            return None
        method = getattr(cv2, {"RANSAC": "FM_RANSAC", "LMEDS": "FM_LMEDS"}.get(self.method, self.method))
        limit = () if self.max_iterations is None else (self.max_iterations,)
        F, mask = cv2.findFundamentalMat(xy0, xy1, method, self.threshold, self.confidence, *limit)
        # Several solutions come stacked; the seven-point solver alone gives more than one.
        return _matrix(None if F is None else F[:3], mask, usable)


@dataclass(frozen=True, slots=True, kw_only=True)
class OpencvAffine(OpencvOptions):
    """Affine map [2 3]; fewer than 3 matches are a failure.

    Attributes:
        refine_iterations: of the final Levenberg-Marquardt.
    """

    refine_iterations: int = 10

    def __post_init__(self) -> None:
        """Refuse a method that OpenCV has for other models only."""
        OpencvOptions.__post_init__(self)
        if self.method not in ("RANSAC", "LMEDS"):
            raise ConfigError(f"expected RANSAC or LMEDS for an affine map, got {self.method}")

    def estimate(self, pair: MatchedPair, /) -> MatrixEstimate | None:
        """Return the affine map, or None.

        Raises:
            MissingDependencyError: OpenCV is not installed.
        """
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
    return MatrixEstimate(matrix=np.asarray(matrix, dtype=np.float64), inlier=spread(mask, usable))
