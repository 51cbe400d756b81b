"""Shards as a sequence of samples: random access, and damage that names the file."""

import pickle
import tarfile
from pathlib import Path
from typing import Any

import pytest
import torch

from homolog.core.errors import DataError
from homolog.synthetic.shards.reading import ShardedPairs, ShardedVideos


def test_samples_are_read_in_any_order(pairs: Any, write: Any, tmp_path: Path):
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


def test_a_reader_can_be_pickled(folder: Path):
    read = ShardedPairs(folder)
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


def test_a_folder_without_shards_is_an_error_with_advice(tmp_path: Path):
    with pytest.raises(DataError, match="make one with homolog generate"):
        ShardedPairs(tmp_path / "nothing")


def test_a_missing_shard_is_reported_at_once(folder: Path):
    (folder / "shard-000001.tar").unlink()
    with pytest.raises(
        DataError, match=r"shard-000001\.tar: expected 3 shards.*run the same homolog generate again"
    ):
        ShardedPairs(folder)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_cut_tar_is_an_error_that_names_it(folder: Path, when: str):
    read = ShardedPairs(folder)
    path = folder / "shard-000001.tar"
    if when == "after":
        assert read[3].name == "made/3"
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size // 2)
    with pytest.raises(DataError, match=rf"{path}: expected .*cut off; generate the shard again"):
        read[5]
    assert read[0].name == "made/0"


def test_a_damaged_member_names_shard_and_sample(folder: Path):
    path = folder / "shard-000000.tar"
    content = bytearray(path.read_bytes())
    place = content.find(b"IDAT")
    content[place + 8 : place + 40] = bytes(32)
    path.write_bytes(content)
    with pytest.raises(DataError, match=r"shard-000000\.tar, 00000000\.depth0\.png: expected a JPEG or PNG"):
        ShardedPairs(folder)[0]


def test_a_shard_or_an_index_of_other_settings_is_noticed(pairs: Any, write: Any, tmp_path: Path):
    write(pairs(), tmp_path / "a")
    write(pairs(seed=6), tmp_path / "b")
    for name in ("shard-000002.tar", "index.json"):
        read = ShardedPairs(tmp_path / "a")
        content = (tmp_path / "b" / name).read_bytes()
        size = (tmp_path / "a" / name).stat().st_size
        (tmp_path / "a" / name).write_bytes(
            content.ljust(size, b"\0")[:size] if name.endswith("tar") else content
        )
        with pytest.raises(DataError, match=r"settings, got (one|that) of others"):
            read[6] if name.endswith("tar") else ShardedPairs(tmp_path / "a")


def test_shards_of_format_1_have_to_be_generated_again(pairs: Any, write: Any, tmp_path: Path):
    (tmp_path / "dataset.json").write_text('{"format": 1, "kind": "pair"}')
    (tmp_path / "shard-000000.json").write_text("{}")
    (tmp_path / "shard-000000.tar").write_bytes(b"")
    for use in (lambda: ShardedPairs(tmp_path), lambda: write(pairs(), tmp_path)):
        with pytest.raises(DataError, match=r"expected format 2, got 1.*generate the shards again"):
            use()
    write(pairs(), tmp_path, force=True)
    assert len(ShardedPairs(tmp_path)) == 7
    assert not (tmp_path / "shard-000000.json").exists()


def test_members_of_another_sample_or_folder_are_refused(folder: Path):
    path = folder / "shard-000000.tar"
    content = path.read_bytes()
    for name in (b"00000009.0.jpg", b"../00000.0.jpg", b"00000000/../.a"):
        with tarfile.open(path) as archive:
            entry = archive.getmembers()[0]
        header = tarfile.TarInfo(name.decode())
        header.size = entry.size
        block = header.tobuf(tarfile.PAX_FORMAT)
        path.write_bytes(content[: entry.offset] + block + content[entry.offset + len(block) :])
        with pytest.raises(DataError, match=r"expected members of 00000000, got others"):
            ShardedPairs(folder)[0]
        path.write_bytes(content)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"format": 2', '"format": 3', "update homolog"),
        ('"members"', '"membres"', "got KeyError: 'members'"),
        ('"00000001"', '"00000009"', "got KeyError: '00000001'"),
        ("shard-000000.tar", "../000000.tar", r"got KeyError: '\.\./000000\.tar'"),
        ("[1024, ", "[51200000, ", "an extent beyond the end"),
        ("}", "", "expected JSON"),
    ],
)
def test_a_damaged_index_is_one_line(folder: Path, old: str, new: str, message: str):
    path = folder / "index.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(DataError, match=message):
        ShardedPairs(folder)[0]
