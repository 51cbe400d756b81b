"""TAP-Vid's files in their official shapes: names, frames, tracks, conversion, errors."""

import io
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import PIL.Image
import pytest
import torch

from homolog.core.errors import ConfigError, DataError
from homolog.data.converted import convert
from homolog.data.tapvid import TapVid, tapvid_file

FRAMES, HEIGHT, WIDTH = 4, 12, 20


def video(seed: int, *, encoded: bool = False) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    frames = rng.integers(0, 256, (FRAMES, HEIGHT, WIDTH, 3), dtype=np.uint8)
    occluded = rng.random((5, FRAMES)) < 0.4
    occluded[0] = True  # never visible
    occluded[1] = [True, True, False, False]
    points = rng.random((5, FRAMES, 2)).astype(np.float32)
    return {
        "video": [jpeg(frame) for frame in frames] if encoded else frames,
        "points": points,
        "occluded": occluded,
    }


def jpeg(frame: np.ndarray) -> bytes:
    file = io.BytesIO()
    PIL.Image.fromarray(frame).save(file, format="JPEG", quality=95)
    return file.getvalue()


def dump(path: Path, content: Any, protocol: int = 4) -> Any:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return content


def test_a_dictionary_of_videos_is_read_by_name(tmp_path: Path) -> None:
    videos = dump(tmp_path / "tapvid_davis.pkl", {"goat": video(0), "bike": video(1)})
    data = TapVid(root=tmp_path, files="tapvid_davis.pkl", size=None)
    assert [data[i].name for i in range(len(data))] == ["goat", "bike"]
    sample = data[0]
    assert len(sample.frames) == FRAMES
    pixels = sample.frames[2].pixels.permute(1, 2, 0).numpy() * 255
    np.testing.assert_allclose(pixels, videos["goat"]["video"][2], atol=1e-3)


def test_tracks_are_pixels_whose_integers_are_centres(tmp_path: Path) -> None:
    content = video(0)
    content["points"][3, 0] = (0, 0)  # the outer corner of the first pixel
    content["points"][3, 1] = (1, 1)  # the outer corner of the last
    content["points"][3, 2] = (0.5 / WIDTH, 2.5 / HEIGHT)  # the centre of pixel (0, 2)
    dump(tmp_path / "a.pkl", {"a": content})
    native = tapvid_file(file=tmp_path / "a.pkl", size=None)[0].tracks
    np.testing.assert_allclose(
        native.xy[3, :3], [[-0.5, -0.5], [WIDTH - 0.5, HEIGHT - 0.5], [0, 2]], atol=1e-5
    )
    stretched = tapvid_file(file=tmp_path / "a.pkl", size=(256, 256))[0]
    assert stretched.frames[0].size == (256, 256)
    np.testing.assert_allclose(stretched.tracks.xy[3, :2], [[-0.5, -0.5], [255.5, 255.5]], atol=1e-4)


def test_tracks_that_are_never_visible_are_kept(tmp_path: Path) -> None:
    content = dump(tmp_path / "a.pkl", {"a": video(0)})
    tracks = tapvid_file(file=tmp_path / "a.pkl", size=None)[0].tracks
    assert len(tracks) == 5
    np.testing.assert_array_equal(tracks.visible.numpy(), ~content["a"]["occluded"])
    assert tracks.query_frame.tolist()[:2] == [0, 2]
    assert not bool(tracks.visible[0].any())


def test_a_list_of_videos_is_numbered(tmp_path: Path) -> None:
    dump(tmp_path / "tapvid_rgb_stacking.pkl", [video(0), video(1)])
    data = TapVid(root=tmp_path, files="tapvid_rgb_stacking.pkl", size=None)
    assert [data[i].name for i in range(len(data))] == ["0000", "0001"]


def test_kinetics_comes_in_shards_of_encoded_frames(tmp_path: Path) -> None:
    first = dump(tmp_path / "0000_of_0010.pkl", [video(0, encoded=True), video(1, encoded=True)])
    dump(tmp_path / "0001_of_0010.pkl", {"abc_1_2": video(2, encoded=True)})
    dump(tmp_path / "other.pkl", [video(3)])
    data = TapVid(root=tmp_path, files="*_of_0010.pkl", size=None)
    names = [data[i].name for i in range(len(data))]
    assert names == ["0000_of_0010/0000", "0000_of_0010/0001", "0001_of_0010/abc_1_2"]
    expected = np.asarray(PIL.Image.open(io.BytesIO(first[1]["video"][3])))
    np.testing.assert_allclose(data[1].frames[3].pixels.permute(1, 2, 0) * 255, expected, atol=1e-3)


def test_python_2_bytes_are_frames_too(tmp_path: Path) -> None:
    content = video(0, encoded=True)
    as_text = {**content, "video": [frame.decode("latin-1") for frame in content["video"]]}
    dump(tmp_path / "a.pkl", {"a": content})
    dump(tmp_path / "b.pkl", {"a": as_text})
    one, other = (tapvid_file(file=tmp_path / name, size=None)[0] for name in ("a.pkl", "b.pkl"))
    assert torch.equal(one.frames[0].pixels, other.frames[0].pixels)


