"""Protocols over records of tracks: rasters, averages, and what is left out and said."""

from typing import Any

import numpy as np
import pytest

from homolog.core.errors import ConfigError, ShapeError
from homolog.evaluators.records import Record, Scored, ScoringProtocol, load_records, save_records
from homolog.evaluators.tracking import EvaluatedFrames, TapVidProtocol, TracksPckProtocol


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


def tapvid(records: list[Record], mode: EvaluatedFrames = "first") -> Scored:
    return TapVidProtocol(name="tapvid/first", mode=mode).score(records)


def value(scored: Scored, name: str) -> float:
    return next(score.value for score in scored.scores if score.name == name)


def pck(records: list[Record], **settings: Any) -> Scored:
    given: dict[str, Any] = {"alphas": [0.1, 0.05], "comparison": "<=", "raster": [512, 512], **settings}
    return TracksPckProtocol(name="tapvid/matcha-pck", **given).score(records)


# --- TAP-Vid --------------------------------------------------------------------------------------


def test_both_are_protocols():
    assert isinstance(TapVidProtocol(name="a", mode="first"), ScoringProtocol)
    protocol = TracksPckProtocol(name="b", alphas=[0.1], comparison="<", raster=[512, 512])
    assert isinstance(protocol, ScoringProtocol)


def test_the_average_is_over_videos_not_over_points():
    # All of one point's frames are found, and one of four of the other's: videos count alike.
    scored = tapvid([clip("a", [0, 0]), clip("b", [0, 0, 50, 50, 50])])
    assert value(scored, "<delta_avg") == pytest.approx((1 + 0.25) / 2)
    assert scored.scores[0].name == "AJ"
    # Jaccard of b: 1 found; 4 visible and 3 false positives.
    assert scored.scores[0].value == pytest.approx((1 + 1 / 7) / 2)
    assert scored.scores[0].count == 2
    assert scored.per_sample["AJ"].tolist() == pytest.approx([1, 1 / 7])
    assert scored.quality is scored.per_sample["AJ"]


def test_errors_are_measured_on_the_raster_of_256():
    # 6 px to the right of a video 1024 wide are 1.5 px of the raster; its height does not matter.
    scored = tapvid([clip("wide", [0, 6], size=(128, 1024))])
    assert value(scored, "delta@1px") == 0
    assert value(scored, "delta@2px") == 1


def test_thresholds_rise_and_make_the_curves():
    scored = tapvid([clip("a", [0, 0.5, 1.5, 3, 6, 12, 20])])
    assert [value(scored, f"delta@{t}px") for t in (1, 2, 4, 8, 16)] == pytest.approx(np.arange(1, 6) / 6)
    assert scored.curves["points found"].x.tolist() == [1, 2, 4, 8, 16]
    assert scored.curves["points found"].y.tolist() == pytest.approx(list(np.arange(1, 6) / 6))
    assert value(scored, "<delta_avg") == pytest.approx(0.5)


def test_a_video_without_a_number_is_left_out_and_named():
    scored = tapvid([clip("fine", [0, 0]), clip("dark", [0, 0, 0], hidden=2), clip("short", [0])])
    assert [score.count for score in scored.scores] == [1] * len(scored.scores)
    assert value(scored, "AJ") == 1
    assert scored.settings["videos without a number"] == "dark, short"
    # Its OA and its Jaccard (0, all false positives) exist, but means over other videos would not compare.
    assert scored.per_sample["jaccard@1px"][1] == 0
    assert value(scored, "OA") == 1


def test_no_video_at_all_gives_no_number():
    for records in ([], [clip("short", [0])]):
        scored = tapvid(records)
        assert np.isnan(scored.scores[0].value)
        assert scored.scores[0].count == 0


def test_records_of_other_queries_are_refused():
    with pytest.raises(ConfigError, match="expected records of strided queries, got first in a"):
        tapvid([clip("a", [0, 0])], mode="strided")
    with pytest.raises(ConfigError, match="got none in b"):
        tapvid([Record(name="b")])


def test_records_without_tracks_are_refused():
    with pytest.raises(ShapeError, match="expected a record with size"):
        tapvid([Record(name="pair", facts={"queries": "first"})])


def test_settings_say_the_choices():
    settings = tapvid([clip("a", [0, 0])]).settings
    assert settings["raster"] == settings["frames as the tracker saw them"] == "256 x 256"
    assert settings["comparison"] == "<"
    assert settings["queries"] == "first"
    assert settings["evaluated"] == "frames after the query"


def test_scores_are_the_same_from_the_stored_records(tmp_path):
    records = [clip("a", [0, 1.5, 3]), clip("b", [0, 9], size=(100, 300))]
    save_records(tmp_path / "records.npz", records)
    again = tapvid(load_records(tmp_path / "records.npz"))
    assert again.scores == tapvid(records).scores


# --- MATCHA's PCK ---------------------------------------------------------------------------------


def test_pck_averages_over_frames_of_all_videos():
    # 0.1 of 512 is 51.2 px of the raster, 25.6 px of a video of 256; 0.05 is 12.8 px.
    scored = pck([clip("a", [0, 0]), clip("b", [0, 20, 20, 30])])
    assert value(scored, "PCK@0.1 per image") == pytest.approx(3 / 4)
    assert value(scored, "PCK@0.05 per image") == pytest.approx(1 / 4)
    assert scored.scores[0].count == 4
    assert scored.per_sample["PCK@0.1 per image"].tolist() == pytest.approx([1, 2 / 3])


def test_an_error_on_the_threshold_counts_or_not_as_is_said():
    # An eighth of 256, exact in binary, so that the comparison alone decides.
    records = [clip("a", [0, 32])]
    assert value(pck(records, alphas=[0.125]), "PCK@0.125 per image") == 1
    assert value(pck(records, alphas=[0.125], comparison="<"), "PCK@0.125 per image") == 0


def test_frames_on_which_no_point_is_seen_do_not_count():
    scored = pck([clip("a", [0, 0, 99], hidden=1)])
    assert scored.scores[0].value == 1
    assert scored.scores[0].count == 1


def test_only_queries_of_the_first_frame_count():
    record = clip("a", [0, 0, 0])
    late = Record(name="late", arrays={**record.arrays, "query_frame": np.array([1])}, facts=record.facts)
    scored = pck([late])
    assert np.isnan(scored.scores[0].value)
    assert np.isnan(scored.per_sample["PCK@0.1 per image"][0])


def test_initial_queries_fit_and_strided_ones_do_not():
    assert pck([clip("a", [0, 0], queries="initial")]).scores[0].value == 1
    with pytest.raises(ConfigError, match="expected records of first or initial queries, got strided"):
        pck([clip("a", [0, 0], queries="strided")])


def test_the_pck_curve_ends_where_the_scores_say():
    scored = pck([clip("b", [0, 20, 20, 30])])
    curve = scored.curves["PCK"]
    at = {round(float(x), 3): float(y) for x, y in zip(curve.x, curve.y, strict=True)}
    assert at[0.1] == value(scored, "PCK@0.1 per image")
    assert at[0.05] == value(scored, "PCK@0.05 per image")


def test_settings_that_are_none_are_refused():
    with pytest.raises(ConfigError, match="expected alphas and a raster"):
        pck([], alphas=[])
    with pytest.raises(ConfigError, match="expected alphas and a raster"):
        pck([], raster=[512])
    assert np.isnan(pck([]).scores[0].value)
