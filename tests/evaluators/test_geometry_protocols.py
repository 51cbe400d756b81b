"""Geometric protocols over records, and how the records are asked for."""

from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from homolog.core.camera import Camera, RelativePose
from homolog.core.coords import resize_pixel
from homolog.core.errors import ConfigError, ShapeError
from homolog.core.image import Image, resize
from homolog.core.keypoints import Matches
from homolog.core.samples import PairSample, VideoSample
from homolog.core.tracks import Tracks
from homolog.evaluators.affine import AffineProtocol
from homolog.evaluators.fundamental import FundamentalProtocol
from homolog.evaluators.ground_truth_matches import MatchPrecisionProtocol
from homolog.evaluators.homography import HomographyProtocol, MatchingAccuracyProtocol, apply_homography
from homolog.evaluators.image_sizes import WorkingSize, matched_pair, true_homography
from homolog.evaluators.opencv_solvers import OpencvAffine
from homolog.evaluators.pose import PoseProtocol, PoseSweepProtocol
from homolog.evaluators.predictors import MatchPredictor
from homolog.evaluators.records import Record, Scored, ScoringProtocol, load_records, save_records
from homolog.evaluators.solvers import (
    MatchedPair,
    MatrixEstimate,
    PoseEstimate,
    PoselibFundamental,
    PoselibHomography,
    PoselibPose,
)

K = np.array([[500.0, 0, 319.5], [0, 500, 239.5], [0, 0, 1]])
H = np.array([[1.1, 0.05, 12], [-0.03, 0.95, -8], [1e-4, -5e-5, 1]])
RANSAC: dict[str, Any] = {
    "threshold": 1.0,
    "min_iterations": 50,
    "max_iterations": 500,
    "success_prob": 0.999,
}


def value(scored: Scored, name: str, category: str = "") -> float:
    found = [each.value for each in scored.scores if (each.name, each.category) == (name, category)]
    assert len(found) == 1, (name, [each.name for each in scored.scores])
    return found[0]


def posed(name: str = "pair", *, turn: float = 10.0, wrong: int = 0, count: int = 40, **more: Any) -> Record:
    """Exact matches of a camera that turned and moved to the right; the first `wrong` are 30 pixels too low."""
    points = np.random.default_rng(3).uniform(-1, 1, (count, 3)) + np.array([0, 0, 4])
    angle = np.deg2rad(turn)
    R = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    t = np.array([1.0, 0, 0.2])
    match0, match1 = ((seen @ K.T)[:, :2] / seen[:, 2:] for seen in (points, points @ R.T + t))
    match1[:wrong, 1] += 30
    arrays: dict[str, Any] = {
        "size0": (480, 640),
        "size1": (480, 640),
        "score": np.ones(count),
        "R": R,
        "t": t,
    }
    arrays |= {"match0": match0, "match1": match1, "K0": K, "K1": K, **more}
    return Record(name=name, arrays={key: np.array(part) for key, part in arrays.items()})


def flat(name: str = "pair", *, wrong: int = 0, count: int = 20, category: str = "", **more: Any) -> Record:
    """Exact matches under H, of which the first `wrong` are off by 4 pixels to the right."""
    match0 = np.random.default_rng(5).uniform(0, 400, (count, 2))
    match1 = apply_homography(match0, H)
    match1[:wrong, 0] += 4
    arrays: dict[str, Any] = {"size0": (480, 640), "size1": (480, 640), "score": np.ones(count), "H": H}
    arrays |= {"match0": match0, "match1": match1, **more}
    return Record(name=name, category=category, arrays={key: np.array(part) for key, part in arrays.items()})


@dataclass(frozen=True)
class Told:
    """An estimator whose answer is the name of the pair: a rotation about y in degrees, or nothing."""

    threshold: float = 1.0

    def estimate(self, pair: MatchedPair, /) -> PoseEstimate | None:
        if pair.name == "fails":
            return None
        angle = np.deg2rad(float(pair.name) + self.threshold)
        R = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
        return PoseEstimate(R=R, t=np.array([1.0, 0, 0]), inlier=pair.usable()[-1])

    def settings(self) -> dict[str, str]:
        return {"estimator": "told", "threshold": str(self.threshold)}


