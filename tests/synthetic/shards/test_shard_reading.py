"""Shards as a sequence of samples: random access, and damage that names the file."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from homolog.core.errors import DataError
from homolog.synthetic.shards.reading import ShardedPairs, ShardedVideos


def test_samples_come_in_any_order(pairs: Any, write: Any, tmp_path: Path):
    write(pairs(), tmp_path, pictures="png")
    read, made = ShardedPairs(tmp_path), pairs()
    assert len(read) == 7
    for index in (6, 0, 3, 2, 5, -1):
        sample: Any = read[index]
        other = made[index % 7]
        assert sample.name == other.name
        assert torch.equal(sample.image1.pixels, other.image1.pixels)
        assert torch.equal(sample.xy1, other.xy1)
    with pytest.raises(IndexError):
        read[7]
    assert [sample.name for sample in read] == [f"made/{index}" for index in range(7)]


def test_a_reader_travels_to_another_process(pairs: Any, write: Any, tmp_path: Path):
    write(pairs(), tmp_path)
    read = ShardedPairs(tmp_path)
    first = read[4]
    again = pickle.loads(pickle.dumps(read))[4]
    assert torch.equal(first.image0.pixels, again.image0.pixels)


def test_videos_are_read(videos: Any, write: Any, tmp_path: Path):
    write(videos(), tmp_path)
    read, made = ShardedVideos(tmp_path), videos()
    assert [sample.name for sample in read] == [made[index].name for index in range(3)]
    assert torch.equal(read[2].tracks.visible, made[2].tracks.visible)
    with pytest.raises(DataError, match="expected shards of pairs, got videos"):
        ShardedPairs(tmp_path)


def test_a_folder_without_shards_says_how_to_make_some(tmp_path: Path):
    with pytest.raises(DataError, match="make one with homolog generate"):
        ShardedPairs(tmp_path / "nothing")


def test_a_missing_shard_is_said_at_once(pairs: Any, write: Any, tmp_path: Path):
    write(pairs(), tmp_path)
    (tmp_path / "shard-000001.json").unlink()
    with pytest.raises(
        DataError, match=r"shard-000001\.tar: expected 3 shards.*run the same homolog generate again"
    ):
        ShardedPairs(tmp_path)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_cut_tar_names_the_file_and_says_generate_it_again(
    pairs: Any, write: Any, tmp_path: Path, when: str
):
    write(pairs(), tmp_path)
    read = ShardedPairs(tmp_path)
    path = tmp_path / "shard-000001.tar"
    if when == "after":
        assert read[3].name == "made/3"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(DataError, match=rf"{path}: expected .*cut off; generate the shard again"):
        read[5]
    assert read[0].name == "made/0"


def test_a_damaged_member_names_shard_and_sample(pairs: Any, write: Any, tmp_path: Path):
    write(pairs(), tmp_path)
    path = tmp_path / "shard-000000.tar"
    content = bytearray(path.read_bytes())
    place = content.find(b"IDAT")
    content[place + 8 : place + 40] = bytes(32)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"shard-000000\.tar, 00000000\.depth0\.png: expected a PNG"):
        ShardedPairs(tmp_path)[0]


def test_a_shard_of_other_settings_is_noticed(pairs: Any, write: Any, tmp_path: Path):
    write(pairs(), tmp_path / "a")
    write(pairs(seed=6), tmp_path / "b")
    for end in ("tar", "json"):
        (tmp_path / "b" / f"shard-000002.{end}").replace(tmp_path / "a" / f"shard-000002.{end}")
    with pytest.raises(DataError, match="got one of others"):
        ShardedPairs(tmp_path / "a")[6]


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"format": 1', '"format": 2', "update homolog"),
        ('"members"', '"membres"', "expected a sidecar"),
        ("00000001.0.jpg", "00000009.0.jpg", "expected the samples 00000000 to 00000002"),
        ("[512, ", "[51200000, ", "expected members inside of"),
        ("}}", "", "expected JSON"),
    ],
)
def test_a_damaged_sidecar_is_one_line(pairs: Any, write: Any, tmp_path: Path, old: str, new: str, said: str):
    write(pairs(), tmp_path)
    path = tmp_path / "shard-000000.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=said):
        ShardedPairs(tmp_path)[0]
