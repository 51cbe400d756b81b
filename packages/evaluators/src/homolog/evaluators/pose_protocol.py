"""Relative pose from matches, over the pairs of a run."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from homolog.core.errors import ConfigError
from homolog.evaluators.epipolar_geometry import (
    EpipolarDistance,
    essential_matrix,
    on_normalised_plane,
    symmetric_epipolar_distance,
)
from homolog.evaluators.error_recall import Rounding
from homolog.evaluators.error_scores import ErrorScores, Headline, mean_score
from homolog.evaluators.match_quality import match_precision
from homolog.evaluators.pose_difference import ZeroTranslation, pose_error
from homolog.evaluators.record import Record
from homolog.evaluators.score import Scored
from homolog.evaluators.solver_pool import estimate_all
from homolog.evaluators.threshold import Comparison
from homolog.evaluators.two_view import Estimator, PoseEstimate
from homolog.evaluators.working_size import WorkingSize, matched_pair

Counted = Literal["larger of both", "rotation"]
"""Which error of a pose counts: the larger of rotation and translation (all published AUCs), or rotation
alone (one reading of OmniGlue's NAVI and GSO, which speaks of Rodrigues' formula only)."""


class PoseProtocol:
    """AUC and accuracy of the pose error, precision of the matches, and how many there were.

    The estimator alone moves AUC@5 on MegaDepth-1500 by 16 points: never compare numbers of two
    protocols. A pair whose pose cannot be estimated has an infinite error.
    """

    def __init__(
        self,
        *,
        name: str,
        estimator: Estimator[PoseEstimate],
        working_size: WorkingSize | None,
        counted: Counted,
        zero_translation: ZeroTranslation,
        headline: Headline,
        thresholds: Sequence[float | int],
        rounding: Rounding,
        comparison: Comparison,
        epipolar: EpipolarDistance,
        epipolar_thresholds: Sequence[float | int],
        workers: int | None = None,
    ) -> None:
        """Choose the variant.

        Args:
            name: as results name it.
            estimator: of the pose.
            working_size: the size whose pixels the estimator's threshold is in; None for the original files.
            counted: which error counts.
            zero_translation: what a translation without length costs.
            headline: what comes first.
            thresholds: in degrees; the first is the headline's.
            rounding: of AUC.
            comparison: of accuracy.
            epipolar: definition of the epipolar distance on the normalised plane.
            epipolar_thresholds: of the precision of matches (`<`); the first is the protocol's own.
            workers: processes; None takes all cores. The numbers do not depend on it.

        Raises:
            ConfigError: a choice that does not exist.
        """
        if counted not in ("larger of both", "rotation") or not epipolar_thresholds:
            raise ConfigError(
                f"{name}: expected counted 'larger of both' or 'rotation' and some epipolar thresholds, got "
                f"{counted!r} and {list(epipolar_thresholds)}"
            )
        self.name = name
        self.estimator = estimator
        self.counted: Counted = counted
        self.errors = ErrorScores(
            thresholds=tuple(thresholds),
            unit="deg",
            headline=headline,
            rounding=rounding,
            comparison=comparison,
        )
        self._working_size = working_size or WorkingSize()
        self._zero_translation: ZeroTranslation = zero_translation
        self._epipolar: EpipolarDistance = epipolar
        self._epipolar_thresholds = tuple(epipolar_thresholds)
        self._workers = workers

    def score(self, records: Sequence[Record]) -> Scored:
        """Score all pairs.

        Raises:
            ShapeError: a record without matches, intrinsics or pose.
            MissingDependencyError: the library of the estimator is not installed.
        """
        columns = {**self.pose_columns(records, self.estimator), **self._match_columns(records)}
        errors = columns["pose error"]
        extra = [name for name in columns if name.startswith(("precision", "matching score"))]
        return Scored(
            scores=[
                *self.errors.scores(records, errors),
                *(mean_score(name, columns[name]) for name in extra),
                mean_score("matches per pair", columns["matches"], unit=""),
                mean_score("inliers per pair", columns["inliers"], unit=""),
            ],
            per_sample=columns,
            curves={"recall over pose error": self.errors.curve(errors)},
            quality=-errors,
            settings={**self.estimator.settings(), **self.settings()},
        )

    def pose_columns(
        self, records: Sequence[Record], estimator: Estimator[PoseEstimate]
    ) -> dict[str, np.ndarray]:
        """Return the errors of the poses that an estimator finds, and the number of inliers, pair by pair."""
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
        inliers = [0 if found is None else int(found.inlier.sum()) for found in estimates]
        return {
            "pose error": both[:, 0] if self.counted == "rotation" else both.max(axis=1),
            "rotation error": both[:, 0],
            "translation error": both[:, 1],
            "inliers": np.array(inliers, dtype=np.float64),
        }

    def settings(self) -> dict[str, str]:
        """Return the choices beside the estimator's as text."""
        return {
            "threshold in pixels of": str(self._working_size),
            "error": self.counted,
            "translation without length": self._zero_translation,
            **self.errors.settings(),
            "epipolar distance": f"{self._epipolar}, normalised plane, <",
            "average of precision": "per pair, 0 without matches, then over pairs",
        }

    def _match_columns(self, records: Sequence[Record]) -> dict[str, np.ndarray]:
        distances = [self._distances(record) for record in records]
        names = [f"precision@{threshold:g}" for threshold in self._epipolar_thresholds]
        shares = np.array(
            [match_precision(each, self._epipolar_thresholds, comparison="<") for each in distances]
        ).reshape(-1, len(names))
        columns = dict(zip(names, shares.T, strict=True))
        columns["matches"] = np.array([len(each) for each in distances], dtype=np.float64)
        if records and all("keypoints0" in record for record in records):
            # SuperGlue's: right matches among all keypoints of image 0.
            keypoints = np.array([len(record["keypoints0"]) for record in records])
            right = columns["matches"] * shares[:, 0]
            columns[f"matching score@{self._epipolar_thresholds[0]:g}"] = np.divide(
                right, keypoints, out=np.zeros(len(records)), where=keypoints > 0
            )
        return columns

    def _distances(self, record: Record) -> np.ndarray:
        xy0, xy1 = (on_normalised_plane(record[f"match{side}"], record[f"K{side}"]) for side in (0, 1))
        E = essential_matrix(record["R"], record["t"])
        return symmetric_epipolar_distance(xy0, xy1, E, definition=self._epipolar)
