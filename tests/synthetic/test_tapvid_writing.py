"""Videos written in TAP-Vid's layout: official formulas and our reader give back what was written."""

from pathlib import Path

import numpy as np
import pytest
import torch

from homolog.core.errors import DataError
from homolog.core.image import Image
from homolog.core.samples import VideoSample
from homolog.core.tracks import Tracks
from homolog.data.tapvid import TapVid, tapvid_file
from homolog.synthetic.tapvid_writing import write_tapvid
from homolog.synthetic.videos import Videos

HEIGHT, WIDTH, FRAMES = 24, 40, 5


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
        name="made up",
    )


def test_the_file_holds_what_tap_vid_says_and_loads_without_pickle(tmp_path: Path) -> None:
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


def test_our_reader_gives_back_a_folder_of_videos(tmp_path: Path) -> None:
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


def test_made_up_videos_survive_the_way_to_disk_and_back(tmp_path: Path) -> None:
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
