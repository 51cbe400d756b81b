"""What tapnet's and CoTracker's readers make of a TAP-Vid file, against ours."""

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from homolog.core.tracks import Tracks
from homolog.data.tapvid import tapvid_file


def cases(goldens: Path, prefix: str) -> list[dict[str, Any]]:
    found = [
        case
        for case in json.loads((goldens / "metrics.json").read_text())["cases"]
        if case["group"] == "tapvid_sampling" and case["id"].startswith(prefix)
    ]
    assert found
    return found


def read(case: dict[str, Any], folder: Path, size: tuple[int, int] | None, native: tuple[int, int]) -> Tracks:
    points = np.array(case["inputs"]["points_normalised_xy"], dtype=np.float32)
    occluded = np.array(case["inputs"]["occluded"], dtype=bool)
    video = np.zeros((occluded.shape[1], *native, 3), dtype=np.uint8)
    path = folder / "tapvid_davis.pkl"
    path.write_bytes(pickle.dumps({"video": {"video": video, "points": points, "occluded": occluded}}))
    return tapvid_file(file=path, size=size)[0].tracks


def queries(tracks: Tracks) -> np.ndarray:
    """Return [n 3] t, y, x of the tracks that are ever visible, in raster coordinates."""
    seen = tracks.visible.any(dim=1).numpy()
    first = tracks.queries()
    xy = first.xy.numpy()[seen] + 0.5
    return np.column_stack((first.frame.numpy()[seen], xy[:, 1], xy[:, 0]))


def test_golden_tapnet_reader_is_ours_plus_half_a_pixel(goldens: Path, tmp_path: Path) -> None:
    for case in cases(goldens, "tapvid_davis_reader_256"):
        native = tuple(case["inputs"]["video_hw"])
        outputs = case["outputs"]
        for key, size in (("target_points_256", (256, 256)), ("target_points_native", None)):
            tracks = read(case, tmp_path, size, native)
            seen = tracks.visible.any(dim=1).numpy()
            # Official arrays have a batch of one, and drop tracks that are never visible; ours keep them.
            official = np.array(outputs[key])[0]
            assert official.shape[0] == seen.sum() < len(seen)
            np.testing.assert_allclose(tracks.xy.numpy()[seen] + 0.5, official, atol=case["tol"])
        np.testing.assert_allclose(
            queries(read(case, tmp_path, (256, 256), native)),
            np.array(outputs["query_points_256"])[0],
            atol=case["tol"],
        )


def test_golden_cotracker_reader_has_the_documented_defects_and_ours_has_not(
    goldens: Path, tmp_path: Path
) -> None:
    for case in cases(goldens, "tapvid_davis_reader_cotracker"):
        tracks = read(case, tmp_path, (256, 256), (16, 16))
        seen = tracks.visible.any(dim=1).numpy()
        ours = tracks.xy.numpy()[seen] + 0.5
        theirs = np.array(case["outputs"]["trajectory_tnd"]).transpose(1, 0, 2)
        # Defect 1: 255 instead of 256. It explains their numbers, and they are not ours.
        np.testing.assert_allclose(ours * (255 / 256), theirs, atol=case["tol"])
        assert np.abs(ours - theirs).max() > 0.5
        scaled = queries(tracks)
        scaled[:, 1:] *= 255 / 256
        np.testing.assert_allclose(scaled, np.array(case["outputs"]["query_points"]), atol=case["tol"])
        # Defect 2: their second read is scaled once more; ours is the first again.
        second = np.array(case["outputs"]["second_read_first_point"])
        np.testing.assert_allclose(second, theirs[0, 0] * 255, rtol=1e-4)
        data = tapvid_file(file=tmp_path / "tapvid_davis.pkl", size=(256, 256))
        np.testing.assert_array_equal(data[0].tracks.xy.numpy(), data[0].tracks.xy.numpy())
        np.testing.assert_array_equal(data[0].tracks.xy.numpy(), tracks.xy.numpy())


def test_golden_every_reader_case_is_asserted(goldens: Path) -> None:
    ids = {case["id"] for case in cases(goldens, "tapvid_davis_reader")}
    assert ids == {"tapvid_davis_reader_256", "tapvid_davis_reader_cotracker"}


@pytest.mark.parametrize("size", [(256, 256), (128, 512)])
def test_rasters_of_any_size_scale_both_axes(goldens: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    (case,) = cases(goldens, "tapvid_davis_reader_256")
    tracks = read(case, tmp_path, size, (6, 8))
    expected = np.array(case["inputs"]["points_normalised_xy"]) * (size[1], size[0]) - 0.5
    np.testing.assert_allclose(tracks.xy.numpy(), expected, atol=1e-3)