def test_frames_are_resampled_as_the_official_reader_does(tmp_path: Path) -> None:
    content = dump(tmp_path / "a.pkl", {"a": video(0)})
    frame = tapvid_file(file=tmp_path / "a.pkl", size=[256, 256])[0].frames[1]
    # mediapy.resize_video on uint8: Pillow's Lanczos filter.
    expected = PIL.Image.fromarray(content["a"]["video"][1]).resize((256, 256), PIL.Image.Resampling.LANCZOS)
    np.testing.assert_allclose(frame.pixels.permute(1, 2, 0) * 255, np.asarray(expected), atol=1e-3)
    assert torch.equal(
        frame.xy_to_original(torch.zeros(2)), torch.zeros(2)
    )  # tracks are in pixels of these frames


def test_a_converted_file_is_read_instead_of_the_pickle(tmp_path: Path) -> None:
    dump(tmp_path / "0000_of_0010.pkl", [video(0, encoded=True)])
    dump(tmp_path / "0001_of_0010.pkl", [video(1)])
    before = TapVid(root=tmp_path, files="*_of_0010.pkl", size=None)
    samples = [before[i] for i in range(2)]
    for name in ("0000_of_0010", "0001_of_0010"):
        convert(tmp_path / f"{name}.pkl", tmp_path / f"{name}.npz")
        (tmp_path / f"{name}.pkl").write_bytes(b"damaged")
    after = TapVid(root=tmp_path, files="*_of_0010.pkl", size=None)
    for one, other in zip(samples, [after[i] for i in range(2)], strict=True):
        assert one.name == other.name
        assert torch.equal(one.tracks.xy, other.tracks.xy)
        assert all(torch.equal(a.pixels, b.pixels) for a, b in zip(one.frames, other.frames, strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"points": np.zeros((5, 3, 2))}, r"expected points \[N 4 2\]"),
        ({"occluded": np.zeros((5, 4, 1))}, r"expected points \[N 4 2\]"),
        ({"points": np.full((5, 4, 2), np.nan)}, "expected finite positions"),
        ({"points": np.full((5, 4, 2), "a")}, "expected numbers"),
        ({"video": np.zeros((4, 12, 20), dtype=np.uint8)}, r"frame 0: expected uint8 \[H W 3\]"),
        ({"video": np.zeros((4, 12, 20, 3))}, r"frame 0: expected uint8 \[H W 3\], got float64"),
        ({"video": [b"\xff\xd8"] * 4}, "frame 0: expected an encoded frame"),
        ({"video": []}, "got 0 frames"),
        (
            {"video": [np.zeros((12, 20, 3), np.uint8), np.zeros((9, 9, 3), np.uint8)] * 2},
            "frames of one size",
        ),
    ],
)
def test_a_video_that_is_none_names_file_and_video(
    tmp_path: Path, change: dict[str, Any], message: str
) -> None:
    dump(tmp_path / "a.pkl", {"goat": {**video(0), **change}})
    with pytest.raises(DataError, match=rf"a\.pkl, goat.*{message}") as caught:
        tapvid_file(file=tmp_path / "a.pkl", size=None)[0]
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [{"goat": [1, 2]}, {"goat": {"video": 1}}, 3, {"goat": None}])
def test_other_content_is_a_data_error(tmp_path: Path, content: Any) -> None:
    dump(tmp_path / "a.pkl", content)
    with pytest.raises(DataError, match=r"a\.pkl"):
        tapvid_file(file=tmp_path / "a.pkl", size=None)[0]


def test_a_malicious_or_truncated_file_is_a_data_error(tmp_path: Path) -> None:
    path = tmp_path / "a.pkl"
    path.write_bytes(b"cposix\nsystem\n(S'touch /tmp/pwned'\ntR.")
    with pytest.raises(DataError, match=r"asks for posix\.system"):
        tapvid_file(file=path, size=None)[0]
    whole = pickle.dumps({"a": video(0)})
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="truncated"):
        len(tapvid_file(file=path, size=None))


@pytest.mark.parametrize(
    ("files", "advice"),
    [
        ("tapvid_davis.pkl", r"tapvid_davis\.zip"),
        ("tapvid_rgb_stacking.pkl", r"tapvid_rgb_stacking\.zip"),
        ("*_of_0010.pkl", r"generate_tapvid\.py"),
        ("robotap_split*.pkl", r"robotap\.zip"),
        ("mine.pkl", "name a pickle"),
    ],
)
def test_missing_files_say_how_to_get_them(tmp_path: Path, files: str, advice: str) -> None:
    with pytest.raises(DataError, match=advice):
        TapVid(root=tmp_path, files=files, size=None)


def test_a_size_has_two_sides(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected a size"):
        TapVid(root=tmp_path, files="a.pkl", size=[256])
