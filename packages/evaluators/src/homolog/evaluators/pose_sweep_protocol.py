"""Relative pose at several RANSAC thresholds, of which the best is reported, as some official codes do."""

from collections.abc import Sequence
from dataclasses import is_dataclass, replace
from typing import Any, cast

from homolog.core.errors import ConfigError
from homolog.evaluators.error_recall import best_mean_auc
from homolog.evaluators.pose_protocol import PoseProtocol
from homolog.evaluators.record import Record
from homolog.evaluators.score import Score, Scored


class PoseSweepProtocol:
    """The numbers of the threshold whose mean AUC is largest: chosen on the test set, and so too good.

    glue-factory with `ransac_th=-1` and the summary of XFeat's ScanNet-1500 script do this. Use it to
    compare with numbers of theirs, never as a headline.
    """

    def __init__(self, *, name: str, base: PoseProtocol, ransac_thresholds: Sequence[float | int]) -> None:
        """Choose the variant.

        Args:
            name: as results name it.
            base: everything but the threshold.
            ransac_thresholds: to try, in the pixels of `base`.

        Raises:
            ConfigError: no thresholds, or an estimator without one.
        """
        if (
            not ransac_thresholds
            or not is_dataclass(base.estimator)
            or not hasattr(base.estimator, "threshold")
        ):
            raise ConfigError(f"{name}: expected thresholds to try and an estimator that has one")
        self.name = name
        self._base = base
        self._thresholds = tuple(ransac_thresholds)

    def score(self, records: Sequence[Record]) -> Scored:
        """Score all pairs at every threshold.

        Raises:
            ShapeError: a record without matches, intrinsics or pose.
            MissingDependencyError: the library of the estimator is not installed.
        """
        estimator = cast(Any, self._base.estimator)
        columns = {
            threshold: self._base.pose_columns(records, replace(estimator, threshold=threshold))
            for threshold in self._thresholds
        }
        tried = {threshold: each["pose error"] for threshold, each in columns.items()}
        scoring = self._base.errors
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
