"""Relative poses: rotation and translation errors in degrees, and the protocols that score a run by them."""

from collections.abc import Sequence
from dataclasses import is_dataclass, replace
from typing import Any, Literal, cast, get_args

import numpy as np
from jaxtyping import Real

from homolog.core.errors import ConfigError, one_of
from homolog.evaluators.auc import ErrorScores, Headline, Rounding, best_mean_auc
from homolog.evaluators.fundamental import (
    EpipolarDistance,
    essential_matrix,
    on_normalised_plane,
    symmetric_epipolar_distance,
)
from homolog.evaluators.image_sizes import WorkingSize, matched_pair
from homolog.evaluators.precision import Comparison, match_precision
from homolog.evaluators.records import Record, Score, Scored, count_scores, mean_score, threshold_columns
from homolog.evaluators.solvers import Estimator, PoseEstimate, estimate_all, inlier_counts

ZeroTranslation = Literal["failure", "perpendicular"]
"""The error of a translation of length zero.

`failure`: LoFTR, SuperGlue and XFeat divide by zero and get NaN; here that is infinite.
`perpendicular`: glue-factory clamps the divisor to at least 1e-10, which gives 90 degrees."""

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
    """Return the angle between two directions in degrees from 0 to 90; opposite directions are equal.

    An essential matrix does not determine the sign of the translation, so all official codes fold the angle.

    Args:
        t: estimated, of any length.
        t_true: true, of any length.
        zero_translation: the error of a translation of length zero.
        ignore_shorter: a true translation shorter than this, in its own unit, has no error. LoFTR's
            `ignore_gt_t_thr`, 0 in all published protocols.

    Raises:
        ConfigError: an unknown rule for a translation of length zero.
    """
    one_of("zero_translation", zero_translation, get_args(ZeroTranslation))
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

    Most protocols count the larger one. A missing pose has an infinite error, which is up to the caller.

    >>> quarter = np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]])
    >>> x, z = np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])
    >>> pose_error(quarter, -x, np.eye(3), x, zero_translation="failure")
    (90.0, 0.0)
    """
    return rotation_error(R, R_true), translation_error(t, t_true, zero_translation=zero_translation)


def _degrees(cosine: float) -> float:
    angle = float(np.rad2deg(np.arccos(np.clip(cosine, -1.0, 1.0))))
    return angle if np.isfinite(angle) else float("inf")


Error = Literal["larger of both", "rotation"]
"""The error of a pose: the larger of rotation and translation (all published AUCs), or rotation alone (one
reading of OmniGlue's NAVI and GSO, which mentions Rodrigues' formula only)."""


class PoseProtocol:
    """AUC and accuracy of the pose error, precision of the matches, and numbers of matches and inliers.

    The estimator alone changes AUC@5 on MegaDepth-1500 by 16 points, so never compare numbers of different
    protocols. A pair whose pose cannot be estimated has an infinite error.
    """

    def __init__(
        self,
        *,
        name: str,
        estimator: Estimator[PoseEstimate],
        working_size: WorkingSize | None,
        error: Error,
        zero_translation: ZeroTranslation,
        headline: Headline,
        thresholds: Sequence[float | int],
        rounding: Rounding,
        comparison: Comparison,
        epipolar_distance: EpipolarDistance,
        epipolar_thresholds: Sequence[float | int],
        workers: int | None = None,
    ) -> None:
        """Choose the variant.

        Args:
            name: as in results.
            estimator: of the pose.
            working_size: the image size at which the estimator's threshold is in pixels; None for the files' own.
            error: the error of a pose.
            zero_translation: the error of a translation of length zero.
            headline: the score to report first.
            thresholds: in degrees; the headline uses the first.
            rounding: of AUC.
            comparison: of accuracy.
            epipolar_distance: its definition; on the normalised plane.
            epipolar_thresholds: of the precision of matches (`<`); the official one first.
            workers: threads; None for all cores. Scores do not depend on it.

        Raises:
            ConfigError: an unknown choice, or no thresholds.
        """
        one_of("error", error, get_args(Error))
        one_of("zero_translation", zero_translation, get_args(ZeroTranslation))
        one_of("epipolar_distance", epipolar_distance, get_args(EpipolarDistance))
        if not epipolar_thresholds:
            raise ConfigError(f"{name}: expected at least one epipolar threshold, got none")
        self.name = name
        self.estimator = estimator
        self.error: Error = error
        self.error_scores = ErrorScores(
            thresholds=tuple(thresholds),
            unit="deg",
            headline=headline,
            rounding=rounding,
            comparison=comparison,
        )
        self._working_size = working_size or WorkingSize()
        self._zero_translation: ZeroTranslation = zero_translation
        self._epipolar_distance: EpipolarDistance = epipolar_distance
        self._epipolar_thresholds = tuple(epipolar_thresholds)
        self._workers = workers

    def score(self, records: Sequence[Record]) -> Scored:
        """Score all pairs.

        Raises:
            ShapeError: a record without matches, intrinsics or pose.
            MissingDependencyError: the estimator's library is not installed.
        """
        columns = {**self.pose_columns(records, self.estimator), **self._match_columns(records)}
        errors = columns["pose error"]
        extra = [name for name in columns if name.startswith(("precision", "matching score"))]
        return Scored(
            scores=[
                *self.error_scores.scores(records, errors),
                *(mean_score(name, columns[name]) for name in extra),
                *count_scores(columns),
            ],
            per_sample=columns,
            curves={"recall over pose error": self.error_scores.curve(errors)},
            quality=-errors,
            settings={**self.estimator.settings(), **self.settings()},
        )

    def pose_columns(
        self, records: Sequence[Record], estimator: Estimator[PoseEstimate]
    ) -> dict[str, np.ndarray]:
        """Return the pose errors and the number of inliers of every pair for an estimator."""
        truth = [tuple(np.asarray(record[key], dtype=np.float64) for key in ("R", "t")) for record in records]
        pairs = [matched_pair(record, self._working_size) for record in records]
        estimates = estimate_all(estimator, pairs, workers=self._workers)
        both = np.array(
            [
                (np.inf, np.inf)
                if found is None
                else pose_error(found.R, found.t, R, t, zero_translation=self._zero_translation)
                for found, (R, t) in zip(estimates, truth, strict=True)
            ]
        ).reshape(-1, 2)
        return {
            "pose error": both[:, 0] if self.error == "rotation" else both.max(axis=1),
            "rotation error": both[:, 0],
            "translation error": both[:, 1],
            "inliers": inlier_counts(estimates),
        }

    def settings(self) -> dict[str, str]:
        """Return all settings but the estimator's as text."""
        return {
            "threshold in pixels of": str(self._working_size),
            "error": self.error,
            "zero translation": self._zero_translation,
            **self.error_scores.settings(),
            "epipolar distance": f"{self._epipolar_distance}, normalised plane, <",
            "average of precision": "per pair, 0 without matches, then over pairs",
        }

    def _match_columns(self, records: Sequence[Record]) -> dict[str, np.ndarray]:
        distances = [self._distances(record) for record in records]
        limits = self._epipolar_thresholds
        fractions = [match_precision(each, limits, comparison="<") for each in distances]
        columns = threshold_columns("precision", limits, fractions)
        columns["matches"] = np.array([len(each) for each in distances], dtype=np.float64)
        if records and all("keypoints0" in record for record in records):
            # SuperGlue's matching score: right matches among all keypoints of image 0.
            keypoints = np.array([len(record["keypoints0"]) for record in records])
            right = columns["matches"] * columns[f"precision@{limits[0]:g}"]
            columns[f"matching score@{limits[0]:g}"] = np.divide(
                right, keypoints, out=np.zeros(len(records)), where=keypoints > 0
            )
        return columns

    def _distances(self, record: Record) -> np.ndarray:
        xy0, xy1 = (on_normalised_plane(record[f"match{side}"], record[f"K{side}"]) for side in (0, 1))
        E = essential_matrix(record["R"], record["t"])
        return symmetric_epipolar_distance(xy0, xy1, E, definition=self._epipolar_distance)


