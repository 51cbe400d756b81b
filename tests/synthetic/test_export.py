"""Synthetic samples in the layouts of SPair-71k and TAP-Vid: our readers of both give back what was written."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from homolog.core.errors import ConfigError, DataError
from homolog.core.image import Image
from homolog.core.samples import VideoSample
from homolog.core.tracks import Tracks
from homolog.data.spair import SpairPairs
from homolog.data.tapvid import TapVid, tapvid_file
from homolog.synthetic.category import topology
from homolog.synthetic.export import write_spair, write_tapvid
from homolog.synthetic.semantic_pairs import SemanticPairs
from homolog.synthetic.videos import Videos

HEIGHT, WIDTH, FRAMES = 24, 40, 5


@pytest.fixture(scope="module")
def source() -> SemanticPairs:
    return SemanticPairs(count=4, size=64, seed=2, split="val", names=["quadruped", "bottle"])


@pytest.fixture(scope="module")
def folder(source: SemanticPairs, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made") / "synthetic"
    seen: list[int] = []
    assert write_spair(source, folder, split="val", progress=seen.append) == 4
    assert seen == [1, 2, 3, 4]
    return folder


@pytest.mark.parametrize("keypoints", ["image", "pair"])
def test_our_reader_of_spair_reads_the_same_pairs(source: SemanticPairs, folder: Path, keypoints: str):
    read = SpairPairs(folder, split="val", keypoints=keypoints)  # type: ignore[arg-type]
    assert len(read) == 4
    for index in range(4):
        sample = read[index]
        made: Any = source[index]
        assert len(made.xy0) > 0
        for name in ("xy0", "xy1", "box0", "box1"):
            assert torch.equal(getattr(sample, name), getattr(made, name)), name
        for name in ("image0", "image1"):
            off = getattr(sample, name).pixels - getattr(made, name).pixels
            assert off.abs().mean() < 0.05
        assert sample.category == f"synthetic{made.category}"
        # The groups of SPair's own keypoints must not be taken for those of synthetic ones.
        assert sample.groups == {}


def test_points_are_numbered_as_the_category_lists_them(source: SemanticPairs, folder: Path):
    pair = source.pair(0)
    (file,) = (folder / "ImageAnnotation").glob("*/000000_1.json")
    content = json.loads(file.read_text())
    names = topology(pair.category).landmark_names
    assert content["landmark_names"] == list(names)
    assert list(content["kps"]) == [str(number) for number in range(len(names))]
    for number, seen in enumerate(pair.landmarks[1].visible.tolist()):
        assert (content["kps"][str(number)] is not None) == seen


def test_the_layout_has_the_parts_of_the_original(folder: Path):
    assert sorted(path.name for path in folder.iterdir()) == [
        *("ImageAnnotation", "JPEGImages", "Layout", "PairAnnotation"),
    ]
    names = (folder / "Layout" / "large" / "val.txt").read_text().split()
    assert names == sorted(path.stem for path in (folder / "PairAnnotation" / "val").iterdir())


def test_a_folder_that_is_not_empty_is_refused(source: SemanticPairs, folder: Path):
    with pytest.raises(ConfigError, match="expected an empty or a new folder"):
        write_spair(source, folder, split="val")


def test_a_failure_leaves_nothing(source: SemanticPairs, tmp_path: Path):
    class Failing:
        def __len__(self) -> int:
            return 2

        def pair(self, index: int):
            if index == 1:
                raise DataError("photo.jpg: damaged")
            return source.pair(index)

    with pytest.raises(DataError, match="damaged"):
        write_spair(Failing(), tmp_path / "new", split="trn")
    assert list(tmp_path.iterdir()) == []


def _sample(seed: int = 0) -> VideoSample:
    random = np.random.default_rng(seed)
    frames = random.integers(0, 256, (FRAMES, 3, HEIGHT, WIDTH)).astype(np.float32) / 255
    visible = random.random((7, FRAMES)) < 0.6
    visible[:, 2] = True
    xy = random.uniform(-0.5, (WIDTH - 0.5, HEIGHT - 0.5), (7, FRAMES, 2)).astype(np.float32)
    xy[0, 0], visible[0, 0] = np.nan, False
    xy[1, 2] = (-0.5, HEIGHT - 0.5)
    return VideoSample(
        frames=[Image(pixels=torch.from_numpy(frame)) for frame in frames],
        tracks=Tracks(
            xy=torch.from_numpy(xy),
            visible=torch.from_numpy(visible),
            query_frame=torch.from_numpy(visible.argmax(axis=1)),
        ),
        name="synthetic",
    )


def test_the_file_has_the_arrays_of_tap_vid_and_no_pickle(tmp_path: Path) -> None:
    sample = _sample()
    write_tapvid(sample, tmp_path / "a.npz")
    with np.load(tmp_path / "a.npz", allow_pickle=False) as file:
        content = dict(file)
    assert {name: (array.dtype.name, array.shape) for name, array in content.items()} == {
        "video": ("uint8", (FRAMES, HEIGHT, WIDTH, 3)),
        "points": ("float32", (7, FRAMES, 2)),
        "occluded": ("bool", (7, FRAMES)),
    }
    # The official reader multiplies by width and height: raster coordinates, whose centres are at halves.
    raster = content["points"] * (WIDTH, HEIGHT)
    np.testing.assert_allclose(raster - 0.5, sample.tracks.xy, atol=1e-4)
    assert content["points"][1, 2].tolist() == [0.0, 1.0]
    assert (content["occluded"] == ~sample.tracks.visible.numpy()).all()


def test_our_reader_of_tapvid_reads_the_same_videos(tmp_path: Path) -> None:
    samples = {name: _sample(seed) for seed, name in enumerate(("goat", "horse"))}
    for name, sample in samples.items():
        write_tapvid(sample, tmp_path / f"{name}.npz")
    data = TapVid(root=tmp_path, files="*.npz", size=None)
    assert len(data) == 2
    for read in (data[0], data[1]):
        _same(read, samples[read.name])
    _same(tapvid_file(file=tmp_path / "goat.npz", size=None)[0], samples["goat"])
    assert tapvid_file(file=tmp_path / "goat.npz", size=None)[0].name == "goat"


def _same(read: VideoSample, written: VideoSample) -> None:
    for one, other in zip(read.frames, written.frames, strict=True):
        assert (one.pixels * 255).round().equal((other.pixels * 255).round())
    assert read.tracks.visible.equal(written.tracks.visible)
    assert read.tracks.query_frame.equal(written.tracks.query_frame)
    np.testing.assert_allclose(read.tracks.xy, written.tracks.xy, atol=1e-4)


def test_synthetic_videos_are_restored(tmp_path: Path) -> None:
    sample = Videos(count=1, size=(48, 64), seed=1, names=["chair"], frames=6, tracks=40)[0]
    write_tapvid(sample, tmp_path / "new folder" / "a.npz")
    _same(TapVid(root=tmp_path / "new folder", files="*.npz", size=None)[0], sample)


def test_half_a_file_is_never_left(tmp_path: Path) -> None:
    write_tapvid(_sample(), tmp_path / "a.npz")
    before = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(DataError, match="cannot write"):
        write_tapvid(_sample(1), tmp_path / "file" / "a.npz")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.npz", "file"]
    assert (tmp_path / "a.npz").read_bytes() == before


def test_a_damaged_file_is_a_data_error(tmp_path: Path) -> None:
    write_tapvid(_sample(), tmp_path / "a.npz")
    whole = (tmp_path / "a.npz").read_bytes()
    (tmp_path / "a.npz").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"a\.npz"):
        len(tapvid_file(file=tmp_path / "a.npz", size=None))