def still(name: str, *, category: str = "") -> Record:
    """A pair whose true pose is: no rotation, to the right. The name is the error of `Told`."""
    record = posed(name, R=np.eye(3), t=[2.0, 0, 0])
    return replace(record, category=category)


def pose_protocol(**options: Any) -> PoseProtocol:
    chosen: dict[str, Any] = {
        "name": "test/pose",
        "estimator": PoselibPose(**RANSAC),
        "working_size": None,
        "counted": "larger of both",
        "zero_translation": "failure",
        "headline": "AUC",
        "thresholds": [5, 10, 20],
        "rounding": "exact",
        "comparison": "<=",
        "epipolar": "squared sum",
        "epipolar_thresholds": [5e-4],
        "workers": 1,
    }
    return PoseProtocol(**{**chosen, **options})


# --- pose ---------------------------------------------------------------------------------------


def test_poses_are_scored_by_hand() -> None:
    protocol = pose_protocol(estimator=Told(0.0))
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
    assert scored.settings["estimator"] == "told"
    assert scored.settings["error"] == "larger of both"


def test_the_headline_comes_first_and_the_rotation_alone_can_count() -> None:
    # The translation is off by 90 degrees: only the rotation is right.
    records = [replace(still("2"), arrays={**still("2").arrays, "t": np.array([0.0, 1, 0])})]
    options: dict[str, Any] = {"estimator": Told(0.0), "headline": "accuracy"}
    larger = pose_protocol(**options).score(records)
    rotation = pose_protocol(**options, counted="rotation").score(records)
    assert [scored.scores[0].name for scored in (larger, rotation)] == ["accuracy@5deg"] * 2
    assert [scored.scores[0].value for scored in (larger, rotation)] == [0, 1]
    assert larger.per_sample["pose error"] == pytest.approx([90])


def test_true_poses_are_found_at_any_working_size_and_workers_do_not_matter() -> None:
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


def test_precision_and_matching_score_of_matches() -> None:
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


