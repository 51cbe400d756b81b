"""Pose errors by hand, and the pose protocols over records."""

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest

from homolog.core.errors import ConfigError, ShapeError
from homolog.evaluators.image_sizes import WorkingSize
from homolog.evaluators.pose import (
    PoseProtocol,
    PoseShuffleProtocol,
    PoseSweepProtocol,
    pose_error,
    rotation_error,
    translation_error,
)
from homolog.evaluators.records import Record, ScoringProtocol
from homolog.evaluators.solvers import (
    MatchedPair,
    PoseEstimate,
    PoselibPose,
)

X, Y, Z = np.eye(3)


def about_z(degrees: float) -> np.ndarray:
    angle = np.deg2rad(degrees)
    return np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])


@pytest.mark.parametrize("degrees", [0.5, 30, 90, 179])
def test_a_rotation_error_is_the_angle_between_them(degrees: float) -> None:
    assert rotation_error(about_z(degrees) @ about_z(11), about_z(11)) == pytest.approx(degrees)
    assert rotation_error(about_z(-degrees), np.eye(3)) == pytest.approx(degrees)


def test_the_opposite_translation_is_no_error() -> None:
    assert translation_error(3 * X, -5 * X, zero_translation="failure") == pytest.approx(0)
    assert translation_error(X + Y, X, zero_translation="failure") == pytest.approx(45)
    assert translation_error(Y - X, X, zero_translation="failure") == pytest.approx(45)


@pytest.mark.usefixtures("unchecked")
def test_a_translation_without_length_costs_what_the_protocol_says() -> None:
    for t, truth in ((0 * X, X), (X, 0 * X)):
        assert translation_error(t, truth, zero_translation="failure") == np.inf
        assert translation_error(t, truth, zero_translation="perpendicular") == 90
    assert translation_error(X, 1e-4 * Y, zero_translation="failure", ignore_shorter=1e-3) == 0
    with pytest.raises(ConfigError, match="zero_translation to be one of failure, perpendicular, got 'nan'"):
        translation_error(X, X, zero_translation="nan")  # pyright: ignore[reportArgumentType]


def test_a_pose_that_is_no_number_is_infinitely_far() -> None:
    nothing = np.full((3, 3), np.nan)
    assert pose_error(nothing, nothing[0], np.eye(3), X, zero_translation="failure") == (np.inf, np.inf)


RANSAC = PoselibPose(threshold=1.0, min_iterations=50, max_iterations=500, success_prob=0.999)


@dataclass(frozen=True)
class ByName:
    """Estimates the rotation about y that the name of the pair gives in degrees, or fails."""

    threshold: float = 1.0

    def estimate(self, pair: MatchedPair, /) -> PoseEstimate | None:
        if pair.name == "fails":
            return None
        angle = np.deg2rad(float(pair.name) + self.threshold)
        R = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
        return PoseEstimate(R=R, t=np.array([1.0, 0, 0]), inlier=pair.usable()[-1])

    def settings(self) -> dict[str, str]:
        return {"estimator": "by name", "threshold": str(self.threshold)}


def pose_protocol(**options: Any) -> PoseProtocol:
    chosen: dict[str, Any] = {
        "name": "test/pose",
        "estimator": RANSAC,
        "working_size": None,
        "error": "larger of both",
        "zero_translation": "failure",
        "headline": "AUC",
        "thresholds": [5, 10, 20],
        "rounding": "exact",
        "comparison": "<=",
        "epipolar_distance": "squared sum",
        "epipolar_thresholds": [5e-4],
        "workers": 1,
    }
    return PoseProtocol(**{**chosen, **options})


def test_poses_are_scored_by_hand(value: Any, still: Any) -> None:
    protocol = pose_protocol(estimator=ByName(0.0))
    assert isinstance(protocol, ScoringProtocol)
    scored = protocol.score(
        [still("2.5", category="a"), still("6", category="a"), still("fails", category="b")]
    )
    # Up to 5: (2.5, 1/3), then level. Up to 10: (2.5, 1/3), (6, 2/3), level.
    first = scored.scores[0]
    assert (first.name, first.unit, first.count) == ("AUC@5deg", "share", 3)
    assert first.value == pytest.approx((2.5 / 6 + 2.5 / 3) / 5)
    assert value(scored, "AUC@10deg") == pytest.approx((2.5 / 6 + 3.5 / 2 + 4 * 2 / 3) / 10)
    assert value(scored, "accuracy@5deg") == pytest.approx(1 / 3)
    assert value(scored, "median error") == pytest.approx(6)
    assert value(scored, "failures") == pytest.approx(1 / 3)
    assert value(scored, "AUC@10deg", "b") == 0
    np.testing.assert_allclose(scored.per_sample["pose error"], [2.5, 6, np.inf])
    np.testing.assert_allclose(scored.per_sample["rotation error"], [2.5, 6, np.inf])
    assert scored.quality is not None
    assert scored.quality.argmin() == 2
    curve = scored.curves["recall over pose error"]
    assert (curve.x[-1], curve.y[-1]) == (20, pytest.approx(2 / 3))
    assert scored.settings["estimator"] == "by name"
    assert scored.settings["error"] == "larger of both"


