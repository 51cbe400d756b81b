"""Relative pose, homography and fundamental matrix through PoseLib, with every option said."""

from dataclasses import asdict, dataclass
from types import ModuleType
from typing import Any

import numpy as np

from homolog.core.errors import ConfigError, MissingDependencyError
from homolog.evaluators.two_view import MatchedPair, MatrixEstimate, PoseEstimate, spread

VERSION = "2.0.5"
"""PoseLib 3 takes one options dictionary with other keys and ignores those it does not know:
`max_epipolar_error` would silently be 1.0."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PoselibOptions:
    """LO-RANSAC and refinement; the defaults are those of PoseLib 2.0.5, said so that they stay.

    Attributes:
        threshold: largest error of an inlier in pixels: `max_epipolar_error` for poses and fundamental
            matrices, `max_reproj_error` for homographies.
        min_iterations: of RANSAC.
        max_iterations: of RANSAC.
        success_prob: confidence at which RANSAC stops early.
        dyn_num_trials_mult: factor on the iterations that this confidence asks for.
        seed: of the sampling; equal matches then give equal models.
        progressive_sampling: sample from the best matches first (PROSAC).
        max_prosac_iterations: after which it samples from all.
        real_focal_check: of fundamental matrices only.
        loss_type: of the final bundle adjustment.
        loss_scale: of that loss, in pixels. None is half the threshold: that is what PoseLib takes when
            nobody names a scale, not the 1.0 that its table of defaults shows.
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
        """Refuse what no RANSAC can work with."""
        if self.threshold <= 0 or not 0 < self.success_prob < 1 or self.max_iterations < 1:
            raise ConfigError(
                "expected a threshold above 0, success_prob between 0 and 1 and at least 1 iteration, got "
                f"{self.threshold}, {self.success_prob} and {self.max_iterations}"
            )

    def ransac(self, threshold: str) -> dict[str, Any]:
        """Return PoseLib's dictionary, with the threshold under its name there."""
        return {
            threshold: self.threshold,
            "min_iterations": self.min_iterations,
            "max_iterations": self.max_iterations,
            "success_prob": self.success_prob,
            "dyn_num_trials_mult": self.dyn_num_trials_mult,
            "seed": self.seed,
            "progressive_sampling": self.progressive_sampling,
            "max_prosac_iterations": self.max_prosac_iterations,
            "real_focal_check": self.real_focal_check,
        }

    def bundle(self) -> dict[str, Any]:
        """Return PoseLib's dictionary for the refinement."""
        return {
            "loss_type": self.loss_type,
            "loss_scale": self.threshold / 2 if self.loss_scale is None else self.loss_scale,
            "max_iterations": self.bundle_iterations,
        }

    def settings(self) -> dict[str, str]:
        """Return every option as text."""
        chosen = {**asdict(self), "loss_scale": self.bundle()["loss_scale"]}
        return {"estimator": f"PoseLib {VERSION}", **{name: str(value) for name, value in chosen.items()}}


@dataclass(frozen=True, slots=True, kw_only=True)
class PoselibPose(PoselibOptions):
    """Relative pose by the five-point solver; fewer than 5 matches are a failure, where PoseLib says identity."""

    def estimate(self, pair: MatchedPair, /) -> PoseEstimate | None:
        """Return the pose, or None.

        Raises:
            MissingDependencyError: PoseLib is not installed.
            ConfigError: another version of PoseLib.
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
        # Where no model was found there is a pose all the same: the identity, or the last one tried.
        if info["num_inliers"] == 0:
            return None
        return PoseEstimate(
            R=np.array(pose.R),
            t=np.array(pose.t),
            inlier=spread(np.array(info["inliers"], dtype=np.bool_), usable),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class PoselibHomography(PoselibOptions):
    """Homography; fewer than 4 matches are a failure, where PoseLib says whatever lay in memory."""

    def estimate(self, pair: MatchedPair, /) -> MatrixEstimate | None:
        """Return the homography, or None.

        Raises:
            MissingDependencyError: PoseLib is not installed.
            ConfigError: another version of PoseLib.
        """
        xy0, xy1, usable = pair.usable()
        poselib = import_poselib()
        if len(xy0) < 4:
            return None
        H, info = poselib.estimate_homography(xy0, xy1, self.ransac("max_reproj_error"), self.bundle())
        return _matrix(H, info, usable)


@dataclass(frozen=True, slots=True, kw_only=True)
class PoselibFundamental(PoselibOptions):
    """Fundamental matrix by the seven-point solver; fewer than 7 matches are a failure."""

    def estimate(self, pair: MatchedPair, /) -> MatrixEstimate | None:
        """Return the fundamental matrix, or None.

        Raises:
            MissingDependencyError: PoseLib is not installed.
            ConfigError: another version of PoseLib.
        """
        xy0, xy1, usable = pair.usable()
        poselib = import_poselib()
        if len(xy0) < 7:
            return None
        F, info = poselib.estimate_fundamental(xy0, xy1, self.ransac("max_epipolar_error"), self.bundle())
        return _matrix(F, info, usable)


def import_poselib() -> ModuleType:
    """Return PoseLib, of the one version whose options are the ones named here.

    Raises:
        MissingDependencyError: it is not installed.
        ConfigError: another version.
    """
    try:
        import poselib
    except ImportError as error:
        raise MissingDependencyError(f"poselib=={VERSION}", "estimating poses") from error
    found = str(getattr(poselib, "__version__", "of an unknown version"))
    if found != VERSION:
        raise ConfigError(
            f"expected PoseLib {VERSION}, got {found}, which would ignore max_epipolar_error without a word; "
            f"run: pip install poselib=={VERSION}"
        )
    return poselib


def _camera(K: np.ndarray) -> dict[str, Any]:
    focal_x, focal_y, x, y = float(K[0, 0]), float(K[1, 1]), float(K[0, 2]), float(K[1, 2])
    # The size decides nothing here; XFeat's evaluator takes twice the principal point too.
    return {
        "model": "PINHOLE",
        "width": int(2 * x),
        "height": int(2 * y),
        "params": [focal_x, focal_y, x, y],
    }


def _matrix(matrix: Any, info: dict[str, Any], usable: np.ndarray) -> MatrixEstimate | None:
    found = np.array(matrix, dtype=np.float64)
    if info["num_inliers"] == 0 or not np.isfinite(found).all():
        return None
    return MatrixEstimate(matrix=found, inlier=spread(np.array(info["inliers"], dtype=np.bool_), usable))