def test_records_without_a_pose_are_refused_and_no_records_have_no_number() -> None:
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
        ({"counted": "both"}, "counted 'larger of both' or 'rotation'"),
        ({"epipolar_thresholds": []}, "some epipolar thresholds"),
        ({"headline": "mAA"}, "headline AUC or accuracy"),
        ({"thresholds": []}, "thresholds above 0"),
        ({"rounding": "4"}, "rounding exact"),
        ({"comparison": "=<"}, "comparison '<' or '<='"),
    ],
)
def test_choices_that_do_not_exist_are_refused_before_anything_is_matched(
    options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(ConfigError, match=problem):
        pose_protocol(**options)


def test_a_sweep_reports_the_best_threshold_and_says_so() -> None:
    base = pose_protocol(estimator=Told())
    sweep = PoseSweepProtocol(name="test/best", base=base, ransac_thresholds=[3.0, 0.0, 1.0])
    scored = sweep.score([still("1"), still("2"), still("fails")])
    assert value(scored, "chosen RANSAC threshold") == 0.0
    np.testing.assert_allclose(scored.per_sample["pose error"], [1, 2, np.inf])
    np.testing.assert_allclose(scored.per_sample["pose error, RANSAC 3 px"], [4, 5, np.inf])
    assert "ON THE TEST SET" in scored.settings["threshold"]
    assert len(scored.curves) == 3
    with pytest.raises(ConfigError, match="thresholds to try"):
        PoseSweepProtocol(name="test/best", base=base, ransac_thresholds=[])


# --- homographies -------------------------------------------------------------------------------


def homography_protocol(**options: Any) -> HomographyProtocol:
    chosen: dict[str, Any] = {
        "name": "test/homography",
        "estimator": PoselibHomography(**RANSAC),
        "working_size": None,
        "corners": "width and height",
        "headline": "AUC",
        "thresholds": [1, 3, 5],
        "rounding": "exact",
        "comparison": "<=",
        "precision_thresholds": [1, 3],
        "workers": 1,
    }
    return HomographyProtocol(**{**chosen, **options})


@dataclass(frozen=True)
class TrueShifted:
    """An estimator that knows H, and is 2 pixels to the right of it."""

    def estimate(self, pair: MatchedPair, /) -> MatrixEstimate | None:
        shift = np.array([[1.0, 0, 2], [0, 1, 0], [0, 0, 1]])
        return MatrixEstimate(matrix=shift @ H, inlier=pair.usable()[-1]) if len(pair.xy0) else None

    def settings(self) -> dict[str, str]:
        return {"estimator": "shifted"}


def test_homographies_are_scored_by_hand() -> None:
    scored = homography_protocol(estimator=TrueShifted()).score([flat(wrong=5), flat(count=0)])
    # Errors 2 and infinite; up to 3: (2, 1/2), then level.
    assert scored.scores[0].name == "AUC@1px"
    assert value(scored, "AUC@3px") == pytest.approx((2 / 4 + 1 / 2) / 3)
    assert value(scored, "accuracy@3px") == 0.5
    assert scored.per_sample["corner error"] == pytest.approx([2, np.inf])
    assert scored.per_sample["precision@1px"].tolist() == [0.75, 0]
    assert scored.per_sample["inliers"].tolist() == [20, 0]
    assert scored.settings["corners"] == "width and height"


def test_true_homographies_are_found_and_errors_shrink_with_the_working_size() -> None:
    exact = [flat(f"{row}", wrong=4) for row in range(3)]
    assert value(homography_protocol(headline="accuracy").score(exact), "accuracy@1px") == 1
    halved = homography_protocol(estimator=TrueShifted(), working_size=WorkingSize(shorter_side=240))
    whole = homography_protocol(estimator=TrueShifted())
    # `TrueShifted` does not know of sizes: only the matches show what became of the pixels.
    errors = [protocol.score([flat(wrong=20)]).per_sample["precision@3px"][0] for protocol in (halved, whole)]
    assert errors == [1, 0]


def test_matching_accuracy_counts_forward_errors_up_to_the_threshold() -> None:
    protocol = MatchingAccuracyProtocol(
        name="test/mma", headline=3, thresholds=[1, 3, 5], comparison="<=", working_size=None
    )
    records = [flat(wrong=5, category="i"), flat(wrong=20, category="v"), flat(count=0, category="v")]
    scored = protocol.score(records)
    assert [each.name for each in scored.scores][:3] == ["MMA@3px", "MMA@1px", "MMA@5px"]
    assert value(scored, "MMA@3px") == pytest.approx(0.25)
    assert value(scored, "MMA@5px") == pytest.approx(2 / 3)
    assert value(scored, "MMA@3px", "i") == pytest.approx(0.75)
    assert value(scored, "MMA@3px", "v") == 0
    assert scored.curves["MMA over error"].y == pytest.approx([0.25, 0.25, 2 / 3])
    halved = MatchingAccuracyProtocol(
        name="test/mma",
        headline=3,
        thresholds=[3],
        comparison="<=",
        working_size=WorkingSize(longer_side=320),
    )
    assert value(halved.score(records), "MMA@3px") == pytest.approx(2 / 3)
    with pytest.raises(ConfigError, match="headline among the thresholds"):
        MatchingAccuracyProtocol(name="x", headline=2, thresholds=[1], comparison="<", working_size=None)


def precision_record(**more: Any) -> Record:
    keypoints0 = np.array([[10.0, 10], [50, 10], [100, 10], [200, 10]])
    shift = np.array([[1.0, 0, 10], [0, 1, 0], [0, 0, 1]])
    # Two true pairs, one 4 px off, one far away.
    keypoints1 = keypoints0 + np.array([[10, 0], [10, 0], [10, 4], [300, 0]])
    arrays: dict[str, Any] = {"keypoints0": keypoints0, "keypoints1": keypoints1, "H": shift}
    arrays |= {"match0": keypoints0, "match1": keypoints1, "score": [0.9, 0.2, 0.8, 0.7], **more}
    return flat(**arrays)


def test_precision_and_recall_ignore_the_band_in_between() -> None:
    protocol = MatchPrecisionProtocol(name="test/sh", positive=3, negative=5, working_size=None)
    scored = protocol.score([precision_record()])
    # Right: two. The one 4 px off does not count, the far one is wrong.
    assert value(scored, "precision") == pytest.approx(2 / 3)
    assert value(scored, "recall") == 1
    assert scored.per_sample["right matches"].tolist() == [2]
    curve = scored.curves["precision over recall"]
    assert curve.y == pytest.approx([1, 1 / 2, 2 / 3])  # right, wrong, right, by score
    assert curve.x == pytest.approx([0.5, 0.5, 1])


def test_the_best_match_of_a_keypoint_counts_and_none_is_nothing_right() -> None:
    protocol = MatchPrecisionProtocol(name="test/sh", positive=3, negative=5, working_size=None)
    record = precision_record()
    twice = precision_record(
        match0=record["match0"][[0, 0]], match1=record["match1"][[0, 1]], score=[0.9, 0.1]
    )
    none = precision_record(match0=np.zeros((0, 2)), match1=np.zeros((0, 2)), score=[])
    scored = protocol.score([twice, none])
    assert scored.per_sample["precision"].tolist() == [1, 0]
    assert scored.per_sample["recall"].tolist() == [0.5, 0]
    assert value(scored, "precision of all matches") == 1
    assert value(scored, "recall of all matches") == 0.25
    assert value(protocol.score([record]), "matches per pair") == 4


def test_precision_needs_keypoints() -> None:
    protocol = MatchPrecisionProtocol(name="test/sh", positive=3, negative=5, working_size=None)
    with pytest.raises(ShapeError, match="expected a record with keypoints0"):
        protocol.score([flat()])
    with pytest.raises(ShapeError, match="does not move its keypoints"):
        protocol.score([precision_record(match0=precision_record()["match0"] + 0.5)])
    with pytest.raises(ConfigError, match="0 < positive <= negative"):
        MatchPrecisionProtocol(name="x", positive=5, negative=3, working_size=None)


# --- affine maps and fundamental matrices -------------------------------------------------------


def test_affine_maps_are_scored_by_annotated_points() -> None:
    A = np.array([[0.9, -0.3, 40], [0.3, 0.9, -15]])
    match0 = np.random.default_rng(0).uniform(0, 520, (30, 2))
    xy0 = np.array([[0.0, 0], [500, 0], [0, 500], [500, 500]])
    xy1 = xy0 @ A[:, :2].T + A[:, 2]
    xy1[0] += 10  # a marked point that no map explains: 14 px off, 0.03 * 520 = 15.6
    arrays = {"match0": match0, "match1": match0 @ A[:, :2].T + A[:, 2], "score": np.ones(30)}
    arrays |= {"xy0": xy0, "xy1": xy1, "size0": np.array((520, 520)), "size1": np.array((520, 520))}
    found = Record(name="found", arrays=arrays)
    lost = Record(
        name="lost", arrays={**arrays, **{key: arrays[key][:2] for key in ("match0", "match1", "score")}}
    )
    protocol = AffineProtocol(
        name="test/affine",
        estimator=OpencvAffine(method="RANSAC", threshold=3.0, confidence=0.999),
        alphas=[0.01, 0.03],
        comparison="<=",
        workers=1,
    )
    scored = protocol.score([found, lost])
    assert [each.name for each in scored.scores][:2] == ["PCK@0.01", "PCK@0.03"]
    assert scored.per_sample["PCK@0.01"].tolist() == [0.75, 0]
    assert scored.per_sample["PCK@0.03"].tolist() == [1, 0]
    assert value(scored, "PCK@0.03") == 0.5
    assert value(scored, "failures") == 0.5
    assert scored.per_sample["mean error"][1] == np.inf
    with pytest.raises(ConfigError, match="at least one alpha"):
        AffineProtocol(
            name="x",
            estimator=OpencvAffine(method="RANSAC", threshold=3.0, confidence=0.9),
            alphas=[],
            comparison="<",
        )


def test_fundamental_matrices_are_scored_by_marked_points() -> None:
    marked = posed(count=30)
    xy1 = marked["match1"].copy()
    xy1[:15, 1] += 6  # half of the marked points are wrong, by 6 px at most in each image
    record, lost = posed(xy0=marked["match0"], xy1=xy1), posed(count=6, xy0=marked["match0"], xy1=xy1)
    protocol = FundamentalProtocol(
        name="test/wxbs",
        estimator=PoselibFundamental(**RANSAC),
        headline=2,
        thresholds=[0, 1, 2, 20],
        workers=1,
    )
    scored = protocol.score([record, lost])
    assert scored.scores[0].name == "mAA@2px"
    assert scored.per_sample["recall@1px"].tolist() == [0.5, 0]
    assert scored.per_sample["recall@20px"].tolist() == [1, 0]
    assert scored.scores[0].value == pytest.approx(0.25)
    assert value(scored, "failures") == 0.5
    with pytest.raises(ConfigError, match="among the thresholds"):
        FundamentalProtocol(name="x", estimator=PoselibFundamental(**RANSAC), headline=3, thresholds=[1, 2])


# --- working sizes ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("chosen", "size", "wanted"),
    [
        ({}, (480, 640), (480, 640)),
        ({"longer_side": 320}, (480, 640), (240, 320)),
        ({"longer_side": 320}, (640, 480), (320, 240)),
        ({"longer_side": 1600}, (1000, 333), (1600, 532)),
        ({"shorter_side": 480}, (968, 1296), (480, 642)),
        ({"shorter_side": 480}, (1296, 968), (642, 480)),
        ({"shorter_side": 480}, (600, 600), (480, 480)),
        ({"exact": [480, 640]}, (968, 1296), (480, 640)),
    ],
)
def test_working_sizes(chosen: dict[str, Any], size: tuple[int, int], wanted: tuple[int, int]) -> None:
    assert WorkingSize(**chosen).of(size) == wanted


