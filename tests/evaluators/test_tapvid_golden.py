"""TAP-Vid against the official functions: every case of the groups `tapvid` and `tapvid_sampling`."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from homolog.evaluators.tracking import THRESHOLDS, TapVidScores, sample_queries, tapvid


def numbers(value: Any, dtype: str) -> np.ndarray:
    """Nested lists in which NaN and infinities are texts."""
    return np.array(value, dtype=object).astype(np.float64).astype(dtype)


def cases(goldens: Path, group: str) -> list[dict[str, Any]]:
    every = json.loads((goldens / "metrics.json").read_text(encoding="utf-8"))["cases"]
    return [case for case in every if case["group"] == group]


@pytest.fixture(scope="module")
def scoring(goldens: Path) -> list[dict[str, Any]]:
    found = cases(goldens, "tapvid")
    assert {case["inputs"]["query_mode"] for case in found} == {"first", "strided"}
    assert any(case["id"].startswith("tapvid_edge") for case in found)
    return found


@pytest.fixture(scope="module")
def sampling(goldens: Path) -> dict[str, dict[str, Any]]:
    """The cases of sampling; those of the readers are asserted beside the reader, in tests/data."""
    found = {case["id"]: case for case in cases(goldens, "tapvid_sampling")}
    readers = {"tapvid_davis_reader_256", "tapvid_davis_reader_cotracker"}
    assert found.keys() - readers == {"tapvid_sample_first", "tapvid_sample_strided"}
    return found


def scored(case: dict[str, Any], *, per_track: bool = False) -> list[TapVidScores]:
    given, dtype = case["inputs"], case["dtype"]
    return [
        tapvid(
            query_frame=numbers(query, dtype)[:, 0],
            visible=~np.array(occluded, dtype=bool),
            xy=numbers(xy, dtype),
            predicted_visible=~np.array(predicted_occluded, dtype=bool),
            predicted=numbers(predicted, dtype),
            query_mode=given["query_mode"],
            per_track=per_track,
        )
        for query, occluded, xy, predicted_occluded, predicted in zip(
            given["query_points_tyx"],
            given["gt_occluded"],
            given["gt_tracks_xy"],
            given["pred_occluded"],
            given["pred_tracks_xy"],
            strict=True,
        )
    ]


def close(found: Any, expected: Any, case: dict[str, Any]) -> None:
    np.testing.assert_allclose(
        np.array(found, dtype=np.float64),
        numbers(expected, "float64"),
        rtol=0,
        atol=case["tol"],
        err_msg=case["id"],
    )


def test_golden_every_video_has_the_official_scores(scoring):
    for case in scoring:
        videos, expected = scored(case), dict(case["outputs"]["tapnet"])
        close([video.occlusion_accuracy for video in videos], expected.pop("occlusion_accuracy"), case)
        close([video.average_jaccard for video in videos], expected.pop("average_jaccard"), case)
        close([video.average_within for video in videos], expected.pop("average_pts_within_thresh"), case)
        for row, threshold in enumerate(THRESHOLDS):
            close([video.within[row] for video in videos], expected.pop(f"pts_within_{threshold}"), case)
            close([video.jaccard[row] for video in videos], expected.pop(f"jaccard_{threshold}"), case)
        assert not expected


def test_golden_every_track_has_the_official_scores(scoring):
    rated = [case for case in scoring if "tapnet_trackwise_average_jaccard" in case["outputs"]]
    assert rated
    for case in rated:
        tracks = scored(case, per_track=True)
        close(
            [video.average_jaccard for video in tracks],
            case["outputs"]["tapnet_trackwise_average_jaccard"],
            case,
        )
        close(
            [video.occlusion_accuracy for video in tracks],
            case["outputs"]["tapnet_trackwise_occlusion_accuracy"],
            case,
        )


def test_golden_cotracker_differs_only_by_dividing_occlusion_accuracy_by_the_whole_batch(scoring):
    compared = [case for case in scoring if "cotracker_occlusion_accuracy" in case["outputs"]]
    assert any(len(case["inputs"]["gt_occluded"]) > 1 for case in compared)
    for case in compared:
        videos, outputs = scored(case), case["outputs"]
        close([video.average_jaccard for video in videos], outputs["cotracker_average_jaccard"], case)
        close(
            [video.average_within for video in videos], outputs["cotracker_average_pts_within_thresh"], case
        )
        evaluated = np.array([evaluated_points(case, row) for row in range(len(videos))])
        ours = np.array([float(video.occlusion_accuracy) for video in videos])
        close(ours * evaluated / evaluated.sum(), outputs["cotracker_occlusion_accuracy"], case)


def evaluated_points(case: dict[str, Any], video: int) -> int:
    frames = len(case["inputs"]["gt_occluded"][video][0])
    asked = [round(query[0]) for query in case["inputs"]["query_points_tyx"][video]]
    first = case["inputs"]["query_mode"] == "first"
    return sum(frames - 1 - frame if first else frames - 1 for frame in asked)


def test_golden_queries_first(sampling):
    case = sampling["tapvid_sample_first"]
    visible, points = annotation(case)
    track, frame = sample_queries(visible, query_mode="first")
    close_queries(case, frame, points[track, frame])
    close(~visible[track], case["outputs"]["occluded"][0], case)
    close(points[track], case["outputs"]["target_points"][0], case)


def test_golden_queries_strided(sampling):
    case = sampling["tapvid_sample_strided"]
    visible, points = annotation(case)
    track, frame = sample_queries(visible, query_mode="strided")
    close_queries(case, frame, points[track, frame])
    assert track.tolist() == case["outputs"]["trackgroup"][0]


def annotation(case: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    return ~np.array(case["inputs"]["occluded"], dtype=bool), numbers(
        case["inputs"]["points_xy"], case["dtype"]
    )


def close_queries(case: dict[str, Any], frame: np.ndarray, xy: np.ndarray) -> None:
    close(np.column_stack((frame, xy[:, 1], xy[:, 0])), case["outputs"]["query_points_tyx"][0], case)