def test_the_headline_comes_first_and_the_rotation_alone_can_count(still: Any) -> None:
    # The translation is off by 90 degrees: only the rotation is right.
    records = [replace(still("2"), arrays={**still("2").arrays, "t": np.array([0.0, 1, 0])})]
    options: dict[str, Any] = {"estimator": ByName(0.0), "headline": "accuracy"}
    larger = pose_protocol(**options).score(records)
    rotation = pose_protocol(**options, error="rotation").score(records)
    assert [scored.scores[0].name for scored in (larger, rotation)] == ["accuracy@5deg"] * 2
    assert [scored.scores[0].value for scored in (larger, rotation)] == [0, 1]
    assert larger.per_sample["pose error"] == pytest.approx([90])


def test_true_poses_are_found_at_any_working_size_and_workers_do_not_matter(value: Any, posed: Any) -> None:
    records = [posed(f"{turn}", turn=turn, wrong=8) for turn in range(5, 25)]
    wanted = None
    for size in (None, WorkingSize(longer_side=320), WorkingSize(exact=(300, 300))):
        scored = pose_protocol(working_size=size).score(records)
        assert value(scored, "AUC@5deg") > 0.98
        assert scored.per_sample["inliers"] == pytest.approx([32] * 20, abs=2)
        wanted = scored if wanted is None else wanted
    parallel = pose_protocol(workers=2).score(records)
    assert wanted is not None
    for name, column in wanted.per_sample.items():
        np.testing.assert_array_equal(parallel.per_sample[name], column)


def test_precision_and_matching_score_of_matches(value: Any, posed: Any) -> None:
    keypoints = np.zeros((100, 2))
    records = [posed(wrong=10, keypoints0=keypoints), posed(count=0, keypoints0=keypoints[:0])]
    scored = pose_protocol().score(records)
    assert scored.per_sample["precision@0.0005"].tolist() == [0.75, 0]
    assert value(scored, "precision@0.0005") == pytest.approx(0.375)
    assert scored.per_sample["matching score@0.0005"].tolist() == [0.3, 0]
    assert scored.per_sample["matches"].tolist() == [40, 0]
    assert scored.per_sample["pose error"][1] == np.inf
    unknown = pose_protocol().score([posed()])
    assert not any(name.startswith("matching score") for name in unknown.per_sample)