def test_points_rays_and_homographies_move_together() -> None:
    size, record = WorkingSize(exact=(200, 400)), posed()
    pair = matched_pair(record, size)
    moved = resize_pixel(torch.from_numpy(record["match0"]), (480, 640), (200, 400))
    np.testing.assert_allclose(pair.xy0, moved.numpy(), atol=1e-9)
    assert pair.K0 is not None
    rays, wanted = (
        np.column_stack((xy, np.ones(len(xy)))) @ np.linalg.inv(k).T
        for xy, k in ((pair.xy0, pair.K0), (record["match0"], K))
    )
    np.testing.assert_allclose(rays, wanted, atol=1e-9)
    plane = flat()
    moved_plane = matched_pair(plane, size)
    there = apply_homography(moved_plane.xy0, true_homography(plane, size))
    np.testing.assert_allclose(there, moved_plane.xy1, atol=1e-6)


@pytest.mark.parametrize(
    "chosen", [{"longer_side": 1, "shorter_side": 2}, {"longer_side": 0}, {"exact": [480]}]
)
def test_working_sizes_without_sense_are_refused(chosen: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match="one of longer_side, shorter_side and exact"):
        WorkingSize(**chosen)


# --- asking -------------------------------------------------------------------------------------


class Found(SimpleNamespace):
    """A correspondence with three matches, best first."""

    can_transfer = False

    def matches(self, limit: int | None = None) -> Matches:
        xy0 = torch.tensor([[10.0, 10.0], [20.0, 20.0], [30.2, 5.4]])
        return Matches(xy0=xy0, xy1=xy0 + 1, score=torch.tensor([0.9, 0.5, 0.1])).best(limit)


