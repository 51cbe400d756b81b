"""Samples as members of an archive: everything is restored, and damage is reported in one line."""

import io
import json
from dataclasses import fields
from typing import Any

import numpy as np
import pytest
import torch

from homolog.core.coords import resize_affine
from homolog.core.errors import DataError, ShapeError
from homolog.core.image import Image
from homolog.core.samples import PairSample
from homolog.synthetic.shards.samples import decode_pair, decode_video, encode

EXACT = ("xy0", "xy1", "visible", "box0", "box1", "homography", "mask0", "mask1")


def test_a_pair_is_restored(pairs: Any):
    sample = pairs()[3]
    members = encode(sample, "png")
    assert sorted(members) == [
        *("0.png", "1.png", "depth0.png", "depth1.png", "grid01.png", "grid10.png"),
        *("json", "mask0.png", "mask1.png"),
    ]
    back: Any = decode_pair(members, "shard, 3")
    for name in EXACT:
        assert torch.equal(getattr(back, name), getattr(sample, name)), name
        assert getattr(back, name).dtype == getattr(sample, name).dtype, name
    for side in ("image0", "image1"):
        assert torch.equal(getattr(back, side).pixels, getattr(sample, side).pixels)
        assert getattr(back, side).name == getattr(sample, side).name
    assert torch.equal(back.camera0.K, sample.camera0.K)
    assert torch.equal(back.camera1.K, sample.camera1.K)
    assert torch.equal(back.pose.R, sample.pose.R)
    assert torch.equal(back.pose.t, sample.pose.t)
    assert {name: flags.tolist() for name, flags in back.groups.items()} == {
        "hard": sample.groups["hard"].tolist()
    }
    assert (back.name, back.category, back.facts) == (sample.name, sample.category, sample.facts)
    for name, sides in (("dense0", (48, 24)), ("dense1", (32, 40))):
        ours, theirs = getattr(back, name), getattr(sample, name)
        assert torch.equal(ours.confidence, theirs.confidence)
        off = (ours.grid - theirs.grid).nan_to_num() * torch.tensor(sides).reshape(2, 1, 1) / 2
        assert off.abs().max() <= 1 / 128 + 1e-4
    known = sample.depth0.isfinite()
    assert torch.equal(back.depth0.isfinite(), known)
    assert (back.depth0 - sample.depth0)[known].abs().max() <= 9 / 65534
    assert back.depth1.isnan().all()


def test_missing_parts_of_a_pair_stay_missing():
    image = Image(pixels=torch.zeros(3, 16, 16))
    members = encode(PairSample(image0=image, image1=image, name="bare"), "jpg")
    assert sorted(members) == ["0.jpg", "1.jpg", "json"]
    back = decode_pair(members, "x")
    filled = {field.name for field in fields(back) if getattr(back, field.name) not in (None, {})}
    assert filled == {"image0", "image1", "name"}


def test_a_pair_without_points_keeps_their_shape():
    image = Image(pixels=torch.zeros(3, 16, 16))
    none = torch.empty(0, 2)
    back = decode_pair(encode(PairSample(image0=image, image1=image, xy0=none, xy1=none), "jpg"), "x")
    assert back.xy0 is not None
    assert back.xy0.shape == (0, 2)


def test_the_json_explains_the_numbers(pairs: Any):
    facts = json.loads(encode(pairs()[0], "jpg")["json"])
    assert facts["schema"] == 1
    assert "whole numbers are pixel centres" in facts["convention"]
    assert facts["grids"]["grid01"]["step"] == 1 / 64
    assert facts["grids"]["grid01"]["unknown"] == 65535
    assert facts["grids"]["grid01"]["known_fraction"] == pytest.approx(0.6, abs=0.05)
    assert facts["images"][1]["size"] == [24, 48]
    assert facts["float64"] == ["homography"]


def test_a_resized_image_is_refused(pairs: Any):
    sample = pairs()[0]
    moved = Image(pixels=sample.image0.pixels, to_original=resize_affine((80, 64), (40, 32)))
    with pytest.raises(ShapeError, match="expected images in their original size"):
        encode(PairSample(image0=moved, image1=moved, name="cut"), "jpg")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"json": None}, "expected a JSON, got none"),
        ({"json": b"{"}, "expected a JSON"),
        ({"json": b'{"schema": 1, "kind": "video"}'}, "expected a pair, got 'video'"),
        ({"json": b'{"schema": 2, "kind": "pair"}'}, "schema 1 or older, got 2; update homolog"),
        ({"json": b'{"schema": 1, "kind": "pair"}'}, "expected a whole pair, got KeyError"),
        ({"grid01.png": None}, "expected a whole pair, got KeyError: 'grid01.png'"),
        ({"0.jpg": b"\xff\xd8"}, r"shard, 7\.0\.jpg: expected a JPEG or PNG, got a damaged file"),
    ],
)
def test_a_damaged_pair_is_one_line_that_names_the_sample(
    pairs: Any, change: dict[str, bytes | None], message: str
):
    members = {**encode(pairs()[0], "jpg"), **change}
    with pytest.raises(DataError, match=message) as caught:
        decode_pair({name: content for name, content in members.items() if content is not None}, "shard, 7")
    assert "\n" not in str(caught.value)
    assert str(caught.value).startswith("shard, 7")


def test_an_image_whose_size_differs_from_the_json_is_damage(pairs: Any):
    members = encode(pairs()[0], "jpg")
    with pytest.raises(DataError, match=r"expected \[40, 32\] pixels, got \[24, 48\]"):
        decode_pair({**members, "0.jpg": members["1.jpg"]}, "x")


def test_a_video_is_restored(videos: Any):
    sample = videos()[1]
    members = encode(sample, "png")
    assert sorted(members) == ["0000.png", "0001.png", "0002.png", "0003.png", "json", "tracks.npz"]
    back = decode_video(members, "x")
    for frame, other in zip(back.frames, sample.frames, strict=True):
        assert torch.equal(frame.pixels, other.pixels)
    assert torch.equal(back.tracks.xy.nan_to_num(-1), sample.tracks.xy.nan_to_num(-1))
    assert torch.equal(back.tracks.visible, sample.tracks.visible)
    assert torch.equal(back.tracks.query_frame, sample.tracks.query_frame)
    assert back.name == sample.name


def test_tracks_that_are_pickled_are_not_unpickled(videos: Any, tmp_path: Any):
    class Evil:
        def __reduce__(self) -> tuple[Any, ...]:
            return (open, (str(tmp_path / "pwned"), "w"))

    packed = io.BytesIO()
    np.savez(packed, allow_pickle=True, xy=np.array([Evil()], object))
    members = {**encode(videos()[0], "jpg"), "tracks.npz": packed.getvalue()}
    with pytest.raises(DataError, match="expected a whole video, got ValueError"):
        decode_video(members, "x")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("change", [{"tracks.npz": b"PK\x03\x04"}, {"0002.jpg": b""}])
def test_a_damaged_video_is_one_line(videos: Any, change: dict[str, bytes]):
    with pytest.raises(DataError, match=r"generate the shard again"):
        decode_video({**encode(videos()[0], "jpg"), **change}, "x")