def test_records_without_a_pose_are_refused_and_no_records_have_no_number(posed: Any, flat: Any) -> None:
    with pytest.raises(ShapeError, match="flat: expected a record with R"):
        pose_protocol().score([flat("flat")])
    half = Record(name="half", arrays={key: part for key, part in posed().arrays.items() if key != "K1"})
    with pytest.raises(ShapeError, match="half: expected intrinsics of both images"):
        pose_protocol().score([half])
    assert np.isnan(pose_protocol().score([]).scores[0].value)


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"error": "both"}, "error to be one of larger of both, rotation, got 'both'"),
        ({"epipolar_thresholds": []}, "at least one epipolar threshold"),
        ({"headline": "mAA"}, "headline to be one of AUC, accuracy"),
        ({"thresholds": []}, "thresholds above 0"),
        ({"rounding": "4"}, "rounding to be one of exact, 4 decimals"),
        ({"comparison": "=<"}, "comparison to be one of <, <="),
    ],
)
def test_choices_that_do_not_exist_are_refused_before_anything_is_matched(
    options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        pose_protocol(**options)


def test_a_sweep_reports_the_best_threshold_and_says_so(value: Any, still: Any) -> None:
    base = pose_protocol(estimator=ByName())
    sweep = PoseSweepProtocol(name="test/best", base=base, ransac_thresholds=[3.0, 0.0, 1.0])
    scored = sweep.score([still("1"), still("2"), still("fails")])
    assert value(scored, "chosen RANSAC threshold") == 0.0
    np.testing.assert_allclose(scored.per_sample["pose error"], [1, 2, np.inf])
    np.testing.assert_allclose(scored.per_sample["pose error, RANSAC 3 px"], [4, 5, np.inf])
    assert "ON THE TEST SET" in scored.settings["threshold"]
    assert len(scored.curves) == 3
    with pytest.raises(ConfigError, match="at least one RANSAC threshold"):
        PoseSweepProtocol(name="test/best", base=base, ransac_thresholds=[])


@dataclass(frozen=True)
class ByFirstMatch:
    """Turns by as many degrees as the score of the first match says; a negative one is a failure."""

    def estimate(self, pair: MatchedPair, /) -> PoseEstimate | None:
        if pair.score[0] < 0:
            return None
        return ByName(float(pair.score[0])).estimate(replace(pair, name="0"))

    def settings(self) -> dict[str, str]:
        return {"estimator": "by first match"}


def shuffled(*, shuffles: int = 5, failure_error: float = 90, **options: Any) -> PoseShuffleProtocol:
    return PoseShuffleProtocol(
        name="test/shuffles",
        base=pose_protocol(estimator=ByFirstMatch(), **options),
        shuffles=shuffles,
        failure_error=failure_error,
        seed=0,
    )


def scored_matches(still: Any, name: str, score: list[float]) -> Record:
    """A pair with as many matches as scores."""
    record = still(name)
    arrays = {key: record[key][: len(score)] for key in ("match0", "match1")}
    return replace(record, arrays={**record.arrays, **arrays, "score": np.array(score)})


def test_shuffles_that_change_nothing_have_the_scores_of_one_run(value: Any, still: Any) -> None:
    records = [scored_matches(still, "a", [2.5, 2.5]), scored_matches(still, "b", [-1.0, -1.0])]
    scored = shuffled().score(records)
    assert isinstance(shuffled(), ScoringProtocol)
    # Up to 5: linear to (2.5, 1/2), then level.
    first = scored.scores[0]
    assert (first.name, first.count) == ("AUC@5deg", 2)
    assert first.value == pytest.approx((2.5 / 4 + 2.5 / 2) / 5)
    assert value(scored, "failures") == 0.5
    # The failure costs 90 degrees in the mean error, and is above every threshold.
    assert value(scored, "mean error") == pytest.approx((2.5 + 90) / 2)
    np.testing.assert_allclose(scored.per_sample["pose error"], [2.5, 90])
    assert scored.settings["shuffles"].startswith("5,")
    assert scored.settings["estimator"] == "by first match"


def test_scores_are_the_mean_over_shuffled_runs(value: Any, still: Any) -> None:
    # Two matches: whichever comes first gives an error of 0 or a failure.
    record = scored_matches(still, "a", [0.0, -1.0])
    scored = shuffled(shuffles=40).score([record])
    runs = np.array([scored.per_sample[f"pose error, shuffle {run}"][0] for run in range(40)])
    found = float((runs < 1e-6).mean())
    assert 0.2 < found < 0.8
    assert np.isinf(runs[runs > 1e-6]).all()
    # An AUC of one pair is 1 or 0.
    assert value(scored, "AUC@5deg") == pytest.approx(found)
    assert value(scored, "accuracy@20deg") == pytest.approx(found)
    assert value(scored, "mean error") == pytest.approx(90 * (1 - found))
    assert scored.curves["recall over pose error"].y[-1] == pytest.approx(found)
    # The same again, and matches stay together: PoseLib finds the pose in every order.
    assert shuffled(shuffles=40).score([record]).scores == scored.scores


def test_true_poses_are_found_in_every_order(value: Any, posed: Any) -> None:
    base = pose_protocol()
    scored = PoseShuffleProtocol(name="test/shuffles", base=base, shuffles=3, failure_error=90, seed=0).score(
        [posed("a"), posed("b", wrong=10)]
    )
    assert value(scored, "AUC@5deg") > 0.99
    assert scored.per_sample["inliers"].tolist() == pytest.approx([40, 30], abs=1)


def test_a_pose_with_few_inliers_is_a_failure(posed: Any) -> None:
    pair = MatchedPair(
        name="few",
        **{f"xy{side}": posed()[f"match{side}"][:7] for side in (0, 1)},
        score=np.ones(7),
        K0=posed()["K0"],
        K1=posed()["K1"],
    )
    found = RANSAC.estimate(pair)
    assert found is not None
    assert found.inlier.sum() == 7
    assert replace(RANSAC, min_inliers=7).estimate(pair) is not None
    assert replace(RANSAC, min_inliers=8).estimate(pair) is None
    assert RANSAC.settings()["min_inliers"] == "1"


def test_shuffles_without_sense_are_refused() -> None:
    with pytest.raises(ConfigError, match="at least 1 shuffle"):
        shuffled(shuffles=0)
    with pytest.raises(ConfigError, match="at least the largest threshold, 20 deg, got 10"):
        shuffled(failure_error=10)