class Matching:
    """A matcher that finds the same whatever it sees."""

    def __init__(self, **told: Any) -> None:
        self.told = told

    def match(self, image0: Any, image1: Any) -> Any:
        return Found(**self.told)


def sample(**more: Any) -> PairSample:
    given: dict[str, Any] = {f"image{side}": Image(pixels=torch.zeros(3, 32, 48)) for side in (0, 1)}
    given |= {"name": "pair", "category": "scene", "facts": {"overlap": "0.4"}}
    return PairSample(**dict(given, **more))


def test_a_record_has_the_matches_and_all_truth_there_is(tmp_path: Path) -> None:
    truth: dict[str, Any] = {
        "camera0": Camera(K=torch.from_numpy(K)),
        "camera1": Camera(K=torch.from_numpy(K)),
        "pose": RelativePose(R=torch.eye(3), t=torch.tensor([1.0, 0, 0])),
        "homography": torch.from_numpy(H),
        "xy0": torch.zeros(2, 2),
        "xy1": torch.ones(2, 2),
    }
    keypoints = torch.rand(7, 2)
    record = MatchPredictor(limit=None)(
        Matching(keypoints0=keypoints, keypoints1=keypoints[:5]), sample(**truth)
    )
    assert (record.name, record.category, record.facts["overlap"]) == ("pair", "scene", "0.4")
    assert record["match1"].tolist() == (record["match0"] + 1).tolist()
    assert record["score"] == pytest.approx([0.9, 0.5, 0.1])
    assert record["size0"].tolist() == [32, 48]
    assert (len(record["keypoints0"]), len(record["keypoints1"])) == (7, 5)
    for key in ("K0", "K1", "R", "t", "H", "xy0", "xy1"):
        assert key in record
    save_records(tmp_path / "records.npz", [record])
    (again,) = load_records(tmp_path / "records.npz")
    np.testing.assert_array_equal(again["H"], H)