class PoseSweepProtocol:
    """The scores at the RANSAC threshold with the largest mean AUC: chosen on the test set, so too optimistic.

    glue-factory with `ransac_th=-1` and the summary of XFeat's ScanNet-1500 script do this. Use it only to
    compare with their numbers, never as a headline.
    """

    def __init__(self, *, name: str, base: PoseProtocol, ransac_thresholds: Sequence[float | int]) -> None:
        """Choose the variant.

        Args:
            name: as in results.
            base: all settings but the threshold.
            ransac_thresholds: to try, in the pixels of `base`.

        Raises:
            ConfigError: no thresholds, or an estimator without a threshold.
        """
        if (
            not ransac_thresholds
            or not is_dataclass(base.estimator)
            or not hasattr(base.estimator, "threshold")
        ):
            raise ConfigError(
                f"{name}: expected at least one RANSAC threshold and an estimator with a threshold"
            )
        self.name = name
        self._base = base
        self._thresholds = tuple(ransac_thresholds)

    def score(self, records: Sequence[Record]) -> Scored:
        """Score all pairs at every threshold.

        Raises:
            ShapeError: a record without matches, intrinsics or pose.
            MissingDependencyError: the estimator's library is not installed.
        """
        estimator = cast(Any, self._base.estimator)
        columns = {
            threshold: self._base.pose_columns(records, replace(estimator, threshold=threshold))
            for threshold in self._thresholds
        }
        tried = {threshold: each["pose error"] for threshold, each in columns.items()}
        scoring = self._base.error_scores
        best = best_mean_auc(tried, scoring.thresholds, rounding=scoring.rounding)
        inliers = columns[best]["inliers"]
        return Scored(
            scores=[
                *scoring.scores(records, tried[best]),
                Score(name="chosen RANSAC threshold", value=best, unit="px", count=len(records)),
            ],
            per_sample={
                "pose error": tried[best],
                "inliers": inliers,
                **{f"pose error, RANSAC {threshold:g} px": each for threshold, each in tried.items()},
            },
            curves={
                f"recall over pose error, RANSAC {threshold:g} px": scoring.curve(each)
                for threshold, each in tried.items()
            },
            quality=-tried[best],
            settings={
                **estimator.settings(),
                "threshold": f"best of {', '.join(f'{each:g}' for each in self._thresholds)} by mean AUC ON THE TEST SET",
                **self._base.settings(),
            },
        )


