"""Queries, TAP-Vid and PCK of tracks by hand, and the protocols over records."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from homolog.core.errors import ConfigError, ShapeError
from homolog.evaluators.records import Record, Scored, load_records, save_records
from homolog.evaluators.tracking import (
    THRESHOLDS,
    EvaluatedFrames,
    TapVidProtocol,
    TapVidScores,
    TracksPckProtocol,
    sample_queries,
    tapvid,
    tracks_pck,
)


def one_track(
    visible: str,
    said: str,
    off: list[float],
    *,
    query: float = 0,
    query_mode: str = "first",
    per_track: bool = False,
) -> TapVidScores:
    """A track that stands still at (50, 60) and is found `off` pixels to the right; V is visible."""
    xy = np.tile(np.array([50.0, 60.0]), (1, len(visible), 1))
    predicted = xy + np.stack((np.array(off), np.zeros(len(off))), axis=-1)
    return tapvid(
        query_frame=np.array([query]),
        visible=np.array([[letter == "V" for letter in visible]]),
        xy=xy,
        predicted_visible=np.array([[letter == "V" for letter in said]]),
        predicted=predicted,
        query_mode=query_mode,  # pyright: ignore[reportArgumentType]
        per_track=per_track,
    )


def test_three_frames_by_hand():
    # Frame 1: found at 1.5 px. Frame 2: found at 3 px, but said to be hidden. Frame 3: hidden, said to be visible.
    scores = one_track("VVV-", "VV-V", [0, 1.5, 3, 0])
    assert scores.occlusion_accuracy == pytest.approx(1 / 3)
    assert scores.within.tolist() == pytest.approx([0, 1 / 2, 1, 1, 1])
    # Two truly visible; one false positive, and at 1 px a second one, which was said to be visible but is too far.
    assert scores.jaccard.tolist() == pytest.approx([0 / 4, 1 / 3, 1 / 3, 1 / 3, 1 / 3])
    assert scores.average_jaccard == pytest.approx(4 / 15)
    assert scores.average_within == pytest.approx(0.7)


def test_first_scores_later_frames_and_strided_all_but_the_query():
    later = one_track("VVVV", "-VVV", [9, 0, 0, 9], query=1, query_mode="first")
    others = one_track("VVVV", "-VVV", [9, 0, 0, 9], query=1, query_mode="strided")
    assert later.occlusion_accuracy == 1
    assert others.occlusion_accuracy == pytest.approx(2 / 3)
    assert later.within[0] == 1 / 2
    assert others.within[0] == pytest.approx(1 / 3)


def test_what_is_said_of_the_query_frame_does_not_count():
    assert one_track("VV", "-V", [100, 0]).average_jaccard == 1


def test_an_error_of_exactly_the_threshold_is_outside():
    assert one_track("VV", "VV", [0, 4]).within.tolist() == [0, 0, 0, 1, 1]


def test_a_place_that_is_not_finite_is_found_at_no_threshold():
    scores = one_track("VVVV", "VVVV", [0, np.nan, np.inf, 1e300])
    assert scores.within.tolist() == [0] * 5
    assert scores.jaccard.tolist() == [0] * 5


def test_a_video_without_frames_to_score_has_no_numbers():
    scores = one_track("VV", "VV", [0, 0], query=1)
    assert np.isnan([scores.occlusion_accuracy, scores.average_jaccard, scores.average_within]).all()


def test_tracks_on_their_own_are_the_videos_of_one_track():
    alone = one_track("VVV-", "VV-V", [0, 1.5, 3, 0], per_track=True)
    assert alone.jaccard.shape == (5, 1)
    assert alone.average_jaccard.tolist() == pytest.approx([4 / 15])


@pytest.mark.parametrize("frame", [-1, 2, 5])
def test_a_query_beside_the_video_is_refused(frame: int):
    with pytest.raises(ShapeError, match="query frames from 0 to 1"):
        one_track("VV", "VV", [0, 0], query=frame)


def test_an_unknown_mode_is_refused():
    with pytest.raises(Exception, match="first"):  # beartype's or ours, by who looks first
        one_track("VV", "VV", [0, 0], query_mode="last")


MODES: tuple[EvaluatedFrames, ...] = ("first", "strided")


@given(st.integers(0, 2**31 - 1), st.sampled_from(MODES))
def test_scores_agree_with_counting_one_point_after_the_other(seed: int, mode: EvaluatedFrames):
    random = np.random.default_rng(seed)
    tracks, frames = random.integers(1, 5), random.integers(2, 7)
    visible, said = random.random((2, tracks, frames)) < 0.6
    query = random.integers(0, frames, tracks)
    xy = random.random((tracks, frames, 2)) * 30
    predicted = xy + random.normal(size=xy.shape) * 5
    scores = tapvid(
        query_frame=query,
        visible=visible,
        xy=xy,
        predicted_visible=said,
        predicted=predicted,
        query_mode=mode,
    )
    for row, threshold in enumerate(THRESHOLDS):
        hit = true_positive = positive = false_positive = 0
        for n in range(tracks):
            for t in range(frames):
                if t == query[n] or (mode == "first" and t < query[n]):
                    continue
                near = float(np.hypot(*(predicted[n, t] - xy[n, t]))) < threshold
                positive += int(visible[n, t])
                hit += int(visible[n, t] and near)
                true_positive += int(visible[n, t] and near and said[n, t])
                false_positive += int(said[n, t] and not (visible[n, t] and near))
        expected = hit / positive if positive else np.nan
        whole = positive + false_positive
        np.testing.assert_allclose(scores.within[row], expected)
        np.testing.assert_allclose(scores.jaccard[row], true_positive / whole if whole else np.nan)
    assert (np.diff(scores.within) >= 0).all() or np.isnan(scores.within).all()


SEEN = np.array([[True, False, True, True, True, True], [False] * 6, [False, True, True, True, True, False]])


@pytest.mark.parametrize(
    ("mode", "tracks", "frames"),
    [("first", [0, 2], [0, 1]), ("strided", [0, 0], [0, 5]), ("initial", [0], [0])],
)
def test_queries_of_each_mode_and_none_where_nothing_is_seen(mode, tracks: list[int], frames: list[int]):
    track, frame = sample_queries(SEEN, query_mode=mode)
    assert (track.tolist(), frame.tolist()) == (tracks, frames)
    for empty in (np.zeros((3, 4), dtype=bool), np.zeros((0, 4), dtype=bool)):
        track, frame = sample_queries(empty, query_mode=mode)
        assert track.shape == frame.shape == (0,)


def test_other_rules_and_shapes_are_refused():
    with pytest.raises(Exception, match="strided"):
        sample_queries(SEEN, query_mode="last")  # pyright: ignore[reportArgumentType]


def shares(visible: np.ndarray, error: Any, alphas: list[float], comparison: Any = "<=") -> np.ndarray:
    """Fraction found of tracks at the origin that are found `error` pixels to the right, with a side of 100."""
    xy = np.zeros((*visible.shape, 2))
    predicted = xy + np.stack((np.array(error), np.zeros(visible.shape)), axis=-1)
    counts = tracks_pck(
        visible=visible, xy=xy, predicted=predicted, side=100.0, alphas=alphas, comparison=comparison
    )
    with np.errstate(invalid="ignore"):
        return counts.found / counts.points


def test_four_frames_by_hand():
    # Side 100, alpha 0.05: 5 px. The third track is not seen on the first frame and never counts.
    visible = np.array([[1, 1, 1, 0], [1, 0, 1, 0], [0, 1, 1, 1]], dtype=bool)
    error = [[9, 5, 5.1, 0], [9, 99, 0, 0], [9, 99, 99, 99]]
    np.testing.assert_array_equal(shares(visible, error, [0.05, 0.1]), [[1, 0.5, np.nan], [1, 1, np.nan]])
    np.testing.assert_array_equal(shares(visible, error, [0.05], "<"), [[0, 0.5, np.nan]])


def test_a_place_that_is_not_a_number_is_not_found():
    assert shares(np.ones((1, 2), dtype=bool), [[np.nan, np.nan]], [0.1]).tolist() == [[0]]


def test_no_tracks_leave_every_frame_without_a_number():
    found = shares(np.zeros((0, 3), dtype=bool), np.zeros((0, 3)), [0.1])
    assert found.shape == (1, 2)
    assert np.isnan(found).all()


def test_arrays_that_do_not_belong_together_are_refused():
    with pytest.raises((ShapeError, TypeError)):  # jaxtyping sees it first
        tracks_pck(
            visible=np.ones((1, 2), dtype=bool),
            xy=np.zeros((1, 3, 2)),
            predicted=np.zeros((1, 3, 2)),
            side=1.0,
            alphas=[0.1],
            comparison="<",
        )


def clip(name: str, off: list[float], *, size=(256, 256), hidden: int = 0, queries: str = "first") -> Record:
    """One track that is asked for on frame 0 and found `off` pixels to the right; its last frames are hidden."""
    frames = len(off)
    visible = np.arange(frames)[None] < frames - hidden
    xy = np.full((1, frames, 2), 10, dtype=np.float32)
    predicted = xy + np.stack((np.array(off), np.zeros(frames)), axis=-1)[None].astype(np.float32)
    return Record(
        name=name,
        arrays={
            "size": np.array(size),
            "query_frame": np.array([0]),
            "xy": xy,
            "visible": visible,
            "predicted": predicted,
            "predicted_visible": np.ones((1, frames), dtype=bool),
        },
        facts={"queries": queries, "raster": "256 x 256"},
    )


def score_tapvid(records: list[Record], query_mode: EvaluatedFrames = "first") -> Scored:
    return TapVidProtocol(name="tapvid/first", query_mode=query_mode).score(records)


def score_pck(records: list[Record], **settings: Any) -> Scored:
    given: dict[str, Any] = {
        "alphas": [0.1, 0.05],
        "comparison": "<=",
        "average": "per image",
        "raster": [512, 512],
        **settings,
    }
    return TracksPckProtocol(name="tapvid/matcha", **given).score(records)


def test_the_average_is_over_videos_not_over_points(value: Any):
    # All of one point's frames are found, and one of four of the other's: videos count alike.
    scored = score_tapvid([clip("a", [0, 0]), clip("b", [0, 0, 50, 50, 50])])
    assert value(scored, "<delta_avg") == pytest.approx((1 + 0.25) / 2)
    assert scored.scores[0].name == "AJ"
    # Jaccard of b: 1 found; 4 visible and 3 false positives.
    assert scored.scores[0].value == pytest.approx((1 + 1 / 7) / 2)
    assert scored.scores[0].count == 2
    assert scored.per_sample["AJ"].tolist() == pytest.approx([1, 1 / 7])
    assert scored.quality is scored.per_sample["AJ"]


def test_errors_are_measured_on_the_raster_of_256(value: Any):
    # 6 px to the right of a video 1024 wide are 1.5 px of the raster; its height does not matter.
    scored = score_tapvid([clip("wide", [0, 6], size=(128, 1024))])
    assert value(scored, "delta@1px") == 0
    assert value(scored, "delta@2px") == 1


def test_thresholds_rise_and_make_the_curves(value: Any):
    scored = score_tapvid([clip("a", [0, 0.5, 1.5, 3, 6, 12, 20])])
    assert [value(scored, f"delta@{t}px") for t in (1, 2, 4, 8, 16)] == pytest.approx(np.arange(1, 6) / 6)
    assert scored.curves["points found"].x.tolist() == [1, 2, 4, 8, 16]
    assert scored.curves["points found"].y.tolist() == pytest.approx(list(np.arange(1, 6) / 6))
    assert value(scored, "<delta_avg") == pytest.approx(0.5)


def test_a_video_without_a_number_is_left_out_and_named(value: Any):
    scored = score_tapvid([clip("fine", [0, 0]), clip("dark", [0, 0, 0], hidden=2), clip("short", [0])])
    assert [score.count for score in scored.scores] == [1] * len(scored.scores)
    assert value(scored, "AJ") == 1
    assert scored.settings["videos without a score"] == "dark, short"
    # Its OA and its Jaccard (0, all false positives) exist, but means over other videos would not compare.
    assert scored.per_sample["jaccard@1px"][1] == 0
    assert value(scored, "OA") == 1


def test_no_video_at_all_gives_no_number():
    for records in ([], [clip("short", [0])]):
        scored = score_tapvid(records)
        assert np.isnan(scored.scores[0].value)
        assert scored.scores[0].count == 0


def test_records_of_other_queries_are_refused():
    with pytest.raises(ConfigError, match="expected records of strided queries, got first in a"):
        score_tapvid([clip("a", [0, 0])], query_mode="strided")
    with pytest.raises(ConfigError, match="got none in b"):
        score_tapvid([Record(name="b")])


def test_records_without_tracks_are_refused():
    with pytest.raises(ShapeError, match="expected a record with size"):
        score_tapvid([Record(name="pair", facts={"queries": "first"})])


def test_settings_say_the_choices():
    settings = score_tapvid([clip("a", [0, 0])]).settings
    assert settings["raster"] == settings["frames resized for the tracker"] == "256 x 256"
    assert settings["comparison"] == "<"
    assert settings["queries"] == "first"
    assert settings["evaluated"] == "frames after the query"


def test_scores_are_the_same_from_the_stored_records(tmp_path):
    records = [clip("a", [0, 1.5, 3]), clip("b", [0, 9], size=(100, 300))]
    save_records(tmp_path / "records.npz", records)
    again = score_tapvid(load_records(tmp_path / "records.npz"))
    assert again.scores == score_tapvid(records).scores


def test_pck_averages_over_frames_of_all_videos(value: Any):
    # 0.1 of 512 is 51.2 px of the raster, 25.6 px of a video of 256; 0.05 is 12.8 px.
    scored = score_pck([clip("a", [0, 0]), clip("b", [0, 20, 20, 30])])
    assert value(scored, "PCK@0.1 per image") == pytest.approx(3 / 4)
    assert value(scored, "PCK@0.05 per image") == pytest.approx(1 / 4)
    assert scored.scores[0].count == 4
    assert scored.per_sample["PCK@0.1 per image"].tolist() == pytest.approx([1, 2 / 3])


def two_points(name: str, off: list[list[float]], visible: list[list[int]]) -> Record:
    """Tracks that are queried on frame 0 and found `off` pixels to the right in a video of 256 x 256."""
    shown = np.array(visible, dtype=bool)
    xy = np.full((*shown.shape, 2), 10.0)
    predicted = xy + np.stack((np.array(off), np.zeros(shown.shape)), axis=-1)
    record = clip(name, [0] * shown.shape[1])
    arrays = {"xy": xy, "visible": shown, "predicted": predicted, "query_frame": np.zeros(len(shown))}
    return replace(record, arrays={**record.arrays, **arrays})


def test_three_averages_of_tracks_by_hand(value: Any):
    # 0.1 of 512 is 25.6 px of a video of 256. Frame 1 of a: both points, one is found. Frame 2 of a: one point, found.
    # b: one point on one frame, missed.
    records = [
        two_points("a", [[0, 1, 2], [0, 30, 99]], [[1, 1, 1], [1, 1, 0]]),
        two_points("b", [[0, 60]], [[1, 1]]),
        two_points("hidden", [[0, 0]], [[1, 0]]),
    ]
    scored = score_pck(records, alphas=[0.1], average="per point")
    assert [(score.name, score.count) for score in scored.scores] == [
        ("PCK@0.1 per point", 4),
        ("PCK@0.1 per video", 2),
        ("PCK@0.1 per image", 3),
    ]
    assert value(scored, "PCK@0.1 per point") == pytest.approx(2 / 4)
    assert value(scored, "PCK@0.1 per video") == pytest.approx((2 / 3 + 0) / 2)
    assert value(scored, "PCK@0.1 per image") == pytest.approx((1 / 2 + 1 + 0) / 3)
    np.testing.assert_allclose(scored.per_sample["PCK@0.1 per point"], [2 / 3, 0, np.nan])
    np.testing.assert_allclose(scored.per_sample["PCK@0.1 per image"], [3 / 4, 0, np.nan])
    assert scored.per_sample["points"].tolist() == [3, 1, 0]
    assert scored.curves["PCK"].y_label == "PCK per point"
    assert scored.curves["PCK"].y[-1] == pytest.approx(3 / 4)  # 0.2 is 51.2 px: the 30 of a too
    first = score_pck(records, alphas=[0.1], average="per video").scores[0]
    assert (first.name, first.value) == ("PCK@0.1 per video", pytest.approx(1 / 3))


def test_no_tracks_at_all_have_no_number():
    for records in ([], [two_points("hidden", [[0, 0]], [[1, 0]])]):
        scored = score_pck(records, average="per point")
        assert np.isnan([score.value for score in scored.scores]).all()
        assert {score.count for score in scored.scores} == {0}


def test_an_error_on_the_threshold_counts_or_not_as_is_said(value: Any):
    # An eighth of 256, exact in binary, so that the comparison alone decides.
    records = [clip("a", [0, 32])]
    assert value(score_pck(records, alphas=[0.125]), "PCK@0.125 per image") == 1
    assert value(score_pck(records, alphas=[0.125], comparison="<"), "PCK@0.125 per image") == 0


def test_frames_on_which_no_point_is_seen_do_not_count():
    scored = score_pck([clip("a", [0, 0, 99], hidden=1)])
    assert scored.scores[0].value == 1
    assert scored.scores[0].count == 1


def test_only_queries_of_the_first_frame_count():
    record = clip("a", [0, 0, 0])
    late = Record(name="late", arrays={**record.arrays, "query_frame": np.array([1])}, facts=record.facts)
    scored = score_pck([late])
    assert np.isnan(scored.scores[0].value)
    assert np.isnan(scored.per_sample["PCK@0.1 per image"][0])


def test_initial_queries_fit_and_strided_ones_do_not():
    assert score_pck([clip("a", [0, 0], queries="initial")]).scores[0].value == 1
    with pytest.raises(ConfigError, match="expected records of first or initial queries, got strided"):
        score_pck([clip("a", [0, 0], queries="strided")])


def test_the_pck_curve_ends_where_the_scores_say(value: Any):
    scored = score_pck([clip("b", [0, 20, 20, 30])])
    curve = scored.curves["PCK"]
    at = {round(float(x), 3): float(y) for x, y in zip(curve.x, curve.y, strict=True)}
    assert at[0.1] == value(scored, "PCK@0.1 per image")
    assert at[0.05] == value(scored, "PCK@0.05 per image")


def test_settings_that_are_none_are_refused():
    with pytest.raises(ConfigError, match="expected alphas and a raster"):
        score_pck([], alphas=[])
    with pytest.raises(ConfigError, match="expected alphas and a raster"):
        score_pck([], raster=[512])
    assert np.isnan(score_pck([]).scores[0].value)