def test_what_is_not_known_is_not_in_the_record() -> None:
    record = MatchPredictor(limit=2)(Matching(), sample())
    assert set(record.arrays) == {"size0", "size1", "match0", "match1", "score"}
    assert len(record["match0"]) == 2
    assert record.facts["matches"] == "best 2"


def test_matches_beside_the_foreground_are_dropped_where_the_protocol_says_so() -> None:
    mask0, mask1 = torch.ones(32, 48, dtype=torch.bool), torch.ones(32, 48, dtype=torch.bool)
    mask0[5, 30] = False  # nearest to (30.2, 5.4)
    mask1[21, 21] = False  # where the second match ends
    masked = sample(mask0=mask0, mask1=mask1)
    kept = MatchPredictor(limit=None, foreground=True)(Matching(), masked)
    assert kept["match0"].tolist() == [[10, 10]]
    assert len(MatchPredictor(limit=None)(Matching(), masked)["match0"]) == 3
    assert len(MatchPredictor(limit=None, foreground=True)(Matching(), sample())["match0"]) == 3
    one_sided = sample(mask1=mask1)
    assert len(MatchPredictor(limit=None, foreground=True)(Matching(), one_sided)["match0"]) == 2
    with pytest.raises(ShapeError, match="expected a mask of the size of its image"):
        MatchPredictor(limit=None, foreground=True)(Matching(), sample(mask0=mask0[:5]))


def test_a_resized_image_keeps_the_size_and_pixels_of_its_file() -> None:
    file = Image(pixels=torch.zeros(3, 64, 96))
    small = resize(file, (20, 48))
    mask = torch.zeros(20, 48, dtype=torch.bool)
    mask[:, :8] = True  # columns 0 to 15 of the file
    record = MatchPredictor(limit=None, foreground=True)(Matching(), sample(image0=small, mask0=mask))
    assert record["size0"].tolist() == [64, 96]
    assert record["match0"].tolist() == [[10, 10]]


def test_only_pairs_have_matches() -> None:
    tracks = Tracks(
        xy=torch.zeros(1, 1, 2),
        visible=torch.ones(1, 1, dtype=torch.bool),
        query_frame=torch.zeros(1, dtype=torch.int64),
    )
    video = VideoSample(frames=[Image(pixels=torch.zeros(3, 32, 48))], tracks=tracks, name="clip")
    with pytest.raises(ConfigError, match="clip: expected a pair, got a video"):
        MatchPredictor(limit=None)(Matching(), video)
    with pytest.raises(ConfigError, match="limit of 0 or more"):
        MatchPredictor(limit=-1)
