"""Estimators of two-view geometry: what goes in and comes out, the estimators of PoseLib, and running them in threads.

OpenCV's estimators are in `homolog.evaluators.opencv_solvers`, the direct linear transform in
`homolog.evaluators.homography`.
"""

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from jaxtyping import Bool, Float

from homolog.core.errors import ConfigError, MissingDependencyError, ShapeError
from homolog.evaluators.records import Score, mean_score


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MatchedPair:
    """The matches of one image pair, best first, all float64.

    Attributes:
        name: of the pair, for error messages.
        xy0: [M 2] pixels of image 0.
        xy1: [M 2] pixels of image 1.
        score: [M], higher is better.
        K0: [3 3] intrinsics of image 0 for these pixels, or None.
        K1: [3 3] of image 1, or None.
    """

    name: str
    xy0: Float[np.ndarray, "M 2"]
    xy1: Float[np.ndarray, "M 2"]
    score: Float[np.ndarray, " M"]
    K0: Float[np.ndarray, "3 3"] | None = None
    K1: Float[np.ndarray, "3 3"] | None = None

    def __post_init__(self) -> None:
        if not len(self.xy0) == len(self.xy1) == len(self.score):
            raise ShapeError(
                f"{self.name}: expected as many xy1 and scores as xy0, got {len(self.xy0)}, {len(self.xy1)} and "
                f"{len(self.score)}"
            )

    def intrinsics(self) -> tuple[np.ndarray, np.ndarray]:
        """Return K0 and K1.

        Raises:
            ShapeError: the pair has none.
        """
        if self.K0 is None or self.K1 is None:
            raise ShapeError(
                f"{self.name}: expected a pair with intrinsics, got none; choose a task with poses"
            )
        return self.K0, self.K1

    def usable(self) -> tuple[Float[np.ndarray, "U 2"], Float[np.ndarray, "U 2"], Bool[np.ndarray, " M"]]:
        """Return the matches with finite coordinates, which estimators see, and a mask of them."""
        # Nearly always all are finite, and a sum is enough to know.
        if np.isfinite(self.xy0.sum() + self.xy1.sum()):
            return self.xy0, self.xy1, np.ones(len(self.xy0), dtype=np.bool_)
        finite = np.all(np.isfinite(np.concatenate((self.xy0, self.xy1), axis=1)), axis=1)
        return self.xy0[finite], self.xy1[finite], finite


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PoseEstimate:
    """The motion from camera 0 to camera 1: X1 = R X0 + t.

    Attributes:
        R: [3 3] rotation.
        t: [3] direction of the translation.
        inlier: [M] whether a match agrees with it.
    """

    R: Float[np.ndarray, "3 3"]
    t: Float[np.ndarray, "3"]
    inlier: Bool[np.ndarray, " M"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MatrixEstimate:
    """A homography [3 3], a fundamental matrix [3 3] or an affine map [2 3], between pixels.

    Attributes:
        matrix: from image 0 to image 1.
        inlier: [M] whether a match agrees with it.
    """

    matrix: Float[np.ndarray, "rows 3"]
    inlier: Bool[np.ndarray, " M"]


Estimate = TypeVar("Estimate", PoseEstimate, MatrixEstimate, covariant=True)


@runtime_checkable
class Estimator(Protocol[Estimate]):
    """Estimates geometry from matches. It is called from several threads, so it holds settings only."""

    def estimate(self, pair: MatchedPair, /) -> Estimate | None:
        """Return the estimate, or None for a failure.

        Equal matches give equal estimates, whatever was estimated before and on whichever thread.

        Raises:
            MissingDependencyError: the library is not installed.
        """
        ...

    def settings(self) -> dict[str, str]:
        """Return every setting that changes the estimate, as text."""
        ...


def estimate_all(
    estimator: Estimator[Estimate], pairs: Sequence[MatchedPair], *, workers: int | None
) -> list[Estimate | None]:
    """Estimate the geometry of many pairs in threads.

    PoseLib and OpenCV release the global interpreter lock, so threads use all cores.

    Args:
        estimator: holds settings only; every estimate seeds its own random numbers.
        pairs: with their matches.
        workers: threads; None for as many as cores that this process may use. The estimates do not depend on it.

    Returns:
        One estimate for each pair, in order; None for a failure.

    Raises:
        ConfigError: `workers` below 1.
        HomologError: raised by the estimator; pairs that have not begun are then skipped.
    """
    if workers is not None and workers < 1:
        raise ConfigError(f"expected workers of at least 1, or null for all cores, got {workers}")
    threads = min(_cores() if workers is None else workers, len(pairs))
    if threads <= 1:
        return [estimator.estimate(pair) for pair in pairs]
    with ThreadPoolExecutor(threads, thread_name_prefix="estimate") as pool:
        return list(pool.map(estimator.estimate, pairs))


def inlier_counts(estimates: Sequence[PoseEstimate | MatrixEstimate | None]) -> Float[np.ndarray, " N"]:
    """Return the number of inliers of each estimate; 0 for a failure."""
    return np.array([0 if found is None else found.inlier.sum() for found in estimates], dtype=np.float64)


def match_columns(
    pairs: Sequence[MatchedPair], estimates: Sequence[PoseEstimate | MatrixEstimate | None]
) -> dict[str, Float[np.ndarray, " N"]]:
    """Return the numbers of matches and of inliers of each pair."""
    matches = np.array([len(pair.xy0) for pair in pairs], dtype=np.float64)
    return {"matches": matches, "inliers": inlier_counts(estimates)}


def failures(estimates: Sequence[PoseEstimate | MatrixEstimate | None]) -> Score:
    """Return the fraction of pairs without an estimate."""
    missing = np.array([found is None for found in estimates], dtype=np.float64)
    return mean_score("failures", missing, higher_is_better=False)


def all_flags(inlier: np.ndarray, usable: np.ndarray) -> Bool[np.ndarray, " M"]:
    """Return flags of the usable matches as flags of all matches."""
    flags = usable.copy()
    flags[usable] = np.asarray(inlier, dtype=np.bool_).reshape(-1)
    return flags


POSELIB_VERSION = "2.0.5"
"""PoseLib 3 takes one options dictionary with other keys and ignores unknown ones: `max_epipolar_error` would
silently be 1.0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoselibOptions:
    """LO-RANSAC and refinement; the defaults are those of PoseLib 2.0.5, spelled out so that they stay.

    Attributes:
        threshold: largest error of an inlier in pixels: `max_epipolar_error` for poses and fundamental
            matrices, `max_reproj_error` for homographies.
        min_iterations: of RANSAC.
        max_iterations: of RANSAC.
        success_prob: confidence at which RANSAC stops early.
        dyn_num_trials_mult: factor on the number of iterations for that confidence.
        seed: of the sampling.
        progressive_sampling: sample from the best matches first (PROSAC).
        max_prosac_iterations: after which it samples from all matches.
        real_focal_check: for fundamental matrices only.
        loss_type: of the final bundle adjustment.
        loss_scale: of that loss, in pixels. None is half the threshold, which is what PoseLib uses if no scale is
            given, not the 1.0 in its table of defaults.
        bundle_iterations: of the bundle adjustment.
    """

    threshold: float | int
    min_iterations: int
    max_iterations: int
    success_prob: float | int
    dyn_num_trials_mult: float | int = 3.0
    seed: int = 0
    progressive_sampling: bool = False
    max_prosac_iterations: int = 100000
    real_focal_check: bool = False
    loss_type: str = "CAUCHY"
    loss_scale: float | int | None = None
    bundle_iterations: int = 100

    def __post_init__(self) -> None:
        if self.threshold <= 0 or not 0 < self.success_prob < 1 or self.max_iterations < 1:
            raise ConfigError(
                "expected a threshold above 0, success_prob between 0 and 1 and at least 1 iteration, got "
                f"{self.threshold}, {self.success_prob} and {self.max_iterations}"
            )

    def ransac(self, threshold: str) -> dict[str, Any]:
        """Return PoseLib's RANSAC options; `threshold` is PoseLib's name of the threshold."""
        other = ("threshold", "loss_type", "loss_scale", "bundle_iterations", "min_inliers")
        options = {name: value for name, value in asdict(self).items() if name not in other}
        return {threshold: self.threshold, **options}

    def bundle(self) -> dict[str, Any]:
        """Return PoseLib's options of the bundle adjustment."""
        return {
            "loss_type": self.loss_type,
            "loss_scale": self.threshold / 2 if self.loss_scale is None else self.loss_scale,
            "max_iterations": self.bundle_iterations,
        }

    def settings(self) -> dict[str, str]:
        """Return every option as text."""
        chosen = {**asdict(self), "loss_scale": self.bundle()["loss_scale"]}
        return {
            "estimator": f"PoseLib {POSELIB_VERSION}",
            **{name: str(value) for name, value in chosen.items()},
        }

    def _matrix(
        self, pair: MatchedPair, function: str, threshold: str, *, minimum: int
    ) -> MatrixEstimate | None:
        xy0, xy1, usable = pair.usable()
        poselib = import_poselib()
        if len(xy0) < minimum:
            return None
        matrix, info = getattr(poselib, function)(xy0, xy1, self.ransac(threshold), self.bundle())
        found = np.array(matrix, dtype=np.float64)
        if info["num_inliers"] == 0 or not np.isfinite(found).all():
            return None
        return MatrixEstimate(matrix=found, inlier=_inliers(info, usable))


@dataclass(frozen=True, slots=True, kw_only=True)
class PoselibPose(PoselibOptions):
    """Relative pose by the five-point solver. Fewer than 5 matches fail (PoseLib would return the identity).

    Attributes:
        min_inliers: a pose with fewer inliers is a failure. This is a check of the result, not an option of PoseLib.
    """

    min_inliers: int = 1

    def estimate(self, pair: MatchedPair, /) -> PoseEstimate | None:
        """Return the pose, or None.

        Raises:
            MissingDependencyError: PoseLib is not installed.
            ConfigError: an unsupported version of PoseLib.
            ShapeError: a pair without intrinsics.
        """
        xy0, xy1, usable = pair.usable()
        cameras = [_camera(K) for K in pair.intrinsics()]
        poselib = import_poselib()
        if len(xy0) < 5:
            return None
        pose, info = poselib.estimate_relative_pose(
            xy0, xy1, *cameras, self.ransac("max_epipolar_error"), self.bundle()
        )
        # Without a model PoseLib still returns a pose: the identity, or the last one tried.
        if info["num_inliers"] < max(self.min_inliers, 1):
            return None
        return PoseEstimate(R=np.array(pose.R), t=np.array(pose.t), inlier=_inliers(info, usable))


@dataclass(frozen=True, slots=True, kw_only=True)
class PoselibHomography(PoselibOptions):
    """Homography. Fewer than 4 matches fail (PoseLib would return uninitialised memory)."""

    def estimate(self, pair: MatchedPair, /) -> MatrixEstimate | None:
        """Return the homography, or None; errors as of `PoselibPose`."""
        return self._matrix(pair, "estimate_homography", "max_reproj_error", minimum=4)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoselibFundamental(PoselibOptions):
    """Fundamental matrix by the seven-point solver. Fewer than 7 matches fail."""

    def estimate(self, pair: MatchedPair, /) -> MatrixEstimate | None:
        """Return the fundamental matrix, or None; errors as of `PoselibPose`."""
        return self._matrix(pair, "estimate_fundamental", "max_epipolar_error", minimum=7)


def import_poselib() -> ModuleType:
    """Return PoseLib, in the version whose options are used here.

    Raises:
        MissingDependencyError: it is not installed.
        ConfigError: an unsupported version.
    """
    try:
        import poselib
    except ImportError as error:
        raise MissingDependencyError(
            f"poselib=={POSELIB_VERSION}", "geometric verification and poses"
        ) from error
    found = str(getattr(poselib, "__version__", "of an unknown version"))
    if found != POSELIB_VERSION:
        raise ConfigError(
            f"expected PoseLib {POSELIB_VERSION}, got {found}, which would silently ignore max_epipolar_error; "
            f"run: pip install poselib=={POSELIB_VERSION}"
        )
    return poselib


def _camera(K: np.ndarray) -> dict[str, Any]:
    focal_x, focal_y, x, y = float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2])
    # The size has no effect here; XFeat's evaluator also uses twice the principal point.
    return {
        "model": "PINHOLE",
        "width": int(2 * x),
        "height": int(2 * y),
        "params": [focal_x, focal_y, x, y],
    }


def _inliers(info: dict[str, Any], usable: np.ndarray) -> np.ndarray:
    return all_flags(np.array(info["inliers"], dtype=np.bool_), usable)


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