class PoseShuffleProtocol:
    """The mean scores of several runs over shuffled matches: RANSAC depends on the order of what it samples.

    MATCHA's release evaluates poses so: PoseLib on original pixels, 2.0 px, 10,000 iterations, at least 8 inliers,
    5 shuffles, 90 degrees for a failure. Its numbers cannot be compared with these, because its script has two
    faults, which are not reproduced:

    1. Its three lists of errors are one list, so that its pose AUC mixes translation, rotation and pose errors
       (15 numbers for a pair instead of 5). That is higher than the AUC of pose errors.
    2. It scales the keypoints of both images by the width of image 0 and the height of image 1.

    The 2.0 px are those of the reference's `max_reproj_error`. PoseLib 2.0.5 ignores that key in
    `estimate_relative_pose` and uses 1.0 px (measured), so a script that passes it by this name has another
    threshold than it says. Here 2.0 px are `max_epipolar_error`.

    The release pools the errors of its shuffles. Here each shuffle is a run with its own AUC, and scores are the
    mean over runs; the two differ by less than one pair's weight.
    """

    def __init__(
        self, *, name: str, base: PoseProtocol, shuffles: int, failure_error: float | int, seed: int
    ) -> None:
        """Choose the variant.

        Args:
            name: as in results.
            base: all settings of a single run.
            shuffles: number of runs.
            failure_error: error of a pair without a pose in the mean error, in degrees. AUC and accuracy do not
                depend on it while it is above their thresholds.
            seed: of the shuffles; the order of one pair's matches does not depend on other pairs.

        Raises:
            ConfigError: fewer than one shuffle, or a failure that counts as found.
        """
        if shuffles < 1:
            raise ConfigError(f"{name}: expected at least 1 shuffle, got {shuffles}")
        if failure_error < max(base.error_scores.thresholds):
            raise ConfigError(
                f"{name}: expected failure_error of at least the largest threshold, "
                f"{max(base.error_scores.thresholds):g} deg, got {failure_error:g}"
            )
        self.name = name
        self._base = base
        self._shuffles = shuffles
        self._failure_error = float(failure_error)
        self._seed = seed

    def score(self, records: Sequence[Record]) -> Scored:
        """Score all pairs in every run.

        Raises:
            ShapeError: a record without matches, intrinsics or pose.
            MissingDependencyError: the estimator's library is not installed.
        """
        base = self._base
        columns = [
            base.pose_columns([self._shuffled(record, run) for record in records], base.estimator)
            for run in range(self._shuffles)
        ]
        runs = [base.error_scores.scores(records, each["pose error"]) for each in columns]
        errors = np.array([each["pose error"] for each in columns])
        finite = np.where(np.isfinite(errors), errors, self._failure_error)
        curves = [base.error_scores.curve(each) for each in errors]
        return Scored(
            scores=[
                *(
                    replace(scores[0], value=float(np.mean([score.value for score in scores])))
                    for scores in zip(*runs, strict=True)
                ),
                mean_score("mean error", finite.mean(axis=0), unit="deg", higher_is_better=False),
            ],
            per_sample={
                "pose error": finite.mean(axis=0),
                "inliers": np.mean([each["inliers"] for each in columns], axis=0),
                **{f"pose error, shuffle {run}": each for run, each in enumerate(errors)},
            },
            curves={
                "recall over pose error": replace(curves[0], y=np.mean([curve.y for curve in curves], axis=0))
            },
            quality=-finite.mean(axis=0),
            settings={
                **base.estimator.settings(),
                **base.settings(),
                "shuffles": f"{self._shuffles}, scores are the mean over them; seed {self._seed}",
                "error of a failure in the mean error": f"{self._failure_error:g} deg",
            },
        )

    def _shuffled(self, record: Record, run: int) -> Record:
        order = np.random.default_rng((self._seed, run)).permutation(len(record["match0"]))
        matches = {name: record[name][order] for name in ("match0", "match1", "score")}
        return replace(record, arrays={**record.arrays, **matches})
